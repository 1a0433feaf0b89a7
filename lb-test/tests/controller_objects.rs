//! L5: what users write on Services and pools, and what `barelb controller` makes of it on a real API server. Needs
//! root and the testbed.
//!
//! A Service that is to get nothing is applied before one that is to get something: kubectl sends one after the
//! other, so when the latter has its address, both have been decided about.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use lb_test::cluster::services::{FROM_POOL, dual, plain, pool, pool_with, service};
use lb_test::cluster::{ControlPlane, Controller};
use serde_json::{Value, json};

/// A control plane with these objects, and a controller of it.
fn started(objects: &[Value]) -> (ControlPlane, Controller) {
    let plane = ControlPlane::installed().unwrap();
    plane.apply_all(objects).unwrap();
    let controller = Controller::start(&plane, 0, &[]).unwrap();
    (plane, controller)
}

/// A Service that asks for a pool.
fn asks(name: &str, pool: &str, more: &Value) -> Value {
    service(name, &json!({"metallb.io/address-pool": pool}), more)
}

fn none() -> Value {
    json!({})
}

#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_a_shrunk_pool_moves_only_who_must_and_a_deleted_one_takes_everything() {
    let wide = pool("p", &["192.0.2.0/30", "2001:db8:1::/126"]);
    let (plane, controller) = started(&[wide.clone(), dual("a", &none()), dual("b", &none())]);
    plane.becomes(&controller, "a", &["192.0.2.0", "2001:db8:1::"]).unwrap();
    plane.becomes(&controller, "b", &["192.0.2.1", "2001:db8:1::1"]).unwrap();

    let mut log = plane.audit_from_now().unwrap();
    plane.apply_all(&[pool("p", &["192.0.2.1-192.0.2.3", "2001:db8:1::1-2001:db8:1::3"])]).unwrap();
    plane.becomes(&controller, "a", &["192.0.2.2", "2001:db8:1::2"]).unwrap();
    plane.kubectl(&["delete", "ipaddresspool", "p", "--namespace=metallb-system"]).unwrap();
    plane.becomes(&controller, "b", &[]).unwrap();
    let written = log.services_written().unwrap();
    let count = |name: &str| written.iter().filter(|one| *one == name).count();
    assert_eq!(count("b"), 1, "it kept its addresses as long as there was a pool: {written:?}");
    plane.becomes(&controller, "a", &[]).unwrap();

    plane.apply_all(&[wide]).unwrap();
    plane.becomes(&controller, "a", &["192.0.2.0", "2001:db8:1::"]).unwrap();
    plane.becomes(&controller, "b", &["192.0.2.1", "2001:db8:1::1"]).unwrap();
    // The same pool under another name, which has to wait for it: nobody moves, the annotations follow.
    plane.apply_all(&[pool("q", &["192.0.2.0/30", "2001:db8:1::/126"])]).unwrap();
    plane.kubectl(&["delete", "ipaddresspool", "p", "--namespace=metallb-system"]).unwrap();
    plane
        .wait_for(Controller::PATIENCE, "not of the new pool", |plane| {
            Ok((plane.service("b")?["metadata"]["annotations"][FROM_POOL] == "q").then_some(()))
        })
        .unwrap();
    assert_eq!(plane.addresses("b").unwrap(), ["192.0.2.1", "2001:db8:1::1"]);
}

#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_a_pool_is_given_only_to_whom_it_is_open() {
    let team = json!({"serviceAllocation": {"namespaceSelectors": [{"matchLabels": {"team": "a"}}]}});
    let (plane, controller) = started(&[
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "one"}}),
        pool_with("manual", &["192.0.2.0/30", "2001:db8:1::/126"], &json!({"autoAssign": false})),
        pool_with("team", &["198.51.100.0/30", "2001:db8:2::/126"], &team),
        pool("rest", &["203.0.113.0/30", "2001:db8:3::/126"]),
    ]);
    let within = |mut service: Value| {
        service["metadata"]["namespace"] = "one".into();
        service
    };
    let needs_both = json!({"ipFamilyPolicy": "RequireDualStack"});
    plane
        .apply_all(&[
            asks("by-pool", "manual", &needs_both),
            service("by-ip", &none(), &json!({"loadBalancerIP": "192.0.2.3"})),
            within(asks("asks", "team", &needs_both)),
            within(dual("auto", &none())),
        ])
        .unwrap();
    plane.becomes(&controller, "one/auto", &["203.0.113.0", "2001:db8:3::"]).unwrap();
    plane.apply_all(&[dual("outside", &none())]).unwrap();
    plane.becomes(&controller, "outside", &["203.0.113.1", "2001:db8:3::1"]).unwrap();
    plane.becomes(&controller, "by-pool", &["192.0.2.0", "2001:db8:1::"]).unwrap();
    plane.becomes(&controller, "by-ip", &["192.0.2.3"]).unwrap();
    plane.becomes(&controller, "one/auto", &["203.0.113.0", "2001:db8:3::"]).unwrap();
    plane.becomes(&controller, "one/asks", &[]).unwrap();

    plane.kubectl(&["label", "namespace", "one", "team=a"]).unwrap();
    plane.becomes(&controller, "one/asks", &["198.51.100.0", "2001:db8:2::"]).unwrap();
    plane.apply_all(&[within(dual("later", &none())), asks("stranger", "team", &none())]).unwrap();
    plane.becomes(&controller, "one/later", &["198.51.100.1", "2001:db8:2::1"]).unwrap();
    plane.becomes(&controller, "stranger", &[]).unwrap();
    plane.kubectl(&["label", "namespace", "one", "team-"]).unwrap();
    plane.becomes(&controller, "one/asks", &[]).unwrap();
    plane.becomes(&controller, "one/later", &["203.0.113.2", "2001:db8:3::2"]).unwrap();
    plane.becomes(&controller, "one/auto", &["203.0.113.0", "2001:db8:3::"]).unwrap();
}

