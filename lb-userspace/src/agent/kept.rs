//! Links on which something was to be answered not long ago.
//!
//! They keep their program, and other nodes go on watching this one there: an address that comes back after an edit finds
//! both as they were, and a NIC is not attached to and detached from by turns.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use lb_core::ids::LinkId;

/// How long.
const KEPT: Duration = Duration::from_mins(1);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Kept {
    until: BTreeMap<LinkId, Instant>,
}

impl Kept {
    /// Something is to be answered on these links now.
    pub(super) fn note(&mut self, used: impl IntoIterator<Item = LinkId>, now: Instant) {
        self.until.extend(used.into_iter().map(|link| (link, now + KEPT)));
        self.until.retain(|_, until| now < *until);
    }

    /// The links that are kept, of those that could be used.
    pub(super) fn links(&self, fit: impl Fn(LinkId) -> bool, now: Instant) -> BTreeSet<LinkId> {
        let kept = self.until.iter().filter(|(link, until)| now < **until && fit(**link));
        kept.map(|(link, _)| *link).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_kept_for_a_while_and_only_while_it_is_fit() {
        let (one, two) = (LinkId(1), LinkId(2));
        let start = Instant::now();
        let mut kept = Kept::default();
        kept.note([one, two], start);
        let later = start + Duration::from_secs(59);
        kept.note([two], later);
        assert_eq!(kept.links(|_| true, later), [one, two].into());
        assert_eq!(kept.links(|link| link == one, later), [one].into());
        kept.note([], start + KEPT);
        assert_eq!(kept.links(|_| true, start + KEPT), [two].into());
        assert_eq!(kept.links(|_| true, later + KEPT), BTreeSet::new());
    }
}
