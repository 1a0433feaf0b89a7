use std::net::IpAddr;

use lb_core::{allocator::Allocation, request::AllocError};

use super::*;
use crate::source::kubernetes::{Meta, SeenIngress};

fn key() -> ServiceKey {
    "default/web".parse().unwrap()
}

fn addresses(texts: &[&str]) -> Addresses {
    let ips: Vec<IpAddr> = texts.iter().map(|text| text.parse().unwrap()).collect();
    Addresses::new(&ips).unwrap()
}

fn seen(ips: &[&str], annotations: &[(&str, &str)]) -> SeenService {
    let entry = |text: &&str| SeenIngress { ip: text.parse().ok(), plain: true };
    let annotations = annotations.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    SeenService {
        meta: Meta::default(),
        spec: ServiceSpec {
            annotations: annotations.collect(),
            ingress: ips.iter().map(|ip| (*ip).to_owned()).collect(),
            ..ServiceSpec::default()
        },
        ingress: ips.iter().map(entry).collect(),
        unreadable: None,
        deleting: false,
    }
}

fn holding(texts: &[&str]) -> Decided {
    let pool = PoolName::new("a").unwrap();
    let allocation = Some(Allocation { pool, addresses: addresses(texts) });
    decided(Decision { allocation, ..Decision::default() })
}

fn decided(decision: Decision) -> Decided {
    Decided { decisions: [(key(), decision)].into(), ..Decided::default() }
}

#[expect(clippy::unnecessary_wraps, reason = "as it is compared")]
fn set(texts: &[&str]) -> Option<Change> {
    Some(Change::Set { addresses: addresses(texts), pool: PoolName::new("a").unwrap() })
}

#[test]
fn what_is_as_it_should_be_is_not_written() {
    for ips in [&["192.0.2.1"][..], &["2001:db8::1"], &["192.0.2.1", "2001:db8::1"]] {
        assert_eq!(change(&holding(ips), &key(), &seen(ips, &[(FROM_POOL, "a")])), None, "{ips:?}");
    }
    assert_eq!(change(&decided(Decision::default()), &key(), &seen(&[], &[])), None);
}

#[test]
fn a_status_that_says_something_else_is_put_right() {
    for both in [["192.0.2.1", "2001:db8::1"], ["2001:db8::1", "192.0.2.1"]] {
        let wanted = holding(&both);
        let named: &[(&str, &str)] = &[(FROM_POOL, "a")];
        for (ips, annotations) in [
            (&[][..], &[][..]),
            (&both[..1], named),
            (&[both[1], both[0]], named),
            (&["192.0.2.9"], named),
            (&both, &[]),
            (&both, &[(FROM_POOL, "b")]),
            (&both, &[(OLD_FROM_POOL, "a")]),
            (&[both[0], both[1], "192.0.2.9"], named),
        ] {
            let change = change(&wanted, &key(), &seen(ips, annotations));
            assert_eq!(change, set(&both), "{ips:?} {annotations:?}");
        }
    }
}

#[test]
fn an_entry_with_more_than_an_address_is_replaced() {
    let mut other = seen(&["192.0.2.1"], &[(FROM_POOL, "a")]);
    other.ingress[0].plain = false;
    assert_eq!(change(&holding(&["192.0.2.1"]), &key(), &other), set(&["192.0.2.1"]));
}

#[test]
fn the_old_annotation_goes_and_nothing_else_is_touched() {
    let both = [(FROM_POOL, "a"), (OLD_FROM_POOL, "b")];
    let change = change(&holding(&["192.0.2.1"]), &key(), &seen(&["192.0.2.1"], &both));
    assert_eq!(change, Some(Change::DropOldAnnotation));
}

#[test]
fn who_holds_nothing_is_cleared_of_everything() {
    let failed = decided(Decision { error: Some(AllocError::NoPools), ..Decision::default() });
    for nothing in [decided(Decision::default()), failed] {
        for seen in [
            seen(&["192.0.2.1"], &[]),
            seen(&["2001:db8::1"], &[]),
            seen(&[], &[(FROM_POOL, "a")]),
            seen(&[], &[(OLD_FROM_POOL, "a")]),
        ] {
            assert_eq!(change(&nothing, &key(), &seen), Some(Change::Clear), "{seen:?}");
        }
        let mut named = seen(&[], &[]);
        named.ingress.push(SeenIngress { ip: None, plain: false });
        assert_eq!(change(&nothing, &key(), &named), Some(Change::Clear), "an entry with a host name");
    }
}

#[test]
fn who_waits_for_its_pool_keeps_what_is_written() {
    for ip in ["192.0.2.1", "2001:db8::1"] {
        let waits = decided(Decision {
            awaiting: Some(addresses(&[ip])),
            error: Some(AllocError::NoPools),
            ..Decision::default()
        });
        assert_eq!(change(&waits, &key(), &seen(&[ip], &[])), None);
    }
}

#[test]
fn a_service_of_another_class_is_cleared_only_of_what_was_ours() {
    let stranger = seen(&["192.0.2.1"], &[(FROM_POOL, "a")]);
    assert_eq!(change(&Decided::default(), &key(), &stranger), None);
    let left = Decided { left: [(key(), addresses(&["192.0.2.1"]))].into(), ..Decided::default() };
    assert_eq!(change(&left, &key(), &stranger), Some(Change::Clear));
}
