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
use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;

/// Type and labels of each metric.
type Described = BTreeMap<String, (String, BTreeSet<String>)>;

/// The text of a controller that has something to say in each of its metrics.
fn controller() -> String {
    let mut registry = Registry::default();
    let metrics = Metrics::new(&mut registry);
    let size = PoolSize { ipv4: 4, ipv6: 4 };
    metrics.pool(&PoolName::new("default").unwrap(), PoolUsage { size, in_use: size });
    metrics.waiting(&BTreeMap::from([("Taken", 1)]));
    metrics.pass(Duration::from_millis(1));
    rendered(&registry)
}

/// The same of an agent.
fn agent() -> String {
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
    metrics.read_by(move || {
        let entry = Entry { mac: Mac([2; 6]), state: EntryState::Answer };
        let counts = Counts { probes: 1, conflicts: 1, ..Counts::default() };
        let entries = BTreeMap::from([(target, (Row { entry, slot: 0 }, counts))]);
        Ok(Reading { entries, deadline: 1.0, ..Reading::default() })
    });
    rendered(&registry)
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
    for (text, heading) in
        [(controller(), "## The metrics of the controller"), (agent(), "## The metrics of the agent")]
    {
        let registered = described(&text);
        assert!(registered.len() > 5, "{registered:?}");
        assert_eq!(documented(&document, heading), registered, "{heading}");
    }
}

#[test]
fn whatever_else_is_named_exists() {
    let mut registered = described(&controller());
    registered.extend(described(&agent()));
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
    let (text, document) = (agent(), document());
    for name in [
        "barelb_agent_groups",
        "barelb_table_entries",
        "barelb_agent_announcements_total",
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
