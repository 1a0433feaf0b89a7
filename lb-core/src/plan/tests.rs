use proptest::prelude::*;

use super::*;
use crate::{
    config::{RawAdvertisement, RawPool, RawPreference},
    eligibility::{EXCLUDE_LABEL, Endpoint, LinkFitness},
    ids::PoolName,
    problem::Reason,
    request::ServiceType,
    selector::RawSelector,
};

mod complaints;
mod facts;
mod links;
mod properties;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn node(name: &str) -> NodeName {
    NodeName::new(name).unwrap()
}

fn key(name: &str) -> ServiceKey {
    ServiceKey::new("default", name).unwrap()
}

fn selector(label: &str, value: &str) -> RawSelector {
    RawSelector {
        match_labels: Labels::from([(label.to_owned(), value.to_owned())]),
        ..RawSelector::default()
    }
}

/// An advertisement for all pools from the node with this name; from all nodes if it is empty.
fn ad(name: &str, on: &str) -> RawAdvertisement {
    let node_selectors = if on.is_empty() { vec![] } else { vec![selector("node", on)] };
    RawAdvertisement { name: name.to_owned(), node_selectors, ..RawAdvertisement::default() }
}

fn config(ads: &[RawAdvertisement]) -> Arc<Config> {
    let pool = RawPool {
        name: "default".to_owned(),
        addresses: ["10.20.30.0/24", "fd00:1::/64", "10.99.0.0/16"].map(str::to_owned).to_vec(),
        ..RawPool::default()
    };
    let (config, problems) = Config::validate(&[pool], ads, &[]);
    assert_eq!(problems, []);
    Arc::new(config)
}

fn link(index: u32, name: &str) -> Link {
    Link {
        id: LinkId(index),
        name: LinkName::new(name).unwrap(),
        mac: Some(mac(index)),
        up: true,
        carrier: true,
        enslaved: false,
        noarp: false,
        addresses: vec![],
    }
}

fn mac(index: u32) -> Mac {
    Mac([2, 0, 0, 0, 0, u8::try_from(index).unwrap()])
}

/// A cluster of these nodes, each labelled with its name, seen from `me`, which has one link.
fn cluster(me: &str, nodes: &[&str], ads: &[RawAdvertisement]) -> Snapshot {
    let labelled = |name: &&str| {
        let labels = Labels::from([("node".to_owned(), (*name).to_owned())]);
        (node(name), Node { labels, ..Node::default() })
    };
    Snapshot {
        nodes: nodes.iter().map(labelled).collect(),
        config: config(ads),
        links: vec![link(2, "eth0")],
        ..Snapshot::alone(node(me))
    }
}

fn service(ips: &[&str], policy: TrafficPolicy, endpoints: Endpoints) -> AnnouncedService {
    AnnouncedService {
        ingress: ips.iter().map(|text| ip(text)).collect(),
        external_traffic_policy: policy,
        endpoints,
        ..AnnouncedService::default()
    }
}

fn services(snapshot: &mut Snapshot) -> &mut BTreeMap<ServiceKey, AnnouncedService> {
    Arc::make_mut(&mut snapshot.services)
}

/// MetalLB's word for what happens to an address: `A` or the reason.
fn word(snapshot: &Snapshot, name: &str, address: &str) -> &'static str {
    let plan = plan(snapshot);
    let verdict = plan.services[&key(name)].iter().find(|v| v.ip == ip(address)).unwrap();
    let answers = plan.desired.iter().any(|(t, e)| t.ip == verdict.ip && e.state == EntryState::Answer);
    assert_eq!(answers, verdict.verdict == Verdict::Owner, "verdict and entries agree");
    match &verdict.verdict {
        Verdict::Owner => "A",
        Verdict::Standby { .. } | Verdict::Waiting => "notOwner",
        Verdict::Silent(silence) => silence.reason(),
    }
}

fn target(index: u32, text: &str) -> Target {
    Target { link: LinkId(index), vlans: Vlans::Untagged, ip: ip(text) }
}

fn entry(index: u32, state: EntryState) -> Entry {
    Entry { mac: mac(index), state }
}

