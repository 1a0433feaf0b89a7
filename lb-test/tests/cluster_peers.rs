//! L5: how nodes hear each other, as `barelb status --peers`, `barelb inspect`, the metrics and events show it. Needs root
//! and the testbed.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::net::{IpAddr, UdpSocket};
use std::path::Path;
use std::thread;
use std::time::Duration;

use lb_test::agent::barelb;
use lb_test::cluster::{Component, Controller, Site, SiteOptions};
use serde_json::{Value, json};
use socket2::SockRef;

const NAMESPACE: &str = "metallb-system";

/// Three nodes that know each other.
fn site() -> Site {
    Site::start_with(SiteOptions { nodes: 3, ..SiteOptions::default() }).unwrap()
}

/// What `barelb status` prints, what it warns of, and its exit code.
fn status(site: &Site, kubeconfig: &Path, arguments: &[&str]) -> (String, String, Option<i32>) {
    let mut command = site.plane.namespace().command(barelb().unwrap());
    command.arg("status").arg("--kubeconfig").arg(kubeconfig).args(arguments);
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr), output.status.code())
}

fn peers(site: &Site, more: &[&str]) -> (String, String, Option<i32>) {
    status(site, site.plane.admin().kubeconfig(), &[&["--peers"], more].concat())
}

/// Node, peer and status of each session, as programs get them.
fn sessions(text: &str) -> Vec<[String; 3]> {
    let report: Value = serde_json::from_str(text).unwrap();
    let of_node = |node: &Value| {
        let name = node["node"].as_str().unwrap().to_owned();
        let session = |one: &Value| {
            let text = |field: &str| one[field].as_str().unwrap().to_owned();
            [name.clone(), text("peer"), text("status")]
        };
        node["sessions"].as_array().unwrap().iter().map(session).collect::<Vec<_>>()
    };
    report["nodes"].as_array().unwrap().iter().flat_map(of_node).collect()
}

/// Each of these with each other one.
fn all_up(nodes: &[&str]) -> Vec<[String; 3]> {
    let pairs = nodes.iter().flat_map(|node| nodes.iter().map(move |peer| (node, peer)));
    let others = pairs.filter(|(node, peer)| node != peer);
    others.map(|(node, peer)| [(*node).to_owned(), (*peer).to_owned(), "up".to_owned()]).collect()
}

/// Waits until this is what the agents say.
fn becomes(site: &Site, expected: &[[String; 3]]) {
    let looked = site.plane.wait_for(Controller::PATIENCE, "other sessions", |_| {
        let (text, warnings, _) = peers(site, &["-o", "json"]);
        let found = sessions(&text);
        anyhow::ensure!(found == expected, "{found:?}\n{warnings}\n{}", site.logs());
        Ok(Some(()))
    });
    looked.unwrap();
}

#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_how_nodes_hear_each_other_is_asked_through_the_api_server() {
    let mut site = site();
    let (text, error, code) = peers(&site, &[]);
    assert_eq!((text.as_str(), code), ("", Some(1)), "{error}");
    assert!(error.contains("no agent runs in namespace metallb-system: `kubectl get pods -A -l "), "{error}");
    site.add_agent_pods().unwrap();
    becomes(&site, &all_up(&["node-a", "node-b", "node-c"]));

    let (text, error, code) = peers(&site, &[]);
    assert_eq!((error.as_str(), code), ("", Some(0)));
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows.len(), 7, "{text}");
    let head = ["NODE", "INTERFACE", "PEER", "STATUS", "INTERVAL", "SENT", "LOST", "DOWNS", "ROUND", "TRIP"];
    assert_eq!(rows[0], head, "{text}");
    assert_eq!(rows[1][..5], ["node-a", "eth0", "node-b", "up", "10ms"], "{text}");
    let (wide, ..) = peers(&site, &["-o", "wide"]);
    assert!(wide.contains("barelb-agent-node-c") && wide.contains("192.0.2.12"), "{wide}");
    let (yaml, ..) = peers(&site, &["-o", "yaml"]);
    assert!(yaml.contains("profileIntervalUs: 10000"), "{yaml}");

    what_is_seen_on_a_node(&site);
    what_may_be_missing(&mut site);
}

