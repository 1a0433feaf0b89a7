//! The UDP sockets of the failover on one link: replies of reflectors come in here, and what agents tell each other.
//!
//! Both families have a socket of their own, bound to the interface. Only datagrams that no router has touched are taken:
//! TTL or hop limit 255 (`IP_MINTTL`, `IPV6_MINHOPCOUNT`; RFC 5082, RFC 5881 §5), and they are sent so.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

/// What is sent and taken.
const HOPS: u32 = 255;
/// Room for what arrives while the agent is not scheduled: seconds of replies and messages.
const RECEIVE_BUFFER: usize = 1 << 20;
/// The longest datagram of ours, and more.
const LONGEST: usize = 512;

/// See the module.
#[derive(Debug)]
pub struct ProbeSockets {
    index: u32,
    sockets: [UdpSocket; 2],
}

impl ProbeSockets {
    /// On the interface with this name and index, at this port.
    pub fn open(name: &str, index: u32, port: u16) -> io::Result<Self> {
        Ok(Self { index, sockets: [bind_v4(name, port)?, bind_v6(name, port)?] })
    }

    /// What has arrived: everything, oldest first per family; `take` gets the sender and the datagram.
    pub fn receive(&self, mut take: impl FnMut(IpAddr, u16, &[u8])) {
        let mut buffer = [0; LONGEST];
        for socket in &self.sockets {
            loop {
                match socket.recv_from(&mut buffer) {
                    Ok((length, from)) => take(from.ip(), from.port(), &buffer[..length]),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    // What a former datagram came to, such as a port that nobody listens at.
                    Err(error) => tracing::trace!(%error, "receiving"),
                }
            }
        }
    }

    /// Sends a datagram to a neighbour; never waits.
    pub fn send(&self, to: IpAddr, port: u16, datagram: &[u8]) -> io::Result<()> {
        let [v4, v6] = &self.sockets;
        match to {
            IpAddr::V4(_) => v4.send_to(datagram, (to, port)),
            IpAddr::V6(ip) => {
                v6.send_to(datagram, SocketAddr::V6(SocketAddrV6::new(ip, port, 0, self.index)))
            }
        }
        .map(drop)
    }

    /// To wait for.
    pub fn descriptors(&self) -> [BorrowedFd<'_>; 2] {
        self.sockets.each_ref().map(AsFd::as_fd)
    }
}

fn bind_v4(name: &str, port: u16) -> io::Result<UdpSocket> {
    let socket = on_link(Domain::IPV4, name)?;
    socket.set_ttl_v4(HOPS)?;
    set(&socket, libc::IPPROTO_IP, libc::IP_MINTTL)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)).into())?;
    Ok(socket.into())
}

fn bind_v6(name: &str, port: u16) -> io::Result<UdpSocket> {
    let socket = on_link(Domain::IPV6, name)?;
    socket.set_only_v6(true)?;
    socket.set_unicast_hops_v6(HOPS)?;
    set(&socket, libc::IPPROTO_IPV6, libc::IPV6_MINHOPCOUNT)?;
    socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)).into())?;
    Ok(socket.into())
}

fn on_link(domain: Domain, name: &str) -> io::Result<Socket> {
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    socket.bind_device(Some(name.as_bytes()))?;
    if let Err(error) = socket.set_recv_buffer_size(RECEIVE_BUFFER) {
        tracing::debug!(%error, "a socket keeps its default receive buffer");
    }
    Ok(socket)
}

/// Sets an option to [`HOPS`].
fn set(socket: &Socket, level: libc::c_int, option: libc::c_int) -> io::Result<()> {
    let value = libc::c_int::try_from(HOPS).unwrap_or(libc::c_int::MAX);
    let length = libc::socklen_t::try_from(size_of_val(&value)).unwrap_or_default();
    let pointer = std::ptr::from_ref(&value).cast();
    // SAFETY: the descriptor is open, and `pointer` points to `length` readable bytes for the whole call.
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, pointer, length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Waits until one of the descriptors can be read, or for so long.
pub fn wait(descriptors: &[BorrowedFd<'_>], timeout: Duration) {
    let entry = |fd: &BorrowedFd<'_>| libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let mut entries: Vec<libc::pollfd> = descriptors.iter().map(entry).collect();
    let timeout = libc::timespec {
        tv_sec: libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: libc::c_long::from(timeout.subsec_nanos()),
    };
    let count = libc::nfds_t::try_from(entries.len()).unwrap_or_default();
    // SAFETY: `entries` has `count` writable entries, `timeout` is valid, and no signal mask is given.
    unsafe { libc::ppoll(entries.as_mut_ptr(), count, &raw const timeout, std::ptr::null()) };
}
