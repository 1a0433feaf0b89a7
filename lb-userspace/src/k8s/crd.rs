//! MetalLB's kinds of group `metallb.io`, with the field names and defaults of MetalLB 0.16.
//!
//! One file a kind. The doc comments are what `kubectl explain` shows, and the rules are evaluated by the API server,
//! so that a mistake is refused where it is made. [`all`] is what `barelb crds` prints and what an administrator
//! installs; where MetalLB's own CRDs are installed the same types read what those let in, so nothing here may rely
//! on a rule having been checked.
#![expect(unreachable_pub, reason = "KubeSchema derives the schema from a copy of the struct in a function")]
#![allow(dead_code, reason = "the same; where it is expected it counts as unfulfilled, being a lint of the whole crate")]

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{CustomResourceExt, KubeSchema, core::crd::merge_crds};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub mod bfd_profile;
pub mod bgp_advertisement;
pub mod bgp_peer;
pub mod bgp_peer_v1beta1;
pub mod community;
pub mod configuration_state;
pub mod ip_address_pool;
pub mod l2_advertisement;
mod optional;
mod schema;
pub mod service_bgp_status;
pub mod service_l2_status;
#[cfg(test)]
mod tests;

pub use bfd_profile::BFDProfile;
pub use bgp_advertisement::BGPAdvertisement;
pub use bgp_peer::BGPPeer;
pub use community::Community;
pub use configuration_state::ConfigurationState;
pub use ip_address_pool::{IPAddressPool, IPAddressPoolSpec, IPAddressPoolStatus, ServiceAllocation};
pub use l2_advertisement::{L2Advertisement, L2AdvertisementSpec, NodePreference};
pub use service_bgp_status::ServiceBGPStatus;
pub use service_l2_status::ServiceL2Status;

/// `apiVersion` of the kinds that are served.
pub const API_VERSION: &str = "metallb.io/v1beta1";

/// Annotation of an `L2Advertisement` that names the VLAN tags of the frames to answer: `"42"` or `"100.42"`.
pub const VLAN_ANNOTATION: &str = "barelb.io/vlan";

/// The status of a kind that has none yet; MetalLB writes it empty.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, KubeSchema)]
pub struct NoStatus {}

/// Why the CRDs can't be made. It means a mistake in this module, which its tests show.
#[derive(Debug, thiserror::Error)]
pub enum CrdError {
    /// The two versions of `BGPPeer` contradict each other.
    #[error("the versions of a kind do not fit together")]
    Merge(#[from] kube::core::crd::MergeError),
    /// A schema is no schema of the API any more after it was rewritten.
    #[error("a schema can't be read back")]
    Schema(#[from] serde_json::Error),
}

/// All CRDs, by name.
pub fn all() -> Result<Vec<CustomResourceDefinition>, CrdError> {
    let peers = vec![bgp_peer_v1beta1::BGPPeer::crd(), BGPPeer::crd()];
    let crds = [
        BFDProfile::crd(),
        BGPAdvertisement::crd(),
        merge_crds(peers, "v1beta2")?,
        Community::crd(),
        ConfigurationState::crd(),
        IPAddressPool::crd(),
        L2Advertisement::crd(),
        ServiceBGPStatus::crd(),
        ServiceL2Status::crd(),
    ];
    crds.into_iter().map(finish).collect()
}

/// Makes a derived schema say what the types mean.
fn finish(crd: CustomResourceDefinition) -> Result<CustomResourceDefinition, CrdError> {
    let kind = crd.spec.names.kind.clone();
    let mut crd = serde_json::to_value(crd)?;
    for version in crd["spec"]["versions"].as_array_mut().into_iter().flatten() {
        let schema = &mut version["schema"]["openAPIV3Schema"];
        tidy(schema);
        if !["IPAddressPool", "BGPPeer"].contains(&kind.as_str())
            && let Some(root) = schema.as_object_mut()
        {
            root.remove("required");
        }
    }
    Ok(serde_json::from_value(crd)?)
}

/// An `Option` is a field that may be left out, and not one that may be null: the API server takes a null away and
/// fills in the default. Titles repeat the names of Rust types.
fn tidy(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if fields.get("nullable").is_some_and(Value::is_boolean) {
                fields.remove("nullable");
            }
            if fields.get("title").is_some_and(Value::is_string) {
                fields.remove("title");
            }
            fields.values_mut().for_each(tidy);
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
