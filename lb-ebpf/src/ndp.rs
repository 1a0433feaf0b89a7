//! Neighbour discovery between the frame and the maps.

use lb_common::abi::KeyV6;
use lb_common::addr::{self, Words};
use lb_common::outcome::Outcome;
use lb_common::packet::ethernet;
use lb_common::packet::ndp::{self, LinkLayer, Query};

use crate::counters::{self, Seen};
use crate::frame::Frame;
use crate::maps;
use crate::stages::{self, Done, Job, Stages};

/// Everything about an ICMPv6 message in an IPv6 packet that starts behind `l2` bytes.
#[inline(always)]
pub(crate) fn respond<F: Stages>(frame: &F, l2: usize, job: &mut Job) -> Done {
    frame.pull(l2 + ndp::LEN + ndp::MAX_UNITS * ndp::UNIT);
    frame.nd_parse(l2, job)?;
    frame.nd_judge(l2, job)?;
    maps::look_at_the_clock(job);
    if job.outcome().is_answer() {
        frame.nd_fit(l2, job)?;
    }
    frame.nd_note(l2, job)?;
    if job.outcome().is_answer() {
        frame.nd_reply(l2, job)?;
    }
    Ok(())
}

/// Everything that can be said without a map.
#[inline(always)]
pub(crate) fn parse<F: Stages>(frame: &F, l2: usize, job: &mut Job) -> Done {
    let Some(message) = frame.at::<{ ndp::LEN }>(l2) else { return Err(short(frame, l2)) };
    ndp::parse(message)?;
    frame.nd_options(l2, job)?;
    let Some((macs, query)) = parts(frame, l2) else { return Err(Outcome::NdTruncated) };
    ndp::check(macs, query, link_layer(job))
}

/// Checksum and options, a unit of eight bytes at a time.
#[inline(always)]
pub(crate) fn options<F: Stages>(frame: &F, l2: usize, job: &mut Job) -> Done {
    let Some(message) = frame.at::<{ ndp::LEN }>(l2) else { return Err(Outcome::NdTruncated) };
    let query = Query::accepted(message);
    job.sum = ndp::checksum(message);
    job.options.expect(query);
    let units = query.units();
    let mut i = 0;
    while i < ndp::MAX_UNITS && i < units {
        frame.nd_unit(l2 + ndp::LEN + i * ndp::UNIT, job)?;
        i += 1;
    }
    if !job.sum.is_valid() {
        return Err(Outcome::NdChecksum);
    }
    job.options.finish()
}

/// Takes the unit `at` bytes into the frame.
#[inline(always)]
pub(crate) fn unit<F: Frame>(frame: &F, at: usize, job: &mut Job) -> Done {
    let Some(unit) = frame.at::<{ ndp::UNIT }>(at) else { return Err(Outcome::NdTruncated) };
    job.sum = job.sum.add(unit);
    job.options.unit(unit)
}

/// Finds the entry the message is about and decides; goes on where something is to be noted.
#[inline(always)]
pub(crate) fn judge<F: Frame>(frame: &F, l2: usize, job: &mut Job) -> Done {
    let Some((macs, query)) = parts(frame, l2) else { return Err(Outcome::NdTruncated) };
    let ifindex = frame.ifindex();
    // Who detects duplicates claims nothing yet.
    if !query.is_dad()
        && let Some(entry) = maps::v6(&KeyV6::new(ifindex, job.vlans, addr::copied(query.source())))
    {
        job.is_sender = 1;
        job.slot = entry.slot();
        return stages::noted(job, ndp::claim(macs, entry));
    }
    let target = maps::v6(&KeyV6::new(ifindex, job.vlans, addr::copied(query.target())));
    if let Some(entry) = target {
        job.slot = entry.slot();
        job.mac = addr::copied_mac(entry.mac());
    }
    let outcome = ndp::judge(macs, query, link_layer(job), target);
    stages::noted(job, outcome)
}

/// Makes the frame as long as the advertisement, 72 bytes behind the header: longer frames are cut, a
/// solicitation without option grows by the eight bytes of the target link-layer option.
#[inline(always)]
pub(crate) fn fit<F: Frame>(frame: &F, l2: usize, job: &mut Job) -> Done {
    let len = frame.len();
    if len > frame.end() - frame.start() {
        job.set(Outcome::Oversized);
    } else if len != l2 + ndp::ADVERT_LEN && !frame.resize(l2 + ndp::ADVERT_LEN) {
        job.set(Outcome::NoRoom);
    }
    Ok(())
}

/// Notes the message, before it is overwritten.
#[inline(always)]
pub(crate) fn note<F: Frame>(frame: &F, l2: usize, job: &mut Job) -> Done {
    let Some((macs, query)) = parts(frame, l2) else { return Err(Outcome::NdTruncated) };
    let (peer_mac, peer) = (link_layer(job).or(ethernet::source(macs)), Words::v6(query.source()));
    let is_sender = job.is_sender != 0;
    let event = counters::note(job, peer_mac, peer, is_sender || !query.is_solicitation());
    if event != 0 {
        let addr = if is_sender { peer } else { Words::v6(query.target()) };
        stages::report(&Seen::new(job, event, frame.ifindex(), addr, (peer_mac, peer)));
    }
    Ok(())
}

/// Turns the solicitation into its advertisement.
#[inline(always)]
pub(crate) fn reply<F: Frame>(frame: &F, l2: usize, job: &mut Job) -> Done {
    let (Some(macs), Some(advert)) = (frame.at_mut::<12>(0), frame.at_mut::<{ ndp::ADVERT_LEN }>(l2)) else {
        return Err(Outcome::NdTruncated);
    };
    ndp::write_reply(macs, advert, link_layer(job), &job.mac);
    Ok(())
}

#[inline(always)]
fn link_layer(job: &Job) -> LinkLayer {
    job.options.link_layer()
}

/// The parts of the frame, through pointers computed anew, since it may have moved.
#[inline(always)]
fn parts<F: Frame>(frame: &F, l2: usize) -> Option<(&ethernet::Macs, Query<'_>)> {
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
