//! Sends complete Ethernet frames (announcements) through any interface from one packet socket (packet(7)).
//!
//! Frames go through the interface's queueing discipline, as all the node's frames do, not around it (`PACKET_QDISC_BYPASS`):
//! around it they would be invisible to tcpdump on the node and dropped, not queued, when a transmit ring is full,
//! and there is next to nothing to gain at the rates of announcements. Sending never waits.

use std::io;
use std::os::fd::AsRawFd;

use socket2::{Domain, Socket, Type};

use super::errno::Errno;

/// Frames per system call; the kernel takes at most 1024 (`UIO_MAXIOV`).
const BATCH: usize = 256;
/// Two addresses and the EtherType.
const ETHERNET_HEADER: usize = 14;
/// Room for this many bytes of frames that a NIC has not sent yet, bookkeeping included.
const SEND_BUFFER: usize = 4 << 20;

/// No packet socket.
#[derive(Debug, thiserror::Error)]
#[error("cannot open a packet socket; CAP_NET_RAW is needed")]
pub struct RawError(#[source] pub io::Error);

/// Why one frame was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The interface is down (`ENETDOWN`).
    #[error("the interface is down")]
    LinkDown,
    /// There is no interface with this index (`ENXIO`, `ENODEV`).
    #[error("there is no interface with index {index}")]
    NoLink {
        /// The index asked for.
        index: u32,
    },
    /// The send buffer or a queue of the interface is full, or a virtual interface has no carrier (`EAGAIN`, `ENOBUFS`):
    /// try again later.
    #[error("the interface does not take the frame now: its queue is full or it has no carrier")]
    Busy,
    /// Longer than the interface's MTU allows (`EMSGSIZE`).
    #[error("a frame of {length} bytes is too long for the interface")]
    TooLong {
        /// Length of the frame in bytes.
        length: usize,
    },
    /// Shorter than an Ethernet header.
    #[error("a frame of {length} bytes has no Ethernet header")]
    TooShort {
        /// Length of the frame in bytes.
        length: usize,
    },
    /// Forbidden, for example by a firewall on the egress path (`EPERM`, `EACCES`).
    #[error("sending is not permitted")]
    NotPermitted,
    /// Anything else.
    #[error("cannot send a frame")]
    Other(#[source] Errno),
}

impl SendError {
    fn new(errno: Errno, index: u32, length: usize) -> Self {
        match errno.0 {
            libc::ENETDOWN => Self::LinkDown,
            libc::ENXIO | libc::ENODEV => Self::NoLink { index },
            libc::EAGAIN | libc::ENOBUFS => Self::Busy,
            libc::EMSGSIZE => Self::TooLong { length },
            libc::EPERM | libc::EACCES => Self::NotPermitted,
            _ => Self::Other(errno),
        }
    }
}

/// One packet socket for all interfaces of the network namespace it was opened in. It receives nothing.
#[derive(Debug)]
pub struct RawSender {
    socket: Socket,
}

impl RawSender {
    /// Opens the socket; `CAP_NET_RAW` is needed now and not later.
    pub fn open() -> Result<Self, RawError> {
        // Protocol 0: nothing is delivered to the socket, so its receive buffer stays empty.
        let socket = Socket::new(Domain::PACKET, Type::RAW, None).map_err(RawError)?;
        // Beyond net.core.wmem_max with CAP_NET_ADMIN, up to it without; a smaller buffer only means that large bursts
        // report Busy earlier.
        if force_send_buffer(&socket).is_err()
            && let Err(error) = socket.set_send_buffer_size(SEND_BUFFER)
        {
            tracing::debug!(%error, "the packet socket keeps its default send buffer");
        }
        Ok(Self { socket })
    }

    /// Sends complete Ethernet frames, each through the interface with the index beside it; one result each, in order.
    ///
    /// A frame that fails does not keep the others from being sent. Never waits.
    pub fn send_batch<F: AsRef<[u8]>>(&self, frames: &[(u32, F)]) -> Vec<Result<(), SendError>> {
        let mut results = Vec::with_capacity(frames.len());
        for batch in frames.chunks(BATCH) {
            self.send_chunk(batch, &mut results);
        }
        results
    }

    fn send_chunk<F: AsRef<[u8]>>(&self, frames: &[(u32, F)], results: &mut Vec<Result<(), SendError>>) {
        let mut addresses: Vec<_> =
            frames.iter().map(|(index, frame)| address(*index, frame.as_ref())).collect();
        let mut parts: Vec<_> = frames.iter().map(|(_, frame)| part(frame.as_ref())).collect();
        let mut messages: Vec<_> =
            addresses.iter_mut().zip(&mut parts).map(|(address, part)| message(address, part)).collect();
        let mut next = 0;
        while let Some((index, frame)) = frames.get(next) {
            let length = frame.as_ref().len();
            let sent = if length < ETHERNET_HEADER {
                Err(SendError::TooShort { length })
            } else {
                // The run ends before a frame that must not be sent, so that the kernel does not pad it and send it.
                let run =
                    frames[next..].iter().take_while(|(_, f)| f.as_ref().len() >= ETHERNET_HEADER).count();
                self.send_messages(&mut messages[next..next + run])
                    .map_err(|errno| SendError::new(errno, *index, length))
            };
            match sent {
                Ok(count) => {
                    results.extend(std::iter::repeat_n(Ok(()), count));
                    next += count;
                }
                Err(SendError::Other(Errno(libc::EINTR))) => {}
                Err(error) => {
                    results.push(Err(error));
                    next += 1;
                }
            }
        }
    }

    /// How many of the messages were sent, at least one; the error is that of the first message.
    fn send_messages(&self, messages: &mut [libc::mmsghdr]) -> Result<usize, Errno> {
        let count = libc::c_uint::try_from(messages.len()).unwrap_or(libc::c_uint::MAX);
        let flags = libc::MSG_DONTWAIT;
        // SAFETY: `messages` is valid for `count` entries; each points to an address, a part and a frame that outlive this call.
        let sent = unsafe { libc::sendmmsg(self.socket.as_raw_fd(), messages.as_mut_ptr(), count, flags) };
        match usize::try_from(sent) {
            Ok(sent) if sent > 0 => Ok(sent),
            _ => Err(Errno::last()),
        }
    }
}

/// `SO_SNDBUFFORCE`: the size is not cut to `net.core.wmem_max`.
fn force_send_buffer(socket: &Socket) -> io::Result<()> {
    let size = libc::c_int::try_from(SEND_BUFFER).unwrap_or(libc::c_int::MAX);
    let length = libc::socklen_t::try_from(size_of_val(&size)).unwrap_or_default();
    let value = std::ptr::from_ref(&size).cast();
    // SAFETY: the descriptor is open, and `value` points to `length` readable bytes for the whole call.
    let result = unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, value, length)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Where a frame goes: the interface, and protocol and destination as the frame itself says.
fn address(index: u32, frame: &[u8]) -> libc::sockaddr_ll {
    let mut hardware = [0; 8];
    let mut protocol = 0;
    if let Some(header) = frame.first_chunk::<ETHERNET_HEADER>() {
        hardware[..6].copy_from_slice(&header[..6]);
        // Network order in the frame, network order in the structure.
        protocol = u16::from_ne_bytes([header[12], header[13]]);
    }
    libc::sockaddr_ll {
        sll_family: u16::try_from(libc::AF_PACKET).unwrap_or_default(),
        sll_protocol: protocol,
        sll_ifindex: index.cast_signed(),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 6,
        sll_addr: hardware,
    }
}

fn part(frame: &[u8]) -> libc::iovec {
    // The kernel only reads what an outgoing iovec points to.
    libc::iovec { iov_base: frame.as_ptr().cast_mut().cast(), iov_len: frame.len() }
}

fn message(address: &mut libc::sockaddr_ll, part: &mut libc::iovec) -> libc::mmsghdr {
    // SAFETY: mmsghdr is plain data (integers and pointers); all zero is a valid, empty message.
    let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
    message.msg_hdr.msg_name = std::ptr::from_mut(address).cast();
    message.msg_hdr.msg_namelen = libc::socklen_t::try_from(size_of_val(address)).unwrap_or_default();
    message.msg_hdr.msg_iov = part;
    message.msg_hdr.msg_iovlen = 1;
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_comes_from_the_frame() {
        let mut frame = [0u8; 42];
        frame[..6].copy_from_slice(&[0xff; 6]);
        frame[12..14].copy_from_slice(&[0x08, 0x06]);
        let address = address(7, &frame);
        assert_eq!(address.sll_ifindex, 7);
        assert_eq!(address.sll_protocol, 0x0806u16.to_be());
        assert_eq!(address.sll_addr, [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0]);
    }

    #[test]
    fn each_error_has_its_name() {
        let of = |errno| SendError::new(Errno(errno), 7, 60);
        assert_eq!(of(libc::ENETDOWN), SendError::LinkDown);
        assert_eq!(of(libc::ENXIO), SendError::NoLink { index: 7 });
        assert_eq!(of(libc::ENODEV), SendError::NoLink { index: 7 });
        assert_eq!(of(libc::ENOBUFS), SendError::Busy);
        assert_eq!(of(libc::EAGAIN), SendError::Busy);
        assert_eq!(of(libc::EMSGSIZE), SendError::TooLong { length: 60 });
        assert_eq!(of(libc::EPERM), SendError::NotPermitted);
        assert_eq!(of(libc::EIO), SendError::Other(Errno(libc::EIO)));
    }
}
