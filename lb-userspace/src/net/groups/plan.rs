//! Which groups to leave, to join, and which are beyond the limit; pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv6Addr;

/// A group on a link.
pub(super) type Group = (u32, Ipv6Addr);

/// What to do, from what is wanted and what is there.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) leave: BTreeSet<Group>,
    pub(super) join: BTreeSet<Group>,
    /// Wanted, but more than the limit of the link allows.
    pub(super) over: BTreeSet<Group>,
}

/// Compares `wanted` with `joined`. Within the limit, what is joined stays before anything new is joined: a switch never sees a leave
/// for a group that is still wanted.
pub(super) fn plan(wanted: &BTreeSet<Group>, joined: &BTreeSet<Group>, limit: usize) -> Plan {
    let mut plan = Plan { leave: joined.difference(wanted).copied().collect(), ..Plan::default() };
    let mut room: BTreeMap<u32, usize> = BTreeMap::new();
    for (index, _) in wanted.intersection(joined) {
        let room = room.entry(*index).or_insert(limit);
        *room = room.saturating_sub(1);
    }
    for group in wanted.difference(joined) {
        let room = room.entry(group.0).or_insert(limit);
        if *room > 0 {
            *room -= 1;
            plan.join.insert(*group);
        } else {
            plan.over.insert(*group);
        }
    }
    plan
}

#[cfg(test)]
mod tests {
    use proptest::collection::btree_set;
    use proptest::prelude::*;

    use super::*;

    fn group(index: u32, low: u16) -> Group {
        (index, Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, low))
    }

    fn groups() -> impl Strategy<Value = BTreeSet<Group>> {
        btree_set((0u32..3, 0u16..12).prop_map(|(index, low)| group(index, low)), 0..24)
    }

    fn apply(plan: &Plan, joined: &BTreeSet<Group>) -> BTreeSet<Group> {
        joined.difference(&plan.leave).chain(&plan.join).copied().collect()
    }

    #[test]
    fn what_is_joined_stays_at_the_limit() {
        let joined = BTreeSet::from([group(2, 8), group(2, 9)]);
        let wanted = BTreeSet::from([group(2, 1), group(2, 8), group(2, 9), group(3, 1)]);
        let plan = plan(&wanted, &joined, 2);
        assert_eq!(plan.leave, BTreeSet::new());
        assert_eq!(plan.join, BTreeSet::from([group(3, 1)]));
        assert_eq!(plan.over, BTreeSet::from([group(2, 1)]));
    }

    #[test]
    fn a_lowered_limit_ends_no_membership() {
        let joined = BTreeSet::from([group(2, 8), group(2, 9)]);
        assert_eq!(plan(&joined, &joined, 1), Plan::default());
    }

    proptest! {
        #[test]
        fn reaches_what_is_wanted(wanted in groups(), joined in groups(), limit in 0usize..30) {
            let first = plan(&wanted, &joined, limit);
            let reached = apply(&first, &joined);
            prop_assert!(reached.is_subset(&wanted));
            let missing: BTreeSet<_> = wanted.difference(&reached).copied().collect();
            prop_assert_eq!(&missing, &first.over);
            if limit >= 12 {
                prop_assert_eq!(&reached, &wanted);
            }
            for index in 0..3 {
                let stayed = wanted.intersection(&joined).filter(|(i, _)| *i == index).count();
                let count = reached.iter().filter(|(i, _)| *i == index).count();
                prop_assert!(count <= limit.max(stayed));
            }
            // Applied twice, the second time nothing is left to do but what the limit forbids.
            let second = plan(&wanted, &reached, limit);
            prop_assert_eq!(second, Plan { over: first.over, ..Plan::default() });
        }
    }
}
