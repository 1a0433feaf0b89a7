//! `IPAddressPool`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use serde::{Deserialize, Serialize};

/// A pool of addresses for Services of type `LoadBalancer`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IPAddressPool {
    /// Name, namespace, labels.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// What the pool holds and who may use it.
    pub spec: IPAddressPoolSpec,
    /// How full it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<IPAddressPoolStatus>,
}

/// What a pool holds and who may use it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IPAddressPoolSpec {
    /// Blocks (`192.0.2.0/24`) and ranges (`192.0.2.10-192.0.2.20`), IPv4 and IPv6. At least one.
    pub addresses: Vec<String>,
    /// Whether a Service may get an address from this pool without asking for it.
    #[serde(default = "auto_assign_default")]
    pub auto_assign: bool,
    /// Keeps back IPv4 addresses that end in .0 and .255, which some equipment drops.
    #[serde(default, rename = "avoidBuggyIPs")]
    pub avoid_buggy_ips: bool,
    /// Which Services may use the pool; without it, all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_allocation: Option<ServiceAllocation>,
}

impl Default for IPAddressPoolSpec {
    fn default() -> Self {
        Self {
            addresses: Vec::new(),
            auto_assign: auto_assign_default(),
            avoid_buggy_ips: false,
            service_allocation: None,
        }
    }
}

fn auto_assign_default() -> bool {
    true
}

/// Which Services may use a pool.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceAllocation {
    /// Lower is tried earlier; 0 is after all others.
    #[serde(default)]
    pub priority: i64,
    /// Namespaces by name.
    #[serde(default)]
    pub namespaces: Vec<String>,
    /// Namespaces by label; united with those by name.
    #[serde(default)]
    pub namespace_selectors: Vec<LabelSelector>,
    /// Services by label, any of them.
    #[serde(default)]
    pub service_selectors: Vec<LabelSelector>,
}

/// How full a pool is. Numbers that do not fit are written as the largest one.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IPAddressPoolStatus {
    /// IPv4 addresses given out.
    #[serde(default, rename = "assignedIPv4")]
    pub assigned_ipv4: i64,
    /// IPv6 addresses given out.
    #[serde(default, rename = "assignedIPv6")]
    pub assigned_ipv6: i64,
    /// IPv4 addresses left.
    #[serde(default, rename = "availableIPv4")]
    pub available_ipv4: i64,
    /// IPv6 addresses left.
    #[serde(default, rename = "availableIPv6")]
    pub available_ipv6: i64,
}
