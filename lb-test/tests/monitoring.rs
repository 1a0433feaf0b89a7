//! manifests/monitoring by the programs that will read it: promtool, and a Prometheus that scrapes a cluster. Both are in
//! Debian's package `prometheus`. What can be seen without them: lb-userspace/tests/monitoring.rs.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::thread;
use std::time::Duration;

use lb_test::cluster::services::advertisement;
use lb_test::cluster::{Controller, NodeAgent, Site, SiteOptions};
use lb_test::process::Frozen;
use lb_test::prometheus::{Prometheus, Target, manifests};
use lb_userspace::telemetry::exposition::metallb::TWINS;
use serde_json::{Value, json};

/// What Grafana puts in the place of `$__rate_interval`; ten scrapes.
const RATE: &str = "10s";

#[test]
#[ignore = "needs promtool (Debian's package prometheus)"]
fn the_rules_do_what_their_tests_say() {
    for arguments in [["check", "rules", "rules.yaml"], ["test", "rules", "rules.test.yaml"]] {
        let output = Command::new("promtool").args(arguments).current_dir(manifests()).output().unwrap();
        let said = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap()).concat();
        assert!(output.status.success() && said.contains("SUCCESS"), "{arguments:?}: {said}");
    }
}

/// The queries of the panels, by their titles.
fn panels() -> Vec<(String, Vec<String>)> {
    let text = fs::read_to_string(manifests().join("dashboard.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let of_panel = |panel: &Value| {
        let targets = panel["targets"].as_array().unwrap().iter();
        let queries =
            targets.map(|target| target["expr"].as_str().unwrap().replace("$__rate_interval", RATE));
        (panel["title"].as_str().unwrap().to_owned(), queries.collect())
    };
    dashboard["panels"].as_array().unwrap().iter().map(of_panel).collect()
}

/// The expressions of the alerts, by their names.
fn alerts(prometheus: &Prometheus) -> Vec<(String, String)> {
    let groups = prometheus.rules().unwrap();
    let rules = groups.iter().flat_map(|group| group["rules"].as_array().unwrap());
    rules
        .map(|rule| {
            assert_eq!(rule["health"], "ok", "{rule}");
            let field = |name: &str| rule[name].as_str().unwrap().to_owned();
            (field("name"), field("query"))
        })
        .collect()
}

fn metrics(query: &str) -> BTreeSet<&str> {
    let words = query.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with("barelb_")).collect()
}

/// A cluster whose programs all show MetalLB's metrics too, and what reads them.
fn watched() -> (Site, Prometheus) {
    let compat = ["--metrics-compat", "metallb"];
    let arguments = compat.map(str::to_owned).to_vec();
    let mut site = Site::start_with(SiteOptions { arguments, ..SiteOptions::default() }).unwrap();
    // One that leads, and one that follows.
    site.controller = Controller::start(&site.plane, 1, &compat).unwrap();
    let leads = |_: &_| Ok((site.controller.metric("barelb_controller_leader")? > 0.0).then_some(()));
    site.plane.wait_for(Controller::PATIENCE, "nobody leads", leads).unwrap();
    let agents = site.machines.iter().map(|machine| Target {
        job: "barelb-agent".to_owned(),
        instance: machine.name.clone(),
        address: (machine.addresses()[0], NodeAgent::METRICS).into(),
    });
    let controller = Target {
        job: "barelb-controller".to_owned(),
        instance: "controller-1".to_owned(),
        address: site.controller.pages().address(),
    };
    let targets: Vec<_> = agents.chain([controller]).collect();
    let prometheus = Prometheus::start(site.plane.namespace(), &targets).unwrap();
    prometheus.wait_for("count(up == 1)", |found| found.len() == 1 && found[0]["value"][1] == "3").unwrap();
    (site, prometheus)
}

