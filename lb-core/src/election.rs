//! Which node is first for an address (MetalLB `speaker/layer2_controller.go`, `ShouldAnnounce`).
//!
//! Nodes are sorted by preferred score, highest first, then by sha256(node + "#" + address), lowest first. Every
//! node computes the same order from the same objects; nothing is negotiated. The order of the remaining nodes
//! does not change when one leaves, so only the addresses of that node move. [`Orders`] remembers the orders, because a
//! cluster has many addresses and nodes.

use std::{cmp::Reverse, net::IpAddr};

use sha2::{Digest, Sha256};

use crate::ids::NodeName;

mod orders;
#[cfg(test)]
mod tests;

pub use orders::Orders;
pub(crate) use orders::{Field, Number, Standpoint};

/// A node's place in the order of one address: the lowest wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    score: Reverse<u32>,
    hash: [u8; 32],
}

/// The part of the hash that is the same for all nodes: `#` and the address's canonical text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RankKey(String);

impl RankKey {
    /// The key of an address, by its text as Go and Rust both write it (RFC 5952).
    pub fn new(ip: IpAddr) -> Self {
        Self(format!("#{ip}"))
    }
}

/// The rank of a node with a preferred score for an address.
pub fn rank(node: &NodeName, score: u32, key: &RankKey) -> Rank {
    let hash = Sha256::new().chain_update(node.as_str()).chain_update(&key.0).finalize();
    Rank { score: Reverse(score), hash: hash.into() }
}

/// All candidates in the order in which they own the address; `candidates` are names with scores, without
/// duplicates, in any order.
pub fn order<'a>(
    candidates: impl IntoIterator<Item = (&'a NodeName, u32)>,
    key: &RankKey,
) -> Vec<&'a NodeName> {
    let mut ranked: Vec<_> =
        candidates.into_iter().map(|(node, score)| (rank(node, score, key), node)).collect();
    ranked.sort_unstable();
    ranked.into_iter().map(|(_, node)| node).collect()
}
