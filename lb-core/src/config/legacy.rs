//! The `ConfigMap` of MetalLB 0.9 to 0.12 (`internal/config/config.go` at v0.9.8).
//!
//! The document is all or nothing: an unknown key or a broken rule makes it invalid, and the caller keeps the
//! last good one. BGP parts are checked by the same rules, so that a valid document stays valid, but nothing is
//! announced by BGP: such pools give out addresses and say that they stay silent.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{RawAdvertisement, RawPool};
use crate::problem::{Place, Problem};

mod bgp;
#[cfg(test)]
mod tests;

pub use bgp::{LegacyBgpAdvertisement, LegacyExpression, LegacyPeer, LegacySelector};

/// The text under the key `config`. An empty one is valid and means no pools.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LegacyDocument {
    /// Pools.
    pub address_pools: Option<Vec<LegacyPool>>,
    /// BGP peers: checked, not used.
    pub peers: Option<Vec<LegacyPeer>>,
    /// Names for BGP communities: checked, not used.
    pub bgp_communities: Option<BTreeMap<String, String>>,
    /// BFD profiles of v0.12: accepted, not used.
    pub bfd_profiles: Option<serde::de::IgnoredAny>,
}

/// One pool.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LegacyPool {
    /// Name, required and unique.
    pub name: Option<String>,
    /// `layer2` or `bgp`, required.
    pub protocol: Option<String>,
    /// Blocks and ranges.
    pub addresses: Option<Vec<String>>,
    /// Keep back IPv4 addresses that end in .0 and .255.
    pub avoid_buggy_ips: Option<bool>,
    /// Give out addresses unasked; true by default.
    pub auto_assign: Option<bool>,
    /// Only for `bgp`.
    pub bgp_advertisements: Option<Vec<LegacyBgpAdvertisement>>,
}

/// Why a v0.9 document is invalid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LegacyError {
    /// A pool has no name.
    #[error("the pool has no name")]
    NoName,
    /// A pool has no protocol.
    #[error("the pool has no protocol: write layer2")]
    NoProtocol,
    /// A protocol other than the two.
    #[error("protocol {protocol:?} is neither layer2 nor bgp")]
    UnknownProtocol {
        /// What was written.
        protocol: String,
    },
    /// A `layer2` pool has BGP advertisements.
    #[error("a layer2 pool can't have bgp-advertisements")]
    BgpInLayer2,
    /// A pool with protocol `bgp`.
    #[error("the protocol bgp is not served: addresses are given out, and nothing announces them")]
    BgpNotServed,
    /// Peers are there.
    #[error("BGP peers are not served: they are ignored")]
    PeersNotServed,
    /// An aggregation length above 32.
    #[error("aggregation-length {length} is above 32")]
    AggregationTooLong {
        /// The length.
        length: i64,
    },
    /// An aggregation that is wider than one of the pool's blocks.
    #[error("aggregation-length {length} is shorter than the prefix of {block}, a part of the pool")]
    AggregationTooShort {
        /// The length.
        length: i64,
        /// The block.
        block: ipnet::IpNet,
    },
    /// A community that is neither `a:b` nor a known name.
    #[error(
        "{text:?} is neither a BGP community (two numbers up to 65535, such as 64512:1234) nor a name of one"
    )]
    BadCommunity {
        /// What was written.
        text: String,
    },
    /// A required AS number is missing or zero.
    #[error("the AS number is missing or zero")]
    NoAsn,
    /// The address of a peer or a router id can't be read.
    #[error("{text:?} is not an IP address")]
    BadAddress {
        /// What was written; empty if nothing was.
        text: String,
    },
    /// The hold time can't be read or is between 0 and 3 s.
    #[error("hold-time {text:?} is neither 0 nor a duration of at least 3s")]
    BadHoldTime {
        /// What was written.
        text: String,
    },
}

impl LegacyError {
    /// Whether the document stays valid.
    pub fn is_warning(&self) -> bool {
        match self {
            Self::BgpNotServed | Self::PeersNotServed => true,
            Self::NoName
            | Self::NoProtocol
            | Self::UnknownProtocol { .. }
            | Self::BgpInLayer2
            | Self::AggregationTooLong { .. }
            | Self::AggregationTooShort { .. }
            | Self::BadCommunity { .. }
            | Self::NoAsn
            | Self::BadAddress { .. }
            | Self::BadHoldTime { .. } => false,
        }
    }
}

