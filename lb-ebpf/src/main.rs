//! The BareLB data plane: ARP requests and neighbour solicitations for our addresses are answered here, and liveness
//! probes of other nodes reflected.
//!
//! Two thin programs over one packet core ([`lb_common::packet`]): XDP, and tcx for links whose driver has no
//! native XDP or may strip VLAN tags. EtherType test → parse → look up → judge → rewrite in place → count →
//! send back. Any doubt hands the frame to the stack, unchanged; nothing is ever dropped; frames that are
//! none of these reach no map.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]
// Inline assembly for BPF is not stable yet; the build sets RUSTC_BOOTSTRAP for aya-ebpf anyway.
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]

#[cfg(target_arch = "bpf")]
mod arp;
#[cfg(target_arch = "bpf")]
mod bfd;
#[cfg(target_arch = "bpf")]
mod counters;
#[cfg(target_arch = "bpf")]
mod frame;
#[cfg(target_arch = "bpf")]
mod maps;
#[cfg(target_arch = "bpf")]
mod ndp;
#[cfg(target_arch = "bpf")]
mod programs;
#[cfg(target_arch = "bpf")]
mod respond;
#[cfg(target_arch = "bpf")]
mod stages;

/// On the host the crate is only checked: the program is built for bpfel-unknown-none by `cargo xtask build`.
#[cfg(not(target_arch = "bpf"))]
fn main() {}

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // Unreachable: the verifier refuses a program that could get here.
    loop {}
}

#[cfg(target_arch = "bpf")]
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
