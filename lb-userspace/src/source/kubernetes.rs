//! Where objects come from in a cluster: watches of an API server.
//!
//! ```text
//! API server ══ watches ══> Seen ── apply ──> Cluster (lb-core's values, by kind and name) ──> controller
//! ```
//!
//! [`Watches`] is the stream of everything that happens, [`Cluster`] what is the case. An object is turned into
//! lb-core's values when it arrives, and only these are kept: memory follows what decisions look at. An object that
//! can't be read is kept as a problem with its name; nothing else waits for it.

mod cluster;
mod configuration;
#[cfg(test)]
pub(crate) mod fixture;
mod look;
mod object;
mod shelf;
mod watches;
mod watching;

/// The way to an API server.
pub use kube::Client;

pub use cluster::{Cluster, Seen, State};
pub use configuration::{Configuration, InForce};
pub use look::{LookError, look};
pub use object::{
    Item, Meta, SeenConfig, SeenIngress, SeenPool, SeenService, SeenSlice, SeenState, Unserved,
};
/// From objects of the API to what is kept of them.
pub mod read {
    pub use super::object::{
        advertisement, config_map, endpoint_slice, lease, namespace, node, pool, service, state,
    };
}
pub use shelf::{Listed, Shelf};
pub use watches::{Settings, Watches};
pub use watching::Watching;

/// A kind that is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `Service`.
    Service,
    /// `Namespace`.
    Namespace,
    /// `Node`.
    Node,
    /// `EndpointSlice`.
    EndpointSlice,
    /// `Lease` of an agent.
    Lease,
    /// `IPAddressPool`.
    Pool,
    /// `L2Advertisement`.
    Advertisement,
    /// The v0.9 `ConfigMap`.
    ConfigMap,
    /// `BGPPeer`.
    BgpPeer,
    /// `BGPAdvertisement`.
    BgpAdvertisement,
    /// `BFDProfile`.
    BfdProfile,
    /// `Community`.
    Community,
    /// `ConfigurationState`, the controller's own.
    State,
}

impl Kind {
    /// Those that a controller watches.
    pub const OF_CONTROLLER: [Self; 11] = [
        Self::Service,
        Self::Namespace,
        Self::Node,
        Self::Pool,
        Self::Advertisement,
        Self::ConfigMap,
        Self::BgpPeer,
        Self::BgpAdvertisement,
        Self::BfdProfile,
        Self::Community,
        Self::State,
    ];

    /// Those that both decide from.
    pub const OF_READER: [Self; 8] = [
        Self::Service,
        Self::Namespace,
        Self::Node,
        Self::EndpointSlice,
        Self::Lease,
        Self::Pool,
        Self::Advertisement,
        Self::ConfigMap,
    ];

    /// Those that an agent watches.
    pub const OF_AGENT: [Self; 7] = [
        Self::Service,
        Self::Node,
        Self::EndpointSlice,
        Self::Lease,
        Self::Pool,
        Self::Advertisement,
        Self::ConfigMap,
    ];

    /// `kind` of its objects.
    pub fn name(self) -> &'static str {
        match self {
            Self::Service => "Service",
            Self::Namespace => "Namespace",
            Self::Node => "Node",
            Self::EndpointSlice => "EndpointSlice",
            Self::Lease => "Lease",
            Self::Pool => "IPAddressPool",
            Self::Advertisement => "L2Advertisement",
            Self::ConfigMap => "ConfigMap",
            Self::BgpPeer => "BGPPeer",
            Self::BgpAdvertisement => "BGPAdvertisement",
            Self::BfdProfile => "BFDProfile",
            Self::Community => "Community",
            Self::State => "ConfigurationState",
        }
    }

    /// What its objects are called in rights and by `kubectl get`.
    pub fn resource(self) -> &'static str {
        match self {
            Self::Service => "services",
            Self::Namespace => "namespaces",
            Self::Node => "nodes",
            Self::EndpointSlice => "endpointslices.discovery.k8s.io",
            Self::Lease => "leases.coordination.k8s.io",
            Self::Pool => "ipaddresspools.metallb.io",
            Self::Advertisement => "l2advertisements.metallb.io",
            Self::ConfigMap => "configmaps",
            Self::BgpPeer => "bgppeers.metallb.io",
            Self::BgpAdvertisement => "bgpadvertisements.metallb.io",
            Self::BfdProfile => "bfdprofiles.metallb.io",
            Self::Community => "communities.metallb.io",
            Self::State => "configurationstates.metallb.io",
        }
    }

    /// `apiVersion` of its objects, as events name them.
    pub fn api_version(self) -> &'static str {
        match self {
            Self::Service | Self::Namespace | Self::Node | Self::ConfigMap => "v1",
            Self::EndpointSlice => "discovery.k8s.io/v1",
            Self::Lease => "coordination.k8s.io/v1",
            Self::BgpPeer => "metallb.io/v1beta2",
            Self::Pool
            | Self::Advertisement
            | Self::BgpAdvertisement
            | Self::BfdProfile
            | Self::Community
            | Self::State => crate::k8s::crd::API_VERSION,
        }
    }
}

/// Kind, namespace and name of an object that is no Service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectName {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace; empty for kinds without one.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl std::fmt::Display for ObjectName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = self.kind.name();
        if self.namespace.is_empty() {
            write!(f, "{kind} {}", self.name)
        } else {
            write!(f, "{kind} {}/{}", self.namespace, self.name)
        }
    }
}
