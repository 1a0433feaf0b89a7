use serde_json::json;

use super::*;
use crate::k8s::l2_status;

fn announcement(service: &str, node: &str, links: &[&str]) -> Announcement {
    Announcement {
        service: service.parse().unwrap(),
        node: NodeName::new(node).unwrap(),
        links: links.iter().map(|link| LinkName::new(link).unwrap()).collect(),
        of_metallb: false,
    }
}

fn announced(services: &[(&str, &[&str])]) -> All {
    let one = |(service, links): &(&str, &[&str])| {
        let announced = Announced {
            uid: "u".into(),
            ips: vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()],
            links: links.iter().map(|link| LinkName::new(link).unwrap()).collect(),
        };
        (service.parse().unwrap(), announced)
    };
    let alive = ["a", "b"].into_iter().map(|node| NodeName::new(node).unwrap()).collect();
    All { services: services.iter().map(one).collect(), alive, complaints: Vec::new() }
}

fn metallbs(service: &str, node: &str) -> Announcement {
    Announcement { of_metallb: true, ..announcement(service, node, &[]) }
}

#[test]
fn what_metallb_announces_is_known_by_its_pods() {
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "name": "speaker-x", "uid": "1"});
    let object = |owners: &[serde_json::Value]| {
        let object = json!({
            "metadata": {"name": "l2-1", "ownerReferences": owners},
            "spec": {},
            "status": {"node": "x", "serviceName": "a", "serviceNamespace": "web"},
        });
        l2_status::read(serde_json::from_value(object).unwrap()).unwrap()
    };
    let objects = BTreeMap::from([object(&[pod])]);
    assert_eq!(rivals(&objects), BTreeMap::from([("web/a".parse().unwrap(), NodeName::new("x").unwrap())]));
    assert_eq!(rivals(&BTreeMap::from([object(&[])])), Rivals::new());
}

#[test]
fn what_is_said_follows_what_is_the_case() {
    let me = NodeName::new("a").unwrap();
    let (x, y) = ("web/x", "web/y");
    for (all, objects, expected) in [
        (announced(&[]), vec![], vec![]),
        (announced(&[(x, &["eth0"])]), vec![], vec![Write::Create(announcement(x, "a", &["eth0"]))]),
        (announced(&[(x, &["eth0"])]), vec![("1", announcement(x, "a", &["eth0"]))], vec![]),
        (
            announced(&[(x, &["eth0", "eth1"])]),
            vec![("1", announcement(x, "a", &["eth0"]))],
            vec![Write::Say("1".to_owned(), announcement(x, "a", &["eth0", "eth1"]))],
        ),
        // Said twice; said by the owner before, who may be dead; not announced any more.
        (
            announced(&[(x, &["eth0"])]),
            vec![("1", announcement(x, "a", &["eth0"])), ("2", announcement(x, "a", &["eth0"]))],
            vec![Write::Delete("2".to_owned())],
        ),
        (
            announced(&[(x, &["eth0"])]),
            vec![("1", announcement(x, "dead", &["eth0"])), ("2", announcement(y, "a", &["eth0"]))],
            vec![
                Write::Delete("1".to_owned()),
                Write::Delete("2".to_owned()),
                Write::Create(announcement(x, "a", &["eth0"])),
            ],
        ),
        // What MetalLB says is not ours, and its node may have no agent.
        (announced(&[]), vec![("1", metallbs(x, "a")), ("2", metallbs(x, "dead"))], vec![]),
        // What others say is theirs to take back.
        (announced(&[]), vec![("1", announcement(x, "b", &["eth0"]))], vec![]),
        (
            announced(&[(x, &["eth0"])]),
            vec![("1", announcement(x, "b", &["eth0"]))],
            vec![Write::Create(announcement(x, "a", &["eth0"]))],
        ),
    ] {
        let objects = objects.into_iter().map(|(name, said)| (name.to_owned(), said)).collect();
        assert_eq!(writes(&me, &all, &objects), expected);
    }
}
