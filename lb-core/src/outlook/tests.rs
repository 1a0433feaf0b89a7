use proptest::prelude::*;

use super::*;
use crate::{
    allocator::Allocator,
    config::{Config, RawAdvertisement, RawPool},
    eligibility::{EXCLUDE_LABEL, Endpoints, Node},
    plan::AnnouncedService,
    request::Rules,
    selector::{Labels, RawSelector},
    sharing::TrafficPolicy,
};

const NODES: [&str; 3] = ["a", "b", "c"];

/// What there is: everything that is decided from, small enough that things collide.
#[derive(Debug, Clone, Default)]
struct World {
    /// Name and addresses.
    pools: Vec<(&'static str, Vec<&'static str>)>,
    /// The node that it selects; `None`: all.
    notices: Vec<Option<&'static str>>,
    /// Excluded nodes, and those that are not there.
    excluded: BTreeSet<&'static str>,
    gone: BTreeSet<&'static str>,
    services: BTreeMap<String, ServiceSpec>,
}

fn node(name: &str) -> NodeName {
    NodeName::new(name).unwrap()
}

fn key(name: &str) -> ServiceKey {
    ServiceKey::new("default", name).unwrap()
}

fn service(cluster_ips: &[&str]) -> ServiceSpec {
    ServiceSpec {
        service_type: ServiceType::LoadBalancer,
        cluster_ips: cluster_ips.iter().map(|ip| (*ip).to_owned()).collect(),
        ..ServiceSpec::default()
    }
}

fn four() -> ServiceSpec {
    service(&["10.96.0.1"])
}

fn six() -> ServiceSpec {
    service(&["fd00::1"])
}

fn wishing(spec: ServiceSpec, ip: &str) -> ServiceSpec {
    ServiceSpec { load_balancer_ip: Some(ip.to_owned()), ..spec }
}

impl World {
    fn config(&self) -> Config {
        let pools = self.pools.iter().map(|(name, addresses)| RawPool {
            name: (*name).to_owned(),
            addresses: addresses.iter().map(|text| (*text).to_owned()).collect(),
            ..RawPool::default()
        });
        let notices = self.notices.iter().enumerate().map(|(number, on)| {
            let selector = |name: &&str| RawSelector {
                match_labels: Labels::from([("node".to_owned(), (*name).to_owned())]),
                ..RawSelector::default()
            };
            RawAdvertisement {
                name: format!("ad{number}"),
                node_selectors: on.iter().map(selector).collect(),
                ..RawAdvertisement::default()
            }
        });
        Config::validate(&pools.collect::<Vec<_>>(), &notices.collect::<Vec<_>>(), &[]).0
    }

    /// What a controller and its agents make of it, who have seen `before`.
    fn outlook(&self, allocator: &mut Allocator) -> Outlook {
        let config = self.config();
        // Their statuses say what they have.
        let shown = |key: &ServiceKey| {
            let held = allocator.allocation(key).map(|held| held.addresses.iter());
            held.into_iter().flatten().map(|ip| ip.to_string()).collect()
        };
        let with_status = |(name, spec): (&String, &ServiceSpec)| {
            (key(name), ServiceSpec { ingress: shown(&key(name)), ..spec.clone() })
        };
        let services: BTreeMap<ServiceKey, ServiceSpec> = self.services.iter().map(with_status).collect();
        allocator.reload(&config);
        let rules = Rules { cluster_ips_required: true, ..Rules::default() };
        let decisions = allocator.reconcile(&rules, &services, &BTreeMap::new());
        let announced = decisions.iter().filter_map(|(key, decision)| {
            let addresses = decision.allocation.as_ref()?.addresses;
            Some((key.clone(), AnnouncedService::new(&services[key], addresses, Endpoints::Unknown)))
        });
        let snapshot = Snapshot {
            nodes: self.nodes(),
            services: Arc::new(announced.collect()),
            config: Arc::new(config),
            ..Snapshot::alone(node("a"))
        };
        Outlook::new(&services, None, &decisions, snapshot)
    }

