//! Why an address is not announced.

use std::{fmt, net::IpAddr};

use super::Target;
use crate::{
    eligibility::LinkFault,
    ids::{LinkName, NodeName, PoolName, ServiceKey},
    problem::{Place, Problem},
};

/// Why a Service's address is not announced from this node.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Silence {
    /// The address is in no pool (any more).
    #[error("{ip} lies in no address pool")]
    NotInPool {
        /// The address.
        ip: IpAddr,
    },
    /// A node owns the address.
    #[error("{ip} is an address of a node and is not announced")]
    NodeAddress {
        /// The address.
        ip: IpAddr,
    },
    /// MetalLB announces the address.
    #[error(
        "MetalLB announces {ip} from node {node}, so BareLB does not: remove MetalLB, or give one of both a \
         loadBalancerClass and pools of its own"
    )]
    Rival {
        /// The address.
        ip: IpAddr,
        /// The node.
        node: NodeName,
    },
    /// This node would own the address by what it knows from before its agent started.
    #[error("whether this node owns {ip} is not known before the API server answers")]
    Unsure {
        /// The address.
        ip: IpAddr,
    },
    /// No endpoint can serve.
    #[error("no endpoint of the Service can serve")]
    NoEndpoints,
    /// It has `allow-shared-ip`, and a matching advertisement selects Services (refused since MetalLB 0.16.2).
    #[error("the Service has allow-shared-ip, and an L2Advertisement for pool {pool} has serviceSelectors")]
    SharedIpWithServiceSelector {
        /// The pool.
        pool: PoolName,
    },
    /// No advertisement covers the pool at all.
    #[error("no L2Advertisement covers address pool {pool}: create one, or the address stays silent")]
    NoAdvertisement {
        /// The pool.
        pool: PoolName,
    },
    /// No advertisement that covers the pool selects the Service.
    #[error("no L2Advertisement for address pool {pool} selects this Service")]
    ServiceNotSelected {
        /// The pool.
        pool: PoolName,
    },
    /// Advertisements exist, but none selects this node.
    #[error("no L2Advertisement for the Service selects this node")]
    NodeNotSelected {
        /// The owner, if anybody can own it.
        owner: Option<NodeName>,
    },
    /// Another node owns the address, and this one is no candidate.
    #[error("node {owner} owns the address")]
    NotOwner {
        /// The owner.
        owner: NodeName,
    },
    /// Nobody can own it.
    #[error(
        "no node is a candidate: none is alive, selected, has a link that can announce, and an endpoint where one is needed"
    )]
    NoCandidate,
    /// This node owns the address, and has no link to announce it on.
    #[error("this node owns the address and has no link to announce it on: {0}")]
    NoLink(Unusable),
    /// The data plane has no room.
    #[error("the table has no room for {target}: raise --max-vips")]
    NoRoom {
        /// What is left out.
        target: Target,
    },
    /// No program runs on the link, so requests are not seen there.
    #[error("{target} is not answered, because no program could be attached: `barelb inspect` says why")]
    NotAttached {
        /// What is not answered.
        target: Target,
    },
}

impl Silence {
    /// MetalLB's word for it, used in events and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NotInPool { .. } | Self::NodeAddress { .. } => "ipNotAllowed",
            Self::NoEndpoints | Self::NotOwner { .. } | Self::NoCandidate | Self::Unsure { .. } => "notOwner",
            Self::SharedIpWithServiceSelector { .. } => "sharedIPWithServiceSelector",
            Self::NoAdvertisement { .. } | Self::ServiceNotSelected { .. } | Self::NodeNotSelected { .. } => {
                "noMatchingAdvertisement"
            }
            Self::NoLink(_) | Self::NoRoom { .. } | Self::NotAttached { .. } | Self::Rival { .. } => {
                "announceFailed"
            }
        }
    }

    /// Whether it is the same on every node.
    pub(crate) fn is_common(&self) -> bool {
        match self {
            Self::NotInPool { .. }
            | Self::NodeAddress { .. }
            | Self::Rival { .. }
            | Self::NoEndpoints
            | Self::SharedIpWithServiceSelector { .. }
            | Self::NoAdvertisement { .. }
            | Self::ServiceNotSelected { .. } => true,
            Self::Unsure { .. }
            | Self::NodeNotSelected { .. }
            | Self::NotOwner { .. }
            | Self::NoCandidate
            | Self::NoLink(_)
            | Self::NoRoom { .. }
            | Self::NotAttached { .. } => false,
        }
    }

    pub(super) fn of(&self, service: &ServiceKey) -> Problem {
        Problem::new(Place::service(service).field("status.loadBalancer.ingress"), self.clone())
    }

    /// Whether somebody has to change something; the others are the normal course of an election.
    pub(super) fn is_problem(&self) -> bool {
        match self {
            Self::NotInPool { .. }
            | Self::NodeAddress { .. }
            | Self::Rival { .. }
            | Self::SharedIpWithServiceSelector { .. }
            | Self::NoAdvertisement { .. }
            | Self::ServiceNotSelected { .. }
            | Self::NoRoom { .. }
            | Self::NotAttached { .. } => true,
            // Names that are not there are told once, where they are written.
            Self::NoLink(unusable) => unusable.missing.is_empty() || !unusable.unfit.is_empty(),
            Self::NoEndpoints
            | Self::NodeNotSelected { .. }
            | Self::NotOwner { .. }
            | Self::NoCandidate
            | Self::Unsure { .. } => false,
        }
    }
}

/// Why none of this node's links can announce.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Unusable {
    /// Names the advertisements want and this node does not have.
    pub missing: Vec<LinkName>,
    /// Links that are there and can't announce.
    pub unfit: Vec<(LinkName, LinkFault)>,
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.missing.is_empty() && self.unfit.is_empty() {
            return f.write_str("it has no links");
        }
        let missing = self.missing.iter().map(|name| format!("{name} does not exist"));
        let unfit = self.unfit.iter().map(|(name, fault)| format!("{name}: {fault}"));
        let all: Vec<String> = missing.chain(unfit).collect();
        f.write_str(&all.join("; "))
    }
}
