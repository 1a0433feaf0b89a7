//! An engine on a real link: its probes become frames, and what comes in becomes replies and messages.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::NonZeroU64;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use lb_common::packet::bfd::initiator::Question;
use lb_common::packet::bfd::{self, State};
use lb_core::failover::seal::{Channel, Keyring, Opened};
use lb_core::failover::{Engine, LinkStanding, Output, PeerId, PeerState, Remote, Settings, Start};
use lb_core::ids::{LinkId, NodeName};

use super::refused::Refused;
use super::setup::{LinkSetup, PeerSetup};
use crate::net::probes::ProbeSockets;
use crate::net::raw::RawSender;

/// A link and its engine.
pub(super) struct Wire {
    id: LinkId,
    me: NodeName,
    port: u16,
    setup: LinkSetup,
    sockets: ProbeSockets,
    pub(super) engine: Engine,
    channel: Channel,
    ids: BTreeMap<NodeName, PeerId>,
    /// Datagrams that were nothing, by reason, since they were asked for last.
    refused: BTreeMap<&'static str, u64>,
}

/// What a wire begins with.
pub(super) struct Beginning {
    pub(super) me: NodeName,
    pub(super) port: u16,
    pub(super) settings: Settings,
    pub(super) start: Start,
    pub(super) incarnation: NonZeroU64,
    pub(super) keys: Keyring,
}

impl Wire {
    pub(super) fn open(
        id: LinkId,
        setup: LinkSetup,
        beginning: Beginning,
        proven: &dyn Fn(&NodeName) -> bool,
        now: Duration,
    ) -> std::io::Result<Self> {
        let Beginning { me, port, settings, start, incarnation, keys } = beginning;
        let mut wire = Self {
            sockets: ProbeSockets::open(&setup.name, id.0, port)?,
            channel: Channel::new(&me, incarnation, keys),
            engine: Engine::new(settings, start, now),
            ids: BTreeMap::new(),
            refused: BTreeMap::new(),
            id,
            me,
            port,
            setup,
        };
        wire.meet(proven, now);
        Ok(wire)
    }

    /// The link or those on it have changed.
    pub(super) fn change(&mut self, setup: LinkSetup, proven: &dyn Fn(&NodeName) -> bool, now: Duration) {
        let interrupted = (setup.carrier, setup.changes) != (self.setup.carrier, self.setup.changes);
        self.setup = setup;
        if interrupted {
            // What others thought of this node meanwhile is not known.
            self.engine.rejoin(now);
        }
        self.meet(proven, now);
    }

    pub(super) fn set_keys(&mut self, keys: Keyring) {
        self.channel.set_keys(keys);
    }

    fn meet(&mut self, proven: &dyn Fn(&NodeName) -> bool, now: Duration) {
        self.ids.retain(|name, _| self.setup.peers.contains_key(name));
        for name in self.setup.peers.keys() {
            if !self.ids.contains_key(name) {
                let taken = |id: &u16| self.ids.values().any(|known| known.0 == *id);
                let id = (0..u16::MAX).find(|id| !taken(id)).unwrap_or(u16::MAX);
                self.ids.insert(name.clone(), PeerId(id));
            }
        }
        let peers = self.ids.iter().map(|(name, id)| (*id, (proven(name), *name < self.me)));
        self.engine.set_peers(&peers.collect(), now);
        self.channel.set_peers(&self.ids.iter().map(|(name, id)| (*id, name.clone())).collect());
    }

    /// Takes in everything that has arrived.
    pub(super) fn receive(&mut self, now: Duration) {
        let Self { sockets, engine, channel, setup, ids, refused, .. } = self;
        let mut answers = Vec::new();
        sockets.receive(|from, port, datagram| {
            if port == bfd::PORT {
                match reply(setup, from, datagram) {
                    Ok((name, nonce, remote)) => {
                        let known = ids.get(name).is_some_and(|id| engine.reply(*id, nonce, remote, now));
                        if !known {
                            *refused.entry(Refused::StaleReply.name()).or_default() += 1;
                        }
                    }
                    Err(reason) => *refused.entry(reason.name()).or_default() += 1,
                }
                return;
            }
            match channel.open(datagram, now) {
                Ok(Opened::Message { from, message }) => engine.message(from, message, now),
                Ok(Opened::Introduction { answer, .. }) => {
                    answers.extend(answer.map(|answer| (from, port, answer)));
                }
                Err(refusal) => *refused.entry(Refused::Message(refusal).name()).or_default() += 1,
            }
        });
        for (to, port, answer) in answers {
            self.send(to, port, &answer);
        }
    }

    fn send(&self, to: IpAddr, port: u16, datagram: &[u8]) {
        if let Err(error) = self.sockets.send(to, port, datagram) {
            tracing::trace!(%error, link = self.setup.name, %to, "message not sent");
        }
    }

