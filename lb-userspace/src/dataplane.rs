//! What answers on the wire, behind one trait: the agent says what the table should hold and until when it is
//! valid; [`ebpf`] makes the kernel do it, [`memory`] is a double with the same semantics for tests.
//!
//! Invariants, pinned by the contract test that runs against both:
//! * [`Dataplane::actual`] is read back, never remembered: what somebody else changed shows up.
//! * [`Dataplane::apply`] removes before it adds, and when it returns no removed entry is answered.
//! * Nothing is answered after [`Dataplane::valid_until`], whatever happens to the agent.
//! * [`Dataplane::reflect`] writes only what differs: what is reflected already is reflected on meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use lb_core::burst::Asked;
use lb_core::ids::LinkId;
use lb_core::plan::{Changes, Entry, Target};
use serde::Serialize;

pub mod ebpf;
pub mod memory;
pub mod mode;
mod reflection;

pub use mode::{Mode, ModeChoice};
pub use reflection::{Reflecting, Reflection};

/// The table, its deadline and the links it is attached to.
pub trait Dataplane {
    /// What the table holds now.
    fn actual(&mut self) -> Result<BTreeMap<Target, Entry>, DataplaneError>;

    /// Cheap test whether the table still holds what the last [`Dataplane::actual`] and [`Dataplane::apply`] left.
    fn is_untouched(&mut self) -> Result<bool, DataplaneError>;

    /// Looks at the next part of the table, so that all of it is looked at without a pause that is noticed. Each part is
    /// judged by itself: a change is found when its part is looked at, not when the last one is.
    fn audit(&mut self) -> Result<Audit, DataplaneError> {
        Ok(if self.is_untouched()? { Audit::Whole } else { Audit::Changed })
    }

    /// Makes the changes, removals first. Entries for which there is no room are returned.
    fn apply(&mut self, changes: &Changes, now_ns: u64) -> Result<Vec<Target>, DataplaneError>;

    /// The last request for each of these, answered or not; nothing of those that nobody asked for.
    fn asked(&mut self, targets: &BTreeSet<Target>) -> Result<BTreeMap<Target, Asked>, DataplaneError>;

    /// When the table falls silent, nanoseconds of `CLOCK_BOOTTIME`.
    fn valid_until(&mut self) -> Result<u64, DataplaneError>;

    /// Moves that time, and nothing else.
    fn set_valid_until(&mut self, boot_ns: u64) -> Result<(), DataplaneError>;

    /// The node's standing among those that may own its addresses, as the last agent left it; 0 when none has.
    fn epoch(&mut self) -> Result<u32, DataplaneError>;

    /// Leaves it for the agent that comes next, and changes nothing else.
    fn set_epoch(&mut self, epoch: u32) -> Result<(), DataplaneError>;

    /// Makes the data plane reflect exactly these liveness probes, up to [`Dataplane::valid_until`]. Where there is no room
    /// for all, the first ones are reflected, and the error says so.
    fn reflect(&mut self, reflection: &Reflection) -> Result<(), DataplaneError>;

    /// Attaches to exactly these links; says what became of each.
    fn attach(&mut self, links: &BTreeMap<LinkId, LinkFacts>) -> BTreeMap<LinkId, Attachment>;
}

/// What looking at a part of the table has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audit {
    /// This part is as it was left, and there are more.
    Part,
    /// This was the last part: all of the table is as it was left.
    Whole,
    /// Somebody has changed it.
    Changed,
}

/// What decides how a link is attached to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkFacts {
    /// Interface name, for messages and for the tcx hook.
    pub name: String,
    /// Driver name (`ethtool -i`), empty when unknown.
    pub driver: String,
    /// The hardware may take VLAN tags off before XDP sees the frame.
    pub strips_tags: bool,
    /// The driver has shown that it loses what XDP sends.
    pub loses_native: bool,
    /// Program ids the link has in native and in generic mode, from netlink.
    pub xdp: (Option<u32>, Option<u32>),
}

