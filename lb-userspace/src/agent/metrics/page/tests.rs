use lb_core::ids::Mac;
use lb_core::plan::{AddressVerdict, Changes, Entry};
use serde_json::{Value, json};

use super::*;
use crate::agent::sessions::SessionState;
use crate::dataplane::ebpf::Requester;
use crate::dataplane::{Mode, Refusal};

const MS: u64 = 1_000_000;
const STARTED: u64 = 1_000 * MS;
const NOW: u64 = 61_000 * MS;

fn target(link: u32, vlans: &str, ip: &str) -> Target {
    let vlans = if vlans.is_empty() { Vlans::Untagged } else { vlans.parse().unwrap() };
    Target { link: LinkId(link), vlans, ip: ip.parse().unwrap() }
}

fn entry(state: EntryState, requests: u64, last_seen_ns: u64) -> (Row, Counts) {
    let requester = Requester { mac: Mac([2, 0, 0, 0, 0, 9]), ip: "192.0.2.10".parse().unwrap() };
    let requester = (last_seen_ns > 0).then_some(requester);
    let counts = Counts { requests, replies: requests, last_seen_ns, requester, ..Counts::default() };
    (Row { entry: Entry { mac: Mac([2, 0, 0, 0, 0, 1]), state }, slot: 0 }, counts)
}

fn reading() -> Reading {
    let (answer, standby) = (EntryState::Answer, EntryState::Standby);
    Reading {
        entries: BTreeMap::from([
            (target(2, "", "192.0.2.100"), entry(answer, 7, NOW - 1500 * MS)),
            (target(3, "42", "2001:db8::100"), entry(answer, 0, 0)),
            (target(2, "", "192.0.2.101"), entry(standby, 3, NOW - 9000 * MS)),
        ]),
        links: BTreeMap::from([(LinkId(2), "eth0".to_owned()), (LinkId(3), "eth1".to_owned())]),
        deadline: 60.25,
        ..Reading::default()
    }
}

fn plan() -> Plan {
    let verdict = |ip: &str, verdict| AddressVerdict { ip: ip.parse().unwrap(), verdict };
    let node = || NodeName::new("node-b").unwrap();
    let services = [
        (
            "default/web",
            vec![verdict("192.0.2.100", Verdict::Owner), verdict("2001:db8::100", Verdict::Owner)],
        ),
        ("default/other", vec![verdict("192.0.2.101", Verdict::Standby { owner: node(), rank: 1 })]),
        ("default/left", vec![verdict("192.0.2.102", Verdict::Silent(Silence::NotOwner { owner: node() }))]),
        ("default/silent", vec![verdict("192.0.2.103", Verdict::Silent(Silence::NoEndpoints))]),
    ];
    let services = services.map(|(key, verdicts)| (key.parse().unwrap(), verdicts));
    Plan { services: BTreeMap::from(services), ..Plan::default() }
}

fn deeds() -> Deeds {
    let mut deeds = Deeds::default();
    let refused = vec![Refusal { mode: Mode::Native, reason: "none".to_owned() }];
    let link = |name: &str, refused| Attachment { name: name.to_owned(), mode: Some(Mode::Tcx), refused };
    let done = Reconciled {
        attachments: BTreeMap::from([
            (LinkId(2), link("eth0", refused)),
            (LinkId(3), link("eth1", Vec::new())),
        ]),
        changes: Changes { gained: vec![target(3, "42", "2001:db8::100")], ..Changes::default() },
        ..Reconciled::default()
    };
    deeds.stepped(&done, NOW - 2000 * MS);
    deeds
}

fn peers() -> PeerReport {
    let session = |status: &str| SessionState {
        peer: "node-b".to_owned(),
        link: "eth0".to_owned(),
        address: "192.0.2.12".parse().unwrap(),
        status: status.to_owned(),
        interval_us: 1,
        profile_interval_us: 1,
        sent: 0,
        replies: 0,
        lost: 0,
        downs: 0,
        round_trip_us: None,
        shortest_us: None,
        longest_us: None,
    };
    PeerReport { sessions: vec![session("up"), session("down")], ..PeerReport::default() }
}

fn said(reading: Option<&Reading>, wanted: &[&str]) -> AddressReport {
    let wanted: BTreeSet<IpAddr> = wanted.iter().map(|ip| ip.parse().unwrap()).collect();
    Facts {
        reading,
        plan: &plan(),
        deeds: &deeds(),
        rates: &Rates::default(),
        peers: &peers(),
        started_ns: STARTED,
        now_ns: NOW,
        wanted: &wanted,
        counted: if wanted.is_empty() { Counted::Answered } else { Counted::All },
    }
    .say()
}

