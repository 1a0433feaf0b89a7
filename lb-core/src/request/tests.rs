use std::collections::BTreeMap;

use super::*;

fn key() -> ServiceKey {
    ServiceKey::new("default", "web").unwrap()
}

fn annotated(pairs: &[(&str, &str)]) -> ServiceSpec {
    let annotations = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    ServiceSpec { service_type: ServiceType::LoadBalancer, annotations, ..ServiceSpec::default() }
}

fn with_ip(ip: &str, spec: ServiceSpec) -> ServiceSpec {
    ServiceSpec { load_balancer_ip: Some(ip.to_owned()), ..spec }
}

fn wish(spec: &ServiceSpec) -> Result<String, String> {
    let key = key();
    let request = Request::new(&key, spec, &Rules::default());
    let wish = request.wish.map_err(|error| format!("{}: {error}", error.field(spec)))?;
    let addresses = wish.addresses.map(|a| a.to_string()).unwrap_or_default();
    Ok(format!("{addresses}@{}", wish.pool.map(|p| p.to_string()).unwrap_or_default()))
}

#[test]
fn wishes_from_field_and_annotations() {
    const V4_POOL: &str = "metallb.io/address-pool";
    for (spec, expected) in [
        (annotated(&[]), Ok("@")),
        (with_ip("192.0.2.1", annotated(&[])), Ok("192.0.2.1@")),
        (with_ip("", annotated(&[(V4_POOL, "a")])), Ok("@a")),
        (annotated(&[("metallb.io/loadBalancerIPs", " 192.0.2.1 ")]), Ok("192.0.2.1@")),
        (annotated(&[("metallb.universe.tf/loadBalancerIPs", "192.0.2.1")]), Ok("192.0.2.1@")),
        (annotated(&[("metallb.universe.tf/address-pool", "old"), (V4_POOL, "new")]), Ok("@new")),
        (annotated(&[("metallb.universe.tf/address-pool", "old"), (V4_POOL, "")]), Ok("@")),
        (
            with_ip("192.0.2.1", annotated(&[("metallb.io/loadBalancerIPs", "192.0.2.1")])),
            Err(
                "spec.loadBalancerIP: both spec.loadBalancerIP and the annotation metallb.io/loadBalancerIPs are \
                 set: keep one",
            ),
        ),
        (
            with_ip("the usual", annotated(&[])),
            Err("spec.loadBalancerIP: \"the usual\" is not an IP address"),
        ),
        (
            annotated(&[("metallb.io/loadBalancerIPs", "192.0.2.1,x")]),
            Err("metadata.annotations[metallb.io/loadBalancerIPs]: \"x\" is not an IP address"),
        ),
        (
            annotated(&[("metallb.io/loadBalancerIPs", "192.0.2.1,192.0.2.2")]),
            Err(
                "metadata.annotations[metallb.io/loadBalancerIPs]: at most one address per family can be asked for",
            ),
        ),
        (
            annotated(&[("metallb.io/loadBalancerIPs", "192.0.2.1,2001:db8::1,192.0.2.2")]),
            Err(
                "metadata.annotations[metallb.io/loadBalancerIPs]: at most one address per family can be asked for",
            ),
        ),
        (
            with_ip("2001:db8::1", annotated(&[])),
            Err(
                "spec.loadBalancerIP: asks for 2001:db8::1, but the Service needs one IPv4 address by its cluster \
                 IPs or spec.ipFamilies",
            ),
        ),
        (
            annotated(&[(V4_POOL, "no such pool")]),
            Err("metadata.annotations[metallb.io/address-pool]: there is no address pool \"no such pool\""),
        ),
    ] {
        assert_eq!(wish(&spec), expected.map(str::to_owned).map_err(str::to_owned));
    }
}

#[test]
fn a_megabyte_of_annotation_is_cut_in_the_message() {
    let spec = annotated(&[("metallb.io/loadBalancerIPs", &"x".repeat(1 << 20))]);
    assert!(wish(&spec).unwrap_err().len() < 200);
}

