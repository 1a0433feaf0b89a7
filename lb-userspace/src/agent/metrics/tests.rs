use lb_common::outcome::Outcome;
use lb_core::conflict::Claimant;
use lb_core::ids::{LinkId, Mac, Vlans};
use lb_core::plan::{Entry, EntryState, Silence};
use lb_core::pool::Family;
use prometheus_client::encoding::text;

use super::peers::tests::nobody_is_watched;
use super::*;
use crate::dataplane::ebpf::{Counts, Row};
use crate::dataplane::{Attachment, Mode};
use crate::net::groups::GroupStatus;

mod addresses;

fn rendered(registry: &Registry) -> String {
    let mut text = String::new();
    text::encode(&mut text, registry).unwrap();
    text
}

/// The samples of these names, in the order of the page.
fn samples(registry: &Registry, names: &[&str]) -> Vec<String> {
    let of_name = |line: &&str| names.contains(&line.split(['{', ' ']).next().unwrap());
    rendered(registry).lines().filter(of_name).map(str::to_owned).collect()
}

fn agent() -> (Registry, Metrics) {
    let mut registry = Registry::default();
    let metrics = Metrics::new(&mut registry, &NodeName::new("node-a").unwrap());
    (registry, metrics)
}

fn target(link: u32, vlans: &str, ip: &str) -> Target {
    let vlans = if vlans.is_empty() { Vlans::Untagged } else { vlans.parse().unwrap() };
    Target { link: LinkId(link), vlans, ip: ip.parse().unwrap() }
}

/// An entry with requests, replies, probes and conflicts.
fn entry(state: EntryState, [requests, replies, probes, conflicts]: [u64; 4]) -> (Row, Counts) {
    let counts = Counts { requests, replies, probes, conflicts, ..Counts::default() };
    (Row { entry: Entry { mac: Mac([2, 0, 0, 0, 0, 1]), state }, slot: 0 }, counts)
}

fn reading() -> Reading {
    let (answer, standby) = (EntryState::Answer, EntryState::Standby);
    Reading {
        entries: BTreeMap::from([
            (target(2, "", "192.0.2.100"), entry(answer, [7, 6, 1, 0])),
            (target(2, "", "2001:db8::100"), entry(answer, [5, 5, 0, 2])),
            (target(3, "", "192.0.2.100"), entry(answer, [u64::MAX, 0, 0, 0])),
            (target(3, "100.42", "2001:db8::7"), entry(answer, [0, 0, 0, 0])),
            (target(2, "", "192.0.2.101"), entry(standby, [9, 0, 0, 0])),
        ]),
        outcomes: BTreeMap::from([("arp_reply", 6), ("nd_advert", 5)]),
        links: BTreeMap::from([(LinkId(2), "eth0".to_owned()), (LinkId(3), "eth1".to_owned())]),
        deadline: 60.25,
        room: 4096,
    }
}

/// A plan with two Services on one address, one that is not answered, and one that another node answers.
fn plan() -> Arc<Plan> {
    let verdict = |ip: &str, verdict| AddressVerdict { ip: ip.parse().unwrap(), verdict };
    let owner = |ip| verdict(ip, Verdict::Owner);
    let standby = Verdict::Standby { owner: NodeName::new("node-b").unwrap(), rank: 1 };
    let services = [
        ("default/web", vec![owner("192.0.2.100"), owner("2001:db8::100")]),
        ("default/shares", vec![owner("192.0.2.100")]),
        ("default/other", vec![verdict("192.0.2.101", standby)]),
        ("default/silent", vec![verdict("192.0.2.102", Verdict::Silent(Silence::NoCandidate))]),
        ("default/removed", vec![owner("192.0.2.103")]),
    ];
    let services = services.map(|(key, verdicts)| (key.parse().unwrap(), verdicts));
    Arc::new(Plan { services: BTreeMap::from(services), ..Plan::default() })
}

fn done() -> Reconciled {
    let attachment = |name: &str, mode| Attachment { name: name.to_owned(), mode, refused: Vec::new() };
    Reconciled {
        attachments: BTreeMap::from([
            (LinkId(2), attachment("eth0", Some(Mode::Native))),
            (LinkId(3), attachment("eth1", None)),
        ]),
        ..Reconciled::default()
    }
}

