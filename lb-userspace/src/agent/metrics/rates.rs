//! Requests a second, from counts that are looked at now and then.

use std::time::Duration;

use lb_core::plan::{EntryState, Target};

use super::table::Reading;

/// From one look to the next.
pub(super) const INTERVAL: Duration = Duration::from_secs(10);
/// What is counted for less time says nothing.
const LEAST_NS: u64 = 1_000_000_000;

/// The last two looks.
#[derive(Debug, Default)]
pub(super) struct Rates {
    before: Option<Look>,
    last: Option<Look>,
}

/// Requests for each entry that is answered, in the order of the entries.
#[derive(Debug)]
struct Look {
    at_ns: u64,
    requests: Vec<(Target, u64)>,
}

impl Rates {
    /// Takes note of a reading.
    pub(super) fn take(&mut self, reading: &Reading, at_ns: u64) {
        let answered = reading.entries.iter().filter(|(_, (row, _))| row.entry.state == EntryState::Answer);
        let requests = answered.map(|(target, (_, counts))| (*target, counts.requests)).collect();
        self.before = self.last.replace(Look { at_ns, requests });
    }

    /// Requests a second for an entry that has this count now, since the look before the last one. Nothing for an entry
    /// that was not answered then: its count may be older than that.
    pub(super) fn per_second(&self, target: &Target, requests: u64, now_ns: u64) -> Option<f64> {
        let long_enough = |look: &&Look| now_ns.saturating_sub(look.at_ns) >= LEAST_NS;
        let looks = [self.before.as_ref(), self.last.as_ref()].into_iter().flatten().filter(long_enough);
        let mut known = looks.filter_map(|look| {
            let index = look.requests.binary_search_by(|(known, _)| known.cmp(target)).ok()?;
            // A new life of the entry begins at zero.
            let more = requests.checked_sub(look.requests.get(index)?.1)?;
            Some(rate(more, now_ns - look.at_ns))
        });
        known.next()
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rate has few digits")]
fn rate(count: u64, ns: u64) -> f64 {
    count as f64 * 1e9 / ns as f64
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use lb_core::ids::{LinkId, Mac, Vlans};
    use lb_core::plan::Entry;

    use super::*;
    use crate::dataplane::ebpf::{Counts, Row};

    const SECOND: u64 = 1_000_000_000;

    fn target(ip: &str) -> Target {
        Target { link: LinkId(2), vlans: Vlans::Untagged, ip: ip.parse().unwrap() }
    }

    fn reading(entries: &[(&str, EntryState, u64)]) -> Reading {
        let entry = |(ip, state, requests): &(&str, EntryState, u64)| {
            let row = Row { entry: Entry { mac: Mac([2, 0, 0, 0, 0, 1]), state: *state }, slot: 0 };
            (target(ip), (row, Counts { requests: *requests, ..Counts::default() }))
        };
        Reading { entries: entries.iter().map(entry).collect::<BTreeMap<_, _>>(), ..Reading::default() }
    }

    #[test]
    fn a_rate_is_that_since_the_look_before_the_last() {
        let (v4, v6, answer) = ("192.0.2.1", "2001:db8::1", EntryState::Answer);
        let mut rates = Rates::default();
        assert_eq!(rates.per_second(&target(v4), 5, SECOND), None, "there was no look");
        rates.take(&reading(&[(v4, answer, 100), (v6, answer, 7)]), 10 * SECOND);
        assert_eq!(rates.per_second(&target(v4), 105, 10 * SECOND + SECOND / 2), None, "too soon");
        assert_eq!(rates.per_second(&target(v4), 105, 15 * SECOND), Some(1.0));
        rates.take(&reading(&[(v4, answer, 110), (v6, answer, 7)]), 20 * SECOND);
        assert_eq!(rates.per_second(&target(v4), 120, 20 * SECOND), Some(2.0), "of ten seconds");
        assert_eq!(rates.per_second(&target(v6), 7, 25 * SECOND), Some(0.0));
        rates.take(&reading(&[(v4, answer, 210), (v6, answer, 7)]), 30 * SECOND);
        assert_eq!(
            rates.per_second(&target(v4), 210, 30 * SECOND),
            Some(10.0),
            "the first look is forgotten"
        );
    }

    #[test]
    fn what_was_not_answered_then_or_has_a_new_life_has_no_rate() {
        let (v4, v6, answer) = ("192.0.2.1", "2001:db8::1", EntryState::Answer);
        let mut rates = Rates::default();
        rates.take(&reading(&[(v4, EntryState::Standby, 0), (v6, answer, 50)]), SECOND);
        assert_eq!(rates.per_second(&target(v4), 1000, 3 * SECOND), None);
        assert_eq!(rates.per_second(&target(v6), 3, 3 * SECOND), None);
        rates.take(&reading(&[(v4, answer, 1000), (v6, answer, 3)]), 11 * SECOND);
        assert_eq!(rates.per_second(&target(v4), 1020, 13 * SECOND), Some(10.0), "since the last look");
        assert_eq!(rates.per_second(&target(v6), 5, 13 * SECOND), Some(1.0));
    }
}
