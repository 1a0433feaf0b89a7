//! Messages between agents as datagrams that nobody can forge, and nobody can use a second time.
//!
//! A [`Channel`] belongs to one link and one life of the agent. It makes datagrams of [`Message`]s and messages of
//! datagrams, authenticated with a key that all agents of the cluster have ([`Keyring`]), and says of everything else why
//! it is none ([`Refusal`]). A datagram, numbers in network order:
//!
//! ```text
//!  0      4       5      6         8         16         24                  32                    40        48
//!  ┌──────┬───────┬──────┬─────────┬─────────┬──────────┬───────────────────┬─────────────────────┬─────────┬──────┬─────┐
//!  │ BLBF │ 1     │ kind │ 0       │ sender  │ receiver │ incarnation       │ incarnation         │ counter │ body │ tag │
//!  │      │ (vers)│      │         │         │          │ of the sender     │ of the receiver     │         │      │  16 │
//!  └──────┴───────┴──────┴─────────┴─────────┴──────────┴───────────────────┴─────────────────────┴─────────┴──────┴─────┘
//!
//!  kind 1  hello  16  echo 8, asks 1, 0 7
//!  kind 2  tell   20  incarnation 8, seq 4, epoch 4, flags 1 (1 joining, 2 leaving, 4 was down), 0 1, heard 2
//!  kind 3  ack    36  incarnation 8, seq 4, applied 1, 0 3, the sender's own tell 20
//!  kind 4  ask    12  target 8, nonce 4
//!  kind 5  vouch  28  nonce 4, remote 1 (1 up, 2 AdminDown), told 1, 0 2, the tell 20 (0 where nothing was told)
//! ```
//!
//! A node is its [`NodeId`]. The tag is HMAC-SHA-256 over everything before it, cut to 16 bytes (RFC 2104), with a key
//! from HKDF-SHA-256 (RFC 5869). A datagram has one form: what would not be encoded the same again is refused.
//!
//! # What is new
//!
//! Clocks are not needed. Each channel has an *incarnation*, a random number, and counts what it sends to each node. A
//! message is accepted if it names the present incarnation of its receiver, comes from the present incarnation of its
//! sender, and its counter was not seen (a window of 64, RFC 4303 §3.4.3). Who does not know the other's
//! incarnation, or gets a datagram that does not know its own, says [hello](Opened::Introduction) and asks; the answer
//! returns the counter of that hello. So the answer was made after it, and the incarnation it comes from lives. Only
//! thus is an incarnation learned, and only within [`FRESH`]:
//!
//! ```text
//!   A ── tell, to incarnation 0 ──> B     B does not know A
//!   A <── hello 1, asks ─────────── B
//!   A ── hello 2, echo 1, asks ───> B     B knows A
//!   A <── hello 2, echo 2 ───────── B     A knows B
//!   A ── tell, to B's incarnation ─> B    accepted
//! ```
//!
//! # What an attacker can do
//!
//! On the segment and without the key:
//! * read everything: nothing is secret;
//! * drop and delay: what is held up and let through later is accepted as long as both channels live, but nothing is
//!   accepted that 64 later ones have overtaken;
//! * record and replay: nothing is accepted twice, nor from a former life of the sender, nor for a former life of the
//!   receiver, nor by another node or on another link than it was sent to (each channel has its own incarnation). It costs
//!   the receiver a hello, a few times a second at most; while that goes on, nodes that do not know each other yet may
//!   take longer to;
//! * forge: a guess is right once in 2¹²⁸.
//!
//! Off the segment it has no recordings, and can only make the receiver compute an HMAC.
//!
//! A member lies as it likes: the key is the same for all, so it can speak in the name of every other node, and
//! nothing here finds out. Two agents under one name are found out by whoever hears both ([`Refusal::SameName`]).

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::PeerId;
use super::message::Message;
use crate::ids::NodeName;

mod key;
mod life;
mod window;
mod wire;

#[cfg(test)]
mod tests;

pub use key::{Key, Keyring, LEAST_SECRET, ShortSecret};
pub use life::FRESH;

use life::Life;
use wire::{Body, Header};

/// A node on the wire: the first 8 bytes of the SHA-256 of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(u64);

impl NodeId {
    /// The id of the node with this name.
    pub fn of(name: &NodeName) -> Self {
        let digest = Sha256::digest(name.as_str());
        Self(digest.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes)))
    }
}

