//! Which node tells the cluster what is wrong.
//!
//! Most of what is wrong all nodes see alike. It is told by one of them, the first by name that is alive; what only the
//! owner of an address can know, by the owner.

use std::collections::BTreeSet;

use super::{Plan, Silence, Snapshot, Verdict};
use crate::{
    eligibility::InterfaceError,
    ids::LinkName,
    problem::{Place, Problem},
};

/// Where the expression for interfaces is written.
const PATTERN_FIELD: &str = "metadata.annotations[barelb.io/interface-regex]";

/// What this node is to tell.
pub(super) fn complaints(snapshot: &Snapshot, plan: &Plan) -> Vec<Problem> {
    let first = snapshot.nodes.iter().find(|(_, node)| node.alive).map(|(name, _)| name);
    let for_all = first == Some(&snapshot.me);
    let mut complaints = if for_all { nowhere(snapshot) } else { Vec::new() };
    for (service, verdicts) in &plan.services {
        let silences = verdicts.iter().filter_map(|verdict| match &verdict.verdict {
            Verdict::Silent(silence) => Some(silence),
            Verdict::Owner | Verdict::Standby { .. } | Verdict::Waiting => None,
        });
        let told =
            silences.filter(|silence| if is_own(silence) { true } else { for_all && silence.is_problem() });
        complaints.extend(told.map(|silence| silence.of(service)));
    }
    complaints
}

/// Whether it is the owner of an address that can't announce it.
fn is_own(silence: &Silence) -> bool {
    match silence {
        Silence::NoLink(_) | Silence::NoRoom { .. } | Silence::NotAttached { .. } => true,
        Silence::NotInPool { .. }
        | Silence::NodeAddress { .. }
        | Silence::Unsure { .. }
        | Silence::Rival { .. }
        | Silence::NoEndpoints
        | Silence::SharedIpWithServiceSelector { .. }
        | Silence::NoAdvertisement { .. }
        | Silence::ServiceNotSelected { .. }
        | Silence::NodeNotSelected { .. }
        | Silence::NotOwner { .. }
        | Silence::NoCandidate => false,
    }
}

/// Interfaces that advertisements name and no node reports. A node that reports nothing may have any.
fn nowhere(snapshot: &Snapshot) -> Vec<Problem> {
    let mut alive = snapshot.nodes.values().filter(|node| node.alive);
    if alive.clone().any(|node| node.links.is_none()) {
        return Vec::new();
    }
    let reported: BTreeSet<&LinkName> =
        alive.by_ref().flat_map(|node| node.links.iter().flat_map(|links| links.keys())).collect();
    let listed = snapshot.config.advertisements.iter().flat_map(|ad| {
        ad.listed_interfaces.iter().enumerate().map(move |(index, name)| (&ad.place, index, name))
    });
    let missing = listed.filter(|(_, _, name)| !reported.contains(name));
    let problem = |(place, index, name): (&Place, usize, &LinkName)| {
        let field = place.field(format!("spec.interfaces[{index}]"));
        Problem::new(field, InterfaceError::Nowhere { name: name.clone() })
    };
    let unmatched = snapshot.config.advertisements.iter().filter_map(|ad| {
        let pattern = ad.interfaces.pattern()?;
        let place = ad.place.field(PATTERN_FIELD);
        let problem = || Problem::new(place, InterfaceError::Unmatched { pattern: pattern.to_string() });
        (!reported.iter().any(|name| pattern.matches(name))).then(problem)
    });
    missing.map(problem).chain(unmatched).collect()
}
