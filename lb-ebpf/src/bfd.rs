//! Liveness probes between the frame and the maps.
//!
//! Each stage uses all of its arguments: what it does not use the compiler does not pass, and the verifier wants it passed.

use lb_common::abi::KeyStation;
use lb_common::addr::Address;
use lb_common::outcome::Outcome;
use lb_common::packet::bfd;
use lb_common::packet::ethernet::Macs;

use crate::frame::Frame;
use crate::maps;
use crate::stages::{Done, Job, Stages};

/// Bytes of the headers before the datagram.
const IPV4: usize = bfd::LEN_V4 - bfd::DATAGRAM;
const IPV6: usize = bfd::LEN_V6 - bfd::DATAGRAM;

/// Everything about a UDP datagram to the reflector's port in an IP packet that starts behind `l2` bytes. It is accessible as
/// far as it goes.
#[inline(always)]
pub(crate) fn respond<F: Stages>(frame: &F, l2: usize, job: &mut Job) -> Done {
    let Some(&[version]) = frame.at::<1>(l2) else { return Err(Outcome::BfdTruncated) };
    if version >> 4 == 4 {
        let Some(packet) = frame.at(l2) else { return Err(Outcome::BfdTruncated) };
        job.sum = bfd::header_v4(packet)?;
        reflect(frame, (l2, l2 + IPV4), job)?;
        let Some(packet) = frame.at_mut(l2).filter(|_| job.outcome().is_answer()) else { return Ok(()) };
        bfd::exchange_v4(packet);
    } else {
        let Some(packet) = frame.at(l2) else { return Err(Outcome::BfdTruncated) };
        job.sum = bfd::header_v6(packet)?;
        reflect(frame, (l2, l2 + IPV6), job)?;
        let Some(packet) = frame.at_mut(l2).filter(|_| job.outcome().is_answer()) else { return Ok(()) };
        bfd::exchange_v6(packet);
    }
    Ok(())
}

/// All but the header, which starts at `l2` and ends at `udp`.
#[inline(always)]
fn reflect<F: Stages>(frame: &F, (l2, udp): (usize, usize), job: &mut Job) -> Done {
    frame.bfd_datagram(udp, job)?;
    frame.bfd_judge(l2, job)?;
    frame.bfd_fit(udp + bfd::DATAGRAM, job)?;
    if job.outcome().is_answer() {
        frame.bfd_turn(udp, job)?;
    }
    Ok(())
}

/// Checks the datagram.
#[inline(always)]
pub(crate) fn datagram<F: Frame>(frame: &F, udp: usize, job: &mut Job) -> Done {
    let Some(datagram) = frame.at(udp) else { return Err(Outcome::BfdTruncated) };
    bfd::datagram(datagram, job.sum)
}

/// Finds both ends of the probe and decides. The rate comes last, so that only what would be reflected counts.
#[inline(always)]
pub(crate) fn judge<F: Frame>(frame: &F, l2: usize, job: &mut Job) -> Done {
    let Some(&[version]) = frame.at::<1>(l2) else { return Err(Outcome::BfdTruncated) };
    let probe = if version == bfd::PLAIN_IPV4 {
        let Some(packet) = frame.at(l2) else { return Err(Outcome::BfdTruncated) };
        bfd::probe_v4(packet)
    } else {
        let Some(packet) = frame.at(l2) else { return Err(Outcome::BfdTruncated) };
        bfd::probe_v6(packet)
    };
    let Some(macs) = frame.at(0) else { return Err(Outcome::BfdTruncated) };
    let ifindex = frame.ifindex();
    let destination = KeyStation::new(ifindex, Address::of_words(probe.destination));
    job.up = bfd::judge(macs, &probe, maps::reflector(&destination))?.is_up().into();
    let member = maps::member(&KeyStation::new(ifindex, Address::of_words(probe.source)));
    bfd::judge_source(macs, member.as_deref())?;
    job.set(Outcome::BfdReply);
    maps::look_at_the_clock(job);
    if !job.outcome().is_answer() {
        return Err(Outcome::Expired);
    }
    let Some(member) = member else { return Err(Outcome::BfdStranger) };
    if member.admit(job.now) { Ok(()) } else { Err(Outcome::BfdRate) }
}

/// Cuts the frame to the `wanted` length of a probe: foreign padding is not sent back.
#[inline(always)]
pub(crate) fn fit<F: Frame>(frame: &F, wanted: usize, job: &mut Job) -> Done {
    let len = frame.len();
    if len > frame.end() - frame.start() {
        job.set(Outcome::Oversized);
    } else if len != wanted && !frame.resize(wanted) {
        job.set(Outcome::NoRoom);
    }
    Ok(())
}

/// Turns hardware addresses and datagram round.
#[inline(always)]
pub(crate) fn turn<F: Frame>(frame: &F, udp: usize, job: &mut Job) -> Done {
    let (Some(macs), Some(datagram)) = (frame.at_mut::<{ size_of::<Macs>() }>(0), frame.at_mut(udp)) else {
        return Err(Outcome::BfdTruncated);
    };
    bfd::turn(macs, datagram, job.up != 0);
    Ok(())
}
