//! A Service of a file, with what an API server keeps of it and adds to it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use lb_core::{
    ids::ServiceKey,
    pool::Family,
    request::{FamilyPolicy, ServiceSpec, ServiceType},
};

use crate::{
    controller::outcome::{FROM_POOL, OLD_FROM_POOL},
    source::kubernetes::{Cluster, Meta, SeenIngress, SeenService},
};

/// Enters the Service, and returns what was there. With `is_state` its status counts.
pub(super) fn put(
    cluster: &mut Cluster,
    key: &ServiceKey,
    spec: &ServiceSpec,
    is_state: bool,
) -> Option<SeenService> {
    let known = cluster.services().get(key).or_else(|| cluster.unreadable().get(key)).cloned();
    let kept = known.as_ref().filter(|_| !is_state);
    let mut spec = spec.clone();
    if !is_state {
        spec.ingress = kept.map(|known| known.spec.ingress.clone()).unwrap_or_default();
        add_cluster_ips(&mut spec, kept.map(|known| &known.spec), &families(cluster));
    }
    for name in [FROM_POOL, OLD_FROM_POOL] {
        if let Some(pool) = kept.and_then(|known| known.spec.annotations.get(name)) {
            spec.annotations.insert(name.to_owned(), pool.clone());
        }
    }
    let plain = |text: &String| SeenIngress { ip: text.parse().ok(), plain: true };
    let written = || spec.ingress.iter().map(plain).collect();
    let seen = SeenService {
        meta: kept.map_or_else(Meta::default, |known| known.meta.clone()),
        ingress: kept.map_or_else(written, |known| known.ingress.clone()),
        unreadable: None,
        deleting: kept.is_some_and(|known| known.deleting),
        spec,
    };
    cluster.suppose(key.clone(), seen);
    known
}

/// Gives Services cluster IPs where the files that say what there is have none.
pub(super) fn complete(cluster: &mut Cluster) {
    let families = families(cluster);
    let bare = cluster.services().iter().filter(|(_, seen)| seen.spec.cluster_ips.is_empty());
    let bare: Vec<(ServiceKey, SeenService)> = bare.map(|(key, seen)| (key.clone(), seen.clone())).collect();
    for (key, mut seen) in bare {
        add_cluster_ips(&mut seen.spec, None, &families);
        cluster.suppose(key, seen);
    }
}

/// Whether other pods serve the Service than before: which ones is not known then.
pub(super) fn selects_others(before: &SeenService, spec: &ServiceSpec) -> bool {
    // Of Services of other types the selector is not kept.
    let both = [before.spec.service_type, spec.service_type] == [ServiceType::LoadBalancer; 2];
    both && before.spec.selector != spec.selector
}

/// The families of a cluster's Services, the first one first; both where nothing is known.
fn families(cluster: &Cluster) -> Vec<Family> {
    let of = |spec: &ServiceSpec| -> Vec<Family> {
        let ips = spec.cluster_ips.iter().filter_map(|text| text.parse::<IpAddr>().ok());
        ips.map(Family::of).collect()
    };
    // The API server's own Service, which has an address of the first family.
    let api = ServiceKey::new("default", "kubernetes").ok();
    let api = api.and_then(|key| cluster.services().get(&key));
    let first = api.into_iter().chain(cluster.services().values()).flat_map(|seen| of(&seen.spec)).next();
    let Some(first) = first else { return vec![Family::Ipv4, Family::Ipv6] };
    let other = cluster.services().values().any(|seen| of(&seen.spec).contains(&first.other()));
    [first].into_iter().chain(other.then(|| first.other())).collect()
}

/// As an API server gives them: those it had, and others of the families that it asks for.
fn add_cluster_ips(spec: &mut ServiceSpec, known: Option<&ServiceSpec>, families: &[Family]) {
    if !spec.cluster_ips.is_empty() {
        return;
    }
    let had: Vec<IpAddr> =
        known.iter().flat_map(|known| &known.cluster_ips).filter_map(|text| text.parse().ok()).collect();
    if spec.ip_families.is_empty() {
        spec.ip_families = had.iter().map(|ip| Family::of(*ip)).collect();
    }
    if spec.ip_families.is_empty() {
        spec.ip_families = families.iter().copied().take(1).collect();
    }
    // What a file does not say stays, and it can't be seen here whether it says SingleStack.
    if let Some(known) = known.filter(|_| spec.ip_family_policy == FamilyPolicy::SingleStack)
        && spec.ip_families.len() == 2
    {
        spec.ip_family_policy = known.ip_family_policy;
    }
    if let ([only], true) = (&spec.ip_families[..], spec.ip_family_policy != FamilyPolicy::SingleStack) {
        let other = only.other();
        spec.ip_families.extend(families.contains(&other).then_some(other));
    }
    let made_up = |family: Family| match family {
        Family::Ipv4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        Family::Ipv6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let ip = |family: &Family| {
        had.iter().copied().find(|ip| Family::of(*ip) == *family).unwrap_or(made_up(*family))
    };
    spec.cluster_ips = spec.ip_families.iter().map(|family| ip(family).to_string()).collect();
}
