//! manifests/monitoring asks for metrics that there are, and everything that it tells people leads somewhere.
//!
//! That queries mean what they are to mean is tested by promtool and on a real Prometheus: lb-test/tests/monitoring.rs.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use lb_userspace::telemetry::exposition::metallb::TWINS;
use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn yaml(path: &str) -> Value {
    serde_saphyr::from_str(&text(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn rules() -> Value {
    yaml("manifests/monitoring/rules.yaml")
}

fn alerts() -> Vec<Value> {
    let rules = rules();
    let groups = rules["groups"].as_array().unwrap();
    let alerts: Vec<_> = groups.iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect();
    assert!(alerts.len() > 20);
    alerts
}

fn dashboard() -> Value {
    serde_json::from_str(&text("manifests/monitoring/dashboard.json")).unwrap()
}

/// The queries of a panel.
fn targets(panel: &Value) -> &[Value] {
    panel["targets"].as_array().unwrap()
}

/// The names of metrics in a query.
fn metrics(query: &str) -> BTreeSet<&str> {
    let words = query.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with("barelb_")).map(|word| word.trim_end_matches("_bucket")).collect()
}

#[test]
fn every_query_asks_for_metrics_that_there_are() {
    let document = text("docs/metrics.md");
    let known: BTreeSet<_> =
        document.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    let (alerts, dashboard) = (alerts(), dashboard());
    let panels = dashboard["panels"].as_array().unwrap();
    let of_panels = panels.iter().flat_map(targets).map(|target| target["expr"].as_str().unwrap());
    let queries = alerts.iter().map(|alert| alert["expr"].as_str().unwrap()).chain(of_panels);
    for query in queries {
        let asked = metrics(query);
        assert!(!asked.is_empty() || query.contains("up{job=") || query.contains("ALERTS{"), "{query}");
        for metric in asked {
            assert!(known.contains(metric), "{metric} is no metric: {query}");
        }
    }
}

#[test]
fn the_object_of_the_operator_has_the_same_rules() {
    let object = yaml("manifests/monitoring/prometheusrule.yaml");
    assert_eq!(
        (&object["kind"], &object["metadata"]["namespace"]),
        (&"PrometheusRule".into(), &"metallb-system".into())
    );
    assert!(object["spec"] == rules(), "it has other rules: run `cargo xtask rules`");
}

/// As GitHub makes them.
fn anchors(document: &str) -> BTreeSet<String> {
    let headings = document.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| {
            let title = line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
            title.chars().filter(|c| c.is_alphanumeric() || *c == '-' || *c == '_').collect()
        })
        .collect()
}

#[test]
fn every_alert_says_what_happened_where_and_what_to_do() {
    let document = text("docs/troubleshooting.md");
    let anchors = anchors(&document);
    let commands = ["kubectl ", "barelb ", "bpftool ", "arping "];
    let mut names = BTreeSet::new();
    for alert in alerts() {
        let name = alert["alert"].as_str().unwrap();
        assert!(name.starts_with("BareLB") && names.insert(name.to_owned()), "{name}");
        let severity = alert["labels"]["severity"].as_str().unwrap();
        assert!(["critical", "warning", "info"].contains(&severity), "{name}: {severity}");
        let annotation = |key: &str| alert["annotations"][key].as_str().unwrap_or_default();
        assert!((10..=120).contains(&annotation("summary").len()), "{name}");
        let description = annotation("description");
        assert!(description.len() > annotation("summary").len(), "{name}");
        assert!(commands.iter().any(|command| description.contains(command)), "{name} has no command");
        let (page, anchor) = annotation("runbook_url").split_once('#').unwrap();
        assert_eq!(page, "https://github.com/barelb/barelb/blob/main/docs/troubleshooting.md", "{name}");
        assert_eq!(anchor, name.to_lowercase());
        assert!(anchors.contains(anchor), "docs/troubleshooting.md has no section {name}");
        let section = document.split(&format!("### {name}\n")).nth(1).unwrap().split("\n#").next().unwrap();
        assert!(section.contains('`') && section.len() > 100, "the section {name} has no command: {section}");
    }
    let sections = document.lines().filter_map(|line| line.strip_prefix("### BareLB"));
    for section in sections {
        assert!(names.contains(&format!("BareLB{section}")), "there is no alert BareLB{section}");
    }
}

/// Once so that it fires, and once so that it does not yet, or not any more.
#[test]
fn every_alert_is_tested() {
    let tests = yaml("manifests/monitoring/rules.test.yaml");
    let cases = tests["tests"].as_array().unwrap();
    let cases: Vec<_> =
        cases.iter().flat_map(|test| test["promql_expr_test"].as_array().into_iter().flatten()).collect();
    let fires = |case: &Value, name: &str| {
        let samples = case["exp_samples"].as_array().into_iter().flatten();
        samples
            .filter_map(|sample| sample["labels"].as_str())
            .any(|labels| labels.contains(&format!("\"{name}\"")))
    };
    for alert in alerts() {
        let name = alert["alert"].as_str().unwrap();
        assert!(cases.iter().any(|case| fires(case, name)), "{name} never fires");
        let asked = |case: &&&Value| {
            let query = case["expr"].as_str().unwrap();
            query.contains(&format!("\"{name}\"")) || query.contains("\"BareLBPool.*\"")
        };
        assert!(cases.iter().filter(asked).any(|case| !fires(case, name)), "{name} always fires");
    }
}

#[test]
fn the_dashboard_is_one_and_of_no_machine() {
    let dashboard = dashboard();
    assert_eq!(dashboard["uid"], "barelb");
    assert!(dashboard["schemaVersion"].as_u64().unwrap() >= 36);
    assert!(dashboard["id"].is_null(), "an id is of one Grafana");
    let variable = &dashboard["templating"]["list"][0];
    let kind = (&variable["name"], &variable["type"], &variable["query"]);
    assert_eq!(kind, (&"datasource".into(), &"datasource".into(), &"prometheus".into()));
    let panels = dashboard["panels"].as_array().unwrap();
    let (mut ids, mut places) = (BTreeSet::new(), BTreeSet::new());
    for panel in panels {
        let title = panel["title"].as_str().unwrap();
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}");
        assert!(!panel["description"].as_str().unwrap().is_empty() && !targets(panel).is_empty(), "{title}");
        let at = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        for x in at("x")..at("x") + at("w") {
            for y in at("y")..at("y") + at("h") {
                assert!(x < 24 && places.insert((x, y)), "{title} lies on another panel, or outside");
            }
        }
        let sources = targets(panel).iter().chain([panel]).map(|one| &one["datasource"]);
        for source in sources {
            assert_eq!(
                (&source["type"], &source["uid"]),
                (&"prometheus".into(), &"${datasource}".into()),
                "{title}"
            );
        }
    }
    let drawn: usize = panels.iter().map(|panel| targets(panel).len()).sum();
    assert!(drawn >= panels.len() && panels.len() > 10);
}