/// What a datagram was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opened {
    /// A message, authentic and new.
    Message {
        /// Of whom.
        from: PeerId,
        /// What.
        message: Message,
    },
    /// No message: two nodes become acquainted.
    Introduction {
        /// With whom.
        with: PeerId,
        /// To be sent to where the datagram came from.
        answer: Option<Vec<u8>>,
    },
}

/// Why a datagram is nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is not of this protocol.
    #[error("not a datagram of BareLB's agents")]
    Foreign,
    /// It is of another version of it.
    #[error("version {0} of the protocol, which this agent does not speak")]
    Version(u8),
    /// It is shorter or longer than its kind.
    #[error("the datagram has not the length of its kind")]
    Truncated,
    /// A field has a value that none of its kind has.
    #[error("the datagram is malformed")]
    Malformed,
    /// It is for another node.
    #[error("the datagram is for another node")]
    Misdirected,
    /// No node of this id is known.
    #[error("the sender is no node that is known here")]
    UnknownSender,
    /// Its tag is not made with a key that is known.
    #[error("the datagram is not made with the cluster's key")]
    Forged,
    /// Another agent says that it is this node.
    #[error("another agent has the name of this node")]
    OwnName,
    /// Two agents say that they are the sender, and both live.
    #[error("two agents have the name of the sender")]
    SameName,
    /// It was seen before.
    #[error("the datagram was seen before")]
    Replayed,
    /// So many later ones were seen that nobody knows whether it was.
    #[error("the datagram is older than those that are remembered")]
    Late,
    /// It asks for an introduction, and there were enough of them just now.
    #[error("the sender is unknown, and was told so often enough just now")]
    Hushed,
    /// It asks for a node that is not known.
    #[error("the sender asks for a node that is not known here")]
    UnknownTarget,
}

impl Refusal {
    /// All of them; of versions one.
    pub const ALL: [Self; 13] = [
        Self::Foreign,
        Self::Version(0),
        Self::Truncated,
        Self::Malformed,
        Self::Misdirected,
        Self::UnknownSender,
        Self::Forged,
        Self::OwnName,
        Self::SameName,
        Self::Replayed,
        Self::Late,
        Self::Hushed,
        Self::UnknownTarget,
    ];

    /// A name that stays the same, for metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Foreign => "foreign",
            Self::Version(_) => "version",
            Self::Truncated => "truncated",
            Self::Malformed => "malformed",
            Self::Misdirected => "misdirected",
            Self::UnknownSender => "unknown_sender",
            Self::Forged => "forged",
            Self::OwnName => "own_name",
            Self::SameName => "same_name",
            Self::Replayed => "replayed",
            Self::Late => "late",
            Self::Hushed => "hushed",
            Self::UnknownTarget => "unknown_target",
        }
    }
}

/// A link's end. See the [module](self).
#[derive(Debug, Clone)]
pub struct Channel {
    own: Own,
    /// By what they are on the wire.
    peers: BTreeMap<NodeId, Peer>,
    ids: BTreeMap<PeerId, NodeId>,
    /// At least what any node that is not there any more was sent: one that comes back sees no counter again.
    spent: u64,
}

#[derive(Debug, Clone)]
struct Own {
    id: NodeId,
    incarnation: u64,
    keys: Keyring,
}

#[derive(Debug, Clone)]
struct Peer {
    id: PeerId,
    /// The counter of the last datagram to it.
    sent: u64,
    life: Life,
}

impl Channel {
    /// The channel of this node. The incarnation is random and of this channel alone: if two links had the same, what is
    /// recorded on one would be accepted on the other.
    pub fn new(me: &NodeName, incarnation: NonZeroU64, keys: Keyring) -> Self {
        let own = Own { id: NodeId::of(me), incarnation: incarnation.get(), keys };
        Self { own, peers: BTreeMap::new(), ids: BTreeMap::new(), spent: 0 }
    }

    /// These nodes are on the link now. Others that were become strangers.
    pub fn set_peers(&mut self, peers: &BTreeMap<PeerId, NodeName>) {
        let mut before = std::mem::take(&mut self.peers);
        self.ids.clear();
        for (id, name) in peers {
            let node = NodeId::of(name);
            if !self.peers.contains_key(&node) {
                let new = Peer { id: *id, sent: self.spent, life: Life::default() };
                let peer = before.remove(&node).map_or(new, |known| Peer { id: *id, ..known });
                self.peers.insert(node, peer);
                self.ids.insert(*id, node);
            }
        }
        let gone = before.values().map(|peer| peer.sent).max();
        self.spent = self.spent.max(gone.unwrap_or(0));
    }

