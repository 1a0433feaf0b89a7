//! The facts, from the kernel: reads only.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use lb_core::eligibility::is_excluded;
use lb_core::ids::{LinkId, LinkName};

use super::super::Places;
use super::facts::{Broadcast, Facts, Hook, LinkFacts};
use super::rivals;
use crate::dataplane::ebpf::{
    Pinned, Pins, Program, View, check_bpffs, is_embedded, kernel_has_tcx, pinned, tcx_programs,
};
use crate::net::capabilities::{Capabilities, Capability};
use crate::net::links::{self, Link};
use crate::net::{broadcast, ethtool, filters, netdev};

/// Everything a check judges; `interfaces` are those that were named.
pub(super) fn facts(interfaces: &[String], listen: Duration, places: &Places) -> Result<Facts> {
    let present = links::list().context("listing the interfaces")?;
    let needed = [Capability::Bpf, Capability::NetAdmin, Capability::Perfmon, Capability::NetRaw];
    let missing = Capabilities::read().context("reading capabilities")?.missing(&needed);
    let names: BTreeSet<&str> = present.values().map(|link| link.name.as_str()).collect();
    let pins = Pins::new(&places.bpffs);
    let ours = Ours { pinned: pinned(&pins), vlans: vlans(pins.root()), tcx: kernel_has_tcx() };
    let wanted = present.values().filter(|link| is_wanted(link, interfaces));
    // All listen at the same time.
    let links = thread::scope(|scope| {
        let looks: Vec<_> =
            wanted.map(|link| scope.spawn(|| self::link(link, &present, &ours, listen))).collect();
        looks.into_iter().filter_map(|look| look.join().ok()).collect()
    });
    Ok(Facts {
        kernel: read("/proc/sys/kernel/osrelease"),
        embedded: is_embedded(),
        tcx: ours.tcx,
        bpffs: check_bpffs(&places.bpffs).map_err(|error| error.to_string()),
        missing_capabilities: missing.iter().map(ToString::to_string).collect(),
        absent: interfaces.iter().filter(|name| !names.contains(name.as_str())).cloned().collect(),
        kube_ipvs: names.contains("kube-ipvs0"),
        answers_on_any_link: number("/proc/sys/net/ipv4/conf/all/arp_ignore") == 0,
        rivals: rivals::running(Path::new("/proc")),
        links,
    })
}

/// What BareLB has on this node already.
struct Ours {
    pinned: BTreeMap<LinkId, Option<Pinned>>,
    vlans: BTreeMap<LinkId, BTreeMap<u16, bool>>,
    tcx: bool,
}

/// Named, or what an agent would use if none is named and that the network reaches: it has an address.
fn is_wanted(link: &Link, named: &[String]) -> bool {
    if !named.is_empty() {
        return named.contains(&link.name);
    }
    let excluded = LinkName::new(&link.name).is_ok_and(|name| is_excluded(&name));
    let has_address = link.addresses.iter().any(|net| match net.addr() {
        std::net::IpAddr::V4(ip) => !ip.is_link_local(),
        std::net::IpAddr::V6(ip) => !ip.is_unicast_link_local(),
    });
    link.ethernet
        && link.state.up
        && !link.state.noarp
        && link.controller.is_none()
        && !excluded
        && has_address
}

fn link(link: &Link, present: &BTreeMap<u32, Link>, ours: &Ours, listen: Duration) -> LinkFacts {
    let id = LinkId(link.index);
    let pin = ours.pinned.get(&id).copied().flatten();
    let features = ethtool::features(&link.name).unwrap_or_default();
    let setting =
        |family: &str, of: &str, key: &str| number(&format!("/proc/sys/net/{family}/conf/{of}/{key}"));
    let vlan_of = |other: &Link| other.vlan.filter(|vlan| vlan.parent == link.index).map(|vlan| vlan.id);
    let mut facts = LinkFacts {
        name: link.name.clone(),
        driver: ethtool::driver(&link.name).map(|driver| driver.name).unwrap_or_default(),
        ethernet: link.ethernet,
        up: link.state.up,
        carrier: link.state.lower_up,
        noarp: link.state.noarp,
        controller: link.controller.map(|index| {
            present.get(&index).map_or_else(|| format!("interface {index}"), |link| link.name.clone())
        }),
        attached: pin.and_then(|pin| pin.mode(link.xdp)),
        rx_vlan: features.rx_vlan_offload || features.rx_svlan_offload,
        rx_vlan_filter: features.rx_vlan_filter && !link.state.promisc,
        vlans: ours.vlans.get(&id).cloned().unwrap_or_default(),
        vlan_devices: present.values().filter_map(vlan_of).collect(),
        rp_filter: setting("ipv4", "all", "rp_filter").max(setting("ipv4", &link.name, "rp_filter")),
        no_ipv6: setting("ipv6", &link.name, "disable_ipv6") == 1,
        ..LinkFacts::default()
    };
    programs(&mut facts, link, pin, ours.tcx);
    if facts.up && facts.carrier {
        facts.broadcast = broadcast(link, listen);
    }
    facts
}

