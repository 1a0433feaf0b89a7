//! What the benchmark and its BPF programs share; the benchmark includes this file.
//!
//! Frames are little-endian 64-bit words here: word `i` holds bytes `8 * i` to `8 * i + 7` as they lie in memory.
//! That is how both sides, on the machines this runs on, load them.

/// Words of the longest frame: a neighbour solicitation of 86 bytes.
pub const WORDS: usize = 11;

/// Bytes of an ARP request with its padding, as a network card hands it up.
pub const ARP_LEN: usize = 60;
/// Bytes of a neighbour solicitation with its source link-layer option.
pub const NS_LEN: usize = 86;

/// [`Plan::flags`]: neighbour discovery instead of ARP.
pub const NEIGHBOUR: u32 = 1;
/// [`Plan::flags`]: the solicitation goes to the address itself, not to its group.
pub const UNICAST: u32 = 2;
/// [`Plan::flags`]: remember which requesters were answered.
pub const BITMAP: u32 = 4;
/// [`Plan::flags`]: measure the time from request to answer.
pub const LATENCY: u32 = 8;

/// Bits of the map of answered requesters.
pub const BITMAP_BITS: u32 = 1 << 20;
/// Requesters whose time of asking is remembered.
pub const STAMPS: u32 = 1 << 12;
/// Buckets of the latency histogram, see [`bucket`].
pub const BUCKETS: u32 = 2048;
/// Look-ups in one run of a look-up program.
pub const LOOKUPS: u32 = 256;

/// What the generator makes and the sink accepts.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Plan {
    /// The request, its variable parts zero.
    pub request: [u64; WORDS],
    /// The answer, likewise, under [`Plan::mask`].
    pub answer: [u64; WORDS],
    /// Which bits of the answer are fixed.
    pub mask: [u64; WORDS],
    /// Nanoseconds between frames; 0 = as fast as it goes.
    pub interval_ns: u64,
    /// One's complement sum of the checksummed part of the solicitation, its variable parts zero.
    pub sum: u32,
    /// Addresses that are answered for: `vip_base` and up, host order; in IPv6 the last 32 bits.
    pub vips: u32,
    /// First of them.
    pub vip_base: u32,
    /// Number of requesters, which take turns.
    pub requesters: u32,
    /// First of them.
    pub requester_base: u32,
    /// First of the addresses nobody answers for.
    pub stranger_base: u32,
    /// 1 = every frame asks for a VIP, n = each n-th, and the others for addresses nobody answers for.
    pub good_every: u32,
    /// [`NEIGHBOUR`] and its neighbours.
    pub flags: u32,
}

/// What the generator remembers and counts.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Generator {
    /// State of the random numbers; not 0.
    pub random: u64,
    /// When the next frame is due, nanoseconds of `CLOCK_MONOTONIC`.
    pub due_ns: u64,
    /// Frames made.
    pub sent: u64,
    /// Of those, requests for a VIP.
    pub good: u64,
    /// Requests whose requester had still no answer to its last one (only with [`LATENCY`]).
    pub unanswered: u64,
}

/// What the sink counts.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Sink {
    /// Answers as they must be.
    pub good: u64,
    /// ARP replies and advertisements that are not.
    pub wrong: u64,
    /// Frames of other kinds.
    pub other: u64,
    /// Requesters answered for the first time (only with [`BITMAP`]).
    pub distinct: u64,
}

/// The histogram bucket of a duration: 32 per power of two, so each is 3 % wide.
#[inline(always)]
pub const fn bucket(ns: u64) -> u32 {
    if ns < 64 {
        return ns as u32;
    }
    let mut exponent = 6;
    let mut rest = ns >> 7;
    // Not leading_zeros, which BPF has no instruction for.
    let mut step = 32;
    while step > 0 {
        if rest >> (step - 1) != 0 {
            rest >>= step;
            exponent += step;
        }
        step /= 2;
    }
    let index = ((exponent - 4) << 5) as u32 + ((ns >> (exponent - 5)) & 31) as u32;
    if index < BUCKETS { index } else { BUCKETS - 1 }
}