#[test]
#[ignore = "L5: needs root, the testbed and Debian's package prometheus"]
fn l5_every_query_has_an_answer_in_a_cluster_and_no_alert_is_raised() {
    let (mut site, prometheus) = watched();
    // Somebody asks, so that there are answers; and rates need two scrapes.
    site.ask(Duration::from_secs(12)).unwrap();
    every_panel_shows_something(&prometheus);
    every_alert_is_about_something(&prometheus);
    what_was_made_for_metallb_goes_on(&prometheus);

    // It waits for a quarter of an hour: here veth is seen by tcx.
    for alert in prometheus.alerts().unwrap() {
        let name = alert["labels"]["alertname"].as_str().unwrap();
        assert!(alert["state"] == "pending" && name == "BareLBFallbackMode", "{alert}");
    }

    an_agent_that_dies_is_told(&mut site, &prometheus);
}

fn every_panel_shows_something(prometheus: &Prometheus) {
    for (title, queries) in panels() {
        let samples: usize = queries.iter().map(|query| prometheus.query(query).unwrap().len()).sum();
        assert!(samples > 0 || title == "Not announced, by reason", "{title} shows nothing: {queries:?}");
    }
    let value = |query: &str| {
        let samples = prometheus.query(query).unwrap();
        samples[0]["value"][1].as_str().unwrap().to_owned()
    };
    let of_panel = |title: &str| panels().into_iter().find(|(one, _)| one == title).unwrap().1.remove(0);
    assert_eq!(value(&of_panel("Addresses announced")), "2");
    assert_eq!(value(&of_panel("Without owner")), "0");
    assert_eq!(value(&of_panel("Agents in step")), "2");
}

fn every_alert_is_about_something(prometheus: &Prometheus) {
    let alerts = alerts(prometheus);
    assert!(alerts.len() > 30);
    for (name, query) in alerts {
        prometheus.query(&query).unwrap();
        for metric in metrics(&query) {
            // Nobody waits.
            let may_be_missing = metric == "barelb_allocator_services_waiting";
            let samples = prometheus.query(metric).unwrap();
            assert!(!samples.is_empty() || may_be_missing, "{name} is about {metric}, which is not there");
        }
    }
}

/// MetalLB's names have the types that they have there, and the queries of its own alerts and of usual dashboards data.
fn what_was_made_for_metallb_goes_on(prometheus: &Prometheus) {
    for twin in TWINS {
        assert_eq!(prometheus.kind(twin.name).unwrap(), twin.kind, "{}", twin.name);
        assert!(!prometheus.query(twin.name).unwrap().is_empty(), "{}", twin.name);
    }
    for (query, samples) in [
        ("metallb_k8s_client_config_stale_bool == 1", 0),
        ("metallb_k8s_client_config_stale_bool == 0", 3),
        ("metallb_k8s_client_config_loaded_bool == 1", 3),
        ("metallb_allocator_addresses_in_use_total >= metallb_allocator_addresses_total", 0),
        ("(metallb_allocator_addresses_in_use_total / metallb_allocator_addresses_total) * 100 <= 75", 1),
        ("metallb_allocator_ipv4_addresses_in_use_total / metallb_allocator_ipv4_addresses_total", 1),
        ("metallb_allocator_ipv6_addresses_in_use_total / metallb_allocator_ipv6_addresses_total", 1),
        ("sum by (ip) (rate(metallb_layer2_requests_received[10s])) > 0", 2),
        ("sum by (ip) (rate(metallb_layer2_responses_sent[10s])) > 0", 2),
        ("count by (service, ip) (metallb_speaker_announced{protocol=\"layer2\"}) == 1", 2),
    ] {
        assert_eq!(prometheus.query(query).unwrap().len(), samples, "{query}");
    }
    // Ours have their types in the older text format as well.
    for (metric, kind) in [
        ("barelb_requests_total", "counter"),
        ("barelb_announced", "gauge"),
        ("barelb_controller_reconcile_duration_seconds", "histogram"),
    ] {
        assert_eq!(prometheus.kind(metric).unwrap(), kind, "{metric}");
    }
}

