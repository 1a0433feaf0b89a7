use std::collections::BTreeMap;

use lb_core::ids::Mac;

use super::super::report::{Member, Reflector};
use super::*;
use crate::agent::state::{ConflictState, GroupState, ServiceState};
use crate::dataplane::ebpf::{Counts, Requester};

fn row(ip: &str, state: &'static str, slot: u32, counts: Counts, last_seen_ms: Option<u64>) -> Row {
    Row {
        ip: ip.parse().unwrap(),
        link: 4,
        interface: "eth0".into(),
        vlans: if slot == 1 { "100.42" } else { "untagged" }.into(),
        mac: "02:00:00:00:00:0b".into(),
        state,
        slot,
        counts,
        last_seen_ms,
    }
}

fn counts(requests: u64, replies: u64, requester: &str) -> Counts {
    let requester = Requester { mac: Mac([2, 0, 0, 0, 0, 10]), ip: requester.parse().unwrap() };
    Counts { requests, replies, probes: 1, conflicts: 2, last_seen_ns: 5, requester: Some(requester) }
}

fn link(index: u32, interface: &str, mode: Option<Mode>) -> Link {
    Link {
        index,
        interface: interface.into(),
        mode,
        program: Some(70 + index),
        allmulti: index == 5,
        pin: format!("/sys/fs/bpf/barelb/links/{index}"),
    }
}

/// What the pins and maps tell, also without an agent.
fn pinned() -> Report {
    Report {
        valid_for_ms: 60_150,
        now_ns: 100_000_000_000,
        max_vips: 4096,
        map_bytes: 1552 * 1024,
        entries: vec![
            row("192.0.2.100", "answer", 0, counts(12, 10, "192.0.2.10"), Some(1_560)),
            row("2001:db8::100", "answer", 1, counts(7, 7, "2001:db8::10"), Some(61_000)),
            row("2001:db8::101", "standby", 2, Counts::default(), None),
        ],
        reflectors: Vec::new(),
        members: Vec::new(),
        epoch: 0,
        outcomes: BTreeMap::from([("arp_reply", 10), ("nd_advert", 7)]),
        links: vec![
            link(4, "eth0", Some(Mode::Native)),
            link(5, "eth1", Some(Mode::Generic)),
            link(6, "eth2", None),
            link(7, "", None),
        ],
        maps: vec!["/sys/fs/bpf/barelb/v1".into()],
        without_entry: Vec::new(),
        agent: None,
    }
}

fn agent() -> State {
    let ip = |text: &str| text.parse().unwrap();
    State {
        version: "0.1.0".into(),
        pid: 77,
        node: "node-a".into(),
        synced: true,
        grace_ms: 60_000,
        peers: Vec::new(),
        links: vec![
            LinkState { index: 4, name: "eth0".into(), mode: Some("native".into()), refused: Vec::new() },
            LinkState {
                index: 5,
                name: "eth1".into(),
                mode: Some("generic".into()),
                refused: vec!["native: the driver has no native XDP".into(), "tcx: needs kernel 6.6".into()],
            },
            LinkState { index: 9, name: "eth3".into(), mode: None, refused: vec!["native: no".into()] },
        ],
        services: vec![
            ServiceState {
                name: "default/hello".into(),
                addresses: BTreeMap::from([
                    (ip("192.0.2.100"), "answered by this node".into()),
                    (ip("2001:db8::100"), "answered by this node".into()),
                ]),
                error: None,
            },
            ServiceState {
                name: "default/none".into(),
                addresses: BTreeMap::new(),
                error: Some("no pool has an address left".into()),
            },
        ],
        problems: vec!["web.yaml: document 1: spec.ports: missing".into()],
        repairs: 1,
        conflicts: BTreeMap::from([(
            ip("192.0.2.100"),
            ConflictState { mac: "02:00:00:00:00:99".into(), count: 2, last_ns: 98_500_000_000 },
        )]),
        groups: GroupState {
            joined: 1,
            filter_only: 2,
            missing: 0,
            allmulti: vec![5],
            errors: vec!["link 5: no".into()],
        },
        announced: 12,
        announce_errors: 3,
    }
}

#[test]
fn without_an_agent() {
    let expected = "\
answers for another 60.1 s without its agent
2 entries to answer, 1 on standby, room for 4096; the maps take 1552 KiB of kernel memory

ADDRESS        INTERFACE  VLAN    MAC                STATE    REQUESTS  REPLIES  PROBES  CONFLICTS  LAST ASKED  BY
192.0.2.100    eth0       -       02:00:00:00:00:0b  answer   12        10       1       2          1.5 s ago   192.0.2.10
2001:db8::100  eth0       100.42  02:00:00:00:00:0b  answer   7         7        1       2          61.0 s ago  2001:db8::10
2001:db8::101  eth0       -       02:00:00:00:00:0b  standby  0         0        0       0          never

OUTCOME    FRAMES
arp_reply  10
nd_advert  7

INTERFACE  MODE          REMARKS
eth0       native
eth1       generic       generic is a last resort: it copies the node's large packets; receives all multicast
eth2       NOT ATTACHED  the pinned program is not attached any more: restart the agent
index 7    NOT ATTACHED  the interface is gone: an agent removes the pin

NO AGENT answers: Services, groups and problems are not known. Is it running, and is this its --state-dir?
";
    assert_eq!(text(&pinned(), false), expected);
}

