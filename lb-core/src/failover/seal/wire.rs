//! A datagram as bytes; the layout is drawn in the [parent](super).

use super::{NodeId, Refusal};
use crate::failover::{Message, PeerId, Remote, Tell};

/// Length of the tag at the end.
pub(super) const TAG: usize = 16;

const MAGIC: [u8; 4] = *b"BLBF";
const VERSION: u8 = 1;

const HELLO: u8 = 1;
const TELL: u8 = 2;
const ACK: u8 = 3;
const ASK: u8 = 4;
const VOUCH: u8 = 5;

const JOINING: u8 = 1;
const LEAVING: u8 = 2;
const WAS_DOWN: u8 = 4;

const UP: u8 = 1;
const ADMIN_DOWN: u8 = 2;

/// Before the body, behind magic, version and kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) sender: NodeId,
    pub(super) receiver: NodeId,
    pub(super) incarnation: u64,
    /// As far as the sender knows; 0: it does not.
    pub(super) receiver_incarnation: u64,
    pub(super) counter: u64,
}

/// [`Message`], with nodes by their wire id, and the greeting that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    Hello {
        /// The counter of the hello that is answered, or 0.
        echo: u64,
        /// The sender does not know the receiver.
        asks: bool,
    },
    Tell(Tell),
    Ack {
        incarnation: u64,
        seq: u32,
        applied: bool,
        own: Tell,
    },
    Ask {
        target: NodeId,
        nonce: u32,
    },
    Vouch {
        nonce: u32,
        remote: Remote,
        told: Option<Tell>,
    },
}

impl Body {
    /// `None`: the node that it asks for has no wire id.
    pub(super) fn of(message: &Message, node: impl Fn(PeerId) -> Option<NodeId>) -> Option<Self> {
        Some(match *message {
            Message::Tell(tell) => Self::Tell(tell),
            Message::Ack { incarnation, seq, applied, own } => Self::Ack { incarnation, seq, applied, own },
            Message::Ask { target, nonce } => Self::Ask { target: node(target)?, nonce },
            Message::Vouch { nonce, remote, told } => Self::Vouch { nonce, remote, told },
        })
    }

    /// `None`: it is no message, or asks for a node that has no number here.
    pub(super) fn message(self, peer: impl Fn(NodeId) -> Option<PeerId>) -> Option<Message> {
        match self {
            Self::Hello { .. } => None,
            Self::Tell(tell) => Some(Message::Tell(tell)),
            Self::Ack { incarnation, seq, applied, own } => {
                Some(Message::Ack { incarnation, seq, applied, own })
            }
            Self::Ask { target, nonce } => Some(Message::Ask { target: peer(target)?, nonce }),
            Self::Vouch { nonce, remote, told } => Some(Message::Vouch { nonce, remote, told }),
        }
    }

    fn kind(&self) -> u8 {
        match self {
            Self::Hello { .. } => HELLO,
            Self::Tell(_) => TELL,
            Self::Ack { .. } => ACK,
            Self::Ask { .. } => ASK,
            Self::Vouch { .. } => VOUCH,
        }
    }
}

/// Everything but the tag.
pub(super) fn encode(header: &Header, body: &Body) -> Vec<u8> {
    // The longest is an acknowledgement, of 100 with its tag.
    let mut out = Vec::with_capacity(100);
    out.extend(MAGIC);
    out.extend([VERSION, body.kind(), 0, 0]);
    let Header { sender, receiver, incarnation, receiver_incarnation, counter } = *header;
    for number in [sender.0, receiver.0, incarnation, receiver_incarnation, counter] {
        out.extend(number.to_be_bytes());
    }
    match *body {
        Body::Hello { echo, asks } => {
            out.extend(echo.to_be_bytes());
            out.extend([asks.into(), 0, 0, 0, 0, 0, 0, 0]);
        }
        Body::Tell(tell) => put_tell(&mut out, &tell),
        Body::Ack { incarnation, seq, applied, own } => {
            out.extend(incarnation.to_be_bytes());
            out.extend(seq.to_be_bytes());
            out.extend([applied.into(), 0, 0, 0]);
            put_tell(&mut out, &own);
        }
        Body::Ask { target, nonce } => {
            out.extend(target.0.to_be_bytes());
            out.extend(nonce.to_be_bytes());
        }
        Body::Vouch { nonce, remote, told } => {
            out.extend(nonce.to_be_bytes());
            let remote = match remote {
                Remote::Up => UP,
                Remote::AdminDown => ADMIN_DOWN,
            };
            out.extend([remote, told.is_some().into(), 0, 0]);
            match told {
                Some(tell) => put_tell(&mut out, &tell),
                None => out.extend([0; 20]),
            }
        }
    }
    out
}