    fn nodes(&self) -> BTreeMap<NodeName, Node> {
        let there = NODES.iter().filter(|name| !self.gone.contains(*name));
        let labelled = there.map(|name| {
            let excluded = self.excluded.contains(name).then(|| (EXCLUDE_LABEL.to_owned(), String::new()));
            let label = ("node".to_owned(), (*name).to_owned());
            (node(name), Node { labels: [label].into_iter().chain(excluded).collect(), ..Node::default() })
        });
        labelled.collect()
    }
}

/// What is different when the one follows the other.
fn between(before: &World, after: &World) -> Vec<Difference> {
    let mut allocator = Allocator::default();
    let (before, after) = (before.outlook(&mut allocator), after.outlook(&mut allocator));
    differences(&before, &after)
}

/// A line for each difference, without what does not matter.
fn lines(differences: &[Difference]) -> Vec<String> {
    let stand = |stand: &Option<Stand>| {
        let owner = |stand: &Stand| stand.owner.as_ref().map_or("nobody".to_owned(), ToString::to_string);
        stand.as_ref().map_or("-".to_owned(), |stand| format!("{}@{}", stand.ip, owner(stand)))
    };
    let line = |one: &Difference| {
        let why: Vec<String> = one.why.iter().map(ToString::to_string).collect();
        let (name, before, after) = (one.service.name(), stand(&one.before), stand(&one.after));
        format!("{} {name} {before} {after} {}", one.effect.name(), why.join("; ")).trim_end().to_owned()
    };
    differences.iter().map(line).collect()
}

/// Two Services with addresses of one pool, on whichever node comes first; `b` comes first for both.
fn world() -> World {
    World {
        pools: vec![("p", vec!["192.0.2.1-192.0.2.2", "2001:db8::1-2001:db8::2"])],
        notices: vec![Some("b")],
        services: BTreeMap::from([("four".to_owned(), four()), ("six".to_owned(), six())]),
        ..World::default()
    }
}

#[test]
fn a_pool_that_goes_takes_the_addresses_with_it() {
    let before = world();
    let after = World { pools: vec![("q", vec!["192.0.2.2/32", "2001:db8::2/128"])], ..before.clone() };
    let expected = [
        "changes four 192.0.2.1@b 192.0.2.2@b 192.0.2.1 lies in no address pool",
        "changes six 2001:db8::1@b 2001:db8::2@b 2001:db8::1 lies in no address pool",
    ];
    assert_eq!(lines(&between(&before, &after)), expected);
    let none = World { pools: Vec::new(), ..before.clone() };
    let expected = [
        "loses four 192.0.2.1@b - no address pool is configured",
        "loses six 2001:db8::1@b - no address pool is configured",
    ];
    assert_eq!(lines(&between(&before, &none)), expected);
    let expected = ["gets four - 192.0.2.1@b", "gets six - 2001:db8::1@b"];
    assert_eq!(lines(&between(&none, &before)), expected);
    let renamed = World { pools: vec![("q", before.pools[0].1.clone())], ..before.clone() };
    let expected = ["pool four 192.0.2.1@b 192.0.2.1@b", "pool six 2001:db8::1@b 2001:db8::1@b"];
    assert_eq!(lines(&between(&before, &renamed)), expected);
}

#[test]
fn an_advertisement_decides_who_answers() {
    let before = world();
    let silent = World { notices: Vec::new(), ..before.clone() };
    let why = "no L2Advertisement covers address pool p: create one, or the address stays silent";
    let expected = [
        format!("silent four 192.0.2.1@b 192.0.2.1@nobody {why}"),
        format!("silent six 2001:db8::1@b 2001:db8::1@nobody {why}"),
    ];
    assert_eq!(lines(&between(&before, &silent)), expected);
    let expected =
        ["answered four 192.0.2.1@nobody 192.0.2.1@b", "answered six 2001:db8::1@nobody 2001:db8::1@b"];
    assert_eq!(lines(&between(&silent, &before)), expected);
    let moved = World { notices: vec![Some("c")], ..before.clone() };
    let why = "b: no L2Advertisement that announces the address selects it (nodeSelectors)";
    let expected = [
        format!("moves four 192.0.2.1@b 192.0.2.1@c {why}"),
        format!("moves six 2001:db8::1@b 2001:db8::1@c {why}"),
    ];
    assert_eq!(lines(&between(&before, &moved)), expected);
}

