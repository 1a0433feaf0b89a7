//! From everything a directory says to addresses.
//!
//! [`Decider`] remembers what must not be lost between two readings: what is in force of each object, and who
//! holds which address.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use lb_core::{
    addresses::Addresses,
    allocator::{Allocator, Decision},
    config::{
        Config,
        in_force::{Candidate, Settled, Stands, settle},
    },
    eligibility::{Endpoint, Endpoints, Node},
    ids::{NodeName, ServiceKey},
    plan::AnnouncedService,
    problem::Place,
    request::{Rules, ServiceSpec, ServiceType},
    selector::Labels,
};

use super::{
    files::{Content, Files, ObjectId},
    in_force::{Choice, Held, InForce, at},
    kubernetes,
    problem::Problem,
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
    /// Everything that is wrong, in order of file name and document.
    pub problems: Vec<Problem>,
    /// `metadata.uid` of Services in a cluster.
    pub uids: Arc<BTreeMap<ServiceKey, Arc<str>>>,
    /// The objects that `config` is made of, in a cluster.
    pub objects: Arc<Vec<kubernetes::InForce>>,
    /// Addresses that MetalLB announces in the cluster, and from which node.
    pub rivals: Arc<BTreeMap<IpAddr, NodeName>>,
    /// All this was decided before a restart: of these addresses only this node may be the owner.
    pub only: Option<Arc<BTreeSet<IpAddr>>>,
    /// `metadata.uid` of objects that may name what is not there, by kind and name as a problem has them.
    pub object_uids: BTreeMap<String, Arc<str>>,
    /// What is written of these Services is wrong, and what they were before stays in force.
    pub refused: BTreeMap<ServiceKey, String>,
    /// Services that are not there and may be in a file that can't be read: their statuses are kept.
    pub uncertain: BTreeSet<ServiceKey>,
    in_force: InForce,
}

/// Decides, and remembers.
#[derive(Debug, Default)]
pub struct Decider {
    in_force: InForce,
    config: Arc<Config>,
    allocator: Allocator,
    /// The addresses of Services: what was written to their statuses.
    addresses: BTreeMap<ServiceKey, Addresses>,
}

/// The objects in force by kind.
#[derive(Debug, Default)]
struct Objects {
    specs: BTreeMap<ServiceKey, ServiceSpec>,
    nodes: BTreeMap<NodeName, Node>,
    endpoints: BTreeMap<ServiceKey, Endpoints>,
}

impl Decider {
    /// Starts with what was in force and the addresses that Services had before a restart.
    pub fn new(in_force: InForce, addresses: BTreeMap<ServiceKey, Addresses>) -> Self {
        Self { in_force, addresses, ..Self::default() }
    }

    /// Addresses that Services had before; those it knows better are left as they are.
    pub fn restore(&mut self, addresses: BTreeMap<ServiceKey, Addresses>) {
        for (service, addresses) in addresses {
            self.addresses.entry(service).or_insert(addresses);
        }
    }

    /// What is in force.
    pub fn in_force(&self) -> &InForce {
        &self.in_force
    }

    /// The addresses of all Services, also of those that may come back.
    pub fn addresses(&self) -> &BTreeMap<ServiceKey, Addresses> {
        &self.addresses
    }

    /// Decides about everything anew; who holds an address keeps it as long as that is permitted.
    pub fn decide(&mut self, files: &Files, around: &Surroundings<'_>) -> Decided {
        let choices = self.in_force.choose(files);
        let mut problems = choices.problems;
        let mut refused = BTreeMap::new();
        let (mut held, mut configuration) = (BTreeMap::new(), Vec::new());
        for (id, choice) in choices.objects {
            problems.extend(choice.told());
            if let (ObjectId::Service(key), Some(problem)) = (&id, choice.told().next()) {
                refused.insert(key.clone(), problem.to_string());
            }
            let form = choice.written.clone().or_else(|| choice.former.clone());
            match form {
                Some(form) if form.piece().is_some() => configuration.push((id, choice)),
                Some(form) => {
                    held.insert(id, choice.into_held(form));
                }
                // A part of the configuration that was never good.
                None if is_configuration(&id) => configuration.push((id, choice)),
                None => {}
            }
        }
        let objects = Objects::new(&held);
        let nodes = objects.nodes_or(around.me, &mut problems);
        let listed = objects.nodes.values().flat_map(|node| node.addresses.iter().copied());
        let foreign: BTreeSet<IpAddr> = around.own_addresses.iter().copied().chain(listed).collect();
        let settled = self.configure(&objects.specs, &foreign, configuration, &mut held);
        let in_doubt = !choices.complete || settled.stands.contains(&Stands::Nothing);
        problems.extend(settled.problems.into_iter().map(Problem::from));
        self.forget(&held, &objects.specs, choices.complete);
        self.in_force = InForce::new(held);
        let rules = Rules { pools_in_doubt: in_doubt, ..around.rules.clone() };
        let mut decided = self.allocate(&rules, objects, &mut problems);
        problems.sort_by(|a, b| {
            let order = |p: &Problem| (p.place.file.clone(), p.place.document);
            order(a).cmp(&order(b))
        });
        refused.retain(|key, _| decided.decisions.contains_key(key));
        (decided.nodes, decided.problems, decided.refused) = (nodes, problems, refused);
        decided
    }

