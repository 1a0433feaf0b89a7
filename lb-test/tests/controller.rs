//! L5: `barelb controller` on a real API server, under the rights of manifests/base. Needs root and the testbed.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::Write;
use std::thread;
use std::time::Duration;

use lb_test::cluster::{AuditLog, Component, ControlPlane, Controller};
use serde_json::{Value, json};

const USER: &str = "system:serviceaccount:metallb-system:barelb-controller";
const FROM_POOL: &str = "metallb.io/ip-allocated-from-pool";

/// A control plane with the manifests installed.
fn plane() -> ControlPlane {
    let plane = ControlPlane::start().unwrap();
    plane.install().unwrap();
    plane
}

fn pool(name: &str, addresses: &[&str]) -> String {
    let metadata = json!({"name": name, "namespace": "metallb-system"});
    let (version, spec) = ("metallb.io/v1beta1", json!({"addresses": addresses}));
    json!({"apiVersion": version, "kind": "IPAddressPool", "metadata": metadata, "spec": spec}).to_string()
}

/// A Service of one port; `more` is merged into its spec, `annotations` are as they are.
fn service(name: &str, annotations: &Value, more: &Value) -> String {
    let mut spec = json!({"type": "LoadBalancer", "ports": [{"port": 80}]});
    for (field, value) in more.as_object().unwrap() {
        spec[field] = value.clone();
    }
    let metadata = json!({"name": name, "annotations": annotations});
    json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}).to_string()
}

fn plain(name: &str) -> String {
    service(name, &json!({}), &json!({}))
}

fn apply(plane: &ControlPlane, objects: &[String]) {
    let text = objects.iter().fold(String::new(), |mut text, object| {
        writeln!(text, "---\n{object}").unwrap();
        text
    });
    plane.apply(&text).unwrap();
}

/// The addresses of a Service, as its status has them.
fn ingress(service: &Value) -> Vec<String> {
    let list = service["status"]["loadBalancer"]["ingress"].as_array();
    list.into_iter().flatten().map(|entry| entry["ip"].as_str().unwrap().to_owned()).collect()
}

fn addresses(plane: &ControlPlane, name: &str) -> Vec<String> {
    ingress(&plane.get(&["service", name]).unwrap())
}

/// Waits until a Service has these addresses.
fn becomes(plane: &ControlPlane, controller: &Controller, name: &str, expected: &[&str]) {
    let done = plane.wait_for(Controller::PATIENCE, "not the addresses", |plane| {
        let found = ingress(&plane.get(&["service", name])?);
        anyhow::ensure!(found == expected, "{name} has {found:?}, not {expected:?}");
        Ok(Some(()))
    });
    done.unwrap_or_else(|error| panic!("{error:#}\n{}", controller.tail()));
}

/// Waits for an event on an object, and returns its text.
fn event(plane: &ControlPlane, kind: &str, name: &str, reason: &str) -> String {
    let all = ["events.events.k8s.io", "--all-namespaces"];
    let found = plane.wait_for(Controller::PATIENCE, "no such event", |plane| {
        let events = plane.get(&all)?;
        let mut events = events["items"].as_array().unwrap().iter();
        let found = events.find(|event| {
            let (object, said) = (&event["regarding"], &event["reason"]);
            object["kind"] == kind && object["name"] == name && *said == reason
        });
        Ok(found.map(|event| event["note"].as_str().unwrap().to_owned()))
    });
    found.unwrap_or_else(|error| panic!("{reason} on {kind} {name}: {error:#}"))
}

/// The controller's writes since the last call, the lease left out.
fn writes(log: &mut AuditLog) -> Vec<(String, String, u16)> {
    let writes = log.writes_of(USER).unwrap().into_iter().filter(|write| write.resource != "leases");
    writes
        .map(|write| (format!("{}/{}", write.resource, write.subresource), write.name, write.code))
        .collect()
}

