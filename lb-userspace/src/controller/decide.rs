//! From everything a cluster says to addresses.
//!
//! [`Decider`] remembers what must not be lost between two passes: what is in force of each object, and who holds
//! which address. The rest is computed anew each time.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use lb_core::{
    addresses::Addresses,
    allocator::{Allocator, Decision, PoolUsage},
    config::{
        Config,
        in_force::{Candidate, Piece, Stands, settle},
    },
    ids::{PoolName, ServiceKey},
    problem::Effect,
    request::{Rules, ServiceType},
};

use crate::source::{
    kubernetes::{Cluster, Kind, Listed, ObjectName},
    problem::Problem,
};

#[cfg(test)]
mod tests;

/// Kinds without which nothing is decided.
const NEEDED: [Kind; 6] =
    [Kind::Service, Kind::Namespace, Kind::Node, Kind::Pool, Kind::Advertisement, Kind::ConfigMap];

/// What was decided about a cluster.
#[derive(Debug, Clone, Default)]
pub struct Decided {
    /// A decision for each Service of our class, also for those that are not of type `LoadBalancer`.
    pub decisions: BTreeMap<ServiceKey, Decision>,
    /// Addresses of Services that are of another class now; their statuses still have to be cleared if they say so.
    pub left: BTreeMap<ServiceKey, Addresses>,
    /// How full the pools in force are.
    pub usage: BTreeMap<PoolName, PoolUsage>,
    /// Pool objects that are in force in some form.
    pub pools: BTreeSet<ObjectName>,
    /// Everything that is wrong with the configuration, by object.
    pub problems: Vec<(ObjectName, Problem)>,
}

/// Decides, and remembers.
#[derive(Debug, Default)]
pub struct Decider {
    config: Config,
    allocator: Allocator,
    settled: Option<Settlement>,
    left: BTreeMap<ServiceKey, Addresses>,
}

/// What is in force.
#[derive(Debug)]
struct Settlement {
    /// Of which [`Cluster::generation`].
    generation: u64,
    /// The form of each object that is in force.
    former: BTreeMap<ObjectName, Piece>,
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

/// Kinds that have not been listed and without which nothing is decided.
pub fn waits_for(cluster: &Cluster) -> Vec<Kind> {
    NEEDED.into_iter().filter(|kind| cluster.listed(*kind) == Listed::No).collect()
}

impl Decider {
    /// Decides about everything anew; who holds an address keeps it as long as that is permitted. Whoever calls it
    /// has seen to it that [`waits_for`] is empty, and that the Services have the labels of their namespaces.
    pub fn decide(&mut self, cluster: &Cluster, lb_class: Option<&str>) -> Decided {
        self.settle(cluster);
        let missing = self.settled.as_ref().is_some_and(|settled| settled.missing);
        let no_pools = cluster.listed(Kind::Pool) != Listed::Yes && cluster.config_maps().is_empty();
        let rules = Rules {
            lb_class: lb_class.map(str::to_owned),
            cluster_ips_required: true,
            pools_in_doubt: missing || no_pools,
        };
        let before: BTreeMap<ServiceKey, Addresses> =
            self.allocator.allocations().map(|(key, held)| (key.clone(), held.addresses)).collect();
        let decisions = self.reconcile(cluster, &rules, &before);
        self.leave(cluster, &decisions, before);
        let usage = self.config.pools.keys();
        let usage = usage.filter_map(|name| Some((name.clone(), self.allocator.usage(name)?))).collect();
        let settled = self.settled.as_ref();
        let pools = settled.into_iter().flat_map(|settled| settled.former.keys());
        Decided {
            decisions,
            left: self.left.clone(),
            usage,
            pools: pools.filter(|name| name.kind == Kind::Pool).cloned().collect(),
            problems: settled.map(|settled| settled.problems.clone()).unwrap_or_default(),
        }
    }

