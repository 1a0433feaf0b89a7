//! `L2Advertisement`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::{NoStatus, optional::optional_spec, schema};

/// What is announced, from where. Without a spec: the addresses of all pools, from all nodes.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "metallb.io",
    version = "v1beta1",
    kind = "L2Advertisement",
    plural = "l2advertisements",
    shortname = "l2adv",
    category = "metallb",
    doc = "Announces the addresses of pools by ARP and IPv6 neighbour discovery. The annotation barelb.io/vlan names \
           the VLAN tags of the frames that are answered: \"42\", or \"100.42\" for two. \
           The annotation barelb.io/interface-regex is a regular expression for names of interfaces, beside spec.interfaces.",
    namespaced,
    status = "NoStatus",
    derive = "PartialEq",
    derive = "Default",
    printcolumn(name = "IPAddressPools", type_ = "string", json_path = ".spec.ipAddressPools"),
    printcolumn(
        name = "IPAddressPool Selectors",
        type_ = "string",
        json_path = ".spec.ipAddressPoolSelectors"
    ),
    printcolumn(name = "Interfaces", type_ = "string", json_path = ".spec.interfaces"),
    printcolumn(name = "Node Selectors", type_ = "string", json_path = ".spec.nodeSelectors", priority = 10)
)]
#[serde(rename_all = "camelCase", remote = "Self")]
pub struct L2AdvertisementSpec {
    /// Pools by name. A name without a pool is ignored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::names")]
    pub ip_address_pools: Vec<String>,
    /// Pools by label, any of the selectors; united with those by name. Without names and selectors: all pools.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::selectors")]
    pub ip_address_pool_selectors: Vec<LabelSelector>,
    /// Nodes that may announce, any of the selectors; without one, all nodes. They limit the election.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::selectors")]
    pub node_selectors: Vec<LabelSelector>,
    /// Links to announce on, by exact name; without one, all links. They do not limit the election.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::interfaces")]
    pub interfaces: Vec<String>,
    /// Services to announce, any of the selectors; without one, all. A Service that shares its address is not
    /// announced if an advertisement that matches it has this field.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::selectors")]
    pub service_selectors: Vec<LabelSelector>,
    /// Nodes that come earlier in the election. An order among the nodes that may announce, never a filter.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub preferred_node_selectors: Vec<NodePreference>,
}

optional_spec!(L2AdvertisementSpec);

/// Nodes that come earlier in the election, and by how much.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodePreference {
    /// 1 to 100. The weights that match a node add up.
    #[schemars(range(min = 1, max = 100))]
    pub weight: i64,
    /// Which nodes; the empty selector is every node.
    #[schemars(schema_with = "schema::selector")]
    pub preference: LabelSelector,
}
