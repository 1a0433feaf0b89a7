//! Objects of files taken away from a cluster.

use std::collections::BTreeSet;

use lb_core::ids::{NodeName, ServiceKey};

use super::Manifests;
use crate::{
    k8s::watch::Change,
    source::{
        files::ObjectId,
        kubernetes::{Cluster, Kind, ObjectName, Seen},
    },
};

/// What a watch says of an object that has gone.
type Gone<V> = Change<Option<(ObjectName, V)>>;

impl Manifests {
    /// Takes all objects away, and those that a namespace has with it. Returns those that are not there.
    pub fn delete(&self, cluster: &mut Cluster) -> Vec<String> {
        self.delete_but(&Self::default(), cluster)
    }

    /// The same without the objects that `kept` has too.
    pub fn delete_but(&self, kept: &Self, cluster: &mut Cluster) -> Vec<String> {
        let kept = kept.ids();
        let ids: Vec<&ObjectId> = self.ids().into_iter().filter(|id| !kept.contains(id)).collect();
        let missing = ids.into_iter().filter(|id| !delete(cluster, id));
        missing.map(ToString::to_string).collect()
    }

    fn ids(&self) -> BTreeSet<&ObjectId> {
        self.readings.iter().flat_map(|reading| &reading.objects).map(|object| &object.id).collect()
    }
}

/// Takes an object away; tells whether it was there.
fn delete(cluster: &mut Cluster, id: &ObjectId) -> bool {
    match id {
        ObjectId::Service(key) => service(cluster, key),
        ObjectId::Other { kind: "Namespace", name, .. } => namespace(cluster, name),
        ObjectId::Other { kind: "Node", name, .. } => {
            let Ok(name) = NodeName::new(name) else { return false };
            let Some(node) = cluster.nodes().get(&name).cloned() else { return false };
            cluster.apply(Seen::Node(Change::Deleted(Some((name, node)))))
        }
        ObjectId::Other { kind, namespace, name } => {
            let kinds = [Kind::Pool, Kind::Advertisement, Kind::ConfigMap, Kind::EndpointSlice];
            let kind = kinds.into_iter().find(|known| known.name() == *kind);
            let called = |kind| ObjectName { kind, namespace: namespace.clone(), name: name.clone() };
            kind.is_some_and(|kind| object(cluster, &called(kind)))
        }
    }
}

fn service(cluster: &mut Cluster, key: &ServiceKey) -> bool {
    let known = cluster.services().get(key).or_else(|| cluster.unreadable().get(key)).cloned();
    known.is_some_and(|seen| cluster.apply(Seen::Service(Change::Deleted(Some((key.clone(), seen))))))
}

fn object(cluster: &mut Cluster, name: &ObjectName) -> bool {
    fn gone<V: Clone>(name: &ObjectName, value: Option<&V>) -> Option<Gone<V>> {
        Some(Change::Deleted(Some((name.clone(), value?.clone()))))
    }
    let seen = match name.kind {
        Kind::Pool => gone(name, cluster.pools().get(name)).map(Seen::Pool),
        Kind::Advertisement => gone(name, cluster.advertisements().get(name)).map(Seen::Advertisement),
        Kind::ConfigMap => gone(name, cluster.config_maps().get(name)).map(Seen::ConfigMap),
        Kind::EndpointSlice => gone(name, cluster.slices().get(name)).map(Seen::EndpointSlice),
        Kind::Service
        | Kind::Namespace
        | Kind::Node
        | Kind::Lease
        | Kind::BgpPeer
        | Kind::BgpAdvertisement
        | Kind::BfdProfile
        | Kind::Community
        | Kind::State => None,
    };
    seen.is_some_and(|seen| cluster.apply(seen))
}

/// The namespace and everything in it.
fn namespace(cluster: &mut Cluster, name: &str) -> bool {
    let services = cluster.services().keys().chain(cluster.unreadable().keys());
    let services: Vec<ServiceKey> = services.filter(|key| key.namespace() == name).cloned().collect();
    for key in &services {
        service(cluster, key);
    }
    let configured = cluster.pools().keys().chain(cluster.advertisements().keys());
    let configured = configured.chain(cluster.config_maps().keys());
    let configured: Vec<ObjectName> = configured.filter(|object| object.namespace == name).cloned().collect();
    for called in &configured {
        object(cluster, called);
    }
    let Some(labels) = cluster.namespace_labels(name).cloned() else { return false };
    cluster.apply(Seen::Namespace(Change::Deleted(Some((name.into(), labels.into())))))
}
