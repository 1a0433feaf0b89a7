//! What is the case in a cluster.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use lb_core::{
    config::{LegacyConfig, RawAdvertisement},
    eligibility::Node,
    ids::{NodeName, ServiceKey},
    membership::Heartbeat,
    selector::Labels,
};

use super::{
    Kind, Listed, Meta, ObjectName, SeenConfig, SeenPool, SeenService, SeenSlice, SeenState, Shelf, Unserved,
    object::Item,
};
use crate::k8s::watch::Change;

#[cfg(test)]
mod tests;

type News<K, V> = Change<Item<K, V>>;

/// Something that happened to an object.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one at a time, and the largest is the most frequent")]
pub enum Seen {
    /// A Service.
    Service(News<ServiceKey, SeenService>),
    /// A namespace.
    Namespace(News<Arc<str>, Arc<Labels>>),
    /// A node.
    Node(News<NodeName, Node>),
    /// Endpoints of a Service.
    EndpointSlice(News<ObjectName, SeenSlice>),
    /// The Lease of an agent.
    Lease(News<NodeName, Heartbeat>),
    /// A pool.
    Pool(News<ObjectName, SeenPool>),
    /// An advertisement.
    Advertisement(News<ObjectName, SeenConfig<RawAdvertisement>>),
    /// The v0.9 `ConfigMap`.
    ConfigMap(News<ObjectName, SeenConfig<LegacyConfig>>),
    /// An object that has no effect.
    Unserved(Kind, News<ObjectName, Unserved>),
    /// The controller's own state.
    State(News<ObjectName, SeenState>),
}

/// How a watch does.
#[derive(Debug, Clone, Copy)]
pub enum State<'a> {
    /// It is interrupted, and tried again.
    Fails(&'a (dyn std::error::Error + 'static)),
    /// The API server does not have the kind.
    Absent,
    /// It begins, or begins anew.
    Begins,
    /// It shows objects.
    Works,
}

impl Seen {
    /// Of which kind it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Service(_) => Kind::Service,
            Self::Namespace(_) => Kind::Namespace,
            Self::Node(_) => Kind::Node,
            Self::EndpointSlice(_) => Kind::EndpointSlice,
            Self::Lease(_) => Kind::Lease,
            Self::Pool(_) => Kind::Pool,
            Self::Advertisement(_) => Kind::Advertisement,
            Self::ConfigMap(_) => Kind::ConfigMap,
            Self::Unserved(kind, _) => *kind,
            Self::State(_) => Kind::State,
        }
    }

    /// What it says of the watch it comes from.
    pub fn state(&self) -> State<'_> {
        fn of<T>(change: &Change<T>) -> State<'_> {
            match change {
                Change::Failed(error) => State::Fails(&**error),
                Change::Absent => State::Absent,
                Change::Listing => State::Begins,
                Change::Listed(_) | Change::Complete | Change::Applied(_) | Change::Deleted(_) => {
                    State::Works
                }
            }
        }
        match self {
            Self::Service(change) => of(change),
            Self::Namespace(change) => of(change),
            Self::Node(change) => of(change),
            Self::EndpointSlice(change) => of(change),
            Self::Lease(change) => of(change),
            Self::Pool(change) => of(change),
            Self::Advertisement(change) => of(change),
            Self::ConfigMap(change) => of(change),
            Self::Unserved(_, change) => of(change),
            Self::State(change) => of(change),
        }
    }
}

/// Everything that is known of a cluster.
#[derive(Debug, Default)]
pub struct Cluster {
    services: Shelf<ServiceKey, SeenService>,
    /// Services that can't be read; their addresses belong to them all the same.
    unreadable: BTreeMap<ServiceKey, SeenService>,
    namespaces: Shelf<Arc<str>, Arc<Labels>>,
    nodes: Shelf<NodeName, Node>,
    slices: Shelf<ObjectName, SeenSlice>,
    leases: Shelf<NodeName, Heartbeat>,
    pools: Shelf<ObjectName, SeenPool>,
    advertisements: Shelf<ObjectName, SeenConfig<RawAdvertisement>>,
    config_map: Shelf<ObjectName, SeenConfig<LegacyConfig>>,
    unserved: BTreeMap<Kind, Shelf<ObjectName, Unserved>>,
    state: Shelf<ObjectName, SeenState>,
    /// Grows whenever something changes that a configuration is made of.
    generation: u64,
    /// Grows whenever a Service or an endpoint changes.
    services_generation: u64,
    /// Namespaces whose labels the Services do not have yet; `None`: all.
    stale: Option<BTreeSet<Arc<str>>>,
}

