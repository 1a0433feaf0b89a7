//! `BGPPeer`, v1beta1: the version before labels selectors and 32-bit AS numbers. It is read, stored as v1beta2,
//! and not served.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::{NoStatus, schema};

/// A BGP session.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "metallb.io",
    version = "v1beta1",
    kind = "BGPPeer",
    plural = "bgppeers",
    category = "metallb",
    doc = "A BGP session with a router. BareLB does not serve BGP: the object is accepted and has no effect.",
    namespaced,
    status = "NoStatus",
    derive = "PartialEq",
    deprecated = "v1beta1 is deprecated, please use v1beta2"
)]
#[serde(rename_all = "camelCase")]
pub struct BGPPeerSpec {
    /// Own AS number.
    #[serde(rename = "myASN")]
    #[schemars(range(min = 0, max = 65535))]
    pub my_asn: i64,
    /// AS number of the peer.
    #[serde(rename = "peerASN")]
    #[schemars(range(min = 0, max = 65535))]
    pub peer_asn: i64,
    /// Address of the peer.
    pub peer_address: String,
    /// Own address of the session.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source_address: String,
    /// TCP port of the peer; 179 if unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 16384))]
    pub peer_port: Option<i32>,
    /// Hold time, for example 90s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_time: Option<String>,
    /// Keepalive time, for example 30s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keepalive_time: Option<String>,
    /// Router id that is shown to the peer.
    #[serde(default, rename = "routerID", skip_serializing_if = "String::is_empty")]
    pub router_id: String,
    /// Nodes that have the session, any of the selectors; without one, all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::selectors")]
    pub node_selectors: Vec<LabelSelector>,
    /// Password of a session with TCP MD5 signatures.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub password: String,
    /// BFDProfile for the session.
    #[serde(default, rename = "bfdProfile", skip_serializing_if = "String::is_empty")]
    pub bfd_profile: String,
    /// The peer is some hops away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ebgp_multi_hop: Option<bool>,
}
