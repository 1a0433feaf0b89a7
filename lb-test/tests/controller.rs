//! L5: `barelb controller` on a real API server, under the rights of manifests/base. Needs root and the testbed.
#![expect(clippy::float_cmp, reason = "gauges are whole numbers")]

use std::thread;
use std::time::Duration;

use lb_test::cluster::services::{FROM_POOL, plain, pool, service};
use lb_test::cluster::{Component, ControlPlane, Controller};
use serde_json::{Value, json};

#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_services_get_addresses_lose_them_and_get_them_again() {
    let plane = ControlPlane::installed().unwrap();
    plane.apply_all(&[pool("p", &["192.0.2.100-192.0.2.102", "2001:db8:1::/126"]), plain("a")]).unwrap();
    let mut controller = Controller::start(&plane, 0, &[]).unwrap();
    controller.wait_ready().unwrap();
    plane.becomes(&controller, "a", &["192.0.2.100"]).unwrap();
    let seen = plane.get(&["service", "a"]).unwrap();
    assert_eq!(seen["status"]["loadBalancer"]["ingress"], json!([{"ip": "192.0.2.100", "ipMode": "VIP"}]));
    assert_eq!(seen["metadata"]["annotations"][FROM_POOL], "p");
    let managers = plane.get(&["service", "a", "--show-managed-fields"]).unwrap();
    let managers = managers["metadata"]["managedFields"].as_array().unwrap().clone();
    let ours = managers.iter().find(|one| one["manager"] == "barelb").unwrap();
    assert_eq!((&ours["operation"], &ours["subresource"]), (&json!("Apply"), &json!("status")));
    assert!(plane.event("Service", "a", "IPAllocated").unwrap().contains("192.0.2.100"));

    // Both families, in the order of the cluster IPs; a wish by field and by either annotation.
    let dual = json!({"ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv6", "IPv4"]});
    let wish = |prefix: &str, ip: &str| json!({format!("{prefix}/loadBalancerIPs"): ip});
    plane.apply_all(&[service("dual", &json!({}), &dual)]).unwrap();
    plane.becomes(&controller, "dual", &["192.0.2.101", "2001:db8:1::"]).unwrap();
    plane
        .apply_all(&[
            service("six", &wish("metallb.io", "2001:db8:1::2"), &json!({"ipFamilies": ["IPv6"]})),
            service("old", &wish("metallb.universe.tf", "192.0.2.102"), &json!({})),
        ])
        .unwrap();
    plane.becomes(&controller, "six", &["2001:db8:1::2"]).unwrap();
    plane.becomes(&controller, "old", &["192.0.2.102"]).unwrap();
    plane.event("Service", "old", "deprecatedAnnotation").unwrap();

    // Nothing is free; the next one who leaves makes room.
    plane.apply_all(&[plain("waits")]).unwrap();
    plane.event("Service", "waits", "AllocationFailed").unwrap();
    assert_eq!(plane.addresses("waits").unwrap(), Vec::<String>::new());
    assert_eq!(controller.metric("barelb_allocator_services_waiting{reason=\"Exhausted\"}").unwrap(), 1.0);
    plane.kubectl(&["delete", "service", "a"]).unwrap();
    plane.becomes(&controller, "waits", &["192.0.2.100"]).unwrap();

    // A wiped status comes back; another type loses everything.
    plane.patch_status(&["service", "old"], &json!({"loadBalancer": {}})).unwrap();
    plane.becomes(&controller, "old", &["192.0.2.102"]).unwrap();
    let cluster_ip = json!({"spec": {"type": "ClusterIP"}}).to_string();
    plane.kubectl(&["patch", "service", "old", "--patch", &cluster_ip]).unwrap();
    plane.becomes(&controller, "old", &[]).unwrap();
    plane
        .wait_for(Controller::PATIENCE, "the annotation stays", |plane| {
            Ok(plane.get(&["service", "old"])?["metadata"]["annotations"][FROM_POOL].is_null().then_some(()))
        })
        .unwrap();
    let counters = json!({"assignedIPv4": 2, "availableIPv4": 1, "assignedIPv6": 2, "availableIPv6": 2});
    plane
        .wait_for(Controller::PATIENCE, "other counters", |plane| {
            let seen = plane.get(&["ipaddresspool", "p", "--namespace", "metallb-system"])?;
            anyhow::ensure!(seen["status"] == counters, "{}", seen["status"]);
            Ok(Some(()))
        })
        .unwrap();
    controller.stop().unwrap();
}

