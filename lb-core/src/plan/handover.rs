//! Addresses that an edit gives to another node.
//!
//! Not all nodes hear of an edit at the same time. The owner until now answers on until the new one announces itself on the
//! wire, so that at no time nobody answers; and for [`HANDOVER`] at the most, should it never hear that.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use super::{Changes, Plan, Silence, Target, Verdict};
use crate::ids::LinkId;

/// How long an address that is another node's is answered, at the most.
pub const HANDOVER: Duration = Duration::from_millis(250);

/// What is being handed over.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Handovers {
    until: BTreeMap<Target, Duration>,
}

impl Handovers {
    /// The plan follows an edit: of what these changes make fall silent, another node's is handed over from now on.
    pub fn begin(&mut self, plan: &Plan, changes: &Changes, now: Duration) {
        if changes.lost.is_empty() {
            return;
        }
        let others = owned_by_others(plan);
        for target in changes.lost.iter().filter(|target| others.contains(&target.ip)) {
            self.until.entry(*target).or_insert(now + HANDOVER);
        }
    }

    /// Takes out of the changes whatever would end the answers of what is being handed over, and forgets what is not any
    /// more.
    pub fn hold(&mut self, changes: &mut Changes, now: Duration) {
        if self.until.is_empty() {
            return;
        }
        let lost: BTreeSet<Target> = changes.lost.iter().copied().collect();
        self.until.retain(|target, until| now < *until && lost.contains(target));
        let ends = |target: &Target| !self.until.contains_key(target);
        changes.lost.retain(ends);
        changes.remove.retain(ends);
        changes.upsert.retain(|(target, _)| ends(target));
    }

    /// The new owner of an address has announced itself. False: it is not being handed over.
    pub fn taken(&mut self, target: &Target) -> bool {
        self.until.remove(target).is_some()
    }

    /// Nothing is handed over any more, whoever owns it.
    pub fn end(&mut self) {
        self.until.clear();
    }

    /// The links on which something is being handed over.
    pub fn links(&self) -> BTreeSet<LinkId> {
        self.until.keys().map(|target| target.link).collect()
    }

    /// Nothing is being handed over.
    pub fn is_empty(&self) -> bool {
        self.until.is_empty()
    }

    /// When the first of them ends, unless its new owner announces itself before.
    pub fn due(&self) -> Option<Duration> {
        self.until.values().min().copied()
    }
}

/// Addresses that another node can own.
fn owned_by_others(plan: &Plan) -> BTreeSet<IpAddr> {
    let others = plan.services.values().flatten().filter(|address| match &address.verdict {
        Verdict::Standby { .. }
        | Verdict::Silent(Silence::NotOwner { .. } | Silence::NodeNotSelected { owner: Some(_) }) => true,
        Verdict::Owner | Verdict::Waiting | Verdict::Silent(_) => false,
    });
    others.map(|address| address.ip).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ids::{Mac, NodeName, ServiceKey, Vlans},
        plan::{AddressVerdict, Entry, EntryState, apply, diff},
    };

    const START: Duration = Duration::from_secs(100);

    fn target(ip: &str) -> Target {
        Target { link: LinkId(1), vlans: Vlans::Untagged, ip: ip.parse().unwrap() }
    }

    fn entry(state: EntryState) -> Entry {
        Entry { mac: Mac([2, 0, 0, 0, 0, 1]), state }
    }

    /// A plan with this verdict on both addresses of a Service, and no entry for them.
    fn plan(verdict: &Verdict) -> Plan {
        let verdicts = ["192.0.2.1", "2001:db8::1"]
            .map(|ip| AddressVerdict { ip: ip.parse().unwrap(), verdict: verdict.clone() });
        let services = BTreeMap::from([(ServiceKey::new("default", "web").unwrap(), verdicts.to_vec())]);
        Plan { services, ..Plan::default() }
    }

    fn other() -> NodeName {
        NodeName::new("b").unwrap()
    }

    fn answered() -> BTreeMap<Target, Entry> {
        ["192.0.2.1", "2001:db8::1"].map(|ip| (target(ip), entry(EntryState::Answer))).into()
    }

    #[test]
    fn answers_end_when_the_new_owner_announces_itself_or_with_the_time() {
        let plan = plan(&Verdict::Silent(Silence::NotOwner { owner: other() }));
        let (mut handovers, mut actual) = (Handovers::default(), answered());
        let step = |handovers: &mut Handovers, actual: &mut BTreeMap<Target, Entry>, now| {
            let mut changes = diff(&plan.desired, actual);
            handovers.hold(&mut changes, now);
            apply(&changes, actual);
            actual.keys().map(|target| target.ip.to_string()).collect::<Vec<_>>()
        };
        handovers.begin(&plan, &diff(&plan.desired, &actual), START);
        assert_eq!(step(&mut handovers, &mut actual, START), ["192.0.2.1", "2001:db8::1"]);
        assert_eq!(handovers.due(), Some(START + HANDOVER));

        assert!(handovers.taken(&target("192.0.2.1")) && !handovers.taken(&target("192.0.2.1")));
        let later = START + Duration::from_millis(249);
        assert_eq!(step(&mut handovers, &mut actual, later), ["2001:db8::1"]);
        assert_eq!(step(&mut handovers, &mut actual, START + HANDOVER), [""; 0]);
        assert!(handovers.is_empty() && handovers.due().is_none());
    }

    /// An entry that becomes a standby keeps its state meanwhile; what else changes is done.
    #[test]
    fn nothing_else_is_held() {
        let mut plan = plan(&Verdict::Standby { owner: other(), rank: 1 });
        plan.desired = answered().into_keys().map(|target| (target, entry(EntryState::Standby))).collect();
        let gone = target("192.0.2.9");
        let mut actual = answered();
        actual.insert(gone, entry(EntryState::Answer));
        let mut handovers = Handovers::default();
        let mut changes = diff(&plan.desired, &actual);
        handovers.begin(&plan, &changes, START);
        handovers.hold(&mut changes, START);
        assert_eq!((changes.lost, changes.remove, changes.upsert), (vec![gone], vec![gone], vec![]));

        // Back with this node: nothing is left to be handed over.
        let mut changes = diff(&actual, &actual);
        handovers.hold(&mut changes, START);
        assert!(handovers.is_empty());
    }

    #[test]
    fn what_nobody_else_owns_falls_silent_at_once() {
        for verdict in [
            Verdict::Waiting,
            Verdict::Silent(Silence::NoEndpoints),
            Verdict::Silent(Silence::NoCandidate),
            Verdict::Silent(Silence::NodeNotSelected { owner: None }),
        ] {
            let plan = plan(&verdict);
            let mut handovers = Handovers::default();
            handovers.begin(&plan, &diff(&plan.desired, &answered()), START);
            assert!(handovers.is_empty(), "{verdict:?}");
        }
        let plan = plan(&Verdict::Silent(Silence::NodeNotSelected { owner: Some(other()) }));
        let mut handovers = Handovers::default();
        handovers.begin(&plan, &diff(&plan.desired, &answered()), START);
        assert!(!handovers.is_empty());
    }
}
