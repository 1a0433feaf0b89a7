//! The rows of one interface.

use super::super::facts::{Broadcast, Hook, LinkFacts};
use super::{Level, Row, row};

/// In the order in which they matter; only the first when nothing can be announced on the interface at all.
pub(super) fn rows(link: &LinkFacts, tcx: bool) -> Vec<Row> {
    let state = state(link);
    let mut rows = vec![state];
    if link.ethernet {
        rows.extend(driver(link, tcx));
        rows.extend(programs(link, tcx));
        rows.extend(vlans(link, tcx));
        rows.extend(settings(link));
        rows.extend(broadcast(link));
        let unread = |(what, why): &(&'static str, String)| {
            row(Level::Warn, what, format!("can't be read, so it is not judged: {why}"))
        };
        rows.extend(link.unread.iter().map(unread));
    }
    for row in &mut rows {
        row.interface = Some(link.name.clone());
    }
    rows
}

fn state(link: &LinkFacts) -> Row {
    let name = &link.name;
    if !link.ethernet {
        return row(Level::Fail, "link", "is not Ethernet: there is no ARP on it to answer");
    }
    if let Some(controller) = &link.controller {
        return row(
            Level::Fail,
            "link",
            format!("belongs to {controller}: announce on {controller} instead"),
        );
    }
    match (link.up, link.noarp, link.carrier) {
        (false, ..) => row(Level::Fail, "link", format!("is down: `ip link set {name} up`")),
        (_, true, _) => {
            row(Level::Fail, "link", format!("has ARP switched off: `ip link set {name} arp on`"))
        }
        (_, _, false) => row(Level::Warn, "link", "has no carrier: check the cable and the switch port"),
        (true, false, true) => row(Level::Ok, "link", "up, with carrier"),
    }
}

/// Which mode to expect, and what attaching does, before anything is attached.
fn driver(link: &LinkFacts, tcx: bool) -> Vec<Row> {
    let driver = if link.driver.is_empty() { "unknown" } else { &link.driver };
    if let Some(mode) = link.attached {
        return vec![row(Level::Ok, "mode", format!("driver {driver}; attached: {mode}"))];
    }
    let rest = if tcx { "tcx" } else { "generic XDP" };
    let without =
        |why: &str| vec![row(Level::Ok, "mode", format!("driver {driver} {why}: {rest} will be used"))];
    match (driver, link.native) {
        ("veth", _) => without("loses native answers unless the other end has an XDP program"),
        ("bonding", _) => without("hands frames to XDP under the name of a member"),
        (_, Some(false)) => without("has no native XDP"),
        _ if tcx && may_strip(link) => without("takes VLAN tags off, where XDP can't see them"),
        (_, Some(true)) => vec![row(
            Level::Info,
            "mode",
            format!(
                "driver {driver} has native XDP; attaching it makes some NICs lose their link for a second or two: choose the moment, or use --xdp-mode tcx"
            ),
        )],
        (_, None) => vec![row(
            Level::Info,
            "mode",
            format!(
                "driver {driver}; this kernel can't tell whether it has native XDP (6.3 can), {rest} is used if not. Attaching natively makes some NICs lose their link for a second or two: choose the moment"
            ),
        )],
    }
}

/// Tags are taken off and nothing keeps tagged frames away: the rule of the agent.
fn may_strip(link: &LinkFacts) -> bool {
    let expected = !link.vlans.is_empty() || !link.vlan_devices.is_empty();
    link.rx_vlan && (expected || !link.rx_vlan_filter)
}

