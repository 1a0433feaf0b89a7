use std::collections::BTreeSet;
use std::time::SystemTime;

use lb_core::config::Interfaces;
use serde_json::{Value, json};

use super::super::snapshot::SnapshotFile;
use super::*;
use crate::source::kubernetes::Kind;
use crate::source::kubernetes::fixture::{list, put};

fn node(name: &str) -> Value {
    json!({"metadata": {"name": name, "labels": {"rack": name}}})
}

fn lease(node: &str, second: u32, links: &str) -> Value {
    let renewed = format!("2026-01-01T00:00:{second:02}.000000Z");
    json!({
        "metadata": {"name": format!("barelb-node-{node}"), "annotations": {"barelb.io/links": links}},
        "spec": {"holderIdentity": node, "leaseDurationSeconds": 75, "renewTime": renewed},
    })
}

fn service(name: &str, more: &Value) -> Value {
    let mut service = json!({
        "metadata": {"namespace": "default", "name": name, "uid": name, "resourceVersion": "1"},
        "spec": {"type": "LoadBalancer", "clusterIPs": ["10.96.0.9"], "ports": [{"port": 80}]},
        "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.100"}, {"ip": "2001:db8::100"}]}},
    });
    for (field, value) in more.as_object().unwrap() {
        service["spec"][field] = value.clone();
    }
    service
}

