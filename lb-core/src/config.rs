//! Pools and advertisements, from wherever they are written.
//!
//! CRDs and the v0.9 `ConfigMap` both become [`RawPool`]s and [`RawAdvertisement`]s, and [`Config::validate`] is
//! the judge of both. One bad object never stops the others: what is wrong is named as a [`Problem`]. What is in
//! force of each object, and what of it stays when an edit is wrong, is decided by [`in_force`].

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use serde::{Deserialize, Serialize};

use crate::{
    ids::{LinkName, PoolName, ServiceKey, Vlans},
    pool::{Pool, Range},
    problem::{Place, Problem},
    selector::{Labels, RawSelector, Selector, any_matches},
};

pub mod in_force;
mod interfaces;
mod legacy;
#[cfg(test)]
mod tests;
mod validate;

pub use interfaces::{Interfaces, Pattern, PatternError};
pub use legacy::{
    LegacyBgpAdvertisement, LegacyConfig, LegacyDocument, LegacyError, LegacyExpression, LegacyPeer,
    LegacyPool, LegacySelector,
};

/// An address pool as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RawPool {
    /// The object. Its `field` is empty for an object of its own, and the path to it inside a larger document.
    pub place: Place,
    /// `metadata.name`.
    pub name: String,
    /// `spec.addresses`.
    pub addresses: Vec<String>,
    /// `spec.autoAssign`, true by default.
    pub auto_assign: bool,
    /// `spec.avoidBuggyIPs`, false by default.
    pub avoid_buggy_ips: bool,
    /// `metadata.labels`.
    pub labels: Labels,
    /// `spec.serviceAllocation`.
    pub service_allocation: Option<RawServiceAllocation>,
}

impl Default for RawPool {
    fn default() -> Self {
        Self {
            place: Place::default(),
            name: String::new(),
            addresses: Vec::new(),
            auto_assign: true,
            avoid_buggy_ips: false,
            labels: Labels::new(),
            service_allocation: None,
        }
    }
}

/// `spec.serviceAllocation` of a pool as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RawServiceAllocation {
    /// Lower is tried earlier; 0 or unset is after all others.
    pub priority: i64,
    /// Namespaces by name.
    pub namespaces: Vec<String>,
    /// Namespaces by label.
    pub namespace_selectors: Vec<RawSelector>,
    /// Services by label.
    pub service_selectors: Vec<RawSelector>,
}

/// An `L2Advertisement` as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RawAdvertisement {
    /// The object. Its `field` is empty for an object of its own, and the path to it inside a larger document.
    pub place: Place,
    /// `metadata.name`.
    pub name: String,
    /// `spec.ipAddressPools`.
    pub pools: Vec<String>,
    /// `spec.ipAddressPoolSelectors`.
    pub pool_selectors: Vec<RawSelector>,
    /// `spec.nodeSelectors`.
    pub node_selectors: Vec<RawSelector>,
    /// `spec.interfaces`.
    pub interfaces: Vec<String>,
    /// `spec.serviceSelectors`.
    pub service_selectors: Vec<RawSelector>,
    /// `spec.preferredNodeSelectors`.
    pub preferred_node_selectors: Vec<RawPreference>,
    /// Annotation `barelb.io/vlan`.
    pub vlan: Option<String>,
    /// Annotation `barelb.io/interface-regex`.
    pub interface_regex: Option<String>,
}

/// One entry of `spec.preferredNodeSelectors` as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RawPreference {
    /// 1 to 100.
    pub weight: i64,
    /// Nodes that get the weight; the empty selector is every node.
    pub preference: RawSelector,
}

/// Nodes that are to be tried earlier, and by how much.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preference {
    /// 1 to 100; the weights that match a node add up.
    pub weight: u32,
    /// Which nodes.
    pub selector: Selector,
}

/// Which pools are announced from which nodes on which links.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Advertisement {
    /// Name of the object.
    pub name: String,
    /// Pools by name; those that do not exist are ignored.
    pub pools: BTreeSet<PoolName>,
    /// Pools by label.
    pub pool_selectors: Vec<Selector>,
    /// Nodes by label; empty = all. Limits the election.
    pub node_selectors: Vec<Selector>,
    /// On which links. Does not limit the election.
    pub interfaces: Interfaces,
    /// Services by label; empty = all.
    pub service_selectors: Vec<Selector>,
    /// Order among nodes; never a filter.
    pub preferred: Vec<Preference>,
    /// Tags of the frames that are answered.
    pub vlans: Vlans,
    /// Where the object is written.
    pub place: Place,
    /// `spec.interfaces` in the order written, to name the field of one that is not there.
    pub listed_interfaces: Vec<LinkName>,
}