#[test]
fn with_an_agent() {
    let report = Report { agent: Some(agent()), ..pinned() };
    let expected = "
INTERFACE  MODE          REMARKS
eth0       native
eth1       generic       generic is a last resort: it copies the node's large packets; receives all multicast; not native: the driver has no native XDP; not tcx: needs kernel 6.6
eth2       NOT ATTACHED  the pinned program is not attached any more: restart the agent
index 7    NOT ATTACHED  the interface is gone: an agent removes the pin
eth3       NOT ATTACHED  not native: no

agent 0.1.0 on node node-a, pid 77; map repaired 1 times; announcement frames: 12 sent, 3 refused

SERVICE        ADDRESS        ON THIS NODE
default/hello  192.0.2.100    answered by this node
default/hello  2001:db8::100  answered by this node
default/none   -              no pool has an address left

solicited-node groups: 1 joined, 2 in the NIC filter only, 0 missing
  eth1 is set to receive all multicast: more groups than the kernel or the NIC takes
  link 5: no
CONFLICT 192.0.2.100: claimed by 02:00:00:00:00:99, 2 times, last 1.5 s ago
PROBLEM web.yaml: document 1: spec.ports: missing
";
    let shown = text(&report, false);
    assert_eq!(&shown[shown.find("\nINTERFACE").unwrap()..], expected);
}

#[test]
fn wide_has_more_columns_and_the_maps() {
    let shown = text(&pinned(), true);
    let line = |start: &str| shown.lines().find(|line| line.starts_with(start)).unwrap().to_owned();
    assert!(line("ADDRESS").ends_with("BY            ITS MAC            IFINDEX  SLOT"), "{shown}");
    assert!(line("192.0.2.100").ends_with("192.0.2.10    02:00:00:00:00:0a  4        0"), "{shown}");
    assert!(line("eth0").ends_with("74       /sys/fs/bpf/barelb/links/4"), "{shown}");
    assert!(shown.contains("\nMAPS\n/sys/fs/bpf/barelb/v1\n"), "{shown}");
}

#[test]
fn liveness_is_shown_and_with_wide_who_may_probe() {
    let reflector = |ip: &str, state| Reflector {
        ip: ip.parse().unwrap(),
        link: 4,
        interface: "eth0".into(),
        discriminator: 0x0a0b_0c0d,
        state,
    };
    let member = |ip: &str| Member {
        ip: ip.parse().unwrap(),
        link: 4,
        interface: "eth0".into(),
        mac: "02:00:00:00:00:0c".into(),
    };
    let report = Report {
        reflectors: vec![reflector("192.0.2.1", "up"), reflector("2001:db8::1", "admin down")],
        members: vec![member("192.0.2.2"), member("2001:db8::2")],
        ..pinned()
    };
    let own = "
REFLECTS PROBES TO  INTERFACE  DISCRIMINATOR  AS
192.0.2.1           eth0       0x0a0b0c0d     up
2001:db8::1         eth0       0x0a0b0c0d     admin down
";
    let shown = text(&report, false);
    let brief = format!("{own}\nprobes of 2 addresses of other nodes are reflected\n\nOUTCOME");
    assert!(shown.contains(&brief), "{shown}");
    let members = "
REFLECTS PROBES OF  INTERFACE  MAC
192.0.2.2           eth0       02:00:00:00:00:0c
2001:db8::2         eth0       02:00:00:00:00:0c
";
    let shown = text(&report, true);
    assert!(shown.contains(&format!("{own}{members}\nOUTCOME")), "{shown}");
}

#[test]
fn nodes_that_are_watched_are_shown() {
    let state = State { peers: sessions::tests::sessions().to_vec(), ..agent() };
    let report = Report { agent: Some(state), ..pinned() };
    let expected = "
INTERFACE  PEER    STATUS   INTERVAL          SENT    LOST           DOWNS  ROUND TRIP
eth0       node-b  up       10ms              360000  12 (<0.01%)    0      213µs
eth0       node-c  relayed  24ms (stretched)  700     684 (100.00%)  1      -

solicited-node groups";
    assert!(text(&report, false).contains(expected), "{}", text(&report, false));
    assert!(text(&report, true).contains("LONGEST\neth0       node-b"), "{}", text(&report, true));
}

#[test]
fn silence_and_absence_are_said() {
    let report = Report {
        valid_for_ms: -3_200,
        entries: Vec::new(),
        outcomes: BTreeMap::new(),
        links: Vec::new(),
        without_entry: vec!["192.0.2.9".parse().unwrap(), "2001:db8::9".parse().unwrap()],
        agent: Some(State { synced: false, ..State::default() }),
        ..pinned()
    };
    let shown = text(&report, false);
    for expected in [
        "SILENT: the deadline passed 3.2 s ago, nothing is answered\n",
        "no entry for 192.0.2.9: this node neither answers nor stands by for it\n",
        "no entry for 2001:db8::9: this node neither answers nor stands by for it\n",
        "\nno interface is attached\n",
        "\nNOT SYNCED: the agent has not read its configuration in full and does not move the deadline\n",
    ] {
        assert!(shown.contains(expected), "{expected:?} is missing:\n{shown}");
    }
    assert!(!shown.contains("ADDRESS"), "{shown}");
}

#[test]
fn every_outcome_is_explained() {
    let guide = include_str!("../../../../../docs/troubleshooting.md");
    let (_, outcomes) = guide.split_once("## Outcomes").unwrap();
    for outcome in lb_common::outcome::Outcome::ALL {
        assert!(outcomes.contains(&format!("`{}`", outcome.name())), "{} is missing", outcome.name());
    }
}
