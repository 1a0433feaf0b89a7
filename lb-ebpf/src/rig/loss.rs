//! A port of a switch that loses frames: some of every thousand, or all, each way by itself.
//!
//! Two hooks, one for each way: XDP sees what the node sends before the switch does, and tcx what the switch sends before
//! the node does. The node's own end stays free for the program under test. Both count what probes pass by, too.

use aya_ebpf::bindings::xdp_action;
use aya_ebpf::helpers::bpf_get_prandom_u32;
use aya_ebpf::macros::{classifier, xdp};
use aya_ebpf::programs::{TcContext, XdpContext};

use crate::layout::Loss;
use crate::maps;
use crate::packet::Packet;

/// `TCX_NEXT`: go on with the next program, in the end with the transmission.
const TCX_NEXT: i32 = -1;
/// `TCX_DROP`.
const TCX_DROP: i32 = 2;
/// EtherTypes as they lie in memory, the protocol of datagrams, and the port of S-BFD (RFC 7881) as it lies in memory.
const IPV4: u16 = 0x0008;
const IPV6: u16 = 0xdd86;
const UDP: u8 = 17;
const SBFD: u16 = 7784_u16.swap_bytes();

/// From the node.
#[xdp(frags)]
pub(crate) fn rig_lose(ctx: XdpContext) -> u32 {
    count_probe(Packet::of_xdp(ctx.ctx), 0);
    if is_lost(|loss| loss.from_node, 0) { xdp_action::XDP_DROP } else { xdp_action::XDP_PASS }
}

/// To the node, at tcx egress.
#[classifier]
pub(crate) fn rig_lose_tcx(ctx: TcContext) -> i32 {
    count_probe(Packet::of_skb(ctx.skb.skb), 1);
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

/// Counts requests of S-BFD, whether they are lost or not. Answers go to another port.
#[inline(always)]
fn count_probe(packet: Packet, way: u32) {
    if !packet.has(38) {
        return;
    }
    // SAFETY (all loads): 38 bytes are there, or 58 where that is asked for.
    let is_probe = match unsafe { packet.load::<u16>(12) } {
        // A header without options.
        IPV4 => {
            let (length, protocol) = unsafe { (packet.load::<u8>(14), packet.load::<u8>(23)) };
            length == 0x45 && protocol == UDP && unsafe { packet.load::<u16>(36) } == SBFD
        }
        IPV6 => {
            packet.has(58)
                && unsafe { packet.load::<u8>(20) } == UDP
                && unsafe { packet.load::<u16>(56) } == SBFD
        }
        _ => false,
    };
    if is_probe {
        maps::count_probe(way);
    }
}
