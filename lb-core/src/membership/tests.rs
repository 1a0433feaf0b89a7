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
        let version = renewed.to_string();
        let reports = Vec::new();
        (
            node(name),
            Heartbeat { holder, renewed: *renewed, duration: DURATION, version, links: None, reports },
        )
    };
    list.iter().map(lease).collect()
}

fn alive(membership: &Membership) -> Vec<&str> {
    ["a", "b", "c"].into_iter().filter(|name| membership.is_alive(&node(name))).collect()
}

/// The own Lease is that of `me`, which renews every ten seconds, as `a` does; `b` has stopped.
fn run(membership: &mut Membership, from: u64, to: u64) {
    for second in from..to {
        if second % 10 == 0 {
            let now = i64::try_from(second).unwrap();
            membership.observe(&leases(&[("me", now), ("a", now), ("b", 1)]), seconds(second));
        }
        membership.judge();
    }
}

fn membership() -> Membership {
    Membership::new(node("me"), "me-1".to_owned(), DURATION)
}

#[test]
fn who_does_not_renew_lapses_after_the_duration_and_comes_back_with_a_sign_of_life() {
    let mut membership = membership();
    run(&mut membership, 10, 90);
    assert_eq!(alive(&membership), ["a", "b"]);
    assert_eq!(membership.next_lapse(), Some(seconds(85)), "the time for another renewal");
    run(&mut membership, 90, 91);
    assert_eq!(alive(&membership), ["a"]);
    // Whatever its clock says, also less than before.
    membership.observe(&leases(&[("me", 90), ("a", 80), ("b", -5)]), seconds(91));
    assert_eq!(alive(&membership), ["a", "b"]);
    membership.observe(&leases(&[("me", 90), ("a", 80), ("b", 0)]), seconds(92));
    assert_eq!(alive(&membership), ["a"], "given back");
    membership.observe(&leases(&[("me", 90)]), seconds(93));
    assert_eq!(alive(&membership), Vec::<&str>::new(), "deleted");
}

#[test]
fn nobody_is_judged_while_the_own_renewals_do_not_come_back_or_shortly_after() {
    let mut membership = membership();
    run(&mut membership, 10, 60);
    // The server, or the watch, is away for ten minutes: nothing is seen.
    assert_eq!(membership.judge(), []);
    assert_eq!(alive(&membership), ["a", "b"]);
    // It is back, and nobody else has reached it yet.
    for second in 660..736_u64 {
        if second % 10 == 0 {
            let now = i64::try_from(second).unwrap();
            membership.observe(&leases(&[("me", now), ("a", 50), ("b", 1)]), seconds(second));
        }
        assert_eq!(membership.judge(), [], "{second}");
    }
    membership.observe(&leases(&[("me", 736), ("a", 50), ("b", 1)]), seconds(736));
    assert_eq!(membership.judge(), [(node("a"), "50".to_owned()), (node("b"), "1".to_owned())]);
    assert_eq!(alive(&membership), Vec::<&str>::new());
    assert!(membership.is_alive(&node("me")), "who renews is not dead");
}

/// The Lease of the process before is no sign that this one can renew it.
#[test]
fn a_node_joins_by_a_renewal_of_its_own() {
    let mut membership = Membership::new(node("a"), "a-2".to_owned(), DURATION);
    membership.observe(&leases(&[("a", 5)]), seconds(0));
    assert!(!membership.is_joined());
    let mut own = leases(&[("a", 6)]);
    own.get_mut(&node("a")).unwrap().holder = "a-2".to_owned();
    membership.observe(&own, seconds(1));
    assert!(membership.is_joined());
}

/// An outage that is too short to be noticed ends no Lease, whatever the duration.
#[test]
fn the_trust_and_an_interval_are_shorter_than_a_lease() {
    for seconds in [5, 17, 40, 75, 600] {
        let duration = Duration::from_secs(seconds);
        let membership = Membership::new(node("a"), String::new(), duration);
        assert!(membership.trust + renew_interval(duration) < duration);
        assert!(membership.trust >= 2 * renew_interval(duration));
    }
}

