//! A port of a switch that loses frames: some of every thousand, or all, each way by itself.
//!
//! Two hooks, one for each way: XDP sees what the node sends before the switch does, and tcx what the switch sends before
//! the node does. The node's own end stays free for the program under test.

use aya_ebpf::bindings::xdp_action;
use aya_ebpf::helpers::bpf_get_prandom_u32;
use aya_ebpf::macros::{classifier, xdp};
use aya_ebpf::programs::{TcContext, XdpContext};

use crate::layout::Loss;
use crate::maps;

/// `TCX_NEXT`: go on with the next program, in the end with the transmission.
const TCX_NEXT: i32 = -1;
/// `TCX_DROP`.
const TCX_DROP: i32 = 2;

/// From the node.
#[xdp(frags)]
pub(crate) fn rig_lose(_: XdpContext) -> u32 {
    if is_lost(|loss| loss.from_node, 0) { xdp_action::XDP_DROP } else { xdp_action::XDP_PASS }
}

/// To the node, at tcx egress.
#[classifier]
pub(crate) fn rig_lose_tcx(_: TcContext) -> i32 {
    if is_lost(|loss| loss.to_node, 1) { TCX_DROP } else { TCX_NEXT }
}

#[inline(always)]
fn is_lost(per_mille: impl Fn(&Loss) -> u32, way: u32) -> bool {
    let Some(loss) = maps::loss() else { return false };
    let per_mille = per_mille(loss);
    if per_mille == 0 {
        return false;
    }
    // SAFETY: a helper without arguments.
    let random = u64::from(unsafe { bpf_get_prandom_u32() });
    let lost = (random * 1000) >> 32 < u64::from(per_mille);
    if lost {
        maps::count_lost(way);
    }
    lost
}
