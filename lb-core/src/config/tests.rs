use std::net::IpAddr;

use proptest::prelude::*;

use super::*;
use crate::{
    pool::{Range, ServiceAllocation},
    selector::RawExpression,
};

pub(super) fn pool(name: &str, addresses: &[&str]) -> RawPool {
    RawPool {
        place: Place { object: format!("IPAddressPool metallb-system/{name}"), ..Place::default() },
        name: name.to_owned(),
        addresses: addresses.iter().map(|a| (*a).to_owned()).collect(),
        ..RawPool::default()
    }
}

pub(super) fn ad(name: &str, pools: &[&str]) -> RawAdvertisement {
    RawAdvertisement {
        place: Place { object: format!("L2Advertisement metallb-system/{name}"), ..Place::default() },
        name: name.to_owned(),
        pools: pools.iter().map(|p| (*p).to_owned()).collect(),
        ..RawAdvertisement::default()
    }
}

pub(super) fn bad_selector() -> RawSelector {
    let expression = RawExpression { key: "x".to_owned(), operator: "Is".to_owned(), values: vec![] };
    RawSelector { match_expressions: vec![expression], ..RawSelector::default() }
}

/// Pools as "name: ranges", and the problems as text.
fn judge(pools: &[RawPool], ads: &[RawAdvertisement], foreign: &[&str]) -> (Vec<String>, Vec<String>) {
    let foreign: Vec<IpAddr> = foreign.iter().map(|ip| ip.parse().unwrap()).collect();
    let (config, problems) = Config::validate(pools, ads, &foreign);
    let list = |pool: &Pool| pool.ranges().iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let pools = config.pools.values().map(|pool| format!("{}: {}", pool.name, list(pool)));
    let strict = Config::validate_strict(&pools_of(&config), &[], &[]);
    assert!(strict.is_ok(), "what is left has no contradictions: {strict:?}");
    (pools.collect(), problems.iter().map(ToString::to_string).collect())
}

/// A configuration written down again.
fn pools_of(config: &Config) -> Vec<RawPool> {
    let addresses = |pool: &Pool| pool.ranges().iter().map(Range::to_string).collect::<Vec<_>>();
    let raw = |p: &Pool| RawPool { name: p.name.to_string(), addresses: addresses(p), ..RawPool::default() };
    config.pools.values().map(raw).collect()
}

#[test]
fn a_problem_names_file_document_object_field_and_reason() {
    let mut raw = pool("default", &["192.0.2.20-192.0.2.10"]);
    raw.place.file = Some("pools.yaml".to_owned());
    raw.place.document = Some(2);
    let (_, problems) = judge(&[raw], &[], &[]);
    assert_eq!(
        problems,
        [
            "pools.yaml, document 2, IPAddressPool metallb-system/default, spec.addresses[0]: the range starts at \
             192.0.2.20, after its end 192.0.2.10: swap them",
            "pools.yaml, document 2, IPAddressPool metallb-system/default, spec.addresses: none of the pool's \
             entries can be used",
        ]
    );
}

#[test]
fn one_bad_entry_leaves_the_rest() {
    for (bad, reason) in [
        ("10.0.0.9-10.0.0.1", "the range starts at 10.0.0.9, after its end 10.0.0.1: swap them"),
        (
            "10.0.0.1-fd00::1",
            "the range starts with 10.0.0.1 and ends with fd00::1: both ends must be of one family",
        ),
        ("10.0.0.0/33", "prefix length \"33\" is not a number from 0 to 32"),
        ("10.0.0.1", "10.0.0.1 is a single address: write 10.0.0.1/32"),
        ("fd00::1", "fd00::1 is a single address: write fd00::1/128"),
        (
            "192.0.2.128/25",
            "192.0.2.128/25 overlaps 192.0.2.0/24 of pool a: an address can be in one pool only",
        ),
        (
            "192.0.0.0-192.0.2.0",
            "192.0.0.0-192.0.2.0 overlaps 192.0.2.0/24 of pool a: an address can be in one pool only",
        ),
        (
            "2001:db8::/32",
            "2001:db8::/32 overlaps 2001:db8::/112 of pool a: an address can be in one pool only",
        ),
        (
            "198.51.100.9/32",
            "198.51.100.9/32 overlaps 198.51.100.0/24 of pool b: an address can be in one pool only",
        ),
        (
            "127.0.0.0/30",
            "127.0.0.0/30 contains addresses of 127.0.0.0/8 (loopback), which cannot be announced: leave them out",
        ),
        (
            "223.0.0.0-224.0.0.1",
            "223.0.0.0-224.0.0.1 contains addresses of 224.0.0.0/4 (multicast), which cannot be announced: leave \
             them out",
        ),
        (
            "169.254.0.0/24",
            "169.254.0.0/24 contains addresses of 169.254.0.0/16 (link-local, RFC 3927), which cannot be announced: \
             leave them out",
        ),
        (
            "fe80::/64",
            "fe80::/64 contains addresses of fe80::/10 (link-local), which cannot be announced: leave them out",
        ),
    ] {
        let pools = [
            pool("a", &["192.0.2.0/24", "2001:db8::/112"]),
            pool("b", &["198.51.100.0/24", bad, "203.0.113.0/24"]),
            pool("c", &["fd00:c::/64"]),
        ];
        let (left, problems) = judge(&pools, &[], &[]);
        let b = "b: 198.51.100.0/24 203.0.113.0/24";
        assert_eq!(left, ["a: 192.0.2.0/24 2001:db8::/112", b, "c: fd00:c::/64"], "{bad}");
        assert_eq!(problems, [format!("IPAddressPool metallb-system/b, spec.addresses[1]: {reason}")]);
        assert!(Config::validate_strict(&pools, &[], &[]).is_err());
    }
}

