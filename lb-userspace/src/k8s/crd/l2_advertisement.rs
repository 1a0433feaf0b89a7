//! `L2Advertisement`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use serde::{Deserialize, Serialize};

/// Announces the addresses of pools by ARP and neighbour discovery.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct L2Advertisement {
    /// Name, namespace, and the annotation `barelb.io/vlan`.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// What is announced, from where.
    #[serde(default)]
    pub spec: L2AdvertisementSpec,
}

/// What is announced, from where.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct L2AdvertisementSpec {
    /// Pools by name.
    #[serde(default)]
    pub ip_address_pools: Vec<String>,
    /// Pools by label, any of them; united with those by name. Without names and selectors: all pools.
    #[serde(default)]
    pub ip_address_pool_selectors: Vec<LabelSelector>,
    /// Nodes that may announce, any of the selectors; without one, all nodes. Limits the election.
    #[serde(default)]
    pub node_selectors: Vec<LabelSelector>,
    /// Links to announce on, by exact name; without one, all links. Does not limit the election.
    #[serde(default)]
    pub interfaces: Vec<String>,
    /// Services to announce, any of the selectors; without one, all.
    #[serde(default)]
    pub service_selectors: Vec<LabelSelector>,
    /// Nodes that come earlier in the election; never a filter.
    #[serde(default)]
    pub preferred_node_selectors: Vec<NodePreference>,
}

/// Nodes that come earlier in the election, and by how much.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodePreference {
    /// 1 to 100. Weights that match a node add up.
    pub weight: i64,
    /// Which nodes; the empty selector is every node.
    pub preference: LabelSelector,
}
