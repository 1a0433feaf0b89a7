//! Requests for the VIPs of the plan, uniformly at random.
//!
//! Run by `BPF_PROG_RUN` with live frames, where XDP_TX means "out of the interface the frame is said to have
//! come in by". The kernel recycles the pages, so what is in them is whatever the last use left: every byte of
//! the frame is written each time.

use aya_ebpf::bindings::xdp_action;
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;

use crate::layout::{ARP_LEN, BITMAP, Generator, LATENCY, NEIGHBOUR, NS_LEN, Plan, SKEWED, UNICAST};
use crate::maps;
use crate::packet::Packet;

/// Frames the generator makes up for at once.
const MOST_BEHIND: u64 = 64;

/// One frame per call, or none (XDP_DROP) while the next is not yet due.
#[xdp(frags)]
pub(crate) fn rig_generator(ctx: XdpContext) -> u32 {
    let (Some(plan), Some(state)) = (maps::plan(), maps::generator()) else { return xdp_action::XDP_ABORTED };
    let Some(now) = due(plan, state) else { return xdp_action::XDP_DROP };
    let (good, requester) = turn(plan, state);
    if good
        && plan.flags & LATENCY != 0
        && let Some(asked) = maps::asked_ns(requester)
    {
        state.unanswered += u64::from(*asked != 0);
        *asked = now;
    }
    if !write(Packet::of_xdp(ctx.ctx), plan, state, requester, good) {
        return xdp_action::XDP_ABORTED;
    }
    state.sent += 1;
    state.good += u64::from(good);
    xdp_action::XDP_TX
}

/// The time, as far as it is looked at, when a frame is to be made.
#[inline(always)]
fn due(plan: &Plan, state: &mut Generator) -> Option<u64> {
    if plan.flags & BITMAP != 0 && state.good >= u64::from(plan.requesters) {
        return None;
    }
    // Unpaced, the clock would be a good part of the work.
    if plan.interval_ns == 0 && state.sent % 64 != 0 {
        return Some(state.last_ns);
    }
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    if now >= state.until_ns {
        return None;
    }
    if plan.interval_ns != 0 {
        if now < state.due_ns {
            return None;
        }
        // Catches up on what it missed while it was not running, but for long pauses: that would be a burst.
        let begin = if now - state.due_ns > MOST_BEHIND * plan.interval_ns { now } else { state.due_ns };
        state.due_ns = begin + plan.interval_ns;
    }
    if state.first_ns == 0 {
        state.first_ns = now;
    }
    state.last_ns = now;
    Some(now)
}

/// Writes a request and runs the program under test on it: `repeat` of `BPF_PROG_RUN` does not restore the
/// frame between rounds, so without this all rounds but the first would see an answer.
#[xdp(frags)]
pub(crate) fn rig_replay(ctx: XdpContext) -> u32 {
    let (Some(plan), Some(state)) = (maps::plan(), maps::generator()) else { return xdp_action::XDP_ABORTED };
    let (good, requester) = turn(plan, state);
    if !write(Packet::of_xdp(ctx.ctx), plan, state, requester, good) {
        return xdp_action::XDP_ABORTED;
    }
    // SAFETY: the map holds XDP programs.
    unsafe { maps::targets().tail_call(&ctx, 0) };
    xdp_action::XDP_ABORTED
}

/// Whether this frame asks for a VIP, and who asks. Requesters take turns at that; the strangers' frames come
/// from whoever is next. No remainders: division is slow.
#[inline(always)]
fn turn(plan: &Plan, state: &mut Generator) -> (bool, u32) {
    let requester = state.turn;
    if plan.strangers == u32::MAX {
        return (false, requester);
    }
    if state.strangers != 0 {
        state.strangers -= 1;
        return (false, requester);
    }
    state.strangers = plan.strangers;
    let next = requester + 1;
    state.turn = if next >= plan.requesters { 0 } else { next };
    (true, requester)
}

/// The next request; false when the frame is too short.
#[inline(always)]
fn write(packet: Packet, plan: &Plan, state: &mut Generator, requester: u32, good: bool) -> bool {
    let (range, base) = if good { (plan.vips, plan.vip_base) } else { (1 << 22, plan.stranger_base) };
    let mut random = next(state) >> 32;
    if good && plan.flags & SKEWED != 0 {
        // Halved as often as a second die says; 17 sides reach from 100,000 down to one.
        random >>= (next(state) >> 32) * 17 >> 32;
    }
    let random = random * u64::from(range) >> 32;
    let target = base.wrapping_add(random as u32).to_be();
    let requester = plan.requester_base.wrapping_add(requester).to_be();
    if plan.flags & NEIGHBOUR == 0 {
        arp(packet, plan, target, requester)
    } else {
        solicitation(packet, plan, target, requester)
    }
}

/// xorshift64.
#[inline(always)]
fn next(state: &mut Generator) -> u64 {
    let mut random = state.random;
    random ^= random << 13;
    random ^= random >> 7;
    random ^= random << 17;
    state.random = random;
    random
}

/// Sender address at byte 28, target address at 38.
#[inline(always)]
fn arp(packet: Packet, plan: &Plan, target: u32, requester: u32) -> bool {
    if !packet.has(ARP_LEN) {
        return false;
    }
    let (template, target) = (&plan.request, u64::from(target));
    // SAFETY: 60 bytes are there.
    unsafe {
        packet.store(0, template[0]);
        packet.store(8, template[1]);
        packet.store(16, template[2]);
        packet.store(24, template[3] | u64::from(requester) << 32);
        packet.store(32, template[4] | target << 48);
        packet.store(40, target >> 16);
        packet.store(48, 0_u64);
        packet.store(56, 0_u32);
    }
    true
}

/// The last four bytes of the source lie at byte 34, of the destination at 50, of the target at 74.
#[inline(always)]
fn solicitation(packet: Packet, plan: &Plan, target: u32, requester: u32) -> bool {
    if !packet.has(NS_LEN) {
        return false;
    }
    let template = &plan.request;
    let (target, requester) = (u64::from(target), u64::from(requester));
    let mut sum = u64::from(plan.sum) + halves(requester) + halves(target);
    let (mac, destination);
    if plan.flags & UNICAST != 0 {
        (mac, destination) = (0, target << 16);
        sum += halves(target);
    } else {
        // The group has the last three bytes of the target, and so has the address it maps to.
        let group = target & 0xffff_ff00;
        (mac, destination) = (group << 16, group << 16);
        sum += halves(group);
    }
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    // SAFETY: 86 bytes are there.
    unsafe {
        packet.store(0, template[0] | mac);
        packet.store(8, template[1]);
        packet.store(16, template[2]);
        packet.store(24, template[3]);
        packet.store(32, template[4] | requester << 16);
        packet.store(40, template[5]);
        packet.store(48, template[6] | destination);
        packet.store(56, template[7] | (!sum & 0xffff));
        packet.store(64, template[8]);
        packet.store(72, template[9] | target << 16);
        packet.store(80, template[10] as u32);
        packet.store(84, (template[10] >> 32) as u16);
    }
    true
}

/// The two 16-bit words of a 32-bit one, added.
#[inline(always)]
fn halves(word: u64) -> u64 {
    (word & 0xffff) + (word >> 16)
}
