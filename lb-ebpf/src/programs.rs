//! Entry points: from [`Outcome`] to the action of the hook, nothing else.

use aya_ebpf::bindings::{TC_ACT_REDIRECT, xdp_action};
use aya_ebpf::helpers::bpf_redirect;
use aya_ebpf::macros::{classifier, xdp};
use aya_ebpf::programs::{TcContext, XdpContext};
use lb_common::outcome::{Outcome, Verdict};

use crate::frame::{Frame, Skb, Xdp};
use crate::respond::respond;

/// `TCX_NEXT`: let the next program on the hook decide, in the end the stack.
const TCX_NEXT: i32 = -1;

/// For kernels and drivers that know multi-buffer frames (5.18).
#[xdp(frags)]
pub(crate) fn barelb_xdp(ctx: XdpContext) -> u32 {
    let outcome = respond(&Xdp::<true>::new(ctx.ctx));
    log(&ctx, outcome);
    xdp_action_of(outcome)
}

/// For kernels before 5.18.
#[xdp]
pub(crate) fn barelb_xdp_plain(ctx: XdpContext) -> u32 {
    let outcome = respond(&Xdp::<false>::new(ctx.ctx));
    log(&ctx, outcome);
    xdp_action_of(outcome)
}

/// First on the tcx ingress hook (6.6); sees VLAN tags the hardware stripped.
#[classifier]
pub(crate) fn barelb_tcx(ctx: TcContext) -> i32 {
    let frame = Skb::new(ctx.skb.skb);
    let outcome = respond(&frame);
    log(&ctx, outcome);
    match outcome.verdict() {
        // SAFETY: a helper without pointer arguments.
        Verdict::Answer => match unsafe { bpf_redirect(frame.ifindex(), 0) } as i32 {
            TC_ACT_REDIRECT => TC_ACT_REDIRECT,
            // Unreachable for a valid index without flags; the frame is already an answer, so it must not go up.
            other => other,
        },
        Verdict::Pass => TCX_NEXT,
    }
}

#[inline(always)]
fn xdp_action_of(outcome: Outcome) -> u32 {
    match outcome.verdict() {
        Verdict::Answer => xdp_action::XDP_TX,
        Verdict::Pass => xdp_action::XDP_PASS,
    }
}

/// Names the outcome of each ARP and neighbour discovery frame, in a build with the feature `frame-log`.
#[inline(always)]
#[cfg_attr(not(feature = "frame-log"), expect(unused_variables, reason = "the normal object logs nothing"))]
fn log<C: aya_ebpf::EbpfContext>(ctx: &C, outcome: Outcome) {
    #[cfg(feature = "frame-log")]
    if outcome != Outcome::Ignored {
        aya_log_ebpf::info!(ctx, "{}", outcome.name());
    }
}
