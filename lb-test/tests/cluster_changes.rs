//! L5: what users change in a running cluster, and who answers then: nodes, pools, advertisements, policies, shared
//! addresses. Needs root and the testbed.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::{IpAddr, SocketAddr};
use std::thread;
use std::time::Duration;

use lb_test::client::{ProbeClient, Report};
use lb_test::cluster::services::{advertisement, pool, service};
use lb_test::cluster::{Controller, Site, SiteOptions};
use lb_test::lab::web::{WebServer, fetch_at};
use serde_json::{Value, json};

const VIPS: [&str; 2] = ["192.0.2.100", "2001:db8::100"];
const EXCLUDED: &str = "node.kubernetes.io/exclude-from-external-load-balancers";
/// Two nodes learn of a change at the same time and act on it each for itself: within milliseconds, unless the machine
/// has other work.
const CONTESTED: Duration = Duration::from_secs(2);

fn three_nodes() -> Site {
    Site::start_with(SiteOptions { nodes: 3, ..SiteOptions::default() }).unwrap()
}

fn pause(seconds: u64) {
    thread::sleep(Duration::from_secs(seconds));
}

/// Ends a probe during which the addresses moved once.
fn moved(site: &Site, probe: ProbeClient, from: usize, to: usize) {
    let report = probe.stop().unwrap();
    let [old, new] = [from, to].map(|index| site.machines[index].cable.a.mac());
    let contested = report.contested(old, new).unwrap();
    assert!(contested < CONTESTED, "{contested:?}: {}", report.summary());
    assert_eq!(report.by_mac.len(), 2, "{}", report.summary());
    assert!(report.longest_gap < Duration::from_secs(2), "{}", report.summary());
}

/// Nobody noticed anything.
fn undisturbed(report: &Report) {
    report.assert_complete().unwrap();
    assert_eq!(report.by_mac.len(), 1, "{}", report.summary());
}

#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_a_deleted_node_owns_nothing_though_its_agent_lives() {
    let mut site = three_nodes();
    let owner = site.owner().unwrap();
    let probe = site.probe(500).unwrap();
    site.plane.kubectl(&["delete", "node", &site.machines[owner].name]).unwrap();
    pause(8);
    let next = site.owner().unwrap();
    assert_ne!(next, owner);
    moved(&site, probe, owner, next);
    assert!(site.agent(owner).unwrap().process().is_running());
    site.is_said_to_be_of(Some(next)).unwrap();
    site.serves(&[next]).unwrap();
    // Each of the three sees it like that.
    let [node, name] = [owner, next].map(|index| site.machines[index].name.as_str());
    for (index, machine) in site.machines.iter().enumerate() {
        let report: Value = serde_json::from_str(&machine.inspect(&["-o", "json"]).unwrap()).unwrap();
        let agent = &report["agent"];
        let expected = if index == next {
            "answered by this node".to_owned()
        } else if index == owner {
            assert!(agent["problems"].to_string().contains(&format!("none is named {node}")), "{agent}");
            "not answered here: no L2Advertisement for the Service selects this node".to_owned()
        } else {
            format!("answered by {name}; this node is number 1 in line")
        };
        for vip in VIPS {
            assert_eq!(agent["services"][0]["addresses"][vip], expected, "{}: {agent}", machine.name);
        }
    }

    let machine = &site.machines[owner];
    site.plane.add_nodes(&[(&machine.name, &machine.addresses())]).unwrap();
    site.is_owned_by(owner).unwrap();
    site.is_said_to_be_of(Some(owner)).unwrap();
    site.serves(&[owner]).unwrap();
}

#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_addresses_follow_their_pool() {
    let site = Site::start().unwrap();
    let (owner, first) = (site.owner().unwrap(), site.vips());
    // Larger, with the addresses that are in use at another place.
    let probe = site.probe(500).unwrap();
    let larger = ["192.0.2.90-192.0.2.119", "2001:db8::90-2001:db8::119"];
    site.plane.apply_all(&[pool("first-pool", &larger)]).unwrap();
    pause(3);
    undisturbed(&probe.stop().unwrap());

    // Another range: a Service is moved there, and its former addresses are nobody's.
    let elsewhere = ["192.0.2.110-192.0.2.119", "2001:db8::110-2001:db8::119"];
    site.plane.apply_all(&[pool("first-pool", &elsewhere)]).unwrap();
    site.plane.becomes(&site.controller, "web", &["192.0.2.110", "2001:db8::110"]).unwrap();
    let second: [IpAddr; 2] = ["192.0.2.110", "2001:db8::110"].map(|ip| ip.parse().unwrap());
    let next = site.owner_of(&second).unwrap();
    site.is_silent_for(&first).unwrap();
    site.is_said_to_be_of(Some(next)).unwrap();
    for vip in second {
        let page = fetch_at(site.client.a.namespace(), SocketAddr::from((vip, 80))).unwrap();
        assert!(page.starts_with(&site.machines[next].name), "{page}");
    }

    // None: it has no address, and nobody answers.
    site.plane.kubectl(&["delete", "ipaddresspool", "first-pool", "--namespace", "metallb-system"]).unwrap();
    site.plane.becomes(&site.controller, "web", &[]).unwrap();
    site.is_silent_for(&second).unwrap();
    site.is_said_to_be_of(None).unwrap();

    // One of another name.
    let again = ["192.0.2.100-192.0.2.109", "2001:db8::100-2001:db8::109"];
    site.plane.apply_all(&[pool("second-pool", &again)]).unwrap();
    site.plane.becomes(&site.controller, "web", &VIPS).unwrap();
    site.is_owned_by(owner).unwrap();
    site.serves(&[owner]).unwrap();
}

