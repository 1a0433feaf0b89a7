//! Slots of the map `COUNTERS`: the lowest free one first; one that was given back rests, because a frame that found
//! its entry just before the removal may still be counting in it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use lb_core::plan::Target;

use super::table::Row;

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

/// What [`Slots::settle`] had to change.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Settled {
    /// Rows with another slot than they had.
    pub(super) changed: Vec<(Target, Row)>,
    /// Slots among them that hold another address's counts.
    pub(super) fresh: Vec<u32>,
    /// Rows for which there is no slot.
    pub(super) homeless: Vec<Target>,
}

impl Slots {
    /// All of `0..capacity` but those in `used`.
    pub(super) fn new(capacity: u32, used: &BTreeSet<u32>) -> Self {
        Self::with_resting(capacity, used, VecDeque::new())
    }

    fn with_resting(capacity: u32, used: &BTreeSet<u32>, mut resting: VecDeque<(u64, u32)>) -> Self {
        resting.retain(|(_, slot)| *slot < capacity && !used.contains(slot));
        let taken: BTreeSet<u32> =
            used.iter().copied().chain(resting.iter().map(|(_, slot)| *slot)).collect();
        let fresh = taken.last().map_or(0, |last| last.saturating_add(1)).min(capacity);
        let free = (0..fresh).filter(|slot| !taken.contains(slot)).collect();
        Self { free, fresh, capacity, resting }
    }

    /// Brings the slots in line with `rows` as read from the map, where somebody else may have written: afterwards
    /// each row has a slot of its own. One of an address in `known` has the slot known for it.
    pub(super) fn settle(
        &mut self,
        rows: &mut BTreeMap<Target, Row>,
        known: &BTreeMap<Target, Row>,
    ) -> Settled {
        let mut used: BTreeSet<u32> =
            known.iter().filter(|(target, _)| rows.contains_key(target)).map(|(_, row)| row.slot).collect();
        let mut lost = Vec::new();
        let mut settled = Settled::default();
        for (target, row) in rows.iter_mut() {
            if let Some(before) = known.get(target) {
                if row.slot != before.slot {
                    row.slot = before.slot;
                    settled.changed.push((*target, *row));
                }
            } else if row.slot >= self.capacity || !used.insert(row.slot) {
                lost.push(*target);
            }
        }
        *self = Self::with_resting(self.capacity, &used, std::mem::take(&mut self.resting));
        for target in lost {
            // Without a clock no slot is known to have rested long enough.
            if let (Some(slot), Some(row)) = (self.take(0), rows.get_mut(&target)) {
                row.slot = slot;
                settled.fresh.push(slot);
                settled.changed.push((target, *row));
            } else {
                rows.remove(&target);
                settled.homeless.push(target);
            }
        }
        settled
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
    use lb_core::ids::{LinkId, Mac, Vlans};
    use lb_core::plan::{Entry, EntryState};

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
        for far in [7, u32::MAX] {
            let mut slots = Slots::new(2, &BTreeSet::from([far]));
            assert_eq!((slots.take(0), slots.take(0), slots.take(0)), (Some(0), Some(1), None));
        }
    }

    fn table(rows: &[(u8, u32)]) -> BTreeMap<Target, Row> {
        let target = |last| Target { link: LinkId(1), vlans: Vlans::Untagged, ip: [10, 0, 0, last].into() };
        let row = |slot| Row { entry: Entry { mac: Mac([2; 6]), state: EntryState::Answer }, slot };
        rows.iter().map(|(last, slot)| (target(*last), row(*slot))).collect()
    }

    /// Slots after `settle`, by the last byte of the address.
    fn settle(
        slots: &mut Slots,
        read: &[(u8, u32)],
        known: &[(u8, u32)],
    ) -> (Settled, BTreeMap<Target, Row>) {
        let mut rows = table(read);
        let settled = slots.settle(&mut rows, &table(known));
        (settled, rows)
    }

    #[test]
    fn a_slot_changed_from_outside_is_put_back() {
        let mut slots = Slots::new(8, &BTreeSet::from([0, 1]));
        let (settled, rows) = settle(&mut slots, &[(1, 5), (2, 1)], &[(1, 0), (2, 1)]);
        assert_eq!(rows, table(&[(1, 0), (2, 1)]));
        assert_eq!(settled.changed, table(&[(1, 0)]).into_iter().collect::<Vec<_>>());
        assert_eq!((settled.fresh, settled.homeless), (vec![], vec![]), "its counts are its own");
        assert_eq!(slots.take(0), Some(2));
    }

    #[test]
    fn nobody_shares_a_slot_or_has_one_out_of_range() {
        let mut slots = Slots::new(4, &BTreeSet::new());
        let (settled, rows) = settle(&mut slots, &[(1, 2), (2, 2), (3, u32::MAX), (4, 4), (5, 3)], &[]);
        let mut given: Vec<u32> = rows.values().map(|row| row.slot).collect();
        given.sort_unstable();
        assert_eq!(given, [0, 1, 2, 3]);
        assert_eq!((settled.changed.len(), settled.fresh), (2, vec![0, 1]));
        assert_eq!(settled.homeless.len(), 1, "five rows, four slots");
        assert_eq!(slots.take(0), None);
    }

    #[test]
    fn what_rests_rests_on() {
        let mut slots = Slots::new(2, &BTreeSet::from([0, 1]));
        slots.release(1, 10);
        let (settled, _) = settle(&mut slots, &[(1, 0)], &[(1, 0)]);
        assert_eq!(settled, Settled::default());
        assert_eq!(slots.take(10), None, "a frame may still count in it");
        assert_eq!(slots.take(10 + REST_NS), Some(1));
    }
}
