//! From everything a directory says to addresses.
//!
//! [`Decider`] remembers what must not be lost between two readings: the last good version of each pool and
//! advertisement, the last good v0.9 document, and who holds which address.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use lb_core::{
    addresses::Addresses,
    allocator::{Allocator, Decision},
    config::{Config, LastGood, LegacyConfig, RawAdvertisement, RawPool},
    eligibility::{Endpoints, Node},
    ids::{NodeName, ServiceKey},
    plan::AnnouncedService,
    problem::Place,
    request::{Rules, ServiceSpec, ServiceType},
};

use super::{
    files::Objects,
    problem::{ObjectError, Problem},
};

#[cfg(test)]
mod tests;

/// What a decision depends on besides the objects.
#[derive(Debug, Clone)]
pub struct Surroundings<'a> {
    /// This node.
    pub me: &'a NodeName,
    /// Addresses by which this machine is reached; they are never given out.
    pub own_addresses: &'a BTreeSet<IpAddr>,
    /// Rules that are the same for every Service.
    pub rules: &'a Rules,
}

/// What is to be announced, and why.
#[derive(Debug, Clone, Default)]
pub struct Decided {
    /// Pools and advertisements in force.
    pub config: Arc<Config>,
    /// A decision for each Service of our class that is of type `LoadBalancer`.
    pub decisions: BTreeMap<ServiceKey, Decision>,
    /// Services that hold addresses.
    pub services: Arc<BTreeMap<ServiceKey, AnnouncedService>>,
    /// All nodes; without Node objects just this one.
    pub nodes: BTreeMap<NodeName, Node>,
    /// Everything that is wrong, those of the files first.
    pub problems: Vec<Problem>,
    /// Whether every file could be read in whole.
    pub complete: bool,
}

/// Decides, and remembers.
#[derive(Debug, Default)]
pub struct Decider {
    last_good: LastGood,
    legacy: LegacyConfig,
    config: Arc<Config>,
    allocator: Allocator,
    restored: BTreeMap<ServiceKey, Addresses>,
}

impl Decider {
    /// Starts with the addresses that Services had before a restart.
    pub fn new(restored: BTreeMap<ServiceKey, Addresses>) -> Self {
        Self { restored, ..Self::default() }
    }

    /// Decides about everything anew; who holds an address keeps it as long as that is permitted.
    pub fn decide(&mut self, objects: &Objects, around: &Surroundings<'_>) -> Decided {
        let mut problems = objects.problems.clone();
        let nodes = nodes(objects, around.me, &mut problems);
        let listed = objects.nodes.values().flat_map(|node| node.addresses.iter().copied());
        let foreign: BTreeSet<IpAddr> = around.own_addresses.iter().copied().chain(listed).collect();
        let foreign: Vec<IpAddr> = foreign.into_iter().collect();
        self.configure(objects, &foreign, &mut problems);

        let mut specs = specs(objects);
        let mut decisions = self.allocator.reconcile(around.rules, &specs, &self.restored);
        if objects.complete {
            self.restored.retain(|key, _| specs.contains_key(key));
        }
        decisions.retain(|key, _| {
            specs.get(key).is_some_and(|spec| spec.service_type == ServiceType::LoadBalancer)
        });
        let mut services = BTreeMap::new();
        for (key, decision) in &decisions {
            let Some(spec) = specs.remove(key) else { continue };
            if let Some(error) = &decision.error {
                let place = objects.place(key).field(error.field(&spec));
                problems.push(Problem::new(place, lb_core::problem::Reason::from(error.clone())));
            }
            if let Some(allocation) = &decision.allocation {
                let endpoints = objects.endpoints.get(key).cloned().unwrap_or(Endpoints::Unknown);
                services.insert(key.clone(), AnnouncedService::new(&spec, allocation.addresses, endpoints));
            }
        }
        let config = Arc::clone(&self.config);
        let services = Arc::new(services);
        Decided { config, decisions, services, nodes, problems, complete: objects.complete }
    }

    /// Brings pools and advertisements up to date.
    fn configure(&mut self, objects: &Objects, foreign: &[IpAddr], problems: &mut Vec<Problem>) {
        match objects.legacy.as_deref() {
            None => self.legacy = LegacyConfig::default(),
            Some(Err(errors)) => problems.extend(errors.iter().cloned()),
            Some(Ok(written)) => {
                problems.extend(written.warnings.iter().cloned().map(Problem::from));
                match Config::validate_strict(&written.pools, &written.advertisements, foreign) {
                    Ok(_) => self.legacy = written.clone(),
                    Err(errors) => problems.extend(errors.into_iter().map(Problem::from)),
                }
            }
        }
        let mut pools: Vec<RawPool> = objects
            .pools
            .iter()
            .map(|p| RawPool::clone(p))
            .chain(self.legacy.pools.iter().cloned())
            .collect();
        // The first of two that overlap stays: one in force is not displaced by a file with a smaller name.
        pools.sort_by_key(|pool| !self.config.pools.keys().any(|name| name.as_str() == pool.name));
        let advertisements: Vec<RawAdvertisement> = objects
            .advertisements
            .iter()
            .map(|ad| RawAdvertisement::clone(ad))
            .chain(self.legacy.advertisements.iter().cloned())
            .collect();
        let (config, found) = self.last_good.validate(&pools, &advertisements, foreign);
        problems.extend(found.into_iter().map(Problem::from));
        if config != *self.config {
            self.allocator.reload(&config);
            self.config = Arc::new(config);
        }
    }
}

/// The Services with the labels of their namespaces.
fn specs(objects: &Objects) -> BTreeMap<ServiceKey, ServiceSpec> {
    let complete = |(key, service): (&ServiceKey, &super::files::SourcedService)| {
        let mut spec = ServiceSpec::clone(&service.spec);
        if let Some(labels) = objects.namespaces.get(key.namespace()) {
            spec.namespace_labels.clone_from(labels);
        }
        (key.clone(), spec)
    };
    objects.services.iter().map(complete).collect()
}

fn nodes(objects: &Objects, me: &NodeName, problems: &mut Vec<Problem>) -> BTreeMap<NodeName, Node> {
    if objects.nodes.is_empty() {
        return BTreeMap::from([(me.clone(), Node::default())]);
    }
    if !objects.nodes.contains_key(me) {
        let place =
            Place { object: format!("Node {me}"), field: "metadata.name".to_owned(), ..Place::default() };
        problems.push(Problem::new(place, ObjectError::NotAmongNodes { me: me.to_string() }));
    }
    objects.nodes.clone()
}