    /// Brings pools and advertisements up to date, and enters their forms that are in force.
    fn configure(
        &mut self,
        specs: &BTreeMap<ServiceKey, ServiceSpec>,
        foreign: &BTreeSet<IpAddr>,
        configuration: Vec<(ObjectId, Choice)>,
        held: &mut BTreeMap<ObjectId, Held>,
    ) -> Settled {
        let piece = |content: &Option<Content>| content.as_ref().and_then(Content::piece);
        let candidates: Vec<Candidate> = configuration
            .iter()
            .map(|(_, choice)| Candidate { written: piece(&choice.written), former: piece(&choice.former) })
            .collect();
        let foreign: Vec<IpAddr> = foreign.iter().copied().collect();
        let present = self.addresses.iter().filter(|(key, _)| {
            specs.get(*key).is_some_and(|spec| spec.service_type == ServiceType::LoadBalancer)
        });
        let in_use = present.flat_map(|(key, ips)| ips.iter().map(|ip| (ip, key.clone()))).collect();
        let settled = settle(&candidates, &foreign, &in_use);
        for ((id, mut choice), stands) in configuration.into_iter().zip(&settled.stands) {
            let form = match stands {
                Stands::Written => choice.written.take(),
                Stands::Former => choice.former.take(),
                Stands::Nothing => None,
            };
            if let Some(form) = form {
                held.insert(id, choice.into_held(form));
            }
        }
        if settled.config != *self.config {
            self.allocator.reload(&settled.config);
            self.config = Arc::new(settled.config.clone());
        }
        settled
    }

    /// Forgets the addresses of Services that were removed: those that were in force and are not any more and,
    /// where everything could be read, all that are not there.
    fn forget(
        &mut self,
        held: &BTreeMap<ObjectId, Held>,
        specs: &BTreeMap<ServiceKey, ServiceSpec>,
        complete: bool,
    ) {
        for (id, _) in self.in_force.objects() {
            if let ObjectId::Service(key) = id
                && !held.contains_key(id)
            {
                self.addresses.remove(key);
            }
        }
        if complete {
            self.addresses.retain(|key, _| specs.contains_key(key));
        }
    }

    fn allocate(&mut self, rules: &Rules, objects: Objects, problems: &mut Vec<Problem>) -> Decided {
        let Objects { mut specs, mut endpoints, .. } = objects;
        let mut decisions = self.allocator.reconcile(rules, &specs, &self.addresses);
        decisions.retain(|key, _| {
            specs.get(key).is_some_and(|spec| spec.service_type == ServiceType::LoadBalancer)
        });
        let uncertain = self.addresses.keys().filter(|key| !specs.contains_key(*key)).cloned().collect();
        self.addresses.retain(|key, _| !specs.contains_key(key));
        let mut services = BTreeMap::new();
        for (key, decision) in &decisions {
            let Some(spec) = specs.remove(key) else { continue };
            if let Some(error) = &decision.error {
                let waits = decision.awaiting.is_some();
                let field = if waits { "status.loadBalancer.ingress" } else { error.field(&spec) };
                let place = place(&self.in_force, key).field(field);
                problems.push(Problem::new(place, lb_core::problem::Reason::from(error.clone())));
            }
            let held = decision.allocation.as_ref().map(|allocation| allocation.addresses);
            if let Some(addresses) = held.or(decision.awaiting) {
                self.addresses.insert(key.clone(), addresses);
            }
            if let Some(addresses) = held {
                let endpoints = endpoints.remove(key).unwrap_or(Endpoints::Unknown);
                services.insert(key.clone(), AnnouncedService::new(&spec, addresses, endpoints));
            }
        }
        let (config, in_force) = (Arc::clone(&self.config), self.in_force.clone());
        Decided { config, decisions, services: Arc::new(services), uncertain, in_force, ..Decided::default() }
    }
}

