use serde_json::{Value, json};

use super::*;
use crate::source::kubernetes::fixture::list;

/// A cluster of both families, IPv6 first, with these Services.
fn cluster(services: &[Value]) -> Cluster {
    let mut cluster = Cluster::default();
    let api = json!({"metadata": {"name": "kubernetes"}, "spec": {"clusterIPs": ["fd00::1", "10.96.0.1"]}});
    list(&mut cluster, Kind::Service, &[&[api], services].concat());
    list(&mut cluster, Kind::Namespace, &[json!({"metadata": {"name": "default", "labels": {"a": "b"}}})]);
    let status = json!({"addresses": [{"type": "InternalIP", "address": "192.0.2.11"}]});
    let node = json!({"metadata": {"name": "node-a", "labels": {"zone": "x"}}, "status": status});
    list(&mut cluster, Kind::Node, &[node]);
    for kind in [Kind::EndpointSlice, Kind::Lease, Kind::Pool, Kind::Advertisement, Kind::ConfigMap] {
        list(&mut cluster, kind, &[]);
    }
    cluster
}

fn service(spec: &Value, ips: &[&str]) -> Value {
    let ingress: Vec<Value> = ips.iter().map(|ip| json!({"ip": ip})).collect();
    let mut service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "web", "annotations": {FROM_POOL: "p"}},
        "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]},
        "status": {"loadBalancer": {"ingress": ingress}},
    });
    for (field, value) in spec.as_object().unwrap() {
        service["spec"][field] = value.clone();
    }
    service
}

const FROM_POOL: &str = crate::controller::outcome::FROM_POOL;

fn manifests(objects: &[Value]) -> Manifests {
    let text: Vec<String> = objects.iter().map(|object| format!("---\n{object}\n")).collect();
    let reading = reading("new.yaml".to_owned(), text.concat().as_bytes(), &Settings::default());
    Manifests { readings: vec![reading], are_state: false }
}

fn web() -> ServiceKey {
    ServiceKey::new("default", "web").unwrap()
}

#[test]
fn a_service_keeps_what_the_api_server_gave_it() {
    let held = ["2001:db8::100", "192.0.2.100"];
    let there =
        service(&json!({"clusterIPs": ["fd00::9", "10.96.0.9"], "ipFamilyPolicy": "PreferDualStack"}), &held);
    let mut cluster = cluster(&[there]);
    let mut new = service(&json!({"externalTrafficPolicy": "Local"}), &["192.0.2.7"]);
    new["metadata"]["annotations"] = json!({"metallb.io/allow-shared-ip": "k"});
    assert_eq!(manifests(&[new]).apply(&mut cluster), BTreeSet::new(), "its endpoints are known");
    let seen = &cluster.services()[&web()];
    assert_eq!(seen.spec.ingress, held);
    assert_eq!(seen.ingress.len(), 2);
    assert_eq!(seen.spec.cluster_ips, ["fd00::9", "10.96.0.9"]);
    assert_eq!(seen.spec.ip_family_policy, lb_core::request::FamilyPolicy::PreferDualStack);
    assert_eq!(seen.spec.external_traffic_policy, lb_core::sharing::TrafficPolicy::Local);
    let names: Vec<&str> = seen.spec.annotations.keys().map(String::as_str).collect();
    assert_eq!(names, ["metallb.io/allow-shared-ip", FROM_POOL]);
}

#[test]
fn a_new_service_gets_cluster_ips_of_the_families_that_it_asks_for() {
    for (asked, expected) in [
        (json!({}), vec!["::"]),
        (json!({"ipFamilies": ["IPv4"]}), vec!["0.0.0.0"]),
        (json!({"ipFamilyPolicy": "PreferDualStack"}), vec!["::", "0.0.0.0"]),
        (json!({"ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv4"]}), vec!["0.0.0.0", "::"]),
        (json!({"clusterIPs": ["10.96.0.7"]}), vec!["10.96.0.7"]),
    ] {
        let mut cluster = cluster(&[]);
        let unknown = manifests(&[service(&asked, &["192.0.2.100"])]).apply(&mut cluster);
        assert_eq!(unknown, BTreeSet::from([web()]));
        let seen = &cluster.services()[&web()];
        assert_eq!(seen.spec.cluster_ips, expected, "{asked}");
        assert_eq!(seen.spec.ingress, Vec::<String>::new(), "nobody can write a status with the rest");
    }
}

#[test]
fn endpoints_are_known_by_slices_and_unknown_after_another_selector() {
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "web-1", "labels": {"kubernetes.io/service-name": "web"}},
        "endpoints": [{"addresses": ["10.0.0.1"], "nodeName": "node-a"}],
    });
    let mut cluster = cluster(&[]);
    let unknown = manifests(&[service(&json!({"selector": {"app": "x"}}), &[]), slice]).apply(&mut cluster);
    assert_eq!((unknown, cluster.slices().len()), (BTreeSet::new(), 1));
    let same = manifests(&[service(&json!({"selector": {"app": "x"}}), &[])]);
    assert_eq!(same.apply(&mut cluster), BTreeSet::new());
    let other = manifests(&[service(&json!({"selector": {"app": "y"}}), &[])]);
    assert_eq!(other.apply(&mut cluster), BTreeSet::from([web()]));
}

#[test]
fn nodes_and_namespaces_keep_labels_and_what_the_kubelet_says() {
    let mut cluster = cluster(&[]);
    let labels = json!({"labels": {"rack": "1", "zone": "y"}, "name": "node-a"});
    let objects = [
        json!({"apiVersion": "v1", "kind": "Node", "metadata": labels}),
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default", "labels": {"c": "d"}}}),
    ];
    manifests(&objects).apply(&mut cluster);
    let node = cluster.nodes().values().next().unwrap();
    let labels: Vec<(&str, &str)> =
        node.labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert_eq!(labels, [("rack", "1"), ("zone", "y")]);
    assert_eq!(node.addresses.len(), 1);
    assert_eq!(cluster.namespace_labels("default").unwrap().len(), 2);
}

#[test]
fn each_kind_is_deleted_by_its_name() {
    let pool = json!({
        "apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool",
        "metadata": {"name": "p", "namespace": "metallb-system"}, "spec": {"addresses": ["192.0.2.0/28"]},
    });
    let mut ad = pool.clone();
    (ad["kind"], ad["spec"]) = ("L2Advertisement".into(), json!({}));
    let config = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "config", "namespace": "metallb-system"},
        "data": {"config": ""},
    });
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-a"}});
    let all = manifests(&[pool, ad, config, node, service(&json!({}), &[])]);
    let mut cluster = cluster(&[]);
    let counts = |cluster: &Cluster| {
        [
            cluster.pools().len(),
            cluster.advertisements().len(),
            cluster.config_maps().len(),
            cluster.nodes().len(),
            cluster.services().len(),
        ]
    };
    all.apply(&mut cluster);
    assert_eq!(counts(&cluster), [1, 1, 1, 1, 2]);
    assert_eq!(all.delete(&mut cluster), Vec::<String>::new());
    assert_eq!(counts(&cluster), [0, 0, 0, 0, 1]);
    assert_eq!(all.delete(&mut cluster).len(), 5, "they are gone");
}
