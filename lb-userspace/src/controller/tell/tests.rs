use lb_core::{allocator::Notice, pool::Family, request::WishSource};
use serde_json::json;

use super::*;
use crate::{
    k8s::{crd, event::NOTE, watch::Change},
    source::kubernetes::{Seen, read},
};

fn key() -> ServiceKey {
    ServiceKey::new("web", "a").unwrap()
}

fn two(text: [&str; 2]) -> Addresses {
    Addresses::new(&text.map(|ip| ip.parse().unwrap())).unwrap()
}

fn one(ip: &str) -> Addresses {
    Addresses::one(ip.parse().unwrap())
}

/// A cluster with the Service web/a and annotations of its own.
fn cluster(annotations: &serde_json::Value) -> Cluster {
    let mut cluster = Cluster::default();
    let object = json!({
        "metadata": {
            "namespace": "web", "name": "a", "uid": "u", "resourceVersion": "1", "annotations": annotations,
        },
        "spec": {"type": "LoadBalancer", "clusterIPs": ["10.96.0.1"]},
    });
    let service = read::service(serde_json::from_value(object).unwrap());
    cluster.apply(Seen::Service(Change::Listing));
    cluster.apply(Seen::Service(Change::Listed(service)));
    cluster.apply(Seen::Service(Change::Complete));
    cluster
}

fn decided(decision: Decision) -> Decided {
    Decided { decisions: BTreeMap::from([(key(), decision)]), ..Decided::default() }
}

fn failed(error: AllocError) -> Decision {
    Decision { error: Some(error), ..Decision::default() }
}

fn holding(addresses: Addresses, error: AllocError) -> Decision {
    let pool = PoolName::new("p").unwrap();
    let allocation = Some(lb_core::allocator::Allocation { pool, addresses });
    Decision { allocation, error: Some(error), ..Decision::default() }
}

fn noticing(notice: Notice) -> Decision {
    Decision { notices: vec![notice], ..Decision::default() }
}

fn in_use() -> AllocError {
    AllocError::NotInAnyPool { ip: "198.51.100.1".parse().unwrap() }
}

#[test]
fn every_reason_on_a_service() {
    let pool = || PoolName::new("p").unwrap();
    let exhausted = || AllocError::Exhausted { families: "IPv4" };
    let rows: [(Decision, Option<(Reason, &str)>); 10] = [
        (
            failed(exhausted()),
            Some((
                Reason::AllocationFailed,
                "spec.type: no address pool that assigns automatically has a free address for this Service (IPv4)",
            )),
        ),
        (failed(AllocError::NoPools), None),
        (failed(AllocError::NoClusterIp), None),
        (
            failed(AllocError::NotEnoughClusterIps),
            Some((
                Reason::NotEnoughClusterIps,
                "spec.ipFamilyPolicy: spec.ipFamilyPolicy is RequireDualStack, but the Service has one cluster IP",
            )),
        ),
        (
            failed(AllocError::ClusterIpFamilies),
            Some((
                Reason::NoClusterIpsIpFamily,
                "spec.clusterIPs: spec.clusterIPs are neither one address nor one of each family",
            )),
        ),
        (
            holding(one("192.0.2.1"), in_use()),
            Some((
                Reason::LoadBalancerFailed,
                "metadata.annotations[metallb.io/loadBalancerIPs]: 198.51.100.1 lies in no address pool; the Service keeps 192.0.2.1",
            )),
        ),
        (
            noticing(Notice::Cleared { addresses: two(["192.0.2.1", "2001:db8::1"]), cause: in_use() }),
            Some((
                Reason::ClearAssignment,
                "192.0.2.1,2001:db8::1 can't stay with this Service: 198.51.100.1 lies in no address pool",
            )),
        ),
        (
            noticing(Notice::OneFamilyOnly { missing: Family::Ipv6, pool: pool() }),
            Some((
                Reason::AdditionalAssignFailed,
                "address pool p has no IPv6 address for this Service, which has the other family only",
            )),
        ),
        (Decision { awaiting: Some(one("192.0.2.1")), ..failed(exhausted()) }, None),
        (Decision::default(), None),
    ];
    for (decision, expected) in rows {
        let expected = expected.map(|(reason, note)| Telling::of_service(&key(), &"u".into(), reason, note));
        let news = Told::default().news(&decided(decision), &cluster(&json!({})));
        assert_eq!(news, Vec::from_iter(expected));
    }
}

