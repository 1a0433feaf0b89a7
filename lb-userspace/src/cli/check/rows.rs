//! From facts to rows: what is the case, what it means, what to do.

use std::fmt;

use serde::Serialize;

use super::facts::{Facts, LinkFacts, Rival};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Works, with a limit.
    Warn,
    /// Does not work.
    Fail,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// How bad it is.
    pub level: Level,
    /// What was looked at.
    pub check: String,
    /// What was found and what to do.
    pub finding: String,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Ok => "OK",
            Level::Warn => "WARN",
            Level::Fail => "FAIL",
        };
        write!(f, "{level:<5} {:<24} {}", self.check, self.finding)
    }
}

fn row(level: Level, check: impl Into<String>, finding: impl Into<String>) -> Row {
    Row { level, check: check.into(), finding: finding.into() }
}

/// All checks.
pub(super) fn rows(facts: &Facts) -> Vec<Row> {
    let mut rows = vec![kernel(facts), object(facts), bpffs(facts), capabilities(facts)];
    rows.extend(rivals(facts));
    for name in &facts.absent {
        rows.push(row(Level::Fail, name, "there is no such interface: `ip link` lists those that exist"));
    }
    for link in &facts.links {
        rows.extend(link_rows(link, facts.tcx));
    }
    rows
}

fn kernel(facts: &Facts) -> Row {
    let mut numbers = facts.kernel.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    let version = (numbers.next().and_then(Result::ok), numbers.next().and_then(Result::ok));
    let (Some(major), Some(minor)) = version else {
        return row(Level::Warn, "kernel", format!("can't read its version: {:?}", facts.kernel));
    };
    let text = &facts.kernel;
    match (major, minor) {
        (..=4, _) | (5, ..=14) => {
            row(Level::Fail, "kernel", format!("{text}: 5.15 is the oldest that works"))
        }
        (5, _) | (6, ..=5) => row(
            Level::Warn,
            "kernel",
            format!("{text}: tcx needs 6.6; drivers without native XDP get generic XDP, which is slower"),
        ),
        _ => row(Level::Ok, "kernel", format!("{text}: XDP links, batch operations, tcx")),
    }
}

fn object(facts: &Facts) -> Row {
    if facts.embedded {
        row(Level::Ok, "BPF object", "embedded")
    } else {
        row(Level::Fail, "BPF object", "this binary has none: build it with `cargo xtask build`")
    }
}

fn bpffs(facts: &Facts) -> Row {
    match &facts.bpffs {
        Ok(()) => row(Level::Ok, "bpffs", "mounted"),
        Err(error) => row(Level::Fail, "bpffs", error),
    }
}

fn capabilities(facts: &Facts) -> Row {
    if facts.missing_capabilities.is_empty() {
        return row(Level::Ok, "capabilities", "BPF, NET_ADMIN, PERFMON, NET_RAW");
    }
    row(
        Level::Fail,
        "capabilities",
        format!("missing: {}; run as root or grant them", facts.missing_capabilities.join(", ")),
    )
}

fn rivals(facts: &Facts) -> Vec<Row> {
    let mut rows: Vec<Row> = facts
        .processes
        .iter()
        .map(|rival| match rival {
            Rival::MetallbSpeaker => row(Level::Warn, "MetalLB speaker", "runs on this node: both would answer for the same Services; give each a load balancer class and pools of its own"),
            Rival::KubeVip => row(Level::Warn, "kube-vip", "runs on this node: it puts addresses on interfaces, which then answer too"),
            Rival::ServiceLb => row(Level::Warn, "k3s servicelb", "runs on this node: start k3s with --disable=servicelb"),
        })
        .collect();
    if facts.kube_ipvs && facts.arp_ignore == "0" {
        rows.push(row(
            Level::Warn,
            "strictARP",
            "kube-proxy keeps addresses on kube-ipvs0 and the kernel answers for them on every node: set ipvs.strictARP: true in its configuration",
        ));
    }
    rows
}