#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_of_two_pools_that_overlap_the_one_in_force_goes_on() {
    let good = pool("a", &["192.0.2.0/29", "2001:db8:1::/125"]);
    let (plane, controller) = started(&[good, dual("first", &none())]);
    plane.becomes(&controller, "first", &["192.0.2.0", "2001:db8:1::"]).unwrap();
    for overlap in [["192.0.2.4/30", "2001:db8:2::/126"], ["198.51.100.0/30", "2001:db8:1::4/126"]] {
        plane.apply_all(&[pool("b", &overlap), asks("of-b", "b", &none()), plain("marker")]).unwrap();
        plane.becomes(&controller, "marker", &["192.0.2.1"]).unwrap();
        plane.becomes(&controller, "of-b", &[]).unwrap();
        plane.kubectl(&["delete", "service", "marker"]).unwrap();
    }
    plane.apply_all(&[pool("b", &["198.51.100.0/30", "2001:db8:2::/126"])]).unwrap();
    plane.becomes(&controller, "of-b", &["198.51.100.0"]).unwrap();
    // The one that is changed is refused; both go on as they were.
    plane.apply_all(&[pool("a", &["198.51.100.2/31"]), plain("marker")]).unwrap();
    plane.becomes(&controller, "marker", &["192.0.2.1"]).unwrap();
    plane.becomes(&controller, "first", &["192.0.2.0", "2001:db8:1::"]).unwrap();
    plane.becomes(&controller, "of-b", &["198.51.100.0"]).unwrap();
}

#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_services_share_addresses_by_key_and_port() {
    let (plane, controller) = started(&[pool("p", &["192.0.2.0/29", "2001:db8:1::/125"])]);
    let sharer = |name: &str, prefix: &str, key: &str, port: u16, wish: &str| {
        let mut annotations = json!({format!("{prefix}/allow-shared-ip"): key});
        if !wish.is_empty() {
            annotations["metallb.io/loadBalancerIPs"] = wish.into();
        }
        let ports = json!([{"port": port}]);
        service(name, &annotations, &json!({"ipFamilyPolicy": "RequireDualStack", "ports": ports}))
    };
    let (new, old) = ("metallb.io", "metallb.universe.tf");
    let both = ["192.0.2.5", "2001:db8:1::5"];
    let wish = both.join(",");
    plane.apply_all(&[sharer("one", new, "k", 80, &wish), sharer("two", old, "k", 443, &wish)]).unwrap();
    plane.becomes(&controller, "one", &both).unwrap();
    plane.becomes(&controller, "two", &both).unwrap();
    // The port is taken; another key; no key.
    plane
        .apply_all(&[
            sharer("port", new, "k", 443, &wish),
            sharer("key", new, "other", 8080, &wish),
            service("keyless", &json!({"metallb.io/loadBalancerIPs": "192.0.2.5"}), &none()),
            plain("marker"),
        ])
        .unwrap();
    plane.becomes(&controller, "marker", &["192.0.2.0"]).unwrap();
    for name in ["port", "key", "keyless"] {
        plane.becomes(&controller, name, &[]).unwrap();
    }
    plane.apply_all(&[sharer("port", new, "k", 444, &wish)]).unwrap();
    plane.becomes(&controller, "port", &both).unwrap();
    // One of several changes its key: it is the one that has to go, and comes back with the key.
    plane.apply_all(&[sharer("two", old, "else", 443, &wish)]).unwrap();
    plane.becomes(&controller, "two", &[]).unwrap();
    plane.becomes(&controller, "one", &both).unwrap();
    plane.apply_all(&[sharer("two", old, "k", 443, &wish)]).unwrap();
    plane.becomes(&controller, "two", &both).unwrap();
    // The only holder may change it in place, and then who has the old one is refused.
    plane.kubectl(&["delete", "service", "two", "port"]).unwrap();
    plane.apply_all(&[sharer("one", new, "other", 80, &wish)]).unwrap();
    plane.becomes(&controller, "key", &both).unwrap();
    plane.becomes(&controller, "one", &both).unwrap();
    // Without a wish the lowest address that is free or can be shared, and another one when the key changes.
    plane.apply_all(&[sharer("low", new, "k", 80, ""), sharer("lower", new, "k", 81, "")]).unwrap();
    plane.becomes(&controller, "lower", &["192.0.2.1", "2001:db8:1::"]).unwrap();
    plane.becomes(&controller, "low", &["192.0.2.1", "2001:db8:1::"]).unwrap();
    plane.apply_all(&[sharer("low", new, "j", 80, "")]).unwrap();
    plane.becomes(&controller, "low", &["192.0.2.2", "2001:db8:1::1"]).unwrap();
    plane.becomes(&controller, "lower", &["192.0.2.1", "2001:db8:1::"]).unwrap();
}

