//! The failover rig itself, and the systems in it. `cargo xtask bench failover` measures; this holds what was seen to bounds
//! that a loaded machine keeps. Needs root, keepalived, and for L5 the testbed.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking and shows figures")]

use lb_test::failover::{Barelb, Kind, Purpose, Seen, System, Way, Ways, case};

/// One trial of a case.
fn run(system: &mut dyn System, name: &str) -> Ways {
    let seen = case(name).unwrap().run(system).unwrap().unwrap();
    println!("{name}: {seen:?}");
    seen
}

/// Every way saw another node within this time, and no way saw two at a time for longer than that.
fn assert_moved(seen: &Ways, within_ms: u64, both_ms: u64) {
    for (way, Seen { first_us, both_us, moves, .. }) in seen {
        assert!(first_us.is_some_and(|first| first <= within_ms * 1000), "{way:?}: {seen:?}");
        assert!(*both_us <= both_ms * 1000, "{way:?}: two owners for {both_us} us: {seen:?}");
        assert!(*moves >= 1, "{way:?}: {seen:?}");
    }
}

#[test]
#[ignore = "needs root and keepalived: makes network namespaces"]
fn a_client_sees_keepalived_move() {
    let mut system = Kind::Keepalived.set_up(Purpose::Faults).unwrap();
    // Three intervals and a half by the standard.
    let seen = run(system.as_mut(), "death");
    assert_moved(&seen, 15_000, 1000);
    let first = seen[&Way::Arp].first_us.unwrap();
    assert!(first >= 2_000_000, "before three advertisements can be missed: {seen:?}");
    // Back, it has the higher priority.
    assert_eq!(system.owner().unwrap(), 0);
    assert_moved(&run(system.as_mut(), "two-deaths"), 15_000, 1000);
    assert_moved(&run(system.as_mut(), "link-down"), 15_000, 1000);
    // Ended in order it says so, and the next node comes after a fraction of an interval.
    assert_moved(&run(system.as_mut(), "hand-over"), 15_000, 1000);
    assert!(case("death-no-api").unwrap().run(system.as_mut()).unwrap().is_none(), "it has no API server");
}

#[test]
#[ignore = "needs root and keepalived: makes network namespaces"]
fn a_client_sees_two_nodes_of_keepalived_and_none() {
    let mut system = Kind::Keepalived.set_up(Purpose::Faults).unwrap();
    // A frozen master keeps the addresses, and its kernel answers beside the new one.
    let seen = run(system.as_mut(), "freeze");
    assert!(seen[&Way::Arp].both_us > 100_000 && seen[&Way::Ns].both_us > 100_000, "{seen:?}");
    // So does one that was cut off, until one of both has heard of the other.
    let seen = run(system.as_mut(), "heal");
    assert!(seen[&Way::Arp].first_us.is_some() && seen[&Way::Ns].first_us.is_some(), "{seen:?}");
    // It still advertises, so nobody takes over from a master that hears nothing.
    let seen = run(system.as_mut(), "death-to");
    assert!(seen.values().all(|seen| seen.first_us.is_none() && seen.unanswered > 0), "{seen:?}");
}

/// What an agent may do, whatever tells it that another node is gone: addresses move within this time, and two nodes answer
/// after a partition for no longer than that.
fn moves_only_where_it_must(kind: Kind, within_ms: u64, healed_ms: u64) {
    let mut system = kind.set_up(Purpose::Faults).unwrap();
    assert_moved(&run(system.as_mut(), "death"), within_ms, 0);
    // The table of a frozen agent is silent before anybody takes over.
    assert_moved(&run(system.as_mut(), "freeze"), within_ms, 0);
    let seen = run(system.as_mut(), "kill");
    for (way, seen) in &seen {
        assert_eq!((seen.first_us, seen.moves), (None, 0), "{way:?}: {seen:?}");
    }
    for way in [Way::Arp, Way::Ns] {
        assert_eq!(seen[&way].unanswered, 0, "{way:?}: {seen:?}");
    }
    // Both answer for a moment, so that no answer is missed.
    let seen = run(system.as_mut(), "hand-over");
    for way in [Way::Arp, Way::Ns] {
        assert!(seen[&way].unanswered == 0 && seen[&way].first_us.is_some(), "{way:?}: {seen:?}");
    }
    let seen = run(system.as_mut(), "heal");
    for way in [Way::Arp, Way::Ns] {
        assert!(seen[&way].first_us.is_some() && seen[&way].both_us <= healed_ms * 1000, "{way:?}: {seen:?}");
    }
}

#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_addresses_move_by_the_leases_alone() {
    // A Lease lasts 17 s here; back, a node answers until it has read that its own has run out.
    moves_only_where_it_must(Kind::BarelbLeases, 24_000, 10_000);
}

#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_a_dead_node_is_replaced_by_probes() {
    let mut system = Kind::Barelb.set_up(Purpose::Faults).unwrap();
    // A Lease takes twice as long at the least; docs/reliability.md has what it takes on a machine that is not busy.
    assert_moved(&run(system.as_mut(), "death"), 8_000, 0);
    // Silent by its own table too: back, it answers for nothing that another node has by then.
    let seen = run(system.as_mut(), "carrier");
    assert_moved(&seen, 8_000, 1_000);
    for way in [Way::Arp, Way::Ns] {
        assert!(seen[&way].silent_us.is_some_and(|silent| silent <= 2_000_000), "{way:?}: {seen:?}");
    }
}

/// Of two nodes neither has heard more than the other, so the first one has owned all the while; its clients have heard the
/// second one last, and without a word they would follow by their own timers, seconds later.
#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_who_was_cut_off_and_owns_still_is_followed_at_once() {
    let mut system = Barelb::start_with("default", 2, Purpose::Faults).unwrap();
    let seen = run(&mut system, "heal");
    for way in [Way::Udp4, Way::Udp6] {
        assert!(seen[&way].first_us.is_some_and(|first| first <= 3_000_000), "{way:?}: {seen:?}");
    }
}
