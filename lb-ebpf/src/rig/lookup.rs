//! What one look-up in a hash map costs: many in a run, over the keys that are there, in random order.

use aya_ebpf::bindings::xdp_action;
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;
use lb_common::abi::{KeyV4, KeyV6, Vlans};

use crate::layout::LOOKUPS;
use crate::maps;

/// Only makes the keys; the time to subtract.
#[xdp(frags)]
pub(crate) fn rig_keys_v4(_: XdpContext) -> u32 {
    run(|index| core::hint::black_box(Aligned(v4(index))).0.addr()[0] == 10)
}

/// Makes keys and looks them up.
#[xdp(frags)]
pub(crate) fn rig_lookup_v4(_: XdpContext) -> u32 {
    run(|index| maps::has_v4(&Aligned(v4(index)).0))
}

/// Only makes the keys; the time to subtract.
#[xdp(frags)]
pub(crate) fn rig_keys_v6(_: XdpContext) -> u32 {
    run(|index| core::hint::black_box(Aligned(v6(index))).0.addr()[0] == 0x20)
}

/// Makes keys and looks them up.
#[xdp(frags)]
pub(crate) fn rig_lookup_v6(_: XdpContext) -> u32 {
    run(|index| maps::has_v6(&Aligned(v6(index)).0))
}

/// XDP_PASS when every look-up found its key. A miss ends the run, so that the verifier has one path to follow.
#[inline(always)]
fn run(found: impl Fn(u32) -> bool) -> u32 {
    let (Some(plan), Some(state)) = (maps::plan(), maps::generator()) else { return xdp_action::XDP_ABORTED };
    let mut random = state.random;
    let mut i = 0;
    while i < LOOKUPS {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        if !found(((random >> 32) * u64::from(plan.vips) >> 32) as u32) {
            return xdp_action::XDP_DROP;
        }
        i += 1;
    }
    state.random = random;
    xdp_action::XDP_PASS
}

/// The verifier wants words on the stack aligned, and the compiler joins fields of a key to words of eight bytes.
#[repr(C, align(8))]
struct Aligned<K>(K);

#[inline(always)]
fn v4(index: u32) -> KeyV4 {
    KeyV4::new(1, Vlans::UNTAGGED, (0x0a40_0000 + index).to_be_bytes())
}

#[inline(always)]
fn v6(index: u32) -> KeyV6 {
    let [a, b, c, d] = index.to_be_bytes();
    KeyV6::new(1, Vlans::UNTAGGED, [0x20, 1, 0xd, 0xb8, 0, 1, 0, 0, 0, 0, 0, 0, a, b, c, d])
}
