//! Whole Ethernet frames in and out of an interface, by packet sockets.
//!
//! The kernel takes the outer VLAN tag of a received frame out of band before a packet socket sees it
//! (`skb_vlan_untag` in net/core/dev.c); [`Endpoint`] puts it back, so a frame is received as it was on the wire.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail};
use socket2::{Domain, Protocol, Socket, Type};

use crate::link::Interface;

pub use self::frames::{
    arp_request, is_chatter, neighbour_advertisement, neighbour_advertisement_to, neighbour_solicitation,
};
pub(crate) use self::message::Message;

mod frames;
mod message;

/// Enough for a second of small frames at a million per second on loopback-fast links.
const SOCKET_BUFFER: i32 = 64 << 20;

/// Has a socket tell when the kernel received what it hands over.
pub(crate) fn stamp(socket: &impl AsRawFd) -> Result<()> {
    let (on, length) = (1_i32, libc::socklen_t::try_from(size_of::<i32>())?);
    let (level, name) = (libc::SOL_SOCKET, libc::SO_TIMESTAMPNS);
    // SAFETY: value and length describe one live int.
    let done = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const on).cast(), length) };
    if done != 0 {
        return Err(io::Error::last_os_error()).context("SO_TIMESTAMPNS");
    }
    Ok(())
}

/// A received frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// From the destination address on, tags in band.
    pub bytes: Vec<u8>,
    /// When the kernel received it.
    pub at: SystemTime,
}

/// A packet socket on one interface: promiscuous, blind for what leaves the interface.
///
/// It is opened inside the interface's namespace and can be used from anywhere.
#[derive(Debug)]
pub struct Endpoint {
    fd: OwnedFd,
}

impl Endpoint {
    /// Receives from the moment of the call on.
    pub fn open(interface: &Interface) -> Result<Self> {
        let index = i32::try_from(interface.index())?;
        interface.namespace().enter(|| {
            // No protocol: nothing is received before the socket is bound to its interface.
            let socket = Socket::new(Domain::PACKET, Type::RAW, None::<Protocol>)
                .context("cannot open a packet socket")?;
            let endpoint = Self { fd: socket.into() };
            endpoint.set(libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &SOCKET_BUFFER)?;
            endpoint.set(libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, &1_i32)?;
            endpoint.set(libc::SOL_PACKET, libc::PACKET_AUXDATA, &1_i32)?;
            endpoint.set(libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, &1_i32)?;
            let promiscuous = libc::packet_mreq {
                mr_ifindex: index,
                mr_type: u16::try_from(libc::PACKET_MR_PROMISC)?,
                mr_alen: 0,
                mr_address: [0; 8],
            };
            endpoint.set(libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, &promiscuous)?;
            endpoint.bind(index)?;
            Ok(endpoint)
        })
    }

