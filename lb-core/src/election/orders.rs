//! Orders of nodes that were worked out before, so that an election hashes only what is new.
//!
//! Where a node stands in the order of an address follows from both their names and from nothing else. Who is alive, who
//! is selected and with what score only picks from that order, so it stays when any of this changes, and a node that is
//! new is put in its place. Nothing here is a source of truth: with other orders, or none, every result is the same.

use std::{cmp::Reverse, collections::HashMap, net::IpAddr};

use super::{RankKey, rank};
use crate::{failover::Place, ids::NodeName};

#[cfg(test)]
mod tests;

/// Nodes that can be told apart, more than ten times what Kubernetes supports. Beyond that the first by name take part.
const MOST_NODES: usize = 1 << 16;
/// Orders that may be kept although no plan looked at them lately.
const SPARE: usize = 64;

/// What a node is known by while it is enrolled.
pub(crate) type Number = u16;

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct Orders {
    numbers: HashMap<NodeName, Number>,
    names: Vec<NodeName>,
    by_address: HashMap<IpAddr, Order>,
    /// Grows with each plan.
    plan: u32,
    /// Orders looked at in this plan.
    used: usize,
}

/// Nodes in the order of one address.
#[derive(Debug, Clone, Default)]
struct Order {
    nodes: Vec<Number>,
    /// The plan that looked at it last.
    plan: u32,
}

/// Candidates and what puts one before another: whether it can own anything now, from which epoch, and its preferred
/// score.
#[derive(Debug, Clone, Default)]
pub(crate) struct Field {
    scores: Vec<Option<Standpoint>>,
    candidates: usize,
    /// The score of one of them.
    some_score: Standpoint,
    /// Others have other scores.
    uneven: bool,
}

/// What comes before the order of an address: the greatest is first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Standpoint(Option<Reverse<Place>>, u32);

impl Standpoint {
    /// Of a node with a preferred score; without a place it can own nothing now.
    pub(crate) fn new(place: Option<Place>, score: u32) -> Self {
        Self(place.map(Reverse), score)
    }

    /// It can own something.
    fn is_able(self) -> bool {
        self.0.is_some()
    }
}

/// How an election went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Who is first.
    pub(crate) owner: Number,
    /// It can own the address at present.
    pub(crate) is_able: bool,
    /// How many are before the node that asks, if it is a candidate.
    pub(crate) rank: Option<usize>,
}

impl Field {
    /// Makes a node a candidate.
    pub(crate) fn enter(&mut self, node: Number, score: Standpoint) {
        let at = usize::from(node);
        if self.scores.len() <= at {
            self.scores.resize(at + 1, None);
        }
        self.uneven |= self.candidates > 0 && self.some_score != score;
        self.some_score = score;
        if let Some(place) = self.scores.get_mut(at) {
            self.candidates += usize::from(place.is_none());
            *place = Some(score);
        }
    }

    /// Makes nobody a candidate.
    pub(crate) fn clear(&mut self) {
        self.scores.clear();
        (self.candidates, self.uneven) = (0, false);
    }

    /// The score of a candidate.
    pub(crate) fn score(&self, node: Number) -> Option<Standpoint> {
        self.scores.get(usize::from(node)).copied().flatten()
    }

    /// Whether a candidate can own something now.
    fn is_able(&self, node: Number) -> bool {
        self.score(node).is_some_and(Standpoint::is_able)
    }

    /// Whether a node is a candidate.
    pub(crate) fn has(&self, node: Number) -> bool {
        self.score(node).is_some()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.candidates
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Number, Standpoint)> {
        (0..=Number::MAX).zip(&self.scores).filter_map(|(node, score)| Some((node, (*score)?)))
    }
}

