//! F5 to F10: MetalLB's own tests of its allocator (`internal/allocator/allocator_test.go`).

use super::*;

/// One step of F5: service, spec, addresses, whether it succeeds.
type Step = (&'static str, ServiceSpec, &'static str, bool);

fn run(allocator: &mut Allocator, steps: Vec<Step>) {
    for (index, (service, spec, ips, works)) in steps.into_iter().enumerate() {
        let before = held(allocator, service);
        let result = assign(allocator, service, &spec, ips);
        assert_eq!(result.is_ok(), works, "step {index}: {service} <- {ips}: {result:?}");
        let expected = if works { ips.to_owned() } else { before };
        assert_eq!(held(allocator, service), expected, "a failed request leaves what was there");
        check(allocator);
    }
}

fn f5_pools() -> Config {
    let ns = |pool, ns: &[&str], label: &[(&str, &str)]| pinned(pool, 0, ns, label);
    config(&[
        raw("test", &["1.2.3.4/31", "1000::4/127"]),
        RawPool { avoid_buggy_ips: true, ..raw("test2", &["1.2.4.0/24", "1000::4:0/120"]) },
        ns(raw("test3", &["1.2.5.0/24"]), &["test-ns1"], &[]),
        ns(raw("test4", &["1.2.6.0/24"]), &["other"], &[]),
        ns(raw("test5", &["1.2.7.0/24"]), &[], &[("team", "metallb")]),
        ns(raw("test6", &["1.2.8.0/24"]), &["test-ns1"], &[("team", "red")]),
    ])
}

#[test]
fn f5_the_ipv4_sequence() {
    let mut allocator = Allocator::new(&f5_pools());
    run(
        &mut allocator,
        vec![
            ("s1", spec(), "1.2.3.4", true),
            ("s1", spec(), "1.2.3.4", true),
            ("s2", spec(), "1.2.3.4", false),
            ("s2", spec(), "1.2.3.5", true),
            ("s1", spec(), "1.2.3.5", false),
        ],
    );
    allocator.release(&key("s1"));
    run(
        &mut allocator,
        vec![
            ("s2", spec(), "1.2.3.4", true),
            ("s1", spec(), "1.2.3.5", true),
            ("s3", spec(), "1.2.4.0", false),
            ("s3", spec(), "1.2.4.255", false),
            ("s3", spec(), "1.2.4.254", true),
            ("s4", sharing("sharing", "tcp/80", ""), "1.2.4.3", true),
            ("s4", sharing("share", "tcp/80", ""), "1.2.4.3", true),
            ("s3", sharing("share", "tcp/80", ""), "1.2.4.3", false),
            ("s3", sharing("othershare", "tcp/443", ""), "1.2.4.3", false),
            ("s3", sharing("share", "tcp/443", "other"), "1.2.4.3", false),
            ("s3", sharing("share", "tcp/443", ""), "1.2.4.3", true),
            ("s3", sharing("share", "udp/53", ""), "1.2.4.3", true),
            ("s3", sharing("othershare", "udp/53", ""), "1.2.4.3", false),
            ("s3", sharing("share", "udp/53", "other"), "1.2.4.3", false),
            ("s4", sharing("share", "tcp/80", ""), "1.2.4.254", true),
        ],
    );
}

