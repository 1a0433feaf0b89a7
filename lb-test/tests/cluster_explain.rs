//! L5: `barelb explain` in a cluster that allocates and announces. Needs root and the testbed.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::time::{Duration, Instant};

use lb_test::agent::barelb;
use lb_test::cluster::{Site, SiteOptions};
use serde_json::{Value, json};

/// What the command prints, where it complains, and its exit code.
fn explain(site: &Site, arguments: &[&str]) -> (String, String, Option<i32>) {
    let mut command = site.plane.namespace().command(barelb().unwrap());
    command.arg("explain").args(arguments).arg("--kubeconfig").arg(site.plane.admin().kubeconfig());
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr), output.status.code())
}

fn json(site: &Site, arguments: &[&str]) -> Value {
    let (text, complaints, code) = explain(site, &[arguments, &["-o", "json"]].concat());
    assert_eq!((complaints.as_str(), code), ("", Some(0)));
    serde_json::from_str(&text).unwrap()
}

#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_every_decision_about_a_service_is_explained() {
    let site = Site::start_with(SiteOptions { nodes: 3, ..SiteOptions::default() }).unwrap();
    let owner = site.owner().unwrap();
    site.is_said_to_be_of(Some(owner)).unwrap();
    let owner_name = site.machines[owner].name.clone();
    let vips = site.vips();

    let began = Instant::now();
    let (text, complaints, code) = explain(&site, &["svc", "default/web"]);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!((complaints.as_str(), code), ("", Some(0)), "{text}");
    assert!(text.starts_with("Service default/web, externalTrafficPolicy Local\n"), "{text}");
    for vip in &vips {
        assert!(text.contains(&format!("\n{vip}\n")), "{text}");
    }
    assert!(
        text.contains(&format!("owner      {owner_name}, first of those that can by sha256(node + \"#")),
        "{text}"
    );
    assert!(text.contains(&format!("says so    {owner_name} (ServiceL2Status)")), "{text}");
    assert!(text.contains(&format!("0     {owner_name}")), "{text}");

    // Each address says the same for itself; the other nodes are ranked behind.
    for vip in vips.iter().map(ToString::to_string) {
        let explained = json(&site, &["ip", &vip]);
        let address = &explained["addresses"][0];
        assert_eq!(address["owner"], json!(owner_name), "{address}");
        assert_eq!(address["services"][0]["service"], json!("default/web"));
        let ranks: Vec<_> =
            address["nodes"].as_array().unwrap().iter().map(|node| node["rank"].clone()).collect();
        assert_eq!(ranks, [json!(0), json!(1), json!(2)]);
    }

    when_it_was_asked(&site, owner);

    // What keeps a node from being the owner is said.
    let label = "node.kubernetes.io/exclude-from-external-load-balancers=";
    site.plane.kubectl(&["label", "node", &owner_name, label]).unwrap();
    let explained = json(&site, &["svc", "default/web"]);
    let nodes = explained["addresses"][0]["nodes"].as_array().unwrap().clone();
    let excluded = nodes.iter().find(|node| node["node"] == json!(owner_name)).unwrap();
    assert_eq!(excluded["rank"], Value::Null, "{excluded}");
    let why = "it has the label node.kubernetes.io/exclude-from-external-load-balancers";
    assert_eq!(excluded["whyNot"], json!([why]));
    assert_ne!(explained["addresses"][0]["owner"], json!(owner_name));

    // What can't be explained says what to do.
    let (_, complaints, code) = explain(&site, &["svc", "default/wep"]);
    assert_eq!(code, Some(1));
    assert!(complaints.contains("there is no Service default/wep: `kubectl get services"), "{complaints}");
    // As kubectl, it looks where the context is.
    let elsewhere = site.plane.admin().kubeconfig().with_file_name("elsewhere");
    let known = fs::read_to_string(site.plane.admin().kubeconfig()).unwrap();
    let context = "- name: shop\n  context:\n    cluster: test\n    user: user\n    namespace: shop\n";
    fs::write(&elsewhere, known + context).unwrap();
    let mut command = site.plane.namespace().command(barelb().unwrap());
    command.args(["explain", "svc", "web", "--context", "shop", "--kubeconfig"]).arg(&elsewhere);
    let complaints = String::from_utf8(command.output().unwrap().stderr).unwrap();
    assert!(complaints.contains("there is no Service shop/web: "), "{complaints}");
    let (text, _, code) = explain(&site, &["ip", "203.0.113.1"]);
    assert_eq!(
        (text.as_str(), code),
        (
            "203.0.113.1\n  pool       it lies in none\n  held by    no Service: nobody answers for it\n",
            Some(0)
        )
    );
    let (_, complaints, code) = explain(&site, &["svc", "web", "--context", "nowhere"]);
    assert_eq!(code, Some(1));
    assert!(complaints.contains("`kubectl config get-contexts`"), "{complaints}");
}

/// By what the agents count, which are asked through the API server.
fn when_it_was_asked(site: &Site, owner: usize) {
    let vips: Vec<String> = site.vips().iter().map(ToString::to_string).collect();
    let (text, ..) = explain(site, &["ip", &vips[0]]);
    let unknown = "last asked not known: no agent runs in namespace metallb-system: `kubectl get pods -A";
    assert!(text.contains(unknown), "{text}");
    site.add_agent_pods().unwrap();
    // Who stands by sees what is asked of all.
    let report = site.ask(Duration::from_secs(1)).unwrap();
    assert!(report.answered > 0, "{}", report.summary());
    let name = &site.machines[owner].name;
    for vip in &vips {
        let explained = json(site, &["ip", vip]);
        assert_eq!(explained["unasked"], json!([]));
        for node in explained["addresses"][0]["nodes"].as_array().unwrap() {
            let seen = &node["seen"];
            assert!(seen["requests"].as_u64().unwrap() > 10, "{node:#}");
            assert!(seen["lastAskedMs"].as_u64().unwrap() < 60_000, "{node:#}");
            // Mostly the client; nodes resolve addresses too.
            assert!(seen["requesterMac"].as_str().unwrap().starts_with("02:00:00:00:00:"), "{node:#}");
        }
        let (text, ..) = explain(site, &["ip", vip]);
        let line = text.lines().find(|line| line.starts_with("  last asked ")).unwrap();
        assert!(
            line.contains("s ago by ") && line.contains("02:00:00:00:00:") && line.ends_with(" requests"),
            "{text}"
        );
        assert!(text.contains("RANK  NODE    SCORE  LAST ASKED  STATE"), "{text}");
        let row = text.lines().find(|line| line.starts_with(&format!("0     {name}"))).unwrap();
        assert!(row.contains("s ago") && row.ends_with("owner"), "{text}");
    }
}
