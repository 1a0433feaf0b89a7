//! metallb.md, section 3: what a user reads when a rule refuses a Service. Whole texts.

use super::*;

const BOTH: [Family; 2] = [Family::Ipv4, Family::Ipv6];

fn pools() -> Config {
    config(&[
        raw("one", &["192.0.2.0/32", "2001:db8::/128"]),
        RawPool { avoid_buggy_ips: true, ..raw("two", &["198.51.100.0/30"]) },
        pinned(raw("closed", &["203.0.113.0/30"]), 0, &["elsewhere"], &[]),
    ])
}

/// A Service with cluster IPs, as the API server gives them.
fn with_cluster_ips(spec: ServiceSpec, ips: &[&str]) -> ServiceSpec {
    ServiceSpec { cluster_ips: ips.iter().map(|ip| (*ip).to_owned()).collect(), ..spec }
}

fn from_pool(pool: &str) -> ServiceSpec {
    annotate(spec(), &[("metallb.io/address-pool", pool)])
}

fn dual(policy: FamilyPolicy) -> ServiceSpec {
    families(spec(), &BOTH, policy)
}

/// What the only Service of a cluster is told.
fn told(config: &Config, spec: &ServiceSpec, rules: &Rules) -> String {
    let services = BTreeMap::from([(key("a"), spec.clone())]);
    let decisions = allocate_all(config, rules, &services, &BTreeMap::new());
    let decision = &decisions[&key("a")];
    assert_eq!(decision.allocation, None);
    decision.error.as_ref().map(ToString::to_string).unwrap_or_default()
}

#[test]
fn wishes() {
    let field = |ip: &str, spec: ServiceSpec| ServiceSpec { load_balancer_ip: Some(ip.to_owned()), ..spec };
    for (spec, message) in [
        (wanting("x"), "\"x\" is not an IP address"),
        (wanting("192.0.2.0,"), "\"\" is not an IP address"),
        (field("fe80::1%eth0", spec()), "\"fe80::1%eth0\" is not an IP address"),
        (
            field("192.0.2.0", wanting("192.0.2.0")),
            "both spec.loadBalancerIP and the annotation metallb.io/loadBalancerIPs are set: keep one",
        ),
        (wanting("192.0.2.0,192.0.2.1"), "at most one address per family can be asked for"),
        (wanting("2001:db8::,2001:db8::1"), "at most one address per family can be asked for"),
        (
            wanting("2001:db8::"),
            "asks for 2001:db8::, but the Service needs one IPv4 address by its cluster IPs or spec.ipFamilies",
        ),
        (
            families(wanting("192.0.2.0"), &BOTH, FamilyPolicy::PreferDualStack),
            "asks for 192.0.2.0, but the Service needs one address of each family by its cluster IPs or \
             spec.ipFamilies",
        ),
        (wanting("9.9.9.9"), "9.9.9.9 lies in no address pool"),
        (
            families(wanting("198.51.100.1,2001:db8::"), &BOTH, FamilyPolicy::RequireDualStack),
            "198.51.100.1,2001:db8:: do not lie in one address pool",
        ),
        (wanting("198.51.100.0"), "198.51.100.0 is not given out, because its pool has avoidBuggyIPs"),
        (
            annotate(wanting("192.0.2.0"), &[("metallb.io/address-pool", "two")]),
            "192.0.2.0 does not lie in address pool two",
        ),
        (
            wanting("203.0.113.1"),
            "address pool closed is not open to this Service: its serviceAllocation names other namespaces or labels",
        ),
        (
            from_pool("closed"),
            "address pool closed is not open to this Service: its serviceAllocation names other namespaces or labels",
        ),
        (from_pool("nowhere"), "there is no address pool \"nowhere\""),
        (from_pool("a b"), "there is no address pool \"a b\""),
        (
            families(from_pool("two"), &[Family::Ipv6], FamilyPolicy::SingleStack),
            "address pool two has no free address for this Service (one IPv6 address)",
        ),
    ] {
        assert_eq!(told(&pools(), &spec, &Rules::default()), message, "{spec:?}");
    }
}

