//! Neighbour discovery between the frame and the maps.

use lb_common::abi::{self, KeyV6, Vlans};
use lb_common::addr::{self, Address};
use lb_common::outcome::Outcome;
use lb_common::packet::ethernet;
use lb_common::packet::ndp::{self, Options, Query};

use crate::counters::{self, Seen};
use crate::frame::Frame;
use crate::maps;

/// `l2` = bytes before the IPv6 header.
#[inline(always)]
pub(crate) fn respond<F: Frame>(frame: &F, l2: usize, vlans: Vlans) -> Outcome {
    frame.pull(l2 + ndp::LEN + ndp::MAX_UNITS * ndp::UNIT);
    let Some(message) = frame.at::<{ ndp::LEN }>(l2) else { return short(frame, l2) };
    let query = match ndp::parse(message) {
        Ok(query) => query,
        Err(outcome) => return outcome,
    };
    let link_layer = match options(frame, l2, message, query) {
        Ok(link_layer) => link_layer,
        Err(outcome) => return outcome,
    };
    let Some((macs, query)) = again(frame, l2) else { return Outcome::NdTruncated };
    if let Err(outcome) = ndp::check(macs, query, link_layer) {
        return outcome;
    }
    let Some((_, query)) = again(frame, l2) else { return Outcome::NdTruncated };
    let ifindex = frame.ifindex();
    let target = maps::v6(&KeyV6::new(ifindex, vlans, addr::copied(query.target())));
    let source = if query.is_dad() {
        None
    } else {
        maps::v6(&KeyV6::new(ifindex, vlans, addr::copied(query.source())))
    };
    let Some((macs, query)) = again(frame, l2) else { return Outcome::NdTruncated };
    let outcome = frame.forget_outcome(ndp::judge(macs, query, link_layer, target, source));
    if !outcome.is_noted() {
        return outcome;
    }
    let claimed = frame.forget(u32::from(source.is_some())) != 0;
    let Some(entry) = source.or(target) else { return outcome };
    let now = maps::now();
    let Some(agent) = maps::agent() else { return outcome.expired() };
    let outcome = if agent.valid_until_ns > now { outcome } else { outcome.expired() };
    let outcome = if outcome.is_answer() { fit(frame, l2, outcome) } else { outcome };
    let outcome = frame.forget_outcome(outcome);
    // The frame may have moved. It is still the request, so it is noted before it is overwritten.
    let Some((macs, query)) = again(frame, l2) else { return Outcome::NdTruncated };
    let addr = Address::v6(if claimed { query.source() } else { query.target() });
    let peer_mac = link_layer.or(ethernet::source(macs));
    let trace = agent.flags & abi::AGENT_TRACE;
    let seen = Seen { now, ifindex, vlans, addr, peer: Address::v6(query.source()), peer_mac, trace };
    counters::note(entry, outcome, &seen);
    if outcome.is_answer() {
        let (Some(macs), Some(advert)) = (frame.at_mut::<12>(0), frame.at_mut::<{ ndp::ADVERT_LEN }>(l2))
        else {
            return Outcome::NdTruncated;
        };
        ndp::write_reply(macs, advert, link_layer, entry.mac());
    }
    outcome
}

/// The message, through pointers computed anew. Between the stages of `respond` that is cheaper than what the
/// compiler does otherwise: it loads each word of the frame once and keeps all of them, on a stack too small.
#[inline(always)]
fn again<F: Frame>(frame: &F, l2: usize) -> Option<(&ethernet::Macs, Query<'_>)> {
    Some((frame.at(0)?, Query::accepted(frame.at(l2)?)))
}

/// Ends before the fixed part does: ours to count only when it says it is a neighbour message.
#[inline(always)]
fn short<F: Frame>(frame: &F, l2: usize) -> Outcome {
    match frame.at::<2>(l2 + 40) {
        Some(&[135 | 136, _]) | None => Outcome::NdTruncated,
        Some(_) => Outcome::Ignored,
    }
}

/// Checksum and options, a unit of eight bytes at a time.
#[inline(always)]
fn options<F: Frame>(
    frame: &F,
    l2: usize,
    message: &ndp::Message,
    query: Query<'_>,
) -> Result<ndp::LinkLayer, Outcome> {
    let mut sum = ndp::checksum(message);
    let mut options = Options::default();
    let zero = frame.forget(0) as u8;
    let mut i = 0;
    while i < ndp::MAX_UNITS {
        if i == query.units() {
            break;
        }
        let Some(unit) = frame.at::<{ ndp::UNIT }>(l2 + ndp::LEN + i * ndp::UNIT) else {
            return Err(Outcome::NdTruncated);
        };
        sum = sum.add(unit);
        options = options.blurred(zero);
        options.unit(query, unit)?;
        i += 1;
    }
    if !sum.is_valid() {
        return Err(Outcome::NdChecksum);
    }
    options.blurred(zero).finish()
}

/// Makes the frame as long as the advertisement, 72 bytes behind the header: longer frames are cut, a
/// solicitation without option grows by the eight bytes of the target link-layer option.
#[inline(always)]
fn fit<F: Frame>(frame: &F, l2: usize, outcome: Outcome) -> Outcome {
    let len = frame.len();
    if len > frame.end() - frame.start() {
        return Outcome::Oversized;
    }
    if len != l2 + ndp::ADVERT_LEN && !frame.resize(l2 + ndp::ADVERT_LEN) {
        return Outcome::NoRoom;
    }
    outcome
}