#[test]
fn f5_the_ipv6_sequence() {
    let mut allocator = Allocator::new(&f5_pools());
    run(
        &mut allocator,
        vec![
            ("s1", spec(), "1000::4", true),
            ("s1", spec(), "1000::4", true),
            ("s2", spec(), "1000::4", false),
            ("s2", spec(), "1000::5", true),
            ("s1", spec(), "1000::5", false),
        ],
    );
    allocator.release(&key("s1"));
    run(
        &mut allocator,
        vec![
            ("s2", spec(), "1000::4", true),
            ("s1", spec(), "1000::5", true),
            ("s3", spec(), "1000::4:0", true),
            ("s3", spec(), "1000::4:ff", true),
            ("s4", sharing("sharing", "tcp/80", ""), "1000::4:3", true),
            ("s4", sharing("share", "tcp/80", ""), "1000::4:3", true),
            ("s3", sharing("share", "tcp/80", ""), "1000::4:3", false),
            ("s3", sharing("othershare", "tcp/443", ""), "1000::4:3", false),
            ("s3", sharing("share", "tcp/443", "other"), "1000::4:3", false),
            ("s3", sharing("share", "tcp/443", ""), "1000::4:3", true),
            ("s3", sharing("share", "udp/53", ""), "1000::4:3", true),
            ("s3", sharing("othershare", "udp/53", ""), "1000::4:3", false),
            ("s3", sharing("share", "udp/53", "other"), "1000::4:3", false),
            ("s4", sharing("share", "tcp/80", ""), "1000::4:fe", true),
        ],
    );
}

#[test]
fn f5_dual_stack_and_pinned_pools() {
    let red = || ServiceSpec { labels: labels(&[("team", "red")]), ..spec() };
    let team = || ServiceSpec { labels: labels(&[("team", "metallb")]), ..spec() };
    let mut allocator = Allocator::new(&f5_pools());
    run(
        &mut allocator,
        vec![
            ("s1", spec(), "1.2.3.4,1000::4", true),
            ("s2", spec(), "1.2.3.4,1000::5", false),
            ("s2", spec(), "1.2.3.5,1000::4:0", false),
            ("s2", spec(), "1.2.3.5,1000::5", true),
            ("s3", spec(), "1.2.5.1", true),
            ("s3", spec(), "1.2.6.1", false),
            ("s3", spec(), "1.2.7.1", false),
            ("s4", team(), "1.2.7.1", true),
            ("s3", spec(), "1.2.8.1", false),
            ("s5", team(), "1.2.8.1", false),
            ("s5", red(), "1.2.8.1", true),
        ],
    );
    let stranger = ServiceKey::new("test-ns9", "s5").unwrap();
    let spec = red();
    let request = Request::new(&stranger, &spec, &Rules::default());
    assert_eq!(
        allocator.assign(&request, addresses("1.2.8.2")),
        Err(AllocError::PoolClosed { pool: name("test6") }),
        "namespace and label are both needed"
    );
}

#[test]
fn refusals_name_the_cause() {
    let mut allocator = Allocator::new(&f5_pools());
    assign(&mut allocator, "s1", &sharing("k", "tcp/80", ""), "1.2.3.4").unwrap();
    for (spec, ips, message) in [
        (
            spec(),
            "1.2.3.4",
            "1.2.3.4 is in use by Service test-ns1/s1, and they can't share it: both need the annotation \
             metallb.io/allow-shared-ip with one value",
        ),
        (
            sharing("k", "tcp/80", ""),
            "1.2.3.4",
            "1.2.3.4 is in use by Service test-ns1/s1, and they can't share it: both serve TCP/80",
        ),
        (spec(), "9.9.9.9", "9.9.9.9 lies in no address pool"),
        (spec(), "1.2.3.5,1000::4:1", "1.2.3.5,1000::4:1 do not lie in one address pool"),
        (spec(), "1.2.4.0", "1.2.4.0 is not given out, because its pool has avoidBuggyIPs"),
        (
            spec(),
            "1.2.6.0",
            "address pool test4 is not open to this Service: its serviceAllocation names other namespaces or labels",
        ),
    ] {
        assert_eq!(assign(&mut allocator, "s2", &spec, ips).unwrap_err().to_string(), message);
    }
}

/// Allocates to as many Services as possible; they get different addresses, and these.
fn exhaust(config: &Config, make: impl Fn() -> ServiceSpec, expected: &[&str]) -> Allocator {
    let mut allocator = Allocator::new(config);
    for (index, expected) in expected.iter().enumerate() {
        assert_eq!(allocate(&mut allocator, &format!("s{index}"), &make()).as_deref(), Ok(*expected));
    }
    let error = allocate(&mut allocator, "late", &make()).unwrap_err();
    assert!(matches!(error, AllocError::Exhausted { .. }), "{error}");
    allocator.release(&key("s1"));
    assert_eq!(allocate(&mut allocator, "late", &make()).as_deref(), Ok(expected[1]));
    check(&allocator);
    allocator
}