/// What an agent leaves out of the Services it keeps makes no difference to anything that is announced.
#[test]
fn what_is_kept_of_a_service_is_all_that_announcing_depends_on() {
    for key in
        ["metallb.io/allow-shared-ip", "metallb.universe.tf/allow-shared-ip", "kubectl.kubernetes.io/x"]
    {
        let spec = ServiceSpec {
            service_type: ServiceType::LoadBalancer,
            load_balancer_class: Some("metallb.io/x".to_owned()),
            load_balancer_ip: Some("10.20.30.9".to_owned()),
            annotations: [(key, "k"), ("metallb.io/address-pool", "p")]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
            labels: Labels::from([("app".to_owned(), "web".to_owned())]),
            cluster_ips: vec!["10.96.0.1".to_owned()],
            external_traffic_policy: TrafficPolicy::Local,
            selector: BTreeMap::from([("app".to_owned(), "web".to_owned())]),
            ingress: vec!["10.20.30.1".to_owned(), "fd00:1::1".to_owned()],
            ..ServiceSpec::default()
        };
        let kept = spec.clone().announced();
        assert!(kept.selector.is_empty() && kept.annotations.len() <= 1, "{kept:?}");
        assert_eq!((kept.service_type, kept.held()), (spec.service_type, spec.held()));
        assert!(kept.has_class(Some("metallb.io/x")) && !kept.has_class(None));
        let of = |spec: &ServiceSpec| {
            AnnouncedService::new(spec, spec.held().unwrap().unwrap(), Endpoints::on([node("n")]))
        };
        assert_eq!(of(&kept), of(&spec), "{key}");
        assert_eq!(of(&kept).shared, key.ends_with("allow-shared-ip"));
    }
}

#[test]
fn the_loser_is_on_standby_with_the_same_entries() {
    for (me, state, rank) in [("iris2", EntryState::Answer, 0), ("iris1", EntryState::Standby, 1)] {
        let mut snapshot = cluster(me, &["iris1", "iris2"], &[ad("all", "")]);
        let both = service(&["10.20.30.1", "fd00:1::1"], TrafficPolicy::Cluster, Endpoints::Unknown);
        services(&mut snapshot).insert(key("web"), both);
        let plan = plan(&snapshot);
        let expected =
            [(target(2, "10.20.30.1"), entry(2, state)), (target(2, "fd00:1::1"), entry(2, state))];
        assert_eq!(plan.desired, BTreeMap::from(expected), "both families move together");
        let owner =
            Ownership { owner: node("iris2"), rank: Some(rank), candidates: 2, services: vec![key("web")] };
        assert_eq!(plan.owners[&ip("10.20.30.1")], owner);
        assert_eq!(plan.owners[&ip("fd00:1::1")], owner);
        assert_eq!(plan.problems, []);
    }
}

#[test]
fn all_services_on_one_address_have_one_owner() {
    let locally = |names: &[&str]| Endpoints::on(names.iter().map(|n| node(n)));
    let mut snapshot = cluster("iris1", &["iris1", "iris2"], &[ad("all", "")]);
    // The first addresses differ: the lowest, 10.20.30.1, puts iris2 first.
    services(&mut snapshot)
        .insert(key("a"), service(&["10.20.30.2"], TrafficPolicy::Local, locally(&["iris1"])));
    services(&mut snapshot)
        .insert(key("b"), service(&["10.20.30.1", "10.20.30.2"], TrafficPolicy::Local, locally(&["iris2"])));
    let plan = plan(&snapshot);
    let shared = &plan.owners[&ip("10.20.30.2")];
    assert_eq!(
        (shared.owner.as_str(), shared.rank, shared.candidates),
        ("iris2", Some(1), 2),
        "union of endpoints"
    );
    assert_eq!(shared.services, [key("a"), key("b")]);
    let entries = plan.desired.keys().filter(|target| target.ip == ip("10.20.30.2"));
    assert_eq!(entries.count(), 1, "and one entry, so that it is announced once");
}

