use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;
use crate::{
    ids::{LinkId, Mac, Vlans},
    plan::{Entry, EntryState, diff},
};

const RATE: NonZeroU32 = NonZeroU32::new(1_000_000).unwrap();

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn target(ip: impl Into<IpAddr>) -> Target {
    Target { link: LinkId(2), vlans: Vlans::Untagged, ip: ip.into() }
}

fn v4(n: u32) -> Target {
    target(Ipv4Addr::from(0xc000_0200 + n))
}

fn v6(n: u32) -> Target {
    target(Ipv6Addr::from((0x2001_0db8 << 96) + u128::from(n)))
}

/// Runs the clock from deadline to deadline until nothing is left or `end` is reached.
fn run(bursts: &mut Bursts, end: Duration) -> Vec<(Duration, Announcement)> {
    let mut sent = Vec::new();
    while let Some(now) = bursts.next_deadline().filter(|now| *now < end) {
        let frames = bursts.take_due(now, usize::MAX);
        assert!(!frames.is_empty(), "a deadline yields a frame: otherwise the caller would spin");
        sent.extend(frames.into_iter().map(|frame| (now, frame)));
    }
    sent
}

/// G01.
#[test]
fn ipv4_is_announced_six_times_in_two_forms() {
    let mut bursts = Bursts::new(RATE);
    bursts.start(v4(1), ms(1000));
    let sent = run(&mut bursts, Duration::MAX);
    let expected: Vec<_> = [0, 100, 300, 1100, 2200, 5000]
        .into_iter()
        .zip(0..)
        .flat_map(|(at, round)| {
            [Form::ArpRequest, Form::ArpReply]
                .map(|form| (ms(1000 + at), Announcement { target: v4(1), round, form, refusals: 0 }))
        })
        .collect();
    assert_eq!(sent, expected);
    assert!(bursts.is_empty() && bursts.queue.is_empty());
}

/// G02: at most three, at least a second apart (RFC 4861 section 7.2.6).
#[test]
fn ipv6_is_announced_three_times() {
    let mut bursts = Bursts::new(RATE);
    bursts.start(v6(1), ms(7));
    let form = Form::NeighbourAdvertisement;
    let expected = [(7, 0), (1107, 1), (2207, 2)];
    let expected =
        expected.map(|(at, round)| (ms(at), Announcement { target: v6(1), round, form, refusals: 0 }));
    assert_eq!(run(&mut bursts, Duration::MAX), expected);
}

/// G03 and G05: only what newly answers is announced, and a restart without a change announces nothing.
#[test]
fn only_gained_targets_are_announced() {
    let entry = |state| Entry { mac: Mac([2, 0, 0, 0, 0, 1]), state };
    for target in [v4(1), v6(1)] {
        let of = |state| BTreeMap::from([(target, entry(state))]);
        let (answer, standby, none) = (of(EntryState::Answer), of(EntryState::Standby), BTreeMap::new());
        for (desired, actual, announced) in [
            (&answer, &none, true),
            (&answer, &standby, true),
            (&answer, &answer, false),
            (&standby, &none, false),
            (&standby, &answer, false),
            (&none, &answer, false),
        ] {
            let mut bursts = Bursts::new(RATE);
            for target in diff(desired, actual).gained {
                bursts.start(target, ms(0));
            }
            assert_eq!(!run(&mut bursts, ms(1)).is_empty(), announced, "{desired:?} <- {actual:?}");
        }
    }
}

/// G04.
#[test]
fn a_lost_target_falls_silent_at_once() {
    for (lost, kept) in [(v4(1), v6(2)), (v6(1), v4(2))] {
        let mut bursts = Bursts::new(RATE);
        bursts.start(lost, ms(0));
        bursts.start(kept, ms(0));
        // In the middle of a round too: the request form is out, the reply form is not.
        assert_eq!(bursts.take_due(ms(0), 1).len(), 1);
        bursts.stop(&lost);
        assert!(!bursts.is_running(&lost) && bursts.is_running(&kept));
        assert!(run(&mut bursts, Duration::MAX).iter().all(|(_, frame)| frame.target == kept));
        bursts.stop(&lost);
        bursts.start(lost, ms(9000));
        bursts.stop(&lost);
        assert_eq!((bursts.next_deadline(), bursts.len()), (None, 0));
    }
}