impl Cluster {
    /// Enters what happened; tells whether anything is different now.
    pub fn apply(&mut self, seen: Seen) -> bool {
        match seen {
            Seen::Service(change) => {
                let changed = self.apply_service(change);
                self.services_generation += u64::from(changed);
                changed
            }
            Seen::Namespace(change) => {
                match (&change, &mut self.stale) {
                    (Change::Applied(Some((name, _))) | Change::Deleted(Some((name, _))), Some(stale)) => {
                        stale.insert(Arc::clone(name));
                    }
                    _ => self.stale = None,
                }
                self.namespaces.apply(change)
            }
            Seen::Node(change) => self.configures(|cluster| cluster.nodes.apply(change)),
            Seen::EndpointSlice(change) => {
                let changed = self.slices.apply(change);
                self.services_generation += u64::from(changed);
                changed
            }
            Seen::Lease(change) => self.leases.apply(change),
            Seen::Pool(change) => {
                // A status that changes is no change of the configuration; it is cheap to look again.
                self.configures(|cluster| cluster.pools.apply(change))
            }
            Seen::Advertisement(change) => self.configures(|cluster| cluster.advertisements.apply(change)),
            Seen::ConfigMap(change) => self.configures(|cluster| cluster.config_map.apply(change)),
            Seen::Unserved(kind, change) => self.unserved.entry(kind).or_default().apply(change),
            Seen::State(change) => self.state.apply(change),
        }
    }

    /// Enters the answer to a write; tells whether anything is different now. Watches may have shown more meanwhile: an
    /// object that is gone or was made anew stays as they show it, and a later version too.
    pub fn answer(&mut self, seen: Seen) -> bool {
        fn is_news(known: Option<&Meta>, answer: &Meta) -> bool {
            known.is_some_and(|known| known.uid == answer.uid && answer.is_later_than(known))
        }
        let is_news = if let Seen::Service(Change::Applied(Some((key, answer)))) = &seen {
            let known = self.services.objects().get(key).or_else(|| self.unreadable.get(key));
            is_news(known.map(|known| &known.meta), &answer.meta)
        } else if let Seen::Pool(Change::Applied(Some((name, answer)))) = &seen {
            is_news(self.meta(name), &answer.meta)
        } else if let Seen::State(Change::Applied(Some((name, answer)))) = &seen {
            is_news(self.meta(name), &answer.meta)
        } else {
            false
        };
        is_news && self.apply(seen)
    }

    fn configures(&mut self, apply: impl FnOnce(&mut Self) -> bool) -> bool {
        let changed = apply(self);
        self.generation += u64::from(changed);
        changed
    }

    fn apply_service(&mut self, change: News<ServiceKey, SeenService>) -> bool {
        match change {
            Change::Applied(Some((key, seen))) => self.put_service(key, seen),
            Change::Deleted(Some((key, seen))) => {
                let unread = self.unreadable.remove(&key).is_some();
                self.services.apply(Change::Deleted(Some((key, seen)))) || unread
            }
            Change::Complete => {
                // One that can't be read may be gone: that is a change too.
                self.services.objects_mut().append(&mut self.unreadable);
                let changed = self.services.apply(Change::Complete);
                let all = std::mem::take(self.services.objects_mut());
                let (good, bad) = all.into_iter().partition(|(_, seen)| seen.unreadable.is_none());
                *self.services.objects_mut() = good;
                self.unreadable = bad;
                self.stale = None;
                changed
            }
            other @ (Change::Listing
            | Change::Listed(_)
            | Change::Applied(None)
            | Change::Deleted(None)
            | Change::Absent
            | Change::Failed(_)) => self.services.apply(other),
        }
    }

    /// Enters a Service, unless a later version is known.
    pub fn put_service(&mut self, key: ServiceKey, seen: SeenService) -> bool {
        let known = self.services.objects().get(&key).or_else(|| self.unreadable.get(&key));
        if known.is_some_and(|known| known.meta == seen.meta || !seen.meta.is_later_than(&known.meta)) {
            return false;
        }
        self.enter_service(key, seen)
    }

    /// Enters a Service as it might be, whatever version of it is known.
    pub fn suppose(&mut self, key: ServiceKey, seen: SeenService) -> bool {
        let changed = self.enter_service(key, seen);
        self.services_generation += u64::from(changed);
        changed
    }

    fn enter_service(&mut self, key: ServiceKey, seen: SeenService) -> bool {
        if let Some(stale) = &mut self.stale {
            stale.insert(key.namespace().into());
        }
        if seen.unreadable.is_some() {
            self.services.objects_mut().remove(&key);
            self.unreadable.insert(key, seen);
            return true;
        }
        self.unreadable.remove(&key);
        self.services.put(key, seen)
    }

