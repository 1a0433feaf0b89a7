//! What has to change so that the data plane holds what is desired.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Entry, EntryState, Target};

/// The difference between what is desired and what is there. Removals are applied first: an entry that moves to
/// another link is at no time answered on both.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Changes {
    /// Entries that must go.
    pub remove: Vec<Target>,
    /// Entries that are new or different.
    pub upsert: Vec<(Target, Entry)>,
    /// Targets that answer now and did not before, or with another MAC: the network is to be told.
    pub gained: Vec<Target>,
    /// Targets that answered before and no longer do: nothing more is said about them.
    pub lost: Vec<Target>,
}

impl Changes {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.upsert.is_empty()
    }

    fn see(&mut self, target: Target, desired: Option<&Entry>, actual: Option<&Entry>) {
        let answers = |entry: Option<&Entry>| entry.filter(|e| e.state == EntryState::Answer).map(|e| e.mac);
        match (desired, actual) {
            (None, Some(_)) => self.remove.push(target),
            (Some(new), old) if old != Some(new) => self.upsert.push((target, *new)),
            (Some(_) | None, _) => {}
        }
        match (answers(desired), answers(actual)) {
            (Some(new), old) if old != Some(new) => self.gained.push(target),
            (None, Some(_)) => self.lost.push(target),
            (Some(_) | None, _) => {}
        }
    }
}

/// Compares what is desired with what is there, in one walk over both.
pub fn diff(desired: &BTreeMap<Target, Entry>, actual: &BTreeMap<Target, Entry>) -> Changes {
    let mut changes = Changes::default();
    let (mut wanted, mut present) = (desired.iter().peekable(), actual.iter().peekable());
    loop {
        let next = match (wanted.peek(), present.peek()) {
            (None, None) => break,
            (Some((a, _)), Some((b, _))) => **a.min(b),
            (Some((a, _)), None) => **a,
            (None, Some((b, _))) => **b,
        };
        let new = wanted.next_if(|(target, _)| **target == next).map(|(_, entry)| entry);
        let old = present.next_if(|(target, _)| **target == next).map(|(_, entry)| entry);
        changes.see(next, new, old);
    }
    changes
}

/// Makes the changes, as a data plane does.
pub fn apply(changes: &Changes, actual: &mut BTreeMap<Target, Entry>) {
    for target in &changes.remove {
        actual.remove(target);
    }
    actual.extend(changes.upsert.iter().copied());
}