/// G06: link up or another MAC starts the burst over.
#[test]
fn a_second_start_begins_anew() {
    let mut bursts = Bursts::new(RATE);
    bursts.start(v4(1), ms(0));
    run(&mut bursts, ms(500));
    bursts.start(v4(1), ms(500));
    let times: Vec<_> = run(&mut bursts, Duration::MAX).iter().map(|(at, f)| (*at, f.round)).collect();
    assert_eq!(times.first(), Some(&(ms(500), 0)));
    assert_eq!((times.last(), times.len()), (Some(&(ms(5500), 5)), 12));
}

/// G08: the first round of 10,000 addresses is out within 100 ms at 200,000 frames a second.
#[test]
fn ten_thousand_addresses_are_announced_within_the_rate() {
    let first_round = |targets: Vec<Target>, rate| {
        let mut bursts = Bursts::new(NonZeroU32::new(rate).unwrap());
        for target in &targets {
            bursts.start(*target, ms(0));
        }
        let sent = run(&mut bursts, Duration::MAX);
        let rounds = if targets[0].ip.is_ipv4() { 12 } else { 3 };
        assert_eq!(sent.len(), targets.len() * rounds, "nothing is left out");
        let last_first = sent.iter().filter(|(_, f)| f.round == 0).map(|(at, _)| *at).max().unwrap();
        // No window of a second holds more than the rate and the slack allow.
        let allowed = (u128::from(rate) * 101).div_ceil(100) + 1;
        for (index, (at, _)) in sent.iter().enumerate().step_by(97) {
            let within = sent[index..].partition_point(|(other, _)| *other < *at + ms(1000));
            assert!(within as u128 <= allowed, "{within} frames in a second");
        }
        last_first
    };
    assert!(first_round((0..10_000).map(v4).collect(), 200_000) <= ms(100));
    assert!(first_round((0..10_000).map(v6).collect(), 200_000) <= ms(50));
    let slow = first_round((0..1_000).map(v6).collect(), 1_000);
    assert!(slow > ms(900) && slow <= ms(1000), "the rate is also reached: {slow:?}");
}

#[test]
fn a_delayed_round_shifts_the_following_ones() {
    let mut bursts = Bursts::new(RATE);
    bursts.start(v6(1), ms(0));
    assert_eq!(bursts.take_due(ms(800), 9).len(), 1, "the caller came late");
    let times: Vec<_> = run(&mut bursts, Duration::MAX).iter().map(|(at, _)| *at).collect();
    assert_eq!(times, [ms(1900), ms(3000)], "still more than a second apart");
}

#[test]
fn the_caller_can_limit_a_batch() {
    let mut bursts = Bursts::new(RATE);
    for n in 0..10 {
        bursts.start(v6(n), ms(0));
    }
    assert_eq!(bursts.take_due(ms(0), 4).len(), 4);
    assert_eq!(bursts.next_deadline(), Some(ms(0)));
    assert_eq!(bursts.take_due(ms(0), 100).len(), 6);
    assert_eq!(bursts.take_due(ms(1099), 100), []);
}

/// G04: in the middle of a burst of more addresses than one batch sends.
#[test]
fn many_lost_targets_fall_silent_at_once() {
    let mut bursts = Bursts::new(RATE);
    let all: Vec<Target> = (0..5_000).flat_map(|n| [v4(n), v6(n)]).collect();
    for target in &all {
        bursts.start(*target, ms(0));
    }
    assert_eq!(bursts.take_due(ms(0), 2048).len(), 2048, "the burst is under way");
    let kept = [v4(4_999), v6(4_999)];
    bursts.retain(|target| kept.contains(target));
    assert_eq!((bursts.len(), bursts.queue.len()), (2, 2));
    assert!(run(&mut bursts, Duration::MAX).iter().all(|(_, frame)| kept.contains(&frame.target)));
}

