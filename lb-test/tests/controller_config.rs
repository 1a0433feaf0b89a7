//! L5: what comes from before BareLB (the v0.9 `ConfigMap`, addresses that MetalLB gave, BGP objects) and what is wrong,
//! on a real API server. Needs root and the testbed.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::Ipv6Addr;

use lb_test::cluster::services::{FROM_POOL, OLD_FROM_POOL, dual, legacy, object, plain, pool, service};
use lb_test::cluster::{ControlPlane, Controller};
use serde_json::{Value, json};

fn none() -> Value {
    json!({})
}

fn started(objects: &[Value]) -> (ControlPlane, Controller) {
    let plane = ControlPlane::installed().unwrap();
    plane.apply_all(objects).unwrap();
    let controller = Controller::start(&plane, 0, &[]).unwrap();
    (plane, controller)
}

#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_the_old_config_map_is_followed_and_a_bad_edit_takes_nothing_away() {
    let document = |entries: &str| {
        format!("address-pools:\n- name: old\n  protocol: layer2\n  addresses: [{entries}]\n")
    };
    let both = document("192.0.2.8/30, 2001:db8:2::/126");
    let (plane, controller) = started(&[legacy(&both), dual("a", &none())]);
    plane.becomes(&controller, "a", &["192.0.2.8", "2001:db8:2::"]).unwrap();
    assert_eq!(plane.controller_state("Valid").unwrap(), "");

    plane.apply_all(&[legacy(&document("192.0.2.9-192.0.2.8")), dual("b", &none())]).unwrap();
    plane.becomes(&controller, "b", &["192.0.2.9", "2001:db8:2::1"]).unwrap();
    let summary = plane.controller_state("Invalid").unwrap();
    assert!(summary.contains("192.0.2.9") && summary.contains("what it said before stays"), "{summary}");
    let note = plane.event("ConfigMap", "config", "ConfigurationError").unwrap();
    assert!(note.contains("address-pools[0].addresses"), "{note}");

    let mut binary = legacy("");
    binary["data"] = Value::Null;
    binary["binaryData"] = json!({"config": "/w=="});
    plane.apply_all(&[binary, dual("c", &none())]).unwrap();
    plane.becomes(&controller, "c", &["192.0.2.10", "2001:db8:2::2"]).unwrap();

    // What a Service has can't be taken away, what none has can.
    plane.apply_all(&[legacy(&document("192.0.2.0/30, 2001:db8:3::/126"))]).unwrap();
    plane
        .wait_for(Controller::PATIENCE, "the addresses in use are not missed", |plane| {
            Ok(plane.controller_state("Invalid")?.contains("no pool has 192.0.2.8 any more").then_some(()))
        })
        .unwrap();
    plane.becomes(&controller, "a", &["192.0.2.8", "2001:db8:2::"]).unwrap();
    plane.apply_all(&[legacy(&document("192.0.2.8-192.0.2.10, 2001:db8:2::/126, 198.51.100.0/30"))]).unwrap();
    assert_eq!(plane.controller_state("Valid").unwrap(), "");
    plane.becomes(&controller, "a", &["192.0.2.8", "2001:db8:2::"]).unwrap();
}

