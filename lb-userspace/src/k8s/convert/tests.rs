use serde_json::{Value, from_value, json};

use super::*;

#[test]
fn a_service_with_everything() {
    let object = from_value(json!({
        "metadata": {"name": "web", "namespace": "apps", "labels": {"a": "b"}, "annotations": {"metallb.io/allow-shared-ip": "k"}},
        "spec": {
            "type": "LoadBalancer", "loadBalancerClass": "example.com/x", "loadBalancerIP": "192.0.2.1",
            "clusterIPs": ["10.0.0.1", "fd00::1"], "ipFamilies": ["IPv6", "IPv4"], "ipFamilyPolicy": "PreferDualStack",
            "externalTrafficPolicy": "Local", "selector": {"app": "web"},
            "ports": [{"port": 53, "protocol": "UDP"}, {"port": 80}],
        },
        "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}, {"hostname": "x"}, {"ip": "2001:db8::1"}]}},
    }))
    .unwrap();
    let (key, spec) = service(object).unwrap();
    assert_eq!(key.to_string(), "apps/web");
    assert_eq!(spec.service_type, ServiceType::LoadBalancer);
    assert_eq!(spec.sharing_key(), Some("k"));
    assert_eq!(spec.ip_families, [Family::Ipv6, Family::Ipv4]);
    assert_eq!(spec.cluster_ips, ["10.0.0.1", "fd00::1"]);
    let ports: Vec<String> = spec.ports.iter().map(ToString::to_string).collect();
    assert_eq!(ports, ["TCP/80", "UDP/53"]);
    assert_eq!(spec.ingress, ["192.0.2.1", "2001:db8::1"]);
}

#[test]
fn what_an_api_server_would_refuse() {
    let refused = |spec: Value| {
        let object = from_value(json!({"metadata": {"name": "web"}, "spec": spec})).unwrap();
        let FieldError { field, error } = service(object).unwrap_err();
        format!("{field}: {error}")
    };
    assert_eq!(refused(json!({"ports": [{"port": 0}]})), "spec.ports[0].port: port 0 is outside 1-65535");
    assert_eq!(
        refused(json!({"ports": [{"port": 65536}]})),
        "spec.ports[0].port: port 65536 is outside 1-65535"
    );
    assert_eq!(
        refused(json!({"ports": [{"port": 1, "protocol": "tcp"}]})),
        "spec.ports[0].protocol: \"tcp\" is not permitted there: expected TCP, UDP or SCTP"
    );
    assert_eq!(
        refused(json!({"ipFamilies": ["IPv5"]})),
        "spec.ipFamilies[0]: \"IPv5\" is not permitted there: expected IPv4 or IPv6"
    );
    let unnamed = service(from_value(json!({"metadata": {"name": "../x"}})).unwrap()).unwrap_err();
    assert_eq!(unnamed.field, "metadata.name");
}

#[test]
fn pools_and_advertisements_with_every_field() {
    let selector = json!({"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "k", "operator": "In", "values": ["v"]}]});
    let object = from_value(json!({
        "metadata": {"name": "p", "labels": {"zone": "z"}},
        "spec": {
            "addresses": ["192.0.2.0/24"], "autoAssign": false, "avoidBuggyIPs": true,
            "serviceAllocation": {"priority": 5, "namespaces": ["n"], "namespaceSelectors": [selector], "serviceSelectors": [selector]},
        },
    }));
    let pool = pool(Place::default(), object.unwrap());
    assert!(!pool.auto_assign && pool.avoid_buggy_ips);
    let rule = pool.service_allocation.unwrap();
    assert_eq!((rule.priority, rule.namespaces.len(), rule.namespace_selectors.len()), (5, 1, 1));
    assert_eq!(rule.service_selectors[0].match_expressions[0].values, ["v"]);

    let object = from_value(json!({
        "metadata": {"name": "a", "annotations": {
            "barelb.io/vlan": "100.42", "barelb.io/interface-regex": "eth.*",
        }},
        "spec": {
            "ipAddressPools": ["p"], "ipAddressPoolSelectors": [selector], "nodeSelectors": [selector],
            "interfaces": ["eth0"], "serviceSelectors": [selector],
            "preferredNodeSelectors": [{"weight": 3, "preference": selector}],
        },
    }));
    let ad = advertisement(Place::default(), object.unwrap());
    assert_eq!(
        (ad.vlan.as_deref(), ad.interfaces.len(), ad.preferred_node_selectors[0].weight),
        (Some("100.42"), 1, 3)
    );
    assert_eq!(ad.interface_regex.as_deref(), Some("eth.*"));
    assert_eq!((ad.pool_selectors.len(), ad.node_selectors.len(), ad.service_selectors.len()), (1, 1, 1));
}

#[test]
fn defaults_are_those_of_metallb() {
    let object = from_value(json!({"metadata": {"name": "p"}, "spec": {"addresses": []}})).unwrap();
    let pool = pool(Place::default(), object);
    assert_eq!(pool, RawPool { name: "p".to_owned(), ..RawPool::default() });
    let object = from_value(json!({"metadata": {"name": "a"}})).unwrap();
    let expected = RawAdvertisement { name: "a".to_owned(), ..RawAdvertisement::default() };
    assert_eq!(advertisement(Place::default(), object), expected);
}

#[test]
fn slices_belong_to_services() {
    let slice = |labels: Value| {
        from_value(json!({
            "metadata": {"name": "s", "namespace": "n", "labels": labels}, "addressType": "IPv6",
            "endpoints": [{"addresses": ["fd00::1"], "nodeName": "a", "conditions": {"ready": false, "serving": true}}],
        }))
        .unwrap()
    };
    let (key, endpoints) = endpoint_slice(slice(json!({"kubernetes.io/service-name": "web"}))).unwrap();
    assert_eq!(key.to_string(), "n/web");
    assert!(endpoints[0].can_serve());
    assert_eq!(endpoint_slice(slice(json!({}))).unwrap_err().error, ConvertError::NoServiceName);
}

#[test]
fn a_node_says_why_it_leaves() {
    let node = |annotations: Value, unschedulable: bool, status: &str, message: &str| {
        let node = json!({
            "metadata": {"name": "n", "annotations": annotations},
            "spec": {"unschedulable": unschedulable},
            "status": {"conditions": [{"type": "Ready", "status": status, "message": message}]},
        });
        super::node(from_value(node).unwrap()).unwrap().1.leaving
    };
    let (drain, down) = (json!({"barelb.io/drain": ""}), "kubelet: node is shutting down");
    assert_eq!(node(json!({}), false, "True", down), None);
    assert_eq!(node(json!({}), false, "False", "kubelet stopped posting node status."), None);
    assert_eq!(node(json!({}), true, "True", ""), Some(Leaving::Cordoned));
    assert_eq!(node(drain.clone(), true, "True", ""), Some(Leaving::Drained));
    assert_eq!(node(drain, true, "False", down), Some(Leaving::ShuttingDown));
}
