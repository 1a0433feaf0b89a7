use std::time::Duration;

use super::super::facts::{Broadcast, Hook, LinkFacts};
use super::*;
use crate::dataplane::Mode;
use crate::dataplane::ebpf::Program;

fn healthy() -> Facts {
    let link = LinkFacts {
        name: "eth0".into(),
        driver: "ixgbe".into(),
        ethernet: true,
        up: true,
        carrier: true,
        native: Some(true),
        attached: Some(Mode::Native),
        broadcast: Broadcast::Counted(7),
        ..LinkFacts::default()
    };
    Facts { kernel: "6.8.0-generic".into(), embedded: true, tcx: true, links: vec![link], ..Facts::default() }
}

fn program(name: &str) -> Program {
    Program { id: 9, name: name.into() }
}

#[test]
fn a_healthy_node_as_it_is_printed() {
    let expected = "\
OK    node       kernel           6.8.0-generic: XDP links, batch operations, tcx
OK    node       BPF object       embedded
OK    node       bpffs            mounted
OK    node       capabilities     BPF, NET_ADMIN, PERFMON, NET_RAW
OK    eth0       link             up, with carrier
OK    eth0       mode             driver ixgbe; attached: native
OK    eth0       broadcast        the driver counts 7 frames received
";
    assert_eq!(text(&rows(&healthy())), expected);
}

/// A change of the healthy node, the row it leads to, and words of its finding.
type Case = (fn(&mut Facts), Level, &'static str, &'static str);

const NODE: &[Case] = &[
    (|f| f.kernel = "5.4.0".into(), Level::Fail, "kernel", "5.15 is the oldest"),
    (|f| f.kernel = "odd".into(), Level::Warn, "kernel", "can't read its version"),
    (|f| f.tcx = false, Level::Warn, "kernel", "has no tcx"),
    (|f| f.embedded = false, Level::Fail, "BPF object", "cargo xtask build"),
    (|f| f.bpffs = Err("run `mount`".into()), Level::Fail, "bpffs", "run `mount`"),
    (|f| f.missing_capabilities = vec!["CAP_BPF".into()], Level::Fail, "capabilities", "missing: CAP_BPF"),
    (|f| f.absent = vec!["eth7".into()], Level::Fail, "link", "no such interface"),
    (|f| f.links.clear(), Level::Fail, "interfaces", "--interface"),
    (|f| f.rivals = [Rival::MetallbSpeaker].into(), Level::Warn, "MetalLB speaker", "load balancer class"),
    (|f| f.rivals = [Rival::KubeVip].into(), Level::Warn, "kube-vip", "own Services"),
    (|f| f.rivals = [Rival::ServiceLb].into(), Level::Warn, "k3s servicelb", "--disable=servicelb"),
];

const LINK: &[Case] = &[
    (|f| f.links[0].up = false, Level::Fail, "link", "ip link set eth0 up"),
    (|f| f.links[0].noarp = true, Level::Fail, "link", "ip link set eth0 arp on"),
    (|f| f.links[0].carrier = false, Level::Warn, "link", "no carrier"),
    (|f| f.links[0].controller = Some("br0".into()), Level::Fail, "link", "announce on br0"),
    (|f| f.links[0].attached = None, Level::Info, "mode", "lose their link"),
    (|f| (f.links[0].attached, f.links[0].native) = (None, None), Level::Info, "mode", "can't tell"),
    (|f| f.links[0].rx_vlan = true, Level::Info, "rxvlan", "ethtool -K eth0 rxvlan off"),
    (|f| f.links[0].rx_vlan_filter = true, Level::Info, "VLAN", "needs a VLAN interface"),
    (
        |f| {
            f.links[0].rx_vlan_filter = true;
            f.links[0].vlans = [(42, false)].into();
        },
        Level::Warn,
        "VLAN",
        "ip link add link eth0 name eth0.42 type vlan id 42",
    ),
    (|f| f.links[0].vlans = [(42, true)].into(), Level::Warn, "VLAN", "no listener report"),
    (|f| f.links[0].rp_filter = 1, Level::Warn, "rp_filter", "sysctl net.ipv4.conf.eth0.rp_filter=2"),
    (|f| f.links[0].no_ipv6 = true, Level::Warn, "IPv6", "sysctl net.ipv6.conf.eth0.disable_ipv6=0"),
    (
        |f| f.links[0].broadcast = Broadcast::Silent(Duration::from_secs(2)),
        Level::Warn,
        "broadcast",
        "in 2 s",
    ),
    (
        |f| f.links[0].broadcast = Broadcast::Deaf("EPERM".into()),
        Level::Warn,
        "broadcast",
        "can't listen: EPERM",
    ),
    (
        |f| f.links[0].foreign = vec![(Hook::Native, program("filter"))],
        Level::Warn,
        "XDP",
        "program 9 (filter)",
    ),
    (
        |f| f.links[0].foreign = vec![(Hook::Generic, program(""))],
        Level::Warn,
        "XDP",
        "bpftool prog show id 9",
    ),
    (|f| f.links[0].foreign = vec![(Hook::TcxIngress, program("cil"))], Level::Info, "tcx", "comes first"),
    (|f| f.links[0].classifiers = vec!["bpf".into()], Level::Info, "tc", "tc filter show dev eth0 ingress"),
    (|f| f.links[0].unread = vec![("tcx", "EPERM".into())], Level::Warn, "tcx", "can't be read"),
    (
        |f| {
            f.kube_ipvs = true;
            f.answers_on_any_link = true;
        },
        Level::Warn,
        "strictARP",
        "ipvs.strictARP: true",
    ),
];