#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_addresses_that_metallb_gave_stay() {
    let plane = ControlPlane::installed().unwrap();
    let wide = pool("p", &["192.0.2.0/28", "2001:db8:1::/124"]);
    // Two by MetalLB of today, one by an older one; the new Service comes first by name.
    let held = [("m", FROM_POOL, 7), ("n", FROM_POOL, 0), ("o", OLD_FROM_POOL, 3)];
    for (name, annotation, number) in held {
        plane.apply_all(&[dual(name, &json!({annotation: "p"}))]).unwrap();
        let six = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, number);
        let ips = [format!("192.0.2.{number}"), six.to_string()];
        let ingress: Vec<Value> = ips.iter().map(|ip| json!({"ip": ip, "ipMode": "VIP"})).collect();
        plane.patch_status(&["service", name], &json!({"loadBalancer": {"ingress": ingress}})).unwrap();
    }
    plane.apply_all(&[wide, dual("a", &none())]).unwrap();
    let mut log = plane.audit_from_now().unwrap();
    let controller = Controller::start(&plane, 0, &[]).unwrap();
    plane.becomes(&controller, "a", &["192.0.2.1", "2001:db8:1::1"]).unwrap();
    for (name, ..) in held {
        let annotations = plane
            .wait_for(Controller::PATIENCE, "the old annotation stays", |plane| {
                let annotations = plane.service(name)?["metadata"]["annotations"].clone();
                Ok(annotations[OLD_FROM_POOL].is_null().then_some(annotations))
            })
            .unwrap();
        assert_eq!(annotations[FROM_POOL], "p", "{name}");
    }
    plane.becomes(&controller, "m", &["192.0.2.7", "2001:db8:1::7"]).unwrap();
    plane.becomes(&controller, "n", &["192.0.2.0", "2001:db8:1::"]).unwrap();
    plane.becomes(&controller, "o", &["192.0.2.3", "2001:db8:1::3"]).unwrap();
    let mut written = log.services_written().unwrap();
    written.dedup();
    assert!(written.iter().all(|name| name == "a" || name == "o"), "{written:?}");
}

#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_what_has_no_effect_is_said() {
    let (plane, controller) = started(&[pool("p", &["192.0.2.0/28"]), plain("a")]);
    plane.becomes(&controller, "a", &["192.0.2.0"]).unwrap();
    assert_eq!(plane.controller_state("Valid").unwrap(), "");
    let spec = json!({"myASN": 64512, "peerASN": 64513, "peerAddress": "192.0.2.254"});
    plane.apply_all(&[object("metallb.io/v1beta2", "BGPPeer", "router", spec)]).unwrap();
    let note = plane.event("BGPPeer", "router", "NotServed").unwrap();
    assert!(note.starts_with("BareLB announces in layer 2 only, so this BGPPeer has no effect"), "{note}");
    let summary = plane.controller_state("Invalid").unwrap();
    assert!(summary.starts_with("BGPPeer metallb-system/router: "), "{summary}");
    plane.kubectl(&["delete", "bgppeer", "router", "--namespace", "metallb-system"]).unwrap();
    assert_eq!(plane.controller_state("Valid").unwrap(), "");
}

#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_nonsense_of_one_is_nothing_to_the_others() {
    let foreign: Vec<Value> = (0..250).map(|number| json!({"ip": format!("203.0.113.{number}")})).collect();
    let large = "x".repeat(100_000);
    let (plane, controller) = started(&[
        pool("all-six", &["::/0"]),
        pool("p", &["192.0.2.0/28"]),
        service("large", &json!({"metallb.io/loadBalancerIPs": large}), &none()),
        service("many", &none(), &none()),
        service("nowhere", &json!({"metallb.io/address-pool": "../../etc"}), &none()),
        service("outside", &json!({"metallb.io/loadBalancerIPs": "198.51.100.1"}), &none()),
    ]);
    plane.patch_status(&["service", "many"], &json!({"loadBalancer": {"ingress": foreign}})).unwrap();
    let note = plane.event("Service", "large", "AllocationFailed").unwrap();
    assert!(note.len() <= 1024 && note.contains("is not an IP address"), "{note}");
    for name in ["nowhere", "outside"] {
        plane.event("Service", name, "AllocationFailed").unwrap();
    }
    plane.apply_all(&[plain("good"), service("six", &none(), &json!({"ipFamilies": ["IPv6"]}))]).unwrap();
    let served = plane.wait_for(Controller::PATIENCE, "no addresses", |plane| {
        let [good, many] = [plane.addresses("good")?, plane.addresses("many")?];
        Ok((good.len() == 1 && many.len() == 1).then_some([good, many].concat()))
    });
    assert!(served.unwrap().iter().all(|ip| ip.starts_with("192.0.2.")));
    for name in ["large", "nowhere", "outside"] {
        assert_eq!(plane.addresses(name).unwrap(), Vec::<String>::new(), "{name}");
    }
    let [_, most] = controller.memory().unwrap();
    assert!(most < 120 << 20, "{most} bytes");
}
