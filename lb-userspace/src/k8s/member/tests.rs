use lb_core::ids::LinkName;
use lb_core::membership::LivenessReport;

use super::*;

#[test]
fn what_is_written_is_read() {
    let node = NodeName::new("node-a").unwrap();
    let link = LinkReport {
        name: LinkName::new("eth0").unwrap(),
        mac: Some("02:00:00:00:00:0a".to_owned()),
        addresses: vec!["192.0.2.10".parse().unwrap(), "2001:db8::10".parse().unwrap()],
        fit: false,
        why: Some("it is down".to_owned()),
        liveness: Some(LivenessReport { discriminator: 7, port: 7785 }),
    };
    let now = SystemTime::UNIX_EPOCH + Duration::from_micros(1_700_000_000_123_456);
    let written = lease(&node, "node-a_1", Duration::from_secs(75), std::slice::from_ref(&link), now);
    let (name, heartbeat) = read(serde_json::from_value(written).unwrap()).unwrap();
    assert_eq!(name, node);
    let expected = Heartbeat {
        holder: "node-a_1".to_owned(),
        renewed: 1_700_000_000_123_456,
        duration: Duration::from_secs(75),
        version: String::new(),
        links: Some(fitness([link.clone()])),
        reports: vec![link],
    };
    assert_eq!(heartbeat, expected);
}

#[test]
fn what_others_write_is_read_as_far_as_it_can_be() {
    let lease = |value| read(serde_json::from_value(value).unwrap());
    assert_eq!(lease(json!({"metadata": {"name": "barelb-controller"}})), None);
    assert_eq!(lease(json!({"metadata": {"name": "barelb-node-UPPER"}})), None);
    let annotations = json!({"barelb.io/links": "[{\"name\": 7}]"});
    let spec = json!({"holderIdentity": "x", "leaseDurationSeconds": -1});
    let found =
        lease(json!({"metadata": {"name": "barelb-node-a", "annotations": annotations}, "spec": spec}));
    let (_, heartbeat) = found.unwrap();
    assert_eq!((heartbeat.links, heartbeat.duration, heartbeat.renewed), (None, Duration::ZERO, 0));
}
