//! ARP between the frame and the maps.

use lb_common::abi::KeyV4;
use lb_common::addr::{self, Words};
use lb_common::outcome::Outcome;
use lb_common::packet::{MIN_FRAME, arp, ethernet};

use crate::counters::{self, Seen};
use crate::frame::Frame;
use crate::maps;
use crate::stages::{self, Done, Job, Stages};

/// Bytes an answer to a padded request is padded with: 60 less the header and the message.
const PAD: usize = MIN_FRAME - ethernet::HEADER - arp::LEN;
const _: () = assert!(PAD == 18);

/// Everything about an ARP message that starts behind `l2` bytes.
#[inline(always)]
pub(crate) fn respond<F: Stages>(frame: &F, l2: usize, job: &mut Job) -> Done {
    frame.pull(l2 + arp::LEN + PAD);
    frame.arp_judge(l2, job)?;
    maps::look_at_the_clock(job);
    if job.outcome().is_answer() {
        frame.arp_fit(l2, job)?;
    }
    frame.arp_note(l2, job)?;
    if job.outcome().is_answer() {
        let Some((macs, message)) = parts(frame, l2) else { return Err(Outcome::ArpTruncated) };
        arp::write_reply(macs, message, &job.mac);
    }
    Ok(())
}

/// Parses the message, finds the entry it is about and decides; goes on where something is to be noted.
#[inline(always)]
pub(crate) fn judge<F: Frame>(frame: &F, l2: usize, job: &mut Job) -> Done {
    let Some((macs, message)) = parts(frame, l2) else { return Err(Outcome::ArpTruncated) };
    let query = arp::parse(macs, message)?;
    let ifindex = frame.ifindex();
    // A probe claims nothing.
    if !query.is_probe()
        && let Some(entry) = maps::v4(&KeyV4::new(ifindex, job.vlans, query.sender()))
    {
        job.is_sender = 1;
        job.slot = entry.slot();
        return stages::noted(job, arp::claim(query, entry));
    }
    let target = maps::v4(&KeyV4::new(ifindex, job.vlans, query.target()));
    if let Some(entry) = target {
        job.slot = entry.slot();
        job.mac = addr::copied_mac(entry.mac());
    }
    stages::noted(job, arp::judge(macs, query, target))
}

/// Makes the frame as long as the answer: as the request, but 60 bytes (and tags) at most. Foreign padding is
/// not sent back.
#[inline(always)]
pub(crate) fn fit<F: Frame>(frame: &F, l2: usize, job: &mut Job) -> Done {
    let len = frame.len();
    let (bare, padded) = (l2 + arp::LEN, l2 + arp::LEN + PAD);
    if len > frame.end() - frame.start() {
        job.set(Outcome::Oversized);
    } else if len != bare && len != padded && !frame.resize(if len < padded { bare } else { padded }) {
        job.set(Outcome::NoRoom);
    } else if let (Some(a), Some(b), Some(c)) =
        (frame.at_mut::<8>(bare), frame.at_mut::<8>(bare + 8), frame.at_mut::<2>(bare + 16))
    {
        // In words, because LLVM makes a call of a loop over bytes out of an array of 18.
        (*a, *b, *c) = ([0; 8], [0; 8], [0; 2]);
    }
    Ok(())
}

/// Notes the message, before it is overwritten.
#[inline(always)]
pub(crate) fn note<F: Frame>(frame: &F, l2: usize, job: &mut Job) -> Done {
    let Some((_, message)) = parts(frame, l2) else { return Err(Outcome::ArpTruncated) };
    let query = arp::Query::accepted(message);
    let (peer_mac, peer) = (query.sender_mac(), Words::v4(&query.sender()));
    let is_claim = job.is_sender != 0;
    let event = counters::note(job, peer_mac, peer, is_claim);
    if event != 0 {
        let addr = if is_claim { peer } else { Words::v4(&query.target()) };
        stages::report(&Seen::new(job, event, frame.ifindex(), addr, (peer_mac, peer)));
    }
    Ok(())
}

/// The parts of the frame, through pointers computed anew, since it may have moved.
#[inline(always)]
fn parts<F: Frame>(frame: &F, l2: usize) -> Option<(&mut ethernet::Macs, &mut arp::Message)> {
    Some((frame.at_mut(0)?, frame.at_mut(l2)?))
}
