//! What the agent says of itself: the admin socket's answer, shown by `barelb inspect`.
//!
//! The maps tell what is answered; only the agent knows why, and what was wrong with the configuration.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::sessions::SessionState;

use serde::{Deserialize, Serialize};

/// The admin socket below the state directory.
pub const SOCKET: &str = "admin.sock";
/// Request line that is answered with one line of JSON, a [`State`].
pub const GET_STATE: &str = "state";
/// Request line, followed by a blank and an address, that is answered with lines of JSON, a [`Traced`] each, until the
/// client closes.
pub const TRACE: &str = "trace";

/// A snapshot of the agent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// Version of the program.
    pub version: String,
    /// Process id.
    pub pid: u32,
    /// Name of the node.
    pub node: String,
    /// False until the first full list of objects was turned into the table: until then the deadline is not moved.
    pub synced: bool,
    /// `--grace`, milliseconds.
    pub grace_ms: u64,
    /// Links this agent wants to answer on.
    pub links: Vec<LinkState>,
    /// Services with addresses, and what became of each address on this node.
    pub services: Vec<ServiceState>,
    /// What is wrong with the configuration.
    pub problems: Vec<String>,
    /// How often the map held something else than this agent had written, and was repaired.
    pub repairs: u64,
    /// Conflicts seen since the start, by address.
    pub conflicts: BTreeMap<IpAddr, ConflictState>,
    /// Solicited-node groups.
    pub groups: GroupState,
    /// Announcement frames sent, and those that could not be.
    pub announced: u64,
    /// Announcement frames the kernel refused.
    pub announce_errors: u64,
    /// Other nodes that are watched.
    #[serde(default)]
    pub peers: Vec<SessionState>,
}

/// A link.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LinkState {
    /// Interface index.
    pub index: u32,
    /// Interface name.
    pub name: String,
    /// `native`, `tcx`, `generic`, or nothing when not attached.
    pub mode: Option<String>,
    /// Modes that were not used, and why.
    pub refused: Vec<String>,
}

/// A Service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceState {
    /// `namespace/name`.
    pub name: String,
    /// Its addresses and what this node does about each.
    pub addresses: BTreeMap<IpAddr, String>,
    /// Why it has no address, or not the one it asks for.
    pub error: Option<String>,
}

/// A conflict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConflictState {
    /// The station that claimed the address last.
    pub mac: String,
    /// Events seen, at most one a second.
    pub count: u64,
    /// When it was seen last, nanoseconds of `CLOCK_BOOTTIME`.
    pub last_ns: u64,
}

/// Solicited-node groups.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupState {
    /// Groups the kernel joined: it answers queries for them also without the agent.
    pub joined: usize,
    /// Groups only in the NIC's filter: a snooping switch may not forward them.
    pub filter_only: usize,
    /// Groups that are neither.
    pub missing: usize,
    /// Interfaces set to receive all multicast.
    pub allmulti: Vec<u32>,
    /// Refusals.
    pub errors: Vec<String>,
}

/// One line of a trace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Traced {
    /// Nanoseconds of `CLOCK_BOOTTIME`.
    pub time_ns: u64,
    /// `conflict`, `firstRequest` or `request` (at most one a second and address).
    pub kind: String,
    /// What happened to the frame, a name of the outcome vocabulary.
    pub outcome: String,
    /// Interface index.
    pub link: u32,
    /// VLANs, as in `barelb.io/vlan`, or `untagged`.
    pub vlans: String,
    /// Our address.
    pub ip: IpAddr,
    /// The other station.
    pub peer_mac: String,
    /// Its address; unspecified for a probe.
    pub peer: IpAddr,
}
