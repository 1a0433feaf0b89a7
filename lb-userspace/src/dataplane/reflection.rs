//! Liveness of this node, reflected by the data plane: what it reflects, and to whom.

use std::collections::BTreeMap;
use std::net::IpAddr;

use lb_core::ids::{LinkId, Mac};

use super::DataplaneError;

/// All of it. What is not here is not reflected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reflection {
    /// Own addresses, per link.
    pub own: BTreeMap<(LinkId, IpAddr), Reflecting>,
    /// Whose probes are reflected, per link: addresses of other nodes, and the hardware address their probes come from.
    pub members: BTreeMap<(LinkId, IpAddr), Mac>,
}

/// What probes to one own address must name, and what they are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reflecting {
    /// Not 0: no probe names it.
    pub discriminator: u32,
    /// The node may own addresses on this link; else replies say that it is administratively down.
    pub up: bool,
}

/// An error when more was to be written than there is room for.
pub(super) fn room(map: &'static str, wanted: usize, room: usize) -> Result<(), DataplaneError> {
    if wanted > room { Err(DataplaneError::Room { map, wanted, room }) } else { Ok(()) }
}
