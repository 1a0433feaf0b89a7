//! What a client has seen of a fault, as numbers.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::client::Request;

/// How the client asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// ARP requests.
    Arp,
    /// Neighbour solicitations.
    Ns,
    /// Datagrams over IPv4, which the client's kernel sends to whom it takes for the owner.
    Udp4,
    /// The same over IPv6.
    Udp6,
}

/// What was seen, by way.
pub type Ways = BTreeMap<Way, Seen>;

/// What was seen one way. Times are microseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// From the fault to the first answer of a node that did not answer before; of several addresses the last. None when an
    /// address has had none.
    pub first_us: Option<u64>,
    /// The longest time between two answers for an address, or to the end.
    pub gap_us: u64,
    /// Requests.
    pub asked: usize,
    /// Those without an answer.
    pub unanswered: usize,
    /// How long more than one node has answered after the fault: requests with two answers, by the pace of asking.
    pub both_us: u64,
    /// How often another node answered than before.
    pub moves: usize,
    /// From the fault until the owner's own table answered for nothing, where that was looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silent_us: Option<u64>,
}

/// A fault, by the clock of the requests.
#[derive(Clone, Debug)]
pub(super) struct Mark {
    /// When it was done.
    pub(super) at: Duration,
    /// Who had answered before, or might have.
    pub(super) before: Vec<[u8; 6]>,
    /// Until the owner's own table answered for nothing, where that was looked at.
    pub(super) silent: Option<Duration>,
}

impl Seen {
    /// Of requests in the order sent, which ended at `end`.
    pub(super) fn of(requests: &[Request], mark: &Mark, end: Duration) -> Self {
        let mut targets = BTreeMap::<IpAddr, Vec<Request>>::new();
        for request in requests {
            targets.entry(request.target).or_default().push(*request);
        }
        let each = targets.values().map(|requests| Self::of_target(requests, mark, end));
        each.reduce(|all, one| Self {
            first_us: all.first_us.zip(one.first_us).map(|(a, b)| a.max(b)),
            gap_us: all.gap_us.max(one.gap_us),
            asked: all.asked + one.asked,
            unanswered: all.unanswered + one.unanswered,
            both_us: all.both_us.max(one.both_us),
            moves: all.moves.max(one.moves),
            silent_us: all.silent_us.max(one.silent_us),
        })
        .unwrap_or_default()
    }

    fn of_target(requests: &[Request], mark: &Mark, end: Duration) -> Self {
        let mut answers: Vec<_> = requests.iter().filter_map(|request| request.answer).collect();
        answers.sort_unstable_by_key(|answer| answer.at);
        let first = answers.iter().find(|answer| answer.at >= mark.at && !mark.before.contains(&answer.mac));
        let times = answers.iter().map(|answer| answer.at).chain([end]);
        let mut last = requests.first().map_or(Duration::ZERO, |request| request.at);
        let mut gap = Duration::ZERO;
        for time in times {
            gap = gap.max(time.saturating_sub(last));
            last = last.max(time);
        }
        let alone = requests.iter().filter(|request| request.duplicates == 0);
        let owners: Vec<_> = alone.filter_map(|request| Some(request.answer?.mac)).collect();
        let twice = requests.iter().filter(|request| request.at >= mark.at && request.duplicates > 0).count();
        let pace = micros(end) / u64::try_from(requests.len().max(1)).unwrap_or(u64::MAX);
        Self {
            first_us: first.map(|answer| micros(answer.at.saturating_sub(mark.at))),
            gap_us: micros(gap),
            asked: requests.len(),
            unanswered: requests.len() - answers.len(),
            both_us: pace * u64::try_from(twice).unwrap_or(u64::MAX),
            moves: owners.windows(2).filter(|pair| pair[0] != pair[1]).count(),
            silent_us: mark.silent.map(micros),
        }
    }
}

/// Microseconds, as records have times.
pub(crate) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Answer;

    const V4: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 100));
    const V6: IpAddr = IpAddr::V6(std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x100));
    const OLD: [u8; 6] = [2, 0, 0, 0, 0, 11];
    const NEW: [u8; 6] = [2, 0, 0, 0, 0, 12];

    const fn ms(time: u64) -> Duration {
        Duration::from_millis(time)
    }

    /// Asked every millisecond for a target; who answers by the time of asking, half a millisecond later.
    fn asked(target: IpAddr, to: u64, who: impl Fn(u64) -> (Option<[u8; 6]>, u32)) -> Vec<Request> {
        let one = |at| {
            let (mac, duplicates) = who(at);
            let answer = mac.map(|mac| Answer { at: ms(at) + Duration::from_micros(500), mac });
            Request { target, at: ms(at), answer, duplicates }
        };
        (0..to).map(one).collect()
    }

    fn mark(at: u64) -> Mark {
        Mark { at: ms(at), before: vec![OLD], silent: None }
    }

    #[test]
    fn a_move_has_a_first_answer_a_gap_and_no_overlap() {
        let who = |at| (if at < 50 { Some(OLD) } else { (at >= 80).then_some(NEW) }, 0);
        let seen = Seen::of(&asked(V4, 100, who), &mark(50), ms(100));
        let expected = Seen {
            first_us: Some(30_500),
            gap_us: 31_000,
            asked: 100,
            unanswered: 30,
            moves: 1,
            ..Seen::default()
        };
        assert_eq!(seen, expected);
    }

    #[test]
    fn the_last_of_several_addresses_counts() {
        let at = |from| move |at| (if at < 50 { Some(OLD) } else { (at >= from).then_some(NEW) }, 0);
        let mut requests = asked(V4, 100, at(60));
        requests.extend(asked(V6, 100, at(90)));
        let seen = Seen::of(&requests, &mark(50), ms(100));
        assert_eq!((seen.first_us, seen.asked, seen.unanswered, seen.moves), (Some(40_500), 200, 50, 1));
        let never = |at| ((at < 50).then_some(OLD), 0);
        requests.extend(asked(IpAddr::from([192, 0, 2, 101]), 100, never));
        let seen = Seen::of(&requests, &mark(50), ms(100));
        assert_eq!(
            (seen.first_us, seen.gap_us),
            (None, 50_500),
            "one has never moved, and is silent to the end"
        );
    }

    #[test]
    fn two_owners_count_from_the_fault_on() {
        let who =
            |at| if at < 20 { (Some(OLD), u32::from(at >= 5)) } else { (Some(NEW), u32::from(at < 25)) };
        let seen = Seen::of(&asked(V4, 100, who), &mark(10), ms(100));
        assert_eq!(seen.both_us, 15_000);
        assert_eq!((seen.first_us, seen.moves), (Some(10_500), 1));
    }

    #[test]
    fn nothing_seen_is_nothing_claimed() {
        assert_eq!(Seen::of(&[], &mark(10), ms(100)), Seen::default());
        let still = |_| (Some(OLD), 0);
        let seen = Seen::of(&asked(V4, 100, still), &mark(10), ms(100));
        assert_eq!((seen.first_us, seen.moves, seen.unanswered), (None, 0, 0));
    }
}