#[test]
fn what_the_data_plane_could_not_do_is_said() {
    let mut snapshot = cluster("iris1", &["iris1"], &[ad("all", "")]);
    snapshot.links.push(link(3, "eth1"));
    let both = ["10.20.30.1", "fd00:1::1"];
    services(&mut snapshot).insert(key("web"), service(&both, TrafficPolicy::Cluster, Endpoints::Unknown));
    let planned = plan(&snapshot);
    let on = |index, address| Target { link: LinkId(index), vlans: Vlans::Untagged, ip: ip(address) };
    let mut all_well = planned.clone();
    all_well.shortfall(&BTreeMap::new());
    assert_eq!(all_well, planned);

    for address in both {
        let other = if address == both[0] { both[1] } else { both[0] };
        let (one, two) = (on(2, address), on(3, address));
        let (no_room, not_attached) = (Silence::NoRoom { target: one }, Silence::NotAttached { target: two });
        let mut partly = planned.clone();
        partly.shortfall(&BTreeMap::from([(one, no_room.clone())]));
        assert_eq!(partly.services, planned.services, "it is answered on the other link");
        assert_eq!(partly.problems.len(), 1);

        let mut silent = planned.clone();
        silent.shortfall(&BTreeMap::from([(one, no_room.clone()), (two, not_attached)]));
        let verdict = |of| &silent.services[&key("web")].iter().find(|v| v.ip == ip(of)).unwrap().verdict;
        assert_eq!(verdict(address), &Verdict::Silent(no_room.clone()));
        assert_eq!(verdict(other), &Verdict::Owner, "the other address of the Service is not concerned");
        assert_eq!(silent.problems, [no_room.of(&key("web"))]);
        assert_eq!(no_room.reason(), "announceFailed");
    }
}

type Edit<'a> = &'a dyn Fn(&mut Snapshot);

#[test]
fn silence_has_a_reason_and_reaches_the_problems() {
    let mut selective = ad("labelled", "");
    selective.service_selectors = vec![selector("app", "other")];
    let web = || service(&["10.20.30.1"], TrafficPolicy::Cluster, Endpoints::Unknown);
    let own = |snapshot: &mut Snapshot| snapshot.links[0].addresses = vec![ip("10.20.30.1")];
    let of_node = |snapshot: &mut Snapshot| {
        snapshot
            .nodes
            .insert(node("x"), Node { alive: false, addresses: vec![ip("10.20.30.1")], ..Node::default() });
    };
    let outside = |snapshot: &mut Snapshot| {
        services(snapshot).get_mut(&key("web")).unwrap().ingress = vec![ip("9.9.9.9")];
    };
    let no_endpoints = |snapshot: &mut Snapshot| {
        services(snapshot).get_mut(&key("web")).unwrap().endpoints = Endpoints::from_endpoints([]);
    };
    let dead = |snapshot: &mut Snapshot| snapshot.nodes.get_mut(&node("iris1")).unwrap().alive = false;
    let cases: [(&[RawAdvertisement], Edit<'_>, Silence, bool); 7] = [
        (&[ad("all", "")], &own, Silence::NodeAddress { ip: ip("10.20.30.1") }, true),
        (&[ad("all", "")], &of_node, Silence::NodeAddress { ip: ip("10.20.30.1") }, true),
        (&[ad("all", "")], &outside, Silence::NotInPool { ip: ip("9.9.9.9") }, true),
        (&[ad("all", "")], &no_endpoints, Silence::NoEndpoints, false),
        (&[ad("all", "")], &dead, Silence::NoCandidate, false),
        (&[], &|_| {}, Silence::NoAdvertisement { pool: PoolName::new("default").unwrap() }, true),
        (
            &[selective],
            &|_| {},
            Silence::ServiceNotSelected { pool: PoolName::new("default").unwrap() },
            true,
        ),
    ];
    for (ads, edit, silence, problem) in cases {
        let mut snapshot = cluster("iris1", &["iris1"], ads);
        services(&mut snapshot).insert(key("web"), web());
        edit(&mut snapshot);
        let plan = plan(&snapshot);
        assert_eq!(plan.desired, BTreeMap::new());
        assert_eq!(plan.services[&key("web")][0].verdict, Verdict::Silent(silence.clone()));
        let expected = if problem { vec![Reason::Announce(silence)] } else { vec![] };
        assert_eq!(plan.problems.iter().map(|p| p.reason.clone()).collect::<Vec<_>>(), expected);
    }
}

#[test]
fn problems_name_service_field_and_cure() {
    let mut snapshot = cluster("iris1", &["iris1"], &[]);
    services(&mut snapshot)
        .insert(key("web"), service(&["10.20.30.1"], TrafficPolicy::Cluster, Endpoints::Unknown));
    snapshot.allowed = ["eth0", "eth7"].map(|n| LinkName::new(n).unwrap()).into();
    let texts: Vec<String> = plan(&snapshot).problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "command line, --interface: there is no interface eth7: `ip link` lists those that exist",
            "Service default/web, status.loadBalancer.ingress: no L2Advertisement covers address pool default: \
             create one, or the address stays silent",
        ]
    );
}