#[test]
fn families_and_cluster_ips() {
    let rules = Rules { cluster_ips_required: true, ..Rules::default() };
    let two_pools = config(&[raw("four", &["192.0.2.0/32"]), raw("six", &["2001:db8::/128"])]);
    for (spec, message) in [
        (spec(), "the Service has no cluster IP"),
        (with_cluster_ips(spec(), &["None"]), "the Service has no cluster IP"),
        (
            with_cluster_ips(dual(FamilyPolicy::RequireDualStack), &["10.96.0.1"]),
            "spec.ipFamilyPolicy is RequireDualStack, but the Service has one cluster IP",
        ),
        (
            with_cluster_ips(dual(FamilyPolicy::PreferDualStack), &["10.96.0.1", "10.96.0.2"]),
            "spec.clusterIPs are neither one address nor one of each family",
        ),
        (
            with_cluster_ips(dual(FamilyPolicy::RequireDualStack), &["fd00::1", "10.96.0.1"]),
            "no address pool that assigns automatically has a free address for this Service (one address of each family)",
        ),
    ] {
        assert_eq!(told(&two_pools, &spec, &rules), message, "{spec:?}");
    }
    assert_eq!(told(&config(&[]), &spec(), &Rules::default()), "no address pool is configured");
}

#[test]
fn sharing_rules() {
    let shared = sharing("k", "tcp/80", "");
    let taken =
        |rule: &str| format!("192.0.2.0 is in use by Service test-ns1/a, and they can't share it: {rule}");
    for (second, rule) in [
        (spec(), "both need the annotation metallb.io/allow-shared-ip with one value"),
        (sharing("j", "tcp/443", ""), "their values of metallb.io/allow-shared-ip differ"),
        (
            sharing("k", "tcp/443", "web"),
            "their external traffic policies differ, or they are Local and select different pods",
        ),
        (sharing("k", "tcp/80", ""), "both serve TCP/80"),
    ] {
        let second = annotate(second, &[("metallb.io/loadBalancerIPs", "192.0.2.0")]);
        let services = BTreeMap::from([(key("a"), shared.clone()), (key("b"), second)]);
        let decisions = allocate_all(
            &pools(),
            &Rules::default(),
            &services,
            &BTreeMap::from([(key("a"), addresses("192.0.2.0"))]),
        );
        let error = decisions[&key("b")].error.as_ref().map(ToString::to_string);
        assert_eq!(error, Some(taken(rule)));
    }
}

#[test]
fn what_is_taken_away_is_explained() {
    let had = |ips: &[&str], spec: ServiceSpec| ServiceSpec {
        ingress: ips.iter().map(|ip| (*ip).to_owned()).collect(),
        ..spec
    };
    for (spec, expected) in [
        (
            had(&["192.0.2.0", "192.0.2.1", "192.0.2.2"], spec()),
            "status.loadBalancer.ingress is neither one address nor one of each family: it is replaced",
        ),
        (
            had(&["192.0.2.256"], spec()),
            "status.loadBalancer.ingress is neither one address nor one of each family: it is replaced",
        ),
        (had(&["9.9.9.9"], spec()), "9.9.9.9: 9.9.9.9 lies in no address pool"),
        (
            had(&["203.0.113.1"], spec()),
            "203.0.113.1: address pool closed is not open to this Service: its serviceAllocation names other \
             namespaces or labels",
        ),
    ] {
        let services = BTreeMap::from([(key("a"), spec)]);
        let decisions = allocate_all(&pools(), &Rules::default(), &services, &BTreeMap::new());
        let notices: Vec<String> = decisions[&key("a")].notices.iter().map(notice).collect();
        assert_eq!(notices, [expected]);
    }
}

fn notice(notice: &Notice) -> String {
    match notice {
        Notice::UnreadableStatus(error) => error.to_string(),
        Notice::Cleared { addresses, cause } => format!("{addresses}: {cause}"),
        Notice::OneFamilyOnly { missing, pool } => format!("{missing:?} {pool}"),
    }
}
