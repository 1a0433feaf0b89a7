//! Events of the BPF program: claims of addresses by others are answered and remembered, all of them go to whoever traces.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use lb_core::conflict::{Claimant, Past, Response, respond, stations};
use lb_core::ids::Mac;
use lb_core::plan::{EntryState, Target};
use lb_core::pool::Family;

use super::admin::Admin;
use super::cluster::Claimed;
use super::state::{ConflictState, Traced};
use super::task::Agent;
use crate::dataplane::ebpf::{Event, Events, Kind};

/// At most one event per address, kind of claimant and this long; the program limits per CPU, this brings the CPUs together.
const APART: Duration = Duration::from_secs(1);

/// By then the nodes agree who owns an address, if they hear each other.
const CONTEST: Duration = Duration::from_millis(200);

/// Events per turn of the agent's task, which has a deadline to move.
const AT_ONCE: usize = 1024;

/// Conflicts by address.
#[derive(Debug, Default)]
pub(super) struct Conflicts {
    /// With strangers.
    seen: BTreeMap<IpAddr, ConflictState>,
    /// When an address was claimed last, nanoseconds of `CLOCK_BOOTTIME`.
    last: BTreeMap<(IpAddr, Claimant), u64>,
    past: BTreeMap<IpAddr, Past>,
    /// Claims that were not looked at yet.
    claims: Vec<Event>,
}

impl Conflicts {
    /// Takes the events there are; true when there may be more, which wait for the next turn.
    pub(super) fn drain(&mut self, events: &mut Events, admin: &mut Admin) -> bool {
        for _ in 0..AT_ONCE {
            let Some(event) = events.next() else { return false };
            if event.kind == Kind::Conflict {
                self.claims.push(event);
            } else {
                admin.trace(event.target.ip, &traced(&event));
            }
        }
        true
    }

    /// With strangers, by address.
    pub(super) fn seen(&self) -> &BTreeMap<IpAddr, ConflictState> {
        &self.seen
    }

    /// False when the last one is less than a second old.
    fn note(&mut self, event: &Event, claimant: Claimant) -> bool {
        let last = self.last.entry((event.target.ip, claimant)).or_default();
        let since = Duration::from_nanos(event.time_ns.saturating_sub(*last));
        if *last > 0 && since < APART {
            return false;
        }
        *last = event.time_ns;
        if claimant == Claimant::Stranger {
            let fresh = ConflictState { mac: String::new(), count: 0, last_ns: 0 };
            let conflict = self.seen.entry(event.target.ip).or_insert(fresh);
            *conflict = ConflictState {
                mac: event.peer_mac.to_string(),
                count: conflict.count + 1,
                last_ns: event.time_ns,
            };
        }
        true
    }

    /// What is to be done about a claim; `owns`: this node answers for the address.
    fn respond(&mut self, event: &Event, claimant: Claimant, owns: bool) -> Response {
        let past = self.past.entry(event.target.ip).or_default();
        let (response, next) = respond(claimant, owns, *past, Duration::from_nanos(event.time_ns));
        *past = next;
        response
    }
}

impl Agent {
    /// Does what is to be done about addresses that others claim.
    pub(super) fn contest(&mut self) {
        let claims = std::mem::take(&mut self.conflicts.claims);
        if claims.is_empty() {
            return;
        }
        let own = self.present.values().filter_map(|link| link.mac.map(Mac));
        let stations =
            self.worker.decided().map_or_else(Default::default, |decided| stations(&decided.nodes, own));
        let mut taken = false;
        for claim in claims {
            let claimant = Claimant::of(claim.peer_mac, &stations);
            taken |= claimant == Claimant::Peer && self.reconciler.handovers().taken(&claim.target);
            if !self.conflicts.note(&claim, claimant) {
                continue;
            }
            self.admin.trace(claim.target.ip, &traced(&claim));
            self.metrics.claimed(claimant, Family::of(claim.target.ip));
            log(&claim, claimant);
            let mac = self.answered_with(&claim);
            let response = self.conflicts.respond(&claim, claimant, mac.is_some());
            if let Some(mac) = mac.filter(|_| response.defends) {
                self.sender.defend(claim.target, mac);
            } else if mac.is_some() && claimant == Claimant::Peer {
                self.announce_anew(claim.target);
            }
            if response.tells {
                self.alarm(&claim);
            }
        }
        if taken {
            self.handed_over();
        }
    }