#[test]
fn objects_that_are_left_out_as_a_whole() {
    let selective = RawServiceAllocation { namespace_selectors: vec![bad_selector()], ..Default::default() };
    for (bad, problem) in [
        (
            pool("a", &["10.0.0.0/24"]),
            "a, metadata.name: \"a\" is already the name of another object of this kind",
        ),
        (pool("", &["10.0.0.0/24"]), ", metadata.name: the name is empty"),
        (pool("b", &[]), "b, spec.addresses: the pool has no addresses"),
        (
            RawPool { service_allocation: Some(selective), ..pool("b", &["10.0.0.0/24"]) },
            "b, spec.serviceAllocation.namespaceSelectors[0]: label selector operator \"Is\" on key \"x\"",
        ),
    ] {
        let (left, problems) = judge(&[pool("a", &["192.0.2.0/24"]), bad], &[], &[]);
        assert_eq!(left, ["a: 192.0.2.0/24"]);
        assert_eq!(problems.len(), 1);
        let expected = format!("IPAddressPool metallb-system/{problem}");
        assert!(problems[0].starts_with(&expected), "{} / {expected}", problems[0]);
    }
}

#[test]
fn a_nodes_own_address_stays_in_the_pool_and_is_withheld() {
    let pools = [pool("a", &["192.0.2.0/24", "2001:db8::/112"])];
    let (left, problems) = judge(&pools, &[], &["192.0.2.7", "2001:db8::7", "9.9.9.9", "192.0.2.7"]);
    assert_eq!(left, ["a: 192.0.2.0/24 2001:db8::/112"]);
    let at = "IPAddressPool metallb-system/a, spec.addresses";
    assert_eq!(
        problems,
        [
            format!("{at}[0]: 192.0.2.7 is an address of a node: it is not given out and not announced"),
            format!("{at}[1]: 2001:db8::7 is an address of a node: it is not given out and not announced"),
        ]
    );
    let foreign = ["192.0.2.7".parse().unwrap()];
    let (config, warnings) = Config::validate_strict(&pools, &[], &foreign).unwrap();
    assert!(warnings[0].is_warning());
    let pool = config.pool_of(foreign[0]).unwrap();
    assert!(pool.contains(foreign[0]) && !pool.may_give(foreign[0]));
}

#[test]
fn advertisements_are_judged_and_one_bad_one_leaves_the_rest() {
    let pools = [pool("a", &["192.0.2.0/24"])];
    let preference = |weight| vec![RawPreference { weight, preference: RawSelector::default() }];
    for (bad, kept, problem) in [
        (
            ad("x", &["b"]),
            true,
            "x, spec.ipAddressPools[0]: there is no address pool \"b\": the name is ignored",
        ),
        (ad("x", &["a", "a"]), true, "x, spec.ipAddressPools[1]: \"a\" is listed twice"),
        (
            ad("good", &[]),
            false,
            "good, metadata.name: \"good\" is already the name of another object of this",
        ),
        (
            RawAdvertisement { vlan: Some("5000".to_owned()), ..ad("x", &[]) },
            false,
            "x, metadata.annotations[barelb.io/vlan]: VLAN id 5000 is outside 1-4094",
        ),
        (
            RawAdvertisement { interfaces: vec!["eth0/1".to_owned()], ..ad("x", &[]) },
            false,
            "x, spec.interfaces[0]: the name contains '/', which is not permitted there",
        ),
        (
            RawAdvertisement { node_selectors: vec![bad_selector()], ..ad("x", &[]) },
            false,
            "x, spec.nodeSelectors[0]: label selector operator \"Is\" on key \"x\"",
        ),
        (
            RawAdvertisement { preferred_node_selectors: preference(0), ..ad("x", &[]) },
            false,
            "x, spec.preferredNodeSelectors[0].weight: weight 0 is outside 1-100",
        ),
        (
            RawAdvertisement { preferred_node_selectors: preference(101), ..ad("x", &[]) },
            false,
            "x, spec.preferredNodeSelectors[0].weight: weight 101 is outside 1-100",
        ),
    ] {
        let (config, problems) = Config::validate(&pools, &[ad("good", &["a"]), bad], &[]);
        let names: Vec<&str> = config.advertisements.iter().map(|ad| ad.name.as_str()).collect();
        assert_eq!(names, if kept { vec!["good", "x"] } else { vec!["good"] });
        assert_eq!(problems.len(), 1, "{problems:?}");
        let (found, expected) =
            (problems[0].to_string(), format!("L2Advertisement metallb-system/{problem}"));
        assert!(found.starts_with(&expected), "{found} / {expected}");
    }
}