fn link_rows(link: &LinkFacts, tcx: bool) -> Vec<Row> {
    let at = |check: &str| format!("{} {check}", link.name);
    if !link.ethernet {
        return vec![row(Level::Fail, at("link"), "is not Ethernet: it can't announce")];
    }
    let mut rows = vec![match (link.up, link.carrier, link.enslaved) {
        (false, ..) => row(Level::Fail, at("link"), format!("is down: `ip link set {} up`", link.name)),
        (_, false, _) => row(Level::Warn, at("link"), "has no carrier: check the cable and the switch port"),
        (_, _, true) => {
            row(Level::Fail, at("link"), "belongs to a bridge, bond or VRF: announce on that instead")
        }
        (true, true, false) => row(Level::Ok, at("link"), "up, with carrier"),
    }];
    rows.push(driver(link, tcx));
    for (mode, id) in link.xdp.iter().filter_map(|(mode, id)| Some((mode, (*id)?))).filter(|_| !link.ours) {
        rows.push(row(Level::Warn, at("XDP"), format!("program {id} of somebody else is attached ({mode}); `bpftool prog show id {id}` names it; BareLB uses tcx beside it")));
    }
    if link.rx_vlan {
        rows.push(row(Level::Warn, at("rxvlan"), format!("the driver takes VLAN tags off: with VLANs in use BareLB uses tcx; `ethtool -K {} rxvlan off` allows native XDP", link.name)));
    }
    if link.rp_filter == "1" {
        rows.push(row(Level::Warn, at("rp_filter"), format!("strict: requests that come in by another way than answers leave are dropped; `sysctl net.ipv4.conf.{}.rp_filter=2` if pages do not load", link.name)));
    }
    if link.no_ipv6 {
        rows.push(row(
            Level::Warn,
            at("IPv6"),
            "is disabled: solicited-node groups can't be joined, IPv6 addresses are not heard",
        ));
    }
    match link.broadcast_seen {
        Some(true) => rows.push(row(Level::Ok, at("broadcast"), "has been received")),
        Some(false) => rows.push(row(
            Level::Warn,
            at("broadcast"),
            "none received so far: does the access point or hypervisor filter it?",
        )),
        None => {}
    }
    rows
}

fn driver(link: &LinkFacts, tcx: bool) -> Row {
    let check = format!("{} driver", link.name);
    if link.driver == "veth" {
        let used = if tcx { "tcx" } else { "generic XDP" };
        return row(
            Level::Warn,
            check,
            format!("veth: native XDP loses answers unless the peer has a program; {used} is used"),
        );
    }
    row(
        Level::Ok,
        check,
        format!(
            "{}: whether it has native XDP shows when attaching, which makes some NICs lose their link for a moment",
            link.driver
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::super::facts::rival;
    use super::*;

    fn healthy() -> Facts {
        let link = LinkFacts {
            name: "eth0".into(),
            driver: "ixgbe".into(),
            ethernet: true,
            up: true,
            carrier: true,
            ..LinkFacts::default()
        };
        Facts {
            kernel: "6.8.0-generic".into(),
            embedded: true,
            tcx: true,
            bpffs: Ok(()),
            links: vec![link],
            ..Facts::default()
        }
    }

    #[test]
    fn a_healthy_node_has_nothing_to_change() {
        assert!(rows(&healthy()).iter().all(|row| row.level == Level::Ok), "{:?}", rows(&healthy()));
    }

    #[test]
    fn each_fault_is_named() {
        let worst = |change: fn(&mut Facts)| {
            let mut facts = healthy();
            change(&mut facts);
            let found: Vec<String> =
                rows(&facts).iter().filter(|row| row.level != Level::Ok).map(ToString::to_string).collect();
            assert_eq!(found.len(), 1, "{found:?}");
            found.concat()
        };
        for (text, needle) in [
            (worst(|f| f.kernel = "5.4.0".into()), "FAIL  kernel"),
            (worst(|f| f.kernel = "5.15.3".into()), "WARN  kernel"),
            (worst(|f| f.embedded = false), "cargo xtask build"),
            (worst(|f| f.bpffs = Err("no".into())), "FAIL  bpffs"),
            (worst(|f| f.missing_capabilities = vec!["CAP_BPF".into()]), "missing: CAP_BPF"),
            (worst(|f| f.absent = vec!["eth7".into()]), "FAIL  eth7"),
            (worst(|f| f.links[0].up = false), "ip link set eth0 up"),
            (worst(|f| f.links[0].carrier = false), "no carrier"),
            (worst(|f| f.links[0].enslaved = true), "belongs to a bridge"),
            (worst(|f| f.links[0].rx_vlan = true), "ethtool -K eth0 rxvlan off"),
            (worst(|f| f.links[0].rp_filter = "1".into()), "rp_filter"),
            (worst(|f| f.links[0].no_ipv6 = true), "solicited-node"),
            (worst(|f| f.links[0].broadcast_seen = Some(false)), "broadcast"),
            (worst(|f| f.links[0].xdp = [("native", Some(9))].into()), "bpftool prog show id 9"),
            (worst(|f| f.processes = [Rival::MetallbSpeaker].into()), "MetalLB"),
            (
                worst(|f| {
                    f.kube_ipvs = true;
                    f.arp_ignore = "0".into();
                }),
                "strictARP",
            ),
        ] {
            assert!(text.contains(needle), "{needle}: {text}");
        }
    }

    #[test]
    fn rivals_by_command_line() {
        assert_eq!(rival(b"/speaker\0--port=7472\0"), Some(Rival::MetallbSpeaker));
        assert_eq!(rival(b"/usr/local/bin/kube-vip\0manager\0"), Some(Rival::KubeVip));
        assert_eq!(rival(b"/bin/bash\0-c\0speaker\0"), None);
        assert_eq!(rival(b""), None);
    }
}
