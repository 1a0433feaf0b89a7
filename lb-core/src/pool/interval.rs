//! A set of numbers kept as disjoint, non-adjacent intervals: every operation is O(log n) in the number of
//! intervals.

use std::collections::BTreeMap;

/// Intervals by their last number; the value is the first one, so that taking the lowest number of an interval, which
/// is what an allocation does, changes no key.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IntervalSet {
    intervals: BTreeMap<u128, u128>,
}

impl IntervalSet {
    /// The lowest number in the set.
    pub fn first(&self) -> Option<u128> {
        self.intervals.first_key_value().map(|(_, first)| *first)
    }

    /// Whether the number is in the set.
    pub fn contains(&self, number: u128) -> bool {
        self.intervals.range(number..).next().is_some_and(|(_, first)| *first <= number)
    }

    /// Number of intervals: what memory is proportional to.
    pub fn fragments(&self) -> usize {
        self.intervals.len()
    }

    /// Adds all numbers from `first` to `last`, merging with what touches them.
    pub fn insert(&mut self, first: u128, last: u128) {
        let mut start = first;
        loop {
            match self.intervals.range_mut(start.saturating_sub(1)..).next() {
                Some((&end, begin)) if *begin <= last.saturating_add(1) => {
                    start = start.min(*begin);
                    if end >= last {
                        *begin = start;
                        return;
                    }
                    self.intervals.remove(&end);
                }
                Some(_) | None => break,
            }
        }
        self.intervals.insert(last, start);
    }

    /// Takes one number out; returns whether it was in.
    pub fn remove(&mut self, number: u128) -> bool {
        // Nearly always the lowest number is taken, and a look at the end is cheaper than a search.
        if let Some(mut lowest) = self.intervals.first_entry()
            && *lowest.get() == number
            && number < *lowest.key()
        {
            lowest.insert(number + 1);
            return true;
        }
        let Some((&last, start)) = self.intervals.range_mut(number..).next() else { return false };
        let first = *start;
        if number < first {
            return false;
        }
        if number < last {
            *start = number + 1;
        } else {
            self.intervals.remove(&last);
        }
        if first < number {
            self.intervals.insert(number - 1, first);
        }
        true
    }
}