#[test]
fn what_is_the_case_is_told_once_and_again_when_it_recurs() {
    let (mut told, cluster) = (Told::default(), cluster(&json!({})));
    let bad = decided(failed(in_use()));
    assert_eq!(told.news(&bad, &cluster).len(), 1);
    assert_eq!(told.news(&bad, &cluster), []);
    let other = decided(failed(AllocError::TwoWishes));
    assert_eq!(told.news(&other, &cluster).len(), 1);
    assert_eq!(told.news(&decided(Decision::default()), &cluster), []);
    assert_eq!(told.news(&bad, &cluster).len(), 1);
}

#[test]
fn notes_are_short_and_of_one_line() {
    for (text, length) in [("é".repeat(512), 1024), ("é".repeat(513), 1023), ("x".repeat(1 << 20), 1024)] {
        assert_eq!(readable(&text).len(), length);
    }
    assert_eq!(readable("a\nb\u{7}c"), "a b c");
    let text = "\u{1b}[31m".repeat(100_000);
    let news = Told::default().news(
        &decided(failed(AllocError::UnreadableWish { text, from: WishSource::Field })),
        &cluster(&json!({})),
    );
    assert!(news[0].note.len() <= NOTE && !news[0].note.contains('\u{1b}'), "{news:?}");
}

#[test]
fn old_annotations_are_named() {
    let old = json!({
        "metallb.universe.tf/allow-shared-ip": "k", "metallb.universe.tf/ip-allocated-from-pool": "p",
        "metallb.io/address-pool": "p",
    });
    let cluster = cluster(&old);
    let telling = deprecated(&key(), &cluster.services()[&key()]).unwrap();
    let note = "write metallb.io/ for metallb.universe.tf/ in these annotations: metallb.universe.tf/allow-shared-ip";
    assert_eq!(telling, Telling::of_service(&key(), &"u".into(), Reason::DeprecatedAnnotation, note));
    let cluster = self::cluster(&json!({"metallb.universe.tf/ip-allocated-from-pool": "p"}));
    assert_eq!(deprecated(&key(), &cluster.services()[&key()]), None);
}

#[test]
fn an_object_of_a_kind_that_is_not_served_is_said_and_makes_the_state_invalid() {
    let mut cluster = cluster(&json!({}));
    assert_eq!(
        state(&Decided::default(), &cluster),
        State { valid: true, summary: String::new(), problems: 0 }
    );
    let name = |name: &str| ObjectName {
        kind: Kind::BgpPeer,
        namespace: "metallb-system".to_owned(),
        name: name.to_owned(),
    };
    let meta = crate::source::kubernetes::Meta { uid: "b".into(), version: "2".into() };
    let unserved = crate::source::kubernetes::Unserved { meta };
    for number in 0..1000 {
        let item = Some((name(&format!("peer-{number}")), unserved.clone()));
        cluster.apply(Seen::Unserved(Kind::BgpPeer, Change::Applied(item)));
    }
    let news = Told::default().news(&Decided::default(), &cluster);
    assert_eq!(news.len(), 1000);
    let note = "BareLB announces in layer 2 only, so this BGPPeer has no effect: delete it, or let MetalLB or another \
                BGP speaker announce its addresses";
    let subject = Subject::Object(name("peer-0"));
    let expected = Telling { subject, uid: "b".into(), reason: Reason::NotServed, note: note.to_owned() };
    assert_eq!(news[0], expected);
    let state = state(&Decided::default(), &cluster);
    assert_eq!((state.valid, state.problems), (false, 1000));
    assert!(state.summary.starts_with("BGPPeer metallb-system/peer-0: BareLB"), "{}", state.summary);
    assert!(state.summary.len() < 17_000 && state.summary.ends_with(" more"));
}

