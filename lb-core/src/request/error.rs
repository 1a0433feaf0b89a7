//! Why a request can't be fulfilled.

use std::net::IpAddr;

use super::{ServiceSpec, Wanted, describe};
use crate::{
    addresses::Addresses,
    ids::{PoolName, ServiceKey},
    sharing::SharingConflict,
};

/// Where a wish for an address was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WishSource {
    /// `spec.loadBalancerIP`.
    Field,
    /// The annotation `metallb.io/loadBalancerIPs`.
    Annotation,
}

impl WishSource {
    /// The field's path.
    pub fn field(self) -> &'static str {
        match self {
            Self::Field => "spec.loadBalancerIP",
            Self::Annotation => "metadata.annotations[metallb.io/loadBalancerIPs]",
        }
    }
}

/// Why a Service does not get the address it is to have. The variant is the reason of the condition and the
/// label of the metric.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AllocError {
    /// Both ways of asking for an address are used; MetalLB refuses that even when they agree.
    #[error("both spec.loadBalancerIP and the annotation metallb.io/loadBalancerIPs are set: keep one")]
    TwoWishes,
    /// The wish holds text that is no address.
    #[error("{text:?} is not an IP address")]
    UnreadableWish {
        /// The text, cut to a readable length.
        text: String,
        /// Where it was written.
        from: WishSource,
    },
    /// The wish names more than two addresses or two of one family.
    #[error("at most one address per family can be asked for")]
    WishNotOnePerFamily {
        /// Where it was written.
        from: WishSource,
    },
    /// The wish's families are not those of the Service.
    #[error("asks for {wish}, but the Service needs {families} by its cluster IPs or spec.ipFamilies")]
    WishFamilies {
        /// What is asked for.
        wish: Addresses,
        /// What it has to be.
        families: &'static str,
    },
    /// `RequireDualStack` with one cluster IP.
    #[error("spec.ipFamilyPolicy is RequireDualStack, but the Service has one cluster IP")]
    NotEnoughClusterIps,
    /// No cluster IP yet, or a headless Service.
    #[error("the Service has no cluster IP")]
    NoClusterIp,
    /// More than two cluster IPs or two of one family.
    #[error("spec.clusterIPs are neither one address nor one of each family")]
    ClusterIpFamilies,
    /// There is no pool.
    #[error("no address pool is configured")]
    NoPools,
    /// The annotation names a pool that is not there.
    #[error("there is no address pool {pool:?}")]
    UnknownPool {
        /// The name asked for.
        pool: String,
    },
    /// The pool's `serviceAllocation` does not admit the Service.
    #[error(
        "address pool {pool} is not open to this Service: its serviceAllocation names other namespaces or labels"
    )]
    PoolClosed {
        /// The pool.
        pool: PoolName,
    },
    /// The address asked for lies in no pool.
    #[error("{ip} lies in no address pool")]
    NotInAnyPool {
        /// The address.
        ip: IpAddr,
    },
    /// The address asked for lies outside the pool asked for.
    #[error("{addresses} does not lie in address pool {pool}")]
    NotInPool {
        /// What is asked for.
        addresses: Addresses,
        /// The pool asked for.
        pool: PoolName,
    },
    /// Two addresses asked for lie in different pools.
    #[error("{addresses} do not lie in one address pool")]
    DifferentPools {
        /// What is asked for.
        addresses: Addresses,
    },
    /// A node owns the address.
    #[error("{ip} is an address of a node")]
    NodeAddress {
        /// The address.
        ip: IpAddr,
    },
    /// The pool avoids the address.
    #[error("{ip} is not given out, because its pool has avoidBuggyIPs")]
    Avoided {
        /// The address.
        ip: IpAddr,
    },
    /// Another Service has the address and may not share it.
    #[error("{ip} is in use by Service {holder}, and they can't share it: {conflict}")]
    Taken {
        /// The address.
        ip: IpAddr,
        /// Who has it.
        holder: ServiceKey,
        /// Why it can't be shared.
        conflict: SharingConflict,
    },
    /// The Service has an address of another family and would have to give it up.
    #[error("the Service holds {held}, which is of another family")]
    HoldsOtherFamily {
        /// What it holds.
        held: Addresses,
    },
    /// Nothing is free in the pool asked for.
    #[error("address pool {pool} has no free address for this Service ({families})")]
    PoolExhausted {
        /// The pool.
        pool: PoolName,
        /// What is needed.
        families: &'static str,
    },
    /// Nothing is free in any pool the Service may use without asking.
    #[error("no address pool that assigns automatically has a free address for this Service ({families})")]
    Exhausted {
        /// What is needed.
        families: &'static str,
    },
}

