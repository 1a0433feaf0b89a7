//! The report, as `-o json` prints it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Serialize;

use crate::agent::state::State;
use crate::dataplane::Mode;
use crate::dataplane::ebpf::Counts;

/// Everything.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    /// Milliseconds until the table falls silent; negative: it is silent since then.
    pub(super) valid_for_ms: i64,
    /// Time of the report, nanoseconds of `CLOCK_BOOTTIME`: the clock of every other time in it.
    pub(super) now_ns: u64,
    /// Addresses there is room for.
    pub(super) max_vips: u32,
    /// Kernel memory of the maps, bytes.
    pub(super) map_bytes: u64,
    /// Entries of the table.
    pub(super) entries: Vec<Row>,
    /// Own addresses whose liveness probes are reflected.
    pub(super) reflectors: Vec<Reflector>,
    /// Stations whose probes are reflected.
    pub(super) members: Vec<Member>,
    /// The node's standing among those that may own its addresses.
    pub(super) epoch: u32,
    /// How often each outcome happened.
    pub(super) outcomes: BTreeMap<&'static str, u64>,
    /// Attached links, by the pins: also without an agent.
    pub(super) links: Vec<Link>,
    /// Folders of maps.
    pub(super) maps: Vec<String>,
    /// Addresses that were asked for and have no entry.
    pub(super) without_entry: Vec<IpAddr>,
    /// What the agent says, if one answers.
    pub(super) agent: Option<State>,
}

/// One entry with its counters.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Row {
    pub(super) ip: IpAddr,
    pub(super) link: u32,
    pub(super) interface: String,
    pub(super) vlans: String,
    pub(super) mac: String,
    pub(super) state: &'static str,
    pub(super) slot: u32,
    pub(super) counts: Counts,
    /// Milliseconds since it was last asked for.
    pub(super) last_seen_ms: Option<u64>,
}

/// An own address that takes part in liveness.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Reflector {
    pub(super) ip: IpAddr,
    pub(super) link: u32,
    pub(super) interface: String,
    pub(super) discriminator: u32,
    /// What probes are answered.
    pub(super) state: &'static str,
}

/// A station that may probe.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Member {
    pub(super) ip: IpAddr,
    pub(super) link: u32,
    pub(super) interface: String,
    pub(super) mac: String,
}

/// A pinned link.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Link {
    pub(super) index: u32,
    /// Empty when the interface is gone.
    pub(super) interface: String,
    /// Nothing when the program is not attached any more.
    pub(super) mode: Option<Mode>,
    /// Id of the program.
    pub(super) program: Option<u32>,
    /// The interface receives all multicast.
    pub(super) allmulti: bool,
    pub(super) pin: String,
}
