//! From EtherType to the protocol: the pass path, kept short, and the VLAN tags.

use lb_common::abi::Vlans;
use lb_common::outcome::Outcome;
use lb_common::packet::ethernet::{self, EtherType, HEADER, TAG};
use lb_common::packet::ndp;

use crate::frame::Frame;
use crate::{arp, maps, ndp as neighbour};

/// Where the next header of an IPv6 packet lies, from its first byte.
const NEXT_HEADER: usize = 6;

/// What happens to the frame; an answer has been written in place.
#[inline(always)]
pub(crate) fn respond<F: Frame>(frame: &F) -> Outcome {
    // Plain IPv4 first: the path of nearly all traffic ends after one comparison.
    let Some(ethertype) = frame.ethertype() else { return Outcome::Ignored };
    if ethertype == ethernet::IPV4 {
        return Outcome::Ignored;
    }
    let outcome = match frame.out_of_band() {
        None => in_band(frame, ethertype),
        Some(tag) => out_of_band(frame, tag, ethertype),
    };
    if outcome != Outcome::Ignored {
        maps::count(outcome);
    }
    outcome
}

#[inline(always)]
fn in_band<F: Frame>(frame: &F, ethertype: EtherType) -> Outcome {
    if !is_tag(ethertype) {
        return protocol(frame, HEADER, ethertype, Ok(Vlans::UNTAGGED));
    }
    let Some(&[t0, t1, e0, e1]) = frame.at::<TAG>(HEADER) else { return Outcome::Ignored };
    let (outer, inner_type) = ([t0, t1], ethernet::ethertype([e0, e1]));
    if inner_type != ethernet::VLAN {
        // A lone service tag is a VLAN of the provider's, not ours of the same number.
        if ethertype != ethernet::VLAN {
            return Outcome::Ignored;
        }
        return protocol(frame, HEADER + TAG, inner_type, ethernet::single(outer));
    }
    let Some(&[t0, t1, e0, e1]) = frame.at::<TAG>(HEADER + TAG) else { return Outcome::Ignored };
    protocol(frame, HEADER + 2 * TAG, ethernet::ethertype([e0, e1]), ethernet::double(outer, [t0, t1]))
}

/// The outermost tag was stripped into the skb; at most one more is in the frame.
#[inline(always)]
fn out_of_band<F: Frame>(frame: &F, tag: (EtherType, [u8; 2]), ethertype: EtherType) -> Outcome {
    let (tpid, outer) = tag;
    if ethertype != ethernet::VLAN {
        if tpid != ethernet::VLAN {
            return Outcome::Ignored;
        }
        return protocol(frame, HEADER, ethertype, ethernet::single(outer));
    }
    let Some(&[t0, t1, e0, e1]) = frame.at::<TAG>(HEADER) else { return Outcome::Ignored };
    protocol(frame, HEADER + TAG, ethernet::ethertype([e0, e1]), ethernet::double(outer, [t0, t1]))
}

/// `l2` = bytes before the protocol. A third tag is no protocol of ours and ends here (V10).
#[inline(always)]
fn protocol<F: Frame>(
    frame: &F,
    l2: usize,
    ethertype: EtherType,
    vlans: Result<Vlans, Outcome>,
) -> Outcome {
    match ethertype {
        ethernet::ARP => match vlans {
            Ok(vlans) => arp::respond(frame, l2, vlans),
            Err(outcome) => outcome,
        },
        ethernet::IPV6 => {
            frame.pull(l2 + ndp::LEN);
            let Some(header) = frame.at::<{ NEXT_HEADER + 1 }>(l2) else { return Outcome::Ignored };
            match header[NEXT_HEADER] {
                ndp::ICMPV6 => neighbour::respond(frame, l2, vlans),
                ndp::HOP_BY_HOP | ndp::DESTINATION_OPTIONS => Outcome::NdExtensionHeader,
                _ => Outcome::Ignored,
            }
        }
        _ => Outcome::Ignored,
    }
}

#[inline(always)]
fn is_tag(ethertype: EtherType) -> bool {
    ethertype == ethernet::VLAN || ethertype == ethernet::SERVICE_VLAN
}