impl Advertisement {
    /// Whether it announces this pool: by name, by label, or because it names none at all.
    pub fn covers(&self, pool: &Pool) -> bool {
        (self.pools.is_empty() && self.pool_selectors.is_empty())
            || self.pools.contains(&pool.name)
            || self.pool_selectors.iter().any(|s| s.matches(&pool.labels))
    }

    /// Whether it announces from a node with these labels.
    pub fn selects_node(&self, labels: &Labels) -> bool {
        any_matches(&self.node_selectors, labels)
    }

    /// Whether it announces a Service with these labels.
    pub fn selects_service(&self, labels: &Labels) -> bool {
        any_matches(&self.service_selectors, labels)
    }

    /// Sum of the weights for a node with these labels; 0 if the node is not selected.
    pub fn score(&self, labels: &Labels) -> u32 {
        if !self.selects_node(labels) {
            return 0;
        }
        let matching = self.preferred.iter().filter(|p| p.selector.matches(labels));
        matching.map(|p| p.weight).fold(0, u32::saturating_add)
    }
}

/// Why a pool or an advertisement is refused in whole or in part.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The object has no address entry at all.
    #[error("the pool has no addresses: list at least one block or range")]
    NoAddresses,
    /// Every entry was refused, so the pool is left out.
    #[error("none of the pool's entries can be used")]
    NothingUsable,
    /// An object that was there before has the name.
    #[error("{name:?} is already the name of another object of this kind: choose another name")]
    DuplicateObject {
        /// The name.
        name: String,
    },
    /// An entry shares addresses with an earlier one.
    #[error("{entry} overlaps {other} of pool {other_pool}: an address can be in one pool only")]
    Overlap {
        /// The refused entry.
        entry: Range,
        /// The entry that was there before.
        other: Range,
        /// Its pool; may be the same pool.
        other_pool: PoolName,
    },
    /// A list names something twice.
    #[error("{value:?} is listed twice")]
    ListedTwice {
        /// What is listed twice.
        value: String,
    },
    /// An advertisement names a pool that is not there; MetalLB ignores the name too.
    #[error("there is no address pool {name:?}: the name is ignored")]
    UnknownPool {
        /// The name.
        name: String,
    },
    /// A node of the cluster owns an address of the entry.
    #[error("{ip} is an address of a node: it is not given out and not announced")]
    NodeAddress {
        /// The address.
        ip: IpAddr,
    },
    /// A v0.9 document without an address that a Service has; v0.9 refuses it too.
    #[error(
        "no pool has {ip} any more, which Service {service} has: keep the address in a pool until the Service is \
         deleted or has another one"
    )]
    InUse {
        /// The address.
        ip: IpAddr,
        /// Who has it.
        service: ServiceKey,
    },
    /// A weight outside the permitted range.
    #[error("weight {weight} is outside 1-100")]
    BadWeight {
        /// The weight.
        weight: i64,
    },
}

impl ConfigError {
    /// Whether everything that was written still takes effect.
    pub fn is_warning(&self) -> bool {
        match self {
            Self::UnknownPool { .. } | Self::NodeAddress { .. } => true,
            Self::NoAddresses
            | Self::NothingUsable
            | Self::DuplicateObject { .. }
            | Self::Overlap { .. }
            | Self::ListedTwice { .. }
            | Self::InUse { .. }
            | Self::BadWeight { .. } => false,
        }
    }
}

/// Pools and advertisements that are free of contradictions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Config {
    /// Pools by name; no two share an address.
    pub pools: BTreeMap<PoolName, Pool>,
    /// Advertisements in the order given.
    pub advertisements: Vec<Advertisement>,
}

impl Config {
    /// Judges what was written. `foreign` are the nodes' own addresses: they stay in their pools and are never
    /// given out.
    ///
    /// Where two objects contradict each other the earlier one stands, so the caller orders them by age, or by
    /// file name and position in the file: the order must not depend on chance.
    pub fn validate(
        pools: &[RawPool],
        advertisements: &[RawAdvertisement],
        foreign: &[IpAddr],
    ) -> (Self, Vec<Problem>) {
        validate::validate(pools, advertisements, foreign)
    }

    /// The same, all or nothing, as the v0.9 `ConfigMap` wants it. With `Ok` come the warnings.
    pub fn validate_strict(
        pools: &[RawPool],
        advertisements: &[RawAdvertisement],
        foreign: &[IpAddr],
    ) -> Result<(Self, Vec<Problem>), Vec<Problem>> {
        let (config, problems) = Self::validate(pools, advertisements, foreign);
        if problems.iter().all(Problem::is_warning) { Ok((config, problems)) } else { Err(problems) }
    }

    /// The pool that contains the address.
    pub fn pool_of(&self, ip: IpAddr) -> Option<&Pool> {
        self.pools.values().find(|pool| pool.contains(ip))
    }
}