/// G07: the interval is exact, whatever came late, and without one nothing is repeated.
#[test]
fn targets_are_announced_again_at_the_interval() {
    let second = Duration::from_secs(1);
    for (target, forms, burst_end) in [(v4(1), 2, ms(5000)), (v6(1), 1, ms(2200))] {
        for started in [true, false] {
            let mut bursts = Bursts::new(RATE).every(Some(60 * second));
            bursts.keep(target, ms(0));
            let first = if started { burst_end + 60 * second } else { 60 * second };
            if started {
                bursts.start(target, ms(0));
            }
            bursts.keep(target, ms(10));
            let sent = run(&mut bursts, 600 * second);
            let again: Vec<_> = sent.iter().filter(|(at, _)| *at > burst_end).collect();
            let times: Vec<_> =
                (0..9).flat_map(|n| std::iter::repeat_n(first + n * 60 * second, forms)).collect();
            assert_eq!(again.iter().map(|(at, _)| *at).collect::<Vec<_>>(), times, "{target} {started}");
            let all_forms = [Form::ArpRequest, Form::ArpReply];
            let expected = if forms == 2 { &all_forms[..] } else { &[Form::NeighbourAdvertisement][..] };
            assert!(again.chunks(forms).all(|c| c.iter().map(|(_, f)| f.form).eq(expected.iter().copied())));

            let at = bursts.next_deadline().unwrap();
            assert_eq!(bursts.take_due(at + ms(300), 9).len(), forms, "the caller came late");
            assert_eq!(bursts.next_deadline(), Some(at + 60 * second), "and nothing has moved");
            let asleep = at + 1000 * second;
            assert_eq!(bursts.take_due(asleep, 99).len(), forms, "what was slept over is said once");
            assert_eq!(bursts.next_deadline(), Some(at + 17 * 60 * second));
            bursts.stop(&target);
            assert!(bursts.is_empty() && bursts.queue.is_empty());
        }
        let mut bursts = Bursts::new(RATE);
        bursts.keep(target, ms(0));
        assert_eq!(bursts.next_deadline(), None, "off by default");
    }
}

/// F16: MetalLB's periodic round makes one call per address and responder, IPv4 by ARP and IPv6 by neighbour discovery,
/// one for an address that two Services share.
#[test]
fn f16_a_periodic_round_has_each_address_once_by_its_own_protocol() {
    let (minute, on_link) =
        (Duration::from_mins(1), |target: Target, link| Target { link: LinkId(link), ..target });
    let mut bursts = Bursts::new(RATE).every(Some(minute));
    // What a plan has is a set: a second Service on an address adds nothing.
    let all = [v4(1), v6(1), on_link(v4(2), 3), on_link(v6(2), 3)];
    for target in all.into_iter().chain(all) {
        bursts.keep(target, ms(0));
    }
    let sent = run(&mut bursts, minute + ms(1));
    let mut found: Vec<(Target, Form)> = sent.iter().map(|(_, frame)| (frame.target, frame.form)).collect();
    let mut expected: Vec<(Target, Form)> = all
        .into_iter()
        .flat_map(|target| {
            let arp = [Form::ArpRequest, Form::ArpReply].map(|form| (target, form));
            let advertisement = [(target, Form::NeighbourAdvertisement)];
            if target.ip.is_ipv4() { arp.to_vec() } else { advertisement.to_vec() }
        })
        .collect();
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
    assert!(sent.iter().all(|(at, _)| *at == minute));
}

