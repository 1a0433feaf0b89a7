//! Attaching to links: the pinned link of the agent before is adopted, its program replaced in one step; else the
//! modes are tried in order. Somebody else's program is never displaced.
#![expect(clippy::wildcard_enum_match_arm, reason = "enums of aya, open to further variants")]

use std::fs;
use std::io;

use aya::Ebpf;
use aya::programs::links::{FdLink, LinkError, LinkOrder, LinkType, PinnedLink};
use aya::programs::tc::{SchedClassifierLink, TcAttachOptions};
use aya::programs::xdp::{XdpLink, XdpMode};
use aya::programs::{ProgramError, TcAttachType};
use aya::sys::SyscallError;
use lb_core::ids::LinkId;

use super::super::mode::{self, Mode, ModeChoice};
use super::super::{Attachment, DataplaneError, LinkFacts, Refusal};
use super::object;
use super::pins::{self, Pins};

/// Why a link could not be attached to in one mode.
#[derive(Debug, thiserror::Error)]
enum AttachError {
    #[error("XDP program {0} of somebody else is attached in {1} mode; `bpftool prog show id {0}` names it")]
    Foreign(u32, Mode),
    #[error("another XDP program is attached; `bpftool net show` names it")]
    ForeignUnknown,
    #[error("the driver has no native XDP")]
    Unsupported,
    #[error("the kernel made no bpf_link, so the program could not outlive the agent")]
    NoLink,
    #[error("the device of the pinned link is gone")]
    Severed,
    #[error("the driver refused: {0}")]
    Refused(#[source] io::Error),
    #[error(transparent)]
    Program(#[from] ProgramError),
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error(transparent)]
    Dataplane(#[from] DataplaneError),
}

/// One link to attach to.
pub(super) struct Attach<'a> {
    pub(super) ebpf: &'a mut Ebpf,
    pub(super) pins: &'a Pins,
    pub(super) choice: ModeChoice,
    pub(super) link: LinkId,
    pub(super) facts: &'a LinkFacts,
}

impl Attach<'_> {
    /// Adopts the pinned link, or attaches anew.
    pub(super) fn run(mut self) -> Attachment {
        let (modes, mut refused) = mode::ladder(self.choice, self.facts, object::kernel_has_tcx());
        let pinned = self.pinned();
        if let Some(mode) = pinned
            && modes.contains(&mode)
        {
            match self.adopt(mode) {
                Ok(()) => return self.attached(mode, refused),
                Err(AttachError::Severed) => {}
                Err(error) => {
                    tracing::warn!(link = self.facts.name, %mode, %error, "can't adopt the pinned link");
                }
            }
            drop(self.pins.remove_link(self.link));
        }
        // The two modes of XDP exclude each other; tcx beside either of them leaves no gap.
        let conflicting = |mode| pinned.is_some_and(|old| old != Mode::Tcx && mode != Mode::Tcx);
        for mode in modes {
            if conflicting(mode) {
                drop(self.pins.remove_link(self.link));
            }
            match self.attach(mode) {
                Ok(()) => return self.attached(mode, refused),
                Err(error) => refused.push(Refusal { mode, reason: error.to_string() }),
            }
        }
        drop(self.pins.remove_link(self.link));
        Attachment { name: self.facts.name.clone(), mode: None, refused }
    }

    fn attached(&self, mode: Mode, refused: Vec<Refusal>) -> Attachment {
        Attachment { name: self.facts.name.clone(), mode: Some(mode), refused }
    }

    /// The mode of the pinned link, if there is one whose device exists.
    fn pinned(&self) -> Option<Mode> {
        let link = FdLink::from(PinnedLink::from_pin(self.pins.link(self.link)).ok()?);
        let info = link.info().ok()?;
        match info.link_type().ok()? {
            LinkType::Tcx => Some(Mode::Tcx),
            LinkType::Xdp if self.facts.xdp.0 == Some(info.program_id()) => Some(Mode::Native),
            LinkType::Xdp if self.facts.xdp.1 == Some(info.program_id()) => Some(Mode::Generic),
            _ => None,
        }
    }

    /// Replaces the program of the pinned link: one atomic step, no frame sees none.
    fn adopt(&mut self, mode: Mode) -> Result<(), AttachError> {
        let link = FdLink::from(PinnedLink::from_pin(self.pins.link(self.link))?);
        let result = if mode == Mode::Tcx {
            let link = SchedClassifierLink::try_from(link)?;
            let program = object::tcx(self.ebpf)?;
            program.attach_to_link(link).and_then(|id| program.take_link(id)).map(drop)
        } else {
            let link = XdpLink::try_from(link)?;
            let program = object::xdp(self.ebpf)?;
            program.attach_to_link(link).and_then(|id| program.take_link(id)).map(drop)
        };
        result.map_err(|error| match errno(&error) {
            Some(libc::ENOLINK) => AttachError::Severed,
            _ => error.into(),
        })
    }

    /// Attaches in one mode and pins the link over the old one.
    fn attach(&mut self, mode: Mode) -> Result<(), AttachError> {
        let link: FdLink = match mode {
            Mode::Native => self.xdp(XdpMode::Driver)?,
            Mode::Generic => self.xdp(XdpMode::Skb)?,
            Mode::Tcx => self.tcx()?,
        };
        // Pinned under a name of its own first: renaming replaces the old link in one step.
        let path = self.pins.link(self.link);
        let new = self.pins.new_link(self.link);
        drop(fs::remove_file(&new));
        link.pin(&new).map_err(|error| pins::failed("pin a link to", &new)(pins::refusal(error)))?;
        fs::rename(&new, &path).map_err(pins::failed("rename", &new))?;
        Ok(())
    }

    fn xdp(&mut self, mode: XdpMode) -> Result<FdLink, AttachError> {
        let present = self.facts.xdp;
        let program = object::xdp(self.ebpf)?;
        let id = program.attach_to_if_index(self.link.0, mode).map_err(|error| match errno(&error) {
            Some(libc::EBUSY | libc::EEXIST) => match present {
                (Some(id), _) => AttachError::Foreign(id, Mode::Native),
                (None, Some(id)) => AttachError::Foreign(id, Mode::Generic),
                (None, None) => AttachError::ForeignUnknown,
            },
            Some(libc::EOPNOTSUPP) => AttachError::Unsupported,
            Some(code) => AttachError::Refused(io::Error::from_raw_os_error(code)),
            // aya asked for a link, got EINVAL and then failed by netlink too.
            None if matches!(error, ProgramError::XdpError(_)) => AttachError::NoLink,
            None => error.into(),
        })?;
        // aya falls back on netlink when the kernel refuses a link; that could not be pinned. Dropping it detaches.
        FdLink::try_from(program.take_link(id)?).map_err(|_error| AttachError::NoLink)
    }

    fn tcx(&mut self) -> Result<FdLink, AttachError> {
        let program = object::tcx(self.ebpf)?;
        let first = TcAttachOptions::TcxOrder(LinkOrder::first());
        let id =
            program.attach_with_options(&self.facts.name, TcAttachType::Ingress, first).map_err(|error| {
                errno(&error).map_or_else(
                    || error.into(),
                    |code| AttachError::Refused(io::Error::from_raw_os_error(code)),
                )
            })?;
        FdLink::try_from(program.take_link(id)?).map_err(|_error| AttachError::NoLink)
    }
}

/// The errno behind a refusal.
fn errno(error: &ProgramError) -> Option<i32> {
    match error {
        ProgramError::SyscallError(SyscallError { io_error, .. }) => io_error.raw_os_error(),
        _ => None,
    }
}
