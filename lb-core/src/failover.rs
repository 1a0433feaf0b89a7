//! Who among the nodes on a link is there, within tens of milliseconds and without the API server.
//!
//! Which nodes may own an address, and in which order, follows from the objects of the cluster
//! ([`plan`](mod@crate::plan)). This module says which of them can at present: each agent has one [`Engine`] per link on
//! which it announces, all engines of a link probe each other (seamless BFD, RFC 7880), and each gives its node a
//! [`Place`]. The owner of an address is the candidate with the lowest epoch, and the first in rank among equals
//! ([`first`]). docs/adr/0011-failover.md has the rules and the reasons; `tests/failover.rs` holds the engines to them in
//! a simulated network.
//!
//! ```text
//! replies, messages ──> Engine::reply, Engine::message ─┐
//!                                                       ├─> Engine::poll ──> probes and messages to send
//! carrier, objects  ──> Engine::rejoin, set_peers ──────┘   Engine::view ──> who can own, for the plan
//! ```
//!
//! Nothing here reads a clock or the network: time is since any fixed origin of a monotonic clock, and whoever calls must
//! have taken in everything that has arrived before it lets the engine judge by [`Engine::poll`].

use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::ids::NodeName;

mod cuts;
mod engine;
mod message;
mod own;
mod peer;
mod reunion;
pub mod seal;
mod session;
mod standing;
mod view;

pub use cuts::{CutNews, Cuts};
pub use engine::{Engine, Output, PeerState, Settings, Start};
pub use message::{Message, Tell};
pub use own::Failback;
pub use session::{Remote, Status, Traffic};
pub use standing::{LinkStanding, Standing};
pub use view::{Place, View, first};

/// A node on the link, as whoever runs the engine numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub u16);

/// What the peers of a link are probed with, each by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Profile {
    /// From one probe to the next.
    pub interval: Duration,
    /// A node that has not been heard for so many intervals is down.
    pub multiplier: u32,
}

impl Profile {
    /// 10 ms × 3.
    pub const DEFAULT: Self = Self { interval: Duration::from_millis(10), multiplier: 3 };
    /// 3 ms × 3, for networks of a rack.
    pub const FAST: Self = Self { interval: Duration::from_millis(3), multiplier: 3 };

    /// The time after which a node that is silent is down, as RFC 5880 calls it.
    pub fn detection(&self) -> Duration {
        self.interval * self.multiplier
    }
}

/// The discriminator of a node (RFC 7880 §4): the same for all its agents from one boot to the next, not 0.
pub fn discriminator(node: &NodeName, boot_id: &str) -> u32 {
    let digest = Sha256::new().chain_update(node.as_str()).chain_update(boot_id.trim()).finalize();
    digest.first_chunk().map_or(1, |bytes| u32::from_be_bytes(*bytes)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_discriminator_is_that_of_a_node_and_its_boot() {
        let [a, b] = ["a", "b"].map(|name| NodeName::new(name).unwrap());
        assert_eq!(discriminator(&a, "1\n"), discriminator(&a, "1"));
        assert_ne!(discriminator(&a, "1"), discriminator(&a, "2"));
        assert_ne!(discriminator(&a, "1"), discriminator(&b, "1"));
    }
}
