//! ARP between the frame and the maps.

use lb_common::abi::{self, KeyV4, Vlans};
use lb_common::addr::Address;
use lb_common::outcome::Outcome;
use lb_common::packet::{MIN_FRAME, arp, ethernet};

use crate::counters::{self, Seen};
use crate::frame::Frame;
use crate::maps;

/// Bytes an answer to a padded request is padded with: 60 less the header and the message.
const PAD: usize = MIN_FRAME - ethernet::HEADER - arp::LEN;
const _: () = assert!(PAD == 18);

/// `l2` = bytes before the message.
#[inline(always)]
pub(crate) fn respond<F: Frame>(frame: &F, l2: usize, vlans: Vlans) -> Outcome {
    frame.pull(l2 + arp::LEN + PAD);
    let (Some(macs), Some(message)) = (frame.at::<12>(0), frame.at::<{ arp::LEN }>(l2)) else {
        return Outcome::ArpTruncated;
    };
    let query = match arp::parse(macs, message) {
        Ok(query) => query,
        Err(outcome) => return outcome,
    };
    let ifindex = frame.ifindex();
    let target = maps::v4(&KeyV4::new(ifindex, vlans, query.target()));
    // A probe claims nothing; an announcement names one address twice.
    let sender = if query.is_probe() {
        None
    } else if query.is_announcement() {
        target
    } else {
        maps::v4(&KeyV4::new(ifindex, vlans, query.sender()))
    };
    let outcome = frame.forget_outcome(arp::judge(macs, query, target, sender));
    if !outcome.is_noted() {
        return outcome;
    }
    let claimed = frame.forget(u32::from(sender.is_some())) != 0;
    let Some(entry) = sender.or(target) else { return outcome };
    let now = maps::now();
    let Some(agent) = maps::agent() else { return outcome.expired() };
    let outcome = if agent.valid_until_ns > now { outcome } else { outcome.expired() };
    let outcome = if outcome.is_answer() { fit(frame, l2, outcome) } else { outcome };
    let outcome = frame.forget_outcome(outcome);
    // Once more, because the frame may have moved. Still the request, so it is noted before it is overwritten.
    let (Some(macs), Some(message)) = (frame.at_mut::<12>(0), frame.at_mut::<{ arp::LEN }>(l2)) else {
        return Outcome::ArpTruncated;
    };
    let query = arp::Query::accepted(message);
    let peer = Address::v4(&query.sender());
    let addr = if claimed { peer } else { Address::v4(&query.target()) };
    let trace = agent.flags & abi::AGENT_TRACE;
    let seen = Seen { now, ifindex, vlans, addr, peer, peer_mac: query.sender_mac(), trace };
    counters::note(entry, outcome, &seen);
    if outcome.is_answer() {
        arp::write_reply(macs, message, entry.mac());
    }
    outcome
}

/// Makes the frame as long as the answer: as the request, but 60 bytes (and tags) at most. Foreign padding is
/// not sent back.
#[inline(always)]
fn fit<F: Frame>(frame: &F, l2: usize, outcome: Outcome) -> Outcome {
    let len = frame.len();
    if len > frame.end() - frame.start() {
        return Outcome::Oversized;
    }
    let (bare, padded) = (l2 + arp::LEN, l2 + arp::LEN + PAD);
    if len != bare && len != padded && !frame.resize(if len < padded { bare } else { padded }) {
        return Outcome::NoRoom;
    }
    // In words, because LLVM makes a call of a loop over bytes out of an array of 18.
    if let (Some(a), Some(b), Some(c)) =
        (frame.at_mut::<8>(bare), frame.at_mut::<8>(bare + 8), frame.at_mut::<2>(bare + 16))
    {
        (*a, *b, *c) = ([0; 8], [0; 8], [0; 2]);
    }
    outcome
}
