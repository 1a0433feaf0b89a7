//! ARP, neighbour discovery and liveness probes on fixed-size arrays.
//!
//! Three steps, each a pure function: *parse* (what does the frame ask?), *judge* (given the map entries of
//! the addresses it names, what happens?), *write* (the answer, in place). Looking the entries up lies
//! between them and is the caller's. No function here takes a slice: the BPF verifier proves access to a
//! packet only by one comparison with its end, so the caller hands over arrays of constant size. (What only an agent
//! calls, to read what a socket gave it, takes what it gave.)

pub mod arp;
pub mod bfd;
pub mod checksum;
pub mod ethernet;
pub mod ndp;

/// Shortest Ethernet frame without frame check sequence (RFC 894).
pub const MIN_FRAME: usize = 60;

/// The `N` bytes at `AT`. All are constants, so no bounds check is left in the program.
#[inline(always)]
fn part<const AT: usize, const N: usize>(bytes: &[u8]) -> &[u8; N] {
    match bytes[AT..].first_chunk() {
        Some(part) => part,
        None => &[0; N],
    }
}

/// Writes `N` bytes at a place that is a constant, too.
#[inline(always)]
fn put<const N: usize>(bytes: &mut [u8], at: usize, new: &[u8; N]) {
    bytes[at..at + N].copy_from_slice(new);
}
