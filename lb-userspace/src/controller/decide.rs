//! From everything a cluster says to addresses.
//!
//! [`Decider`] remembers what must not be lost between two passes: what is in force of each object, and who holds
//! which address. The rest is computed anew each time.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use lb_core::{
    addresses::Addresses,
    allocator::{Allocator, Decision, PoolUsage},
    ids::{PoolName, ServiceKey},
    request::{Rules, ServiceType},
};

use crate::source::{
    kubernetes::{Cluster, Configuration, Kind, Listed, ObjectName, SeenService},
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
    configuration: Configuration,
    allocator: Allocator,
    left: BTreeMap<ServiceKey, Addresses>,
}

/// Kinds that have not been listed and without which nothing is decided.
pub fn waits_for(cluster: &Cluster) -> Vec<Kind> {
    NEEDED.into_iter().filter(|kind| cluster.listed(*kind) == Listed::No).collect()
}

impl Decider {
    /// Decides about everything anew; who holds an address keeps it as long as that is permitted. Whoever calls it
    /// has seen to it that [`waits_for`] is empty, and that the Services have the labels of their namespaces.
    pub fn decide(&mut self, cluster: &Cluster, lb_class: Option<&str>) -> Decided {
        if self.configuration.settle(cluster, in_use(&self.allocator, cluster)) {
            self.allocator.reload(self.configuration.config());
        }
        let no_pools = cluster.listed(Kind::Pool) != Listed::Yes && cluster.config_maps().is_empty();
        let rules = Rules {
            lb_class: lb_class.map(str::to_owned),
            cluster_ips_required: true,
            pools_in_doubt: self.configuration.misses_pools() || no_pools,
        };
        let before: BTreeMap<ServiceKey, Addresses> =
            self.allocator.allocations().map(|(key, held)| (key.clone(), held.addresses)).collect();
        let decisions = self.reconcile(cluster, &rules, &before);
        self.leave(cluster, &decisions, before);
        let usage = self.configuration.config().pools.keys();
        let usage = usage.filter_map(|name| Some((name.clone(), self.allocator.usage(name)?))).collect();
        let in_force = self.configuration.in_force();
        let pools = in_force.iter().map(|(name, _)| name).filter(|name| name.kind == Kind::Pool);
        Decided {
            decisions,
            left: self.left.clone(),
            usage,
            pools: pools.cloned().collect(),
            problems: self.configuration.problems().to_vec(),
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
        let is_early = |key: &ServiceKey| !cluster.has_namespace(key);
        let early: Vec<_> = cluster.services().iter().filter(|(key, _)| is_early(key)).collect();
        let kept =
            early.iter().copied().chain(cluster.unreadable()).filter_map(|(key, seen)| {
                Some((key.clone(), seen.held().or_else(|| before.get(key).copied())?))
            });
        let kept: BTreeMap<ServiceKey, Addresses> = kept.collect();
        if early.is_empty() {
            return self.allocator.reconcile(rules, cluster.services(), &kept);
        }
        let known = cluster.services().iter().filter(|(key, _)| !is_early(key));
        let known: BTreeMap<_, _> = known.map(|(key, seen)| (key.clone(), seen)).collect();
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
            let written = seen.and_then(SeenService::held);
            written.is_some_and(|written| written.same(*addresses))
        });
    }
}

/// The addresses that Services hold.
fn in_use<'a>(allocator: &'a Allocator, cluster: &Cluster) -> impl Iterator<Item = (IpAddr, &'a ServiceKey)> {
    let present = allocator.allocations().filter(|(key, _)| {
        let seen = cluster.services().get(*key);
        seen.is_some_and(|seen| seen.spec.service_type == ServiceType::LoadBalancer)
    });
    present.flat_map(|(key, held)| held.addresses.iter().map(move |ip| (ip, key)))
}
