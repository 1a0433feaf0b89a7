//! docs/metrics.md names every metric, with its type and labels, and no other.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use lb_core::allocator::PoolUsage;
use lb_core::ids::PoolName;
use lb_core::pool::PoolSize;
use lb_userspace::controller::metrics::{Metrics, WriteKind};
use lb_userspace::k8s::write::WriteResult;
use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;

/// Type and labels of each metric.
type Described = BTreeMap<String, (String, BTreeSet<String>)>;

/// The text of a controller that has something to say in each of its metrics.
fn rendered() -> String {
    let mut registry = Registry::default();
    let metrics = Metrics::new(&mut registry);
    let size = PoolSize { ipv4: 4, ipv6: 4 };
    metrics.pool(&PoolName::new("default").unwrap(), PoolUsage { size, in_use: size });
    metrics.waiting(&BTreeMap::from([("Taken", 1)]));
    metrics.pass(Duration::from_millis(1));
    let mut text = String::new();
    text::encode(&mut text, &registry).unwrap();
    text
}

/// What the program says.
fn registered(text: &str) -> Described {
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

/// What the table with these columns says.
fn documented(document: &str) -> Described {
    let head = "| name | type | labels | meaning | alert on |";
    let table = document.lines().skip_while(|line| *line != head).skip(2);
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
    let registered = registered(&rendered());
    assert!(registered.len() > 5, "{registered:?}");
    assert_eq!(documented(&document()), registered);
}

#[test]
fn whatever_else_is_named_exists() {
    let registered = registered(&rendered());
    let document = document();
    let words = document.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    for word in words.filter(|word| word.starts_with("barelb_")) {
        assert!(registered.contains_key(word.trim_end_matches("_bucket")), "{word} is no metric");
    }
}

#[test]
fn every_kind_and_result_of_a_write_is_explained() {
    let document = document();
    let row = document.lines().find(|line| line.starts_with("| `barelb_controller_writes_total`")).unwrap();
    let labels = WriteKind::ALL.map(WriteKind::label).into_iter();
    for label in labels.chain(WriteResult::ALL.map(WriteResult::label)) {
        assert!(row.contains(&format!("`{label}`")), "{label}");
    }
}
