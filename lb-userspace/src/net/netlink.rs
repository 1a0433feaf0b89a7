//! Synchronous requests over one rtnetlink socket: full dumps, and batches of changes with one result each.
//!
//! The kernel works on a request inside send(2), and a dump goes on inside recv(2); so every answer is there when
//! the call returns, nothing here ever waits, and no background task or queue is needed.
//! Meant for blocking threads: a dump of a thousand links takes milliseconds.

use std::io;

use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkBuffer, NetlinkDeserializable,
    NetlinkHeader, NetlinkMessage, NetlinkPayload, Parseable,
};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::sys::{Socket, protocols::NETLINK_ROUTE};

use super::errno::Errno;

/// Changes per send: their acknowledgements, each in a buffer of about 1 KiB, fit the default receive buffer twice.
const BATCH: usize = 64;
/// Larger than the 32 KiB the kernel puts into one datagram of a dump.
const BUFFER: usize = 64 * 1024;
/// How often a dump is repeated when something changed under it, before it is taken as it is.
const DUMP_ATTEMPTS: u32 = 8;

/// `NLMSG_ERROR` and `NLMSG_DONE` of linux/netlink.h.
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;

/// Why the kernel could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// No socket: out of descriptors, or the address family is forbidden.
    #[error("cannot open a netlink socket")]
    Open(#[source] io::Error),
    /// A request could not be sent.
    #[error("cannot send a netlink request")]
    Send(#[source] io::Error),
    /// An answer could not be read; `ENOBUFS` means that answers were lost.
    #[error("cannot read a netlink answer")]
    Receive(#[source] io::Error),
    /// The kernel refused a dump.
    #[error("the kernel refused to list its state")]
    Refused(#[source] Errno),
    /// The kernel answered fewer requests than it was sent.
    #[error("the kernel left {missing} netlink requests unanswered")]
    Unanswered {
        /// How many answers did not come.
        missing: usize,
    },
    /// A datagram that is no sequence of netlink messages.
    #[error("a netlink answer of {length} bytes makes no sense")]
    Malformed {
        /// Bytes in the datagram.
        length: usize,
    },
    /// The blocking task that asks was cancelled or panicked.
    #[error("the task that asks the kernel ended early")]
    Task(#[from] tokio::task::JoinError),
}

/// A change to ask for: the message and its flags beyond `NLM_F_REQUEST | NLM_F_ACK`.
pub(super) type Change = (RouteNetlinkMessage, u16);

/// One rtnetlink socket.
pub(super) struct Netlink {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Netlink {
    /// Opens a socket in the network namespace of this thread.
    pub(super) fn open() -> Result<Self, NetlinkError> {
        let mut socket = Socket::new(NETLINK_ROUTE).map_err(NetlinkError::Open)?;
        socket.bind_auto().map_err(NetlinkError::Open)?;
        // Refusals without a copy of the request: more of them fit the receive buffer.
        socket.set_cap_ack(true).map_err(NetlinkError::Open)?;
        Ok(Self { socket, sequence: 0, buffer: vec![0; BUFFER] })
    }

    /// All objects of the kind `request` asks for.
    ///
    /// A dump that the kernel marks as interrupted (`NLM_F_DUMP_INTR`) is repeated. A message that cannot be parsed is left out and logged.
    pub(super) fn dump(
        &mut self,
        request: &RouteNetlinkMessage,
    ) -> Result<Vec<RouteNetlinkMessage>, NetlinkError> {
        let mut objects = Vec::new();
        for _ in 0..DUMP_ATTEMPTS {
            let (found, interrupted) = self.dump_once(request)?;
            objects = found;
            if !interrupted {
                break;
            }
        }
        Ok(objects)
    }

    /// Asks for one object by a request that is no dump; `Err` carries the refusal, for example ENODEV.
    pub(super) fn get(
        &mut self,
        request: &RouteNetlinkMessage,
    ) -> Result<Result<RouteNetlinkMessage, Errno>, NetlinkError> {
        self.drain();
        let sequence = self.next_sequence();
        self.send(&encode(request, NLM_F_REQUEST, sequence))?;
        while let Some(length) = self.receive()? {
            for message in Messages::new(&self.buffer[..length]) {
                let message = message?;
                if message.header.sequence_number != sequence {
                    continue;
                }
                if let Some(answer) = message.refusal() {
                    return Ok(Err(answer));
                }
                if let Some(object) = message.object() {
                    return Ok(Ok(object));
                }
            }
        }
        Err(NetlinkError::Unanswered { missing: 1 })
    }

    /// Asks for `changes` in order; one result for each, in the same order.
    pub(super) fn apply(&mut self, changes: &[Change]) -> Result<Vec<Result<(), Errno>>, NetlinkError> {
        let mut results = Vec::with_capacity(changes.len());
        for batch in changes.chunks(BATCH) {
            results.extend(self.apply_batch(batch)?);
        }
        Ok(results)
    }

    fn dump_once(
        &mut self,
        request: &RouteNetlinkMessage,
    ) -> Result<(Vec<RouteNetlinkMessage>, bool), NetlinkError> {
        self.drain();
        let sequence = self.next_sequence();
        self.send(&encode(request, NLM_F_REQUEST | NLM_F_DUMP, sequence))?;
        let mut objects = Vec::new();
        let mut interrupted = false;
        while let Some(length) = self.receive()? {
            for message in Messages::new(&self.buffer[..length]) {
                let message = message?;
                if message.header.sequence_number != sequence {
                    continue;
                }
                interrupted |= message.header.flags & NLM_F_DUMP_INTR != 0;
                match message.refusal() {
                    Some(Errno(0)) => return Ok((objects, interrupted)),
                    Some(errno) => return Err(NetlinkError::Refused(errno)),
                    None => objects.extend(message.object()),
                }
            }
        }
        Err(NetlinkError::Unanswered { missing: 1 })
    }

    fn apply_batch(&mut self, batch: &[Change]) -> Result<Vec<Result<(), Errno>>, NetlinkError> {
        self.drain();
        let first = self.sequence.wrapping_add(1);
        let mut bytes = Vec::new();
        for (message, flags) in batch {
            let sequence = self.next_sequence();
            bytes.extend(encode(message, NLM_F_REQUEST | NLM_F_ACK | flags, sequence));
        }
        self.send(&bytes)?;
        let mut answers: Vec<Option<Errno>> = vec![None; batch.len()];
        let mut missing = batch.len();
        while missing > 0 {
            let Some(length) = self.receive()? else { return Err(NetlinkError::Unanswered { missing }) };
            for message in Messages::new(&self.buffer[..length]) {
                let message = message?;
                let place = usize::try_from(message.header.sequence_number.wrapping_sub(first)).ok();
                let slot = place.and_then(|place| answers.get_mut(place));
                if let (Some(slot @ None), Some(errno)) = (slot, message.refusal()) {
                    *slot = Some(errno);
                    missing -= 1;
                }
            }
        }
        let result = |errno: Errno| if errno == Errno(0) { Ok(()) } else { Err(errno) };
        Ok(answers.into_iter().flatten().map(result).collect())
    }

    fn next_sequence(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }

    /// Throws away what an earlier, failed exchange may have left, so that it cannot fill the buffer.
    fn drain(&mut self) {
        while let Ok(Some(_)) = self.receive() {}
    }

    fn send(&self, bytes: &[u8]) -> Result<(), NetlinkError> {
        self.socket.send(bytes, 0).map(drop).map_err(NetlinkError::Send)
    }

    /// The length of the next datagram in the buffer, or `None` when there is none.
    fn receive(&mut self) -> Result<Option<usize>, NetlinkError> {
        match self.socket.recv(&mut self.buffer.as_mut_slice(), libc::MSG_DONTWAIT | libc::MSG_TRUNC) {
            Ok(length) if length > self.buffer.len() => Err(NetlinkError::Malformed { length }),
            Ok(length) => Ok(Some(length)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(NetlinkError::Receive(error)),
        }
    }
}

/// One message of a datagram, its payload not yet parsed.
struct Raw<'a> {
    header: NetlinkHeader,
    payload: &'a [u8],
}

impl Raw<'_> {
    /// The code of an acknowledgement, a refusal or the end of a dump; 0 is success.
    fn refusal(&self) -> Option<Errno> {
        if !matches!(self.header.message_type, NLMSG_ERROR | NLMSG_DONE) {
            return None;
        }
        // The end of a dump may carry no code at all.
        let code = self.payload.first_chunk().map_or(0, |bytes| i32::from_ne_bytes(*bytes));
        Some(Errno(code.saturating_abs()))
    }

    fn object(&self) -> Option<RouteNetlinkMessage> {
        match RouteNetlinkMessage::deserialize(&self.header, self.payload) {
            Ok(object) => Some(object),
            Err(error) => {
                tracing::warn!(message_type = self.header.message_type, %error, "skipped a netlink message that cannot be parsed");
                None
            }
        }
    }
}

/// The messages of one datagram.
struct Messages<'a> {
    rest: &'a [u8],
    length: usize,
}

impl<'a> Messages<'a> {
    fn new(datagram: &'a [u8]) -> Self {
        Self { rest: datagram, length: datagram.len() }
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Result<Raw<'a>, NetlinkError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let bytes = std::mem::take(&mut self.rest);
        let malformed = NetlinkError::Malformed { length: self.length };
        let Ok(header) = NetlinkBuffer::new_checked(&bytes).and_then(|buffer| NetlinkHeader::parse(&buffer))
        else {
            return Some(Err(malformed));
        };
        let length = header.length as usize;
        let Some(payload) = bytes.get(size_of::<libc::nlmsghdr>()..length) else {
            return Some(Err(malformed));
        };
        // Messages start at multiples of four bytes (NLMSG_ALIGN); the last one needs no padding.
        self.rest = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Ok(Raw { header, payload }))
    }
}

fn encode(message: &RouteNetlinkMessage, flags: u16, sequence: u32) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    header.flags = flags;
    header.sequence_number = sequence;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message.clone()));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len().next_multiple_of(4)];
    message.serialize(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests;
