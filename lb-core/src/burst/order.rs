//! Whom to tell first of the addresses that a node has taken over.
//!
//! With 10,000 addresses and the usual rate two seconds lie between the first and the last. Whoever sends packets to one of
//! them needs it now; the others find out in time. Those who sent are among those who asked, and this node has heard
//! their requests while it stood by: they are broadcasts. First comes what a gateway of the link asked for, behind which there
//! are more clients than one; then the rest of what was asked for, the latest first; then what nobody has asked for.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::ids::{LinkId, Mac};
use crate::plan::Target;

/// The last request for an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// When, on any clock.
    pub at_ns: u64,
    /// The hardware address of who asked.
    pub mac: Mac,
    /// Its address; unspecified in a probe.
    pub ip: IpAddr,
}

/// The next hops of default routes, by the links that they are on.
pub type Gateways = BTreeMap<LinkId, BTreeSet<IpAddr>>;

/// The order in which these are announced.
pub fn order(targets: BTreeSet<Target>, asked: &BTreeMap<Target, Asked>, gateways: &Gateways) -> Vec<Target> {
    let is_gateway = |link, ip: &IpAddr| gateways.get(&link).is_some_and(|known| known.contains(ip));
    // A router asks from more addresses than the next hop, of the other family for one. All of them have its hardware
    // address.
    let routers: BTreeSet<(LinkId, Mac)> = asked
        .iter()
        .filter(|(target, asked)| is_gateway(target.link, &asked.ip))
        .map(|(target, asked)| (target.link, asked.mac))
        .collect();
    let key = |target: &Target| match asked.get(target) {
        Some(one) if routers.contains(&(target.link, one.mac)) => (0, Reverse(one.at_ns)),
        Some(one) => (1, Reverse(one.at_ns)),
        None => (2, Reverse(0)),
    };
    let mut ordered: Vec<Target> = targets.into_iter().collect();
    // Stable: among equals the order of the targets stays.
    ordered.sort_by_cached_key(key);
    ordered
}

/// Requests that are met directly on each link.
pub const DIRECT: usize = 16;

/// The first on each link that somebody has asked for, with who did: told to them alone, beside what all are told. A probe is
/// of nobody who has an address.
pub fn direct(ordered: &[Target], asked: &BTreeMap<Target, Asked>) -> Vec<(Target, Asked)> {
    let mut told: BTreeMap<LinkId, usize> = BTreeMap::new();
    let known = ordered.iter().filter_map(|target| Some((*target, *asked.get(target)?)));
    let reachable = known
        .filter(|(target, asked)| !asked.ip.is_unspecified() && asked.ip.is_ipv4() == target.ip.is_ipv4());
    let within = |(target, _): &(Target, Asked)| {
        let told = told.entry(target.link).or_default();
        *told += 1;
        *told <= DIRECT
    };
    reachable.filter(within).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Vlans;

    fn target(link: u32, ip: &str) -> Target {
        Target { link: LinkId(link), vlans: Vlans::Untagged, ip: ip.parse().unwrap() }
    }

    fn asked(at_ns: u64, mac: u8, ip: &str) -> Asked {
        Asked { at_ns, mac: Mac([2, 0, 0, 0, 0, mac]), ip: ip.parse().unwrap() }
    }

    #[test]
    fn gateways_then_the_latest_then_the_rest() {
        let gateways =
            Gateways::from([(LinkId(1), ["192.0.2.1", "fe80::1"].map(|ip| ip.parse().unwrap()).into())]);
        let all = [
            (target(1, "192.0.2.101"), None),
            (target(1, "192.0.2.102"), Some(asked(5, 9, "192.0.2.9"))),
            (target(1, "192.0.2.103"), Some(asked(1, 1, "192.0.2.1"))),
            (target(1, "192.0.2.104"), Some(asked(8, 9, "192.0.2.9"))),
            // The router, from an address of another network; its hardware address is known by the one above.
            (target(1, "192.0.2.105"), Some(asked(3, 1, "198.51.100.1"))),
            (target(1, "192.0.2.106"), Some(asked(9, 7, "0.0.0.0"))),
            (target(1, "2001:db8::101"), None),
            (target(1, "2001:db8::102"), Some(asked(6, 9, "2001:db8::9"))),
            (target(1, "2001:db8::103"), Some(asked(2, 3, "fe80::1"))),
            // What is the gateway on one link is a station like others on another one.
            (target(2, "192.0.2.103"), Some(asked(7, 1, "192.0.2.1"))),
        ];
        let known = all.iter().filter_map(|(target, asked)| Some((*target, (*asked)?))).collect();
        let ordered = order(all.iter().map(|(target, _)| *target).collect(), &known, &gateways);
        let expected = [
            (1, "192.0.2.105"),
            (1, "2001:db8::103"),
            (1, "192.0.2.103"),
            (1, "192.0.2.106"),
            (1, "192.0.2.104"),
            (2, "192.0.2.103"),
            (1, "2001:db8::102"),
            (1, "192.0.2.102"),
            (1, "192.0.2.101"),
            (1, "2001:db8::101"),
        ];
        assert_eq!(ordered, expected.map(|(link, ip)| target(link, ip)));
        let targets: BTreeSet<Target> = all.iter().map(|(target, _)| *target).collect();
        assert_eq!(
            order(targets.clone(), &BTreeMap::new(), &Gateways::new()),
            targets.into_iter().collect::<Vec<_>>(),
            "nothing is known: as they are"
        );
    }

    #[test]
    fn a_few_on_each_link_are_told_directly() {
        let targets: Vec<Target> =
            (1..=40).map(|n| target(1, &format!("192.0.2.{n}"))).chain([target(2, "2001:db8::1")]).collect();
        let requester = |target: &Target| match target.ip {
            IpAddr::V4(ip) if ip.octets()[3] == 2 => Some(asked(1, 9, "0.0.0.0")),
            IpAddr::V4(ip) if ip.octets()[3] == 3 => None,
            IpAddr::V4(_) => Some(asked(1, 9, "192.0.2.99")),
            IpAddr::V6(_) => Some(asked(1, 9, "2001:db8::99")),
        };
        let known = targets.iter().filter_map(|target| Some((*target, requester(target)?))).collect();
        let told: Vec<Target> = direct(&targets, &known).into_iter().map(|(target, _)| target).collect();
        let first = (1..=18).filter(|n| ![2, 3].contains(n)).map(|n| target(1, &format!("192.0.2.{n}")));
        assert_eq!(told, first.chain([target(2, "2001:db8::1")]).collect::<Vec<_>>());
        assert_eq!(direct(&targets, &BTreeMap::new()), []);
    }
}
