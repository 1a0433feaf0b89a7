//! L5: manifests/policy on a real API server: who may ask for which address. Needs root and the testbed.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use lb_test::cluster::ControlPlane;
use lb_test::cluster::services::{plain, service};
use serde_json::{Value, json};

const LONG: Duration = Duration::from_mins(1);

const PLACES: [&str; 2] = ["metallb.io/loadBalancerIPs", "metallb.universe.tf/loadBalancerIPs"];

/// A Service that asks for `wish` in each of the three places.
fn asking(name: &str, wish: &str) -> [Value; 3] {
    let [new, old] = PLACES.map(|place| service(name, &json!({place: wish}), &json!({})));
    [new, old, service(name, &json!({}), &json!({"loadBalancerIP": wish}))]
}

fn within(mut object: Value, namespace: &str) -> Value {
    object["metadata"]["namespace"] = json!(namespace);
    object
}

/// What the API server says to an object that is not kept.
fn judge(plane: &ControlPlane, object: &Value) -> Result<(), String> {
    let dry = ["apply", "--dry-run=server", "--filename=-"];
    plane.feed(plane.admin(), &dry, &object.to_string()).map(drop).map_err(|error| format!("{error:#}"))
}

fn refused(plane: &ControlPlane, object: &Value, namespace: &str, wishes: &str) {
    let error = judge(plane, object).unwrap_err();
    let said =
        format!("a Service in the namespace {namespace} may not ask for {wishes}: take the request out");
    assert!(error.contains("ValidatingAdmissionPolicy 'barelb-requested-addresses'"), "{error}");
    assert!(error.contains(&said), "{error}");
}

/// With Services that were there before, and namespaces of each kind.
fn with_policy() -> ControlPlane {
    let plane = ControlPlane::start().unwrap();
    let [before, ..] = asking("before", "192.0.2.1");
    plane.apply_all(&[before, plain("nothing")]).unwrap();
    for name in ["web", "infra"] {
        plane.kubectl(&["create", "namespace", name]).unwrap();
    }
    let ranges = "barelb.io/requestable-addresses=192.0.2.16/28, 2001:db8:1::/124,nonsense";
    plane.kubectl(&["annotate", "namespace", "web", ranges]).unwrap();
    plane.kubectl(&["label", "namespace", "infra", "barelb.io/requested-addresses=any"]).unwrap();
    plane.apply_kustomization("manifests/policy").unwrap();
    // The API server takes it into force by a watch of its own.
    let [probe, ..] = asking("probe", "192.0.2.1");
    plane.wait_for(LONG, "nothing is refused", |plane| Ok(judge(plane, &probe).err())).unwrap();
    plane
}

#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_who_may_ask_for_an_address_is_the_namespaces_to_say() {
    let plane = with_policy();
    for wish in ["192.0.2.17", "2001:db8:1::1", "192.0.2.17,2001:db8:1::1"] {
        let wishes = wish.replace(',', ", ");
        let places = if wish.contains(',') { 2 } else { 3 };
        for object in &asking("one", wish)[..places] {
            refused(&plane, object, "default", &wishes);
            judge(&plane, &within(object.clone(), "web")).unwrap();
            judge(&plane, &within(object.clone(), "infra")).unwrap();
        }
    }
    for (wish, said) in [
        ("192.0.2.32", "192.0.2.32"),
        ("2001:db8:1::10", "2001:db8:1::10"),
        (" 192.0.2.17 , 192.0.2.32", "192.0.2.32"),
        ("2001:db8:1::1,2001:db8:1::10,", "2001:db8:1::10"),
        ("192.0.2.16/28", "192.0.2.16/28"),
        ("nonsense", "nonsense"),
    ] {
        let [object, ..] = asking("one", wish);
        refused(&plane, &within(object.clone(), "web"), "web", said);
        judge(&plane, &within(object, "infra")).unwrap();
    }
    // In two places at once both count.
    let both = service("one", &json!({PLACES[0]: "192.0.2.17"}), &json!({"loadBalancerIP": "192.0.2.99"}));
    refused(&plane, &within(both, "web"), "web", "192.0.2.99");
    // Who asks for nothing, or is no load balancer, is not judged.
    judge(&plane, &plain("one")).unwrap();
    judge(&plane, &service("one", &json!({PLACES[0]: ""}), &json!({}))).unwrap();
    judge(&plane, &service("one", &json!({PLACES[0]: "192.0.2.1"}), &json!({"type": "ClusterIP"}))).unwrap();
}

#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_what_was_asked_for_before_stays_and_nothing_is_added() {
    let plane = with_policy();
    let [mut changed, ..] = asking("before", "192.0.2.1");
    changed["metadata"]["labels"] = json!({"team": "web"});
    plane.apply_all(&[changed]).unwrap();
    let [other, ..] = asking("before", "192.0.2.2");
    refused(&plane, &other, "default", "192.0.2.2");
    let [more, ..] = asking("before", "192.0.2.1,2001:db8::1");
    refused(&plane, &more, "default", "2001:db8::1");
    let [less, ..] = asking("before", "");
    judge(&plane, &less).unwrap();
    let [_, _, later] = asking("nothing", "192.0.2.1");
    refused(&plane, &later, "default", "192.0.2.1");

    // Not by way of another type either.
    let hidden = |kind: &str| service("hidden", &json!({PLACES[0]: "192.0.2.1"}), &json!({"type": kind}));
    plane.apply_all(&[hidden("ClusterIP")]).unwrap();
    refused(&plane, &hidden("LoadBalancer"), "default", "192.0.2.1");

    // A status is the controller's affair.
    plane
        .patch_status(&["service", "before"], &json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}))
        .unwrap();

    plane.kubectl(&["delete", "validatingadmissionpolicybinding", "barelb-requested-addresses"]).unwrap();
    plane.wait_for(LONG, "it is still refused", |plane| Ok(judge(plane, &other).ok())).unwrap();
}
