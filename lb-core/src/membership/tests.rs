use super::*;

const DURATION: Duration = Duration::from_secs(75);

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn node(name: &str) -> NodeName {
    NodeName::new(name).unwrap()
}

/// Leases by node, each with the time that is written in it; 0 = given back.
fn leases(list: &[(&str, i64)]) -> BTreeMap<NodeName, Heartbeat> {
    let lease = |(name, renewed): &(&str, i64)| {
        let holder = if *renewed == 0 { String::new() } else { format!("{name}-1") };
        (node(name), Heartbeat { holder, renewed: *renewed, duration: DURATION, links: None })
    };
    list.iter().map(lease).collect()
}

fn alive(membership: &Membership) -> Vec<&str> {
    ["a", "b", "c"].into_iter().filter(|name| membership.is_alive(&node(name))).collect()
}

/// Renews the own Lease every ten seconds and judges each second; `a` renews too, `b` has stopped.
fn run(membership: &mut Membership, from: u64, to: u64) {
    for second in from..to {
        if second % 10 == 0 {
            membership.renewed(seconds(second));
            membership.observe(&leases(&[("a", i64::try_from(second).unwrap()), ("b", 1)]), seconds(second));
        }
        membership.judge(seconds(second));
    }
}

#[test]
fn who_does_not_renew_lapses_after_the_duration_and_comes_back_with_a_sign_of_life() {
    let mut membership = Membership::default();
    run(&mut membership, 10, 86);
    assert_eq!(alive(&membership), ["a", "b"]);
    run(&mut membership, 86, 87);
    assert_eq!(alive(&membership), ["a"]);
    // Whatever its clock says, also less than before.
    membership.observe(&leases(&[("a", 80), ("b", -5)]), seconds(88));
    assert_eq!(alive(&membership), ["a", "b"]);
    membership.observe(&leases(&[("a", 80), ("b", 0)]), seconds(89));
    assert_eq!(alive(&membership), ["a"], "given back");
    membership.observe(&leases(&[("a", 80)]), seconds(90));
    assert_eq!(alive(&membership), ["a"], "deleted");
}

#[test]
fn nobody_is_judged_while_the_own_renewals_fail_or_shortly_after() {
    let mut membership = Membership::default();
    run(&mut membership, 10, 60);
    // The server is away for ten minutes.
    for second in 60..660 {
        assert!(!membership.judge(seconds(second)));
    }
    assert_eq!(alive(&membership), ["a", "b"]);
    // It is back, and nobody else has reached it yet.
    for second in 660..736 {
        if second % 10 == 0 {
            membership.renewed(seconds(second));
        }
        assert!(!membership.judge(seconds(second)), "{second}");
    }
    membership.renewed(seconds(736));
    assert_eq!(membership.next_lapse(), Some(seconds(735)));
    assert!(membership.judge(seconds(736)));
    assert_eq!(alive(&membership), Vec::<&str>::new());
}

#[test]
fn one_missed_renewal_is_no_outage() {
    let mut membership = Membership::default();
    membership.observe(&leases(&[("b", 1)]), seconds(0));
    for second in [0, 10, 30, 40, 60, 70] {
        membership.renewed(seconds(second));
        assert!(!membership.judge(seconds(second)));
    }
    assert!(membership.judge(seconds(76)));
}

#[test]
fn a_report_shows_what_can_announce_or_could() {
    let link = |name: &str, up: bool, enslaved: bool| Link {
        id: crate::ids::LinkId(1),
        name: LinkName::new(name).unwrap(),
        mac: Some("02:00:00:00:00:0a".parse().unwrap()),
        up,
        carrier: up,
        enslaved,
        noarp: false,
        addresses: vec!["192.0.2.10".parse().unwrap(), "2001:db8::10".parse().unwrap()],
    };
    let links = [
        link("eth0", true, false),
        link("eth1", false, false),
        link("veth7", true, false),
        link("eth2", true, true),
    ];
    let reports = report(&links, &BTreeSet::new());
    let text = serde_json::to_string(&reports).unwrap();
    assert_eq!(
        text,
        r#"[{"name":"eth0","mac":"02:00:00:00:00:0a","addresses":["192.0.2.10","2001:db8::10"],"fit":true},{"name":"eth1","mac":"02:00:00:00:00:0a","addresses":["192.0.2.10","2001:db8::10"],"fit":false,"why":"it is down: ip link set it up"}]"#
    );
    let read: Vec<LinkReport> = serde_json::from_str(&text).unwrap();
    assert_eq!(read, reports);
    let fitness = fitness(read);
    assert_eq!(fitness.values().collect::<Vec<_>>(), [&LinkFitness::Fit, &LinkFitness::Unfit]);
    let named = BTreeSet::from([LinkName::new("eth2").unwrap()]);
    let names: Vec<String> = report(&links, &named).into_iter().map(|link| link.name.to_string()).collect();
    assert_eq!(names, ["eth2"]);
}
