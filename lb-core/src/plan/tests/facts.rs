//! F3 and F4 of MetalLB's own tests (`speaker/layer2_controller_test.go`): inputs and expected results.

use super::*;

/// Endpoints as (node, ready).
fn slice(endpoints: &[(&str, bool)]) -> Endpoints {
    Endpoints::from_endpoints(endpoints.iter().map(|(name, ready)| Endpoint {
        node: Some(node(name)),
        ready: Some(*ready),
        serving: None,
    }))
}

fn local(snapshot: &mut Snapshot, name: &str, address: &str, endpoints: &[(&str, bool)]) {
    services(snapshot).insert(key(name), service(&[address], TrafficPolicy::Local, slice(endpoints)));
}

/// `TestShouldAnnounceEPSlices`: traffic policy Local, address 10.20.30.1. How many endpoints a node has never matters.
#[test]
fn f3_endpoints_decide_under_the_policy_local() {
    let (y, n) = (true, false);
    for (endpoints, iris1, iris2) in [
        (&[("iris1", y), ("iris1", y)][..], "A", "notOwner"),
        (&[("iris1", n), ("iris1", n)], "notOwner", "notOwner"),
        (&[("iris1", n), ("iris2", y)], "notOwner", "A"),
        (&[("iris1", n), ("iris2", n)], "notOwner", "notOwner"),
        (&[("iris1", y), ("iris2", n)], "A", "notOwner"),
        (&[("iris1", y), ("iris2", y), ("iris2", y)], "notOwner", "A"),
        (&[("iris1", y), ("iris1", y), ("iris2", y)], "notOwner", "A"),
        // The data of MetalLB's case have all endpoints ready; one that is not makes no difference.
        (&[("iris1", y), ("iris2", y), ("iris2", n)], "notOwner", "A"),
        // The title of MetalLB's case says the opposite; these are the values it expects.
        (&[("iris1", y), ("iris1", n), ("iris2", y)], "notOwner", "A"),
        (&[("iris1", y), ("iris2", n), ("iris2", n)], "A", "notOwner"),
    ] {
        for (me, expected) in [("iris1", iris1), ("iris2", iris2)] {
            let mut snapshot = cluster(me, &["iris1", "iris2"], &[ad("all", "")]);
            local(&mut snapshot, "test1", "10.20.30.1", endpoints);
            assert_eq!(word(&snapshot, "test1", "10.20.30.1"), expected, "{me}: {endpoints:?}");
        }
    }
}

/// The only endpoint that serves is one that is not ready any more.
#[test]
fn f3_an_endpoint_that_serves_while_it_ends_decides_too() {
    let endpoint = |name, serving| Endpoint { node: Some(node(name)), ready: Some(false), serving };
    let both = [endpoint("iris1", Some(false)), endpoint("iris2", Some(true))];
    for (me, expected) in [("iris1", "notOwner"), ("iris2", "A")] {
        let mut snapshot = cluster(me, &["iris1", "iris2"], &[ad("all", "")]);
        let on = Endpoints::from_endpoints(both.clone());
        services(&mut snapshot).insert(key("test1"), service(&["10.20.30.1"], TrafficPolicy::Local, on));
        assert_eq!(word(&snapshot, "test1", "10.20.30.1"), expected, "{me}");
    }
}

#[test]
fn f3_two_services() {
    let (y, n) = (true, false);
    for (first, second) in [
        (&[("iris1", y), ("iris2", y)][..], &[("iris1", y), ("iris2", y)][..]),
        (&[("iris1", n), ("iris2", y)], &[("iris1", y), ("iris2", n)]),
    ] {
        for (me, expected) in [("iris1", ["notOwner", "A"]), ("iris2", ["A", "notOwner"])] {
            let mut snapshot = cluster(me, &["iris1", "iris2"], &[ad("all", "")]);
            local(&mut snapshot, "test1", "10.20.30.1", first);
            local(&mut snapshot, "test2", "10.20.30.2", second);
            let words = [word(&snapshot, "test1", "10.20.30.1"), word(&snapshot, "test2", "10.20.30.2")];
            assert_eq!(words, expected, "{me}");
        }
    }
}

const M: &str = "noMatchingAdvertisement";

