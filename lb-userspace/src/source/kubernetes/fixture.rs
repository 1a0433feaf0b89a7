//! Objects as tests write them, in JSON, and as a watch shows them.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Cluster, Kind, Seen, object, read};
use crate::k8s::{crd, watch::Change};

/// As the watch of the kind shows it.
pub(crate) fn seen(kind: Kind, change: Change<Value>) -> Seen {
    fn parsed<T: DeserializeOwned>(value: Value) -> T {
        serde_json::from_value(value).unwrap()
    }
    match kind {
        Kind::Service => Seen::Service(change.map(|value| read::service(parsed(value)))),
        Kind::Namespace => Seen::Namespace(change.map(|value| read::namespace(parsed(value)))),
        Kind::Node => Seen::Node(change.map(|value| read::node(parsed(value)))),
        Kind::EndpointSlice => Seen::EndpointSlice(change.map(|value| read::endpoint_slice(parsed(value)))),
        Kind::Lease => Seen::Lease(change.map(|value| read::lease(parsed(value)))),
        Kind::Pool => Seen::Pool(change.map(|value| read::pool(parsed(value)))),
        Kind::Advertisement => Seen::Advertisement(change.map(|value| read::advertisement(parsed(value)))),
        Kind::ConfigMap => Seen::ConfigMap(change.map(|value| read::config_map(parsed(value)))),
        Kind::State => Seen::State(change.map(|value| read::state(parsed(value)))),
        // Of these only the metadata is read.
        Kind::BgpPeer | Kind::BgpAdvertisement | Kind::BfdProfile | Kind::Community => {
            let read = |value| object::unserved::<crd::BGPPeer>(kind, parsed(value));
            Seen::Unserved(kind, change.map(read))
        }
    }
}

/// Lists these objects, and no others of the kind.
pub(crate) fn list(cluster: &mut Cluster, kind: Kind, objects: &[Value]) {
    cluster.apply(seen(kind, Change::Listing));
    for object in objects {
        cluster.apply(seen(kind, Change::Listed(object.clone())));
    }
    cluster.apply(seen(kind, Change::Complete));
}

/// Shows an object as it is now.
pub(crate) fn put(cluster: &mut Cluster, kind: Kind, object: Value) {
    cluster.apply(seen(kind, Change::Applied(object)));
}
