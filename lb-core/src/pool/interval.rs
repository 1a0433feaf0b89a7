//! A set of numbers kept as disjoint, non-adjacent intervals: every operation is O(log n) in the number of
//! intervals.

use std::collections::BTreeMap;

/// Intervals by their first number; the value is the last one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IntervalSet {
    intervals: BTreeMap<u128, u128>,
}

impl IntervalSet {
    /// The lowest number in the set.
    pub fn first(&self) -> Option<u128> {
        self.intervals.first_key_value().map(|(first, _)| *first)
    }

    /// Whether the number is in the set.
    pub fn contains(&self, number: u128) -> bool {
        self.around(number).is_some()
    }

    /// Number of intervals: what memory is proportional to.
    pub fn fragments(&self) -> usize {
        self.intervals.len()
    }

    /// Adds all numbers from `first` to `last`, merging with what touches them.
    pub fn insert(&mut self, first: u128, last: u128) {
        let (mut start, mut end) = (first, last);
        if let Some((before, before_end)) = self.intervals.range(..=first).next_back().map(|(a, b)| (*a, *b))
            && before_end.saturating_add(1) >= first
        {
            start = before;
            end = end.max(before_end);
        }
        while let Some((next, next_end)) = self.intervals.range(start..).next().map(|(a, b)| (*a, *b)) {
            if next > end.saturating_add(1) {
                break;
            }
            self.intervals.remove(&next);
            end = end.max(next_end);
        }
        self.intervals.insert(start, end);
    }

    /// Takes one number out; returns whether it was in.
    pub fn remove(&mut self, number: u128) -> bool {
        let Some((first, last)) = self.around(number) else { return false };
        if first == number {
            self.intervals.remove(&first);
        } else {
            self.intervals.insert(first, number - 1);
        }
        if last != number {
            self.intervals.insert(number + 1, last);
        }
        true
    }

    fn around(&self, number: u128) -> Option<(u128, u128)> {
        let (first, last) = self.intervals.range(..=number).next_back()?;
        (number <= *last).then_some((*first, *last))
    }
}
