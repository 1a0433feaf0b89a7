//! Checks every answer against the plan, counts it and ends its way.
//!
//! Two hooks: XDP for what XDP sends, tcx for what the stack or a process sends, because an XDP program on this
//! end would make the kernel copy each of those frames first.

use aya_ebpf::bindings::{TC_ACT_SHOT, xdp_action};
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::macros::{classifier, xdp};
use aya_ebpf::programs::{TcContext, XdpContext};

use crate::layout::{self, BITMAP, ECHO, LATENCY, NEIGHBOUR, NS_LEN, Plan, Sink};
use crate::maps;
use crate::packet::Packet;

/// Bytes of an ARP reply without padding.
const ARP_REPLY: usize = 42;
/// EtherType of ARP and its operations, as they lie in memory.
const ARP: u16 = 0x0608;
const REQUEST: u16 = 0x0100;
const REPLY: u16 = 0x0200;
/// EtherType of IPv6, as it lies in memory, and types of ICMPv6.
const IPV6: u16 = 0xdd86;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;

#[xdp(frags)]
pub(crate) fn rig_sink(ctx: XdpContext) -> u32 {
    receive(Packet::of_xdp(ctx.ctx));
    xdp_action::XDP_DROP
}

#[classifier]
pub(crate) fn rig_sink_tcx(ctx: TcContext) -> i32 {
    receive(Packet::of_skb(ctx.skb.skb));
    TC_ACT_SHOT
}

/// Drops everything, unseen.
#[xdp(frags)]
pub(crate) fn rig_drop(_: XdpContext) -> u32 {
    xdp_action::XDP_DROP
}

/// An answer of the right kind: who answered for which address to whom (host order), and whether all of it is
/// as it must be.
struct Answer {
    vip: u32,
    requester: u32,
    exact: bool,
}

#[inline(always)]
fn receive(packet: Packet) {
    let (Some(plan), Some(sink)) = (maps::plan(), maps::sink()) else { return };
    let answer = if plan.flags & NEIGHBOUR == 0 { arp(packet, plan) } else { advertisement(packet, plan) };
    let Some(answer) = answer else {
        sink.other += 1;
        return;
    };
    let requester = answer.requester.wrapping_sub(plan.requester_base);
    let vip = answer.vip.wrapping_sub(plan.vip_base);
    if !answer.exact || requester >= plan.requesters || vip >= plan.vips {
        sink.wrong += 1;
        return;
    }
    sink.good += 1;
    note(plan, sink, requester);
}

#[inline(always)]
fn note(plan: &Plan, sink: &mut Sink, requester: u32) {
    if plan.flags & BITMAP != 0 && maps::mark_answered(requester) {
        sink.distinct += 1;
    }
    if plan.flags & LATENCY != 0
        && let Some(asked) = maps::asked_ns(requester)
        && *asked != 0
    {
        // SAFETY: a helper without arguments.
        let now = unsafe { bpf_ktime_get_ns() };
        maps::count_latency(layout::bucket(now.wrapping_sub(*asked)));
        *asked = 0;
    }
}

#[inline(always)]
fn arp(packet: Packet, plan: &Plan) -> Option<Answer> {
    // SAFETY (all loads): 42 bytes are there.
    if !packet.has(ARP_REPLY) || unsafe { packet.load::<u16>(12) } != ARP {
        return None;
    }
    let echo = plan.flags & ECHO != 0;
    if unsafe { packet.load::<u16>(20) } != if echo { REQUEST } else { REPLY } {
        return None;
    }
    let mut differs = 0;
    let mut i = 0;
    while i < 5 {
        differs |= (unsafe { packet.load::<u64>(8 * i) } & plan.mask[i]) ^ plan.answer[i];
        i += 1;
    }
    let [sender, high, low] =
        unsafe { [packet.load::<u32>(28), packet.load::<u16>(38).into(), packet.load::<u16>(40).into()] };
    let target: u32 = high | low << 16;
    let (vip, requester) = if echo { (target, sender) } else { (sender, target) };
    Some(Answer { vip: u32::from_be(vip), requester: u32::from_be(requester), exact: differs == 0 })
}

#[inline(always)]
fn advertisement(packet: Packet, plan: &Plan) -> Option<Answer> {
    // SAFETY (all loads): 86 bytes are there.
    if !packet.has(NS_LEN) || unsafe { packet.load::<u16>(12) } != IPV6 {
        return None;
    }
    let echo = plan.flags & ECHO != 0;
    if unsafe { packet.load::<u8>(54) } != if echo { SOLICITATION } else { ADVERTISEMENT } {
        return None;
    }
    let mut differs = 0;
    let mut i = 0;
    while i < 10 {
        differs |= (unsafe { packet.load::<u64>(8 * i) } & plan.mask[i]) ^ plan.answer[i];
        i += 1;
    }
    let last = unsafe { u64::from(packet.load::<u32>(80)) | u64::from(packet.load::<u16>(84)) << 32 };
    differs |= last ^ plan.answer[10];
    // Payload length and next header complete the pseudo-header: 32 and 58.
    let mut sum = (32 << 8) + (58 << 8);
    let mut at = 22;
    while at < 86 {
        sum += u64::from(unsafe { packet.load::<u32>(at) });
        at += 4;
    }
    sum = (sum & 0xffff_ffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    let [source, target, destination] =
        unsafe { [packet.load::<u32>(34), packet.load::<u32>(74), packet.load::<u32>(50)] };
    let requester = if echo { source } else { destination };
    let exact = differs == 0 && (echo || source == target) && sum == 0xffff;
    Some(Answer { vip: u32::from_be(target), requester: u32::from_be(requester), exact })
}
