//! Does broadcast arrive on an interface? Without it nobody's ARP request is heard.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

const TO_ALL: [u8; 6] = [0xff; 6];

/// Listens until the first broadcast frame comes in, or for `limit`. Sends nothing; needs `CAP_NET_RAW`.
///
/// A frame that a program on the interface answers or takes is not seen.
pub fn is_heard(index: u32, limit: Duration) -> io::Result<bool> {
    // Protocol 0: nothing is received before the socket is bound to its interface.
    let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
    bind(&socket, index)?;
    let deadline = Instant::now() + limit;
    let mut start = [MaybeUninit::<u8>::uninit(); 6];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        socket.set_read_timeout(Some(left))?;
        match socket.recv_from(&mut start) {
            Ok((6, from)) if is_incoming(&from) && is_broadcast(start) => return Ok(true),
            Ok(_) => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(error) => return Err(error),
        }
    }
}

fn is_broadcast(start: [MaybeUninit<u8>; 6]) -> bool {
    // SAFETY: the kernel filled all six bytes, as its return value says.
    start.map(|byte| unsafe { byte.assume_init() }) == TO_ALL
}

/// Not a frame this machine sends.
fn is_incoming(from: &socket2::SockAddr) -> bool {
    // SAFETY: the storage of a socket address is larger than sockaddr_ll, which is plain data.
    let from = unsafe { &*from.as_ptr().cast::<libc::sockaddr_ll>() };
    from.sll_pkttype != libc::PACKET_OUTGOING
}

fn bind(socket: &Socket, index: u32) -> io::Result<()> {
    let address = libc::sockaddr_ll {
        sll_family: u16::try_from(libc::AF_PACKET).unwrap_or_default(),
        sll_protocol: u16::try_from(libc::ETH_P_ALL).unwrap_or_default().to_be(),
        sll_ifindex: index.cast_signed(),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let length = libc::socklen_t::try_from(size_of_val(&address)).unwrap_or_default();
    // SAFETY: address and length describe one live sockaddr_ll.
    let done = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