#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_services_get_addresses_lose_them_and_get_them_again() {
    let plane = plane();
    apply(&plane, &[pool("p", &["192.0.2.100-192.0.2.102", "2001:db8:1::/126"]), plain("a")]);
    let mut controller = Controller::start(&plane, 0, &[]).unwrap();
    controller.wait_ready().unwrap();
    becomes(&plane, &controller, "a", &["192.0.2.100"]);
    let seen = plane.get(&["service", "a"]).unwrap();
    assert_eq!(seen["status"]["loadBalancer"]["ingress"], json!([{"ip": "192.0.2.100", "ipMode": "VIP"}]));
    assert_eq!(seen["metadata"]["annotations"][FROM_POOL], "p");
    let managers = plane.get(&["service", "a", "--show-managed-fields"]).unwrap();
    let managers = managers["metadata"]["managedFields"].as_array().unwrap().clone();
    let ours = managers.iter().find(|one| one["manager"] == "barelb").unwrap();
    assert_eq!((&ours["operation"], &ours["subresource"]), (&json!("Apply"), &json!("status")));
    assert!(event(&plane, "Service", "a", "IPAllocated").contains("192.0.2.100"));

    // Both families, in the order of the cluster IPs; a wish by field and by either annotation.
    let dual = json!({"ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv6", "IPv4"]});
    let wish = |prefix: &str, ip: &str| json!({format!("{prefix}/loadBalancerIPs"): ip});
    apply(&plane, &[service("dual", &json!({}), &dual)]);
    becomes(&plane, &controller, "dual", &["192.0.2.101", "2001:db8:1::"]);
    apply(
        &plane,
        &[
            service("six", &wish("metallb.io", "2001:db8:1::2"), &json!({"ipFamilies": ["IPv6"]})),
            service("old", &wish("metallb.universe.tf", "192.0.2.102"), &json!({})),
        ],
    );
    becomes(&plane, &controller, "six", &["2001:db8:1::2"]);
    becomes(&plane, &controller, "old", &["192.0.2.102"]);
    event(&plane, "Service", "old", "deprecatedAnnotation");

    // Nothing is free; the next one who leaves makes room.
    apply(&plane, &[plain("waits")]);
    event(&plane, "Service", "waits", "AllocationFailed");
    assert_eq!(addresses(&plane, "waits"), Vec::<String>::new());
    assert_eq!(controller.metric("barelb_allocator_services_waiting{reason=\"Exhausted\"}").unwrap(), 1.0);
    plane.kubectl(&["delete", "service", "a"]).unwrap();
    becomes(&plane, &controller, "waits", &["192.0.2.100"]);

    // A wiped status comes back; another type loses everything.
    plane.patch_status(&["service", "old"], &json!({"loadBalancer": {}})).unwrap();
    becomes(&plane, &controller, "old", &["192.0.2.102"]);
    let cluster_ip = json!({"spec": {"type": "ClusterIP"}}).to_string();
    plane.kubectl(&["patch", "service", "old", "--patch", &cluster_ip]).unwrap();
    becomes(&plane, &controller, "old", &[]);
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
    let plane = plane();
    apply(&plane, &[pool("p", &["192.0.2.0/28", "2001:db8:1::/124"])]);
    let names: Vec<String> = (0..10).map(|number| format!("s{number}")).collect();
    let dual = json!({"ipFamilyPolicy": "RequireDualStack"});
    let services: Vec<String> = names.iter().map(|name| service(name, &json!({}), &dual)).collect();
    apply(&plane, &services);
    let controller = Controller::start(&plane, 0, &[]).unwrap();
    let all = || names.iter().map(|name| addresses(&plane, name)).collect::<Vec<_>>();
    plane
        .wait_for(Controller::PATIENCE, "some have no address", |_| {
            Ok(all().iter().all(|one| one.len() == 2).then_some(()))
        })
        .unwrap_or_else(|error| panic!("{error:#}\n{}", controller.tail()));
    let before = all();
    // The last counters and events.
    quiet(&plane, Duration::from_secs(3));
    controller.stop().unwrap();

    let mut log = plane.audit_from_now().unwrap();
    let mut controller = Controller::start(&plane, 0, &[]).unwrap();
    controller.wait_ready().unwrap();
    leads(&plane, &controller);
    thread::sleep(Duration::from_secs(3));
    assert_eq!(writes(&mut log), []);
    assert_eq!(all(), before);
    // Killed, an address deleted from a status meanwhile: what the pool annotation says is not enough, the order is.
    controller.process().kill().unwrap();
    plane.kubectl(&["delete", "service", "s3"]).unwrap();
    apply(&plane, &[plain("s00")]);
    let controller = Controller::start(&plane, 0, &[]).unwrap();
    // Its predecessor could not give the lease back: it runs out first.
    let free: Vec<&str> = before[3].iter().map(String::as_str).filter(|ip| ip.contains('.')).collect();
    becomes(&plane, &controller, "s00", &free);
}