/// What became of a link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Attachment {
    /// Interface name.
    pub name: String,
    /// How it is attached, if it is.
    pub mode: Option<Mode>,
    /// Modes that were not used, with the reason for each.
    pub refused: Vec<Refusal>,
}

/// Why a mode was not used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// The mode.
    pub mode: Mode,
    /// The reason, for people.
    pub reason: String,
}

impl fmt::Display for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mode {
            Some(mode) => write!(f, "{}: {mode}", self.name)?,
            None => write!(f, "{}: not attached", self.name)?,
        }
        for refusal in &self.refused {
            write!(f, "; not {}: {}", refusal.mode, refusal.reason)?;
        }
        Ok(())
    }
}

/// Why the data plane could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum DataplaneError {
    /// The binary was built without the BPF object.
    #[error("this binary holds no BPF program: build it with `cargo xtask build`")]
    NoObject,
    /// `--bpffs` is not a BPF file system.
    #[error("{path} is not a mounted BPF file system: run `mount -t bpf bpf {path}` on the node")]
    NoBpffs {
        /// The folder.
        path: String,
    },
    /// The BPF file system can't be written to.
    #[error("{path} is mounted read-only: run `mount -o remount,rw {path}` on the node")]
    ReadOnly {
        /// Where it is mounted.
        path: String,
    },
    /// A pin can't be made, renamed or removed.
    #[error("can't {action} {path}{}", advice(.source))]
    Pin {
        /// What was tried.
        action: &'static str,
        /// The pin.
        path: String,
        /// The refusal.
        #[source]
        source: std::io::Error,
    },
    /// The kernel or its verifier refused the object.
    #[error(
        "the kernel refused the BPF object; needed are CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON, and a kernel from 5.15"
    )]
    Load(#[source] Box<aya::EbpfError>),
    /// The kernel or its verifier refused a program.
    #[error(
        "the kernel refused program {program}; needed are CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON, and a kernel from 5.15"
    )]
    Program {
        /// Its name in the object.
        program: &'static str,
        /// The refusal, with the verifier's log.
        #[source]
        source: Box<aya::programs::ProgramError>,
    },
    /// Pinned maps that this version can't read.
    #[error(
        "the map pinned as {path} has another layout than this version's: use the `barelb` that made it, or start this version's agent, which replaces it"
    )]
    Layout {
        /// The pin.
        path: String,
    },
    /// A map or program is missing from the object: another build's.
    #[error("the BPF object has no {name}: it is not of this version")]
    Missing {
        /// Its name.
        name: &'static str,
    },
    /// A map can't be used.
    #[error("can't use BPF map {map}")]
    Map {
        /// Its name.
        map: &'static str,
        /// The refusal.
        #[source]
        source: Box<aya::maps::MapError>,
    },
    /// More is to be reflected than there is room for.
    #[error(
        "BPF map {map} has room for {room} of {wanted}: nodes that are left out do not hear whether this one lives; use fewer links or fewer nodes in one layer-2 network"
    )]
    Room {
        /// The map.
        map: &'static str,
        /// What was to be written.
        wanted: usize,
        /// Its size.
        room: usize,
    },
    /// A system call on a map failed.
    #[error("can't {action} BPF map {map}")]
    Syscall {
        /// What was tried.
        action: &'static str,
        /// The map.
        map: &'static str,
        /// The refusal.
        #[source]
        source: std::io::Error,
    },
}

/// What to do about a refusal of the BPF file system.
fn advice(refusal: &std::io::Error) -> &'static str {
    let kind = refusal.kind();
    if kind == std::io::ErrorKind::ReadOnlyFilesystem {
        ": the BPF file system is read-only; run `mount -o remount,rw` on its mount point"
    } else if kind == std::io::ErrorKind::PermissionDenied {
        ": run as the user who owns the BPF file system, or mount it with `-o mode=0777`; CAP_BPF is needed too"
    } else {
        ""
    }
}

/// Links that have an entry; nothing else is attached to.
pub fn links_of(entries: &BTreeMap<Target, Entry>) -> BTreeSet<LinkId> {
    entries.keys().map(|target| target.link).collect()
}