    /// Decides about all Services but those that can't be read and those of whose namespace nothing is known yet: these
    /// keep what they have.
    fn reconcile(
        &mut self,
        cluster: &Cluster,
        rules: &Rules,
        before: &BTreeMap<ServiceKey, Addresses>,
    ) -> BTreeMap<ServiceKey, Decision> {
        let (known, early): (Vec<_>, Vec<_>) =
            cluster.services().iter().partition(|(key, _)| cluster.has_namespace(key));
        let kept = early.iter().copied().chain(cluster.unreadable()).filter_map(|(key, seen)| {
            let written = seen.spec.held().ok().flatten();
            Some((key.clone(), written.or_else(|| before.get(key).copied())?))
        });
        let kept: BTreeMap<ServiceKey, Addresses> = kept.collect();
        if early.is_empty() {
            return self.allocator.reconcile(rules, cluster.services(), &kept);
        }
        let known: BTreeMap<_, _> = known.into_iter().map(|(key, seen)| (key.clone(), seen)).collect();
        self.allocator.reconcile(rules, &known, &kept)
    }

    /// Notes which Services held something and have another class now, until their statuses say something else.
    fn leave(
        &mut self,
        cluster: &Cluster,
        decisions: &BTreeMap<ServiceKey, Decision>,
        before: BTreeMap<ServiceKey, Addresses>,
    ) {
        self.left.extend(before);
        self.left.retain(|key, addresses| {
            let decided = decisions.contains_key(key) || !cluster.has_namespace(key);
            let seen = cluster.services().get(key).filter(|_| !decided);
            let written = seen.and_then(|seen| seen.spec.held().ok().flatten());
            written.is_some_and(|written| written.same(*addresses))
        });
    }

    /// Brings pools and advertisements up to date.
    fn settle(&mut self, cluster: &Cluster) {
        let generation = cluster.generation();
        if self.settled.as_ref().is_some_and(|settled| !settled.refused && settled.generation == generation) {
            return;
        }
        let written = written(cluster);
        let former = self.settled.take().map(|settled| settled.former).unwrap_or_default();
        let candidate =
            |one: &Written| Candidate { written: one.piece.clone(), former: former.get(&one.name).cloned() };
        let candidates: Vec<Candidate> = written.iter().map(candidate).collect();
        let foreign: Vec<IpAddr> = cluster.node_addresses().into_iter().collect();
        let settled = settle(&candidates, &foreign, &self.in_use(cluster));
        let mut next = Settlement {
            generation,
            former: BTreeMap::new(),
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
        for ((one, candidate), stands) in written.iter().zip(&candidates).zip(&settled.stands) {
            let effect = if *stands == Stands::Former { Effect::LastGood } else { Effect::LeftOut };
            let told = one.unreadable.iter().cloned().map(|problem| problem.with_effect(effect));
            next.problems.extend(told.map(|problem| (one.name.clone(), problem)));
            if let Some(piece) = candidate.form(*stands) {
                next.former.insert(one.name.clone(), piece.clone());
            }
        }
        self.settled = Some(next);
        if settled.config != self.config {
            self.allocator.reload(&settled.config);
            self.config = settled.config;
        }
    }

    /// The addresses that Services hold.
    fn in_use(&self, cluster: &Cluster) -> BTreeMap<IpAddr, ServiceKey> {
        let present = self.allocator.allocations().filter(|(key, _)| {
            let seen = cluster.services().get(*key);
            seen.is_some_and(|seen| seen.spec.service_type == ServiceType::LoadBalancer)
        });
        let mut all: Vec<_> =
            present.flat_map(|(key, held)| held.addresses.iter().map(move |ip| (ip, key))).collect();
        // Of several who share an address the first by name stands for all, in every pass.
        all.sort_unstable_by(|a, b| b.cmp(a));
        all.into_iter().map(|(ip, key)| (ip, key.clone())).collect()
    }
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