/// F6 for IPv4, IPv6 and both.
#[test]
fn f6_exhaustion() {
    let both = || families(spec(), &[], FamilyPolicy::RequireDualStack);
    let v6 = || families(spec(), &[Family::Ipv6], FamilyPolicy::SingleStack);
    let v4 = ["1.2.3.4", "1.2.3.5", "1.2.3.10", "1.2.3.11"];
    let six = ["1000::", "1000::1", "2000::", "2000::1"];
    exhaust(&config(&[raw("test", &["1.2.3.4/31", "1.2.3.10/31"])]), spec, &v4);
    exhaust(&config(&[raw("test", &["1000::/127", "2000::/127"])]), v6, &six);
    let pairs: Vec<String> = v4.iter().zip(six).map(|(a, b)| format!("{a},{b}")).collect();
    let pairs: Vec<&str> = pairs.iter().map(String::as_str).collect();
    let entries = ["1.2.3.4/31", "1000::/127", "1.2.3.10/31", "2000::/127"];
    exhaust(&config(&[raw("test", &entries)]), both, &pairs);
}

#[test]
fn f6_sharing_makes_room() {
    for (entries, make, first) in [
        (&["1.2.3.4/31"][..], (|s| s) as fn(ServiceSpec) -> ServiceSpec, "1.2.3.4"),
        (&["1000::/127"], |s| families(s, &[Family::Ipv6], FamilyPolicy::SingleStack), "1000::"),
        (
            &["1.2.3.4/31", "1000::/127"],
            |s| families(s, &[], FamilyPolicy::RequireDualStack),
            "1.2.3.4,1000::",
        ),
    ] {
        let mut allocator = Allocator::new(&config(&[raw("test", entries)]));
        assert_eq!(allocate(&mut allocator, "a", &make(sharing("k", "tcp/80", ""))).as_deref(), Ok(first));
        assert!(allocate(&mut allocator, "b", &make(spec())).is_ok());
        assert!(allocate(&mut allocator, "c", &make(spec())).is_err());
        assert!(allocate(&mut allocator, "d", &make(sharing("k", "tcp/80", ""))).is_err());
        assert!(allocate(&mut allocator, "d", &make(sharing("j", "tcp/443", ""))).is_err());
        assert_eq!(allocate(&mut allocator, "d", &make(sharing("k", "tcp/443", ""))).as_deref(), Ok(first));
        allocator.release(&key("a"));
        assert!(allocate(&mut allocator, "c", &make(spec())).is_err(), "one sharer still holds it");
        allocator.release(&key("d"));
        assert!(allocate(&mut allocator, "c", &make(spec())).is_ok());
        check(&allocator);
    }
}

/// metallb.md, section 8: a key without a wish takes a free address below the shared one, and the next joins it.
#[test]
fn the_first_address_that_is_free_or_shareable_is_taken() {
    let mut allocator = Allocator::new(&config(&[raw("test", &["1.2.3.0/29"])]));
    assign(&mut allocator, "a", &sharing("k", "tcp/1", ""), "1.2.3.2").unwrap();
    assign(&mut allocator, "b", &spec(), "1.2.3.0").unwrap();
    assert_eq!(allocate(&mut allocator, "c", &sharing("k", "tcp/2", "")).as_deref(), Ok("1.2.3.1"));
    assert_eq!(allocate(&mut allocator, "d", &sharing("k", "tcp/3", "")).as_deref(), Ok("1.2.3.1"));
    assert_eq!(allocate(&mut allocator, "e", &sharing("k", "tcp/2", "")).as_deref(), Ok("1.2.3.2"));
    assert_eq!(allocate(&mut allocator, "f", &sharing("k", "tcp/2", "")).as_deref(), Ok("1.2.3.3"));
    check(&allocator);
}

