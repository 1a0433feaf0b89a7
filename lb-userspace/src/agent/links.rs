//! Links of the kernel as values of lb-core, and as facts for the data plane.

use std::collections::BTreeMap;

use lb_core::burst::Gateways;
use lb_core::ids::{LinkId, LinkName, Mac};

use super::reconcile::Carrier;
use crate::dataplane::LinkFacts;
use crate::net::ethtool;
use crate::net::links::Link;

/// What the plan wants to know.
pub(super) fn planned(links: &BTreeMap<u32, Link>) -> Vec<lb_core::eligibility::Link> {
    links
        .values()
        .filter_map(|link| {
            Some(lb_core::eligibility::Link {
                id: LinkId(link.index),
                name: LinkName::new(&link.name).ok()?,
                mac: link.mac.map(Mac),
                up: link.state.up,
                carrier: link.state.lower_up,
                enslaved: link.controller.is_some(),
                noarp: link.state.noarp || !link.ethernet,
                addresses: link.addresses.iter().map(ipnet::IpNet::addr).collect(),
            })
        })
        .collect()
}

/// Which links frames leave by, and how often that has changed.
pub(super) fn carriers(links: &BTreeMap<u32, Link>) -> BTreeMap<LinkId, Carrier> {
    let carrier = |link: &Link| Carrier {
        up: link.state.up && link.state.lower_up,
        changes: link.state.carrier_changes,
    };
    links.values().map(|link| (LinkId(link.index), carrier(link))).collect()
}

/// The gateways of the links that have one.
pub(super) fn gateways(links: &BTreeMap<u32, Link>) -> Gateways {
    let with = links.values().filter(|link| !link.gateways.is_empty());
    with.map(|link| (LinkId(link.index), link.gateways.clone())).collect()
}

/// What the data plane wants to know. `tagged` = links with entries on a VLAN.
pub(super) fn facts(
    links: &BTreeMap<u32, Link>,
    tagged: &std::collections::BTreeSet<LinkId>,
    losing: &std::collections::BTreeSet<LinkId>,
) -> BTreeMap<LinkId, LinkFacts> {
    links
        .values()
        .filter(|link| link.ethernet)
        .map(|link| {
            let id = LinkId(link.index);
            let facts = LinkFacts {
                name: link.name.clone(),
                driver: ethtool::driver(&link.name).map(|driver| driver.name).unwrap_or_default(),
                strips_tags: strips_tags(link, tagged.contains(&id)),
                loses_native: losing.contains(&id),
                xdp: (link.xdp.native, link.xdp.generic),
            };
            (id, facts)
        })
        .collect()
}

/// The hardware may take a VLAN tag off a frame that then reaches XDP.
///
/// A filter for VLANs in the NIC is no proof that it does not: it lets through every VLAN that has a device, and a
/// device can have been moved into another network namespace, where nothing here shows it.
fn strips_tags(link: &Link, tagged: bool) -> bool {
    ethtool::features(&link.name)
        .map_or(tagged, |features| features.rx_vlan_offload || features.rx_svlan_offload)
}