/// `TestShouldAnnounceFromNodes`: policy, nodes with endpoints, nodes of the advertisements, nodes with the
/// exclude label, whether that label is ignored, and the results on iris1 and iris2.
#[test]
fn f4_advertisements_limit_the_nodes() {
    use TrafficPolicy::{Cluster, Local};
    let both = &["iris1", "iris2"][..];
    for (policy, serving, ads, excluded, ignore, iris1, iris2) in [
        (Cluster, &["iris1"][..], &["iris1"][..], &[][..], false, "A", M),
        (Local, &["iris1"], both, &[], false, "A", "notOwner"),
        (Cluster, &["iris1"], &[""], &[], false, "notOwner", "A"),
        (Cluster, both, &["iris1"], &[], false, "A", M),
        (Local, &["iris1"], &["iris2"], &[], false, M, "notOwner"),
        (Cluster, &["iris1"], &[""], &["iris2"], false, "A", "notOwner"),
        (Cluster, &["iris1"], &[""], &["iris1"], false, "notOwner", "A"),
        (Cluster, &["iris1"], &[""], both, false, "notOwner", "notOwner"),
        (Local, &["iris1"], &[""], both, true, "A", "notOwner"),
    ] {
        for (me, expected) in [("iris1", iris1), ("iris2", iris2)] {
            let ads: Vec<_> = ads.iter().enumerate().map(|(i, on)| ad(&format!("ad{i}"), on)).collect();
            let mut snapshot = cluster(me, &["iris1", "iris2"], &ads);
            for name in excluded {
                let labels = &mut snapshot.nodes.get_mut(&node(name)).unwrap().labels;
                labels.insert(EXCLUDE_LABEL.to_owned(), String::new());
            }
            snapshot.ignore_exclude_label = ignore;
            let on = Endpoints::on(serving.iter().map(|n| node(n)));
            services(&mut snapshot).insert(key("test1"), service(&["10.20.30.1"], policy, on));
            let found = word(&snapshot, "test1", "10.20.30.1");
            assert_eq!(found, expected, "{me}: {policy:?} {serving:?} excluded {excluded:?}");
        }
    }
}

/// Without Leases, as with MetalLB's speaker list disabled, every node that is known counts.
#[test]
fn f4_without_a_list_of_members_all_known_nodes_are_there() {
    for (me, expected) in [("iris1", "A"), ("iris2", "notOwner")] {
        let mut snapshot = cluster(me, &["iris1", "iris2"], &[ad("all", "")]);
        snapshot.nodes.values_mut().for_each(|state| *state = Node::default());
        local(&mut snapshot, "test1", "10.20.30.1", &[("iris1", true)]);
        assert_eq!(word(&snapshot, "test1", "10.20.30.1"), expected, "{me}");
    }
}

fn preferring(mut ad: RawAdvertisement, preferences: &[(i64, &str)]) -> RawAdvertisement {
    let preference = |(weight, on): &(i64, &str)| RawPreference {
        weight: *weight,
        preference: if on.is_empty() { RawSelector::default() } else { selector("node", on) },
    };
    ad.preferred_node_selectors = preferences.iter().map(preference).collect();
    ad
}

fn on_nodes(mut ad: RawAdvertisement, names: &[&str]) -> RawAdvertisement {
    ad.node_selectors = names.iter().map(|name| selector("node", name)).collect();
    ad
}

fn for_service(mut ad: RawAdvertisement, app: &str) -> RawAdvertisement {
    ad.service_selectors = vec![selector("app", app)];
    ad
}

/// Owner of 10.20.30.1 among these nodes; `serving` is for policy Local, empty = Cluster.
fn owner(nodes: &[&str], alive: &[&str], ads: &[RawAdvertisement], serving: &[&str]) -> String {
    let mut snapshot = cluster(nodes[0], nodes, ads);
    for (name, state) in &mut snapshot.nodes {
        state.alive = alive.contains(&name.as_str());
    }
    let policy = if serving.is_empty() { TrafficPolicy::Cluster } else { TrafficPolicy::Local };
    let endpoints =
        if serving.is_empty() { Endpoints::Unknown } else { Endpoints::on(serving.iter().map(|n| node(n))) };
    services(&mut snapshot).insert(key("test1"), service(&["10.20.30.1"], policy, endpoints));
    plan(&snapshot).owners.get(&ip("10.20.30.1")).map(|o| o.owner.to_string()).unwrap_or_default()
}

