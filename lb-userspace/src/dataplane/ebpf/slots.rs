//! Slots of the map `COUNTERS`: the lowest free one first; one that was given back rests, because a frame that found
//! its entry just before the removal may still be counting in it.

use std::collections::{BTreeSet, VecDeque};

/// How long a slot rests. A program runs for microseconds; anything beyond is margin.
pub const REST_NS: u64 = 1_000_000_000;

/// The free and the resting slots below a capacity.
#[derive(Debug)]
pub(super) struct Slots {
    /// Freed slots below `fresh`.
    free: BTreeSet<u32>,
    /// Slots from here on were never used.
    fresh: u32,
    capacity: u32,
    resting: VecDeque<(u64, u32)>,
}

impl Slots {
    /// All of `0..capacity` but those in `used`.
    pub(super) fn new(capacity: u32, used: &BTreeSet<u32>) -> Self {
        let fresh = used.last().map_or(0, |last| last + 1).min(capacity);
        let free = (0..fresh).filter(|slot| !used.contains(slot)).collect();
        Self { free, fresh, capacity, resting: VecDeque::new() }
    }

    /// The lowest slot that is free at `now_ns`.
    pub(super) fn take(&mut self, now_ns: u64) -> Option<u32> {
        while let Some((until, slot)) = self.resting.front().copied() {
            if until > now_ns {
                break;
            }
            self.resting.pop_front();
            self.free.insert(slot);
        }
        self.free.pop_first().or_else(|| {
            let slot = self.fresh;
            (slot < self.capacity).then(|| {
                self.fresh += 1;
                slot
            })
        })
    }

    /// Gives a slot back, to rest from `now_ns` on.
    pub(super) fn release(&mut self, slot: u32, now_ns: u64) {
        self.resting.push_back((now_ns.saturating_add(REST_NS), slot));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lowest_free_first_and_rest_before_reuse() {
        let mut slots = Slots::new(4, &BTreeSet::from([0, 2]));
        assert_eq!(slots.take(0), Some(1));
        assert_eq!(slots.take(0), Some(3));
        assert_eq!(slots.take(0), None);
        slots.release(1, 10);
        assert_eq!(slots.take(10 + REST_NS - 1), None, "still resting");
        assert_eq!(slots.take(10 + REST_NS), Some(1));
    }

    #[test]
    fn slots_beyond_the_capacity_are_not_given_out() {
        let mut slots = Slots::new(2, &BTreeSet::from([7]));
        assert_eq!((slots.take(0), slots.take(0), slots.take(0)), (Some(0), Some(1), None));
    }
}
