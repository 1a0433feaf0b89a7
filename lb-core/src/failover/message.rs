//! What engines say to each other beside the probes. Whoever carries it vouches that it is the peer's and new
//! (authenticated, and never seen before).

use super::PeerId;
use super::session::Remote;

/// How a node stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tell {
    /// Of this life of the sender's agent: another number is another process.
    pub incarnation: u64,
    /// Grows with each change; what is acknowledged.
    pub seq: u32,
    /// Its epoch.
    pub epoch: u32,
    /// It must not own anything yet.
    pub joining: bool,
    /// It hands over what it owns.
    pub leaving: bool,
    /// The receiver has been down to the sender, and may have been replaced.
    pub was_down: bool,
    /// The least number of other nodes that the sender has heard meanwhile.
    pub heard: u16,
}

/// A message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message {
    /// How the sender stands.
    Tell(Tell),
    /// What was told with this number, by this incarnation, is known.
    Ack {
        /// [`Tell::incarnation`].
        incarnation: u64,
        /// [`Tell::seq`].
        seq: u32,
        /// The sender's table follows it.
        applied: bool,
        /// How the sender stands itself.
        own: Tell,
    },
    /// Is this node there? The sender does not hear it.
    Ask {
        /// Who.
        target: PeerId,
        /// Returned by the answer.
        nonce: u32,
    },
    /// It has answered the sender just now.
    Vouch {
        /// [`Message::Ask`].
        nonce: u32,
        /// What it answered.
        remote: Remote,
        /// What it has told the sender.
        told: Option<Tell>,
    },
}