#[test]
fn an_agent_that_has_done_nothing() {
    let (registry, _metrics) = agent();
    let mut results = WriteResult::ALL.map(WriteResult::label);
    results.sort_unstable();
    let write =
        |kind, result| format!("barelb_agent_writes_total{{kind=\"{kind}\",result=\"{result}\"}} 0\n");
    let writes: String = ["event", "l2_status", "lease"]
        .iter()
        .flat_map(|kind| results.map(|result| write(*kind, result)))
        .collect();
    let peers = nobody_is_watched();
    let expected = format!(
        "# HELP barelb_build_info Always 1; the version is a label.\n\
         # TYPE barelb_build_info gauge\n\
         barelb_build_info{{version=\"{version}\"}} 1\n\
         # HELP barelb_agent_synced 1 if the table is in step with the objects and its deadline is moved, else 0.\n\
         # TYPE barelb_agent_synced gauge\n\
         barelb_agent_synced 0\n\
         # HELP barelb_agent_repairs Times that the table held something else than was written, and was repaired.\n\
         # TYPE barelb_agent_repairs counter\n\
         barelb_agent_repairs_total 0\n\
         # HELP barelb_agent_announcements Announcement frames, by whether the kernel took them.\n\
         # TYPE barelb_agent_announcements counter\n\
         barelb_agent_announcements_total{{result=\"refused\"}} 0\n\
         barelb_agent_announcements_total{{result=\"sent\"}} 0\n\
         # HELP barelb_agent_conflicts Claims of an address that this node answers, at most one a second and address, by \
         who claims it.\n\
         # TYPE barelb_agent_conflicts counter\n\
         barelb_agent_conflicts_total{{kind=\"peer\",family=\"IPv4\"}} 0\n\
         barelb_agent_conflicts_total{{kind=\"peer\",family=\"IPv6\"}} 0\n\
         barelb_agent_conflicts_total{{kind=\"stranger\",family=\"IPv4\"}} 0\n\
         barelb_agent_conflicts_total{{kind=\"stranger\",family=\"IPv6\"}} 0\n\
         # HELP barelb_agent_groups Solicited-node groups that are wanted, by what was reached.\n\
         # TYPE barelb_agent_groups gauge\n\
         barelb_agent_groups{{membership=\"filter_only\"}} 0\n\
         barelb_agent_groups{{membership=\"joined\"}} 0\n\
         barelb_agent_groups{{membership=\"missing\"}} 0\n\
         # HELP barelb_agent_services Services of which this node announces an address.\n\
         # TYPE barelb_agent_services gauge\n\
         barelb_agent_services 0\n\
         # HELP barelb_agent_members Nodes whose agents are there.\n\
         # TYPE barelb_agent_members gauge\n\
         barelb_agent_members 0\n\
         # HELP barelb_agent_configuration_problems Problems of the configuration, warnings among them.\n\
         # TYPE barelb_agent_configuration_problems gauge\n\
         barelb_agent_configuration_problems 0\n\
         # HELP barelb_agent_updates Changes of objects that watches have shown, their first lists among them.\n\
         # TYPE barelb_agent_updates counter\n\
         barelb_agent_updates_total 0\n\
         # HELP barelb_agent_configuration_valid 1 if all objects are in force as they are written, 0 if a part is not, \
         or while none was read.\n\
         # TYPE barelb_agent_configuration_valid gauge\n\
         barelb_agent_configuration_valid 0\n\
         # HELP barelb_agent_watches_failing Kinds of objects that can't be listed or watched now.\n\
         # TYPE barelb_agent_watches_failing gauge\n\
         barelb_agent_watches_failing 0\n\
         # HELP barelb_agent_writes Writes to the API server, by what was written and what became of it.\n\
         # TYPE barelb_agent_writes counter\n\
         {writes}\
         {peers}\
         # EOF\n",
        version = env!("CARGO_PKG_VERSION"),
    );
    assert_eq!(rendered(&registry), expected);
}