/// Waits until this replica leads.
fn leads(plane: &ControlPlane, controller: &Controller) {
    let led = plane.wait_for(Controller::PATIENCE, "it does not lead", |_| {
        Ok((controller.metric("barelb_controller_leader")? > 0.5).then_some(()))
    });
    led.unwrap_or_else(|error| panic!("{error:#}\n{}", controller.tail()));
}

/// Waits until the controller has written nothing but its lease for so long.
fn quiet(plane: &ControlPlane, long: Duration) {
    let mut log = plane.audit_from_now().unwrap();
    loop {
        thread::sleep(long);
        if writes(&mut log).is_empty() {
            return;
        }
    }
}

#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_the_standby_takes_over_and_the_former_leader_writes_no_more() {
    let plane = plane();
    apply(&plane, &[pool("p", &["192.0.2.0/28"]), plain("a")]);
    let mut first = Controller::start(&plane, 0, &[]).unwrap();
    leads(&plane, &first);
    becomes(&plane, &first, "a", &["192.0.2.0"]);
    let mut second = Controller::start(&plane, 1, &[]).unwrap();
    second.wait_ready().unwrap();
    assert_eq!(second.metric("barelb_controller_leader").unwrap(), 0.0);
    // Frozen, it can't give the lease back.
    first.process().stop().unwrap();
    apply(&plane, &[plain("b")]);
    becomes(&plane, &second, "b", &["192.0.2.1"]);
    leads(&plane, &second);
    plane.kubectl(&["delete", "service", "b"]).unwrap();
    let mut log = plane.audit_from_now().unwrap();
    first.process().cont().unwrap();
    thread::sleep(Duration::from_secs(2));
    assert_eq!(first.metric("barelb_controller_leader").unwrap(), 0.0);
    let services = writes(&mut log).into_iter().filter(|(resource, ..)| resource == "services/status");
    assert_eq!(services.collect::<Vec<_>>(), []);
    // In order it is a matter of moments.
    second.stop().unwrap();
    apply(&plane, &[plain("c")]);
    becomes(&plane, &first, "c", &["192.0.2.1"]);
}

#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_an_api_server_that_restarts_or_freezes_is_waited_for() {
    let mut plane = plane();
    apply(&plane, &[pool("p", &["192.0.2.0/28"]), plain("a")]);
    let controller = Controller::start(&plane, 0, &[]).unwrap();
    becomes(&plane, &controller, "a", &["192.0.2.0"]);
    plane.kill(Component::ApiServer).unwrap();
    thread::sleep(Duration::from_secs(2));
    plane.restart(Component::ApiServer).unwrap();
    plane.wait_ready().unwrap();
    apply(&plane, &[plain("b")]);
    becomes(&plane, &controller, "b", &["192.0.2.1"]);
    plane.freeze(Component::Etcd).unwrap();
    thread::sleep(Duration::from_secs(7));
    plane.thaw(Component::Etcd).unwrap();
    plane.wait_ready().unwrap();
    apply(&plane, &[plain("c")]);
    becomes(&plane, &controller, "c", &["192.0.2.2"]);
    assert_eq!(addresses(&plane, "a"), ["192.0.2.0"]);
    controller.page("/livez").unwrap();
}