#[test]
fn each_fault_has_exactly_one_row_that_says_what_to_do() {
    for (number, (change, level, check, words)) in NODE.iter().chain(LINK).enumerate() {
        let mut facts = healthy();
        change(&mut facts);
        let found: Vec<Row> = rows(&facts).into_iter().filter(|row| row.level != Level::Ok).collect();
        assert_eq!(found.len(), 1, "case {number}: {found:#?}");
        assert_eq!((found[0].level, found[0].check), (*level, *check), "case {number}: {found:#?}");
        assert!(found[0].finding.contains(words), "case {number}: {words:?} is not in {found:#?}");
    }
}

#[test]
fn what_is_as_it_should_be_leads_to_no_complaint() {
    let fine: [fn(&mut Facts); 7] = [
        |f| f.kube_ipvs = true,
        |f| f.answers_on_any_link = true,
        |f| f.links[0].rp_filter = 2,
        |f| f.links[0].broadcast = Broadcast::Heard,
        |f| f.links[0].vlans = [(42, false)].into(),
        |f| (f.links[0].attached, f.links[0].native) = (None, Some(false)),
        |f| {
            f.links[0].rx_vlan_filter = true;
            f.links[0].vlans = [(42, true)].into();
            f.links[0].vlan_devices = [42].into();
        },
    ];
    for (number, change) in fine.iter().enumerate() {
        let mut facts = healthy();
        change(&mut facts);
        assert!(rows(&facts).iter().all(|row| row.level == Level::Ok), "case {number}: {:#?}", rows(&facts));
    }
}

#[test]
fn the_mode_to_expect_before_anything_is_attached() {
    for (driver, native, tcx, words) in [
        ("veth", Some(true), true, "tcx will be used"),
        ("veth", Some(true), false, "generic XDP will be used"),
        ("bonding", Some(true), true, "tcx will be used"),
        ("e1000", Some(false), true, "has no native XDP: tcx will be used"),
        ("ixgbe", Some(true), true, "--xdp-mode tcx"),
    ] {
        let mut facts = healthy();
        facts.tcx = tcx;
        let link = &mut facts.links[0];
        (link.driver, link.native, link.attached) = (driver.into(), native, None);
        let found = rows(&facts);
        let mode = found.iter().find(|row| row.check == "mode").unwrap();
        assert!(mode.finding.contains(words), "{driver}: {mode:?}");
    }
}

#[test]
fn tags_taken_off_lead_to_tcx_unless_none_can_arrive() {
    for (filter, vlans, devices, tcx_is_used) in [
        (false, vec![], vec![], true),
        (true, vec![], vec![], false),
        (true, vec![(42, true)], vec![42], true),
        (true, vec![], vec![7], true),
    ] {
        let mut facts = healthy();
        let link = &mut facts.links[0];
        (link.attached, link.rx_vlan, link.rx_vlan_filter) = (None, true, filter);
        (link.vlans, link.vlan_devices) = (vlans.into_iter().collect(), devices.into_iter().collect());
        let found = rows(&facts);
        let mode = found.iter().find(|row| row.check == "mode").unwrap();
        assert_eq!(mode.finding.contains("tcx will be used"), tcx_is_used, "{mode:?}");
    }
}

#[test]
fn a_foreign_program_where_there_is_no_tcx_leaves_no_hook() {
    let mut facts = healthy();
    facts.tcx = false;
    facts.links[0].foreign = vec![(Hook::Native, program("filter"))];
    let failed: Vec<Row> = rows(&facts).into_iter().filter(|row| row.level == Level::Fail).collect();
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert!(failed[0].finding.contains("BareLB can't attach"), "{failed:?}");
}

#[test]
fn a_link_that_is_no_ethernet_gets_one_row() {
    let mut facts = healthy();
    facts.links[0].ethernet = false;
    facts.links[0].rp_filter = 1;
    let found: Vec<Row> = rows(&facts).into_iter().filter(|row| row.interface.is_some()).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].level, Level::Fail);
}

#[test]
fn a_row_for_programs() {
    let json = serde_json::to_value(&rows(&healthy())[4]).unwrap();
    let expected = serde_json::json!({"level": "OK", "interface": "eth0", "check": "link", "finding": "up, with carrier"});
    assert_eq!(json, expected);
}
