use serde_json::{Value, json};

use super::*;
use crate::source::kubernetes::fixture::{list, put};

/// Lists everything once: these Services, pools and v0.9 documents, and one node.
fn cluster(services: &[Value], pools: &[Value], maps: &[Value]) -> Cluster {
    let mut cluster = Cluster::default();
    let node = json!({
        "metadata": {"name": "node-a"},
        "status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.3"}]},
    });
    list(&mut cluster, Kind::Service, services);
    list(&mut cluster, Kind::Node, &[node]);
    let namespace = json!({"metadata": {"name": "default"}});
    list(&mut cluster, Kind::Namespace, &[namespace]);
    list(&mut cluster, Kind::Pool, pools);
    list(&mut cluster, Kind::Advertisement, &[]);
    list(&mut cluster, Kind::ConfigMap, maps);
    assert_eq!(waits_for(&cluster), []);
    cluster.dress();
    cluster
}

fn service(name: &str, version: u32, ips: &[&str]) -> Value {
    let ingress: Vec<Value> = ips.iter().map(|ip| json!({"ip": ip, "ipMode": "VIP"})).collect();
    json!({
        "metadata": {
            "namespace": "default", "name": name, "uid": name, "resourceVersion": version.to_string(),
        },
        "spec": {
            "type": "LoadBalancer", "clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"],
            "ipFamilies": ["IPv4"], "ports": [{"port": 80}],
        },
        "status": {"loadBalancer": {"ingress": ingress}},
    })
}