#[test]
fn one_missed_renewal_is_no_outage() {
    let mut membership = membership();
    for second in [0, 10, 30, 40, 60, 70, 76_u64] {
        assert_eq!(membership.judge(), [], "{second}");
        let now = i64::try_from(second).unwrap() + 1;
        membership.observe(&leases(&[("me", now), ("b", 1)]), seconds(second));
    }
    assert_eq!(membership.judge().len(), 1);
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

/// The Lease of `me`, whose only link is this fit.
fn own(renewed: i64, fit: LinkFitness) -> BTreeMap<NodeName, Heartbeat> {
    let mut leases = leases(&[("me", renewed)]);
    let links = BTreeMap::from([(LinkName::new("eth0").unwrap(), fit)]);
    for heartbeat in leases.values_mut() {
        heartbeat.links = Some(links.clone());
    }
    leases
}

fn is_fit(membership: &Membership, now: Duration) -> bool {
    let links = membership.links(&node("me"), now).unwrap();
    links.values().all(|fitness| *fitness == LinkFitness::Fit)
}

#[test]
fn a_node_that_leaves_owns_on_until_the_others_have_taken_over() {
    let (mut membership, at) = (membership(), seconds);
    membership.observe(&own(1, LinkFitness::Fit), at(0));
    membership.leave(false, at(0));
    // It is asked to leave; nobody else knows yet, however long that takes.
    membership.leave(true, at(1));
    assert!(is_fit(&membership, at(60)));
    assert_eq!(membership.leaves_at(), None);
    // Its Lease says so.
    membership.observe(&own(2, LinkFitness::Unfit), at(60));
    membership.leave(true, at(60));
    let leaves = at(60) + HAND_OVER;
    assert_eq!(membership.leaves_at(), Some(leaves));
    assert!(is_fit(&membership, at(60)) && !is_fit(&membership, leaves));
    membership.observe(&own(3, LinkFitness::Unfit), at(61));
    membership.leave(true, at(61));
    assert_eq!(membership.leaves_at(), Some(leaves), "a renewal makes it no longer");
    // It may come back: when its Lease says so, for everybody at the same time.
    membership.leave(false, at(70));
    assert!(!is_fit(&membership, at(70)));
    membership.observe(&own(4, LinkFitness::Fit), at(71));
    membership.leave(false, at(71));
    assert!(is_fit(&membership, at(71)));
}

#[test]
fn a_node_that_has_left_before_this_process_began_owns_nothing() {
    for mut membership in [membership(), {
        let mut stopped = membership();
        stopped.observe(&own(1, LinkFitness::Fit), seconds(0));
        stopped.leave(false, seconds(0));
        stopped.forget();
        stopped
    }] {
        membership.observe(&own(2, LinkFitness::Unfit), seconds(100));
        membership.leave(true, seconds(100));
        assert!(!is_fit(&membership, seconds(100)));
    }
}

/// The table that the process before has left answers, and all others take this node for the owner.
#[test]
fn what_a_process_before_has_left_is_handed_over_too() {
    let mut membership = membership();
    let mut before = own(1, LinkFitness::Fit);
    for heartbeat in before.values_mut() {
        heartbeat.holder = "me-0".to_owned();
    }
    membership.observe(&before, seconds(0));
    membership.observe(&own(2, LinkFitness::Unfit), seconds(1));
    membership.leave(true, seconds(1));
    assert_eq!(membership.leaves_at(), Some(seconds(1) + HAND_OVER));
    assert!(membership.links(&node("me"), seconds(1)).is_none(), "taken as fit");
}

/// Asked to leave again before its Lease has taken the former leaving back, it is what the others take it for.
#[test]
fn a_node_that_is_told_to_and_fro_goes_by_the_last_report_with_which_it_could_announce() {
    let mut membership = membership();
    membership.observe(&own(1, LinkFitness::Fit), seconds(0));
    membership.leave(false, seconds(0));
    membership.observe(&own(2, LinkFitness::Unfit), seconds(1));
    membership.leave(true, seconds(1));
    membership.leave(false, seconds(10));
    membership.leave(true, seconds(10));
    assert!(is_fit(&membership, seconds(10)) && !is_fit(&membership, seconds(10) + HAND_OVER));
}

/// It owned nothing, and others do not take it for a candidate.
#[test]
fn a_node_whose_links_could_not_announce_has_nothing_to_hand_over() {
    let mut membership = membership();
    for (second, fitness) in [(0, LinkFitness::Fit), (1, LinkFitness::Unfit)] {
        membership.observe(&own(second, fitness), seconds(1));
        membership.leave(false, seconds(1));
    }
    membership.leave(true, seconds(2));
    assert!(!is_fit(&membership, seconds(2)));
}

#[test]
fn a_report_of_a_node_that_leaves_says_why() {
    let link = |name: &str, why: Option<&str>| LinkReport {
        name: LinkName::new(name).unwrap(),
        mac: None,
        addresses: Vec::new(),
        fit: why.is_none(),
        why: why.map(str::to_owned),
        liveness: None,
    };
    let left = leaving_report(&[link("eth0", None), link("eth1", Some("it is down"))], Leaving::Drained);
    let whys: Vec<_> = left.iter().map(|link| (link.fit, link.why.clone().unwrap())).collect();
    let drained = "the node is drained: `barelb drain --undo` with its name ends that";
    assert_eq!(whys, [(false, drained.to_owned()), (false, "it is down".to_owned())]);
}

/// Leases whose links can be probed.
fn probed(list: &[(&str, i64)]) -> BTreeMap<NodeName, Heartbeat> {
    let report = LinkReport {
        name: LinkName::new("eth0").unwrap(),
        mac: Some("02:00:00:00:00:0b".to_owned()),
        addresses: vec!["192.0.2.11".parse().unwrap(), "2001:db8::11".parse().unwrap()],
        fit: true,
        why: None,
        liveness: Some(LivenessReport { discriminator: 1, port: 7785 }),
    };
    let mut leases = leases(list);
    for heartbeat in leases.values_mut() {
        heartbeat.reports = vec![report.clone()];
    }
    leases
}

fn heard(names: &[&str]) -> BTreeSet<NodeName> {
    names.iter().copied().map(node).collect()
}

#[test]
fn who_is_heard_does_not_lapse() {
    let mut membership = membership();
    membership.hear(heard(&["b", "me"]));
    for second in (0..=200).step_by(10) {
        membership.observe(&probed(&[("me", second + 1), ("b", 1)]), seconds(second.unsigned_abs()));
        assert_eq!(membership.judge(), [], "{second}");
    }
    assert_eq!(alive(&membership), ["b"]);
    assert_eq!(membership.next_lapse(), None, "nobody needs to ask for it again and again");
    // It falls silent too.
    membership.hear(heard(&[]));
    assert_eq!(membership.judge(), [(node("b"), "1".to_owned())]);
    assert_eq!(alive(&membership), Vec::<&str>::new());
    membership.hear(heard(&["b", "me"]));
    assert_eq!(alive(&membership), ["b"], "it is back, and can't say so in its Lease");
}

#[test]
fn who_was_struck_out_by_others_and_is_heard_is_there_and_who_has_given_its_lease_back_is_not() {
    let mut membership = membership();
    membership.hear(heard(&["a", "b", "me"]));
    let mut leases = probed(&[("me", 0), ("a", 0), ("b", 0)]);
    for report in &mut leases.get_mut(&node("a")).unwrap().reports {
        report.liveness = None;
    }
    membership.observe(&leases, seconds(1));
    assert_eq!(alive(&membership), ["b"]);
    assert!(membership.is_alive(&node("me")), "the others hear it too");
    membership.hear(heard(&[]));
    assert!(!membership.is_alive(&node("me")), "who struck it out may answer");
}

#[test]
fn at_a_glance_a_lease_is_held_to_the_newest() {
    let second = 1_000_000;
    let leases = leases(&[("a", 100 * second), ("b", 25 * second), ("c", 24 * second), ("d", 0)]);
    assert_eq!(gone_at_a_glance(&leases), heard(&["c", "d"]));
    assert_eq!(gone_at_a_glance(&BTreeMap::new()), BTreeSet::new());
}
