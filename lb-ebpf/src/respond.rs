//! From EtherType to the protocol: the pass path, kept short, and the VLAN tags.

use core::arch::asm;
use core::mem::MaybeUninit;

use lb_common::abi::Vlans;
use lb_common::outcome::Outcome;
use lb_common::packet::ethernet::{self, EtherType, HEADER, TAG};
use lb_common::packet::{bfd, ndp};

use crate::frame::Frame;
use crate::maps;
use crate::stages::{Done, Job, Stages};

/// Where the protocol of an IPv4 packet lies, from its first byte.
const PROTOCOL: usize = 9;
/// Where the next header of an IPv6 packet lies, from its first byte.
const NEXT_HEADER: usize = 6;

/// What stands before the protocol.
struct Link {
    /// Bytes of header and tags in the frame.
    len: usize,
    ethertype: EtherType,
    vlans: Vlans,
}

/// What happens to the frame; an answer has been written in place.
#[inline(always)]
pub(crate) fn respond<F: Stages>(frame: &F) -> Outcome {
    // Plain IPv4 first: the path of nearly all traffic ends after two comparisons.
    let Some(ethertype) = frame.ethertype() else { return Outcome::Ignored };
    if ethertype == ethernet::IPV4 {
        if frame.lacks::<{ HEADER + PROTOCOL }>(bfd::UDP) {
            return Outcome::Ignored;
        }
        return udp(frame);
    }
    let ethertype = opaque(ethertype);
    if ethertype == ethernet::IPV6 && !frame.lacks::<{ HEADER + NEXT_HEADER }>(bfd::UDP) {
        let outcome = udp(frame);
        if outcome != Outcome::Ignored {
            return outcome;
        }
    }
    let link = match frame.out_of_band() {
        None => in_band(frame, ethertype),
        Some(tag) => out_of_band(frame, tag, ethertype),
    };
    let Some(link) = link else { return Outcome::Ignored };
    let outcome = protocol(frame, &link);
    if outcome != Outcome::Ignored {
        maps::count(outcome);
    }
    outcome
}

/// The same, but the compiler can't know: else it would make one decision tree of this comparison and all later ones, and
/// not begin with IPv4.
#[inline(always)]
fn opaque(ethertype: EtherType) -> EtherType {
    let value: u64;
    // SAFETY: one copy.
    unsafe {
        asm!(
            "{value} = {same}",
            value = lateout(reg) value,
            same = in(reg) u64::from(ethertype),
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    value as EtherType
}

/// What may be a probe.
#[inline(always)]
fn udp<F: Stages>(frame: &F) -> Outcome {
    let outcome = frame.bfd();
    if outcome != Outcome::Ignored {
        maps::count(outcome);
    }
    outcome
}

#[inline(always)]
fn in_band<F: Frame>(frame: &F, ethertype: EtherType) -> Option<Link> {
    if ethertype != ethernet::VLAN && ethertype != ethernet::SERVICE_VLAN {
        return Some(Link { len: HEADER, ethertype, vlans: Vlans::UNTAGGED });
    }
    let &[t0, t1, e0, e1] = frame.at::<TAG>(HEADER)?;
    let (outer, inner_type) = ([t0, t1], ethernet::ethertype([e0, e1]));
    if inner_type == ethernet::VLAN {
        return two_tags(frame, HEADER + TAG, outer);
    }
    // A lone service tag is a VLAN of the provider's, not ours of the same number.
    (ethertype == ethernet::VLAN).then(|| Link {
        len: HEADER + TAG,
        ethertype: inner_type,
        vlans: ethernet::single(outer),
    })
}

/// The outermost tag was stripped into the skb; at most one more is in the frame.
#[inline(always)]
fn out_of_band<F: Frame>(frame: &F, tag: (EtherType, [u8; 2]), ethertype: EtherType) -> Option<Link> {
    let (tpid, outer) = tag;
    if ethertype == ethernet::VLAN {
        return two_tags(frame, HEADER, outer);
    }
    (tpid == ethernet::VLAN).then(|| Link { len: HEADER, ethertype, vlans: ethernet::single(outer) })
}

/// The inner tag is at `at`. A third one is no protocol of ours and ends in `protocol` (V10).
#[inline(always)]
fn two_tags<F: Frame>(frame: &F, at: usize, outer: [u8; 2]) -> Option<Link> {
    let &[t0, t1, e0, e1] = frame.at::<TAG>(at)?;
    Some(Link {
        len: at + TAG,
        ethertype: ethernet::ethertype([e0, e1]),
        vlans: ethernet::double(outer, [t0, t1]),
    })
}

#[inline(always)]
fn protocol<F: Stages>(frame: &F, link: &Link) -> Outcome {
    let &Link { len, ethertype, vlans } = link;
    match ethertype {
        ethernet::ARP if vlans.is_reserved() => Outcome::VlanReserved,
        ethernet::ARP => outcome_of(Stages::arp, frame, link),
        ethernet::IPV6 => {
            frame.pull(len + ndp::LEN);
            let Some(&[next, _]) = frame.at::<2>(len + NEXT_HEADER) else { return Outcome::Ignored };
            match next {
                ndp::ICMPV6 if vlans.is_reserved() => Outcome::VlanReserved,
                ndp::ICMPV6 => outcome_of(Stages::nd, frame, link),
                ndp::HOP_BY_HOP | ndp::DESTINATION_OPTIONS => Outcome::NdExtensionHeader,
                _ => Outcome::Ignored,
            }
        }
        _ => Outcome::Ignored,
    }
}

#[inline(always)]
fn outcome_of<F: Stages>(stage: impl Fn(&F, usize, &mut Job) -> Done, frame: &F, link: &Link) -> Outcome {
    let mut place = MaybeUninit::uninit();
    let job = Job::zeroed(&mut place);
    job.vlans = link.vlans;
    match stage(frame, link.len, job) {
        Ok(()) => job.outcome(),
        Err(outcome) => outcome,
    }
}