fn put_tell(out: &mut Vec<u8>, tell: &Tell) {
    let Tell { incarnation, seq, epoch, joining, leaving, was_down, heard } = *tell;
    out.extend(incarnation.to_be_bytes());
    out.extend(seq.to_be_bytes());
    out.extend(epoch.to_be_bytes());
    let flag = |set: bool, bit: u8| if set { bit } else { 0 };
    out.extend([flag(joining, JOINING) | flag(leaving, LEAVING) | flag(was_down, WAS_DOWN), 0]);
    out.extend(heard.to_be_bytes());
}

/// The inverse of [`encode`], with a tag behind it that is not looked at.
pub(super) fn decode(bytes: &[u8]) -> Result<(Header, Body), Refusal> {
    let (signed, _tag) = bytes.split_last_chunk::<TAG>().ok_or(Refusal::Truncated)?;
    let mut input = Input(signed);
    if input.take()? != MAGIC {
        return Err(Refusal::Foreign);
    }
    match input.u8()? {
        VERSION => {}
        other => return Err(Refusal::Version(other)),
    }
    let kind = input.u8()?;
    input.zero::<2>()?;
    let header = Header {
        sender: NodeId(input.u64()?),
        receiver: NodeId(input.u64()?),
        incarnation: input.u64()?,
        receiver_incarnation: input.u64()?,
        counter: input.u64()?,
    };
    if header.incarnation == 0 || header.counter == 0 {
        return Err(Refusal::Malformed);
    }
    let body = input.body(kind)?;
    if input.0.is_empty() { Ok((header, body)) } else { Err(Refusal::Truncated) }
}

struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Refusal> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Refusal::Truncated)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u8(&mut self) -> Result<u8, Refusal> {
        self.take().map(u8::from_be_bytes)
    }

    fn u16(&mut self) -> Result<u16, Refusal> {
        self.take().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, Refusal> {
        self.take().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, Refusal> {
        self.take().map(u64::from_be_bytes)
    }

    fn bool(&mut self) -> Result<bool, Refusal> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Refusal::Malformed),
        }
    }

    fn zero<const N: usize>(&mut self) -> Result<(), Refusal> {
        if self.take()? == [0; N] { Ok(()) } else { Err(Refusal::Malformed) }
    }

    fn body(&mut self, kind: u8) -> Result<Body, Refusal> {
        match kind {
            HELLO => {
                let (echo, asks) = (self.u64()?, self.bool()?);
                self.zero::<7>()?;
                Ok(Body::Hello { echo, asks })
            }
            TELL => self.tell().map(Body::Tell),
            ACK => {
                let (incarnation, seq, applied) = (self.u64()?, self.u32()?, self.bool()?);
                self.zero::<3>()?;
                Ok(Body::Ack { incarnation, seq, applied, own: self.tell()? })
            }
            ASK => Ok(Body::Ask { target: NodeId(self.u64()?), nonce: self.u32()? }),
            VOUCH => {
                let (nonce, remote, told) = (self.u32()?, self.remote()?, self.bool()?);
                self.zero::<2>()?;
                let told = if told { Some(self.tell()?) } else { self.zero::<20>().map(|()| None)? };
                Ok(Body::Vouch { nonce, remote, told })
            }
            _ => Err(Refusal::Malformed),
        }
    }

    fn remote(&mut self) -> Result<Remote, Refusal> {
        match self.u8()? {
            UP => Ok(Remote::Up),
            ADMIN_DOWN => Ok(Remote::AdminDown),
            _ => Err(Refusal::Malformed),
        }
    }

    fn tell(&mut self) -> Result<Tell, Refusal> {
        let (incarnation, seq, epoch, flags) = (self.u64()?, self.u32()?, self.u32()?, self.u8()?);
        self.zero::<1>()?;
        if flags & !(JOINING | LEAVING | WAS_DOWN) != 0 {
            return Err(Refusal::Malformed);
        }
        let [joining, leaving, was_down] = [JOINING, LEAVING, WAS_DOWN].map(|bit| flags & bit != 0);
        Ok(Tell { incarnation, seq, epoch, joining, leaving, was_down, heard: self.u16()? })
    }
}