#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_each_family_policy_gets_what_the_pool_has() {
    let manual = json!({"autoAssign": false});
    let (plane, controller) = started(&[
        pool("both", &["192.0.2.0/28", "2001:db8:1::/124"]),
        pool_with("four", &["198.51.100.0/29"], &manual),
        pool_with("six", &["2001:db8:2::/125"], &manual),
    ]);
    let one = |family: &str| json!({"ipFamilyPolicy": "SingleStack", "ipFamilies": [family]});
    let policy = |policy: &str| json!({"ipFamilyPolicy": policy});
    let (prefer, require) = (policy("PreferDualStack"), policy("RequireDualStack"));
    plane
        .apply_all(&[
            service("a4", &none(), &one("IPv4")),
            service("b6", &none(), &one("IPv6")),
            service("c-prefer", &none(), &prefer),
            service("d-require", &none(), &require),
            asks("e4", "four", &one("IPv4")),
            asks("e6", "four", &one("IPv6")),
            asks("e-require", "four", &require),
            asks("e-prefer", "four", &prefer),
            asks("f4", "six", &one("IPv4")),
            asks("f6", "six", &one("IPv6")),
            asks("f-require", "six", &require),
            asks("f-prefer", "six", &prefer),
        ])
        .unwrap();
    let expected: [(&str, &[&str]); 12] = [
        ("f-prefer", &["2001:db8:2::1"]),
        ("f-require", &[]),
        ("f6", &["2001:db8:2::"]),
        ("f4", &[]),
        ("a4", &["192.0.2.0"]),
        ("b6", &["2001:db8:1::"]),
        ("c-prefer", &["192.0.2.1", "2001:db8:1::1"]),
        ("d-require", &["192.0.2.2", "2001:db8:1::2"]),
        ("e-prefer", &["198.51.100.1"]),
        ("e-require", &[]),
        ("e4", &["198.51.100.0"]),
        ("e6", &[]),
    ];
    for (name, addresses) in expected {
        plane.becomes(&controller, name, addresses).unwrap();
    }

    // The pool gets the family that is missing.
    plane.apply_all(&[pool_with("four", &["198.51.100.0/29", "2001:db8:3::/125"], &manual)]).unwrap();
    plane.becomes(&controller, "e-require", &["198.51.100.2", "2001:db8:3::1"]).unwrap();
    plane.becomes(&controller, "e-prefer", &["198.51.100.1", "2001:db8:3::"]).unwrap();
    // A Service wants one more, or one less.
    let patch = |name: &str, spec: &Value| {
        let patch = json!({"spec": spec}).to_string();
        plane.kubectl(&["patch", "service", name, "--patch", &patch]).unwrap();
    };
    patch("a4", &prefer);
    plane.becomes(&controller, "a4", &["192.0.2.0", "2001:db8:1::3"]).unwrap();
    patch("d-require", &policy("SingleStack"));
    plane.becomes(&controller, "d-require", &["192.0.2.2"]).unwrap();
}