#[test]
fn an_agent_at_work() {
    let (registry, metrics) = agent();
    metrics.in_step(true, Duration::ZERO);
    metrics.repaired();
    metrics.problems(3, true);
    metrics.members(2);
    metrics.watched(1, Vec::new());
    metrics.written(WriteKind::Lease, WriteResult::Ok);
    metrics.stepped(&plan(), &done());
    let status = |users, membership| GroupStatus { users, membership };
    metrics.grouped(&GroupReport {
        groups: BTreeMap::from([
            ((2, "ff02::1:ff00:100".parse().unwrap()), status(1, Membership::Joined)),
            ((2, "ff02::1:ff00:101".parse().unwrap()), status(2, Membership::Joined)),
            ((3, "ff02::1:ff00:7".parse().unwrap()), status(1, Membership::Missing)),
        ]),
        ..GroupReport::default()
    });
    metrics.announced(&[target(2, "", "192.0.2.100")], 4);
    metrics.claimed(Claimant::Stranger, Family::Ipv6);
    let text = rendered(&registry);
    for line in [
        "barelb_agent_synced 1",
        "barelb_agent_repairs_total 1",
        "barelb_agent_announcements_total{result=\"sent\"} 1",
        "barelb_agent_announcements_total{result=\"refused\"} 4",
        "barelb_agent_conflicts_total{kind=\"stranger\",family=\"IPv6\"} 1",
        "barelb_agent_conflicts_total{kind=\"peer\",family=\"IPv4\"} 0",
        "barelb_agent_link_attached{interface=\"eth0\",mode=\"native\"} 1",
        "barelb_agent_link_attached{interface=\"eth1\",mode=\"none\"} 0",
        "barelb_agent_groups{membership=\"joined\"} 2",
        "barelb_agent_groups{membership=\"filter_only\"} 0",
        "barelb_agent_groups{membership=\"missing\"} 1",
        "barelb_agent_services 3",
        "barelb_agent_members 2",
        "barelb_agent_configuration_problems 3",
        "barelb_agent_watches_failing 1",
        "barelb_agent_writes_total{kind=\"lease\",result=\"ok\"} 1",
        "barelb_agent_writes_total{kind=\"lease\",result=\"timeout\"} 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    // A link that is attached to differently has one series, not two.
    let tcx = |link: &mut Attachment| link.mode = Some(Mode::Tcx);
    let mut again = done();
    again.attachments.values_mut().for_each(tcx);
    metrics.stepped(&plan(), &again);
    let name = "barelb_agent_link_attached";
    let expected = ["eth0", "eth1"].map(|link| format!("{name}{{interface=\"{link}\",mode=\"tcx\"}} 1"));
    assert_eq!(samples(&registry, &[name]), expected);
}

#[test]
fn a_scrape_reads_the_maps() {
    let (registry, metrics) = agent();
    metrics.stepped(&plan(), &done());
    metrics.read_by(|_| Ok(reading()));
    metrics.announced(&[target(2, "", "192.0.2.100"), target(2, "", "192.0.2.100")], 0);
    metrics.announced(&[target(3, "100.42", "2001:db8::7")], 0);
    let text = rendered(&registry);
    let (before, after) = text.split_once("# HELP barelb_deadline_seconds ").unwrap();
    assert!(!before.contains("barelb_table_room") && text.ends_with("# EOF\n"));
    let (head, entries) = after.split_once("# HELP barelb_announced ").unwrap();
    let expected = "Time until the table falls silent without its agent. Negative: it is silent.\n\
        # TYPE barelb_deadline_seconds gauge\n\
        # UNIT barelb_deadline_seconds seconds\n\
        barelb_deadline_seconds 60.25\n\
        # HELP barelb_table_room Entries that the table has room for.\n\
        # TYPE barelb_table_room gauge\n\
        barelb_table_room 4096\n\
        # HELP barelb_table_entries Entries of the table, by whether they are answered or ready to be.\n\
        # TYPE barelb_table_entries gauge\n\
        barelb_table_entries{state=\"answer\"} 4\n\
        barelb_table_entries{state=\"standby\"} 1\n\
        # HELP barelb_frames ARP and neighbour discovery frames that the programs saw, by what became of them.\n\
        # TYPE barelb_frames counter\n";
    assert_eq!(head[..expected.len()], *expected);
    let expected = "1 for each Service and address that this node answers.\n\
        # TYPE barelb_announced gauge\n\
        barelb_announced{service=\"default/shares\",ip=\"192.0.2.100\",node=\"node-a\"} 1\n\
        barelb_announced{service=\"default/web\",ip=\"192.0.2.100\",node=\"node-a\"} 1\n\
        barelb_announced{service=\"default/web\",ip=\"2001:db8::100\",node=\"node-a\"} 1\n\
        # HELP barelb_requests ARP requests and neighbour solicitations for an address that this node answers, probes \
        among them.\n\
        # TYPE barelb_requests counter\n\
        barelb_requests_total{ip=\"192.0.2.100\",interface=\"eth0\"} 7\n\
        barelb_requests_total{ip=\"2001:db8::100\",interface=\"eth0\"} 5\n\
        barelb_requests_total{ip=\"192.0.2.100\",interface=\"eth1\"} 18446744073709551615\n\
        barelb_requests_total{ip=\"2001:db8::7\",interface=\"eth1\",vlan=\"100.42\"} 0\n\
        # HELP barelb_replies Answers sent for the address.\n\
        # TYPE barelb_replies counter\n\
        barelb_replies_total{ip=\"192.0.2.100\",interface=\"eth0\"} 6\n\
        barelb_replies_total{ip=\"2001:db8::100\",interface=\"eth0\"} 5\n\
        barelb_replies_total{ip=\"192.0.2.100\",interface=\"eth1\"} 0\n\
        barelb_replies_total{ip=\"2001:db8::7\",interface=\"eth1\",vlan=\"100.42\"} 0\n\
        # HELP barelb_gratuitous Announcement frames that this agent has sent of the address.\n\
        # TYPE barelb_gratuitous counter\n\
        barelb_gratuitous_total{ip=\"192.0.2.100\",interface=\"eth0\"} 2\n\
        barelb_gratuitous_total{ip=\"2001:db8::100\",interface=\"eth0\"} 0\n\
        barelb_gratuitous_total{ip=\"192.0.2.100\",interface=\"eth1\"} 0\n\
        barelb_gratuitous_total{ip=\"2001:db8::7\",interface=\"eth1\",vlan=\"100.42\"} 1\n\
        # HELP barelb_probes ARP probes and duplicate address detections for the address. Not there before the first.\n\
        # TYPE barelb_probes counter\n\
        barelb_probes_total{ip=\"192.0.2.100\",interface=\"eth0\"} 1\n\
        # HELP barelb_conflicts Frames in which another station claimed the address. Not there before the first.\n\
        # TYPE barelb_conflicts counter\n\
        barelb_conflicts_total{ip=\"2001:db8::100\",interface=\"eth0\"} 2\n\
        # EOF\n";
    assert_eq!(entries, expected);
}

/// The names are those of the vocabulary, and what never happened is there as a zero.
#[test]
fn every_outcome_is_counted() {
    let (registry, metrics) = agent();
    metrics.read_by(|_| Ok(reading()));
    let expected: Vec<String> = Outcome::ALL[1..]
        .iter()
        .map(|outcome| {
            let frames = match outcome.name() {
                "arp_reply" => 6,
                "nd_advert" => 5,
                _ => 0,
            };
            format!("barelb_frames_total{{outcome=\"{}\"}} {frames}", outcome.name())
        })
        .collect();
    assert_eq!(samples(&registry, &["barelb_frames_total"]), expected);
}

#[test]
fn a_table_that_is_silent_announces_nothing() {
    let (registry, metrics) = agent();
    metrics.stepped(&plan(), &done());
    metrics.read_by(|_| Ok(Reading { deadline: -0.5, ..reading() }));
    let shown = samples(&registry, &["barelb_deadline_seconds", "barelb_announced"]);
    assert_eq!(shown, ["barelb_deadline_seconds -0.5"]);
    assert_eq!(samples(&registry, &["barelb_requests_total"]).len(), 4, "what was counted stays counted");
}

/// A new life of an entry begins at zero in the maps, and so does what was announced of it.
#[test]
fn announcements_of_an_entry_are_forgotten_with_it() {
    let (registry, metrics) = agent();
    metrics.read_by(|_| Ok(reading()));
    let (kept, gone) = (target(2, "", "192.0.2.100"), target(2, "", "2001:db8::100"));
    metrics.announced(&[kept, gone], 0);
    let mut step = done();
    step.changes.remove = vec![gone];
    metrics.stepped(&plan(), &step);
    let name = "barelb_gratuitous_total";
    let expected = [("192.0.2.100", 1), ("2001:db8::100", 0)]
        .map(|(ip, frames)| format!("{name}{{ip=\"{ip}\",interface=\"eth0\"}} {frames}"));
    assert_eq!(samples(&registry, &[name])[..2], expected);
    assert_eq!(
        samples(&registry, &["barelb_agent_announcements_total"])[1],
        "barelb_agent_announcements_total{result=\"sent\"} 2",
        "all of them were sent"
    );
}

#[test]
fn maps_that_cannot_be_read_leave_the_rest() {
    let (registry, metrics) = agent();
    metrics.read_by(|_| Err(DataplaneError::NoObject));
    let text = rendered(&registry);
    assert!(text.contains("barelb_agent_synced 0\n") && text.ends_with("# EOF\n"), "{text}");
    assert!(!text.contains("barelb_deadline_seconds"), "{text}");
}

#[test]
fn ready_means_in_step() {
    let (registry, metrics) = agent();
    let ready = || metrics.health.ready();
    let since = Duration::from_secs(30);
    assert_eq!(ready(), Err(Unfit::Starting));
    metrics.standing_by();
    assert_eq!(ready(), Err(Unfit::StandingBy));
    metrics.in_step(false, Duration::ZERO);
    assert_eq!(ready(), Err(Unfit::NotInStep));
    metrics.watched(2, vec!["Service", "Node"]);
    metrics.in_step(false, Duration::ZERO);
    assert_eq!(ready(), Err(Unfit::NotListed { kinds: vec!["Service", "Node"] }));
    metrics.watched(0, Vec::new());
    metrics.in_step(false, since);
    assert_eq!(ready(), Err(Unfit::NotInStep), "everything is known, and the table can't be written");
    metrics.in_step(true, Duration::ZERO);
    assert_eq!(ready(), Ok(()));

    // The API server is away: what is known stays right.
    metrics.watched(7, Vec::new());
    metrics.in_step(true, Duration::ZERO);
    assert_eq!(ready(), Ok(()));
    metrics.in_step(false, since);
    assert_eq!(ready(), Err(Unfit::OutOfStep { since }));
    // All is listed anew after the machine was stopped.
    metrics.watched(7, vec!["Service"]);
    metrics.in_step(false, since);
    assert_eq!(ready(), Err(Unfit::OutOfStep { since }));
    assert_eq!(samples(&registry, &["barelb_agent_synced"]), ["barelb_agent_synced 0"]);
    metrics.in_step(true, Duration::ZERO);
    assert_eq!(ready(), Ok(()));
    assert_eq!(samples(&registry, &["barelb_agent_synced"]), ["barelb_agent_synced 1"]);
}

/// 10,000 addresses with the longest names that a node is likely to have.
#[test]
fn ten_thousand_addresses_stay_below_five_megabytes() {
    const MANY: u16 = 10_000;
    let ip = |n: u16| format!("2001:db8:aaaa:bbbb:cccc:dddd:eeee:{:x}", 0x1000 + n);
    let entries = (0..MANY).map(|n| (target(2, "", &ip(n)), entry(EntryState::Answer, [123_456; 4])));
    let interface = "enp129s0f0np0".to_owned();
    let entries: BTreeMap<_, _> = entries.collect();
    let (registry, metrics) = agent();
    metrics.read_by(move |_| {
        let (entries, links) = (entries.clone(), BTreeMap::from([(LinkId(2), interface.clone())]));
        Ok(Reading { entries, links, ..reading() })
    });
    let service = |n: u16| {
        let verdict = AddressVerdict { ip: ip(n).parse().unwrap(), verdict: Verdict::Owner };
        (format!("a-namespace/the-service-of-number-{n}").parse().unwrap(), vec![verdict])
    };
    let services = (0..MANY).map(service).collect();
    metrics.stepped(&Arc::new(Plan { services, ..Plan::default() }), &done());
    let text = rendered(&registry);
    let of = |name: &str| text.lines().filter(|line| line.starts_with(name)).count();
    for name in [
        "requests_total",
        "replies_total",
        "gratuitous_total",
        "probes_total",
        "conflicts_total",
        "announced",
    ] {
        assert_eq!(of(&format!("barelb_{name}{{")), usize::from(MANY), "{name}");
    }
    // Probes and conflicts of every one of them are the worst that can be.
    assert!(text.len() < 7_000_000, "{}", text.len());
    let usual =
        text.lines().filter(|line| !line.contains("_probes_total") && !line.contains("_conflicts_total"));
    let usual: usize = usual.map(|line| line.len() + 1).sum();
    assert!(usual < 5_000_000, "{usual}");
}
