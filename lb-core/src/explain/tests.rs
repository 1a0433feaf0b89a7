use super::*;
use crate::{
    config::{Config, RawAdvertisement, RawPool},
    membership::LinkReport,
    selector::{Labels, RawSelector},
};

fn node(name: &str) -> NodeName {
    NodeName::new(name).unwrap()
}

fn label(key: &str, value: &str) -> Labels {
    Labels::from([(key.to_owned(), value.to_owned())])
}

/// Nodes a to g, each with one thing that makes it a candidate or keeps it from being one.
fn nodes() -> BTreeMap<NodeName, Node> {
    let rack = |rack: &str| Node { labels: label("rack", rack), ..Node::default() };
    let eth0 = || LinkName::new("eth0").unwrap();
    let report = LinkReport {
        name: eth0(),
        mac: None,
        addresses: Vec::new(),
        fit: false,
        why: Some("it is down: ip link set it up".to_owned()),
        liveness: None,
    };
    let mut excluded = rack("1");
    excluded.labels.insert(EXCLUDE_LABEL.to_owned(), String::new());
    let nodes = [
        ("a", rack("1")),
        ("b", rack("1")),
        ("c", Node { alive: false, network_unavailable: true, ..rack("1") }),
        ("d", excluded),
        ("e", rack("2")),
        (
            "f",
            Node {
                links: Some(BTreeMap::from([(eth0(), LinkFitness::Unfit)])),
                reports: vec![report],
                ..rack("1")
            },
        ),
        ("g", rack("1")),
    ];
    nodes.into_iter().map(|(name, one)| (node(name), one)).collect()
}

fn snapshot(policy: TrafficPolicy) -> Snapshot {
    let pool = RawPool {
        name: "p".to_owned(),
        addresses: vec!["192.0.2.0/28".to_owned(), "2001:db8::/124".to_owned()],
        ..RawPool::default()
    };
    let selector = RawSelector { match_labels: label("rack", "1"), ..RawSelector::default() };
    let ad = RawAdvertisement {
        name: "rack1".to_owned(),
        node_selectors: vec![selector],
        ..RawAdvertisement::default()
    };
    let other = RawAdvertisement {
        name: "other".to_owned(),
        pools: vec!["q".to_owned()],
        ..RawAdvertisement::default()
    };
    let (config, _) = Config::validate(&[pool], &[ad, other], &[]);
    let service = AnnouncedService {
        ingress: ["192.0.2.1", "2001:db8::1"].map(|ip| ip.parse().unwrap()).to_vec(),
        external_traffic_policy: policy,
        endpoints: Endpoints::on(["a", "b", "c", "d", "e", "f"].map(node)),
        ..AnnouncedService::default()
    };
    let key = ServiceKey::new("default", "web").unwrap();
    Snapshot {
        nodes: nodes(),
        config: Arc::new(config),
        services: Arc::new(BTreeMap::from([(key, service)])),
        ..Snapshot::alone(node("a"))
    }
}

fn said(bars: &[Bar]) -> Vec<String> {
    bars.iter().map(ToString::to_string).collect()
}

#[test]
fn each_node_is_a_candidate_or_has_its_reasons() {
    for ip in ["192.0.2.1", "2001:db8::1"] {
        let explained = explain(&snapshot(TrafficPolicy::Local), ip.parse().unwrap());
        assert_eq!(explained.pool.as_ref().map(PoolName::as_str), Some("p"));
        let order: Vec<&str> = explained.candidates.iter().map(|one| one.node.as_str()).collect();
        assert_eq!(explained.key, Some("192.0.2.1".parse().unwrap()), "both families go together");
        assert_eq!(order.len(), 2);
        assert!(order.contains(&"a") && order.contains(&"b"), "{order:?}");
        assert_eq!(explained.owner.as_ref().map(NodeName::as_str), Some(order[0]));
        let others: BTreeMap<&str, Vec<String>> =
            explained.others.iter().map(|(name, bars)| (name.as_str(), said(bars))).collect();
        let expected = [
            (
                "c",
                vec![
                    "its agent is not there: its Lease is not renewed",
                    "its condition NetworkUnavailable is true",
                ],
            ),
            ("d", vec!["it has the label node.kubernetes.io/exclude-from-external-load-balancers"]),
            ("e", vec!["no L2Advertisement that announces the address selects it (nodeSelectors)"]),
            ("f", vec!["no interface can announce: eth0: it is down: ip link set it up"]),
            ("g", vec!["externalTrafficPolicy is Local, and no endpoint on it can serve"]),
        ];
        let expected = expected.map(|(name, bars)| (name, bars.into_iter().map(str::to_owned).collect()));
        assert_eq!(others, BTreeMap::from(expected));
        let notices: Vec<(&str, bool, bool)> =
            explained.advertisements.iter().map(|one| (one.name.as_str(), one.covers, one.selects)).collect();
        assert_eq!(notices, [("rack1", true, true), ("other", false, true)]);
    }
    let explained = explain(&snapshot(TrafficPolicy::Cluster), "192.0.2.1".parse().unwrap());
    assert_eq!(explained.candidates.len(), 3, "any node can serve");
}

#[test]
fn an_address_that_nobody_announces_says_why() {
    let mut snapshot = snapshot(TrafficPolicy::Cluster);
    let services = Arc::make_mut(&mut snapshot.services);
    let web = services.first_entry().unwrap().into_mut();
    web.ingress = vec!["203.0.113.1".parse().unwrap()];
    let explained = explain(&snapshot, "203.0.113.1".parse().unwrap());
    let silences: Vec<String> =
        explained.services.iter().filter_map(|one| Some(one.silence.as_ref()?.to_string())).collect();
    assert_eq!(silences, ["203.0.113.1 lies in no address pool"]);
    assert_eq!((explained.owner, explained.candidates.len(), explained.key), (None, 0, None));
    let explained = explain(&snapshot, "192.0.2.9".parse().unwrap());
    assert_eq!(explained.services, [], "no Service holds it");
}