impl Orders {
    /// Begins a plan for these nodes.
    pub(crate) fn begin<'a>(&mut self, nodes: impl Iterator<Item = &'a NodeName> + Clone) {
        let known = nodes.clone().filter(|node| self.numbers.contains_key(*node)).count();
        let all = nodes.clone().count();
        // Those that are gone have their places in the orders still.
        if self.names.len() + (all - known) > (2 * all).min(MOST_NODES) {
            *self = Self::default();
        }
        for node in nodes.take(MOST_NODES) {
            if let Ok(number) = Number::try_from(self.names.len())
                && !self.numbers.contains_key(node)
            {
                self.numbers.insert(node.clone(), number);
                self.names.push(node.clone());
            }
        }
        self.plan = self.plan.wrapping_add(1);
        self.used = 0;
    }

    /// Ends a plan: forgets the orders of addresses that are no more.
    pub(crate) fn end(&mut self) {
        if self.by_address.len() > self.used + self.used / 8 + SPARE {
            let plan = self.plan;
            self.by_address.retain(|_, order| order.plan == plan);
        }
    }

    /// The number of a node.
    pub(crate) fn number(&self, node: &NodeName) -> Option<Number> {
        self.numbers.get(node).copied()
    }

    /// The node of a number.
    pub(crate) fn name(&self, number: Number) -> Option<&NodeName> {
        self.names.get(usize::from(number))
    }

    /// Holds the election for an address, as seen by the node `me`. `None`: there is no candidate.
    pub(crate) fn elect(&mut self, key: IpAddr, field: &Field, me: Option<Number>) -> Option<Standing> {
        if field.len() <= 1 {
            // One candidate needs no order.
            let (owner, _) = field.iter().next()?;
            let is_able = field.is_able(owner);
            return Some(Standing { owner, is_able, rank: (Some(owner) == me).then_some(0) });
        }
        let order = self.by_address.entry(key).or_default();
        if order.plan != self.plan {
            (order.plan, self.used) = (self.plan, self.used + 1);
        }
        if !order.holds(field, &self.names) {
            order.admit(field, &RankKey::new(key), &self.names);
        }
        order.stand(field, me)
    }
}

impl Order {
    /// Whether all candidates have their places.
    fn holds(&self, field: &Field, names: &[NodeName]) -> bool {
        // All nodes have theirs: this is so where all nodes are candidates of most addresses.
        self.nodes.len() == names.len()
            || self.nodes.iter().filter(|node| field.has(**node)).count() == field.len()
    }

    /// Puts the candidates that are missing in their places, and all other nodes too where most are candidates.
    fn admit(&mut self, field: &Field, key: &RankKey, names: &[NodeName]) {
        let place = |node: &Number| names.get(usize::from(*node)).map(|name| (rank(name, 0, key), name));
        let most = field.len() > names.len() / 2;
        let all = (0..=Number::MAX).take(names.len());
        let mut missing: Vec<Number> = all.filter(|node| most || field.has(*node)).collect();
        if self.nodes.is_empty() {
            missing.sort_by_cached_key(place);
            self.nodes = missing;
            return;
        }
        let mut known = Field::default();
        for node in &self.nodes {
            known.enter(*node, Standpoint::default());
        }
        missing.retain(|node| !known.has(*node));
        self.nodes.reserve_exact(missing.len());
        for node in missing {
            let own = place(&node);
            let at = self.nodes.partition_point(|other| place(other) < own);
            self.nodes.insert(at, node);
        }
    }

    /// Who is first, and how many are before `me`.
    fn stand(&self, field: &Field, me: Option<Number>) -> Option<Standing> {
        let candidates = || self.nodes.iter().copied().filter(|node| field.has(*node));
        let mine = me.and_then(|me| Some((me, field.score(me)?)));
        if !field.uneven {
            let before = |me: Number| {
                let before = self.nodes.iter().take_while(|node| **node != me);
                before.filter(|node| field.has(**node)).count()
            };
            let owner = candidates().next()?;
            return Some(Standing {
                owner,
                is_able: field.is_able(owner),
                rank: mine.map(|(me, _)| before(me)),
            });
        }
        // A higher score comes first, and the order decides among equal ones.
        let by_score = |node: &Number| Reverse(field.score(*node));
        let before = |(me, score): (Number, Standpoint)| {
            let higher = candidates().filter(|node| field.score(*node) > Some(score)).count();
            let equal = candidates().take_while(|node| *node != me);
            higher + equal.filter(|node| field.score(*node) == Some(score)).count()
        };
        let owner = candidates().min_by_key(by_score)?;
        Some(Standing { owner, is_able: field.is_able(owner), rank: mine.map(before) })
    }
}
