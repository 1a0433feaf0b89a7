//! Orders of nodes that were worked out before, so that an election hashes only what is new.
//!
//! Where a node stands in the order of an address follows from both their names and from nothing else. Who is alive, who
//! is selected and with what score only picks from that order, so it stays when any of this changes, and a node that is
//! new is put in its place. Nothing here is a source of truth: with other orders, or none, every result is the same.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
};

use super::{RankKey, rank};
use crate::ids::NodeName;

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
    numbers: BTreeMap<NodeName, Number>,
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

/// Candidates and their scores.
#[derive(Debug, Clone, Default)]
pub(crate) struct Field {
    scores: Vec<Option<u32>>,
    candidates: usize,
}

/// How an election went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Who is first.
    pub(crate) owner: Number,
    /// How many are before the node that asks, if it is a candidate.
    pub(crate) rank: Option<usize>,
}

impl Field {
    /// Makes a node a candidate.
    pub(crate) fn enter(&mut self, node: Number, score: u32) {
        let at = usize::from(node);
        if self.scores.len() <= at {
            self.scores.resize(at + 1, None);
        }
        if let Some(place) = self.scores.get_mut(at) {
            self.candidates += usize::from(place.is_none());
            *place = Some(score);
        }
    }

    /// Makes nobody a candidate.
    pub(crate) fn clear(&mut self) {
        self.scores.clear();
        self.candidates = 0;
    }

    /// The score of a candidate.
    pub(crate) fn score(&self, node: Number) -> Option<u32> {
        self.scores.get(usize::from(node)).copied().flatten()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.candidates
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Number, u32)> {
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
            return Some(Standing { owner, rank: (Some(owner) == me).then_some(0) });
        }
        let order = self.by_address.entry(key).or_default();
        if order.plan != self.plan {
            (order.plan, self.used) = (self.plan, self.used + 1);
        }
        let (standing, seen) = walk(&order.nodes, field, me);
        if seen == field.len() {
            return standing;
        }
        order.admit(field, &RankKey::new(key), &self.names);
        walk(&order.nodes, field, me).0
    }
}

/// Looks for the first candidate, for `me`, and at how many candidates the order has.
fn walk(order: &[Number], field: &Field, me: Option<Number>) -> (Option<Standing>, usize) {
    let mine = me.and_then(|me| field.score(me));
    let (mut first, mut seen, mut before, mut is_behind_me) = (None, 0, 0, false);
    for number in order {
        let Some(score) = field.score(*number) else { continue };
        seen += 1;
        if first.is_none_or(|(highest, _)| score > highest) {
            first = Some((score, *number));
        }
        is_behind_me |= Some(*number) == me;
        before += usize::from(mine.is_some_and(|mine| score > mine || score == mine && !is_behind_me));
    }
    (first.map(|(_, owner)| Standing { owner, rank: mine.map(|_| before) }), seen)
}

impl Order {
    /// Puts the candidates that are missing in their places.
    fn admit(&mut self, field: &Field, key: &RankKey, names: &[NodeName]) {
        let place = |number: &Number| names.get(usize::from(*number)).map(|name| (rank(name, 0, key), name));
        let mut missing: Vec<Number> = field.iter().map(|(number, _)| number).collect();
        if self.nodes.is_empty() {
            missing.sort_by_cached_key(place);
            self.nodes = missing;
            return;
        }
        let mut known = Field::default();
        for number in &self.nodes {
            known.enter(*number, 0);
        }
        missing.retain(|number| known.score(*number).is_none());
        self.nodes.reserve_exact(missing.len());
        for number in missing {
            let own = place(&number);
            let at = self.nodes.partition_point(|other| place(other) < own);
            self.nodes.insert(at, number);
        }
    }
}