    /// Gives Services the labels of their namespaces.
    pub fn dress(&mut self) {
        let stale = self.stale.replace(BTreeSet::new());
        if stale.as_ref().is_some_and(BTreeSet::is_empty) {
            return;
        }
        let none = Arc::new(Labels::new());
        for (key, seen) in self.services.objects_mut() {
            if stale.as_ref().is_some_and(|stale| !stale.contains(key.namespace())) {
                continue;
            }
            let labels = self.namespaces.objects().get(key.namespace()).unwrap_or(&none);
            if seen.spec.namespace_labels != **labels {
                seen.spec.namespace_labels = Labels::clone(labels);
            }
        }
    }

    /// Whether the namespace of a Service has been seen. What its labels permit is not known before.
    pub fn has_namespace(&self, service: &ServiceKey) -> bool {
        self.namespaces.objects().contains_key(service.namespace())
    }

    /// The labels of a namespace that has been seen.
    pub fn namespace_labels(&self, name: &str) -> Option<&Labels> {
        self.namespaces.objects().get(name).map(|labels| &**labels)
    }

    /// Those of these kinds of which the first list is missing.
    pub fn missing(&self, kinds: &[Kind]) -> Vec<Kind> {
        kinds.iter().copied().filter(|kind| self.listed(*kind) == Listed::No).collect()
    }

    /// Whether the objects of a kind are known.
    pub fn listed(&self, kind: Kind) -> Listed {
        match kind {
            Kind::Service => self.services.listed(),
            Kind::Namespace => self.namespaces.listed(),
            Kind::Node => self.nodes.listed(),
            Kind::EndpointSlice => self.slices.listed(),
            Kind::Lease => self.leases.listed(),
            Kind::Pool => self.pools.listed(),
            Kind::Advertisement => self.advertisements.listed(),
            Kind::ConfigMap => self.config_map.listed(),
            Kind::BgpPeer | Kind::BgpAdvertisement | Kind::BfdProfile | Kind::Community => {
                self.unserved.get(&kind).map(Shelf::listed).unwrap_or_default()
            }
            Kind::State => self.state.listed(),
        }
    }

    /// Services that can be read.
    pub fn services(&self) -> &BTreeMap<ServiceKey, SeenService> {
        self.services.objects()
    }

    /// Services that can't.
    pub fn unreadable(&self) -> &BTreeMap<ServiceKey, SeenService> {
        &self.unreadable
    }

    /// Pools.
    pub fn pools(&self) -> &BTreeMap<ObjectName, SeenPool> {
        self.pools.objects()
    }

    /// Advertisements.
    pub fn advertisements(&self) -> &BTreeMap<ObjectName, SeenConfig<RawAdvertisement>> {
        self.advertisements.objects()
    }

    /// The v0.9 `ConfigMap`, if it is there.
    pub fn config_maps(&self) -> &BTreeMap<ObjectName, SeenConfig<LegacyConfig>> {
        self.config_map.objects()
    }

    /// Objects that have no effect.
    pub fn unserved(&self) -> impl Iterator<Item = (&ObjectName, &Unserved)> {
        self.unserved.values().flat_map(Shelf::objects)
    }

    /// What the controller said last.
    pub fn state(&self) -> Option<&SeenState> {
        self.state.objects().values().next()
    }

    /// Nodes.
    pub fn nodes(&self) -> &BTreeMap<NodeName, Node> {
        self.nodes.objects()
    }

    /// Endpoints of Services.
    pub fn slices(&self) -> &BTreeMap<ObjectName, SeenSlice> {
        self.slices.objects()
    }

    /// Leases of agents.
    pub fn leases(&self) -> &BTreeMap<NodeName, Heartbeat> {
        self.leases.objects()
    }

    /// Addresses of the nodes.
    pub fn node_addresses(&self) -> BTreeSet<IpAddr> {
        self.nodes.objects().values().flat_map(|node| &node.addresses).copied().collect()
    }

    /// Another number after every change of pools, advertisements, the v0.9 `ConfigMap` or nodes.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Another number after every change of Services or endpoints.
    pub fn services_generation(&self) -> u64 {
        self.services_generation
    }

    /// Which version of an object is known.
    pub fn meta(&self, name: &ObjectName) -> Option<&Meta> {
        match name.kind {
            Kind::Pool => self.pools().get(name).map(|seen| &seen.meta),
            Kind::Advertisement => self.advertisements().get(name).map(|seen| &seen.meta),
            Kind::ConfigMap => self.config_maps().get(name).map(|seen| &seen.meta),
            Kind::State => self.state().map(|seen| &seen.meta),
            Kind::BgpPeer | Kind::BgpAdvertisement | Kind::BfdProfile | Kind::Community => {
                self.unserved.get(&name.kind)?.objects().get(name).map(|seen| &seen.meta)
            }
            Kind::Service | Kind::Namespace | Kind::Node | Kind::EndpointSlice | Kind::Lease => None,
        }
    }
}
