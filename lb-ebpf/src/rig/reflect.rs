//! The floor: what sending a frame back costs before a responder has done anything.

use aya_ebpf::bindings::xdp_action;
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;

use crate::packet::Packet;

/// Sends every frame back untouched.
#[xdp(frags)]
pub(crate) fn rig_reflect(_: XdpContext) -> u32 {
    xdp_action::XDP_TX
}

/// Swaps the two addresses of the Ethernet header, in two loads and two stores, and sends the frame back.
#[xdp(frags)]
pub(crate) fn rig_swap(ctx: XdpContext) -> u32 {
    let packet = Packet::of_xdp(ctx.ctx);
    if !packet.has(12) {
        return xdp_action::XDP_PASS;
    }
    // SAFETY: 12 bytes are there.
    let first = unsafe { packet.load::<u64>(0) };
    // SAFETY: as above.
    let last = unsafe { packet.load::<u32>(8) };
    // Bytes 0–5 are the destination, 6–11 the source.
    let source = first >> 48 | u64::from(last) << 16;
    // SAFETY: as above.
    unsafe { packet.store(0, source | first << 48) };
    // SAFETY: as above.
    unsafe { packet.store(8, (first >> 16) as u32) };
    xdp_action::XDP_TX
}