impl AllocError {
    pub(crate) fn exhausted(pool: Option<&PoolName>, wanted: Wanted) -> Self {
        let families = describe(wanted);
        match pool {
            Some(pool) => Self::PoolExhausted { pool: pool.clone(), families },
            None => Self::Exhausted { families },
        }
    }

    /// The variant's name: reason of the condition, label of the metric.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::TwoWishes => "TwoWishes",
            Self::UnreadableWish { .. } => "UnreadableWish",
            Self::WishNotOnePerFamily { .. } => "WishNotOnePerFamily",
            Self::WishFamilies { .. } => "WishFamilies",
            Self::NotEnoughClusterIps => "NotEnoughClusterIPs",
            Self::NoClusterIp => "NoClusterIP",
            Self::ClusterIpFamilies => "ClusterIPFamilies",
            Self::NoPools => "NoPools",
            Self::UnknownPool { .. } => "UnknownPool",
            Self::PoolClosed { .. } => "PoolClosed",
            Self::NotInAnyPool { .. } => "NotInAnyPool",
            Self::NotInPool { .. } => "NotInPool",
            Self::DifferentPools { .. } => "DifferentPools",
            Self::NodeAddress { .. } => "NodeAddress",
            Self::Avoided { .. } => "Avoided",
            Self::Taken { .. } => "Taken",
            Self::HoldsOtherFamily { .. } => "HoldsOtherFamily",
            Self::PoolExhausted { .. } => "PoolExhausted",
            Self::Exhausted { .. } => "Exhausted",
        }
    }

    /// Whether another pool would be the remedy.
    pub(crate) fn is_missing_pool(&self) -> bool {
        matches!(self, Self::NoPools | Self::NotInAnyPool { .. } | Self::DifferentPools { .. })
    }

    /// The field of the Service that has to change.
    pub fn field(&self, spec: &ServiceSpec) -> &'static str {
        const POOL: &str = "metadata.annotations[metallb.io/address-pool]";
        let asked = spec.load_balancer_ip.as_deref().is_some_and(|text| !text.is_empty());
        let wish = if asked { WishSource::Field } else { WishSource::Annotation };
        match self {
            Self::UnreadableWish { from, .. } | Self::WishNotOnePerFamily { from } => from.field(),
            Self::UnknownPool { .. } | Self::PoolExhausted { .. } | Self::NotInPool { .. } => POOL,
            Self::PoolClosed { .. } if spec.annotation("address-pool").is_some() => POOL,
            Self::NotEnoughClusterIps => "spec.ipFamilyPolicy",
            Self::NoClusterIp | Self::ClusterIpFamilies => "spec.clusterIPs",
            Self::TwoWishes => WishSource::Field.field(),
            Self::PoolClosed { .. }
            | Self::WishFamilies { .. }
            | Self::NotInAnyPool { .. }
            | Self::DifferentPools { .. }
            | Self::NodeAddress { .. }
            | Self::Avoided { .. }
            | Self::Taken { .. } => wish.field(),
            Self::NoPools | Self::HoldsOtherFamily { .. } | Self::Exhausted { .. } => "spec.type",
        }
    }
}