#[test]
fn f4_preferred_nodes_come_first() {
    let four = &["edge-a", "edge-b", "worker-a", "worker-b"][..];
    let three = &["edge-a", "edge-b", "worker-a"][..];
    let equal = [preferring(ad("all", ""), &[(100, "edge-a"), (100, "edge-b")])];
    let two = ["node-a", "node-b"];
    let scoped = [
        preferring(ad("a", "edge-a"), &[(100, "edge-a")]),
        on_nodes(ad("b", ""), &["edge-a", "worker-a"]),
        for_service(preferring(ad("c", ""), &[(100, "worker-a"), (100, "worker-a")]), "other"),
    ];
    for (nodes, alive, ads, serving, expected) in [
        (four, four, &[ad("all", "")][..], &[][..], "edge-b"),
        (four, four, &[preferring(ad("all", ""), &[(100, "edge-a")])], &[], "edge-a"),
        (four, four, &[preferring(ad("all", ""), &[(100, "nowhere")])], &[], "edge-b"),
        (four, four, &[preferring(ad("all", ""), &[(9, "")])], &[], "edge-b"),
        (three, three, &equal, &[], "edge-b"),
        (three, &["edge-b", "worker-a"], &equal, &[], "edge-b"),
        (three, &["edge-a", "worker-a"], &equal, &[], "edge-a"),
        (three, &["worker-a"], &equal, &[], "worker-a"),
        (four, four, &equal, &[], "edge-b"),
        (four, &["worker-a", "worker-b"], &equal, &[], "worker-a"),
        (&two, &two, &[preferring(ad("all", ""), &[(100, "node-a")])], &["node-b"], "node-b"),
        (three, three, &scoped, &[], "edge-a"),
        (three, &["edge-b", "worker-a"], &scoped, &[], "worker-a"),
        // Weights on one node from two advertisements add up: 70 + 30 beats 90.
        (
            &two,
            &two,
            &[
                preferring(ad("x", ""), &[(70, "node-a"), (90, "node-b")]),
                preferring(ad("y", ""), &[(30, "node-a")]),
            ],
            &[],
            "node-a",
        ),
        // And inside one advertisement: 60 + 50 beats 100.
        (
            &two,
            &two,
            &[preferring(ad("x", ""), &[(60, "node-a"), (50, "node-a"), (100, "node-b")])],
            &[],
            "node-a",
        ),
        // A node outside an advertisement's nodes scores nothing by it.
        (&two, &two, &[ad("all", ""), preferring(ad("x", "node-b"), &[(100, "node-a")])], &[], "node-b"),
    ] {
        assert_eq!(owner(nodes, alive, ads, serving), expected, "{alive:?} {ads:?}");
    }
}

#[test]
fn f4_service_selectors_choose_the_advertisement() {
    let ads = [for_service(ad("foo", "iris1"), "foo"), for_service(ad("bar", "iris2"), "bar")];
    let absent = [for_service(ad("foo", ""), "foo"), for_service(ad("bar", "nowhere"), "bar")];
    let or = {
        let mut both = ad("or", "");
        both.service_selectors = vec![selector("app", "foo"), selector("app", "bar")];
        [both]
    };
    for (ads, app, iris1, iris2) in [
        (&ads[..], "foo", "A", M),
        (&ads, "bar", M, "A"),
        (&ads, "none", M, M),
        (&absent, "bar", M, M),
        (&or, "bar", "notOwner", "A"),
        (&or, "none", M, M),
    ] {
        for (me, expected) in [("iris1", iris1), ("iris2", iris2)] {
            let mut snapshot = cluster(me, &["iris1", "iris2"], ads);
            let mut web = service(&["10.20.30.1"], TrafficPolicy::Cluster, Endpoints::Unknown);
            web.labels.insert("app".to_owned(), app.to_owned());
            services(&mut snapshot).insert(key("web"), web);
            assert_eq!(word(&snapshot, "web", "10.20.30.1"), expected, "{me}: {app}");
        }
    }
}

/// With the annotation under both of its prefixes.
#[test]
fn f4_shared_addresses_and_service_selectors_exclude_each_other() {
    let plain = || ad("plain", "");
    let selective = || for_service(ad("selective", ""), "web");
    let spec = |annotation: Option<&str>| ServiceSpec {
        labels: Labels::from([("app".to_owned(), "web".to_owned())]),
        annotations: annotation.map(|key| (key.to_owned(), "key".to_owned())).into_iter().collect(),
        ..ServiceSpec::default()
    };
    let shared = ["metallb.io/allow-shared-ip", "metallb.universe.tf/allow-shared-ip"];
    for (ads, annotations, expected) in [
        (&[selective()][..], &shared.map(Some)[..], "sharedIPWithServiceSelector"),
        (&[selective(), plain()], &shared.map(Some), "sharedIPWithServiceSelector"),
        (&[plain()], &shared.map(Some), "A"),
        (&[selective()], &[None], "A"),
        (&[for_service(ad("other", ""), "other"), plain()], &shared.map(Some), "A"),
    ] {
        for annotation in annotations {
            let mut snapshot = cluster("iris1", &["iris1"], ads);
            let addresses = Addresses::one(ip("10.20.30.1"));
            let web = AnnouncedService::new(&spec(*annotation), addresses, Endpoints::Unknown);
            services(&mut snapshot).insert(key("web"), web);
            assert_eq!(word(&snapshot, "web", "10.20.30.1"), expected, "{annotation:?} {ads:?}");
        }
    }
}

#[test]
fn f4_reachability_counts_and_readiness_does_not() {
    let mut snapshot = cluster("iris1", &["iris1", "iris2"], &[ad("all", "")]);
    services(&mut snapshot)
        .insert(key("web"), service(&["10.20.30.1"], TrafficPolicy::Cluster, Endpoints::Unknown));
    assert_eq!(word(&snapshot, "web", "10.20.30.1"), "notOwner");
    snapshot.nodes.get_mut(&node("iris2")).unwrap().network_unavailable = true;
    assert_eq!(word(&snapshot, "web", "10.20.30.1"), "A");
}
