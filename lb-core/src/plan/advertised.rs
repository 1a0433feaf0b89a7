//! Sets of advertisements, evaluated once for all the Services they announce.

use std::collections::{BTreeMap, BTreeSet};

use super::{Snapshot, Unusable};
use crate::{
    config::Advertisement,
    election::{Field, Number, Orders, Standpoint},
    eligibility::fault,
    failover::Place,
    ids::{LinkId, LinkName, Mac, NodeName, PoolName, Vlans},
    selector::Labels,
};

/// Indices of advertisements in the configuration, ascending.
pub(super) type AdIndices = Vec<usize>;

/// What a set of advertisements amounts to.
#[derive(Debug)]
pub(super) struct AdSet {
    pub(super) ads: AdIndices,
    /// Usable nodes that one of them selects and that have a fit link for it, with their preferred scores.
    pub(super) nodes: Field,
    /// Whether one of them selects this node.
    pub(super) selects_me: bool,
    /// Where this node announces if it is the owner.
    pub(super) places: BTreeMap<(LinkId, Vlans), Mac>,
    /// Why there is no place, if there is none.
    pub(super) unusable: Unusable,
}

/// The advertisements that cover a pool.
struct Covering {
    ads: AdIndices,
    /// One of them selects Services.
    selective: bool,
    /// The set of all of them.
    set: usize,
}

/// All sets seen so far; most Services share one.
pub(super) struct AdSets<'a> {
    snapshot: &'a Snapshot,
    /// The numbers of the nodes, in the order of the snapshot.
    numbers: Vec<Option<Number>>,
    by_pool: BTreeMap<&'a PoolName, Covering>,
    known: BTreeMap<AdIndices, usize>,
    sets: Vec<AdSet>,
}

impl<'a> AdSets<'a> {
    /// Nodes are known by their numbers in `orders`.
    pub(super) fn new(snapshot: &'a Snapshot, orders: &Orders) -> Self {
        let numbers = snapshot.nodes.keys().map(|node| orders.number(node)).collect();
        let (by_pool, known) = (BTreeMap::new(), BTreeMap::new());
        let mut sets = Self { snapshot, numbers, by_pool, known, sets: Vec::new() };
        let all = &snapshot.config.advertisements;
        for pool in snapshot.config.pools.values() {
            let covering = all.iter().enumerate().filter(|(_, ad)| ad.covers(pool));
            let ads: AdIndices = covering.map(|(index, _)| index).collect();
            let covering =
                Covering { selective: is_selective(snapshot, &ads), set: sets.set(ads.clone()), ads };
            sets.by_pool.insert(&pool.name, covering);
        }
        sets
    }

    /// The advertisements that announce Services with these labels from this pool, and whether one of them selects
    /// Services. `None`: no advertisement covers the pool at all.
    pub(super) fn matching(&mut self, pool: &PoolName, labels: &Labels) -> Option<(usize, bool)> {
        let covering = self.by_pool.get(pool).filter(|covering| !covering.ads.is_empty())?;
        if !covering.selective {
            return Some((covering.set, false));
        }
        let ads = &self.snapshot.config.advertisements;
        let selects = |index: &usize| ads.get(*index).is_some_and(|ad| ad.selects_service(labels));
        let matching: AdIndices = covering.ads.iter().copied().filter(selects).collect();
        let selective = is_selective(self.snapshot, &matching);
        Some((self.set(matching), selective))
    }

    /// The set that two sets make together.
    pub(super) fn union(&mut self, a: usize, b: usize) -> usize {
        if a == b {
            return a;
        }
        let ads = |index: usize| self.sets.get(index).map(|set| set.ads.as_slice()).unwrap_or_default();
        let union: BTreeSet<usize> = ads(a).iter().chain(ads(b)).copied().collect();
        self.set(union.into_iter().collect())
    }

    pub(super) fn get(&self, index: usize) -> Option<&AdSet> {
        self.sets.get(index)
    }

    fn set(&mut self, ads: AdIndices) -> usize {
        if let Some(index) = self.known.get(&ads) {
            return *index;
        }
        self.known.insert(ads.clone(), self.sets.len());
        self.sets.push(evaluate(self.snapshot, &self.numbers, ads));
        self.sets.len() - 1
    }
}

fn is_selective(snapshot: &Snapshot, ads: &[usize]) -> bool {
    let mut ads = ads.iter().filter_map(|index| snapshot.config.advertisements.get(*index));
    ads.any(|ad| !ad.service_selectors.is_empty())
}

fn evaluate(snapshot: &Snapshot, numbers: &[Option<Number>], indices: AdIndices) -> AdSet {
    let ads: Vec<&Advertisement> =
        indices.iter().filter_map(|index| snapshot.config.advertisements.get(*index)).collect();
    let me = snapshot.nodes.get(&snapshot.me);
    let mine: Vec<&Advertisement> =
        ads.iter().copied().filter(|ad| me.is_some_and(|me| ad.selects_node(&me.labels))).collect();
    let (places, unusable) = places(snapshot, &mine);
    let mut nodes = Field::default();
    for ((name, node), number) in snapshot.nodes.iter().zip(numbers) {
        let mut selecting = ads.iter().filter(|ad| ad.selects_node(&node.labels));
        if let Some(number) = *number
            && node.is_usable(snapshot.ignore_exclude_label)
            && selecting.any(|ad| node.has_fit_link(&ad.interfaces))
        {
            let score = ads.iter().map(|ad| ad.score(&node.labels)).fold(0, u32::saturating_add);
            nodes.enter(number, Standpoint::new(place(snapshot, name, &places), score));
        }
    }
    AdSet { ads: indices, nodes, selects_me: !mine.is_empty(), places, unusable }
}

/// From where a node can own what is announced here on these links, by what the engines know.
fn place(snapshot: &Snapshot, node: &NodeName, places: &BTreeMap<(LinkId, Vlans), Mac>) -> Option<Place> {
    let Some(standing) = &snapshot.standing else { return Some(Place::default()) };
    let links = places.keys().map(|(link, _)| *link);
    if *node == snapshot.me { standing.own(links) } else { standing.peer(node, links) }
}

/// Links and VLANs on which these advertisements announce here.
fn places(snapshot: &Snapshot, ads: &[&Advertisement]) -> (BTreeMap<(LinkId, Vlans), Mac>, Unusable) {
    let mut places = BTreeMap::new();
    let mut unusable = Unusable::default();
    for link in &snapshot.links {
        let wanting: Vec<_> = ads.iter().filter(|ad| ad.interfaces.admit(&link.name)).collect();
        if wanting.is_empty() {
            continue;
        }
        match (fault(link, &snapshot.allowed), link.mac) {
            (None, Some(mac)) => places.extend(wanting.iter().map(|ad| ((link.id, ad.vlans), mac))),
            (Some(fault), _) => unusable.unfit.push((link.name.clone(), fault)),
            // `fault` names a link without a MAC.
            (None, None) => {}
        }
    }
    let present = |name: &LinkName| snapshot.links.iter().any(|link| link.name == *name);
    let wanted: BTreeSet<&LinkName> = ads.iter().flat_map(|ad| ad.interfaces.names()).collect();
    unusable.missing = wanted.into_iter().filter(|name| !present(name)).cloned().collect();
    (places, unusable)
}