#[test]
fn f6_a_pool_does_not_take_what_is_held() {
    let mut allocator = Allocator::new(&config(&[raw("test", &["1.2.3.4/31", "1000::/127"])]));
    let (key, v4) = (key("a"), spec());
    let v6 = families(spec(), &[Family::Ipv6], FamilyPolicy::SingleStack);
    let (v4, v6) = [&v4, &v6].map(|spec| Request::new(&key, spec, &Rules::default())).into();
    let first = allocator.allocate_from_pool(&v4, &name("test")).unwrap();
    assert_eq!(allocator.allocate_from_pool(&v4, &name("test")), Ok(first.clone()), "the same again");
    let other = AllocError::HoldsOtherFamily { held: first.addresses };
    assert_eq!(allocator.allocate_from_pool(&v6, &name("test")), Err(other));
    allocator.release(&key);
    let unknown = AllocError::UnknownPool { pool: "nowhere".to_owned() };
    assert_eq!(allocator.allocate_from_pool(&v4, &name("nowhere")), Err(unknown));
    assert_eq!(held(&allocator, "a"), "");
}

#[test]
fn f7_buggy_addresses() {
    let pools = config(&[
        raw("test", &["1.2.3.0/31", "1.2.3.254/31"]),
        RawPool { avoid_buggy_ips: true, ..raw("test2", &["1.2.4.0/31", "1.2.4.254/31"]) },
    ]);
    exhaust(&pools, spec, &["1.2.3.0", "1.2.3.1", "1.2.3.254", "1.2.3.255", "1.2.4.1", "1.2.4.254"]);
}

#[test]
fn f8_a_shared_address_counts_once() {
    let mut allocator = Allocator::new(&config(&[raw("test", &["1.2.3.4/30", "1000::4/126"])]));
    for (service, port) in [("a", "tcp/80"), ("b", "tcp/443")] {
        assign(&mut allocator, service, &sharing("k", port, ""), "1.2.3.4").unwrap();
    }
    assign(&mut allocator, "c", &spec(), "1000::4").unwrap();
    let usage = allocator.usage(&name("test")).unwrap();
    assert_eq!(
        usage,
        PoolUsage { size: PoolSize { ipv4: 4, ipv6: 4 }, in_use: PoolSize { ipv4: 1, ipv6: 1 } }
    );
    assert_eq!(allocator.holders(ip("1.2.3.4")), [key("a"), key("b")]);
    assert_eq!(allocator.usage(&name("nowhere")), None);
}

#[test]
fn f9_reload() {
    let avoid = |raw| RawPool { avoid_buggy_ips: true, ..raw };
    let split =
        vec![raw("test", &["1.2.3.0/31", "1000::2/127"]), raw("test2", &["1.2.3.2/31", "1000::/127"])];
    for (pools, s1, s2) in [
        (vec![raw("test", &["1.2.3.0/30", "1000::/126"])], "test", "test"),
        (vec![raw("test", &["1.2.3.0/24", "1000::/120"])], "test", "test"),
        (vec![raw("test", &["1.2.3.0/31", "1000::/127"])], "test", "test"),
        (vec![raw("test", &["1.2.3.2/31", "1000::/126"])], "", "test"),
        (vec![raw("test", &["1.2.3.0/30", "1000::2/127"])], "test", ""),
        (vec![raw("test2", &["1.2.3.0/30", "1000::/126"])], "test2", "test2"),
        (split, "test", "test2"),
        (vec![avoid(raw("test2", &["1.2.3.0/30", "1000::/126"]))], "", "test2"),
        (vec![], "", ""),
    ] {
        let mut allocator = Allocator::new(&config(&[raw("test", &["1.2.3.0/30", "1000::/126"])]));
        assign(&mut allocator, "s1", &spec(), "1.2.3.0").unwrap();
        assign(&mut allocator, "s2", &spec(), "1000::").unwrap();
        let lost = allocator.reload(&config(&pools));
        let pool = |s: &str| allocator.allocation(&key(s)).map(|a| a.pool.to_string()).unwrap_or_default();
        assert_eq!((pool("s1").as_str(), pool("s2").as_str()), (s1, s2));
        let expected = [("s1", s1), ("s2", s2)].into_iter().filter(|(_, pool)| pool.is_empty());
        assert_eq!(lost, expected.map(|(s, _)| key(s)).collect::<Vec<_>>());
        check(&allocator);
    }
}

