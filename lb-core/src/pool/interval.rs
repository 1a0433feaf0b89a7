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
        let mut end = last;
        while let Some((&next, &next_end)) = self.intervals.range(first..).next() {
            if next > end.saturating_add(1) {
                break;
            }
            self.intervals.remove(&next);
            end = end.max(next_end);
        }
        match self.intervals.range_mut(..first).next_back() {
            Some((_, before_end)) if before_end.saturating_add(1) >= first => {
                *before_end = end.max(*before_end);
            }
            Some(_) | None => {
                self.intervals.insert(first, end);
            }
        }
    }

    /// Takes one number out; returns whether it was in.
    pub fn remove(&mut self, number: u128) -> bool {
        let Some((&first, last)) = self.intervals.range_mut(..=number).next_back() else { return false };
        let end = *last;
        if number > end {
            return false;
        }
        if first < number {
            *last = number - 1;
        } else {
            self.intervals.remove(&first);
        }
        if number < end {
            self.intervals.insert(number + 1, end);
        }
        true
    }

    fn around(&self, number: u128) -> Option<(u128, u128)> {
        let (first, last) = self.intervals.range(..=number).next_back()?;
        (number <= *last).then_some((*first, *last))
    }
}