#[test]
fn an_advertisement_covers_pools_by_name_by_label_or_all() {
    let labels = Labels::from([("tier".to_owned(), "gold".to_owned())]);
    let by_label = vec![RawSelector { match_labels: labels.clone(), ..RawSelector::default() }];
    let pools = [pool("a", &["192.0.2.0/24"]), RawPool { labels, ..pool("b", &["198.51.100.0/24"]) }];
    for (ad, covered) in [
        (ad("x", &[]), "ab"),
        (ad("x", &["a"]), "a"),
        (ad("x", &["nowhere"]), ""),
        (RawAdvertisement { pool_selectors: by_label.clone(), ..ad("x", &[]) }, "b"),
        (RawAdvertisement { pool_selectors: by_label, ..ad("x", &["a"]) }, "ab"),
    ] {
        let (config, _) = Config::validate(&pools, &[ad], &[]);
        let found = config.pools.values().filter(|p| config.advertisements[0].covers(p));
        assert_eq!(found.map(|p| p.name.as_str()).collect::<String>(), covered);
    }
}

/// metallb.md, section 2: namespaces and selectors of `serviceAllocation`.
#[test]
fn admission_is_by_namespace_and_by_label() {
    let label = |value: &str| Labels::from([("app".to_owned(), value.to_owned())]);
    let selector = |value: &str| {
        Selector::parse(&RawSelector { match_labels: label(value), ..RawSelector::default() }).unwrap()
    };
    let rule = |namespaces: &[&str], namespace: Option<&str>, service: Option<&str>| ServiceAllocation {
        namespaces: namespaces.iter().map(|n| (*n).to_owned()).collect(),
        namespace_selectors: namespace.map(selector).into_iter().collect(),
        service_selectors: service.map(selector).into_iter().collect(),
        ..ServiceAllocation::default()
    };
    for (rule, permitted) in [
        (rule(&[], None, None), true),
        (rule(&["ns1"], None, None), true),
        (rule(&["ns2"], None, None), false),
        (rule(&["ns2"], Some("namespace"), None), true),
        (rule(&[], Some("namespace"), None), true),
        (rule(&[], Some("nobody"), None), false),
        (rule(&[], None, Some("service")), true),
        (rule(&[], None, Some("other")), false),
        (rule(&["ns1"], None, Some("other")), false),
        (rule(&[], Some("nobody"), Some("service")), false),
    ] {
        assert_eq!(rule.permits("ns1", &label("namespace"), &label("service")), permitted, "{rule:?}");
    }
    let mut orders: Vec<_> =
        [0, 5, -1, 2].map(|priority| ServiceAllocation { priority, ..rule(&[], None, None) }.order()).into();
    orders.sort_unstable();
    assert_eq!(orders.iter().map(|(_, priority)| *priority).collect::<Vec<_>>(), [-1, 2, 5, 0]);
}

pub(super) fn raw_pools() -> impl Strategy<Value = Vec<RawPool>> {
    let v4 = (0u8..4, 0u8..60, 0u8..12)
        .prop_map(|(net, a, more)| format!("10.0.{net}.{a}-10.0.{net}.{}", a + more));
    let v6 = (0u8..60, 0u8..12).prop_map(|(a, more)| format!("fd00::{a:x}-fd00::{:x}", a + more));
    let entry = prop_oneof![4 => v4, 2 => v6, 1 => "[0-9./:-]{0,12}"];
    let addresses = prop::collection::vec(entry, 0..5);
    prop::collection::vec(("[a-d]", addresses), 0..6).prop_map(|pools| {
        pools.into_iter().map(|(name, addresses)| RawPool { addresses, ..pool(&name, &[]) }).collect()
    })
}

proptest! {
    #[test]
    fn what_is_left_never_overlaps_and_nothing_vanishes_unsaid(pools in raw_pools()) {
        let (config, problems) = Config::validate(&pools, &[], &[]);
        let ranges: Vec<Range> = config.pools.values().flat_map(|p| p.ranges().to_vec()).collect();
        for (index, range) in ranges.iter().enumerate() {
            prop_assert!(ranges[index + 1..].iter().all(|other| !other.overlaps(range)));
        }
        let written: usize = pools.iter().map(|p| p.addresses.len()).sum();
        prop_assert!(ranges.len() == written || !problems.is_empty());
        prop_assert_eq!(&Config::validate(&pools_of(&config), &[], &[]).1, &[]);
    }
}
