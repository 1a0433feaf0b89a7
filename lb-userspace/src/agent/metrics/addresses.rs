//! How many addresses of Services this node knows, by what it does about them.
//!
//! The agents together tell from these counts whether every address has an owner, with a few series for each node
//! however many addresses there are: those that one node leaves to others must be announced by others.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use lb_core::plan::{Plan, Silence, Verdict};

/// Every value of the label `verdict`, so that what nobody has is there as a zero.
const VERDICTS: [&str; 13] = [
    "announced",
    "unanswered",
    "standby",
    "waiting",
    "other_node",
    "no_endpoints",
    "no_candidate",
    "no_advertisement",
    "not_in_pool",
    "node_address",
    "selector_of_shared",
    "metallb",
    "unsure",
];

/// The addresses, each once for each Service that has it, by their verdicts; `answered` are those of the table.
pub(super) fn by_verdict(plan: &Plan, answered: &BTreeSet<IpAddr>) -> BTreeMap<&'static str, u64> {
    let mut counts = BTreeMap::from(VERDICTS.map(|verdict| (verdict, 0)));
    for one in plan.services.values().flatten() {
        *counts.entry(name(&one.verdict, answered.contains(&one.ip))).or_default() += 1;
    }
    counts
}

fn name(verdict: &Verdict, answered: bool) -> &'static str {
    match verdict {
        Verdict::Owner if answered => "announced",
        Verdict::Owner => "unanswered",
        Verdict::Standby { .. } => "standby",
        Verdict::Waiting => "waiting",
        Verdict::Silent(silence) => match silence {
            // Only the owner has these.
            Silence::NoLink(_) | Silence::NoRoom { .. } | Silence::NotAttached { .. } => "unanswered",
            Silence::NotOwner { .. } | Silence::NodeNotSelected { owner: Some(_) } => "other_node",
            Silence::NoEndpoints => "no_endpoints",
            Silence::NoCandidate | Silence::NodeNotSelected { owner: None } => "no_candidate",
            Silence::NoAdvertisement { .. } | Silence::ServiceNotSelected { .. } => "no_advertisement",
            Silence::NotInPool { .. } => "not_in_pool",
            Silence::NodeAddress { .. } => "node_address",
            Silence::SharedIpWithServiceSelector { .. } => "selector_of_shared",
            Silence::Rival { .. } => "metallb",
            Silence::Unsure { .. } => "unsure",
        },
    }
}

#[cfg(test)]
mod tests {
    use lb_core::ids::NodeName;
    use lb_core::plan::{AddressVerdict, Unusable};

    use super::*;

    fn verdicts() -> Vec<(Verdict, &'static str)> {
        let ip: IpAddr = "192.0.2.101".parse().unwrap();
        let node = || NodeName::new("node-b").unwrap();
        let pool = || "default".parse().unwrap();
        let silences = [
            (Silence::NoLink(Unusable::default()), "unanswered"),
            (Silence::NotOwner { owner: node() }, "other_node"),
            (Silence::NodeNotSelected { owner: Some(node()) }, "other_node"),
            (Silence::NodeNotSelected { owner: None }, "no_candidate"),
            (Silence::NoCandidate, "no_candidate"),
            (Silence::NoEndpoints, "no_endpoints"),
            (Silence::NoAdvertisement { pool: pool() }, "no_advertisement"),
            (Silence::ServiceNotSelected { pool: pool() }, "no_advertisement"),
            (Silence::NotInPool { ip }, "not_in_pool"),
            (Silence::NodeAddress { ip }, "node_address"),
            (Silence::SharedIpWithServiceSelector { pool: pool() }, "selector_of_shared"),
            (Silence::Rival { ip, node: node() }, "metallb"),
            (Silence::Unsure { ip }, "unsure"),
        ];
        let others = [
            (Verdict::Owner, "unanswered"),
            (Verdict::Standby { owner: node(), rank: 1 }, "standby"),
            (Verdict::Waiting, "waiting"),
        ];
        silences.map(|(silence, name)| (Verdict::Silent(silence), name)).into_iter().chain(others).collect()
    }

    #[test]
    fn every_verdict_is_counted_under_a_name_that_is_always_there() {
        for (verdict, name) in verdicts() {
            let of = |ip: &str| AddressVerdict { ip: ip.parse().unwrap(), verdict: verdict.clone() };
            let services =
                [("a/one", "192.0.2.101"), ("a/two", "2001:db8::101"), ("b/shares", "192.0.2.101")];
            let services = services.map(|(key, ip)| (key.parse().unwrap(), vec![of(ip)]));
            let plan = Plan { services: BTreeMap::from(services), ..Plan::default() };
            let counts = by_verdict(&plan, &BTreeSet::new());
            assert_eq!(counts.len(), VERDICTS.len(), "{verdict:?}");
            assert_eq!(counts[name], 3, "{verdict:?}");
            assert_eq!(counts.values().sum::<u64>(), 3, "{verdict:?}");
        }
    }

    #[test]
    fn an_address_of_this_node_is_announced_if_the_table_answers_it() {
        let owner = |ip: &str| AddressVerdict { ip: ip.parse().unwrap(), verdict: Verdict::Owner };
        let web = vec![owner("192.0.2.100"), owner("2001:db8::100")];
        let plan = Plan { services: BTreeMap::from([("a/web".parse().unwrap(), web)]), ..Plan::default() };
        let counts = by_verdict(&plan, &BTreeSet::from(["192.0.2.100".parse().unwrap()]));
        assert_eq!((counts["announced"], counts["unanswered"]), (1, 1));
    }
}
