//! docs/metrics.md names every metric, with its type and labels, and no other.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lb_core::allocator::PoolUsage;
use lb_core::failover::{PeerState, Status, Traffic};
use lb_core::ids::{LinkId, Mac, NodeName, PoolName};
use lb_core::plan::{AddressVerdict, Entry, EntryState, Plan, Target, Verdict};
use lb_core::pool::PoolSize;
use lb_userspace::agent::sessions::{SessionName, SessionState};
use lb_userspace::agent::{self, Reconciled, metrics::Reading};
use lb_userspace::controller::metrics::{Metrics, WriteKind};
use lb_userspace::dataplane::ebpf::{Counts, Row};
use lb_userspace::dataplane::{Attachment, Mode};
use lb_userspace::k8s::write::WriteResult;
use lb_userspace::telemetry::exposition::metallb::TWINS;
use lb_userspace::telemetry::exposition::{Compat, Exposition};
use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;

/// Type and labels of each metric.
type Described = BTreeMap<String, (String, BTreeSet<String>)>;

/// A controller that has something to say in each of its metrics.
fn controller() -> Registry {
    let mut registry = Registry::default();
    let metrics = Metrics::new(&mut registry);
    let size = PoolSize { ipv4: 4, ipv6: 4 };
    metrics.pool(&PoolName::new("default").unwrap(), PoolUsage { size, in_use: size });
    metrics.waiting(&BTreeMap::from([("Taken", 1)]));
    metrics.pass(Duration::from_millis(1));
    registry
}

/// The same of an agent.
fn agent() -> Registry {
    let mut registry = Registry::default();
    let metrics = agent::Metrics::new(&mut registry, &NodeName::new("node-a").unwrap());
    let ip = "192.0.2.100".parse().unwrap();
    let target = Target { link: LinkId(2), vlans: "42".parse().unwrap(), ip };
    let owner = AddressVerdict { ip, verdict: Verdict::Owner };
    let services = BTreeMap::from([("default/web".parse().unwrap(), vec![owner])]);
    let eth0 = Attachment { name: "eth0".to_owned(), mode: None, refused: Vec::new() };
    let attachments = BTreeMap::from([(target.link, eth0)]);
    let done = Reconciled { attachments, ..Reconciled::default() };
    metrics.stepped(&Arc::new(Plan { services, ..Plan::default() }), &done);
    metrics.watched_peers(&[session()], &BTreeMap::new());
    metrics.read_by(move |_| {
        let entry = Entry { mac: Mac([2; 6]), state: EntryState::Answer };
        let counts = Counts { probes: 1, conflicts: 1, ..Counts::default() };
        let entries = BTreeMap::from([(target, (Row { entry, slot: 0 }, counts))]);
        Ok(Reading { entries, deadline: 1.0, ..Reading::default() })
    });
    registry
}

fn session() -> SessionState {
    let name = SessionName {
        peer: "node-b".to_owned(),
        link: "eth0".to_owned(),
        address: "192.0.2.12".parse().unwrap(),
    };
    let traffic = Traffic { round_trip: Some(Duration::from_micros(200)), ..Traffic::default() };
    let [interval, unlimited] = [Duration::from_millis(10); 2];
    SessionState::new(name, &PeerState { status: Status::Up, traffic, interval, unlimited })
}

fn rendered(registry: &Registry) -> String {
    let mut text = String::new();
    text::encode(&mut text, registry).unwrap();
    text
}

/// What the program says.
fn described(text: &str) -> Described {
    let mut metrics = Described::new();
    for line in text.lines() {
        let described = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '));
        let Some((name, kind)) = described else { continue };
        // The samples of a counter have the name by which it is asked for.
        let name = if kind == "counter" { format!("{name}_total") } else { name.to_owned() };
        metrics.insert(name, (kind.to_owned(), BTreeSet::new()));
    }
    for sample in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((name, rest)) = sample.split_once('{') else { continue };
        let labels = rest.split(['{', ',', '}']).filter_map(|label| label.split_once("=\""));
        let (_, known) = metrics.get_mut(name.trim_end_matches("_bucket")).unwrap();
        known.extend(labels.map(|(label, _)| label.to_owned()).filter(|label| label != "le"));
    }
    metrics
}

/// What the table below a heading says.
fn documented(document: &str, heading: &str) -> Described {
    let head = "| name | type | labels | meaning | alert on |";
    let section = document.lines().skip_while(|line| *line != heading);
    let table = section.skip_while(|line| *line != head).skip(2);
    let rows = table.take_while(|line| line.starts_with('|'));
    rows.map(|row| {
        let cells: Vec<_> = row.replace("\\|", "").split('|').map(|cell| cell.trim().to_owned()).collect();
        let [_, name, kind, labels, meaning, alert, _] = cells.try_into().unwrap();
        assert!(!meaning.is_empty() && !alert.is_empty(), "{row}");
        let labels = labels.split(", ").filter(|label| !label.is_empty());
        let labels = labels.map(|label| label.trim_matches('`').to_owned()).collect();
        (name.trim_matches('`').to_owned(), (kind, labels))
    })
    .collect()
}

fn document() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
    fs::read_to_string(path).unwrap()
}