fn slice(name: &str, service: &str, node: &str, ready: bool) -> Value {
    json!({
        "metadata": {
            "namespace": "default", "name": name, "labels": {"kubernetes.io/service-name": service},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.0.0.1"], "nodeName": node, "conditions": {"ready": ready}}],
    })
}

fn cluster(services: &[Value], slices: &[Value], leases: &[Value]) -> Cluster {
    let mut cluster = Cluster::default();
    let pool = json!({
        "metadata": {"namespace": "metallb-system", "name": "p", "uid": "p", "resourceVersion": "1"},
        "spec": {"addresses": ["192.0.2.96/28", "2001:db8::100/124"]},
    });
    list(&mut cluster, Kind::Service, services);
    list(&mut cluster, Kind::Node, &[node("a"), node("b")]);
    list(&mut cluster, Kind::EndpointSlice, slices);
    list(&mut cluster, Kind::Lease, leases);
    list(&mut cluster, Kind::Pool, &[pool]);
    list(&mut cluster, Kind::Advertisement, &[]);
    list(&mut cluster, Kind::ConfigMap, &[]);
    assert_eq!(cluster.missing(&Kind::OF_AGENT), []);
    cluster
}

/// The agent of node `b`, whose Lease has been seen.
fn decider() -> Decider {
    Decider::new(
        NodeName::new("b").unwrap(),
        "b".to_owned(),
        Duration::from_secs(75),
        ClusterRules::default(),
    )
}

fn decide(decider: &mut Decider, cluster: &Cluster, now: Duration) -> Decided {
    decider.decide(cluster, now).0.unwrap()
}

#[test]
fn services_of_our_class_with_addresses_and_their_endpoints() {
    let services = [
        service("a", &json!({"externalTrafficPolicy": "Local"})),
        service("b", &json!({"loadBalancerClass": "other"})),
        service("c", &json!({"type": "NodePort"})),
        service("d", &json!({})),
    ];
    let slices = [slice("a-1", "a", "a", true), slice("a-2", "a", "b", false), slice("x", "x", "a", true)];
    let mut decider = decider();
    let decided = decide(&mut decider, &cluster(&services, &slices, &[lease("b", 0, "[]")]), Duration::ZERO);
    let found: Vec<String> = decided.services.keys().map(ToString::to_string).collect();
    assert_eq!(found, ["default/a", "default/d"]);
    let a = &decided.services[&"default/a".parse().unwrap()];
    assert_eq!(a.endpoints, Endpoints::on([NodeName::new("a").unwrap()]));
    assert_eq!(a.ingress.len(), 2);
    let none = &decided.services[&"default/d".parse().unwrap()];
    assert!(!none.endpoints.any(), "without a slice there is no endpoint");
    assert_eq!(decided.config.pools.len(), 1);
}

#[test]
fn a_node_takes_part_when_its_agent_is_there_and_says_what_its_links_can_do() {
    let links = r#"[{"name": "eth0", "fit": false}]"#;
    let mut decider = decider();
    let mut cluster = cluster(&[], &[], &[lease("a", 1, links)]);
    assert!(decider.decide(&cluster, Duration::ZERO).0.is_none(), "not before the own Lease is seen");
    put(&mut cluster, Kind::Lease, lease("b", 1, "not JSON"));
    let decided = decide(&mut decider, &cluster, Duration::ZERO);
    let [a, b] = ["a", "b"].map(|name| decided.nodes[&NodeName::new(name).unwrap()].clone());
    assert!(a.alive && !a.has_fit_link(&Interfaces::default()));
    assert!(b.alive && b.has_fit_link(&Interfaces::default()), "a report that can't be read counts as fit");
    assert_eq!(a.labels["rack"], "a");
    // b renews, a does not.
    for second in 1..=76_u32 {
        let now = Duration::from_secs(second.into());
        put(&mut cluster, Kind::Lease, lease("b", second % 60, "[]"));
        let (decided, lapsed) = decider.decide(&cluster, now);
        let alive: Vec<bool> = decided.unwrap().nodes.values().map(|node| node.alive).collect();
        assert_eq!(alive, [second <= 75, true], "{second}");
        assert_eq!(lapsed.len(), usize::from(second == 76), "{second}");
    }
}

#[test]
fn a_service_that_can_not_be_read_any_more_stays_as_it_was() {
    let mut decider = decider();
    let mut cluster =
        cluster(&[service("a", &json!({}))], &[slice("a-1", "a", "a", true)], &[lease("b", 0, "[]")]);
    let before = decide(&mut decider, &cluster, Duration::ZERO);
    let mut bad = service("a", &json!({"ports": [{"port": 80, "protocol": "ICMP"}]}));
    bad["metadata"]["resourceVersion"] = json!("2");
    put(&mut cluster, Kind::Service, bad);
    let after = decide(&mut decider, &cluster, Duration::ZERO);
    assert_eq!(after.services, before.services);
    assert_eq!((before.problems.len(), after.problems.len()), (0, 1));
}

/// The same objects as another process would read them.
fn restarted(decided: &Decided) -> Saved {
    let dir = tempfile::tempdir().unwrap();
    let file = SnapshotFile::new(dir.path(), NodeName::new("b").unwrap(), "metallb-system");
    file.save(decided, SystemTime::now()).unwrap();
    file.load().unwrap().unwrap()
}

#[test]
fn what_was_decided_is_known_after_a_restart() {
    let services = [service("a", &json!({"externalTrafficPolicy": "Local"})), service("d", &json!({}))];
    let links = r#"[{"name": "eth0", "fit": false}]"#;
    let slices = [slice("a-1", "a", "a", true), slice("d-1", "d", "b", true)];
    let cluster = cluster(&services, &slices, &[lease("a", 1, links), lease("b", 1, "[]")]);
    let before = decide(&mut decider(), &cluster, Duration::ZERO);
    assert_eq!((before.services.len(), before.config.pools.len()), (2, 1));
    let saved = restarted(&before);
    let answered = BTreeSet::from(["192.0.2.100".parse().unwrap()]);
    let after = saved.decided(answered.clone());
    assert_eq!((&after.config, &after.services), (&before.config, &before.services));
    assert_eq!((&after.nodes, &after.uids), (&before.nodes, &before.uids));
    assert_eq!(after.only.as_deref(), Some(&answered), "nothing is begun by it");
}

#[test]
fn after_a_restart_too_what_is_wrong_stays_as_it_was() {
    let mut cluster =
        cluster(&[service("a", &json!({}))], &[slice("a-1", "a", "a", true)], &[lease("b", 0, "[]")]);
    let before = decide(&mut decider(), &cluster, Duration::ZERO);
    let mut bad = service("a", &json!({"ports": [{"port": 80, "protocol": "ICMP"}]}));
    bad["metadata"]["resourceVersion"] = json!("2");
    put(&mut cluster, Kind::Service, bad);
    let pool = json!({
        "metadata": {"namespace": "metallb-system", "name": "p", "uid": "p", "resourceVersion": "2"},
        "spec": {"addresses": ["192.0.2.300"]},
    });
    put(&mut cluster, Kind::Pool, pool);
    let without = decide(&mut decider(), &cluster, Duration::ZERO);
    assert!(without.services.is_empty() && without.config.pools.is_empty());
    let mut decider = decider();
    decider.remember(&restarted(&before));
    let after = decide(&mut decider, &cluster, Duration::ZERO);
    assert_eq!((&after.services, &after.config), (&before.services, &before.config));
    assert_eq!(after.uids, before.uids);
    assert_eq!(after.problems.len(), 3, "{:?}", after.problems);
    // What is not there any more is forgotten.
    list(&mut cluster, Kind::Pool, &[]);
    list(&mut cluster, Kind::Service, &[]);
    let gone = decide(&mut decider, &cluster, Duration::ZERO);
    assert!(gone.services.is_empty() && gone.config.pools.is_empty());
}

#[test]
fn all_addresses_of_a_service_that_metallb_announces_are_left_to_it() {
    let cluster = cluster(
        &[service("a", &json!({})), service("b", &json!({"type": "NodePort"}))],
        &[slice("a-1", "a", "a", true)],
        &[lease("b", 0, "[]")],
    );
    let mut decider = decider();
    let before = decide(&mut decider, &cluster, Duration::ZERO);
    let node = NodeName::new("a").unwrap();
    let rivals = Rivals::from([
        ("default/a".parse().unwrap(), node.clone()),
        ("default/gone".parse().unwrap(), node.clone()),
    ]);
    assert!(decider.see_rivals(rivals.clone()) && !decider.see_rivals(rivals));
    let after = decide(&mut decider, &cluster, Duration::ZERO);
    let addresses = ["192.0.2.100", "2001:db8::100"].map(|ip| (ip.parse().unwrap(), node.clone()));
    assert_eq!(*after.rivals, BTreeMap::from(addresses));
    assert!(!after.is_like(&before) && after.is_like(&after.clone()));
}