impl Decided {
    /// What is to be announced in a cluster, where the controller gives the addresses.
    pub fn of_cluster(
        config: Arc<Config>,
        services: Arc<BTreeMap<ServiceKey, AnnouncedService>>,
        nodes: BTreeMap<NodeName, Node>,
        problems: Vec<Problem>,
    ) -> Self {
        Self { config, services, nodes, problems, ..Self::default() }
    }

    /// Whether everything is in force as it is written.
    pub fn is_valid(&self) -> bool {
        self.problems.iter().all(Problem::is_warning)
    }

    /// Whether nothing else is to be announced than by `other`.
    pub fn is_like(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.config, &other.config)
            && Arc::ptr_eq(&self.services, &other.services)
            && self.nodes == other.nodes
            && self.rivals == other.rivals
            && Arc::ptr_eq(&self.uids, &other.uids)
            && self.object_uids == other.object_uids
            && self.problems == other.problems
    }

    /// Adds file and document to a problem with a Service that a plan found, and turns it into one of ours.
    pub fn located(&self, problem: lb_core::problem::Problem) -> Problem {
        let mut problem = Problem::from(problem);
        if problem.place.file.is_none()
            && let Some(key) = problem.place.service_key()
        {
            problem.place = place(&self.in_force, &key).field(std::mem::take(&mut problem.place.field));
        }
        problem
    }
}

/// Where a Service is written; a Service that is not there has a place without a file.
fn place(in_force: &InForce, key: &ServiceKey) -> Place {
    let object = Place::service(key).object;
    match in_force.get(&ObjectId::Service(key.clone())) {
        Some(held) => Place { object, ..at(&held.file, held.document) },
        None => Place::service(key),
    }
}

fn is_configuration(id: &ObjectId) -> bool {
    match id {
        ObjectId::Service(_) => false,
        ObjectId::Other { kind, .. } => matches!(*kind, "IPAddressPool" | "L2Advertisement" | "ConfigMap"),
    }
}

impl Objects {
    /// Everything but pools and advertisements; Services with the labels of their namespaces.
    fn new(held: &BTreeMap<ObjectId, Held>) -> Self {
        let mut objects = Self::default();
        let mut namespaces: BTreeMap<&str, &Labels> = BTreeMap::new();
        let mut endpoints: BTreeMap<&ServiceKey, Vec<Endpoint>> = BTreeMap::new();
        for (id, Held { content, .. }) in held {
            match (content, id) {
                (Content::Service(spec), ObjectId::Service(key)) => {
                    objects.specs.insert(key.clone(), ServiceSpec::clone(spec));
                }
                (Content::Namespace(labels), ObjectId::Other { name, .. }) => {
                    namespaces.insert(name, labels);
                }
                (Content::Node(name, node), _) => {
                    objects.nodes.insert(name.clone(), Node::clone(node));
                }
                (Content::Endpoints(service, list), _) => {
                    endpoints.entry(service).or_default().extend(list.iter().cloned());
                }
                // The reader gives a Service the id of one, and everything else another.
                (Content::Pool(_) | Content::Advertisement(_) | Content::Legacy(_), _)
                | (Content::Service(_), ObjectId::Other { .. })
                | (Content::Namespace(_), ObjectId::Service(_)) => {}
            }
        }
        for (key, spec) in &mut objects.specs {
            if let Some(labels) = namespaces.get(key.namespace()) {
                spec.namespace_labels = Labels::clone(labels);
            }
        }
        let known =
            |(key, list): (&ServiceKey, Vec<Endpoint>)| (key.clone(), Endpoints::from_endpoints(list));
        objects.endpoints = endpoints.into_iter().map(known).collect();
        objects
    }

    /// All nodes; without Node objects just this one.
    fn nodes_or(&self, me: &NodeName, problems: &mut Vec<Problem>) -> BTreeMap<NodeName, Node> {
        if self.nodes.is_empty() {
            return BTreeMap::from([(me.clone(), Node::default())]);
        }
        if !self.nodes.contains_key(me) {
            problems.push(Problem::not_among_nodes(me));
        }
        self.nodes.clone()
    }
}