/// Shrinking a pool that was larger before: what lies in the rest stays, the others lose their address.
#[test]
fn f9_a_pool_grows_and_shrinks_again() {
    let with = |entries: &[&str]| config(&[raw("test", entries)]);
    let mut allocator = Allocator::new(&with(&["1.2.3.0/30", "1000::/126"]));
    for (service, ip) in [("s1", "1.2.3.0"), ("s2", "1000::")] {
        assign(&mut allocator, service, &spec(), ip).unwrap();
    }
    assert_eq!(allocator.reload(&with(&["1.2.3.0/24", "1000::/120"])), []);
    for (service, ip) in [("s3", "1.2.3.200"), ("s4", "1000::f0")] {
        assign(&mut allocator, service, &spec(), ip).unwrap();
    }
    assert_eq!(allocator.reload(&with(&["1.2.3.0/30", "1000::/126"])), [key("s3"), key("s4")]);
    let held: Vec<String> = ["s1", "s2", "s3", "s4"].map(|service| held(&allocator, service)).into();
    assert_eq!(held, ["1.2.3.0", "1000::", "", ""]);
    check(&allocator);
}

#[test]
fn f10_pools_without_auto_assign_serve_only_on_request() {
    let pools = config(&[
        RawPool { auto_assign: false, ..raw("A", &["1.2.3.4/31", "1000::4/127"]) },
        raw("B", &["1.2.3.10/31", "1000::10/127"]),
    ]);
    exhaust(&pools, spec, &["1.2.3.10", "1.2.3.11"]);
    let v6 = || families(spec(), &[Family::Ipv6], FamilyPolicy::SingleStack);
    exhaust(&pools, v6, &["1000::10", "1000::11"]);
    let both = || families(spec(), &[], FamilyPolicy::RequireDualStack);
    exhaust(&pools, both, &["1.2.3.10,1000::10", "1.2.3.11,1000::11"]);
    let mut allocator = Allocator::new(&pools);
    let asked = annotate(spec(), &[("metallb.io/address-pool", "A")]);
    assert_eq!(allocate(&mut allocator, "a", &asked).as_deref(), Ok("1.2.3.4"));
    assert_eq!(allocate(&mut allocator, "b", &wanting("1.2.3.5")).as_deref(), Ok("1.2.3.5"));
}

#[test]
fn a_nodes_address_is_never_given_out() {
    let own = [ip("1.2.3.4"), ip("1000::4")];
    let (config, _) = Config::validate(&[raw("test", &["1.2.3.4/31", "1000::4/127"])], &[], &own);
    exhaust_one(&config, &spec(), "1.2.3.5");
    exhaust_one(&config, &families(spec(), &[Family::Ipv6], FamilyPolicy::SingleStack), "1000::5");
    let mut allocator = Allocator::new(&config);
    for own in own {
        let refused = assign(&mut allocator, "s", &spec(), &own.to_string());
        assert_eq!(refused, Err(AllocError::NodeAddress { ip: own }));
    }
}

fn exhaust_one(config: &Config, spec: &ServiceSpec, only: &str) {
    let mut allocator = Allocator::new(config);
    assert_eq!(allocate(&mut allocator, "a", spec).as_deref(), Ok(only));
    assert!(allocate(&mut allocator, "b", spec).is_err());
}
