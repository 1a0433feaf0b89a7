//! A VLAN tag out of band: what the stack sees of a tagged frame when the hardware strips tags (V06).

use aya_ebpf::helpers::generated::bpf_skb_vlan_push;
use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;

/// `TCX_NEXT`: go on with the next program, in the end with the transmission.
const TCX_NEXT: i32 = -1;

/// Tag control information, host order. The loader overrides it.
#[unsafe(no_mangle)]
static VLAN_TCI: u16 = 0;

/// 0x8100 or 0x88a8, host order. The loader overrides it.
#[unsafe(no_mangle)]
static VLAN_PROTO: u16 = 0x8100;

/// For tcx egress: gives each frame the tag, unless it already has one beside it. A tag in the frame stays and
/// becomes the inner one.
#[classifier]
pub(crate) fn rig_push_vlan(ctx: TcContext) -> i32 {
    let skb = ctx.skb.skb;
    // SAFETY: the context is the program's own.
    if unsafe { (*skb).vlan_present } == 0 {
        // SAFETY: volatile, because the compiler knows only the initial value of the constant.
        let proto = unsafe { core::ptr::read_volatile(&raw const VLAN_PROTO) };
        // SAFETY: as above.
        let tci = unsafe { core::ptr::read_volatile(&raw const VLAN_TCI) };
        // SAFETY: the context is the program's own, and no packet pointer is held.
        unsafe { bpf_skb_vlan_push(skb, proto.to_be(), tci) };
    }
    TCX_NEXT
}