#[test]
fn a_service_without_an_address_is_listed_without_verdicts() {
    let mut snapshot = cluster("iris1", &["iris1"], &[ad("all", "")]);
    services(&mut snapshot).insert(key("web"), AnnouncedService::default());
    assert_eq!(plan(&snapshot).services, BTreeMap::from([(key("web"), vec![])]));
}

#[test]
fn changes_for_every_transition_of_an_entry() {
    use EntryState::{Answer, Standby};
    let t = target(2, "10.20.30.1");
    let (a, s, other) = (entry(2, Answer), entry(2, Standby), entry(3, Answer));
    for (desired, actual, change, gained, lost) in [
        (Some(a), None, 'u', true, false),
        (Some(s), None, 'u', false, false),
        (Some(a), Some(s), 'u', true, false),
        (Some(s), Some(a), 'u', false, true),
        (Some(a), Some(other), 'u', true, false),
        (Some(a), Some(a), '-', false, false),
        (Some(s), Some(s), '-', false, false),
        (None, Some(a), 'r', false, true),
        (None, Some(s), 'r', false, false),
        (None, None, '-', false, false),
    ] {
        let map =
            |entry: Option<Entry>| entry.map(|entry| (t, entry)).into_iter().collect::<BTreeMap<_, _>>();
        let changes = diff(&map(desired), &map(actual));
        let expected = Changes {
            remove: if change == 'r' { vec![t] } else { vec![] },
            upsert: desired.filter(|_| change == 'u').map(|entry| (t, entry)).into_iter().collect(),
            gained: if gained { vec![t] } else { vec![] },
            lost: if lost { vec![t] } else { vec![] },
        };
        assert_eq!(changes, expected, "{desired:?} <- {actual:?}");
        assert_eq!(changes.is_empty(), change == '-');
    }
}

fn entries() -> impl Strategy<Value = BTreeMap<Target, Entry>> {
    let vlans = prop_oneof![Just((0, 0)), Just((42, 0)), Just((100, 42))];
    let target =
        (1u32..4, vlans, 0u32..12, any::<bool>()).prop_map(|(link, (outer, inner), ip, v6)| Target {
            link: LinkId(link),
            vlans: Vlans::from_ids(outer, inner).unwrap(),
            ip: if v6 {
                std::net::Ipv6Addr::from(u128::from(ip)).into()
            } else {
                std::net::Ipv4Addr::from(ip).into()
            },
        });
    let state = prop_oneof![Just(EntryState::Answer), Just(EntryState::Standby)];
    let entry = (1u32..3, state).prop_map(|(m, state)| Entry { mac: mac(m), state });
    prop::collection::btree_map(target, entry, 0..30)
}

proptest! {
    #[test]
    fn diff_reaches_what_is_desired_and_then_rests(desired in entries(), actual in entries()) {
        let changes = diff(&desired, &actual);
        let mut result = actual.clone();
        apply(&changes, &mut result);
        prop_assert_eq!(&result, &desired);
        prop_assert_eq!(diff(&desired, &result), Changes::default());
        for target in &changes.remove {
            prop_assert!(!desired.contains_key(target) && actual.contains_key(target));
        }
        for (target, entry) in &changes.upsert {
            prop_assert!(desired.get(target) == Some(entry) && actual.get(target) != Some(entry));
        }
        for target in &changes.gained {
            prop_assert_eq!(desired.get(target).map(|e| e.state), Some(EntryState::Answer));
            prop_assert!(changes.upsert.iter().any(|(t, _)| t == target), "nothing is gained without a change");
        }
        for target in &changes.lost {
            prop_assert_eq!(actual.get(target).map(|e| e.state), Some(EntryState::Answer));
            prop_assert!(!changes.gained.contains(target));
        }
    }
}