#[test]
fn every_metric_is_in_the_table() {
    let document = document();
    for (registry, heading) in
        [(controller(), "## The metrics of the controller"), (agent(), "## The metrics of the agent")]
    {
        let registered = described(&rendered(&registry));
        assert!(registered.len() > 5, "{registered:?}");
        assert_eq!(documented(&document, heading), registered, "{heading}");
    }
}

#[test]
fn whatever_else_is_named_exists() {
    let mut registered = described(&rendered(&controller()));
    registered.extend(described(&rendered(&agent())));
    let document = document();
    let words = document.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    for word in words.filter(|word| word.starts_with("barelb_")) {
        assert!(registered.contains_key(word.trim_end_matches("_bucket")), "{word} is no metric");
    }
}

#[test]
fn every_kind_and_result_of_a_write_is_explained() {
    let document = document();
    let results = WriteResult::ALL.map(WriteResult::label);
    let kinds = WriteKind::ALL.map(WriteKind::label).to_vec();
    let of_agent = agent::metrics::WriteKind::ALL.map(agent::metrics::WriteKind::label).to_vec();
    for (name, kinds) in [("barelb_controller_writes_total", kinds), ("barelb_agent_writes_total", of_agent)]
    {
        let row = document.lines().find(|line| line.starts_with(&format!("| `{name}`"))).unwrap();
        for label in kinds.into_iter().chain(results) {
            assert!(row.contains(&format!("`{label}`")), "{name}: {label}");
        }
    }
}

/// So does every way in which a link is attached to, a group is joined, or an entry is kept.
#[test]
fn every_value_of_a_label_is_explained() {
    let (text, document) = (rendered(&agent()), document());
    for name in [
        "barelb_agent_groups",
        "barelb_table_entries",
        "barelb_agent_announcements_total",
        "barelb_agent_addresses",
        "barelb_peer_sessions",
    ] {
        let samples =
            text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('{')?.split('"').nth(1));
        let row = document.lines().find(|line| line.starts_with(&format!("| `{name}`"))).unwrap();
        let values: Vec<_> = samples.collect();
        assert!(values.len() > 1, "{name}: {values:?}");
        for value in values {
            assert!(row.contains(&format!("`{value}`")), "{name}: {value}");
        }
    }
    let row = document.lines().find(|line| line.starts_with("| `barelb_agent_link_attached`")).unwrap();
    for mode in [Mode::Native, Mode::Tcx, Mode::Generic].map(|mode| mode.to_string()) {
        assert!(row.contains(&format!("`{mode}`")), "{mode}");
    }
    assert!(row.contains("`none`"));
}

/// MetalLB's metrics in the document: the type, the labels and what they are made of, of those that have something.
fn of_metallb(document: &str) -> (Described, BTreeMap<String, String>, BTreeSet<String>) {
    let section = document.lines().skip_while(|line| *line != "| MetalLB | type | labels | ours | to know |");
    let (mut described, mut made_of, mut without) = (Described::new(), BTreeMap::new(), BTreeSet::new());
    for row in section.skip(2).take_while(|line| line.starts_with('|')) {
        let row = row.replace("\\|", "");
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let [_, name, kind, labels, ours, to_know, _] = cells.try_into().unwrap();
        if ours == "none" {
            assert!(to_know.len() > 20, "no reason: {row}");
            without.insert(name.to_owned());
            continue;
        }
        let labels = labels.split(", ").filter(|label| !label.is_empty());
        let labels = labels.map(|label| label.trim_matches('`').to_owned()).collect();
        let name = name.trim_matches('`').to_owned();
        made_of.insert(name.clone(), ours.to_owned());
        described.insert(name, (kind.to_owned(), labels));
    }
    (described, made_of, without)
}

/// In the older text format the name of a type is that of its samples.
fn described_classic(text: &str) -> Described {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let of_metallb = types.filter(|(name, _)| name.starts_with("metallb_"));
    let labels = |name: &str| {
        let samples = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('{'));
        let labels = samples.flat_map(|rest| rest.split(['{', ',', '}']));
        labels.filter_map(|label| Some(label.split_once("=\"")?.0.to_owned())).collect()
    };
    of_metallb.map(|(name, kind)| (name.to_owned(), (kind.to_owned(), labels(name)))).collect()
}

#[test]
fn the_table_of_metallbs_metrics_is_what_is_served() {
    let (documented, made_of, without) = of_metallb(&document());
    let mut served = Described::new();
    for registry in [controller(), agent()] {
        let exposition = Exposition::new(Arc::new(registry), Compat::Metallb);
        let (kind, page) = exposition.page().unwrap();
        assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8");
        served.extend(described_classic(&page));
    }
    assert_eq!(documented, served);
    assert_eq!(served.len(), TWINS.len());
    for twin in TWINS {
        assert!(twin.of.iter().all(|ours| made_of[twin.name].contains(ours)), "{}", twin.name);
    }
    let silent =
        ["`metallb_allocator_services_allocated_total`", "`metallb_bgp_*`, `metallb_bfd_*`, `frrk8s_*`"];
    assert!(silent.iter().all(|name| without.contains(*name)), "{without:?}");
}