/// The words of an alert are whole, with the names of what they are about.
fn an_agent_that_dies_is_told(site: &mut Site, prometheus: &Prometheus) {
    let owner = site.owner().unwrap();
    let name = site.machines[owner].name.clone();
    site.agents[owner] = None;
    let raised = format!("ALERTS{{alertname=\"BareLBAgentDown\",instance=\"{name}\"}}");
    prometheus.wait_for(&raised, |found| found.len() == 1).unwrap();
    // Another node has taken over, as soon as the table has fallen silent, and all addresses have an owner again.
    site.is_owned_by(1 - owner).unwrap();
    prometheus
        .wait_for("sum(barelb_agent_addresses{verdict=\"announced\"}) == 2", |found| found.len() == 1)
        .unwrap();
    thread::sleep(Duration::from_secs(2));
    let told = prometheus.alerts().unwrap();
    let alert = told.iter().find(|alert| alert["labels"]["alertname"] == "BareLBAgentDown").unwrap();
    let annotation = |key: &str| alert["annotations"][key].as_str().unwrap();
    assert_eq!(annotation("summary"), format!("The agent on {name} does not answer"));
    assert!(annotation("description").ends_with(&format!("spec.nodeName={name}")), "{alert}");
    for alert in &told {
        assert!(!alert["annotations"].to_string().contains('<'), "a text is not whole: {alert}");
        let name = alert["labels"]["alertname"].as_str().unwrap();
        assert!(!["BareLBAddressWithoutOwner", "BareLBTwoOwners"].contains(&name), "{alert}");
    }
}

/// A query that has one sample.
fn becomes_true(prometheus: &Prometheus, query: &str) {
    prometheus.wait_for(query, |found| found.len() == 1).unwrap();
}

/// How the alerts about owners go by counts, on the counts of agents at work.
#[test]
#[ignore = "L5: needs root, the testbed and Debian's package prometheus"]
fn l5_what_keeps_an_address_silent_is_told_by_its_own_alert() {
    let (mut site, prometheus) = watched();
    let raised = |alert: &str| format!("ALERTS{{alertname=\"{alert}\"}}");
    let silent = |verdict: &str| format!("min(barelb_agent_addresses{{verdict=\"{verdict}\"}}) == 2");
    let announced = "sum(barelb_agent_addresses{verdict=\"announced\"}) == 2";
    becomes_true(&prometheus, announced);

    // Nothing serves the Service, which has the policy Local: nobody is to announce it, and nobody is blamed.
    site.place_endpoints(&[]).unwrap();
    becomes_true(&prometheus, &silent("no_endpoints"));
    thread::sleep(Duration::from_secs(3));
    for alert in ["BareLBAddressWithoutOwner", "BareLBAddressUnanswered", "BareLBAddressNotAnnounced"] {
        assert_eq!(prometheus.query(&raised(alert)).unwrap(), Vec::<Value>::new());
    }
    site.place_endpoints(&[0, 1]).unwrap();
    becomes_true(&prometheus, announced);

    // No advertisement is an error of somebody.
    site.plane.kubectl(&["delete", "l2advertisement", "all", "--namespace", "metallb-system"]).unwrap();
    becomes_true(&prometheus, &silent("no_advertisement"));
    becomes_true(&prometheus, "ALERTS{alertname=\"BareLBAddressNotAnnounced\",verdict=\"no_advertisement\"}");
    assert_eq!(prometheus.query(&raised("BareLBAddressWithoutOwner")).unwrap(), Vec::<Value>::new());
    site.plane.apply_all(&[advertisement("all", json!({}))]).unwrap();
    becomes_true(&prometheus, announced);

    // An agent that hangs says itself that its table is silent, until it goes round again.
    let owner = site.owner().unwrap();
    let name = site.machines[owner].name.clone();
    let frozen = Frozen::main_thread(site.agent(owner).unwrap().process().pid()).unwrap();
    let near =
        format!("ALERTS{{alertname=\"BareLBDeadlineNear\",alertstate=\"firing\",instance=\"{name}\"}}");
    becomes_true(&prometheus, &near);
    becomes_true(
        &prometheus,
        &format!("ALERTS{{alertname=\"BareLBAddressUnanswered\",instance=\"{name}\"}}"),
    );
    site.is_owned_by(1 - owner).unwrap();
    drop(frozen);
    prometheus.wait_for(&near, <[_]>::is_empty).unwrap();
    becomes_true(&prometheus, announced);
    prometheus.wait_for(&raised("BareLBAddressUnanswered"), <[_]>::is_empty).unwrap();
}
