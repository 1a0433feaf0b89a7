//! From everything a cluster says to what is announced and by whom.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use lb_core::addresses::Addresses;
use lb_core::eligibility::{Endpoint, Endpoints, Leaving, Node};
use lb_core::ids::{NodeName, ServiceKey};
use lb_core::membership::{Liveness, Membership, gone_at_a_glance};
use lb_core::plan::AnnouncedService;
use lb_core::request::ServiceType;

use super::snapshot::Saved;
use super::teller::Rivals;
use crate::source::decide::Decided;
use crate::source::kubernetes::{Cluster, Configuration, SeenService};
use crate::source::problem::Problem;

#[cfg(test)]
mod tests;

/// What the command line says of an agent's part in a cluster.
#[derive(Clone, Debug, Default)]
pub struct ClusterRules {
    /// Services of this class are ours, instead of those without one.
    pub lb_class: Option<String>,
    /// A node that is cordoned hands over what it owns.
    pub leaves_on_cordon: bool,
}

/// Decides, and remembers what is in force and who is there.
#[derive(Debug)]
pub(super) struct Decider {
    me: NodeName,
    lb_class: Option<String>,
    /// A node that is cordoned leaves.
    leaves_on_cordon: bool,
    configuration: Configuration,
    membership: Membership,
    services: Arc<BTreeMap<ServiceKey, AnnouncedService>>,
    uids: Arc<BTreeMap<ServiceKey, Arc<str>>>,
    /// Of which [`Cluster::services_generation`] the Services are.
    generation: Option<u64>,
    rivals: Rivals,
}

impl Decider {
    /// The Lease of the node `me` is renewed by `holder` and has this duration.
    pub(super) fn new(me: NodeName, holder: String, duration: Duration, rules: ClusterRules) -> Self {
        let ClusterRules { lb_class, leaves_on_cordon } = rules;
        Self {
            me: me.clone(),
            lb_class,
            leaves_on_cordon,
            configuration: Configuration::default(),
            membership: Membership::new(me, holder, duration),
            services: Arc::default(),
            uids: Arc::default(),
            generation: None,
            rivals: Rivals::default(),
        }
    }

    /// Knows what MetalLB announces; tells whether that is something else than before.
    pub(super) fn see_rivals(&mut self, rivals: Rivals) -> bool {
        let news = self.rivals != rivals;
        self.rivals = rivals;
        news
    }

    /// Knows what was in force before a restart: what is wrong stays as it was.
    pub(super) fn remember(&mut self, saved: &Saved) {
        self.configuration = saved.configuration();
        (self.services, self.uids) = (Arc::clone(&saved.services), Arc::clone(&saved.uids));
    }

    /// Forgets who is there: nothing was seen for a while.
    pub(super) fn forget_members(&mut self) {
        self.membership.forget();
        self.generation = None;
    }

    /// Knows who is heard on the network.
    pub(super) fn hear(&mut self, heard: BTreeSet<NodeName>) {
        self.membership.hear(heard);
    }

    /// When an agent lapses next.
    pub(super) fn next_lapse(&self) -> Option<Duration> {
        self.membership.next_lapse()
    }

    /// Until when this node owns what it hands over.
    pub(super) fn leaves_at(&self) -> Option<Duration> {
        self.membership.leaves_at()
    }

    /// Why this node is to hand over what it owns.
    pub(super) fn leaving(&self, cluster: &Cluster) -> Option<Leaving> {
        let leaving = cluster.nodes().get(&self.me)?.leaving;
        leaving.filter(|leaving| *leaving != Leaving::Cordoned || self.leaves_on_cordon)
    }

    /// Decides about everything anew; nothing before the own Lease is seen. Returns also who was judged dead, with the
    /// versions of their Leases. `now` is since any fixed origin.
    pub(super) fn decide(
        &mut self,
        cluster: &Cluster,
        now: Duration,
    ) -> (Option<Decided>, Vec<(NodeName, String)>) {
        self.membership.observe(cluster.leases(), now);
        let lapsed = self.membership.judge();
        let joined = self.membership.is_joined();
        if joined {
            self.membership.leave(self.leaving(cluster).is_some(), now);
        }
        (joined.then(|| self.decided(cluster, now)), lapsed)
    }

    /// What an agent that has been there all the while would go by, whoever asks; for people, and only as good as the Leases:
    /// how nodes hear each other is not in the cluster.
    pub(super) fn glance(&mut self, cluster: &Cluster) -> Decided {
        let now = Duration::ZERO;
        self.membership.observe(cluster.leases(), now);
        let mut decided = self.decided(cluster, now);
        for node in gone_at_a_glance(cluster.leases()) {
            if let Some(node) = decided.nodes.get_mut(&node) {
                node.alive = false;
            }
        }
        decided
    }

