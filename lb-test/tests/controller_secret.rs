//! L5: the Secret that the agents' key is made of, on a real API server under the rights of manifests/base. Needs root and
//! the testbed.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use anyhow::ensure;
use lb_test::cluster::services::{plain, pool};
use lb_test::cluster::{ControlPlane, Controller};
use serde_json::{Value, json};

const NAMESPACE: &str = "--namespace=metallb-system";
/// More than the controller takes to look for the Secret once it leads.
const LOOK: Duration = Duration::from_secs(3);

/// Waits for the Secret.
fn secret(plane: &ControlPlane) -> Value {
    let missing = "there is no Secret";
    plane
        .wait_for(Controller::PATIENCE, missing, |plane| {
            let found = plane.kubectl(&["get", "secret", "memberlist", NAMESPACE, "--ignore-not-found"])?;
            ensure!(!found.is_empty(), missing);
            plane.get(&["secret", "memberlist", NAMESPACE]).map(Some)
        })
        .unwrap()
}

/// A controller that leads, and has had time for what it does when it begins to.
fn leading(plane: &ControlPlane) -> Controller {
    let controller = Controller::start(plane, 0, &[]).unwrap();
    plane.leads(&controller).unwrap();
    thread::sleep(LOOK);
    controller
}

#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_the_agents_secret_is_made_where_it_is_missing_and_never_changed() {
    let plane = ControlPlane::installed().unwrap();
    let controller = leading(&plane);
    let made = secret(&plane);
    assert_eq!(made["type"], "Opaque");
    assert_eq!(made["metadata"]["labels"]["app.kubernetes.io/managed-by"], "barelb-controller");
    let template = "--output=go-template={{.data.secretkey | base64decode}}";
    let text = plane.kubectl(&["get", "secret", "memberlist", NAMESPACE, template]).unwrap();
    assert_eq!(text.len(), 172, "128 bytes in Base64");
    let different = text.bytes().collect::<BTreeSet<_>>().len();
    assert!(different > 40, "it is not random: {text}");
    assert!(!controller.log().contains(&text), "it is nobody's business");
    controller.stop().unwrap();

    let mut log = plane.audit_from_now().unwrap();
    leading(&plane).stop().unwrap();
    assert_eq!(log.controller_writes().unwrap(), []);
    assert_eq!(secret(&plane), made);

    // That of a user, or of MetalLB.
    plane.kubectl(&["delete", "secret", "memberlist", NAMESPACE]).unwrap();
    let own = "--from-literal=secretkey=of a user, with other bytes";
    plane.kubectl(&["create", "secret", "generic", "memberlist", NAMESPACE, own]).unwrap();
    let before = secret(&plane);
    leading(&plane).stop().unwrap();
    assert_eq!(log.controller_writes().unwrap(), []);
    assert_eq!(secret(&plane), before);
}

#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_without_the_right_to_make_a_secret_the_controller_says_so_and_goes_on() {
    let plane = ControlPlane::installed().unwrap();
    let whole = plane.get(&["role", "barelb-controller", NAMESPACE]).unwrap();
    let mut less = whole.clone();
    let rules = less["rules"].as_array_mut().unwrap();
    rules.retain(|rule| rule["resources"] != json!(["secrets"]));
    assert_eq!(rules.len() + 2, whole["rules"].as_array().unwrap().len());
    let replace = |role: &Value| {
        let mut role = role.clone();
        role["metadata"].as_object_mut().unwrap().remove("resourceVersion");
        plane.feed(plane.admin(), &["replace", "--filename=-"], &role.to_string()).unwrap();
    };
    replace(&less);
    plane.apply_all(&[pool("p", &["192.0.2.0/30", "2001:db8:1::/126"]), plain("a")]).unwrap();
    let controller = leading(&plane);
    plane.becomes(&controller, "a", &["192.0.2.0"]).unwrap();
    let log = controller.log();
    let warned: Vec<&str> = log.lines().filter(|line| line.contains("WARN")).collect();
    assert_eq!(warned.len(), 1, "{warned:?}");
    assert!(warned[0].contains("can't see to the agents' secret"), "{warned:?}");
    assert!(warned[0].contains("compare the ServiceAccount's roles with manifests/base"), "{warned:?}");
    replace(&whole);
    secret(&plane);
    controller.stop().unwrap();
}

#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_an_agent_can_read_no_secret_and_the_controller_only_its_own() {
    let plane = ControlPlane::installed().unwrap();
    let random = "--from-literal=secretkey=0123456789abcdef";
    for name in ["memberlist", "other"] {
        plane.kubectl(&["create", "secret", "generic", name, NAMESPACE, random]).unwrap();
    }
    let agent = plane.service_account("metallb-system", "barelb-agent").unwrap();
    let controller = plane.controller_account().unwrap();
    plane.kubectl_as(&controller, &["get", "secret", "memberlist", NAMESPACE]).unwrap();
    let patch = json!({"data": {"secretkey": "AAAA"}}).to_string();
    let get = |name| vec!["get", "secret", name, NAMESPACE];
    let both: [Vec<&str>; 5] = [
        get("other"),
        vec!["get", "secrets", NAMESPACE],
        vec!["get", "secrets", "--all-namespaces"],
        vec!["patch", "secret", "memberlist", NAMESPACE, "--patch", &patch],
        vec!["delete", "secret", "memberlist", NAMESPACE],
    ];
    let agents = [get("memberlist"), vec!["create", "secret", "generic", "new", NAMESPACE, random]];
    let asked = both.iter().flat_map(|what| [(&agent, what), (&controller, what)]);
    for (who, what) in asked.chain(agents.iter().map(|what| (&agent, what))) {
        let answer = plane.kubectl_as(who, what);
        let text = answer.as_ref().err().map(|error| format!("{error:#}").to_lowercase());
        let refused = text.is_some_and(|text| text.contains("forbidden"));
        assert!(refused, "{} may `kubectl {}`: {answer:?}", who.user(), what.join(" "));
    }
}
