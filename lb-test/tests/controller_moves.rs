//! L5: coming from `MetalLB` (its own CRDs, `barelb migrate`) and a watch that is too old to go on, on a real API server.
//! Needs root and the testbed.

use std::fmt::Write;
use std::fs;

use lb_test::agent::barelb;
use lb_test::cluster::services::{dual, legacy, object, plain, pool, pool_with};
use lb_test::cluster::{Component, ControlPlane, Controller};
use lb_test::scratch::Scratch;
use serde_json::{Value, json};

fn none() -> Value {
    json!({})
}

/// What only `MetalLB`'s CRDs let through: a pool of thousands of entries, and an operator that does not exist.
#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_metallbs_own_crds_are_enough() {
    let plane = ControlPlane::start().unwrap();
    plane.install_with_metallbs_crds().unwrap();
    let entries: Vec<String> = (0..10_000).map(|n| format!("10.0.{}.{}/32", n / 250, n % 250)).collect();
    let large = pool("large", &entries.iter().map(String::as_str).collect::<Vec<_>>()).to_string();
    plane.feed(plane.admin(), &["apply", "--server-side", "--filename=-"], &large).unwrap();
    let selector = json!([{"matchExpressions": [{"key": "a", "operator": "Is", "values": ["b"]}]}]);
    plane
        .apply_all(&[
            pool_with(
                "bad",
                &["192.0.2.0/28"],
                &json!({"serviceAllocation": {"serviceSelectors": selector}}),
            ),
            pool("six", &["2001:db8:1::/64"]),
            object("metallb.io/v1beta1", "Community", "c", json!({"communities": []})),
            plain("a"),
            dual("waits", &none()),
        ])
        .unwrap();
    let controller = Controller::start(&plane, 0, &[]).unwrap();
    plane.becomes(&controller, "a", &["10.0.0.0"]).unwrap();
    let note = plane.event("IPAddressPool", "bad", "ConfigurationError").unwrap();
    let field = "spec.serviceAllocation.serviceSelectors[0]";
    let rule = "label selector operator \"Is\" on key \"a\": use In, NotIn, Exists or DoesNotExist";
    assert!(note.contains(field) && note.contains(rule), "{note}");
    plane.event("Community", "c", "NotServed").unwrap();
    plane.event("Service", "waits", "AllocationFailed").unwrap();
    let counted = plane.wait_for(Controller::PATIENCE, "not counted", |plane| {
        let status = &plane.get(&["ipaddresspool", "large", "--namespace", "metallb-system"])?["status"];
        Ok((status["assignedIPv4"] == 1 && status["availableIPv4"] == 9_999).then_some(()))
    });
    counted.unwrap();
    let [_, most] = controller.memory().unwrap();
    assert!(most < 60 << 20, "{most} bytes");

    // Our CRDs in place of theirs, while it runs.
    let mut log = plane.audit_from_now().unwrap();
    plane.install_over_metallbs_crds().unwrap();
    plane.apply_all(&[pool("two", &["192.0.2.16/28", "2001:db8:2::/124"])]).unwrap();
    plane.becomes(&controller, "waits", &["192.0.2.16", "2001:db8:2::"]).unwrap();
    plane.becomes(&controller, "a", &["10.0.0.0"]).unwrap();
    let mut written = log.services_written().unwrap();
    written.dedup();
    assert_eq!(written, ["waits"]);
}

#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_migrated_objects_take_the_place_of_the_config_map() {
    let document = "address-pools:
- name: default
  protocol: layer2
  addresses: [192.0.2.8-192.0.2.15, \"2001:db8:2::/124\"]
- name: asked
  protocol: layer2
  auto-assign: false
  avoid-buggy-ips: true
  addresses: [198.51.100.0/24]
";
    let plane = ControlPlane::installed().unwrap();
    let wish = json!({"metallb.universe.tf/address-pool": "asked"});
    let asks = lb_test::cluster::services::service("asks", &wish, &none());
    plane.apply_all(&[legacy(document), dual("a", &none()), asks]).unwrap();
    let controller = Controller::start(&plane, 0, &[]).unwrap();
    plane.becomes(&controller, "a", &["192.0.2.8", "2001:db8:2::"]).unwrap();
    plane.becomes(&controller, "asks", &["198.51.100.1"]).unwrap();

    let (program, folder) = (barelb().unwrap(), Scratch::new("migrate").unwrap());
    let file = folder.join("config.json");
    fs::write(&file, legacy(document).to_string()).unwrap();
    let objects =
        plane.namespace().exec(program.to_str().unwrap(), &["migrate", file.to_str().unwrap()]).unwrap();
    let mut log = plane.audit_from_now().unwrap();
    plane.apply(&objects).unwrap();
    // Both say the same, and only one of them counts.
    let summary = plane.controller_state("Invalid").unwrap();
    assert!(summary.contains("IPAddressPool metallb-system/default"), "{summary}");
    plane.kubectl(&["delete", "configmap", "config", "--namespace", "metallb-system"]).unwrap();
    assert_eq!(plane.controller_state("Valid").unwrap(), "");
    plane.apply_all(&[dual("b", &none())]).unwrap();
    plane.becomes(&controller, "b", &["192.0.2.9", "2001:db8:2::1"]).unwrap();
    plane.becomes(&controller, "a", &["192.0.2.8", "2001:db8:2::"]).unwrap();
    plane.becomes(&controller, "asks", &["198.51.100.1"]).unwrap();
    let mut written = log.services_written().unwrap();
    written.dedup();
    assert_eq!(written, ["b"]);
    let announced = plane.get(&["l2advertisements", "--namespace", "metallb-system"]).unwrap();
    assert_eq!(announced["items"].as_array().unwrap().len(), 2);
}

/// The history of the API server begins after what the controller saw last: 410 Gone.
#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_a_watch_that_is_too_old_starts_again() {
    let mut plane = ControlPlane::installed().unwrap();
    plane.apply_all(&[pool("p", &["192.0.2.0/28"]), plain("a"), plain("b")]).unwrap();
    let mut controller = Controller::start(&plane, 0, &[]).unwrap();
    plane.becomes(&controller, "a", &["192.0.2.0"]).unwrap();
    plane.becomes(&controller, "b", &["192.0.2.1"]).unwrap();
    controller.process().stop().unwrap();
    plane.kubectl(&["delete", "service", "b"]).unwrap();
    let mut many = String::new();
    for number in 0..200 {
        let name = format!("n{number}");
        let labels = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        writeln!(many, "---\n{labels}").unwrap();
    }
    plane.apply(&many).unwrap();
    plane.kill(Component::ApiServer).unwrap();
    plane.restart(Component::ApiServer).unwrap();
    let mut log = plane.audit_from_now().unwrap();
    controller.process().cont().unwrap();
    plane.apply_all(&[plain("c")]).unwrap();
    plane.becomes(&controller, "c", &["192.0.2.1"]).unwrap();
    plane.becomes(&controller, "a", &["192.0.2.0"]).unwrap();
    let listed = log.read().unwrap().into_iter().filter(|request| {
        request.user.ends_with(":barelb-controller")
            && request.verb == "list"
            && request.resource == "services"
    });
    assert!(listed.count() > 0, "it listed Services again:\n{}", controller.tail());
}