#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_two_services_share_their_addresses_and_move_as_one() {
    let site = Site::start().unwrap();
    let shops: Vec<WebServer> = site
        .machines
        .iter()
        .map(|one| WebServer::start(one.cable.a.namespace(), &format!("shop on {}", one.name), 8081).unwrap())
        .collect();
    let mut web = site.web(&json!({"externalTrafficPolicy": "Cluster"}));
    web["metadata"]["annotations"] = json!({"metallb.io/allow-shared-ip": "front"});
    let wish = json!({"metallb.io/allow-shared-ip": "front", "metallb.io/loadBalancerIPs": VIPS.join(",")});
    let shop =
        service("shop", &wish, &json!({"ipFamilyPolicy": "RequireDualStack", "ports": [{"port": 81}]}));
    site.plane.apply_all(&[&[web, shop], &site.slices("shop", 8081, &[0, 1])[..]].concat()).unwrap();
    site.plane.becomes(&site.controller, "shop", &VIPS).unwrap();
    site.plane.becomes(&site.controller, "web", &VIPS).unwrap();

    let both_are_of = |owner: usize| {
        assert_eq!(site.owner().unwrap(), owner);
        for name in ["web", "shop"] {
            site.service_is_said_to_be_of(name, Some(owner)).unwrap();
        }
        for (vip, (port, begin)) in
            site.vips().into_iter().flat_map(|vip| [(vip, (80, "node-")), (vip, (81, "shop on node-"))])
        {
            let page = site.plane.wait_for(Controller::PATIENCE, "no page", |_| {
                Ok(Some(fetch_at(site.client.a.namespace(), SocketAddr::from((vip, port)))?))
            });
            let page = page.unwrap();
            assert!(page.starts_with(begin), "{vip} {port}: {page}");
        }
    };
    let owner = site.owner().unwrap();
    both_are_of(owner);

    let probe = site.probe(500).unwrap();
    let label = format!("{EXCLUDED}=true");
    site.plane.kubectl(&["label", "node", &site.machines[owner].name, &label]).unwrap();
    site.is_owned_by(1 - owner).unwrap();
    moved(&site, probe, owner, 1 - owner);
    both_are_of(1 - owner);

    // What one leaves the other still has.
    let probe = site.probe(500).unwrap();
    site.plane.kubectl(&["delete", "service", "web"]).unwrap();
    site.is_said_to_be_of(None).unwrap();
    pause(2);
    undisturbed(&probe.stop().unwrap());
    site.plane.kubectl(&["delete", "service", "shop"]).unwrap();
    site.is_silent_for(&site.vips()).unwrap();
    drop(shops);
}

#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_the_policy_local_keeps_the_clients_address_and_cluster_serves_from_anywhere() {
    let site = Site::start().unwrap();
    let owner = site.owner().unwrap();
    let other = 1 - owner;
    site.plane.apply_all(&[site.web(&json!({"externalTrafficPolicy": "Cluster"}))]).unwrap();
    let probe = site.probe(500).unwrap();
    site.place_endpoints(&[other]).unwrap();
    // The owner has no endpoint and passes on what comes; it asks in its own name, so that the answer finds back.
    for (vip, family) in site.vips().into_iter().zip(0..) {
        let asked_by = site.machines[owner].addresses()[family];
        let expected = format!("to {asked_by}");
        let page = site.plane.wait_for(Controller::PATIENCE, "no page", |_| {
            let page = fetch_at(site.client.a.namespace(), SocketAddr::from((vip, 80)))?;
            anyhow::ensure!(page.starts_with(&site.machines[other].name), "{page}");
            Ok(Some(page))
        });
        let page = page.unwrap();
        assert!(page.ends_with(&expected), "{page}");
    }
    undisturbed(&probe.stop().unwrap());

    let probe = site.probe(500).unwrap();
    site.plane.apply_all(&[site.web(&json!({}))]).unwrap();
    site.is_owned_by(other).unwrap();
    moved(&site, probe, owner, other);
    site.serves(&[other]).unwrap();
}

#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_an_advertisement_limits_the_election_to_its_nodes_and_interfaces() {
    let site = three_nodes();
    let owner = site.owner().unwrap();
    let limit = |spec| site.plane.apply_all(&[advertisement("all", spec)]).unwrap();
    let named = |names: &[&str]| {
        let expression = json!({"key": "kubernetes.io/hostname", "operator": "In", "values": names});
        json!({"nodeSelectors": [{"matchExpressions": [expression]}]})
    };
    // One of the two others, each in turn, by a change that every agent learns at once.
    for next in (0..3).filter(|index| *index != owner) {
        let from = site.owner().unwrap();
        let probe = site.probe(500).unwrap();
        limit(named(&[&site.machines[next].name]));
        site.is_owned_by(next).unwrap();
        moved(&site, probe, from, next);
        site.is_said_to_be_of(Some(next)).unwrap();
        site.serves(&[next]).unwrap();
    }
    limit(named(&["node-z"]));
    site.is_silent_for(&site.vips()).unwrap();
    site.is_said_to_be_of(None).unwrap();
    limit(json!({"interfaces": ["eth0"]}));
    site.is_owned_by(owner).unwrap();

    limit(json!({"interfaces": ["lan9"]}));
    site.is_silent_for(&site.vips()).unwrap();
    site.is_said_to_be_of(None).unwrap();
    for agent in site.agents.iter().flatten() {
        let said = site.plane.wait_for(Controller::PATIENCE, "nothing is said", |_| {
            Ok(agent.log().contains("this node has no interface lan9").then_some(()))
        });
        said.unwrap();
    }
    limit(json!({"interfaces": ["lan9", "eth0"]}));
    site.is_owned_by(owner).unwrap();
    site.serves(&[owner]).unwrap();
}
