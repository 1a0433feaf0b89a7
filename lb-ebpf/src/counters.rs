//! What is remembered of a frame that named an address of ours.

use lb_common::abi::{self, Event, EventKind, Vlans};
use lb_common::addr::{self, Address, Mac, Words};

use crate::maps;
use crate::stages::{self, Job};

/// Where a frame came in, from whom, and which of our addresses it named.
#[repr(C)]
pub(crate) struct Seen {
    pub(crate) now: u64,
    pub(crate) addr: Words,
    pub(crate) peer: Words,
    pub(crate) peer_mac: Mac,
    /// Not 0: the frame claims the address, instead of asking for it.
    pub(crate) is_claim: u16,
    pub(crate) ifindex: u32,
    pub(crate) vlans: Vlans,
    pub(crate) slot: u32,
    /// Index of the outcome.
    pub(crate) outcome: u32,
    /// Not 0: requests are to be reported.
    pub(crate) trace: u32,
    /// Zero.
    pub(crate) pad: u32,
}

impl Seen {
    /// `peer`, who came in by `ifindex`, asks for `addr` or claims it.
    #[inline(always)]
    pub(crate) fn new(
        job: &Job,
        ifindex: u32,
        addr: Words,
        (peer_mac, peer): (Mac, Words),
        is_claim: bool,
    ) -> Self {
        Self {
            now: job.now,
            addr,
            peer,
            peer_mac,
            is_claim: is_claim.into(),
            ifindex,
            vlans: job.vlans,
            slot: job.slot,
            outcome: job.outcome,
            trace: job.trace.into(),
            pad: 0,
        }
    }
}

/// Counts the frame in the slot of the entry and tells the agent what it should hear of.
#[inline(always)]
pub(crate) fn note(seen: &Seen) {
    let outcome = stages::outcome(seen.outcome);
    let Some(counters) = maps::counters(seen.slot) else { return };
    if seen.is_claim != 0 {
        // A claim of an address that this node does not answer for at present is nobody's conflict.
        if outcome.is_conflict() {
            counters.conflicts += 1;
            if is_due(seen.now, &mut counters.conflict_ns) {
                stages::report(seen, EventKind::Conflict as u32);
            }
        }
        return;
    }
    let first = counters.requests == 0;
    counters.requests += 1;
    counters.replies += outcome.answers();
    counters.probes += outcome.probes();
    counters.last_seen_ns = seen.now;
    counters.requester_mac = addr::copied_mac(&seen.peer_mac);
    counters.requester = Address::of_words(seen.peer);
    if (first || seen.trace != 0) && is_due(seen.now, &mut counters.event_ns) {
        let kind = if first { EventKind::FirstRequest } else { EventKind::Request };
        stages::report(seen, kind as u32);
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

/// Tells the agent; `kind` is an [`EventKind`].
#[inline(always)]
pub(crate) fn report(seen: &Seen, kind: u32) {
    let at = (seen.ifindex, seen.vlans);
    let peer = (addr::copied_mac(&seen.peer_mac), Address::of_words(seen.peer));
    maps::emit(Event::new(seen.now, kind, seen.outcome, at, Address::of_words(seen.addr), peer));
}