#[test]
fn problems_are_told_on_their_object_and_many_are_counted() {
    let mut cluster = cluster(&json!({}));
    let addresses: Vec<String> = (0..30).map(|number| format!("192.0.2.{number}")).collect();
    let pool = |entries: &[String]| {
        let metadata =
            json!({"namespace": "metallb-system", "name": "p", "uid": "q", "resourceVersion": "3"});
        let object: crate::k8s::watch::Guarded<crd::IPAddressPool> =
            serde_json::from_value(json!({"metadata": metadata, "spec": {"addresses": entries}})).unwrap();
        Seen::Pool(Change::Applied(read::pool(object)))
    };
    cluster.apply(pool(&addresses));
    let decided = super::super::decide::Decider::default().decide(&cluster, None);
    let news = Told::default().news(&decided, &cluster);
    let news: Vec<_> = news.iter().filter(|telling| matches!(telling.subject, Subject::Object(_))).collect();
    assert_eq!(news.len(), EVENTS_AND_REST);
    assert!(news.iter().all(|telling| telling.reason == Reason::ConfigurationError && &*telling.uid == "q"));
    assert!(news.iter().any(|telling| telling.note.starts_with("spec.addresses[0]: ")), "{news:?}");
    assert!(news.iter().any(|telling| {
        telling.note.ends_with("more problems: see the ConfigurationState and the controller's log")
    }));
    let state = state(&decided, &cluster);
    assert!(!state.valid && state.summary.starts_with("IPAddressPool metallb-system/p, spec.addresses[0]: "));
}

/// Twenty, and how many more.
const EVENTS_AND_REST: usize = 21;

#[test]
fn counters_of_a_pool_and_reasons_of_those_who_wait() {
    let name = |kind| ObjectName { kind, namespace: "metallb-system".to_owned(), name: "p".to_owned() };
    let size = |ipv4, ipv6| lb_core::pool::PoolSize { ipv4, ipv6 };
    let usage = lb_core::allocator::PoolUsage { size: size(4, i64::MAX), in_use: size(1, 2) };
    let mut decided = decided(failed(in_use()));
    decided.usage.insert(PoolName::new("p").unwrap(), usage);
    assert_eq!(counters(&decided, &name(Kind::Pool)), None, "it is not in force");
    decided.pools.extend([name(Kind::Pool), name(Kind::ConfigMap)]);
    let expected = IPAddressPoolStatus {
        assigned_ipv4: 1,
        assigned_ipv6: 2,
        available_ipv4: 3,
        available_ipv6: i64::MAX - 2,
    };
    assert_eq!(counters(&decided, &name(Kind::Pool)), Some(expected));
    assert_eq!(counters(&decided, &name(Kind::ConfigMap)), None);
    assert_eq!(waiting(&decided), BTreeMap::from([("NotInAnyPool", 1)]));
    let held = self::decided(holding(one("192.0.2.1"), in_use()));
    assert_eq!(waiting(&held), BTreeMap::new());
}

#[test]
fn a_service_that_cannot_be_read_is_told_and_keeps_what_it_has() {
    let mut cluster = cluster(&json!({}));
    let object = json!({
        "metadata": {"namespace": "web", "name": "a", "uid": "u", "resourceVersion": "2"},
        "spec": {"type": "LoadBalancer", "ports": [{"port": 0}]},
    });
    cluster.apply(Seen::Service(Change::Applied(read::service(serde_json::from_value(object).unwrap()))));
    let news = Told::default().news(&Decided::default(), &cluster);
    let note = "the Service can't be read, and keeps the addresses it has: spec.ports[0].port: port 0 is outside 1-65535";
    assert_eq!(news, [Telling::of_service(&key(), &"u".into(), Reason::AllocationFailed, note)]);
}
