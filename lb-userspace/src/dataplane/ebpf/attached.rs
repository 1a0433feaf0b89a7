//! What is attached to a link by the kernel's own account: our pinned links, and programs of others. Reads only.

use std::collections::BTreeMap;

use aya::programs::links::{FdLink, LinkType, PinnedLink};
use aya::programs::tc::SchedClassifier;
use aya::programs::{ProgramError, ProgramInfo, TcAttachType, loaded_programs};
use lb_core::ids::LinkId;

use super::super::Mode;
use super::pins::Pins;
use crate::net::links::XdpPrograms;

/// The program a pinned link runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pinned {
    /// Id of the program.
    pub program: u32,
    tcx: bool,
}

impl Pinned {
    /// How it is attached; `None` when the link has lost its interface.
    pub fn mode(self, present: XdpPrograms) -> Option<Mode> {
        match self.program {
            _ if self.tcx => Some(Mode::Tcx),
            id if present.native == Some(id) => Some(Mode::Native),
            id if present.generic == Some(id) => Some(Mode::Generic),
            _ => None,
        }
    }
}

/// The pinned links; `None` for a pin that can't be read.
pub fn pinned(pins: &Pins) -> BTreeMap<LinkId, Option<Pinned>> {
    let read = |link: LinkId| {
        let info = FdLink::from(PinnedLink::from_pin(pins.link(link)).ok()?).info().ok()?;
        Some(Pinned { program: info.program_id(), tcx: info.link_type().ok()? == LinkType::Tcx })
    };
    pins.links().into_iter().map(|link| (link, read(link))).collect()
}

/// A program that is attached somewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Its id.
    pub id: u32,
    /// Its name, empty when it has none or must not be asked.
    pub name: String,
}

impl Program {
    /// The program with this id.
    pub fn with_id(id: u32) -> Self {
        let found = loaded_programs().filter_map(Result::ok).find(|info| info.id() == id);
        let name = found.as_ref().and_then(|info| info.name_as_str()).unwrap_or_default().to_owned();
        Self { id, name }
    }
}

/// Programs on the tcx ingress hook of an interface of this thread's namespace, in their order.
pub fn tcx_programs(interface: &str) -> Result<Vec<Program>, ProgramError> {
    let (_, programs) = SchedClassifier::query_tcx(interface, TcAttachType::Ingress)?;
    let named = |info: &ProgramInfo| Program {
        id: info.id(),
        name: info.name_as_str().unwrap_or_default().to_owned(),
    };
    Ok(programs.iter().map(named).collect())
}
