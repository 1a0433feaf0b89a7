//! Liveness probes between the frame and the maps.
//!
//! Each stage uses all of its arguments: what it does not use the compiler does not pass, and the verifier wants it passed.

use core::mem::MaybeUninit;

use lb_common::abi::KeyStation;
use lb_common::addr::Address;
use lb_common::outcome::Outcome;
use lb_common::packet::bfd;
use lb_common::packet::ethernet::{self, EtherType, HEADER, Macs};

use crate::frame::Frame;
use crate::maps;
use crate::stages::{Done, Job, Stages};

/// Bytes of the headers before the datagram.
const IPV4: usize = bfd::LEN_V4 - bfd::DATAGRAM;
const IPV6: usize = bfd::LEN_V6 - bfd::DATAGRAM;
/// Where the destination port lies in a UDP header.
const DESTINATION_PORT: usize = 2;

/// Everything about an IP packet that may have UDP: only a datagram to the reflector's port, with no tag in the frame or
/// beside it, is looked at further.
#[inline(always)]
pub(crate) fn respond<F: Stages>(frame: &F) -> Outcome {
    frame.pull(HEADER + bfd::LEN_V6);
    let Some(ethertype) = frame.ethertype() else { return Outcome::Ignored };
    let Some(&[version, _, _, _, _, _, next, _, _, protocol]) = frame.at::<10>(HEADER) else {
        return Outcome::Ignored;
    };
    let (protocol, header) = match ethertype {
        ethernet::IPV4 => (protocol, bfd::header_length(version)),
        _ => (next, IPV6),
    };
    let port = frame.at(HEADER + header + DESTINATION_PORT);
    if protocol != bfd::UDP || !matches!(port, Some(&bfd::PORT_BYTES)) || frame.out_of_band().is_some() {
        return Outcome::Ignored;
    }
    let mut place = MaybeUninit::uninit();
    let job = Job::zeroed(&mut place);
    match reflect(frame, ethertype, job) {
        Ok(()) => job.outcome(),
        Err(outcome) => outcome,
    }
}

/// Everything about a probe. It is accessible as far as it goes.
#[inline(always)]
fn reflect<F: Stages>(frame: &F, ethertype: EtherType, job: &mut Job) -> Done {
    let udp = if ethertype == ethernet::IPV4 {
        let Some(packet) = frame.at(HEADER) else { return Err(Outcome::BfdTruncated) };
        job.sum = bfd::header_v4(packet)?;
        HEADER + IPV4
    } else {
        let Some(packet) = frame.at(HEADER) else { return Err(Outcome::BfdTruncated) };
        job.sum = bfd::header_v6(packet)?;
        HEADER + IPV6
    };
    frame.bfd_datagram(udp, job)?;
    frame.bfd_judge(HEADER, job)?;
    frame.bfd_fit(udp + bfd::DATAGRAM, job)?;
    if !job.outcome().is_answer() {
        return Ok(());
    }
    frame.bfd_turn(udp, job)?;
    if udp == HEADER + IPV4 {
        let Some(packet) = frame.at_mut(HEADER) else { return Err(Outcome::BfdTruncated) };
        bfd::exchange_v4(packet);
    } else {
        let Some(packet) = frame.at_mut(HEADER) else { return Err(Outcome::BfdTruncated) };
        bfd::exchange_v6(packet);
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
