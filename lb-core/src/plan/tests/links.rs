//! On which links and VLANs an address is announced.

use super::*;

fn on_interfaces(mut ad: RawAdvertisement, names: &[&str]) -> RawAdvertisement {
    ad.interfaces = names.iter().map(|n| (*n).to_owned()).collect();
    ad
}

fn on_vlan(mut ad: RawAdvertisement, vlan: &str) -> RawAdvertisement {
    ad.vlan = Some(vlan.to_owned());
    ad
}

fn matching(mut ad: RawAdvertisement, regex: &str) -> RawAdvertisement {
    ad.interface_regex = Some(regex.to_owned());
    ad
}

/// Where 10.20.30.1 is announced, as text.
fn places(snapshot: &Snapshot) -> String {
    let mut snapshot = snapshot.clone();
    services(&mut snapshot).insert(
        key("web"),
        service(&["10.20.30.1", "fd00:1::1"], TrafficPolicy::Cluster, Endpoints::Unknown),
    );
    let plan = plan(&snapshot);
    let places = |family4: bool| -> Vec<String> {
        let of_family = plan.desired.keys().filter(|t| t.ip.is_ipv4() == family4);
        of_family.map(|t| format!("{}@{}", t.link, t.vlans)).collect()
    };
    assert_eq!(places(true), places(false), "IPv4 and IPv6 in the same places");
    places(true).join(" ")
}

#[test]
fn interfaces_unite_and_an_advertisement_without_a_list_means_all() {
    for (ads, expected) in [
        (&[on_interfaces(ad("a", ""), &["eth0"])][..], "2@untagged"),
        (
            &[on_interfaces(ad("a", ""), &["eth0"]), on_interfaces(ad("b", ""), &["eth1"])],
            "2@untagged 3@untagged",
        ),
        (&[on_interfaces(ad("a", ""), &["eth0"]), ad("b", "")], "2@untagged 3@untagged"),
        (&[ad("a", ""), on_interfaces(ad("b", ""), &["eth0"])], "2@untagged 3@untagged"),
        (
            &[on_interfaces(ad("a", "iris1"), &["eth0"]), on_interfaces(ad("b", "iris2"), &["eth1"])],
            "2@untagged",
        ),
        (&[on_vlan(ad("a", ""), "42")], "2@42 3@42"),
        (
            &[on_vlan(on_interfaces(ad("a", ""), &["eth1"]), "100.42"), ad("b", "")],
            "2@untagged 3@untagged 3@100.42",
        ),
        (&[on_interfaces(ad("a", ""), &["eth9"])], ""),
        (&[matching(ad("a", ""), "eth[1-9]")], "3@untagged"),
        (&[matching(on_interfaces(ad("a", ""), &["eth0"]), "eth1|wan.*")], "2@untagged 3@untagged"),
        (&[matching(ad("a", ""), "wan.*")], ""),
    ] {
        let mut snapshot = cluster("iris1", &["iris1"], ads);
        snapshot.links.push(link(3, "eth1"));
        assert_eq!(places(&snapshot), expected, "{ads:?}");
    }
}

#[test]
fn two_advertisements_on_two_nodes_give_one_winner_on_its_own_interface() {
    let ads = [on_interfaces(ad("a", "iris1"), &["eth0"]), on_interfaces(ad("b", "iris2"), &["eth1"])];
    for (me, state, index) in [("iris1", EntryState::Standby, 2), ("iris2", EntryState::Answer, 3)] {
        let mut snapshot = cluster(me, &["iris1", "iris2"], &ads);
        snapshot.links.push(link(3, "eth1"));
        services(&mut snapshot)
            .insert(key("web"), service(&["10.20.30.1"], TrafficPolicy::Cluster, Endpoints::Unknown));
        assert_eq!(
            plan(&snapshot).desired,
            BTreeMap::from([(target(index, "10.20.30.1"), entry(index, state))])
        );
    }
}

#[test]
fn the_links_of_the_command_line_win_over_the_exclude_list() {
    let mut snapshot = cluster("iris1", &["iris1"], &[ad("all", "")]);
    snapshot.links.extend([link(3, "veth0"), link(4, "eth1")]);
    assert_eq!(places(&snapshot), "2@untagged 4@untagged");
    snapshot.allowed = ["veth0", "eth1"].map(|n| LinkName::new(n).unwrap()).into();
    assert_eq!(places(&snapshot), "3@untagged 4@untagged");
}