/// By `inspect` and the metrics.
fn what_is_seen_on_a_node(site: &Site) {
    let report: Value = serde_json::from_str(&site.machines[0].inspect(&["-o", "json"]).unwrap()).unwrap();
    let session = &report["agent"]["peers"][0];
    assert_eq!((&session["peer"], &session["link"]), (&json!("node-b"), &json!("eth0")), "{report:#}");
    assert_eq!(session["intervalUs"], session["profileIntervalUs"], "{session:#}");
    let text = site.machines[0].inspect(&[]).unwrap();
    assert!(
        text.contains("INTERFACE  PEER    STATUS  INTERVAL") && text.contains("eth0       node-c"),
        "{text}"
    );

    let pages = site.agents[0].as_ref().unwrap().metrics();
    let of = |name: &str| {
        pages.count(&format!("barelb_peer_{name}{{peer=\"node-b\",interface=\"eth0\"}}")).unwrap()
    };
    let before = of("replies_total");
    thread::sleep(Duration::from_secs(3));
    // A probe each 10 ms.
    assert!(of("replies_total") > before + 50, "{before}, {}", of("replies_total"));
    assert!(of("probes_total") >= of("replies_total"));
    assert_eq!(of("downs_total"), 0);
    let round_trip =
        pages.metric("barelb_peer_round_trip_seconds{peer=\"node-b\",interface=\"eth0\"}").unwrap();
    assert!(round_trip > 0.0 && round_trip < 1.0, "{round_trip}");
    assert_eq!(pages.count("barelb_peer_sessions{status=\"up\"}").unwrap(), 2);

    // Something else on the port of messages, over both families.
    let refused = || pages.count("barelb_peer_datagrams_refused_total{reason=\"foreign\"}").unwrap();
    for address in site.machines[0].addresses() {
        let before = refused();
        site.client.a.namespace().enter(|| send_from_the_link(address)).unwrap();
        thread::sleep(Duration::from_secs(3));
        assert!(refused() > before, "{address}: {before}");
    }
}