/// A v0.9 document as pools and advertisements, to be judged by
/// [`Config::validate_strict`](super::Config::validate_strict).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct LegacyConfig {
    /// The `ConfigMap`.
    pub place: Place,
    /// One for each pool.
    pub pools: Vec<RawPool>,
    /// One for each `layer2` pool, naming it.
    pub advertisements: Vec<RawAdvertisement>,
    /// Parts that are valid and have no effect.
    #[serde(skip)]
    pub warnings: Vec<Problem>,
}

impl LegacyDocument {
    /// Converts the document as MetalLB's `configmaptocrs` does. `place` is the `ConfigMap`.
    pub fn into_raw(self, place: &Place) -> Result<LegacyConfig, Vec<Problem>> {
        let mut config = LegacyConfig { place: place.clone(), ..LegacyConfig::default() };
        let mut errors = Vec::new();
        let mut note = |problem: Problem, warnings: &mut Vec<Problem>| {
            if problem.is_warning() { warnings.push(problem) } else { errors.push(problem) }
        };
        let communities = self.bgp_communities.unwrap_or_default();
        for problem in bgp::check_communities(&communities, place) {
            note(problem, &mut config.warnings);
        }
        for (index, peer) in self.peers.unwrap_or_default().iter().enumerate() {
            for problem in peer.check(&place.field(format!("peers[{index}]"))) {
                note(problem, &mut config.warnings);
            }
        }
        for (index, pool) in self.address_pools.unwrap_or_default().into_iter().enumerate() {
            let at = place.field(format!("address-pools[{index}]"));
            for problem in pool.check(&at, &communities) {
                note(problem, &mut config.warnings);
            }
            let layer2 = pool.protocol.as_deref() == Some("layer2");
            let pool = pool.into_raw(at);
            let announced = config.advertisements.iter().any(|ad| ad.name == pool.name);
            if layer2 && !announced {
                config.advertisements.push(RawAdvertisement {
                    place: pool.place.clone(),
                    name: pool.name.clone(),
                    pools: vec![pool.name.clone()],
                    ..RawAdvertisement::default()
                });
            }
            config.pools.push(pool);
        }
        if errors.is_empty() { Ok(config) } else { Err(errors) }
    }
}

impl LegacyPool {
    fn check(&self, at: &Place, communities: &BTreeMap<String, String>) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut note = |field: &str, error: LegacyError| {
            problems.push(Problem::new(at.field(format!("{}.{field}", at.field)), error));
        };
        if self.name.as_deref().is_none_or(str::is_empty) {
            note("name", LegacyError::NoName);
        }
        let bgp = self.bgp_advertisements.as_deref().unwrap_or_default();
        match self.protocol.as_deref() {
            None | Some("") => note("protocol", LegacyError::NoProtocol),
            Some("layer2") if bgp.is_empty() => {}
            Some("layer2") => note("bgp-advertisements", LegacyError::BgpInLayer2),
            Some("bgp") => {
                note("protocol", LegacyError::BgpNotServed);
                let addresses = self.addresses.as_deref().unwrap_or_default();
                for (index, advertisement) in bgp.iter().enumerate() {
                    for (field, error) in advertisement.check(addresses, communities) {
                        note(&format!("bgp-advertisements[{index}].{field}"), error);
                    }
                }
            }
            Some(other) => {
                note("protocol", LegacyError::UnknownProtocol { protocol: other.chars().take(40).collect() });
            }
        }
        problems
    }

    fn into_raw(self, place: Place) -> RawPool {
        RawPool {
            place,
            name: self.name.unwrap_or_default(),
            addresses: self.addresses.unwrap_or_default(),
            auto_assign: self.auto_assign.unwrap_or(true),
            avoid_buggy_ips: self.avoid_buggy_ips.unwrap_or(false),
            ..RawPool::default()
        }
    }
}
