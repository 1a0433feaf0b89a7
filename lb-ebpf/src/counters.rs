//! What is remembered of a frame that named an address of ours.

use lb_common::abi::{self, Event, EventKind, Vlans};
use lb_common::addr::{self, Address, Mac, Words};

use crate::maps;
use crate::stages::Job;

/// Where a frame came in, from whom, and which of our addresses it named.
#[repr(C)]
pub(crate) struct Seen {
    now: u64,
    addr: Words,
    peer: Words,
    peer_mac: Mac,
    pad: [u8; 2],
    vlans: Vlans,
    outcome: u32,
    ifindex: u32,
    kind: u32,
}

impl Seen {
    /// An event of this `kind` about `addr`; `peer` came in by `ifindex`.
    #[inline(always)]
    pub(crate) fn new(
        job: &Job,
        kind: u32,
        ifindex: u32,
        addr: Words,
        (peer_mac, peer): (Mac, Words),
    ) -> Self {
        let (now, vlans, outcome) = (job.now, job.vlans, job.outcome);
        Self { now, addr, peer, peer_mac, pad: [0; 2], vlans, outcome, ifindex, kind }
    }
}

/// Counts the frame in the slot of its entry; the [`EventKind`] the agent should hear of, or 0.
#[inline(always)]
pub(crate) fn note(job: &Job, peer_mac: Mac, peer: Words, is_claim: bool) -> u32 {
    let outcome = job.outcome();
    let Some(counters) = maps::counters(job.slot) else { return 0 };
    if is_claim {
        // A claim of an address that this node does not answer for at present is nobody's conflict.
        if !outcome.is_conflict() {
            return 0;
        }
        counters.conflicts += 1;
        return if is_due(job.now, &mut counters.conflict_ns) { EventKind::Conflict as u32 } else { 0 };
    }
    let first = counters.requests == 0;
    counters.requests += 1;
    counters.replies += outcome.answers();
    counters.last_seen_ns = job.now;
    counters.requester_mac = peer_mac;
    // SAFETY: an Address is two aligned words of bytes. Written as bytes, the zeroes of an IPv4-mapped address would
    // become a call of memset.
    unsafe { (&raw mut counters.requester).cast::<Words>().write(peer) };
    if outcome.probes() != 0 {
        counters.probes += 1;
    }
    if (first || job.trace != 0) && is_due(job.now, &mut counters.event_ns) {
        if first { EventKind::FirstRequest as u32 } else { EventKind::Request as u32 }
    } else {
        0
    }
}

/// At most one event per address, kind and interval: a flood must not fill the ring.
#[inline(always)]
fn is_due(now: u64, last: &mut u64) -> bool {
    let due = *last == 0 || now.wrapping_sub(*last) >= abi::EVENT_INTERVAL_NS;
    if due {
        *last = now;
    }
    due
}

/// Tells the agent.
#[inline(always)]
pub(crate) fn report(seen: &Seen) {
    let at = (seen.ifindex, seen.vlans);
    let peer = (addr::copied_mac(&seen.peer_mac), Address::of_words(seen.peer));
    maps::emit(Event::new(seen.now, seen.kind, seen.outcome, at, Address::of_words(seen.addr), peer));
}
