//! What a Service's author can't reach, whatever the Service says.
//!
//! An author rules over annotations, labels, spec and, at worst, the status of the Services of one namespace; not over
//! the namespace's own labels, the pools, and other namespaces. The oracle below knows pools by their networks alone
//! and shares no code with the allocator.

use proptest::prelude::*;

use super::*;

/// What the pools below give to which namespace: network 10.0.N.0/24 or fd00:N::/64, by namespace.
const ALLOWED: [(&str, &[u8]); 3] = [("attacker", &[0, 4]), ("victim", &[0, 1, 4]), ("labelled", &[0, 2, 4])];
const NETS: u8 = 6;

fn pools() -> Config {
    let net = |n: u8| raw(&format!("p{n}"), &[&format!("10.0.{n}.0/29"), &format!("fd00:{n}::/125")]);
    let tier =
        |value: &str| RawSelector { match_labels: labels(&[("tier", value)]), ..RawSelector::default() };
    let by_namespace_label = RawServiceAllocation {
        namespace_selectors: vec![tier("gold")],
        service_selectors: vec![RawSelector::default()],
        ..RawServiceAllocation::default()
    };
    let nobody =
        RawServiceAllocation { namespace_selectors: vec![tier("absent")], ..RawServiceAllocation::default() };
    let pools = [
        RawPool { avoid_buggy_ips: true, ..net(0) },
        pinned(net(1), 1, &["victim"], &[]),
        RawPool { service_allocation: Some(by_namespace_label), ..net(2) },
        RawPool { service_allocation: Some(nobody), ..net(3) },
        RawPool { auto_assign: false, ..net(4) },
        pinned(net(5), -1, &["nowhere"], &[("tier", "gold")]),
    ];
    let own = [ip("10.0.0.3"), ip("fd00:4::3")];
    Config::validate(&pools, &[], &own).0
}

/// The network of an address, by its text alone.
fn network(ip: IpAddr) -> Option<u8> {
    match ip {
        IpAddr::V4(ip) => match ip.octets() {
            [10, 0, net, 0..=7] => Some(net),
            _ => None,
        },
        IpAddr::V6(ip) => match ip.segments() {
            [0xfd00, net, 0, 0, 0, 0, 0, 0..=7] => u8::try_from(net).ok(),
            _ => None,
        },
    }
}

fn address() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => (0..NETS, 0u8..8).prop_map(|(net, host)| format!("10.0.{net}.{host}")),
        3 => (0..NETS, 0u8..8).prop_map(|(net, host)| format!("fd00:{net}::{host}")),
        1 => (0..NETS, 0u8..8).prop_map(|(net, host)| format!("::ffff:10.0.{net}.{host}")),
        1 => Just("203.0.113.1".to_owned()),
        1 => "\\PC{0,8}",
    ]
}

fn text() -> impl Strategy<Value = String> {
    let listed = prop::collection::vec(address(), 0..4).prop_map(|list| list.join(","));
    prop_oneof![3 => listed, 2 => (0..NETS).prop_map(|n| format!("p{n}")), 1 => "\\PC{0,20}"]
}

fn annotations() -> impl Strategy<Value = BTreeMap<String, String>> {
    let prefix = prop_oneof!["metallb\\.io/", "metallb\\.universe\\.tf/", "barelb\\.io/"];
    let name =
        prop_oneof!["loadBalancerIPs", "address-pool", "allow-shared-ip", "ip-allocated-from-pool", "vlan"];
    let key = (prefix, name).prop_map(|(prefix, name)| format!("{prefix}{name}"));
    let value = prop_oneof![3 => text(), 1 => Just("shared".to_owned())];
    prop::collection::btree_map(key, value, 0..5)
}

fn hostile() -> impl Strategy<Value = ServiceSpec> {
    use FamilyPolicy::{PreferDualStack, RequireDualStack, SingleStack};
    let policy = prop_oneof![Just(SingleStack), Just(PreferDualStack), Just(RequireDualStack)];
    let ip_families = prop::collection::vec(prop_oneof![Just(Family::Ipv4), Just(Family::Ipv6)], 0..3);
    let cluster_ip = prop_oneof!["10\\.96\\.0\\.1", "fd00:96::1", "None", "\\PC{0,6}"];
    let ports =
        prop::collection::btree_set((1u16..4).prop_map(|port| Port { protocol: Protocol::Tcp, port }), 0..3);
    let label = prop_oneof![
        Just(("tier", "gold")),
        Just(("tier", "absent")),
        Just(("kubernetes.io/metadata.name", "victim"))
    ];
    (
        annotations(),
        prop::option::of(text()),
        prop::collection::vec(cluster_ip, 0..3),
        prop::collection::vec(address(), 0..4),
        (policy, ip_families, any::<bool>(), any::<bool>()),
        (ports, prop::option::of(label)),
    )
        .prop_map(
            |(annotations, field, cluster_ips, ingress, (policy, families, is_lb, local), (ports, label))| {
                let policy_local = if local { TrafficPolicy::Local } else { TrafficPolicy::Cluster };
                ServiceSpec {
                    service_type: if is_lb { ServiceType::LoadBalancer } else { ServiceType::Other },
                    load_balancer_ip: field,
                    annotations,
                    labels: label.map(|label| labels(&[label])).unwrap_or_default(),
                    cluster_ips,
                    ip_families: families,
                    ip_family_policy: policy,
                    ports,
                    external_traffic_policy: policy_local,
                    ingress,
                    ..ServiceSpec::default()
                }
            },
        )
}