    fn decided(&mut self, cluster: &Cluster, now: Duration) -> Decided {
        self.configuration.settle(cluster, in_use(cluster));
        // Leases change all the time, and there may be many Services.
        let generation = Some(cluster.services_generation());
        if std::mem::replace(&mut self.generation, generation) != generation {
            // Most changes are of Services that are none of ours, and of slices that say the same.
            let services = self.services(cluster);
            renew(&mut self.services, services);
            let uid = |key: &ServiceKey| {
                let seen = cluster.services().get(key).or_else(|| cluster.unreadable().get(key))?;
                Some((key.clone(), Arc::clone(&seen.meta.uid)))
            };
            let uids = self.services.keys().filter_map(uid).collect();
            renew(&mut self.uids, uids);
        }
        let nodes = self.nodes(cluster, now);
        let config = Arc::clone(self.configuration.config());
        let problems = self.problems(cluster);
        let mut decided = Decided::of_cluster(config, Arc::clone(&self.services), nodes, problems);
        (decided.uids, decided.objects) = (Arc::clone(&self.uids), self.configuration.in_force());
        decided.object_uids = object_uids(cluster);
        decided.rivals = Arc::new(self.rival_addresses());
        decided
    }

    /// Everything that is wrong with the objects.
    fn problems(&self, cluster: &Cluster) -> Vec<Problem> {
        let of_objects = self.configuration.problems().iter().map(|(_, problem)| problem.clone());
        let of_services = cluster.unreadable().values().filter_map(|seen| seen.unreadable.clone());
        let is_missing = !cluster.nodes().contains_key(&self.me);
        let missing = is_missing.then(|| Problem::not_among_nodes(&self.me));
        of_objects.chain(of_services).chain(missing).collect()
    }

    /// Services of our class with addresses. One that can't be read any more stays as it was.
    fn services(&self, cluster: &Cluster) -> BTreeMap<ServiceKey, AnnouncedService> {
        let mut endpoints: BTreeMap<&ServiceKey, Vec<&Endpoint>> = BTreeMap::new();
        for slice in cluster.slices().values() {
            endpoints.entry(&slice.service).or_default().extend(&slice.endpoints);
        }
        let announced = cluster.services().iter().filter_map(|(key, seen)| {
            let addresses = seen.held().filter(|_| self.is_ours(seen))?;
            let endpoints = endpoints.remove(key).into_iter().flatten().cloned();
            Some((
                key.clone(),
                AnnouncedService::new(&seen.spec, addresses, Endpoints::from_endpoints(endpoints)),
            ))
        });
        let before = cluster.unreadable().keys();
        let before = before.filter_map(|key| Some((key.clone(), self.services.get(key)?.clone())));
        announced.chain(before).collect()
    }

    /// All addresses of the Services that MetalLB announces: the unit is the address.
    fn rival_addresses(&self) -> BTreeMap<IpAddr, NodeName> {
        let rivals = self.rivals.iter().flat_map(|(service, node)| {
            let addresses = self.services.get(service).into_iter().flat_map(|service| &service.ingress);
            addresses.map(|ip| (*ip, node.clone()))
        });
        rivals.collect()
    }

    fn is_ours(&self, seen: &SeenService) -> bool {
        seen.spec.service_type == ServiceType::LoadBalancer && seen.spec.has_class(self.lb_class.as_deref())
    }

    /// All nodes, and whether their agents are there.
    fn nodes(&self, cluster: &Cluster, now: Duration) -> BTreeMap<NodeName, Node> {
        let liveness: &dyn Liveness = &self.membership;
        let node = |(name, node): (&NodeName, &Node)| {
            let node = Node {
                alive: liveness.is_alive(name),
                links: self.membership.links(name, now).cloned(),
                reports: self.membership.reports(name).to_vec(),
                ..node.clone()
            };
            (name.clone(), node)
        };
        cluster.nodes().iter().map(node).collect()
    }
}

/// Shares the value that was there if it is equal.
fn renew<T: PartialEq>(shared: &mut Arc<T>, value: T) {
    if **shared != value {
        *shared = Arc::new(value);
    }
}

/// Identities of the objects that advertisements are made of.
fn object_uids(cluster: &Cluster) -> BTreeMap<String, Arc<str>> {
    let advertisements = cluster.advertisements().iter().map(|(name, seen)| (name, &seen.meta));
    let maps = cluster.config_maps().iter().map(|(name, seen)| (name, &seen.meta));
    advertisements.chain(maps).map(|(name, meta)| (name.to_string(), Arc::clone(&meta.uid))).collect()
}

/// The addresses that Services have by their statuses.
fn in_use(cluster: &Cluster) -> impl Iterator<Item = (IpAddr, &ServiceKey)> {
    let present =
        cluster.services().iter().filter(|(_, seen)| seen.spec.service_type == ServiceType::LoadBalancer);
    present.flat_map(|(key, seen)| seen.held().into_iter().flat_map(Addresses::iter).map(move |ip| (ip, key)))
}