/// The labels of the pods, the ports, the names of the jobs, and the label by which alerts name a node.
#[test]
fn both_ways_of_scraping_find_the_pods_and_call_them_as_the_alerts_do() {
    let monitors = text("manifests/monitoring/podmonitors.yaml");
    let monitors: Vec<Value> =
        monitors.split("\n---\n").map(|document| serde_saphyr::from_str(document).unwrap()).collect();
    let jobs = yaml("manifests/monitoring/prometheus.yaml");
    assert_eq!(jobs["rule_files"][0], "rules.yaml");
    for (component, file, source) in [
        ("agent", "daemonset", "__meta_kubernetes_pod_node_name"),
        ("controller", "deployment", "__meta_kubernetes_pod_name"),
    ] {
        let job = format!("barelb-{component}");
        let workload = yaml(&format!("manifests/base/{component}/{file}.yaml"));
        let (template, namespace) = (&workload["spec"]["template"], &workload["metadata"]["namespace"]);
        let labels = &template["metadata"]["labels"];
        let port = &template["spec"]["containers"][0]["ports"][0]["name"];

        let monitor = monitors.iter().find(|one| one["metadata"]["name"] == job.as_str()).unwrap();
        assert_eq!(&monitor["spec"]["selector"]["matchLabels"], labels);
        assert_eq!(&monitor["spec"]["namespaceSelector"]["matchNames"][0], namespace);
        let endpoint = &monitor["spec"]["podMetricsEndpoints"][0];
        assert_eq!(
            (&endpoint["port"], &endpoint["path"], &endpoint["honorLabels"]),
            (port, &"/metrics".into(), &true.into())
        );
        assert_eq!(endpoint["relabelings"][0]["targetLabel"], "job");
        assert_eq!(endpoint["relabelings"][0]["replacement"], job.as_str());
        assert_eq!(endpoint["relabelings"][1]["targetLabel"], "instance");
        assert_eq!(endpoint["relabelings"][1]["sourceLabels"][0], source);

        let scrape = jobs["scrape_configs"].as_array().unwrap();
        let scrape = scrape.iter().find(|one| one["job_name"] == job.as_str()).unwrap();
        assert_eq!(&scrape["kubernetes_sd_configs"][0]["namespaces"]["names"][0], namespace);
        assert_eq!(scrape["honor_labels"], true);
        let keep = &scrape["relabel_configs"][0];
        let values =
            ["name", "component"].map(|label| labels[format!("app.kubernetes.io/{label}")].as_str().unwrap());
        assert_eq!(keep["regex"], format!("{};{};{}", values[0], values[1], port.as_str().unwrap()));
        assert_eq!(scrape["relabel_configs"][1]["source_labels"][0], source);
        assert_eq!(scrape["relabel_configs"][1]["target_label"], "instance");
        let rules = text("manifests/monitoring/rules.yaml");
        assert!(rules.contains(&format!("{{job=\"{job}\"}}")), "no alert is about {job}");
    }
}

#[test]
fn the_kustomization_has_everything_that_is_for_the_operator() {
    let kustomization = yaml("manifests/monitoring/kustomization.yaml");
    let listed: BTreeSet<_> = kustomization["resources"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one.as_str().unwrap().to_owned())
        .collect();
    assert_eq!(listed, ["podmonitors.yaml", "prometheusrule.yaml"].map(str::to_owned).into());
    assert_eq!(kustomization["configMapGenerator"][0]["files"][0], "barelb.json=dashboard.json");
}

/// MetalLB's names are for what was made for MetalLB.
#[test]
fn no_query_needs_the_names_of_metallb() {
    let all = text("manifests/monitoring/rules.yaml") + &text("manifests/monitoring/dashboard.json");
    for twin in TWINS {
        assert!(!all.contains(twin.name), "{}", twin.name);
    }
}