fn address(ip: &str, service: &Value, entry: Option<Value>) -> Value {
    let mut said = json!({"ip": ip, "services": [service]});
    if let Some(entry) = entry {
        said["entries"] = json!([entry]);
    }
    said
}

#[test]
fn each_address_has_its_services_and_entries() {
    let page = serde_json::to_value(said(Some(&reading()), &[])).unwrap();
    let mac = "02:00:00:00:00:01";
    let v4 = json!({
        "link": "eth0", "mac": mac, "answers": true, "answersForMs": 60_000, "answeredBefore": true,
        "counts": {
            "requests": 7, "replies": 7, "lastAskedMs": 1500, "requester": "192.0.2.10",
            "requesterMac": "02:00:00:00:00:09",
        },
    });
    let v6 = json!({
        "link": "eth1", "vlans": "42", "mac": mac, "answers": true, "answersForMs": 2000,
        "counts": {"requests": 0, "replies": 0},
    });
    let standby = json!({"link": "eth0", "mac": mac, "answers": false});
    let web = json!({"service": "default/web", "verdict": "owner"});
    let left =
        |service: &str, verdict: &str| json!({"service": service, "verdict": verdict, "owner": "node-b"});
    let silent = json!({"service": "default/silent", "verdict": "silent", "why": "no endpoint of the Service can serve"});
    let expected = [
        address("192.0.2.100", &web, Some(v4)),
        address("192.0.2.101", &left("default/other", "standby"), Some(standby)),
        address("192.0.2.102", &left("default/left", "silent"), None),
        address("192.0.2.103", &silent, None),
        address("2001:db8::100", &web, Some(v6)),
    ];
    assert_eq!(page["addresses"], json!(expected));
    assert_eq!(page["validForMs"], 60_250);
    let links = json!([
        {"name": "eth0", "mode": "tcx", "refused": ["native: none"], "peers": {"up": 1, "all": 2}},
        {"name": "eth1", "mode": "tcx"},
    ]);
    assert_eq!(page["links"], links);
}

#[test]
fn an_address_that_is_asked_for_has_its_counts_also_on_standby() {
    let page = said(Some(&reading()), &["192.0.2.101", "192.0.2.200"]);
    assert_eq!(page.addresses.len(), 1);
    let counts = page.addresses[0].entries[0].counts.as_ref().unwrap();
    assert_eq!((counts.requests, counts.last_asked_ms, counts.per_second), (3, Some(9000), None));
}

#[test]
fn without_maps_there_is_what_is_planned() {
    let page = said(None, &[]);
    assert_eq!(page.valid_for_ms, None);
    assert_eq!(page.addresses.len(), 5);
    assert!(page.addresses.iter().all(|address| address.entries.is_empty()));
}

#[test]
fn what_was_lost_and_gained_again_is_answered_since_then() {
    let mut deeds = deeds();
    let v6 = target(3, "42", "2001:db8::100");
    let step = |changes| Reconciled { changes, ..Reconciled::default() };
    deeds.stepped(&step(Changes { gained: vec![v6], ..Changes::default() }), NOW);
    assert_eq!(deeds.since.get(&v6), Some(&(NOW - 2000 * MS)), "another hardware address is no other owner");
    deeds.stepped(&step(Changes { lost: vec![v6], ..Changes::default() }), NOW);
    assert_eq!(deeds.since.get(&v6), None);
    deeds.stepped(&step(Changes { gained: vec![v6], ..Changes::default() }), NOW);
    assert_eq!(deeds.since.get(&v6), Some(&NOW));
}

#[test]
fn an_agent_without_a_table_says_why() {
    let node = NodeName::new("node-a").unwrap();
    let peers = Peers::new(&node);
    let page = Page::new(&node, Some("c".to_owned()), Health::default(), Arc::new(Table::new(&node)), peers);
    page.look();
    let report: AddressReport = serde_json::from_str(&page.text("")).unwrap();
    assert_eq!((report.heading.form, report.node.as_str()), (FORM, "node-a"));
    assert_eq!((report.lb_class.as_deref(), report.valid_for_ms), (Some("c"), None));
    assert!(report.unready.unwrap().starts_with("starting: "));
}
