//! Events of the BPF program: conflicts are logged and remembered, all of them go to whoever traces.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::admin::Admin;
use super::state::{ConflictState, Traced};
use crate::dataplane::ebpf::{Event, Events, Kind};

/// At most one event per address and this long; the program limits per CPU, this brings the CPUs together.
const APART: Duration = Duration::from_secs(1);

/// Events per turn of the agent's task, which has a deadline to move.
const AT_ONCE: usize = 1024;

/// Conflicts by address.
#[derive(Debug, Default)]
pub(super) struct Conflicts {
    seen: BTreeMap<IpAddr, ConflictState>,
}

impl Conflicts {
    /// Takes the events there are; true when there may be more, which wait for the next turn.
    pub(super) fn drain(&mut self, events: &mut Events, admin: &mut Admin) -> bool {
        for _ in 0..AT_ONCE {
            let Some(event) = events.next() else { return false };
            if event.kind == Kind::Conflict && !self.note(&event) {
                continue;
            }
            admin.trace(event.target.ip, &traced(&event));
        }
        true
    }

    /// By address.
    pub(super) fn seen(&self) -> &BTreeMap<IpAddr, ConflictState> {
        &self.seen
    }

    /// False when the last one is less than a second old.
    fn note(&mut self, event: &Event) -> bool {
        let fresh = ConflictState { mac: String::new(), count: 0, last_ns: 0 };
        let conflict = self.seen.entry(event.target.ip).or_insert(fresh);
        let since = Duration::from_nanos(event.time_ns.saturating_sub(conflict.last_ns));
        if conflict.count > 0 && since < APART {
            return false;
        }
        *conflict = ConflictState {
            mac: event.peer_mac.to_string(),
            count: conflict.count + 1,
            last_ns: event.time_ns,
        };
        tracing::warn!(
            address = %event.target.ip,
            link = event.target.link.0,
            vlans = %event.target.vlans,
            other = %event.peer_mac,
            outcome = event.outcome.name(),
            "another station claims an address of ours: find it by its hardware address, or take the address out of the pool"
        );
        true
    }
}

fn traced(event: &Event) -> Traced {
    let kind = match event.kind {
        Kind::Conflict => "conflict",
        Kind::FirstRequest => "firstRequest",
        Kind::Request => "request",
    };
    Traced {
        time_ns: event.time_ns,
        kind: kind.to_owned(),
        outcome: event.outcome.name().to_owned(),
        link: event.target.link.0,
        vlans: event.target.vlans.to_string(),
        ip: event.target.ip,
        peer_mac: event.peer_mac.to_string(),
        peer: event.peer,
    }
}

#[cfg(test)]
mod tests {
    use lb_common::outcome::Outcome;
    use lb_core::ids::{LinkId, Mac, Vlans};
    use lb_core::plan::Target;

    use super::*;

    fn conflict(ip: &str, time_ns: u64) -> Event {
        Event {
            time_ns,
            kind: Kind::Conflict,
            outcome: Outcome::ArpConflict,
            target: Target { link: LinkId(3), vlans: Vlans::Untagged, ip: ip.parse().unwrap() },
            peer_mac: Mac([2, 0, 0, 0, 0, 9]),
            peer: ip.parse().unwrap(),
        }
    }

    #[test]
    fn one_conflict_per_address_and_second() {
        let mut conflicts = Conflicts::default();
        let second = 1_000_000_000;
        for (ip, time, expected) in [
            ("192.0.2.1", 5, true),
            ("192.0.2.1", 5 + second - 1, false),
            ("2001:db8::1", 6, true),
            ("192.0.2.1", 5 + second, true),
            ("2001:db8::1", second, false),
        ] {
            assert_eq!(conflicts.note(&conflict(ip, time)), expected, "{ip} at {time}");
        }
        assert_eq!(conflicts.seen()[&"192.0.2.1".parse::<IpAddr>().unwrap()].count, 2);
    }
}
