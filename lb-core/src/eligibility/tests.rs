use super::*;
use crate::config::Interfaces;

fn name(text: &str) -> LinkName {
    LinkName::new(text).unwrap()
}

fn link(text: &str) -> Link {
    Link {
        id: LinkId(7),
        name: name(text),
        mac: Some(Mac([2, 0, 0, 0, 0, 0xaa])),
        up: true,
        carrier: true,
        enslaved: false,
        noarp: false,
        addresses: vec!["192.0.2.7".parse().unwrap(), "2001:db8::7".parse().unwrap()],
    }
}

fn node(text: &str) -> NodeName {
    NodeName::new(text).unwrap()
}

/// F2, single conditions, and the sets of nodes of `TestUsableNodesEPSlices`.
#[test]
fn f2_ready_wins_over_serving() {
    let endpoint = |ready, serving| Endpoint { node: Some(node("iris1")), ready, serving };
    for (ready, serving, counts) in [
        (None, None, true),
        (None, Some(false), true),
        (Some(false), None, false),
        (Some(true), Some(false), true),
        (Some(false), Some(true), true),
        (Some(false), Some(false), false),
        (Some(true), None, true),
        (None, Some(true), true),
    ] {
        assert_eq!(endpoint(ready, serving).can_serve(), counts, "{ready:?} {serving:?}");
    }
    let on = |node_name: &str, ready, serving| Endpoint { node: Some(node(node_name)), ready, serving };
    for (endpoints, expected) in [
        (vec![on("iris1", Some(true), None), on("iris2", Some(true), None)], &["iris1", "iris2"][..]),
        (vec![on("iris1", Some(true), None), on("iris1", Some(true), None)], &["iris1"]),
        (vec![on("iris1", Some(true), None), on("iris1", Some(false), None)], &["iris1"]),
        (
            vec![on("iris1", Some(false), Some(true)), on("iris2", Some(false), Some(true))],
            &["iris1", "iris2"],
        ),
        (
            vec![on("iris1", Some(true), Some(false)), on("iris2", Some(true), Some(false))],
            &["iris1", "iris2"],
        ),
        (vec![on("iris1", Some(false), None)], &[]),
    ] {
        let found = Endpoints::from_endpoints(endpoints);
        assert_eq!(found, Endpoints::on(expected.iter().map(|n| node(n))));
        assert_eq!(found.any(), !expected.is_empty());
    }
}

#[test]
fn an_endpoint_without_a_node_serves_the_cluster_policy_only() {
    let endpoints = Endpoints::from_endpoints([Endpoint::default()]);
    assert!(endpoints.any() && !endpoints.has(&node("iris1")));
    assert!(Endpoints::Unknown.any() && Endpoints::Unknown.has(&node("iris1")));
}

#[test]
fn links_are_judged_as_metallb_judges_them() {
    let none = BTreeSet::new();
    for (text, excluded) in [
        ("eth0", false),
        ("lo", true),
        ("loop0", false),
        ("docker0", true),
        ("cbr0", true),
        ("dummy0", true),
        ("virbr0", true),
        ("lxcbr0", true),
        ("veth12ab", true),
        ("cali123", true),
        ("tunl0", true),
        ("flannel.1", true),
        ("kube-ipvs0", true),
        ("cni0", true),
        ("nodelocaldns", true),
        ("lxc1", true),
        ("br0", false),
        ("bond0", false),
    ] {
        assert_eq!(fault(&link(text), &none), excluded.then_some(LinkFault::Excluded), "{text}");
        assert_eq!(fault(&link(text), &BTreeSet::from([name(text)])), None, "{text} is named");
    }
    let only = BTreeSet::from([name("eth1")]);
    assert_eq!(fault(&link("eth0"), &only), Some(LinkFault::NotAllowed));
    for (broken, expected) in [
        (Link { up: false, ..link("eth0") }, Some(LinkFault::Down)),
        (Link { enslaved: true, ..link("eth0") }, Some(LinkFault::Enslaved)),
        (Link { noarp: true, ..link("eth0") }, Some(LinkFault::NoArp)),
        (Link { mac: None, ..link("eth0") }, Some(LinkFault::NoMac)),
        (Link { carrier: false, ..link("eth0") }, None),
    ] {
        assert_eq!(fault(&broken, &none), expected);
    }
}

#[test]
fn addresses_of_excluded_links_are_not_the_nodes_own() {
    let links =
        [link("eth0"), Link { addresses: vec!["203.0.113.1".parse().unwrap()], ..link("kube-ipvs0") }];
    let own = own_addresses(&links, &BTreeSet::new());
    assert_eq!(own.len(), 2, "one of each family, and none of kube-ipvs0: {own:?}");
    assert_eq!(own_addresses(&links, &BTreeSet::from([name("kube-ipvs0")])).len(), 3);
}

#[test]
fn a_node_without_a_fit_link_is_no_candidate() {
    let all = Interfaces::default();
    let named = |names: &[&str]| Interfaces::new(names.iter().map(|text| name(text)).collect(), None);
    let mut node = Node::default();
    assert!(node.has_fit_link(&all), "a node that reports nothing is taken as fit");
    node.links = Some(BTreeMap::from([(name("eth0"), LinkFitness::Unfit), (name("eth1"), LinkFitness::Fit)]));
    assert!(node.has_fit_link(&all) && node.has_fit_link(&named(&["eth1", "eth9"])));
    assert!(!node.has_fit_link(&named(&["eth0"])));
    node.links = Some(BTreeMap::new());
    assert!(!node.has_fit_link(&all));
}

#[test]
fn usable_nodes_are_alive_reachable_and_not_excluded() {
    assert!(Node::default().is_usable(false));
    assert!(!Node { alive: false, ..Node::default() }.is_usable(true));
    assert!(!Node { network_unavailable: true, ..Node::default() }.is_usable(true));
    let excluded =
        Node { labels: Labels::from([(EXCLUDE_LABEL.to_owned(), String::new())]), ..Node::default() };
    assert!(!excluded.is_usable(false) && excluded.is_usable(true));
}