#[test]
fn a_link_that_is_down_loses_its_entries_and_one_without_carrier_keeps_them() {
    let mut snapshot = cluster("iris1", &["iris1"], &[ad("all", "")]);
    snapshot.links[0].carrier = false;
    assert_eq!(places(&snapshot), "2@untagged");
    snapshot.links[0].up = false;
    assert_eq!(places(&snapshot), "");
    snapshot.links[0] = Link { mac: None, ..link(2, "eth0") };
    assert_eq!(places(&snapshot), "");
}

#[test]
fn an_owner_without_a_link_says_which_links_failed_and_why() {
    let mut snapshot = cluster("iris1", &["iris1"], &[on_interfaces(ad("a", ""), &["eth0", "eth5"])]);
    snapshot.links[0].up = false;
    services(&mut snapshot)
        .insert(key("web"), service(&["10.20.30.1"], TrafficPolicy::Cluster, Endpoints::Unknown));
    assert_eq!(word(&snapshot, "web", "10.20.30.1"), "announceFailed");
    let plan = plan(&snapshot);
    assert_eq!(
        plan.problems[1].to_string(),
        "Service default/web, status.loadBalancer.ingress: this node owns the address and has no link to announce \
         it on: eth5 does not exist; eth0: it is down: ip link set it up"
    );
}

#[test]
fn a_node_that_reports_no_fit_link_leaves_the_election() {
    let mut snapshot = cluster("iris1", &["iris1", "iris2"], &[on_interfaces(ad("all", ""), &["eth0"])]);
    services(&mut snapshot)
        .insert(key("web"), service(&["10.20.30.1"], TrafficPolicy::Cluster, Endpoints::Unknown));
    assert_eq!(word(&snapshot, "web", "10.20.30.1"), "notOwner");
    let eth0 = LinkName::new("eth0").unwrap();
    let down = BTreeMap::from([(eth0, LinkFitness::Unfit)]);
    snapshot.nodes.get_mut(&node("iris2")).unwrap().links = Some(down);
    assert_eq!(word(&snapshot, "web", "10.20.30.1"), "A");
}

/// An interface that is not there is told at the field that names it, once, and not at each Service.
#[test]
fn an_interface_that_does_not_exist_is_told_where_it_is_named() {
    for (names, fields, announced) in [
        (&["eth9"][..], &["spec.interfaces[0]"][..], ""),
        (&["eth0", "eth9"], &["spec.interfaces[1]"], "2@untagged"),
        (&["eth8", "eth0", "eth9"], &["spec.interfaces[0]", "spec.interfaces[2]"], "2@untagged"),
        (&["eth0"], &[], "2@untagged"),
    ] {
        let mut written = on_interfaces(ad("a", ""), names);
        let object = "L2Advertisement metallb-system/a".to_owned();
        written.place =
            Place { file: Some("ads.yaml".to_owned()), document: Some(2), object, ..Place::default() };
        let mut snapshot = cluster("iris1", &["iris1"], &[written]);
        assert_eq!(places(&snapshot), announced, "{names:?}");
        for name in ["web", "api"] {
            let addresses =
                ["10.20.30.1", "fd00:1::1"].map(|ip| if name == "web" { ip } else { "10.20.30.2" });
            let addresses = if name == "web" { &addresses[..] } else { &addresses[..1] };
            let one = service(addresses, TrafficPolicy::Cluster, Endpoints::Unknown);
            services(&mut snapshot).insert(key(name), one);
        }
        let found: Vec<String> = plan(&snapshot).problems.iter().map(|p| p.place.to_string()).collect();
        let expected: Vec<String> = fields
            .iter()
            .map(|field| format!("ads.yaml, document 2, L2Advertisement metallb-system/a, {field}"))
            .collect();
        assert_eq!(found, expected, "{names:?}");
    }
    // Not for a node that the advertisement does not select.
    let snapshot = cluster("iris1", &["iris1", "iris2"], &[on_interfaces(ad("a", "iris2"), &["eth9"])]);
    assert!(plan(&snapshot).problems.is_empty());
}