fn programs(link: &LinkFacts, tcx: bool) -> Vec<Row> {
    let mut rows = Vec::new();
    for (hook, program) in &link.foreign {
        let (id, named) =
            (program.id, if program.name.is_empty() { "" } else { &format!(" ({})", program.name) });
        let attached = |hook: &str| format!("program {id}{named} of somebody else is attached ({hook})");
        let advice = format!("`bpftool prog show id {id}` tells more");
        rows.push(match hook {
            Hook::Native | Hook::Generic if !tcx => row(
                Level::Fail,
                "XDP",
                format!(
                    "{}, a link takes one, and this kernel has no tcx: BareLB can't attach. {advice}",
                    attached("XDP")
                ),
            ),
            Hook::Native | Hook::Generic | Hook::Offloaded => row(
                Level::Warn,
                "XDP",
                format!(
                    "{}; BareLB leaves it and uses tcx, which sees only what it passes. {advice}",
                    attached("XDP")
                ),
            ),
            Hook::TcxIngress => row(
                Level::Info,
                "tcx",
                format!(
                    "{}; BareLB's comes first and hands on what it does not answer. {advice}",
                    attached("tcx ingress")
                ),
            ),
        });
    }
    if !link.classifiers.is_empty() {
        let kinds = link.classifiers.join(", ");
        let finding = format!(
            "classifiers on received frames ({kinds}): BareLB answers before they are asked; `tc filter show dev {} ingress` lists them",
            link.name
        );
        rows.push(row(Level::Info, "tc", finding));
    }
    rows
}

fn vlans(link: &LinkFacts, tcx: bool) -> Vec<Row> {
    let name = &link.name;
    let mut rows = Vec::new();
    if link.rx_vlan {
        let use_off = format!("`ethtool -K {name} rxvlan off rx-vlan-stag-hw-parse off`");
        rows.push(if tcx {
            row(
                Level::Info,
                "rxvlan",
                format!("the driver takes VLAN tags off, where XDP can't see them: tcx is used unless no tagged frame can arrive; {use_off} allows native XDP"),
            )
        } else {
            row(
                Level::Warn,
                "rxvlan",
                format!("the driver takes VLAN tags off, where XDP can't see them, and this kernel has no tcx: where VLANs are in use {use_off}"),
            )
        });
    }
    let add = |id: &u16| {
        format!("`ip link add link {name} name {name}.{id} type vlan id {id} && ip link set {name}.{id} up`")
    };
    for (id, has_v6) in link.vlans.iter().filter(|(id, _)| !link.vlan_devices.contains(id)) {
        if link.rx_vlan_filter {
            rows.push(row(Level::Warn, "VLAN", format!("addresses are bound to VLAN {id}, but the NIC drops its frames (rx-vlan-filter) as long as no VLAN interface asks for them: {}", add(id))));
        } else if *has_v6 {
            rows.push(row(Level::Warn, "VLAN", format!("IPv6 addresses are bound to VLAN {id}, which has no interface: a snooping switch hears no listener report in it; {}", add(id))));
        }
    }
    if link.rx_vlan_filter && link.vlans.is_empty() && link.vlan_devices.is_empty() {
        rows.push(row(Level::Info, "VLAN", "the NIC drops tagged frames (rx-vlan-filter): an address bound by barelb.io/vlan needs a VLAN interface"));
    }
    rows
}

fn settings(link: &LinkFacts) -> Vec<Row> {
    let mut rows = Vec::new();
    if link.rp_filter == 1 {
        let name = &link.name;
        rows.push(row(Level::Warn, "rp_filter", format!("strict: packets from clients that are routed back by another interface are dropped after the address was found; if pages do not load, `sysctl net.ipv4.conf.{name}.rp_filter=2`")));
    }
    if link.no_ipv6 {
        let finding = "is disabled: solicited-node groups can't be joined, so IPv6 addresses may not be found; `sysctl net.ipv6.conf.IF.disable_ipv6=0` if there are any";
        rows.push(row(Level::Warn, "IPv6", finding.replace("IF", &link.name)));
    }
    rows
}

fn broadcast(link: &LinkFacts) -> Option<Row> {
    Some(match &link.broadcast {
        Broadcast::Unknown => return None,
        Broadcast::Counted(count) => {
            row(Level::Ok, "broadcast", format!("the driver counts {count} frames received"))
        }
        Broadcast::Heard => row(Level::Ok, "broadcast", "a frame was heard"),
        Broadcast::Silent(time) => row(
            Level::Warn,
            "broadcast",
            format!(
                "none heard in {} s: run `arping -I IF ADDRESS` on another machine meanwhile, or listen longer (--listen); hypervisors and access points may filter it",
                time.as_secs()
            ),
        ),
        Broadcast::Deaf(error) => row(Level::Warn, "broadcast", format!("can't listen: {error}")),
    })
}