#[test]
fn families_from_cluster_ips_or_from_the_fields() {
    use Family::{Ipv4, Ipv6};
    use FamilyPolicy::{PreferDualStack, RequireDualStack, SingleStack};
    let both = |primary, required| Ok(Wanted::Both { primary, required });
    for (cluster_ips, ip_families, policy, required, expected) in [
        (&[][..], &[][..], SingleStack, false, Ok(Wanted::One(Ipv4))),
        (&[], &[Ipv6], SingleStack, false, Ok(Wanted::One(Ipv6))),
        (&[], &[], PreferDualStack, false, both(Ipv4, false)),
        (&[], &[Ipv6, Ipv4], RequireDualStack, false, both(Ipv6, true)),
        (&[], &[], SingleStack, true, Err(AllocError::NoClusterIp)),
        (&["None"], &[], SingleStack, false, Err(AllocError::NoClusterIp)),
        (&["10.0.0.1"], &[], SingleStack, true, Ok(Wanted::One(Ipv4))),
        (&["fd00::1"], &[Ipv6], PreferDualStack, true, Ok(Wanted::One(Ipv6))),
        (&["fd00::1"], &[], RequireDualStack, true, Err(AllocError::NotEnoughClusterIps)),
        (&["10.0.0.1", "fd00::1"], &[], PreferDualStack, true, both(Ipv4, false)),
        (&["10.0.0.1", "fd00::1"], &[], SingleStack, true, both(Ipv4, true)),
        (&["fd00::1", "10.0.0.1"], &[Ipv6, Ipv4], RequireDualStack, true, both(Ipv6, true)),
        (&["10.0.0.1", "10.0.0.2"], &[], SingleStack, true, Err(AllocError::ClusterIpFamilies)),
    ] {
        let spec = ServiceSpec {
            cluster_ips: cluster_ips.iter().map(|ip| (*ip).to_owned()).collect(),
            ip_families: ip_families.to_vec(),
            ip_family_policy: policy,
            ..ServiceSpec::default()
        };
        let rules = Rules { lb_class: None, cluster_ips_required: required, ..Rules::default() };
        let found = Request::new(&key(), &spec, &rules).families;
        assert_eq!(found, expected, "{cluster_ips:?} {ip_families:?} {policy:?}");
    }
}

#[test]
fn statuses_are_read_or_refused() {
    for (ingress, expected) in [
        (&[][..], Ok(None)),
        (&["192.0.2.1"], Ok(Some("192.0.2.1"))),
        (&["2001:db8::1", "192.0.2.1"], Ok(Some("2001:db8::1,192.0.2.1"))),
        (&["192.0.2.1", "192.0.2.2"], Err(StatusError)),
        (&["192.0.2.1", "2001:db8::1", "192.0.2.2"], Err(StatusError)),
        (&["x"], Err(StatusError)),
    ] {
        let ingress = ingress.iter().map(|text| (*text).to_owned()).collect();
        let held = ServiceSpec { ingress, ..ServiceSpec::default() }.held();
        let held = held.map(|held| held.map(|addresses| addresses.to_string()));
        assert_eq!(held.as_ref().map(Option::as_deref), expected.as_ref().map(|e| *e));
    }
}

#[test]
fn classes_match_exactly() {
    let spec = |class: Option<&str>| ServiceSpec {
        load_balancer_class: class.map(str::to_owned),
        ..ServiceSpec::default()
    };
    for (service, ours, matches) in [
        (None, None, true),
        (Some("a"), None, false),
        (None, Some("a"), false),
        (Some("a"), Some("a"), true),
        (Some("a"), Some("b"), false),
    ] {
        assert_eq!(spec(service).has_class(ours), matches, "{service:?} {ours:?}");
    }
    let annotations = BTreeMap::from([("metallb.universe.tf/allow-shared-ip".to_owned(), String::new())]);
    let empty = ServiceSpec { annotations, ..ServiceSpec::default() };
    assert!(empty.may_share() && empty.sharing_key().is_none());
}