#[test]
fn a_node_that_leaves_is_named() {
    let before = World { notices: vec![Some("b"), Some("c")], ..world() };
    let owners: BTreeSet<String> = between(&World::default(), &before)
        .iter()
        .filter_map(|one| Some(one.after.as_ref()?.owner.as_ref()?.to_string()))
        .collect();
    for name in ["b", "c"].into_iter().filter(|name| owners.contains(*name)) {
        let other = if name == "b" { "c" } else { "b" };
        let excluded = World { excluded: BTreeSet::from([name]), ..before.clone() };
        for line in lines(&between(&before, &excluded)) {
            let why = format!("@{name} ");
            assert!(line.starts_with("moves ") && line.contains(&why), "{line}");
            assert!(line.ends_with(&format!("@{other} {name}: it has the label {EXCLUDE_LABEL}")), "{line}");
        }
        let back = lines(&between(&excluded, &before));
        let why = format!("{name} comes first now in the order of the nodes");
        assert!(!back.is_empty() && back.iter().all(|line| line.ends_with(&why)), "{back:?}");
        let gone = World { gone: BTreeSet::from([name]), ..before.clone() };
        let lines = lines(&between(&before, &gone));
        let why = format!("there is no node {name} any more");
        assert!(!lines.is_empty() && lines.iter().all(|line| line.ends_with(&why)), "{lines:?}");
    }
}

#[test]
fn a_service_that_asks_for_something_else_is_told_apart_from_one_that_loses() {
    let before = world();
    let with = |name: &str, spec: ServiceSpec| {
        let mut after = before.clone();
        after.services.insert(name.to_owned(), spec);
        lines(&between(&before, &after))
    };
    assert_eq!(with("four", wishing(four(), "192.0.2.2")), ["changes four 192.0.2.1@b 192.0.2.2@b"]);
    assert_eq!(with("six", wishing(six(), "2001:db8::2")), ["changes six 2001:db8::1@b 2001:db8::2@b"]);
    assert_eq!(
        with("four", wishing(four(), "203.0.113.1")),
        ["refused four 192.0.2.1@b 192.0.2.1@b 203.0.113.1 lies in no address pool"]
    );
    let other = ServiceSpec { service_type: ServiceType::Other, ..six() };
    let why = "the Service is not of type LoadBalancer any more";
    assert_eq!(with("six", other), [format!("loses six 2001:db8::1@b - {why}")]);
    let classed = ServiceSpec { load_balancer_class: Some("x".to_owned()), ..six() };
    let why = "the Service has another loadBalancerClass";
    assert_eq!(with("six", classed), [format!("loses six 2001:db8::1@b - {why}")]);
    let mut after = before.clone();
    after.services.remove("four");
    assert_eq!(lines(&between(&before, &after)), ["loses four 192.0.2.1@b - the Service is deleted"]);
    let mut full = before.clone();
    for name in ["x", "y"] {
        full.services.insert(name.to_owned(), four());
    }
    let lines = lines(&between(&before, &full));
    assert!(lines[0].starts_with("refused y - - ") && lines[0].contains("has a free address"), "{lines:?}");
    assert_eq!(lines[1..], ["gets x - 192.0.2.2@b"]);
}

