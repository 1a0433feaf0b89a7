//! MetalLB's kinds of group `metallb.io`, with the field names and defaults of MetalLB 0.16
//! (`api/v1beta1`).

mod ip_address_pool;
mod l2_advertisement;

pub use ip_address_pool::{IPAddressPool, IPAddressPoolSpec, IPAddressPoolStatus, ServiceAllocation};
pub use l2_advertisement::{L2Advertisement, L2AdvertisementSpec, NodePreference};

/// `apiVersion` of both kinds.
pub const API_VERSION: &str = "metallb.io/v1beta1";

/// Annotation of an `L2Advertisement` that names the VLAN tags of the frames to answer: `"42"` or `"100.42"`.
pub const VLAN_ANNOTATION: &str = "barelb.io/vlan";
