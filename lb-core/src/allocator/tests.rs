use std::collections::BTreeMap;

use super::*;
use crate::{
    config::{Config, RawPool, RawServiceAllocation},
    pool::Range,
    request::{FamilyPolicy, Rules, ServiceSpec, ServiceType},
    selector::{Labels, RawSelector},
    sharing::{Port, Protocol, TrafficPolicy},
};

mod facts;
mod hostile;
mod messages;
mod outcomes;
mod passes;
mod properties;
mod reconciling;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn name(text: &str) -> PoolName {
    PoolName::new(text).unwrap()
}

fn key(text: &str) -> ServiceKey {
    ServiceKey::new("test-ns1", text).unwrap()
}

fn addresses(text: &str) -> Addresses {
    let ips: Vec<IpAddr> = text.split(',').map(ip).collect();
    Addresses::new(&ips).unwrap()
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

fn raw(name: &str, entries: &[&str]) -> RawPool {
    let addresses = entries.iter().map(|e| (*e).to_owned()).collect();
    RawPool { name: name.to_owned(), addresses, ..RawPool::default() }
}

fn pinned(raw: RawPool, priority: i64, namespaces: &[&str], service: &[(&str, &str)]) -> RawPool {
    let by_label = RawSelector { match_labels: labels(service), ..RawSelector::default() };
    let rule = RawServiceAllocation {
        priority,
        namespaces: namespaces.iter().map(|n| (*n).to_owned()).collect(),
        service_selectors: if service.is_empty() { vec![] } else { vec![by_label] },
        ..RawServiceAllocation::default()
    };
    RawPool { service_allocation: Some(rule), ..raw }
}

fn config(pools: &[RawPool]) -> Config {
    let (config, problems) = Config::validate(pools, &[], &[]);
    assert_eq!(problems, []);
    config
}

/// A `LoadBalancer` Service with one port and no wish.
fn spec() -> ServiceSpec {
    ServiceSpec {
        service_type: ServiceType::LoadBalancer,
        ports: [Port { protocol: Protocol::Tcp, port: 80 }].into(),
        ..ServiceSpec::default()
    }
}

fn annotate(mut spec: ServiceSpec, pairs: &[(&str, &str)]) -> ServiceSpec {
    spec.annotations.extend(labels(pairs));
    spec
}

fn wanting(ips: &str) -> ServiceSpec {
    annotate(spec(), &[("metallb.io/loadBalancerIPs", ips)])
}

/// A Service that shares under a key, with a port such as `tcp/80` and a backend (empty = policy Cluster).
fn sharing(key: &str, port: &str, backend: &str) -> ServiceSpec {
    let (protocol, number) = port.split_once('/').unwrap();
    let protocol = protocol.to_uppercase().parse().unwrap();
    let policy = if backend.is_empty() { TrafficPolicy::Cluster } else { TrafficPolicy::Local };
    ServiceSpec {
        ports: [Port { protocol, port: number.parse().unwrap() }].into(),
        external_traffic_policy: policy,
        selector: labels(&[("app", backend)]),
        ..annotate(spec(), &[("metallb.io/allow-shared-ip", key)])
    }
}

fn families(spec: ServiceSpec, families: &[Family], policy: FamilyPolicy) -> ServiceSpec {
    ServiceSpec { ip_families: families.to_vec(), ip_family_policy: policy, ..spec }
}

/// `assign` by name, with all families permitted that are asked for.
fn assign(allocator: &mut Allocator, service: &str, spec: &ServiceSpec, ips: &str) -> Result<(), AllocError> {
    let key = key(service);
    let request = Request::new(&key, spec, &Rules::default());
    allocator.assign(&request, addresses(ips)).map(|_allocation| ())
}

fn allocate(allocator: &mut Allocator, service: &str, spec: &ServiceSpec) -> Result<String, AllocError> {
    let key = key(service);
    let allocation = allocator.allocate(&Request::new(&key, spec, &Rules::default()))?;
    Ok(allocation.addresses.to_string())
}

/// What a Service holds, as text.
fn held(allocator: &Allocator, service: &str) -> String {
    allocator.allocation(&key(service)).map(|a| a.addresses.to_string()).unwrap_or_default()
}

/// The book agrees with itself: free space, holders, counts and keys follow from what is held.
#[expect(clippy::disallowed_methods, reason = "sums have no order")]
fn check(allocator: &Allocator) {
    let mut holders: BTreeMap<IpAddr, Vec<ServiceKey>> = BTreeMap::new();
    for (service, allocation) in allocator.allocations() {
        for ip in allocation.addresses.iter() {
            assert!(allocator.pools[&allocation.pool].pool.may_give(ip), "{ip} may be given");
            holders.entry(ip).or_default().push(service.clone());
        }
    }
    for sharers in holders.values_mut() {
        sharers.sort();
    }
    assert_eq!(allocator.holders.len(), holders.len());
    assert!(holders.iter().all(|(ip, sharers)| allocator.holders(*ip) == sharers), "{holders:?}");
    for sharers in holders.values() {
        for (index, one) in sharers.iter().enumerate() {
            for other in &sharers[index + 1..] {
                let conflict = allocator.held[one].sharing.conflict(&allocator.held[other].sharing);
                assert_eq!(conflict, None, "{one} and {other} share");
            }
        }
    }
    for (pool, state) in &allocator.pools {
        let of_pool = |held: &&Held| held.allocation.pool == *pool;
        let mut shared: BTreeMap<Arc<str>, BTreeSet<IpAddr>> = BTreeMap::new();
        let mut used = BTreeSet::new();
        for held in allocator.held.values().filter(of_pool) {
            for ip in held.allocation.addresses.iter() {
                used.insert(ip);
                if let Some(key) = held.sharing.key() {
                    shared.entry(key.clone()).or_default().insert(ip);
                }
            }
        }
        assert_eq!(state.shared, shared);
        let count = |v4: bool| i64::try_from(used.iter().filter(|ip| ip.is_ipv4() == v4).count()).unwrap();
        assert_eq!(state.in_use, PoolSize { ipv4: count(true), ipv6: count(false) });
        let mut free = state.clone();
        assert!(used.iter().all(|ip| !free.space_mut(Family::of(*ip)).take(*ip)), "what is used is not free");
    }
}
