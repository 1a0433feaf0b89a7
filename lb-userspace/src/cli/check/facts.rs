//! What a check judges: the node and its interfaces as values.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::rivals::Rival;
use crate::dataplane::Mode;
use crate::dataplane::ebpf::Program;

/// The node.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) kernel: String,
    pub(super) embedded: bool,
    pub(super) tcx: bool,
    pub(super) bpffs: Result<(), String>,
    pub(super) missing_capabilities: Vec<String>,
    /// Interfaces that were named and are not there.
    pub(super) absent: Vec<String>,
    pub(super) kube_ipvs: bool,
    /// `net.ipv4.conf.all.arp_ignore` is 0.
    pub(super) answers_on_any_link: bool,
    pub(super) rivals: BTreeSet<Rival>,
    pub(super) links: Vec<LinkFacts>,
}

/// An interface.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts of an interface")]
pub(super) struct LinkFacts {
    pub(super) name: String,
    pub(super) driver: String,
    pub(super) ethernet: bool,
    pub(super) up: bool,
    pub(super) carrier: bool,
    /// `NOARP` is set.
    pub(super) noarp: bool,
    /// The bridge, bond or VRF it belongs to.
    pub(super) controller: Option<String>,
    /// The driver has native XDP; `None` = the kernel can't tell.
    pub(super) native: Option<bool>,
    /// How a program of this `--bpffs` is attached now.
    pub(super) attached: Option<Mode>,
    /// Programs of others, by hook.
    pub(super) foreign: Vec<(Hook, Program)>,
    /// Kinds of tc classifiers on received frames.
    pub(super) classifiers: Vec<String>,
    /// What could not be read, and why.
    pub(super) unread: Vec<(&'static str, String)>,
    pub(super) rx_vlan: bool,
    pub(super) rx_vlan_filter: bool,
    /// VLANs with addresses of ours (the outer tag), and whether IPv6 ones are among them.
    pub(super) vlans: BTreeMap<u16, bool>,
    /// VLAN interfaces on top of it.
    pub(super) vlan_devices: BTreeSet<u16>,
    /// The larger of the interface's `rp_filter` and that of `all`, which is the one in force.
    pub(super) rp_filter: u8,
    pub(super) no_ipv6: bool,
    pub(super) broadcast: Broadcast,
}

/// Where a program sits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Hook {
    Native,
    Generic,
    Offloaded,
    TcxIngress,
}

/// Whether broadcast arrives, and how that is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Broadcast {
    /// Nobody looked.
    #[default]
    Unknown,
    /// The driver counts this many received.
    Counted(u64),
    /// One came while this command listened.
    Heard,
    /// None came in that time.
    Silent(Duration),
    /// It could not listen.
    Deaf(String),
}

impl Default for Facts {
    fn default() -> Self {
        Self {
            kernel: String::new(),
            embedded: false,
            tcx: false,
            bpffs: Ok(()),
            missing_capabilities: Vec::new(),
            absent: Vec::new(),
            kube_ipvs: false,
            answers_on_any_link: false,
            rivals: BTreeSet::new(),
            links: Vec::new(),
        }
    }
}
