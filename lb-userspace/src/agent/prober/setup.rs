//! Whom to probe on which link, from what the nodes say of their links and what this one has.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use lb_core::eligibility::Node;
use lb_core::ids::{LinkId, Mac, NodeName};
use lb_core::membership::LinkReport;

use crate::dataplane::{Reflecting, Reflection};
use crate::net::links::Link;

/// A link on which nodes probe each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::agent) struct LinkSetup {
    pub(super) name: String,
    pub(super) mac: Mac,
    /// Frames leave it.
    pub(super) carrier: bool,
    /// How often that has changed.
    pub(super) changes: u32,
    pub(super) own: BTreeSet<IpAddr>,
    pub(super) peers: BTreeMap<NodeName, PeerSetup>,
}

/// How to reach another node on a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PeerSetup {
    pub(super) mac: Mac,
    pub(super) address: IpAddr,
    /// Own address on the same network.
    pub(super) source: IpAddr,
    pub(super) discriminator: u32,
    pub(super) port: u16,
    /// All its addresses that it may probe from.
    pub(super) addresses: BTreeSet<IpAddr>,
}

/// All of it.
pub(in crate::agent) type Setup = BTreeMap<LinkId, LinkSetup>;

/// Of the links on which something is announced, or may be.
pub(in crate::agent) fn setup(
    links: &BTreeMap<u32, Link>,
    used: &BTreeSet<LinkId>,
    nodes: &BTreeMap<NodeName, Node>,
    me: &NodeName,
) -> Setup {
    let links = used.iter().filter_map(|id| Some((*id, links.get(&id.0)?)));
    links.filter_map(|(id, link)| Some((id, on_link(link, nodes, me)?))).collect()
}

fn on_link(link: &Link, nodes: &BTreeMap<NodeName, Node>, me: &NodeName) -> Option<LinkSetup> {
    // Also those whose Leases have run out: parted from this node, or from the server, they may answer still, and are to be
    // heard as soon as they can be.
    let others = nodes.iter().filter(|(name, _)| *name != me);
    let peers = others.filter_map(|(name, node)| {
        let peer = node.reports.iter().find_map(|report| peer(link, report, |ip, net| net.contains(&ip)));
        // Link-local addresses are everywhere: the name of the link says which is meant.
        let same_name = || {
            let report = node.reports.iter().find(|report| report.name.as_str() == link.name)?;
            peer_by_link_local(link, report)
        };
        Some((name.clone(), peer.or_else(same_name)?))
    });
    Some(LinkSetup {
        name: link.name.clone(),
        mac: Mac(link.mac?),
        carrier: link.state.up && link.state.lower_up,
        changes: link.state.carrier_changes,
        own: link.addresses.iter().map(IpNet::addr).collect(),
        peers: peers.collect(),
    })
}

/// The other node by an address that is on the network of one of ours; IPv4 first.
fn peer(link: &Link, report: &LinkReport, on: impl Fn(IpAddr, &IpNet) -> bool) -> Option<PeerSetup> {
    let pairs = link.addresses.iter().filter(|net| !is_link_local(net.addr())).flat_map(|net| {
        let there = report.addresses.iter().filter(|ip| !is_link_local(**ip) && on(**ip, net));
        there.map(|ip| (net.addr(), *ip))
    });
    let (source, address) = pairs.min_by_key(|(_, ip)| ip.is_ipv6())?;
    reached(report, source, address)
}

fn peer_by_link_local(link: &Link, report: &LinkReport) -> Option<PeerSetup> {
    let source = link.addresses.iter().map(IpNet::addr).find(|ip| is_link_local(*ip))?;
    let address = report.addresses.iter().copied().find(|ip| is_link_local(*ip))?;
    reached(report, source, address)
}

fn reached(report: &LinkReport, source: IpAddr, address: IpAddr) -> Option<PeerSetup> {
    let liveness = report.liveness?;
    Some(PeerSetup {
        mac: report.station()?,
        address,
        source,
        discriminator: liveness.discriminator,
        port: liveness.port,
        addresses: report.addresses.iter().copied().collect(),
    })
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(_) => false,
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

/// What the data plane is to reflect; `up` says where this node may own addresses.
pub(in crate::agent) fn reflection(
    setup: &Setup,
    discriminator: u32,
    up: impl Fn(LinkId) -> bool,
) -> Reflection {
    let mut reflection = Reflection::default();
    for (id, link) in setup {
        let reflecting = Reflecting { discriminator, up: up(*id) };
        reflection.own.extend(link.own.iter().map(|ip| ((*id, *ip), reflecting)));
        for peer in link.peers.values() {
            reflection.members.extend(peer.addresses.iter().map(|ip| ((*id, *ip), peer.mac)));
        }
    }
    reflection
}

#[cfg(test)]
mod tests {
    use super::*;
    use lb_core::ids::LinkName;
    use lb_core::membership::LivenessReport;

    fn link(addresses: &[&str]) -> Link {
        Link {
            index: 2,
            name: "eth0".to_owned(),
            mac: Some([2, 0, 0, 0, 0, 1]),
            addresses: addresses.iter().map(|ip| ip.parse().unwrap()).collect(),
            ..Link::default()
        }
    }

    fn node(name: &str, addresses: &[&str], liveness: bool) -> Node {
        let report = LinkReport {
            name: LinkName::new(name).unwrap(),
            mac: Some("02:00:00:00:00:02".to_owned()),
            addresses: addresses.iter().map(|ip| ip.parse().unwrap()).collect(),
            fit: true,
            why: None,
            liveness: liveness.then_some(LivenessReport { discriminator: 9, port: 7785 }),
        };
        Node { reports: vec![report], ..Node::default() }
    }

    fn found(own: &[&str], there: Node) -> Option<(String, String)> {
        let nodes = BTreeMap::from([(NodeName::new("b").unwrap(), there)]);
        let links = BTreeMap::from([(2, link(own))]);
        let setup = setup(&links, &BTreeSet::from([LinkId(2)]), &nodes, &NodeName::new("a").unwrap());
        let peer = setup[&LinkId(2)].peers.values().next()?;
        Some((peer.source.to_string(), peer.address.to_string()))
    }

    #[test]
    fn a_peer_is_reached_on_the_network_of_both() {
        let own = ["192.0.2.1/24", "2001:db8::1/64", "fe80::1/64"];
        let pair = |a: &str, b: &str| Some((a.to_owned(), b.to_owned()));
        let there = |name, addresses: &[&str]| found(&own, node(name, addresses, true));
        assert_eq!(there("ens3", &["fe80::2", "2001:db8::2", "192.0.2.2"]), pair("192.0.2.1", "192.0.2.2"));
        assert_eq!(
            there("ens3", &["fe80::2", "2001:db8::2", "198.51.100.2"]),
            pair("2001:db8::1", "2001:db8::2")
        );
        assert_eq!(there("eth0", &["fe80::2"]), pair("fe80::1", "fe80::2"));
        assert_eq!(there("ens3", &["fe80::2"]), None, "which link it is can't be known");
        assert_eq!(found(&own, node("eth0", &["192.0.2.2"], false)), None, "it reflects nothing");
    }
}
