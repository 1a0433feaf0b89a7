//! What an engine knows, as the plan needs it.

use std::collections::BTreeMap;

use super::PeerId;

/// How a node stands among those that may own an address: the lowest is first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place(u32);

impl Place {
    /// Of a node that hands over: it owns only what nobody else can.
    pub const LAST: Self = Self(u32::MAX);

    /// Of this epoch.
    pub fn of_epoch(epoch: u32) -> Self {
        Self(epoch.min(u32::MAX - 1))
    }

    /// The epoch; of a node that hands over the greatest there is.
    pub fn epoch(self) -> u32 {
        self.0
    }
}

impl Default for Place {
    /// Of a node of which nothing else is known.
    fn default() -> Self {
        Self(0)
    }
}

/// Who can own an address on a link, as one node sees it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct View {
    /// This node; `None`: it must not own anything.
    pub own: Option<Place>,
    /// The others; `None`: it can't.
    pub peers: BTreeMap<PeerId, Option<Place>>,
}

/// The first of candidates in the order of their ranks, which are known by their places: the owner.
pub fn first<T>(ranked: impl IntoIterator<Item = (T, Option<Place>)>) -> Option<T> {
    let able = ranked.into_iter().filter_map(|(node, place)| Some((node, place?)));
    // The first of equals stays.
    able.reduce(|best, next| if next.1 < best.1 { next } else { best }).map(|(node, _)| node)
}
