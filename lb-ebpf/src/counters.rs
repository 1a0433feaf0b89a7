//! What is remembered of a frame that named an address of ours.

use lb_common::abi::{self, Entry, Event, EventKind, Vlans};
use lb_common::addr::{Address, Mac};
use lb_common::outcome::Outcome;

use crate::maps;

/// Where a frame came in, from whom, and which of our addresses it named.
pub(crate) struct Seen {
    pub(crate) now: u64,
    pub(crate) ifindex: u32,
    pub(crate) vlans: Vlans,
    pub(crate) addr: Address,
    pub(crate) peer: Address,
    pub(crate) peer_mac: Mac,
    /// [`abi::AGENT_TRACE`] or 0.
    pub(crate) trace: u32,
}

/// Counts the frame in the slot of the entry and tells the agent what it should hear of.
#[inline(never)]
pub(crate) fn note(entry: &Entry, outcome: Outcome, seen: &Seen) {
    let Some(counters) = maps::counters(entry.slot()) else { return };
    let kind = if outcome.is_conflict() {
        counters.conflicts += 1;
        Some(EventKind::Conflict)
    } else {
        let first = counters.requests == 0;
        counters.requests += 1;
        counters.replies += outcome.answers();
        counters.probes += outcome.probes();
        counters.last_seen_ns = seen.now;
        counters.requester_mac = seen.peer_mac;
        counters.requester = seen.peer;
        if first {
            Some(EventKind::FirstRequest)
        } else if seen.trace != 0 {
            Some(EventKind::Request)
        } else {
            None
        }
    };
    let Some(kind) = kind else { return };
    if counters.event_ns != 0 && seen.now.wrapping_sub(counters.event_ns) < abi::EVENT_INTERVAL_NS {
        return;
    }
    counters.event_ns = seen.now;
    let at = (seen.ifindex, seen.vlans);
    maps::emit(Event::new(seen.now, kind, outcome.index(), at, seen.addr, (seen.peer_mac, seen.peer)));
}
