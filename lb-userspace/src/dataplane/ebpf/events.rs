//! The ring buffer: conflicts, first requests, sampled requests.

use std::net::IpAddr;
use std::os::fd::{AsRawFd, RawFd};

use aya::maps::{MapData, RingBuf};
use lb_common::abi::{self, EventKind};
use lb_common::outcome::Outcome;
use lb_core::ids::{LinkId, Mac, Vlans};
use lb_core::plan::Target;
use serde::Serialize;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::counts::address;
use super::table::read_pod;

/// Something the BPF program reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// Nanoseconds of `CLOCK_BOOTTIME`.
    pub time_ns: u64,
    /// What it is.
    pub kind: Kind,
    /// What happened to the frame.
    pub outcome: Outcome,
    /// Our address, and where the frame came in.
    pub target: Target,
    /// The other station.
    pub peer_mac: Mac,
    /// Its address; unspecified for a probe.
    pub peer: IpAddr,
}

/// Kind of an [`Event`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Kind {
    /// Another station claims our address.
    Conflict,
    /// First request for an address.
    FirstRequest,
    /// A sampled request.
    Request,
}

/// The consumer; there is exactly one per ring, the agent.
pub struct Events {
    ring: RingBuf<MapData>,
}

impl Events {
    pub(super) fn new(ring: RingBuf<MapData>) -> Self {
        Self { ring }
    }

    /// The ring, to be waited for. Needs a tokio runtime with I/O.
    #[expect(unsafe_code, reason = "tokio wants it said that the descriptor stays open")]
    pub fn readable(self) -> std::io::Result<AsyncFd<Self>> {
        // SAFETY: the ring owns its descriptor and is owned by the AsyncFd, so the descriptor stays open as long as it
        // is registered.
        unsafe { AsyncFd::register_with_interest(self, Interest::READABLE) }.map_err(Into::into)
    }

    /// The next event; records that make no sense are skipped.
    pub fn next(&mut self) -> Option<Event> {
        loop {
            let record = self.ring.next()?;
            if let Some(event) = read_pod::<abi::Event>(&record).and_then(|raw| parse(&raw)) {
                return Some(event);
            }
        }
    }
}

impl AsRawFd for Events {
    fn as_raw_fd(&self) -> RawFd {
        self.ring.as_raw_fd()
    }
}

fn parse(raw: &abi::Event) -> Option<Event> {
    let kind = match EventKind::from_u32(raw.kind)? {
        EventKind::Conflict => Kind::Conflict,
        EventKind::FirstRequest => Kind::FirstRequest,
        EventKind::Request => Kind::Request,
    };
    let vlans = Vlans::from_ids(raw.vlans.outer(), raw.vlans.inner()).ok()?;
    Some(Event {
        time_ns: raw.time_ns,
        kind,
        outcome: Outcome::from_index(raw.outcome)?,
        target: Target { link: LinkId(raw.ifindex), vlans, ip: address(raw.addr) },
        peer_mac: Mac(raw.peer_mac),
        peer: address(raw.peer),
    })
}