/// What comes from further away is not taken.
fn send_from_the_link(to: IpAddr) -> anyhow::Result<()> {
    let socket = UdpSocket::bind(if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
    match to {
        IpAddr::V4(_) => SockRef::from(&socket).set_ttl_v4(255)?,
        IpAddr::V6(_) => SockRef::from(&socket).set_unicast_hops_v6(255)?,
    }
    socket.send_to(b"something else, long enough to be one of ours", (to, 7785))?;
    Ok(())
}

/// Rights, agents, pages, the API server itself.
fn what_may_be_missing(site: &mut Site) {
    let advice = |error: &str, words: &[&str]| {
        for word in words {
            assert!(error.contains(word), "{word:?} is not in {error}");
        }
    };
    let user = site.plane.service_account(NAMESPACE, "somebody").unwrap();
    let ask = |site: &Site| status(site, user.kubeconfig(), &["--peers"]);
    let (text, error, code) = ask(site);
    assert_eq!((text.as_str(), code), ("", Some(1)));
    advice(&error, &["does not permit it (403)", "`kubectl -n metallb-system auth can-i list pods`"]);
    let grant = |name: &str, rule: &[&str]| {
        let role = [&["create", "role", name, "--namespace", NAMESPACE], rule].concat();
        site.plane.kubectl(&role).unwrap();
        let account = format!("--serviceaccount={NAMESPACE}:somebody");
        let role = format!("--role={name}");
        let binding = ["create", "rolebinding", name, "--namespace", NAMESPACE, &role, &account];
        site.plane.kubectl(&binding).unwrap();
    };
    grant("list-pods", &["--verb=list", "--resource=pods"]);
    let (text, error, code) = ask(site);
    assert_eq!((text.as_str(), code), ("", Some(1)));
    advice(&error, &["warning: node-a, node-b, node-c: ", "auth can-i get pods --subresource=proxy`"]);
    assert_eq!(error.lines().count(), 1, "{error}");
    grant("ask-agents", &["--verb=get", "--resource=pods/proxy"]);
    assert_eq!(ask(site).2, Some(0), "{}", ask(site).1);

    let stranger = site.plane.admin().kubeconfig().with_file_name("stranger");
    let known = fs::read_to_string(site.plane.admin().kubeconfig()).unwrap();
    fs::write(&stranger, known.replace("token-of-admin", "token-of-nobody")).unwrap();
    let (text, error, code) = status(site, &stranger, &["--peers"]);
    assert_eq!((text.as_str(), code), ("", Some(1)));
    let place = stranger.to_str().unwrap();
    advice(&error, &["does not accept the credentials (401)", place, "log in again"]);

    // One that does not run, one that watches nobody, one that says something else.
    site.agents[1] = None;
    let (text, error, code) = peers(site, &[]);
    assert_eq!(code, Some(1));
    assert!(text.contains("\nnode-a") && text.contains("\nnode-c") && !text.contains("\nnode-b"), "{text}");
    advice(
        &error,
        &[
            "warning: node-b: the API server gets no answer",
            "`kubectl -n metallb-system logs barelb-agent-node-b`",
        ],
    );
    site.start_agent_with(1, &["--failover-profile", "off"]).unwrap();
    let off = site.plane.wait_for(Controller::PATIENCE, "nobody says so", |_| {
        let (_, error, code) = peers(site, &[]);
        Ok((error.contains("--failover-profile off") && code == Some(1)).then_some(error))
    });
    advice(
        &off.unwrap(),
        &["warning: node-b: ", "set env daemonset/barelb-agent LB_FAILOVER_PROFILE=default`"],
    );
    let address = site.machines[1].addresses()[0];
    // No kubelet says that it has ended.
    let pod =
        ["delete", "pod", "barelb-agent-node-b", "--namespace", NAMESPACE, "--force", "--grace-period=0"];
    site.plane.kubectl(&pod).unwrap();
    site.plane.add_agent_pod("node-b", address, Some(8080)).unwrap();
    let (_, error, code) = peers(site, &[]);
    assert_eq!(code, Some(1));
    advice(&error, &["warning: node-b: ", "another version than this command"]);

    let (_, error, code) = peers(site, &["--context", "nowhere"]);
    assert_eq!(code, Some(1));
    advice(&error, &["the context nowhere can't be used: `kubectl config get-contexts`"]);
    let (_, error, code) = status(site, user.kubeconfig(), &["--peers", "-n", "default"]);
    assert_eq!(code, Some(2));
    advice(&error, &["'--peers' cannot be used with '--namespace"]);
    site.plane.kill(Component::ApiServer).unwrap();
    let (_, error, code) = peers(site, &[]);
    assert_eq!(code, Some(1));
    advice(&error, &["can't be reached", "`kubectl get --raw /readyz`"]);
}

#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_a_link_that_is_cut_between_two_nodes_is_told_once_and_addresses_stay() {
    let site = site();
    site.add_agent_pods().unwrap();
    let well = all_up(&["node-a", "node-b", "node-c"]);
    becomes(&site, &well);
    let owner = site.owner().unwrap();
    let probe = site.probe(200).unwrap();
    // One that does not own is no test of what moves.
    let pair = [owner, usize::from(owner == 0)];
    let [ours, theirs] = pair.map(|node| site.machines[node].name.as_str());
    let cut = |is_cut| {
        for node in pair {
            site.machines[node].cable.b.isolate(is_cut).unwrap();
        }
    };
    cut(true);
    let mut expected = well.clone();
    for [node, peer, status] in &mut expected {
        let parted = [ours, theirs];
        if parted.contains(&node.as_str()) && parted.contains(&peer.as_str()) {
            "relayed".clone_into(status);
        }
    }
    becomes(&site, &expected);
    for (node, peer) in [(ours, theirs), (theirs, ours)] {
        let note = site.plane.event("Node", node, "LinkCut").unwrap();
        let expected =
            format!("nothing gets through on eth0 from node {node} to node {peer} and back, though ");
        assert!(note.starts_with(&expected), "{note}");
    }
    let pages = site.agents[owner].as_ref().unwrap().metrics();
    assert_eq!(pages.count("barelb_peer_sessions{status=\"relayed\"}").unwrap(), 1);
    thread::sleep(Duration::from_secs(15));
    cut(false);
    becomes(&site, &well);
    for (node, peer) in [(ours, theirs), (theirs, ours)] {
        let note = site.plane.event("Node", node, "LinkWhole").unwrap();
        let expected = format!("node {node} and node {peer} hear each other directly on eth0 again");
        assert!(note.starts_with(&expected), "{note}");
    }
    let report = probe.stop().unwrap();
    // The third node is the only one that can say who is there. While its agent is not scheduled it can't.
    let (all, most) = (report.by_mac.values().sum::<usize>(), report.by_mac.values().max().unwrap());
    assert!((all - most) * 50 <= all, "{}\n{}", report.summary(), site.logs());
    assert_eq!(site.owner().unwrap(), owner);

    let events = site.plane.events().unwrap();
    let told: Vec<_> = events.iter().filter(|event| event["reason"] == "LinkCut").collect();
    assert_eq!(told.len(), 2, "once by each: {told:#?}");
    assert!(
        told.iter().all(|event| event["type"] == "Warning" && event["metadata"]["namespace"] == "default")
    );
    let over: Vec<_> = events.iter().filter(|event| event["reason"] == "LinkWhole").collect();
    assert_eq!(over.len(), 2, "once by each: {over:#?}");
    assert!(
        over.iter().all(|event| event["type"] == "Normal" && event["metadata"]["namespace"] == "default")
    );
    let described = site.plane.kubectl(&["describe", "node", ours]).unwrap();
    assert!(described.contains("LinkCut"), "{described}");
}