    /// Sends one frame as it is, padding and checksums included.
    pub fn send(&self, frame: &[u8]) -> Result<()> {
        // SAFETY: the pointer and the length are those of a live slice.
        let sent = unsafe { libc::send(self.fd.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
        if usize::try_from(sent) != Ok(frame.len()) {
            let error = io::Error::last_os_error();
            bail!("cannot send a frame of {} bytes: {error}", frame.len());
        }
        Ok(())
    }

    /// The next frame, or `None` when none has come until `deadline`.
    pub fn receive(&self, deadline: Instant) -> Result<Option<Frame>> {
        let mut message = Message::new();
        loop {
            if let Some(frame) = message.receive(&self.fd)? {
                return Ok(Some(frame));
            }
            if !self.wait(deadline)? {
                return Ok(None);
            }
        }
    }

    /// Throws away what has been received so far; how many frames that was.
    pub fn drain(&self) -> Result<usize> {
        let mut message = Message::new();
        let mut count = 0;
        while message.receive(&self.fd)?.is_some() {
            count += 1;
        }
        Ok(count)
    }

    /// How many frames the socket lost since the last call because nobody read them in time.
    pub fn dropped(&self) -> Result<u32> {
        let mut stats = libc::tpacket_stats { tp_packets: 0, tp_drops: 0 };
        let mut length = libc::socklen_t::try_from(size_of_val(&stats))?;
        let (level, name) = (libc::SOL_PACKET, libc::PACKET_STATISTICS);
        let value = (&raw mut stats).cast();
        // SAFETY: value and length describe one live tpacket_stats.
        let done = unsafe { libc::getsockopt(self.fd.as_raw_fd(), level, name, value, &raw mut length) };
        if done != 0 {
            return Err(io::Error::last_os_error()).context("PACKET_STATISTICS");
        }
        Ok(stats.tp_drops)
    }

    /// Sends `frame` and returns everything that came back within `wait`, without the kernel's chatter
    /// ([`is_chatter`]). Takes the whole of `wait`; see [`Endpoint::exchange_fenced`] for a quicker proof.
    pub fn exchange(&self, frame: &[u8], wait: Duration) -> Result<Vec<Vec<u8>>> {
        self.drain()?;
        self.send(frame)?;
        let deadline = Instant::now() + wait;
        let mut answers = Vec::new();
        while let Some(frame) = self.receive(deadline)? {
            if !is_chatter(&frame.bytes) {
                answers.push(frame.bytes);
            }
        }
        Ok(answers)
    }

    /// Sends `frame`, then `fence`, and returns everything received before the answer to the fence.
    ///
    /// Over links that keep the order, as [`crate::link::Veth`] does, an empty result proves that `frame` was
    /// not answered by the data plane, without waiting. A kernel that first has to resolve the requester may
    /// answer later than that; use [`Endpoint::exchange`] where the kernel's own answers matter. It is an error
    /// when the fence is not answered within `limit`.
    pub fn exchange_fenced(
        &self,
        frame: &[u8],
        fence: &[u8],
        is_fence: impl Fn(&[u8]) -> bool,
        limit: Duration,
    ) -> Result<Vec<Vec<u8>>> {
        self.drain()?;
        self.send(frame)?;
        self.send(fence)?;
        let deadline = Instant::now() + limit;
        let mut answers = Vec::new();
        while let Some(frame) = self.receive(deadline)? {
            if is_fence(&frame.bytes) {
                return Ok(answers);
            }
            if !is_chatter(&frame.bytes) {
                answers.push(frame.bytes);
            }
        }
        bail!("the fence was not answered within {limit:?}: nothing is proved about the frame before it")
    }

    /// Sends `frame`; the first frame `is_answer` accepts, or `None` after `wait`.
    pub fn ask(
        &self,
        frame: &[u8],
        wait: Duration,
        is_answer: impl Fn(&[u8]) -> bool,
    ) -> Result<Option<Vec<u8>>> {
        self.drain()?;
        self.send(frame)?;
        let deadline = Instant::now() + wait;
        while let Some(frame) = self.receive(deadline)? {
            if is_answer(&frame.bytes) {
                return Ok(Some(frame.bytes));
            }
        }
        Ok(None)
    }

    /// Waits until something can be received; false at `deadline`.
    fn wait(&self, deadline: Instant) -> Result<bool> {
        let left = deadline.saturating_duration_since(Instant::now());
        // Rounded up: a zero would spin through the last millisecond.
        let timeout = i32::try_from(left.as_micros().div_ceil(1000))?;
        if timeout == 0 {
            return Ok(false);
        }
        let mut poll = libc::pollfd { fd: self.fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one live pollfd.
        if unsafe { libc::poll(&raw mut poll, 1, timeout) } < 0 {
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error).context("poll on a packet socket");
            }
        }
        Ok(true)
    }

    fn set<T>(&self, level: i32, name: i32, value: &T) -> Result<()> {
        let length = libc::socklen_t::try_from(size_of::<T>())?;
        let value = std::ptr::from_ref(value).cast();
        // SAFETY: value and length describe one live T, and every caller passes the type the option wants.
        if unsafe { libc::setsockopt(self.fd.as_raw_fd(), level, name, value, length) } != 0 {
            return Err(io::Error::last_os_error()).with_context(|| format!("packet socket option {name}"));
        }
        Ok(())
    }

    fn bind(&self, index: i32) -> Result<()> {
        let address = libc::sockaddr_ll {
            sll_family: u16::try_from(libc::AF_PACKET)?,
            sll_protocol: u16::try_from(libc::ETH_P_ALL)?.to_be(),
            sll_ifindex: index,
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 0,
            sll_addr: [0; 8],
        };
        let length = libc::socklen_t::try_from(size_of_val(&address))?;
        // SAFETY: address and length describe one live sockaddr_ll.
        if unsafe { libc::bind(self.fd.as_raw_fd(), (&raw const address).cast(), length) } != 0 {
            return Err(io::Error::last_os_error()).context("cannot bind a packet socket");
        }
        Ok(())
    }
}