#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_a_restart_takes_everything_over_without_a_write() {
    let plane = ControlPlane::installed().unwrap();
    plane.apply_all(&[pool("p", &["192.0.2.0/28", "2001:db8:1::/124"])]).unwrap();
    let names: Vec<String> = (0..10).map(|number| format!("s{number}")).collect();
    let dual = json!({"ipFamilyPolicy": "RequireDualStack"});
    let services: Vec<Value> = names.iter().map(|name| service(name, &json!({}), &dual)).collect();
    plane.apply_all(&services).unwrap();
    let controller = Controller::start(&plane, 0, &[]).unwrap();
    let all = || names.iter().map(|name| plane.addresses(name).unwrap()).collect::<Vec<_>>();
    plane
        .wait_for(Controller::PATIENCE, "some have no address", |_| {
            Ok(all().iter().all(|one| one.len() == 2).then_some(()))
        })
        .unwrap_or_else(|error| panic!("{error:#}\n{}", controller.tail()));
    let before = all();
    // The last counters and events.
    plane.quiet(Duration::from_secs(3)).unwrap();
    controller.stop().unwrap();

    let mut log = plane.audit_from_now().unwrap();
    let mut controller = Controller::start(&plane, 0, &[]).unwrap();
    controller.wait_ready().unwrap();
    plane.leads(&controller).unwrap();
    thread::sleep(Duration::from_secs(3));
    assert_eq!(log.controller_writes().unwrap(), []);
    assert_eq!(all(), before);
    // Killed, an address deleted from a status meanwhile: what the pool annotation says is not enough, the order is.
    controller.process().kill().unwrap();
    plane.kubectl(&["delete", "service", "s3"]).unwrap();
    plane.apply_all(&[plain("s00")]).unwrap();
    let controller = Controller::start(&plane, 0, &[]).unwrap();
    // Its predecessor could not give the lease back: it runs out first.
    let free: Vec<&str> = before[3].iter().map(String::as_str).filter(|ip| ip.contains('.')).collect();
    plane.becomes(&controller, "s00", &free).unwrap();
}

#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_the_standby_takes_over_and_the_former_leader_writes_no_more() {
    let plane = ControlPlane::installed().unwrap();
    plane.apply_all(&[pool("p", &["192.0.2.0/28"]), plain("a")]).unwrap();
    let mut first = Controller::start(&plane, 0, &[]).unwrap();
    plane.leads(&first).unwrap();
    plane.becomes(&first, "a", &["192.0.2.0"]).unwrap();
    let mut second = Controller::start(&plane, 1, &[]).unwrap();
    second.wait_ready().unwrap();
    assert_eq!(second.metric("barelb_controller_leader").unwrap(), 0.0);
    // Frozen, it can't give the lease back.
    first.process().stop().unwrap();
    plane.apply_all(&[plain("b")]).unwrap();
    plane.becomes(&second, "b", &["192.0.2.1"]).unwrap();
    plane.leads(&second).unwrap();
    plane.kubectl(&["delete", "service", "b"]).unwrap();
    let mut log = plane.audit_from_now().unwrap();
    first.process().cont().unwrap();
    thread::sleep(Duration::from_secs(2));
    assert_eq!(first.metric("barelb_controller_leader").unwrap(), 0.0);
    assert_eq!(log.services_written().unwrap(), [""; 0]);
    // In order it is a matter of moments.
    second.stop().unwrap();
    plane.apply_all(&[plain("c")]).unwrap();
    plane.becomes(&first, "c", &["192.0.2.1"]).unwrap();
}

#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_an_api_server_that_restarts_or_freezes_is_waited_for() {
    let mut plane = ControlPlane::installed().unwrap();
    plane.apply_all(&[pool("p", &["192.0.2.0/28"]), plain("a")]).unwrap();
    let controller = Controller::start(&plane, 0, &[]).unwrap();
    plane.becomes(&controller, "a", &["192.0.2.0"]).unwrap();
    plane.kill(Component::ApiServer).unwrap();
    thread::sleep(Duration::from_secs(2));
    plane.restart(Component::ApiServer).unwrap();
    plane.wait_ready().unwrap();
    plane.apply_all(&[plain("b")]).unwrap();
    plane.becomes(&controller, "b", &["192.0.2.1"]).unwrap();
    plane.freeze(Component::Etcd).unwrap();
    thread::sleep(Duration::from_secs(7));
    plane.thaw(Component::Etcd).unwrap();
    plane.wait_ready().unwrap();
    plane.apply_all(&[plain("c")]).unwrap();
    plane.becomes(&controller, "c", &["192.0.2.2"]).unwrap();
    assert_eq!(plane.addresses("a").unwrap(), ["192.0.2.0"]);
    controller.page("/livez").unwrap();
}
