//! Liveness probes between the frame and the maps.

use lb_common::abi::KeyStation;
use lb_common::addr::Address;
use lb_common::outcome::Outcome;
use lb_common::packet::bfd::{self, Probe};
use lb_common::packet::ethernet::{HEADER, Macs};

use crate::frame::Frame;
use crate::maps;
use crate::stages::{Done, Job};

/// Everything about a UDP datagram to the reflector's port in an IPv4 packet; `l2` is the length of an untagged header.
#[inline(always)]
pub(crate) fn v4<F: Frame>(frame: &F, _: usize, job: &mut Job) -> Done {
    frame.pull(HEADER + bfd::LEN_V4);
    let Some((macs, packet)) = parts::<F, { bfd::LEN_V4 }>(frame) else { return Err(Outcome::BfdTruncated) };
    let up = judge(frame, macs, &bfd::parse_v4(packet)?, job)?;
    fit(frame, HEADER + bfd::LEN_V4)?;
    let Some((macs, packet)) = parts::<F, { bfd::LEN_V4 }>(frame) else { return Err(Outcome::BfdTruncated) };
    bfd::reflect_v4(macs, packet, up);
    Ok(())
}

/// As [`v4`], for IPv6.
#[inline(always)]
pub(crate) fn v6<F: Frame>(frame: &F, _: usize, job: &mut Job) -> Done {
    frame.pull(HEADER + bfd::LEN_V6);
    let Some((macs, packet)) = parts::<F, { bfd::LEN_V6 }>(frame) else { return Err(Outcome::BfdTruncated) };
    let up = judge(frame, macs, &bfd::parse_v6(packet)?, job)?;
    fit(frame, HEADER + bfd::LEN_V6)?;
    let Some((macs, packet)) = parts::<F, { bfd::LEN_V6 }>(frame) else { return Err(Outcome::BfdTruncated) };
    bfd::reflect_v6(macs, packet, up);
    Ok(())
}

/// Finds both ends of the probe and decides; whether this end is up. The rate comes last, so that only what would be
/// reflected is counted against it.
#[inline(always)]
fn judge<F: Frame>(frame: &F, macs: &Macs, probe: &Probe, job: &mut Job) -> Result<bool, Outcome> {
    let ifindex = frame.ifindex();
    let destination = KeyStation::new(ifindex, Address::of_words(probe.destination));
    let up = bfd::judge(macs, probe, maps::reflector(&destination))?.is_up();
    let member = maps::member(&KeyStation::new(ifindex, Address::of_words(probe.source)));
    bfd::judge_source(macs, member.as_deref())?;
    job.set(Outcome::BfdReply);
    maps::look_at_the_clock(job);
    if !job.outcome().is_answer() {
        return Err(Outcome::Expired);
    }
    let Some(member) = member else { return Err(Outcome::BfdStranger) };
    if member.admit(job.now) { Ok(up) } else { Err(Outcome::BfdRate) }
}

/// Cuts what lies behind the datagram: foreign padding is not sent back.
#[inline(always)]
fn fit<F: Frame>(frame: &F, wanted: usize) -> Done {
    let len = frame.len();
    if len > frame.end() - frame.start() {
        return Err(Outcome::Oversized);
    }
    if len != wanted && !frame.resize(wanted) {
        return Err(Outcome::NoRoom);
    }
    Ok(())
}

/// The parts of the frame, through pointers computed anew, since it may have moved.
#[inline(always)]
fn parts<F: Frame, const N: usize>(frame: &F) -> Option<(&mut Macs, &mut [u8; N])> {
    Some((frame.at_mut(0)?, frame.at_mut(HEADER)?))
}