    /// The keys are others now.
    pub fn set_keys(&mut self, keys: Keyring) {
        self.own.keys = keys;
    }

    /// Whether messages to this node can be accepted by it: it has been introduced.
    pub fn knows(&self, peer: PeerId) -> bool {
        let peer = self.ids.get(&peer).and_then(|node| self.peers.get(node));
        peer.is_some_and(|peer| peer.life.incarnation().is_some())
    }

    /// The datagram for a message. `None`: its receiver, or the node it asks for, is not known.
    ///
    /// One for a node that has not been introduced is not accepted by it, and makes it introduce itself.
    pub fn seal(&mut self, to: PeerId, message: &Message) -> Option<Vec<u8>> {
        let body = Body::of(message, |target| self.ids.get(&target).copied())?;
        let node = *self.ids.get(&to)?;
        let peer = self.peers.get_mut(&node)?;
        let receiver = peer.life.incarnation().unwrap_or(0);
        Some(self.own.seal(node, receiver, peer, &body))
    }

    /// What a datagram is.
    pub fn open(&mut self, bytes: &[u8], now: Duration) -> Result<Opened, Refusal> {
        let (header, body) = wire::decode(bytes)?;
        if header.receiver != self.own.id {
            return Err(Refusal::Misdirected);
        }
        let from_me = header.sender == self.own.id;
        if !from_me && !self.peers.contains_key(&header.sender) {
            return Err(Refusal::UnknownSender);
        }
        if !self.own.keys.authenticates(bytes) {
            return Err(Refusal::Forged);
        }
        if from_me {
            let same = header.incarnation == self.own.incarnation;
            return Err(if same { Refusal::Replayed } else { Refusal::OwnName });
        }
        let peer = self.peers.get_mut(&header.sender).ok_or(Refusal::UnknownSender)?;
        if let Body::Hello { echo, asks } = body {
            return self.own.hear_hello(peer, &header, echo, asks, now);
        }
        if header.receiver_incarnation != self.own.incarnation || !peer.life.is(header.incarnation) {
            return self.own.introduce(peer, &header, now);
        }
        peer.life.admit(header.counter)?;
        let from = peer.id;
        let local = |target| self.peers.get(&target).map(|peer| peer.id);
        let message = body.message(local).ok_or(Refusal::UnknownTarget)?;
        Ok(Opened::Message { from, message })
    }
}

impl Own {
    fn seal(&self, receiver: NodeId, receiver_incarnation: u64, peer: &mut Peer, body: &Body) -> Vec<u8> {
        peer.sent += 1;
        let header = Header {
            sender: self.id,
            receiver,
            incarnation: self.incarnation,
            receiver_incarnation,
            counter: peer.sent,
        };
        self.keys.seal(wire::encode(&header, body))
    }

    /// A message of somebody who does not know this node, or is not known.
    fn introduce(&self, peer: &mut Peer, header: &Header, now: Duration) -> Result<Opened, Refusal> {
        let counter = peer.sent + 1;
        if !peer.life.ask(counter, now) {
            return Err(Refusal::Hushed);
        }
        let hello = Body::Hello { echo: 0, asks: true };
        let answer = self.seal(header.sender, header.incarnation, peer, &hello);
        Ok(Opened::Introduction { with: peer.id, answer: Some(answer) })
    }

    fn hear_hello(
        &self,
        peer: &mut Peer,
        header: &Header,
        echo: u64,
        asks: bool,
        now: Duration,
    ) -> Result<Opened, Refusal> {
        let to_me = header.receiver_incarnation == self.incarnation;
        let answers = to_me && peer.life.has_asked(echo, now);
        if peer.life.is(header.incarnation) {
            peer.life.admit(header.counter)?;
            if answers {
                peer.life.answered();
            }
        } else if answers {
            peer.life.learn(header.incarnation, header.counter)?;
        }
        let mut answer = None;
        if asks {
            if !peer.life.answer(now) {
                return Err(Refusal::Hushed);
            }
            let unknown = !peer.life.is(header.incarnation);
            let asks = unknown && peer.life.ask(peer.sent + 1, now);
            let hello = Body::Hello { echo: header.counter, asks };
            answer = Some(self.seal(header.sender, header.incarnation, peer, &hello));
        }
        Ok(Opened::Introduction { with: peer.id, answer })
    }
}
