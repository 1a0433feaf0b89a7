//! What the probing client saw.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::TIMEOUT;
use crate::link::mac_text;

/// One request. Times count from the start of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// The address asked for.
    pub target: IpAddr,
    /// When it was sent.
    pub at: Duration,
    /// The first answer.
    pub answer: Option<Answer>,
    /// Answers after the first.
    pub duplicates: u32,
}

/// The answer to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// When the kernel received it.
    pub at: Duration,
    /// The hardware address it gives.
    pub mac: [u8; 6],
}

/// Everything the probing client saw.
#[derive(Clone, Debug)]
pub struct Report {
    /// Requests sent.
    pub sent: usize,
    /// Requests answered, late ones included.
    pub answered: usize,
    /// Answered after more than [`TIMEOUT`].
    pub late: usize,
    /// Second and further answers.
    pub duplicates: usize,
    /// Requests without an answer, and when they were sent.
    pub missing: Vec<(IpAddr, Duration)>,
    /// Answers by the hardware address they gave.
    pub by_mac: BTreeMap<[u8; 6], usize>,
    /// The longest time between two answers for the same address.
    pub longest_gap: Duration,
    /// Frames our own socket lost; the report proves nothing unless it is 0.
    pub socket_drops: u32,
    /// How long requests were sent.
    pub duration: Duration,
    /// Every request in the order sent.
    pub requests: Vec<Request>,
}

