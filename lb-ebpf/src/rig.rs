//! Programs for tests and benchmarks only; never part of the product.
//!
//! * `pass`: does nothing. A veth end needs a program for answers sent by XDP to arrive (`rig_pass`).
//! * `vlan`: a tag beside the frame, as hardware that strips tags leaves it (`rig_push_vlan`).
//! * `reflect`: the floor of every responder: sends frames back as they are, or with the addresses swapped.
//! * `generator`: makes requests out of nothing, or puts one before another program (`rig_replay`).
//! * `sink`: checks and counts the answers.
//! * `lookup`: what one look-up in a hash map costs.
//! * `loss`: a port of a switch that loses frames, all of them when its node is to be dead.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]
// Inline assembly for BPF is not stable yet; the build sets RUSTC_BOOTSTRAP for aya-ebpf anyway.
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]

#[cfg(target_arch = "bpf")]
#[path = "rig/generator.rs"]
mod generator;
#[path = "rig/layout.rs"]
#[cfg(target_arch = "bpf")]
mod layout;
#[cfg(target_arch = "bpf")]
#[path = "rig/lookup.rs"]
mod lookup;
#[cfg(target_arch = "bpf")]
#[path = "rig/loss.rs"]
mod loss;
#[cfg(target_arch = "bpf")]
#[path = "rig/maps.rs"]
mod maps;
#[cfg(target_arch = "bpf")]
#[path = "rig/packet.rs"]
mod packet;
#[cfg(target_arch = "bpf")]
#[path = "rig/pass.rs"]
mod pass;
#[cfg(target_arch = "bpf")]
#[path = "rig/reflect.rs"]
mod reflect;
#[cfg(target_arch = "bpf")]
#[path = "rig/sink.rs"]
mod sink;
#[cfg(target_arch = "bpf")]
#[path = "rig/vlan.rs"]
mod vlan;

/// On the host the crate is only checked.
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