prop_compose! {
    fn specs()(
        form in 0_u8..5,
        wish in prop::option::weighted(0.3, 1_u8..5),
        local: bool,
        other_class in prop::bool::weighted(0.1),
    ) -> ServiceSpec {
        let spec = match form {
            0 | 1 => four(),
            2 => six(),
            3 => service(&["10.96.0.1", "fd00::1"]),
            _ => ServiceSpec { service_type: ServiceType::Other, ..four() },
        };
        let spec = match (form, wish) {
            (0 | 1, Some(wish)) => wishing(spec, &format!("192.0.2.{wish}")),
            (2, Some(wish)) => wishing(spec, &format!("2001:db8::{wish}")),
            _ => spec,
        };
        let policy = if local { TrafficPolicy::Local } else { TrafficPolicy::Cluster };
        let load_balancer_class = other_class.then(|| "x".to_owned());
        ServiceSpec { external_traffic_policy: policy, load_balancer_class, ..spec }
    }
}

prop_compose! {
    fn worlds()(
        pools in prop::collection::vec((0_usize..2, 0_usize..4), 0..3),
        notices in prop::collection::vec(prop::option::of(prop::sample::select(&NODES[..])), 0..3),
        excluded in prop::collection::btree_set(prop::sample::select(&NODES[..]), 0..2),
        gone in prop::collection::btree_set(prop::sample::select(&NODES[..]), 0..2),
        services in prop::collection::btree_map("[s-w]", specs(), 0..6),
    ) -> World {
        const RANGES: [&[&str]; 4] = [
            &["192.0.2.1-192.0.2.2"],
            &["192.0.2.2-192.0.2.4", "2001:db8::1-2001:db8::3"],
            &["2001:db8::2/127"],
            &["192.0.2.3/32", "2001:db8::4/128"],
        ];
        let mut named: BTreeMap<&'static str, Vec<&'static str>> = BTreeMap::new();
        for (name, ranges) in pools {
            named.insert(["p", "q"][name], RANGES[ranges].to_vec());
        }
        World { pools: named.into_iter().collect(), notices, excluded, gone, services }
    }
}

type Held = BTreeMap<(ServiceKey, Family), Stand>;

fn held(outlook: &Outlook) -> Held {
    let all = outlook.services().iter();
    // What keeps an address silent may differ without a difference.
    let plain = |stand: &Stand| Stand { silence: None, ..stand.clone() };
    all.flat_map(|(key, fate)| {
        fate.stands.iter().map(move |(family, stand)| ((key.clone(), *family), plain(stand)))
    })
    .collect()
}

proptest! {
    /// What does not change makes no difference, and whoever carries the differences out has what is to be.
    #[test]
    fn differences_lead_from_the_one_to_the_other(before in worlds(), after in worlds()) {
        let mut allocator = Allocator::default();
        let was = before.outlook(&mut allocator);
        prop_assert_eq!(differences(&was, &was), vec![]);
        prop_assert_eq!(differences(&was, &before.outlook(&mut allocator)), vec![], "decided again");
        let is = after.outlook(&mut allocator);
        let mut carried = held(&was);
        let mut seen = BTreeSet::new();
        for one in differences(&was, &is) {
            let family = one.before.as_ref().or(one.after.as_ref()).map(|stand| Family::of(stand.ip));
            if one.effect == Effect::Refused {
                prop_assert!(!one.why.is_empty());
                continue;
            }
            let place = (one.service.clone(), family.unwrap());
            prop_assert!(seen.insert(place.clone()), "one difference for each address");
            let plain = |stand: Stand| Stand { silence: None, ..stand };
            prop_assert_eq!(carried.remove(&place), one.before.map(plain));
            carried.extend(one.after.map(|stand| (place, plain(stand))));
        }
        prop_assert_eq!(carried, held(&is));
    }

    /// Every loss, silence and move has its reason.
    #[test]
    fn what_gets_worse_says_why(before in worlds(), after in worlds()) {
        for one in between(&before, &after) {
            let told = match one.effect {
                Effect::Loses | Effect::FallsSilent | Effect::Refused | Effect::Moves => !one.why.is_empty(),
                Effect::Changes | Effect::Gets | Effect::IsAnswered | Effect::ChangesPool => true,
            };
            prop_assert!(told, "{one:?}");
        }
    }
}