#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_services_of_another_class_are_not_touched() {
    let of_class = |name: &str, class: &str| {
        service(name, &none(), &json!({"loadBalancerClass": class, "ipFamilyPolicy": "RequireDualStack"}))
    };
    let plane = ControlPlane::installed().unwrap();
    let (ours, other) = ("barelb.io/a", "example.com/b");
    plane
        .apply_all(&[
            pool("p", &["192.0.2.0/29", "2001:db8:1::/125"]),
            of_class("other", other),
            of_class("ours", ours),
        ])
        .unwrap();
    // What another controller has written: our addresses, a name, foreign addresses, our annotation.
    let ingress = json!([{"ip": "192.0.2.0"}, {"hostname": "b.example.com"}, {"ip": "2001:db8:ffff::1"}]);
    let condition = json!({"type": "example.com/Ready", "status": "True", "reason": "R", "message": "",
        "lastTransitionTime": "2024-01-01T00:00:00Z"});
    let status = json!({"loadBalancer": {"ingress": ingress}, "conditions": [condition]});
    plane.patch_status(&["service", "other"], &status).unwrap();
    plane.kubectl(&["annotate", "service", "other", &format!("{FROM_POOL}=p")]).unwrap();
    let before = plane.service("other").unwrap();
    let mut log = plane.audit_from_now().unwrap();

    let controller = Controller::start(&plane, 0, &[]).unwrap();
    plane.apply_all(&[dual("plain", &none())]).unwrap();
    plane.becomes(&controller, "plain", &["192.0.2.0", "2001:db8:1::"]).unwrap();
    plane.becomes(&controller, "ours", &[]).unwrap();
    controller.stop().unwrap();
    let plain = plane.service("plain").unwrap();
    assert_eq!(log.services_written().unwrap(), ["plain"]);

    // A controller for a class leaves alone those without one, and pools are all it shares with others.
    let controller = Controller::start(&plane, 0, &["--lb-class", ours]).unwrap();
    plane.becomes(&controller, "ours", &["192.0.2.0", "2001:db8:1::"]).unwrap();
    plane.apply_all(&[of_class("more", ours)]).unwrap();
    plane.becomes(&controller, "more", &["192.0.2.1", "2001:db8:1::1"]).unwrap();
    assert_eq!(log.services_written().unwrap(), ["ours", "more"]);
    assert_eq!(plane.service("other").unwrap(), before, "all of it, with its resourceVersion");
    assert_eq!(plane.service("plain").unwrap(), plain);
}

#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_wishes_are_read_under_both_prefixes_and_from_the_field() {
    let manual = json!({"autoAssign": false});
    let (plane, controller) = started(&[
        pool("auto", &["192.0.2.0/28", "2001:db8:1::/124"]),
        pool_with("x", &["198.51.100.0/28", "2001:db8:2::/124"], &manual),
        pool_with("y", &["203.0.113.0/28", "2001:db8:3::/124"], &manual),
    ]);
    let (new, old) = ("metallb.io", "metallb.universe.tf");
    let pool_of = |prefix: &str| format!("{prefix}/address-pool");
    let ips = |prefix: &str| format!("{prefix}/loadBalancerIPs");
    let field = |ip: &str| json!({"loadBalancerIP": ip});
    let six = |more: Value| {
        let mut spec = json!({"ipFamilies": ["IPv6"]});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        spec
    };
    let cases: [(&str, Value, Value, &[&str]); 13] = [
        ("pool-new", json!({pool_of(new): "x"}), none(), &["198.51.100.0"]),
        ("pool-new6", json!({pool_of(new): "x"}), six(none()), &["2001:db8:2::"]),
        ("pool-old", json!({pool_of(old): "x"}), none(), &["198.51.100.1"]),
        ("pool-old6", json!({pool_of(old): "x"}), six(none()), &["2001:db8:2::1"]),
        // The new prefix wins.
        ("pool-two", json!({pool_of(new): "y", pool_of(old): "x"}), none(), &["203.0.113.0"]),
        ("pool-two6", json!({pool_of(new): "y", pool_of(old): "x"}), six(none()), &["2001:db8:3::"]),
        ("field", none(), field("198.51.100.9"), &["198.51.100.9"]),
        ("field6", none(), six(field("2001:db8:2::9")), &["2001:db8:2::9"]),
        ("both", json!({ips(new): "198.51.100.10"}), field("198.51.100.10"), &[]),
        ("both6", json!({ips(old): "2001:db8:2::a"}), six(field("2001:db8:2::a")), &[]),
        ("wrong-pool", json!({pool_of(new): "y"}), field("198.51.100.11"), &[]),
        ("nowhere6", json!({ips(new): "2001:db8:9::1"}), six(none()), &[]),
        ("plain", none(), none(), &["192.0.2.0"]),
    ];
    let services: Vec<Value> =
        cases.iter().map(|(name, annotations, spec, _)| service(name, annotations, spec)).collect();
    plane.apply_all(&services).unwrap();
    for (name, _, _, expected) in cases.iter().rev() {
        plane.becomes(&controller, name, expected).unwrap();
    }
    // One of the two wishes is taken back.
    plane.apply_all(&[service("both", &none(), &field("198.51.100.10"))]).unwrap();
    plane.becomes(&controller, "both", &["198.51.100.10"]).unwrap();
}
