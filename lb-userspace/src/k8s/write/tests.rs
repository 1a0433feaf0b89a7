use std::time::{Duration, UNIX_EPOCH};

use super::*;
use crate::k8s::crd::configuration_state::ConfigurationResult;

const AT: At<'_> = At { namespace: "web", name: "a", version: "17" };

#[test]
fn addresses_of_both_families_are_applied_in_their_order() {
    for (addresses, ingress) in [
        (vec!["192.0.2.1"], json!([{"ip": "192.0.2.1", "ipMode": "VIP"}])),
        (
            vec!["2001:db8::1", "192.0.2.1"],
            json!([{"ip": "2001:db8::1", "ipMode": "VIP"}, {"ip": "192.0.2.1", "ipMode": "VIP"}]),
        ),
    ] {
        let addresses = addresses.iter().map(|text| text.parse().unwrap());
        let body = set_addresses(AT, addresses, &[("metallb.io/ip-allocated-from-pool", "p")]);
        let expected = json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {
                "name": "a", "resourceVersion": "17", "annotations": {"metallb.io/ip-allocated-from-pool": "p"},
            },
            "status": {"loadBalancer": {"ingress": ingress}},
        });
        assert_eq!(body, expected);
    }
}

#[test]
fn what_is_taken_away_is_named_and_nothing_else() {
    let metadata = json!({"resourceVersion": "17", "annotations": {"x": null, "y": null}});
    assert_eq!(take_away(AT, &["x", "y"], false), json!({"metadata": metadata}));
    let status = json!({"loadBalancer": {"ingress": null}});
    assert_eq!(take_away(AT, &["x", "y"], true), json!({"metadata": metadata, "status": status}));
}

#[test]
fn answers_of_the_api_server() {
    for (code, expected) in [
        (409, "Conflict"),
        (404, "Gone"),
        (401, "Forbidden"),
        (403, "Forbidden"),
        (400, "Invalid"),
        (413, "Invalid"),
        (422, "Invalid"),
        (429, "Busy"),
        (500, "Busy"),
        (503, "Busy"),
    ] {
        let status = Status { code, ..Status::default() };
        let error = WriteError::from(kube::Error::Api(Box::new(status)));
        assert!(format!("{error:?}").starts_with(expected), "{code}: {error:?}");
    }
}

#[test]
fn a_state_keeps_the_time_of_its_last_change() {
    let at = |seconds: u64| UNIX_EPOCH + Duration::from_millis(seconds * 1000 + 500);
    let first = configuration("p: wrong", false, None, at(10));
    assert_eq!(first.result, Some(ConfigurationResult::Invalid));
    let [condition] = &first.conditions[..] else { panic!("{first:?}") };
    assert_eq!((condition.status.as_str(), condition.reason.as_str()), ("False", "ConfigurationError"));
    assert_eq!(condition.message, "p: wrong");
    // What comes back from the API server is equal.
    let back: ConfigurationStateStatus =
        serde_json::from_value(serde_json::to_value(&first).unwrap()).unwrap();
    assert_eq!(configuration("p: wrong", false, Some(&back), at(20)), back);
    let other = configuration("q: wrong", false, Some(&back), at(20));
    assert_eq!(other.conditions[0].last_transition_time, condition.last_transition_time);
    let good = configuration("", true, Some(&back), at(30));
    assert_ne!(good.conditions[0].last_transition_time, condition.last_transition_time);
    assert_eq!((good.result, good.error_summary.as_str()), (Some(ConfigurationResult::Valid), ""));
}
