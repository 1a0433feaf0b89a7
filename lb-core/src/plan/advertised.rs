//! Sets of advertisements, evaluated once for all the Services they announce.

use std::collections::{BTreeMap, BTreeSet};

use super::{Snapshot, Unusable};
use crate::{
    config::Advertisement,
    eligibility::fault,
    ids::{LinkId, LinkName, Mac, NodeName, PoolName, Vlans},
    selector::Labels,
};

/// Indices of advertisements in the configuration, ascending.
pub(super) type AdIndices = Vec<usize>;

/// What a set of advertisements amounts to.
#[derive(Debug)]
pub(super) struct AdSet<'a> {
    pub(super) ads: AdIndices,
    /// Usable nodes that one of them selects and that have a fit link for it, with their preferred scores.
    pub(super) nodes: BTreeMap<&'a NodeName, u32>,
    /// Whether one of them selects this node.
    pub(super) selects_me: bool,
    /// Where this node announces if it is the owner.
    pub(super) places: BTreeMap<(LinkId, Vlans), Mac>,
    /// Why there is no place, if there is none.
    pub(super) unusable: Unusable,
}

/// All sets seen so far; most Services share one.
pub(super) struct AdSets<'a> {
    snapshot: &'a Snapshot,
    by_pool: BTreeMap<&'a PoolName, (AdIndices, bool)>,
    known: BTreeMap<AdIndices, usize>,
    sets: Vec<AdSet<'a>>,
}

impl<'a> AdSets<'a> {
    pub(super) fn new(snapshot: &'a Snapshot) -> Self {
        let ads = &snapshot.config.advertisements;
        let by_pool = snapshot.config.pools.values().map(|pool| {
            let covering: AdIndices =
                ads.iter().enumerate().filter(|(_, ad)| ad.covers(pool)).map(|(index, _)| index).collect();
            let selective =
                covering.iter().filter_map(|i| ads.get(*i)).any(|ad| !ad.service_selectors.is_empty());
            (&pool.name, (covering, selective))
        });
        Self { snapshot, by_pool: by_pool.collect(), known: BTreeMap::new(), sets: Vec::new() }
    }

    /// Whether any advertisement covers the pool.
    pub(super) fn covers(&self, pool: &PoolName) -> bool {
        self.by_pool.get(pool).is_some_and(|(ads, _)| !ads.is_empty())
    }

    /// The advertisements that announce Services with these labels from this pool, and whether one of them
    /// selects Services.
    pub(super) fn matching(&mut self, pool: &PoolName, labels: &Labels) -> (usize, bool) {
        let ads = &self.snapshot.config.advertisements;
        let Some((covering, selective)) = self.by_pool.get(pool) else {
            return (self.set(Vec::new()), false);
        };
        if !*selective {
            let covering = covering.clone();
            return (self.set(covering), false);
        }
        let matching: AdIndices = covering
            .iter()
            .copied()
            .filter(|i| ads.get(*i).is_some_and(|ad| ad.selects_service(labels)))
            .collect();
        let selective =
            matching.iter().filter_map(|i| ads.get(*i)).any(|ad| !ad.service_selectors.is_empty());
        (self.set(matching), selective)
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

    pub(super) fn get(&self, index: usize) -> Option<&AdSet<'a>> {
        self.sets.get(index)
    }

    fn set(&mut self, ads: AdIndices) -> usize {
        if let Some(index) = self.known.get(&ads) {
            return *index;
        }
        self.known.insert(ads.clone(), self.sets.len());
        self.sets.push(evaluate(self.snapshot, ads));
        self.sets.len() - 1
    }
}

fn evaluate(snapshot: &Snapshot, indices: AdIndices) -> AdSet<'_> {
    let ads: Vec<&Advertisement> =
        indices.iter().filter_map(|index| snapshot.config.advertisements.get(*index)).collect();
    let usable = snapshot.nodes.iter().filter(|(_, node)| node.is_usable(snapshot.ignore_exclude_label));
    let nodes = usable.filter_map(|(name, node)| {
        let mut selecting = ads.iter().filter(|ad| ad.selects_node(&node.labels));
        selecting.any(|ad| node.has_fit_link(&ad.interfaces)).then(|| {
            let score = ads.iter().map(|ad| ad.score(&node.labels)).fold(0, u32::saturating_add);
            (name, score)
        })
    });
    let nodes = nodes.collect();
    let me = snapshot.nodes.get(&snapshot.me);
    let mine: Vec<&Advertisement> =
        ads.into_iter().filter(|ad| me.is_some_and(|me| ad.selects_node(&me.labels))).collect();
    let (places, unusable) = places(snapshot, &mine);
    AdSet { ads: indices, nodes, selects_me: !mine.is_empty(), places, unusable }
}

/// Links and VLANs on which these advertisements announce here.
fn places(snapshot: &Snapshot, ads: &[&Advertisement]) -> (BTreeMap<(LinkId, Vlans), Mac>, Unusable) {
    let mut places = BTreeMap::new();
    let mut unusable = Unusable::default();
    for link in &snapshot.links {
        let wanting: Vec<_> =
            ads.iter().filter(|ad| ad.interfaces.is_empty() || ad.interfaces.contains(&link.name)).collect();
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
    let wanted: BTreeSet<&LinkName> = ads.iter().flat_map(|ad| &ad.interfaces).collect();
    unusable.missing = wanted.into_iter().filter(|name| !present(name)).cloned().collect();
    (places, unusable)
}
