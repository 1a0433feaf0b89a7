//! Which form of each pool, advertisement and v0.9 document is in force.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use lb_core::{
    config::{
        Config,
        in_force::{Candidate, Piece, Stands, settle},
    },
    ids::ServiceKey,
    problem::Effect,
};

use super::{Cluster, Kind, ObjectName};
use crate::source::problem::Problem;

/// The configuration of a cluster, and what was in force before.
#[derive(Debug, Default)]
pub struct Configuration {
    config: Arc<Config>,
    settled: Option<Settlement>,
}

/// An object and its form that is in force.
pub type InForce = (ObjectName, Piece);

/// What is in force.
#[derive(Debug)]
struct Settlement {
    /// Of which [`Cluster::generation`].
    generation: u64,
    /// The form of each object that is in force, the oldest object first.
    former: Arc<Vec<InForce>>,
    problems: Vec<(ObjectName, Problem)>,
    /// Something that is written is not in force: what others do may change that.
    refused: bool,
    /// Something that may have pools was never good.
    missing: bool,
}

/// What is written of an object, and when it was made.
struct Written {
    name: ObjectName,
    created: i64,
    piece: Option<Piece>,
    unreadable: Vec<Problem>,
}

impl Configuration {
    /// Pools and advertisements in force.
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// One that was made of these before a restart: where what is written is wrong, they stay. `foreign` are the addresses
    /// of nodes, and `in_use` those that Services hold.
    pub fn resumed<'a>(
        in_force: Vec<InForce>,
        foreign: &[IpAddr],
        in_use: impl Iterator<Item = (IpAddr, &'a ServiceKey)>,
    ) -> Self {
        let candidate =
            |(_, piece): &InForce| Candidate { written: Some(piece.clone()), former: Some(piece.clone()) };
        let candidates: Vec<Candidate> = in_force.iter().map(candidate).collect();
        let config = settle(&candidates, foreign, &by_address(in_use)).config;
        let former = Arc::new(in_force);
        // Looked at anew, whatever is written.
        let settled =
            Settlement { generation: 0, former, problems: Vec::new(), refused: true, missing: false };
        Self { config: Arc::new(config), settled: Some(settled) }
    }

    /// Objects that are in force in some form.
    pub fn in_force(&self) -> Arc<Vec<InForce>> {
        self.settled.as_ref().map(|settled| Arc::clone(&settled.former)).unwrap_or_default()
    }

    /// Everything that is wrong, by object.
    pub fn problems(&self) -> &[(ObjectName, Problem)] {
        self.settled.as_ref().map(|settled| settled.problems.as_slice()).unwrap_or_default()
    }

    /// Something that may have pools was never good.
    pub fn misses_pools(&self) -> bool {
        self.settled.as_ref().is_some_and(|settled| settled.missing)
    }

    /// Brings pools and advertisements up to date; tells whether they are different now. `in_use` are the addresses that
    /// Services hold, looked at only where something has changed.
    pub fn settle<'a>(
        &mut self,
        cluster: &Cluster,
        in_use: impl Iterator<Item = (IpAddr, &'a ServiceKey)>,
    ) -> bool {
        let generation = cluster.generation();
        if self.settled.as_ref().is_some_and(|settled| !settled.refused && settled.generation == generation) {
            return false;
        }
        let written = written(cluster);
        let before = self.settled.take().map(|settled| settled.former).unwrap_or_default();
        let former: BTreeMap<&ObjectName, &Piece> =
            before.iter().map(|(name, piece)| (name, piece)).collect();
        let candidate = |one: &Written| Candidate {
            written: one.piece.clone(),
            former: former.get(&one.name).copied().cloned(),
        };
        let candidates: Vec<Candidate> = written.iter().map(candidate).collect();
        let foreign: Vec<IpAddr> = cluster.node_addresses().into_iter().collect();
        let settled = settle(&candidates, &foreign, &by_address(in_use));
        let mut next = Settlement {
            generation,
            former: Arc::default(),
            problems: Vec::new(),
            refused: settled.stands.iter().any(|stands| *stands != Stands::Written),
            missing: written
                .iter()
                .zip(&settled.stands)
                .any(|(one, stands)| *stands == Stands::Nothing && one.name.kind != Kind::Advertisement),
        };
        let names: BTreeMap<String, &ObjectName> =
            written.iter().map(|one| (one.name.to_string(), &one.name)).collect();
        for problem in settled.problems {
            if let Some(name) = names.get(&problem.place.object) {
                next.problems.push(((*name).clone(), problem.into()));
            }
        }
        let mut in_force = Vec::new();
        for ((one, candidate), stands) in written.iter().zip(&candidates).zip(&settled.stands) {
            let effect = if *stands == Stands::Former { Effect::LastGood } else { Effect::LeftOut };
            let told = one.unreadable.iter().cloned().map(|problem| problem.with_effect(effect));
            next.problems.extend(told.map(|problem| (one.name.clone(), problem)));
            if let Some(piece) = candidate.form(*stands) {
                in_force.push((one.name.clone(), piece.clone()));
            }
        }
        next.former = Arc::new(in_force);
        self.settled = Some(next);
        let changed = settled.config != *self.config;
        if changed {
            self.config = Arc::new(settled.config);
        }
        changed
    }
}

/// Of several Services who share an address the first by name stands for all, in every pass and everywhere.
fn by_address<'a>(held: impl Iterator<Item = (IpAddr, &'a ServiceKey)>) -> BTreeMap<IpAddr, ServiceKey> {
    let mut all: Vec<_> = held.collect();
    all.sort_unstable_by(|a, b| b.cmp(a));
    all.into_iter().map(|(ip, key)| (ip, key.clone())).collect()
}

/// All objects that a configuration is made of, the oldest first.
fn written(cluster: &Cluster) -> Vec<Written> {
    let mut all = Vec::new();
    for (name, seen) in cluster.pools() {
        let (piece, unreadable) = match &seen.content {
            Ok(pool) => (Some(Piece::Pool(Arc::clone(pool))), Vec::new()),
            Err(problem) => (None, vec![problem.clone()]),
        };
        all.push(Written { name: name.clone(), created: seen.created, piece, unreadable });
    }
    for (name, seen) in cluster.advertisements() {
        let piece = seen.content.as_ref().ok().map(|ad| Piece::Advertisement(Arc::clone(ad)));
        let unreadable = seen.content.as_ref().err().cloned().unwrap_or_default();
        all.push(Written { name: name.clone(), created: seen.created, piece, unreadable });
    }
    for (name, seen) in cluster.config_maps() {
        let piece = seen.content.as_ref().ok().map(|legacy| Piece::Legacy(Arc::clone(legacy)));
        let unreadable = seen.content.as_ref().err().cloned().unwrap_or_default();
        all.push(Written { name: name.clone(), created: seen.created, piece, unreadable });
    }
    all.sort_by(|a, b| (a.created, &a.name).cmp(&(b.created, &b.name)));
    all
}