/// What the API gives a Service and its author can't: the labels of its namespace.
fn in_namespace(namespace: &str, spec: ServiceSpec) -> ServiceSpec {
    let namespace_labels = if namespace == "labelled" { labels(&[("tier", "gold")]) } else { Labels::new() };
    ServiceSpec { namespace_labels, ..spec }
}

fn hostile_services() -> impl Strategy<Value = BTreeMap<ServiceKey, ServiceSpec>> {
    let one = (0usize..3, 0u8..4, hostile()).prop_map(|(namespace, number, spec)| {
        let namespace = ALLOWED[namespace].0;
        let key = ServiceKey::new(namespace, format!("s{number}")).unwrap();
        (key, in_namespace(namespace, spec))
    });
    prop::collection::vec(one, 0..12).prop_map(|list| list.into_iter().collect())
}

/// Services that ask for nothing special and hold what they were given.
fn neighbours() -> BTreeMap<ServiceKey, ServiceSpec> {
    let neighbour = |number: u8| {
        let spec = families(
            spec(),
            &[if number.is_multiple_of(2) { Family::Ipv4 } else { Family::Ipv6 }],
            FamilyPolicy::SingleStack,
        );
        (ServiceKey::new("victim", format!("good{number}")).unwrap(), in_namespace("victim", spec))
    };
    (0..4).map(neighbour).collect()
}

fn only_what_is_allowed(allocator: &Allocator) {
    for (service, allocation) in allocator.allocations() {
        let allowed = ALLOWED.iter().find(|(namespace, _)| *namespace == service.namespace()).unwrap().1;
        for ip in allocation.addresses.iter() {
            let net = network(ip);
            assert!(net.is_some_and(|net| allowed.contains(&net)), "{service} has {ip}");
            assert!(
                !["10.0.0.0", "10.0.0.3", "fd00:4::3"].contains(&ip.to_string().as_str()),
                "{service} has {ip}"
            );
            assert_eq!(allocation.pool.as_str(), format!("p{}", net.unwrap()));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    /// Through several edits of hostile Services, and a restart that believes their statuses: every address lies in a
    /// pool that its holder's namespace may use, and nobody else's Service is touched.
    #[test]
    fn a_service_author_gets_nothing_from_pools_closed_to_the_namespace(
        edits in prop::collection::vec(hostile_services(), 1..4), cluster_ips_required: bool,
    ) {
        let config = pools();
        let rules = Rules::default();
        let hostile_rules = Rules { cluster_ips_required, ..rules.clone() };
        let mut allocator = Allocator::new(&config);
        let quiet = neighbours();
        allocator.reconcile(&rules, &quiet, &BTreeMap::new());
        let before: BTreeMap<_, _> = allocator.allocations().map(|(key, a)| (key.clone(), a.clone())).collect();
        prop_assert_eq!(before.len(), quiet.len());
        let with_status = |spec: &ServiceSpec, key: &ServiceKey| {
            let ingress = before[key].addresses.iter().map(|ip| ip.to_string()).collect();
            let cluster_ip = if before[key].addresses.first().is_ipv4() { "10.96.0.9" } else { "fd00:96::9" };
            ServiceSpec { ingress, cluster_ips: vec![cluster_ip.to_owned()], ..spec.clone() }
        };
        for edit in edits {
            let mut all = edit;
            all.extend(quiet.iter().map(|(key, spec)| (key.clone(), with_status(spec, key))));
            allocator.reconcile(&hostile_rules, &all, &BTreeMap::new());
            check(&allocator);
            only_what_is_allowed(&allocator);
            for (key, held) in &before {
                prop_assert_eq!(allocator.allocation(key), Some(held), "{} keeps its address", key);
                for ip in held.addresses.iter() {
                    prop_assert_eq!(allocator.holders(ip), std::slice::from_ref(key));
                }
            }
            // The new process has nothing but the statuses; a forged one may come first, but never from a closed pool.
            let mut restarted = Allocator::new(&config);
            restarted.reconcile(&hostile_rules, &all, &BTreeMap::new());
            check(&restarted);
            only_what_is_allowed(&restarted);
        }
    }
}