    /// Another node has announced what this one owns: whoever heard that hears better, if this one still owns it by then.
    fn announce_anew(&mut self, target: Target) {
        let at = self.clock().monotonic + CONTEST;
        let bursts = self.reconciler.bursts();
        // What was gained just now is being announced.
        if !bursts.is_running(&target) {
            bursts.start(target, at);
        }
    }

    /// The hardware address with which this node answers for what is claimed, if it does now.
    fn answered_with(&self, claim: &Event) -> Option<Mac> {
        let entry = self.planned.plan.desired.get(&claim.target)?;
        let answers = entry.state == EntryState::Answer && !self.last.unanswered.contains_key(&claim.target);
        (self.healthy && answers).then_some(entry.mac)
    }

    /// Has it told in the cluster.
    fn alarm(&self, claim: &Event) {
        let (Some(alarms), Some(decided)) = (&self.alarms, self.worker.decided()) else { return };
        let ip = claim.target.ip;
        let of_ip = self.told.services.iter().filter(|(_, all)| all.iter().any(|verdict| verdict.ip == ip));
        let uid = |service| decided.uids.get(service).cloned().unwrap_or_default();
        let link = self.present.get(&claim.target.link.0);
        let claimed = Claimed {
            ip,
            mac: claim.peer_mac,
            link: link.map_or_else(|| claim.target.link.0.to_string(), |link| link.name.clone()),
            services: of_ip.map(|(service, _)| (service.clone(), uid(service))).collect(),
        };
        if alarms.try_send(claimed).is_err() {
            tracing::debug!(address = %ip, "too many conflicts to tell in the cluster: this one is only in the log");
        }
    }
}

fn log(claim: &Event, claimant: Claimant) {
    let (address, link, other) = (claim.target.ip, claim.target.link.0, claim.peer_mac);
    match claimant {
        // Addresses move, or a partition has healed: the nodes settle it.
        Claimant::Peer => tracing::debug!(%address, link, %other, "another node claims an address of ours"),
        Claimant::Stranger => tracing::warn!(
            %address,
            link,
            vlans = %claim.target.vlans,
            %other,
            outcome = claim.outcome.name(),
            "another station claims an address of ours: find it by its hardware address, or take the address out of the pool"
        ),
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
    use lb_core::ids::{LinkId, Vlans};

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
    fn one_conflict_per_address_claimant_and_second() {
        let mut conflicts = Conflicts::default();
        let second = 1_000_000_000;
        for (ip, time, claimant, expected) in [
            ("192.0.2.1", 5, Claimant::Stranger, true),
            ("192.0.2.1", 5 + second - 1, Claimant::Stranger, false),
            ("192.0.2.1", 6, Claimant::Peer, true),
            ("192.0.2.1", 7, Claimant::Peer, false),
            ("2001:db8::1", 6, Claimant::Stranger, true),
            ("192.0.2.1", 5 + second, Claimant::Stranger, true),
            ("2001:db8::1", second, Claimant::Stranger, false),
            ("2001:db8::1", second, Claimant::Peer, true),
        ] {
            assert_eq!(conflicts.note(&conflict(ip, time), claimant), expected, "{ip} at {time}");
        }
        let seen = conflicts.seen();
        assert_eq!(seen[&"192.0.2.1".parse::<IpAddr>().unwrap()].count, 2, "of strangers alone");
        assert_eq!(seen[&"2001:db8::1".parse::<IpAddr>().unwrap()].count, 1);
    }
}