impl Report {
    pub(super) fn new(requests: Vec<Request>, duration: Duration, socket_drops: u32) -> Self {
        let mut report = Self {
            sent: requests.len(),
            answered: 0,
            late: 0,
            duplicates: 0,
            missing: Vec::new(),
            by_mac: BTreeMap::new(),
            longest_gap: Duration::ZERO,
            socket_drops,
            duration,
            requests,
        };
        let mut times = BTreeMap::<IpAddr, Vec<Duration>>::new();
        for request in &report.requests {
            report.duplicates += usize::try_from(request.duplicates).unwrap_or(usize::MAX);
            let Some(answer) = request.answer else {
                report.missing.push((request.target, request.at));
                continue;
            };
            report.answered += 1;
            report.late += usize::from(answer.at.saturating_sub(request.at) > TIMEOUT);
            *report.by_mac.entry(answer.mac).or_default() += 1;
            times.entry(request.target).or_default().push(answer.at);
        }
        for answers in times.values_mut() {
            answers.sort_unstable();
            let gap = answers.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).max();
            report.longest_gap = report.longest_gap.max(gap.unwrap_or_default());
        }
        report
    }

    /// When the first answer for `target` came.
    pub fn first_answer(&self, target: IpAddr) -> Option<Duration> {
        self.answers(target).min()
    }

    /// When the last answer for `target` came.
    pub fn last_answer(&self, target: IpAddr) -> Option<Duration> {
        self.answers(target).max()
    }

    /// An error unless every request was answered exactly once and in time, and the socket lost nothing.
    pub fn assert_complete(&self) -> Result<()> {
        ensure!(
            self.socket_drops == 0,
            "our own socket lost {} frames: nothing is proved",
            self.socket_drops
        );
        ensure!(self.sent > 0, "nothing was asked");
        let first: Vec<_> = self.missing.iter().take(5).collect();
        ensure!(
            self.missing.is_empty(),
            "{} of {} requests were not answered; the first: {first:?}",
            self.missing.len(),
            self.sent
        );
        ensure!(self.late == 0, "{} answers took longer than {TIMEOUT:?}", self.late);
        ensure!(self.duplicates == 0, "{} requests were answered more than once", self.duplicates);
        Ok(())
    }

    /// One line for people.
    pub fn summary(&self) -> String {
        let macs: Vec<_> =
            self.by_mac.iter().map(|(mac, count)| format!("{}: {count}", mac_text(*mac))).collect();
        format!(
            "{} asked, {} answered, {} missing, {} late, {} twice, longest gap {:.1} ms, by {{{}}}",
            self.sent,
            self.answered,
            self.missing.len(),
            self.late,
            self.duplicates,
            self.longest_gap.as_secs_f64() * 1e3,
            macs.join(", ")
        )
    }

    /// How long two stations may have answered for an address while it moved from one to the other: from the first
    /// request that was answered by `to`, or twice, to the last one that was answered by `from`, or twice. An error if
    /// somebody else answered.
    pub fn contested(&self, from: [u8; 6], to: [u8; 6]) -> Result<Duration> {
        let stranger = self.by_mac.keys().find(|mac| ![from, to].contains(*mac));
        ensure!(stranger.is_none(), "somebody else answered: {}", self.summary());
        let by = |mac: [u8; 6]| {
            let is_by = move |one: &&Request| one.answer.is_some_and(|answer| answer.mac == mac);
            self.requests.iter().filter(move |one| is_by(one) || one.duplicates > 0).map(|one| one.at)
        };
        let (begin, end) = (by(to).min().unwrap_or(Duration::MAX), by(from).max().unwrap_or_default());
        Ok(end.saturating_sub(begin))
    }

    fn answers(&self, target: IpAddr) -> impl Iterator<Item = Duration> {
        let of_target = self.requests.iter().filter(move |request| request.target == target);
        of_target.filter_map(|request| Some(request.answer?.at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V4: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 100));
    const V6: IpAddr = IpAddr::V6(std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x64));

    fn request(target: IpAddr, at_ms: u64, answer_ms: Option<u64>) -> Request {
        let answer = answer_ms.map(|at| Answer { at: Duration::from_millis(at), mac: [2; 6] });
        Request { target, at: Duration::from_millis(at_ms), answer, duplicates: 0 }
    }

    #[test]
    fn missing_late_and_gaps_are_told_apart() {
        let requests = vec![
            request(V4, 0, Some(1)),
            request(V6, 1, Some(2)),
            request(V4, 10, None),
            request(V6, 11, Some(1100)),
            request(V4, 20, Some(31)),
        ];
        let report = Report::new(requests, Duration::from_millis(20), 0);
        assert_eq!((report.sent, report.answered, report.late), (5, 4, 1));
        assert_eq!(report.missing, [(V4, Duration::from_millis(10))]);
        assert_eq!(report.longest_gap, Duration::from_millis(1098));
        assert_eq!(report.last_answer(V4), Some(Duration::from_millis(31)));
        assert_eq!(report.first_answer(V6), Some(Duration::from_millis(2)));
        assert!(report.assert_complete().is_err());
    }

    #[test]
    fn a_move_is_contested_while_both_answer() {
        let (old, new) = ([2; 6], [3; 6]);
        let by = |at_ms: u64, mac, duplicates| {
            let answer = Some(Answer { at: Duration::from_millis(at_ms + 1), mac });
            Request { target: V4, at: Duration::from_millis(at_ms), answer, duplicates }
        };
        let contested = |requests: Vec<Request>| {
            Report::new(requests, Duration::ZERO, 0).contested(old, new).map(|long| long.as_millis())
        };
        assert_eq!(contested(vec![by(0, old, 0), by(10, old, 0), by(20, new, 0)]).unwrap(), 0);
        assert_eq!(
            contested(vec![by(0, old, 0), by(10, new, 0), by(20, old, 0), by(30, new, 0)]).unwrap(),
            10
        );
        assert_eq!(
            contested(vec![by(0, old, 1), by(10, old, 0), by(20, old, 1), by(30, new, 0)]).unwrap(),
            20
        );
        assert_eq!(contested(vec![by(0, old, 0)]).unwrap(), 0);
        assert!(contested(vec![by(0, old, 0), by(10, [4; 6], 0)]).is_err());
    }

    #[test]
    fn complete_means_once_each_and_a_lossless_socket() {
        let once = vec![request(V4, 0, Some(1)), request(V6, 1, Some(2))];
        assert!(Report::new(once.clone(), Duration::ZERO, 0).assert_complete().is_ok());
        assert!(Report::new(once.clone(), Duration::ZERO, 1).assert_complete().is_err());
        let mut twice = once;
        twice[0].duplicates = 1;
        assert!(Report::new(twice, Duration::ZERO, 0).assert_complete().is_err());
        assert!(Report::new(Vec::new(), Duration::ZERO, 0).assert_complete().is_err());
    }
}
