//! The objects of one kind.

use std::collections::BTreeMap;

use crate::k8s::watch::Change;

/// Whether the objects of a kind are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Listed {
    /// Not yet.
    #[default]
    No,
    /// All of them, as of some moment.
    Yes,
    /// The API server does not have the kind.
    NoSuchKind,
}

/// The objects of one kind. While they are listed anew, what was known before stays.
#[derive(Debug)]
pub struct Shelf<K, V> {
    objects: BTreeMap<K, V>,
    listing: Option<BTreeMap<K, V>>,
    listed: Listed,
}

impl<K, V> Default for Shelf<K, V> {
    fn default() -> Self {
        Self { objects: BTreeMap::new(), listing: None, listed: Listed::No }
    }
}

impl<K: Ord, V: PartialEq> Shelf<K, V> {
    /// What is there.
    pub fn objects(&self) -> &BTreeMap<K, V> {
        &self.objects
    }

    /// The same, to be completed with what other kinds say.
    pub(super) fn objects_mut(&mut self) -> &mut BTreeMap<K, V> {
        &mut self.objects
    }

    /// Whether everything is known.
    pub fn listed(&self) -> Listed {
        self.listed
    }

    /// Enters a change; tells whether anything is different now. `None`: an object that is not wanted here.
    pub fn apply(&mut self, change: Change<Option<(K, V)>>) -> bool {
        match change {
            Change::Listing => {
                self.listing = Some(BTreeMap::new());
                false
            }
            Change::Listed(object) => {
                if let (Some(listing), Some((key, value))) = (&mut self.listing, object) {
                    listing.insert(key, value);
                }
                false
            }
            Change::Complete => {
                let complete = self.listing.take().unwrap_or_default();
                let changed = self.listed != Listed::Yes || self.objects != complete;
                (self.objects, self.listed) = (complete, Listed::Yes);
                changed
            }
            Change::Applied(Some((key, value))) => self.put(key, value),
            Change::Deleted(Some((key, _))) => self.objects.remove(&key).is_some(),
            Change::Absent => {
                // What is there was seen while the kind was: its end is told object by object.
                let changed = self.listed == Listed::No;
                if changed {
                    self.listed = Listed::NoSuchKind;
                }
                changed
            }
            Change::Applied(None) | Change::Deleted(None) | Change::Failed(_) => false,
        }
    }

    /// Enters an object; tells whether it is different from what was there.
    pub(super) fn put(&mut self, key: K, value: V) -> bool {
        let same = self.objects.get(&key) == Some(&value);
        if !same {
            self.objects.insert(key, value);
        }
        !same
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::unnecessary_wraps, reason = "as a watch gives it")]
    fn item(key: &str, value: u32) -> Option<(String, u32)> {
        Some((key.to_owned(), value))
    }

    #[test]
    fn what_was_known_stays_until_a_list_is_complete() {
        let mut shelf = Shelf::default();
        assert_eq!(shelf.listed(), Listed::No);
        assert!(!shelf.apply(Change::Listing) && !shelf.apply(Change::Listed(item("a", 1))));
        assert!(shelf.objects().is_empty());
        assert!(shelf.apply(Change::Complete));
        assert_eq!(shelf.listed(), Listed::Yes);
        assert!(shelf.apply(Change::Applied(item("b", 2))) && !shelf.apply(Change::Applied(item("b", 2))));
        shelf.apply(Change::Listing);
        shelf.apply(Change::Listed(item("b", 3)));
        assert_eq!(shelf.objects().len(), 2, "a list that breaks off takes nothing away");
        shelf.apply(Change::Listing);
        shelf.apply(Change::Listed(item("b", 4)));
        assert!(shelf.apply(Change::Complete));
        assert_eq!(shelf.objects(), &BTreeMap::from([("b".to_owned(), 4)]));
        assert!(shelf.apply(Change::Deleted(item("b", 4))) && !shelf.apply(Change::Deleted(item("b", 4))));
    }

    #[test]
    fn a_kind_that_is_missing_is_known_not_to_be_there() {
        let mut shelf: Shelf<String, u32> = Shelf::default();
        assert!(shelf.apply(Change::Absent) && !shelf.apply(Change::Absent));
        assert_eq!(shelf.listed(), Listed::NoSuchKind);
        shelf.apply(Change::Listing);
        assert!(shelf.apply(Change::Complete));
        assert!(!shelf.apply(Change::Absent), "it was there");
        assert_eq!(shelf.listed(), Listed::Yes);
    }
}
