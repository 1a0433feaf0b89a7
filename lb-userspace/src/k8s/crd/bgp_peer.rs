//! `BGPPeer`, v1beta2: accepted and checked, not served.

use k8s_openapi::{api::core::v1::SecretReference, apimachinery::pkg::apis::meta::v1::LabelSelector};
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::{NoStatus, schema};

/// A BGP session.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "metallb.io",
    version = "v1beta2",
    kind = "BGPPeer",
    plural = "bgppeers",
    category = "metallb",
    doc = "A BGP session with a router. BareLB does not serve BGP: the object is accepted and has no effect.",
    namespaced,
    status = "NoStatus",
    derive = "PartialEq",
    printcolumn(name = "Address", type_ = "string", json_path = ".spec.peerAddress"),
    printcolumn(name = "ASN", type_ = "string", json_path = ".spec.peerASN"),
    printcolumn(name = "BFD Profile", type_ = "string", json_path = ".spec.bfdProfile"),
    printcolumn(name = "Multi Hops", type_ = "string", json_path = ".spec.ebgpMultiHop")
)]
#[serde(rename_all = "camelCase")]
pub struct BGPPeerSpec {
    /// Own AS number.
    #[serde(rename = "myASN")]
    #[schemars(range(min = 0, max = 4_294_967_295_i64))]
    pub my_asn: i64,
    /// AS number of the peer. Either this or dynamicASN.
    #[serde(default, rename = "peerASN", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 4_294_967_295_i64))]
    pub peer_asn: Option<i64>,
    /// Takes the AS number from the peer: internal expects the own one, external any other.
    #[serde(default, rename = "dynamicASN", skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["internal", "external"]))]
    pub dynamic_asn: Option<String>,
    /// AS number that is shown to the peer instead of myASN.
    #[serde(default, rename = "localASN", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 4_294_967_295_i64))]
    pub local_asn: Option<i64>,
    /// Address of the peer. Either this or interface.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub peer_address: String,
    /// Interface of the node for a session without addresses.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub interface: String,
    /// Own address of the session.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source_address: String,
    /// TCP port of the peer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 16384), extend("default" = 179))]
    pub peer_port: Option<i32>,
    /// Hold time, for example 90s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_time: Option<String>,
    /// Keepalive time, for example 30s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keepalive_time: Option<String>,
    /// Time between attempts to connect: whole seconds, 1s to 65535s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    #[x_kube(
        validation = Rule::new("duration(self).getSeconds() >= 1 && duration(self).getSeconds() <= 65535")
            .message("connectTime: must be from 1s to 65535s"),
        validation = Rule::new("duration(self).getMilliseconds() % 1000 == 0")
            .message("connectTime: must be a whole number of seconds")
    )]
    pub connect_time: Option<String>,
    /// Router id that is shown to the peer.
    #[serde(default, rename = "routerID", skip_serializing_if = "String::is_empty")]
    pub router_id: String,
    /// Nodes that have the session, any of the selectors; without one, all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::selectors")]
    pub node_selectors: Vec<LabelSelector>,
    /// Password of a session with TCP MD5 signatures. Better in passwordSecret.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub password: String,
    /// Secret of type kubernetes.io/basic-auth with the password. BareLB never reads it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "secret_reference")]
    pub password_secret: Option<SecretReference>,
    /// BFDProfile for the session.
    #[serde(default, rename = "bfdProfile", skip_serializing_if = "String::is_empty")]
    pub bfd_profile: String,
    /// Keeps forwarding while the session restarts. Can't be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self == oldSelf").message("enableGracefulRestart: can't be changed"))]
    pub enable_graceful_restart: Option<bool>,
    /// The peer is some hops away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ebgp_multi_hop: Option<bool>,
    /// VRF of the node for the session.
    #[serde(default, rename = "vrf", skip_serializing_if = "String::is_empty")]
    pub vrf_name: String,
    /// Separates IPv4 and IPv6 routes into sessions of their own. Deprecated.
    #[serde(default, rename = "disableMP", skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false))]
    pub disable_mp: Option<bool>,
    /// Exchanges routes of both families in one session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false))]
    pub dual_stack_address_family: Option<bool>,
}

fn secret_reference(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "properties": {
            "name": {"description": "Name of the Secret.", "type": "string"},
            "namespace": {"description": "Namespace of the Secret.", "type": "string"},
        },
    })
}
