//! The invariants of the allocator, over random Services, pools and restarts.

use proptest::prelude::*;

use super::*;

fn pools() -> impl Strategy<Value = Vec<RawPool>> {
    let one = |index: usize| {
        (0u8..3, any::<bool>(), any::<bool>(), 0u8..4, any::<bool>()).prop_map(
            move |(bits, auto_assign, avoid_buggy_ips, pin, dual)| {
                let mut entries = vec![format!("10.0.{index}.254-10.0.{}.{}", index + 1, bits)];
                if dual {
                    entries.push(format!("fd00:{index}::/{}", 128 - bits));
                }
                let entries: Vec<&str> = entries.iter().map(String::as_str).collect();
                let raw = RawPool { auto_assign, avoid_buggy_ips, ..raw(&format!("p{index}"), &entries) };
                match pin {
                    0 => pinned(raw, 1, &["test-ns1"], &[]),
                    1 => pinned(raw, 2, &["elsewhere"], &[]),
                    2 => pinned(raw, 0, &[], &[("team", "red")]),
                    _ => raw,
                }
            },
        )
    };
    // Pool i reaches into 10.0.(i+1), so only every second index is used.
    (one(0), one(2), one(4), 0usize..=3)
        .prop_map(|(a, b, c, count)| [a, b, c].into_iter().take(count).collect())
}

fn specs() -> impl Strategy<Value = ServiceSpec> {
    let wish = prop_oneof![
        4 => Just(String::new()),
        2 => (0u8..6, 0u8..4).prop_map(|(net, host)| format!("10.0.{net}.{host}")),
        1 => (0u8..6, 0u8..4).prop_map(|(net, host)| format!("fd00:{net}::{host}")),
        1 => (0u8..6, 0u8..4).prop_map(|(net, host)| format!("10.0.{net}.{host},fd00:{net}::{host}")),
        1 => "\\PC{0,12}",
    ];
    let policy = prop_oneof![
        3 => Just(FamilyPolicy::SingleStack),
        1 => Just(FamilyPolicy::PreferDualStack),
        1 => Just(FamilyPolicy::RequireDualStack),
    ];
    let pool = prop_oneof![4 => Just(""), 1 => Just("p0"), 1 => Just("p2"), 1 => Just("nowhere")];
    let ingress = prop::collection::vec((0u8..6, 0u8..4).prop_map(|(n, h)| format!("10.0.{n}.{h}")), 0..2);
    (wish, policy, pool, prop_oneof!["", "k", "j"], 0u16..3, any::<[bool; 4]>(), ingress).prop_map(
        |(wish, policy, pool, share, port, [local, v6, red, is_lb], ingress)| {
            let mut spec = sharing(&share, &format!("tcp/{}", port + 1), if local { "x" } else { "" });
            spec.annotations.insert("metallb.io/loadBalancerIPs".to_owned(), wish);
            spec.annotations.insert("metallb.io/address-pool".to_owned(), pool.to_owned());
            spec.labels = labels(if red { &[("team", "red")] } else { &[] });
            spec.service_type = if is_lb || red { ServiceType::LoadBalancer } else { ServiceType::Other };
            let family = if v6 { Family::Ipv6 } else { Family::Ipv4 };
            ServiceSpec { ingress, ..families(spec, &[family], policy) }
        },
    )
}

fn all_services() -> impl Strategy<Value = BTreeMap<ServiceKey, ServiceSpec>> {
    let names = (0u8..8, any::<bool>()).prop_map(|(n, mine)| {
        ServiceKey::new(if mine { "test-ns1" } else { "other" }, format!("s{n}")).unwrap()
    });
    prop::collection::btree_map(names, specs(), 0..12)
}

/// No Service has what its pools do not permit it, whatever it says.
fn check_permission(services: &BTreeMap<ServiceKey, ServiceSpec>, config: &Config, allocator: &Allocator) {
    for (key, allocation) in allocator.allocations() {
        let spec = &services[key];
        assert_eq!(spec.service_type, ServiceType::LoadBalancer);
        let pool = &config.pools[&allocation.pool];
        let rule = pool.allocation.as_ref();
        assert!(rule.is_none_or(|rule| rule.permits(key.namespace(), &spec.namespace_labels, &spec.labels)));
        assert!(
            allocation
                .addresses
                .iter()
                .all(|ip| pool.ranges().iter().any(|range: &Range| range.contains(ip)))
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_book_is_sound_and_at_rest_after_every_pass(
        first in pools(), second in pools(),
        before in all_services(), after in all_services(),
    ) {
        let (first, second) = (config(&first), config(&second));
        let mut allocator = Allocator::new(&first);
        for (config, services) in [(&first, &before), (&first, &after), (&second, &after), (&first, &before)] {
            allocator.reload(config);
            let decisions = allocator.reconcile(&Rules::default(), services, &BTreeMap::new());
            check(&allocator);
            check_permission(services, config, &allocator);
            for (key, decision) in &decisions {
                prop_assert_eq!(decision.allocation.as_ref(), allocator.allocation(key));
                let served = services[key].service_type == ServiceType::LoadBalancer;
                prop_assert!(!served || decision.allocation.is_some() || decision.error.is_some(), "no silent failure");
            }
            // The caller writes what was decided; then there is nothing more to do.
            let mut written = services.clone();
            for (key, decision) in &decisions {
                let addresses = decision.allocation.iter().flat_map(|a| a.addresses.iter());
                written.get_mut(key).unwrap().ingress = addresses.map(|ip| ip.to_string()).collect();
            }
            let again = allocator.reconcile(&Rules::default(), &written, &BTreeMap::new());
            for (key, decision) in &decisions {
                prop_assert_eq!(&decision.allocation, &again[key].allocation, "at rest");
            }
        }
    }

    #[test]
    fn a_restart_changes_no_address(config in pools(), services in all_services(), later in all_services()) {
        let config = super::config(&config);
        let mut allocator = Allocator::new(&config);
        allocator.reconcile(&Rules::default(), &services, &BTreeMap::new());
        let written: BTreeMap<ServiceKey, Addresses> =
            allocator.allocations().map(|(key, a)| (key.clone(), a.addresses)).collect();
        // New Services come with the restart; they have no address yet.
        let mut all = later;
        for spec in all.values_mut() {
            spec.ingress.clear();
        }
        all.extend(services);
        let mut restarted = Allocator::new(&config);
        let decisions = restarted.reconcile(&Rules::default(), &all, &written);
        check(&restarted);
        for (key, addresses) in &written {
            let now = decisions[key].allocation.as_ref().map(|a| a.addresses);
            let kept = now.is_some_and(|now| addresses.iter().all(|ip| now.contains(ip)));
            prop_assert!(kept, "{key} had {addresses} and has {now:?}");
        }
    }
}