fn pool(name: &str, version: u32, addresses: &[&str]) -> Value {
    json!({
        "metadata": {
            "namespace": "metallb-system", "name": name, "uid": name, "resourceVersion": version.to_string(),
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": {"addresses": addresses},
    })
}

fn put_pool(cluster: &mut Cluster, object: Value) {
    put(cluster, Kind::Pool, object);
    cluster.dress();
}

fn put_service(cluster: &mut Cluster, object: Value) {
    put(cluster, Kind::Service, object);
    cluster.dress();
}

fn held(decided: &Decided) -> Vec<String> {
    let all = decided.decisions.iter();
    all.map(|(key, decision)| {
        let held = decision.allocation.as_ref().map(|held| held.addresses.to_string());
        format!("{} {}", key.name(), held.unwrap_or_else(|| "-".to_owned()))
    })
    .collect()
}

#[test]
fn addresses_in_statuses_come_before_those_who_have_none() {
    let services = [service("a", 1, &[]), service("b", 1, &["192.0.2.0"]), service("c", 1, &["192.0.2.1"])];
    let cluster = cluster(&services, &[pool("p", 1, &["192.0.2.0/30"])], &[]);
    let decided = Decider::default().decide(&cluster, None);
    // 192.0.2.3 is the node's.
    assert_eq!(held(&decided), ["a 192.0.2.2", "b 192.0.2.0", "c 192.0.2.1"]);
    let usage = decided.usage.values().next().unwrap();
    assert_eq!((usage.in_use.ipv4, usage.in_use.ipv6), (3, 0));
}

#[test]
fn a_pool_that_becomes_bad_stays_as_it_was_and_is_told() {
    let mut cluster = cluster(&[service("a", 1, &[])], &[pool("p", 1, &["192.0.2.8/30"])], &[]);
    let mut decider = Decider::default();
    assert_eq!(held(&decider.decide(&cluster, None)), ["a 192.0.2.8"]);
    put_pool(&mut cluster, pool("p", 2, &["192.0.2.9-192.0.2.8"]));
    let decided = decider.decide(&cluster, None);
    assert_eq!(held(&decided), ["a 192.0.2.8"]);
    // The range, and that nothing of the pool is left.
    let [(name, problem), _] = &decided.problems[..] else { panic!("{:?}", decided.problems) };
    assert_eq!(name.to_string(), "IPAddressPool metallb-system/p");
    assert!(problem.to_string().ends_with("what it said before stays in force"), "{problem}");
    put_pool(&mut cluster, pool("p", 3, &["2001:db8::/120", "192.0.2.12/30"]));
    let decided = decider.decide(&cluster, None);
    assert_eq!((held(&decided), decided.problems), (vec!["a 192.0.2.12".to_owned()], vec![]));
}

#[test]
fn while_a_pool_was_never_good_nobody_loses_an_address_that_may_be_its() {
    let cluster = cluster(&[service("a", 1, &["192.0.2.8"])], &[pool("p", 1, &["192.0.2.9-192.0.2.8"])], &[]);
    let decided = Decider::default().decide(&cluster, None);
    let decision = decided.decisions.values().next().unwrap();
    assert_eq!(decision.awaiting.map(|ips| ips.to_string()), Some("192.0.2.8".to_owned()));
    assert_eq!(decision.allocation, None);
}

#[test]
fn the_legacy_document_gives_addresses_of_both_families() {
    let text = "address-pools:\n- name: d\n  protocol: layer2\n  addresses: [192.0.2.8/30, 'fd00::/120']\n";
    let map = json!({
        "metadata": {"namespace": "metallb-system", "name": "config", "uid": "c", "resourceVersion": "1"},
        "data": {"config": text},
    });
    let mut six = service("b", 1, &[]);
    six["spec"]["clusterIP"] = json!("fd00:10::9");
    six["spec"]["clusterIPs"] = json!(["fd00:10::9"]);
    six["spec"]["ipFamilies"] = json!(["IPv6"]);
    let cluster = cluster(&[service("a", 1, &[]), six], &[], &[map]);
    assert_eq!(held(&Decider::default().decide(&cluster, None)), ["a 192.0.2.8", "b fd00::"]);
}

#[test]
fn a_service_that_can_no_longer_be_read_keeps_what_it_has_from_others() {
    let mut cluster = cluster(&[service("b", 1, &[])], &[pool("p", 1, &["192.0.2.8/31"])], &[]);
    let mut decider = Decider::default();
    assert_eq!(held(&decider.decide(&cluster, None)), ["b 192.0.2.8"]);
    let mut broken = service("b", 2, &["192.0.2.8"]);
    broken["spec"]["externalTrafficPolicy"] = json!("Sometimes");
    put_service(&mut cluster, broken);
    put_service(&mut cluster, service("a", 1, &[]));
    for _ in 0..2 {
        assert_eq!(held(&decider.decide(&cluster, None)), ["a 192.0.2.9"]);
    }
    put_service(&mut cluster, service("b", 3, &["192.0.2.8"]));
    assert_eq!(held(&decider.decide(&cluster, None)), ["a 192.0.2.9", "b 192.0.2.8"]);
}

#[test]
fn a_service_of_another_class_leaves_what_it_had() {
    let mut cluster = cluster(&[service("a", 1, &["192.0.2.8"])], &[pool("p", 1, &["192.0.2.8/31"])], &[]);
    let mut decider = Decider::default();
    assert_eq!(held(&decider.decide(&cluster, None)), ["a 192.0.2.8"]);
    let mut other = service("a", 2, &["192.0.2.8"]);
    other["spec"]["loadBalancerClass"] = json!("example.com/other");
    put_service(&mut cluster, other.clone());
    for _ in 0..2 {
        let decided = decider.decide(&cluster, None);
        assert_eq!((decided.decisions.len(), decided.left.len()), (0, 1));
    }
    other["metadata"]["resourceVersion"] = json!("3");
    other["status"] = json!({});
    put_service(&mut cluster, other);
    assert_eq!(decider.decide(&cluster, None).left.len(), 0);
}

/// A Service can be seen before its namespace, whose labels decide which pools are open to it.
#[test]
fn nothing_is_decided_before_the_namespace_is_seen() {
    let place = |mut service: Value| {
        service["metadata"]["namespace"] = json!("new");
        service
    };
    let mut pinned = pool("pinned", 1, &["198.51.100.0/28"]);
    pinned["spec"]["serviceAllocation"] = json!({"namespaceSelectors": [{"matchLabels": {"team": "a"}}]});
    let services =
        [place(service("fresh", 1, &[])), place(service("has", 1, &["192.0.2.0"])), service("z", 1, &[])];
    let mut cluster = cluster(&services, &[pool("general", 1, &["192.0.2.0/31"]), pinned], &[]);
    let mut decider = Decider::default();
    for _ in 0..2 {
        let decided = decider.decide(&cluster, None);
        assert_eq!(held(&decided), ["z 192.0.2.1"], "what a Service of an unseen namespace has is its own");
        assert_eq!(decided.left, BTreeMap::new());
    }
    let namespace = json!({"metadata": {"name": "new", "labels": {"team": "a"}}});
    put(&mut cluster, Kind::Namespace, namespace);
    cluster.dress();
    let decided = decider.decide(&cluster, None);
    assert_eq!(held(&decided), ["z 192.0.2.1", "fresh 198.51.100.0", "has 192.0.2.0"]);
}

/// Only what may have pools makes it doubtful whether an address has none.
#[test]
fn a_bad_advertisement_keeps_nobody_waiting() {
    let mut cluster = cluster(&[service("a", 1, &["203.0.113.9"])], &[pool("p", 1, &["192.0.2.0/28"])], &[]);
    let metadata = json!({"namespace": "metallb-system", "name": "bad", "uid": "u", "resourceVersion": "1"});
    let ad = json!({"metadata": metadata, "spec": {"ipAddressPools": ["p", "p"]}});
    put(&mut cluster, Kind::Advertisement, ad);
    cluster.dress();
    let decided = Decider::default().decide(&cluster, None);
    assert!(decided.problems.iter().any(|(name, _)| name.name == "bad"), "{:?}", decided.problems);
    assert_eq!(held(&decided), ["a 192.0.2.0"]);
}
