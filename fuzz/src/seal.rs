//! Datagrams between agents. Input: bytes that arrive as they are, and then a script of what happens between two nodes on a
//! bad network.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU64;
use std::time::Duration;

use lb_core::failover::seal::{Channel, Key, Keyring, Opened, Refusal};
use lb_core::failover::{Message, PeerId, Remote, Tell};
use lb_core::ids::NodeName;

const NAMES: [&str; 2] = ["node-a", "node-b"];

/// A datagram on its way.
struct Flying {
    to: usize,
    bytes: Vec<u8>,
}

/// Two nodes, each with the number of its present life.
struct Network {
    nodes: [Channel; 2],
    lives: [u64; 2],
    flying: Vec<Flying>,
    /// What each life has accepted: life of the receiver, and the datagram.
    accepted: BTreeSet<(u64, Vec<u8>)>,
    now: Duration,
}

/// Nothing that no channel has made is accepted, and nothing twice.
pub fn run(data: &[u8]) {
    let mut network = Network::new();
    for node in 0..2 {
        let refusal = network.nodes[node].open(data, network.now).expect_err("made without the key");
        assert!(!refusal.name().is_empty() && !refusal.to_string().is_empty());
    }
    for event in data.chunks_exact(3) {
        network.happens(event[0], event[1], event[2]);
    }
}

impl Network {
    fn new() -> Self {
        let nodes = [channel(0, 1), channel(1, 2)];
        let now = Duration::from_secs(1);
        Self { nodes, lives: [1, 2], flying: Vec::new(), accepted: BTreeSet::new(), now }
    }

    fn happens(&mut self, event: u8, which: u8, value: u8) {
        let node = usize::from(which % 2);
        match event % 8 {
            0 => {
                self.lives[node] += 2;
                self.nodes[node] = channel(node, self.lives[node]);
            }
            1 => {
                self.nodes[node].set_peers(&BTreeMap::new());
                self.nodes[node].set_peers(&peers());
            }
            2 => self.now += Duration::from_millis(u64::from(value) * 8),
            3 | 4 => {
                let message = message(value);
                let to = 1 - node;
                let bytes = self.nodes[node].seal(peer(to), &message).expect("both are known");
                self.flying.push(Flying { to, bytes });
            }
            5 => {
                if let Some(datagram) = self.flying.get(usize::from(which)) {
                    let mut bytes = datagram.bytes.clone();
                    let at = usize::from(value) % bytes.len();
                    bytes[at] ^= 1u8 << (event >> 5);
                    assert!(self.nodes[datagram.to].open(&bytes, self.now).is_err(), "changed at {at}");
                }
            }
            _ => self.arrives(usize::from(which)),
        }
    }

    fn arrives(&mut self, which: usize) {
        let Some(datagram) = self.flying.get(which) else { return };
        let (to, bytes) = (datagram.to, datagram.bytes.clone());
        match self.nodes[to].open(&bytes, self.now) {
            Ok(Opened::Message { from, .. }) => {
                assert_eq!(from, peer(1 - to));
                assert!(self.nodes[to].knows(from));
                assert!(self.accepted.insert((self.lives[to], bytes)), "accepted twice");
            }
            Ok(Opened::Introduction { answer, .. }) => {
                self.flying.extend(answer.map(|bytes| Flying { to: 1 - to, bytes }));
            }
            Err(Refusal::Replayed | Refusal::Late | Refusal::Hushed) => {}
            Err(other) => panic!("{other}"),
        }
    }
}

fn peer(node: usize) -> PeerId {
    PeerId(if node == 0 { 10 } else { 11 })
}

fn peers() -> BTreeMap<PeerId, NodeName> {
    (0..2).map(|node| (peer(node), name(node))).collect()
}

fn name(node: usize) -> NodeName {
    NodeName::new(NAMES[node]).expect("a good name")
}

fn channel(node: usize, incarnation: u64) -> Channel {
    let current = Key::new(b"sixteen or more bytes").expect("long enough");
    let incarnation = NonZeroU64::new(incarnation).expect("counted from 1");
    let mut channel = Channel::new(&name(node), incarnation, Keyring { current, previous: None });
    channel.set_peers(&peers());
    channel
}

fn message(value: u8) -> Message {
    let number = u32::from(value);
    let [joining, leaving, was_down] = [1, 2, 4].map(|bit| value & bit != 0);
    let tell = Tell {
        incarnation: u64::from(number) << 40,
        seq: number,
        epoch: number << 8,
        joining,
        leaving,
        was_down,
        heard: value.into(),
    };
    match value % 4 {
        0 => Message::Tell(tell),
        1 => Message::Ack { incarnation: 1, seq: number, applied: joining, own: tell },
        2 => Message::Ask { target: peer(usize::from(value / 4 % 2)), nonce: number },
        _ => Message::Vouch { nonce: number, remote: Remote::Up, told: leaving.then_some(tell) },
    }
}