/// Native XDP, and programs of others.
fn programs(facts: &mut LinkFacts, link: &Link, pin: Option<Pinned>, tcx: bool) {
    let is_ours = |id: u32| pin.is_some_and(|pin| pin.program == id);
    let xdp = [
        (Hook::Native, link.xdp.native),
        (Hook::Generic, link.xdp.generic),
        (Hook::Offloaded, link.xdp.offloaded),
    ];
    for (hook, id) in
        xdp.into_iter().filter_map(|(hook, id)| Some((hook, id?))).filter(|(_, id)| !is_ours(*id))
    {
        facts.foreign.push((hook, Program::with_id(id)));
    }
    match netdev::has_native_xdp(link.index) {
        Ok(native) => facts.native = native,
        Err(error) => facts.unread.push(("native XDP", error.to_string())),
    }
    if tcx {
        match tcx_programs(&link.name) {
            Ok(ingress) => {
                let others = ingress.into_iter().filter(|program| !is_ours(program.id));
                facts.foreign.extend(others.map(|program| (Hook::TcxIngress, program)));
            }
            Err(error) => facts.unread.push(("tcx", error.to_string())),
        }
    }
    match filters::ingress(link.index) {
        Ok(kinds) => facts.classifiers = kinds,
        Err(error) => facts.unread.push(("tc", error.to_string())),
    }
}

/// The driver's own counter if it has one, else by listening.
fn broadcast(link: &Link, limit: Duration) -> Broadcast {
    let counted: u64 = ethtool::stats(&link.name)
        .unwrap_or_default()
        .iter()
        .filter(|(name, _)| counts_broadcast(name))
        .map(|(_, count)| *count)
        .max()
        .unwrap_or(0);
    if counted > 0 {
        return Broadcast::Counted(counted);
    }
    if limit.is_zero() {
        return Broadcast::Unknown;
    }
    match broadcast::is_heard(link.index, limit) {
        Ok(true) => Broadcast::Heard,
        Ok(false) => Broadcast::Silent(limit),
        Err(error) => Broadcast::Deaf(error.to_string()),
    }
}

/// Drivers name it as they like: `rx_broadcast`, `port.rx_broadcast`, `rx_bcast_packets`, `broadcast_frames_received_ok`.
fn counts_broadcast(statistic: &str) -> bool {
    let name = statistic.to_ascii_lowercase();
    let received = name.contains("rx") || name.contains("receive");
    let frames =
        !name.contains("byte") && !name.contains("octet") && !name.contains("drop") && !name.contains("err");
    received && frames && (name.contains("broadcast") || name.contains("bcast"))
}

/// VLANs with addresses, by link; nothing where no agent has run.
fn vlans(root: &Path) -> BTreeMap<LinkId, BTreeMap<u16, bool>> {
    let rows = View::open(root).and_then(|view| view.table.read());
    let mut vlans: BTreeMap<LinkId, BTreeMap<u16, bool>> = BTreeMap::new();
    for target in rows.iter().flat_map(|rows| rows.rows.keys()) {
        let (outer, _) = target.vlans.ids();
        if outer != 0 {
            *vlans.entry(target.link).or_default().entry(outer).or_default() |= target.ip.is_ipv6();
        }
    }
    vlans
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

fn number(path: &str) -> u8 {
    read(path).parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_that_count_broadcast() {
        for (name, expected) in [
            ("rx_broadcast", true),
            ("port.rx_broadcast", true),
            ("rx_bcast_packets", true),
            ("rx_broadcast_packets_phy", true),
            ("tx_broadcast", false),
            ("rx_broadcast_bytes", false),
            ("rx_bcast_drop", false),
            ("rx_multicast", false),
        ] {
            assert_eq!(counts_broadcast(name), expected, "{name}");
        }
    }

    #[test]
    fn named_links_are_looked_at_whatever_they_are_and_others_only_if_they_can_announce() {
        let fit = Link {
            name: "eth0".into(),
            ethernet: true,
            state: links::LinkState { up: true, ..links::LinkState::default() },
            addresses: ["192.0.2.11/24".parse().unwrap()].into(),
            ..Link::default()
        };
        let v6 = Link { addresses: ["2001:db8::11/64".parse().unwrap()].into(), ..fit.clone() };
        assert!(is_wanted(&fit, &[]) && is_wanted(&v6, &[]));
        let unfit = [
            Link { name: "veth7".into(), ..fit.clone() },
            Link { name: "docker0".into(), ..fit.clone() },
            Link { controller: Some(3), ..fit.clone() },
            Link { ethernet: false, ..fit.clone() },
            Link { state: links::LinkState::default(), ..fit.clone() },
            Link { addresses: ["169.254.3.3/16".parse().unwrap()].into(), ..fit.clone() },
            Link { addresses: ["fe80::11/64".parse().unwrap()].into(), ..fit },
        ];
        for link in unfit {
            assert!(!is_wanted(&link, &[]), "{link:?}");
            assert!(is_wanted(&link, std::slice::from_ref(&link.name)), "{link:?}");
            assert!(!is_wanted(&link, &["eth9".to_owned()]), "{link:?}");
        }
    }
}
