//! `Community`: accepted and checked, not served.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::{NoStatus, optional::optional_spec};

/// Names of BGP communities.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "metallb.io",
    version = "v1beta1",
    kind = "Community",
    plural = "communities",
    category = "metallb",
    doc = "Names for BGP communities. BareLB does not serve BGP: the object is accepted and has no effect.",
    namespaced,
    status = "NoStatus",
    derive = "PartialEq",
    derive = "Default"
)]
#[serde(rename_all = "camelCase", remote = "Self")]
pub struct CommunitySpec {
    /// The names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub communities: Vec<CommunityAlias>,
}

optional_spec!(CommunitySpec);

/// A name for a BGP community.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, KubeSchema)]
pub struct CommunityAlias {
    /// The name, as advertisements use it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The community: 64512:1234, or large:64512:1:2.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub value: String,
}