/// What the kernel refused is said again, in order, and a burst is not held up for ever.
#[test]
fn refused_frames_are_said_again() {
    for (target, frames) in [(v4(1), 12), (v6(1), 3)] {
        let mut bursts = Bursts::new(RATE);
        bursts.start(target, ms(0));
        let first = bursts.take_due(ms(0), 9);
        for refused in &first {
            bursts.put_back(refused, ms(100));
        }
        assert_eq!((bursts.next_deadline(), bursts.queue.len()), (Some(ms(100)), 1));
        let sent = run(&mut bursts, Duration::MAX);
        let again = Announcement { refusals: 1, ..first[0] };
        assert_eq!((sent.len(), sent[0].1), (frames, again), "nothing is left out");
        let last = sent.last().unwrap().1;
        bursts.put_back(&last, ms(9000));
        let again = Announcement { refusals: last.refusals + 1, ..last };
        assert_eq!(bursts.take_due(ms(9000), 9), [again], "the last one too, when the burst was over");

        bursts.start(target, ms(0));
        let mut refusals = 0;
        while let Some(now) = bursts.next_deadline().filter(|_| refusals < 1000) {
            for refused in bursts.take_due(now, 1) {
                bursts.put_back(&refused, now + ms(100));
                refusals += 1;
            }
        }
        assert_eq!(refusals, usize::from(MOST_REFUSALS) + frames, "each is given up in the end");

        let mut bursts = Bursts::new(RATE);
        bursts.start(target, ms(0));
        let frame = bursts.take_due(ms(0), 1)[0];
        bursts.start(target, ms(1));
        bursts.put_back(&frame, ms(50));
        assert_eq!(bursts.next_deadline(), Some(ms(1)), "a burst begun anew says it anyway");
    }
}

proptest! {
    #[test]
    fn every_start_is_followed_by_its_whole_burst_or_a_stop(
        operations in prop::collection::vec((any::<bool>(), 0u32..6, 0u64..900), 1..40),
    ) {
        let mut bursts = Bursts::new(RATE);
        let mut now = Duration::ZERO;
        let mut expected: BTreeMap<Target, usize> = BTreeMap::new();
        for (start, n, pause) in operations {
            let target = if n % 2 == 0 { v4(n) } else { v6(n) };
            if start {
                bursts.start(target, now);
                expected.insert(target, if n % 2 == 0 { 12 } else { 3 });
            } else {
                bursts.stop(&target);
                expected.remove(&target);
            }
            let end = now + ms(pause);
            for (_, frame) in run(&mut bursts, end) {
                let left = expected.get_mut(&frame.target);
                prop_assert!(left.is_some(), "nothing is said about a target that was stopped");
                *left.unwrap() -= 1;
            }
            now = end;
            expected.retain(|_, left| *left > 0);
            prop_assert_eq!(bursts.len(), expected.len());
            prop_assert_eq!(bursts.queue.len(), expected.len(), "one entry in the queue for each burst");
        }
        for (_, frame) in run(&mut bursts, Duration::MAX) {
            *expected.get_mut(&frame.target).unwrap() -= 1;
        }
        prop_assert!(expected.values().all(|left| *left == 0));
    }
}

/// However many there are, each waits only for those that come before it, in every round.
#[test]
fn several_are_announced_in_the_order_given() {
    let mut bursts = Bursts::new(NonZeroU32::new(1000).unwrap());
    let order: Vec<Target> = (1..=60).rev().flat_map(|n| [v6(n), v4(n)]).collect();
    bursts.start_all(order.iter().copied(), ms(0));
    let sent = run(&mut bursts, Duration::MAX);
    for family in [Family::Ipv4, Family::Ipv6] {
        let of_family = |target: &Target| Family::of(target.ip) == family;
        let expected: Vec<Target> = order.iter().copied().filter(of_family).collect();
        for round in 0..if family == Family::Ipv4 { 6 } else { 3 } {
            let of_round = sent.iter().map(|(_, frame)| frame).filter(|frame| frame.round == round);
            let first = of_round.filter(|frame| frame.form != Form::ArpReply).map(|frame| frame.target);
            assert_eq!(first.filter(of_family).collect::<Vec<_>>(), expected, "{family:?}, round {round}");
        }
    }
}