    /// Lets the engine judge, and sends what it wants. A link without carrier waits.
    pub(super) fn poll(&mut self, frames: &RawSender, now: Duration) {
        if !self.setup.carrier {
            return;
        }
        let outputs = self.engine.poll(now);
        let mut probes = Vec::new();
        for output in outputs {
            match output {
                Output::Probe { peer, nonce } => {
                    if let Some(frame) = self.peer(peer).and_then(|to| self.probe(to, nonce)) {
                        probes.push((peer, nonce, (self.id.0, frame)));
                    } else {
                        self.engine.unsent(peer, nonce);
                    }
                }
                Output::Send { peer, message } => {
                    let to = self.peer(peer).map(|to| (to.address, to.port));
                    if let (Some((to, port)), Some(datagram)) = (to, self.channel.seal(peer, &message)) {
                        self.send(to, port, &datagram);
                    }
                }
            }
        }
        let ready: Vec<_> = probes.iter().map(|(_, _, frame)| (frame.0, frame.1.as_slice())).collect();
        let results = frames.send_batch(&ready);
        for ((peer, nonce, _), result) in probes.iter().zip(results) {
            if result.is_err() {
                self.engine.unsent(*peer, *nonce);
            }
        }
    }

    fn peer(&self, id: PeerId) -> Option<&PeerSetup> {
        let (name, _) = self.ids.iter().find(|(_, known)| **known == id)?;
        self.setup.peers.get(name)
    }

    fn probe(&self, to: &PeerSetup, nonce: u32) -> Option<Vec<u8>> {
        let pace = self.engine.pace();
        let question = Question {
            from: self.setup.mac.0,
            to: to.mac.0,
            port: self.port,
            nonce,
            discriminator: to.discriminator,
            state: State::Up,
            multiplier: u8::try_from(pace.multiplier).unwrap_or(u8::MAX),
            interval_us: u32::try_from(pace.interval.as_micros()).unwrap_or(u32::MAX),
        };
        match (to.source, to.address) {
            (IpAddr::V4(source), IpAddr::V4(address)) => {
                let mut frame = [0; bfd::initiator::FRAME_V4];
                bfd::initiator::write_probe_v4(&mut frame, &source.octets(), &address.octets(), &question);
                Some(frame.to_vec())
            }
            (IpAddr::V6(source), IpAddr::V6(address)) => {
                let mut frame = [0; bfd::initiator::FRAME_V6];
                bfd::initiator::write_probe_v6(&mut frame, &source.octets(), &address.octets(), &question);
                Some(frame.to_vec())
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => None,
        }
    }

    /// When it wants to be polled.
    pub(super) fn due(&self, now: Duration) -> Duration {
        if self.setup.carrier { self.engine.due(now) } else { Duration::MAX }
    }

    pub(super) fn descriptors(&self) -> [BorrowedFd<'_>; 2] {
        self.sockets.descriptors()
    }

    /// What the engine says, by names.
    pub(super) fn standing(&self) -> LinkStanding {
        let view = self.engine.view();
        let place = |(name, id): (&NodeName, &PeerId)| Some((name.clone(), *view.peers.get(id)?));
        LinkStanding { own: view.own, peers: self.ids.iter().filter_map(place).collect() }
    }

    /// Each peer, and what is known of it.
    pub(super) fn sessions(&self) -> Vec<(NodeName, IpAddr, PeerState)> {
        let session = |(name, id): (&NodeName, &PeerId)| {
            Some((name.clone(), self.setup.peers.get(name)?.address, self.engine.peer(*id)?))
        };
        self.ids.iter().filter_map(session).collect()
    }

    /// Datagrams that were nothing, by reason, since the last call.
    pub(super) fn take_refused(&mut self) -> BTreeMap<&'static str, u64> {
        std::mem::take(&mut self.refused)
    }

    pub(super) fn name(&self) -> &str {
        &self.setup.name
    }
}

/// Whose reply a datagram from a reflector's port is.
fn reply<'a>(
    setup: &'a LinkSetup,
    from: IpAddr,
    datagram: &[u8],
) -> Result<(&'a NodeName, u32, Remote), Refused> {
    let peer = setup.peers.iter().find(|(_, peer)| peer.address == from);
    let (name, peer) = peer.ok_or(Refused::UnknownReflector)?;
    let (nonce, discriminator, state) = bfd::initiator::parse_control(datagram).map_err(Refused::Reply)?;
    if discriminator != peer.discriminator {
        return Err(Refused::ForeignDiscriminator);
    }
    let remote = match state {
        State::Up => Remote::Up,
        State::AdminDown | State::Down | State::Init => Remote::AdminDown,
    };
    Ok((name, nonce, remote))
}
