//! All peers of a link together.

use std::collections::BTreeMap;
use std::mem;
use std::time::Duration;

use super::message::Message;
use super::own::{Failback, Own, Phase};
use super::peer::Peer;
use super::reunion::Renewals;
use super::session::{Heard, Remote, Status, Traffic};
use super::view::{Place, View};
use super::{PeerId, Profile};

mod messages;
mod probes;

use messages::Errand;

/// Probes that are sent for others and have no reply yet.
const ERRANDS: usize = 64;

/// What does not change while an engine runs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How the others are probed.
    pub profile: Profile,
    /// Probes a second to all of them together; with more the interval grows.
    pub rate: u32,
    /// Whether this node takes back what it owned before.
    pub failback: Failback,
    /// How long it waits with that.
    pub hold_down: Duration,
    /// Of this life of the agent; random.
    pub incarnation: u64,
    /// What nonces are made of; random, and nobody else's.
    pub seed: [u8; 32],
}

/// How an engine begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Its node has answered nothing until now.
    Fresh,
    /// Its node has answered all the while, from the place of this epoch.
    Resumed {
        /// The epoch.
        epoch: u32,
    },
}

/// What is known of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerState {
    /// Whether it is there.
    pub status: Status,
    /// What was counted.
    pub traffic: Traffic,
    /// From one probe to the next.
    pub interval: Duration,
    /// The same where the rate is no limit.
    pub unlimited: Duration,
}

/// What is to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// A probe.
    Probe {
        /// To whom.
        peer: PeerId,
        /// What the reply must return.
        nonce: u32,
    },
    /// A message.
    Send {
        /// To whom.
        peer: PeerId,
        /// What.
        message: Message,
    },
}

/// The agent's part on one link. See the [module](super).
#[derive(Debug, Clone)]
pub struct Engine {
    settings: Settings,
    own: Own,
    peers: BTreeMap<PeerId, Peer>,
    errands: Vec<Errand>,
    outputs: Vec<Output>,
    /// Grows when the view changes.
    version: u64,
    /// The view that the table follows.
    applied: u64,
    drawn: u64,
    nonces: [u8; 32],
    turn: usize,
    renewals: Renewals,
    polled: Duration,
}

impl Engine {
    /// Knows nobody yet.
    pub fn new(settings: Settings, start: Start, now: Duration) -> Self {
        let resumes = match start {
            Start::Fresh => None,
            Start::Resumed { epoch } => Some(epoch),
        };
        let own = Own::new(settings.failback, settings.hold_down, resumes, now);
        Self {
            settings,
            own,
            peers: BTreeMap::new(),
            errands: Vec::new(),
            outputs: Vec::new(),
            version: 1,
            applied: 0,
            drawn: 0,
            nonces: [0; 32],
            turn: 0,
            renewals: Renewals::default(),
            polled: now,
        }
    }

    /// These nodes are on the link now; each with whether it has replied there before, and whether it comes before this
    /// node where nothing else decides.
    pub fn set_peers(&mut self, peers: &BTreeMap<PeerId, (bool, bool)>, now: Duration) {
        let before = self.peers.len();
        self.peers.retain(|id, _| peers.contains_key(id));
        let mut news = before != self.peers.len();
        for (id, (proven, senior)) in peers {
            news |= !self.peers.contains_key(id);
            self.peers.entry(*id).or_insert_with(|| Peer::new(*proven, *senior, now)).senior = *senior;
        }
        self.version += u64::from(news);
    }

    /// This node has fallen silent on the link, or could not know the others: it begins anew.
    pub fn rejoin(&mut self, now: Duration) {
        self.own.rejoin(now);
        self.told_anew(now);
    }

    /// This node is to hand over what it owns, or is not any more.
    pub fn leave(&mut self, leaving: bool, now: Duration) {
        if self.own.is_leaving() != leaving {
            self.own.leave(leaving, now);
            self.told_anew(now);
        }
    }

    /// A probe that [`Engine::poll`] wanted was not sent after all.
    pub fn unsent(&mut self, peer: PeerId, nonce: u32) {
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.session.unsent(nonce);
        }
    }

    /// A reply of a peer to a probe. False: it answers none.
    pub fn reply(&mut self, from: PeerId, nonce: u32, remote: Remote, now: Duration) -> bool {
        let Some(peer) = self.peers.get_mut(&from) else { return false };
        let Some(heard) = peer.session.reply(nonce, remote, now) else { return false };
        self.heard(from, heard, now);
        let told = self.peers.get(&from).and_then(Peer::told);
        let outputs = &mut self.outputs;
        self.errands.retain(|errand| {
            let done = errand.target == from && errand.nonce == nonce;
            if done {
                let message = Message::Vouch { nonce: errand.question, remote, told };
                outputs.push(Output::Send { peer: errand.asker, message });
            }
            !done
        });
        true
    }

    fn heard(&mut self, from: PeerId, heard: Heard, now: Duration) {
        let Some(peer) = self.peers.get_mut(&from) else { return };
        if heard.was_down {
            peer.comes_back(now);
        } else if heard.is_first || heard.is_direct_again {
            // It may not hear this node, and learns by this that it could.
            peer.tell_again(now);
            if heard.is_direct_again {
                peer.reunite(now);
            }
        } else if heard.is_news {
            peer.tell_soon(now);
        }
        self.version += u64::from(heard.is_news);
    }

    /// The table follows this version of the view: what was told to this node is in force.
    pub fn applied(&mut self, version: u64) {
        if version > self.applied {
            self.applied = version;
            for peer in self.peers.keys().copied().collect::<Vec<_>>() {
                self.pay(peer);
            }
        }
    }

    /// The version of the view that the table follows.
    pub fn follows(&self) -> u64 {
        self.applied
    }

    /// Judges, and returns what is to be sent. Everything that has arrived must have been taken in before.
    pub fn poll(&mut self, now: Duration) -> Vec<Output> {
        self.notice_absence(now);
        self.probe(now);
        self.settle(now);
        let mut tells = Vec::new();
        let seq = self.own.seq;
        for (id, peer) in &mut self.peers {
            self.version += u64::from(peer.is_late(now));
            if peer.reunion.is_overdue(now) {
                self.renewals.owe();
            }
            if let Some((was_down, heard)) = peer.tell(seq, now) {
                tells.push((*id, was_down, heard));
            }
        }
        self.renew(now);
        for (peer, was_down, heard) in tells {
            let message = Message::Tell(self.tell(was_down, heard));
            self.outputs.push(Output::Send { peer, message });
        }
        mem::take(&mut self.outputs)
    }

    /// What this node may do follows from what the others do.
    fn settle(&mut self, now: Duration) {
        if let Phase::Joining { since, .. } = self.own.phase {
            let profile = self.pace();
            if now >= since + patience(&profile) || self.peers.values().all(|peer| peer.is_settled(&profile))
            {
                self.own.join(self.greatest_epoch(), now);
                self.told_anew(now);
            }
        } else if self.own.fail_back(self.least_epoch(), now) {
            self.told_anew(now);
        }
        if self.own.is_leaving() {
            let seq = self.own.seq;
            // Who is heard by others only hears it from them, and an agent that is away takes over nothing.
            let heard = self.peers.values().filter(|peer| peer.session.status() == Status::Up);
            let late = self.own.leaving_since().is_some_and(|since| now >= since + self.answer_time());
            let able = heard.filter(|peer| peer.place().is_some() && (peer.knows(seq) || !late));
            let able: Vec<&Peer> = able.collect();
            let taken = !able.is_empty() && able.iter().all(|peer| peer.has_acked(seq));
            self.version += u64::from(self.own.leave_now(taken, now));
        }
    }

    /// By then an agent that runs has said that it knows what it was told.
    fn answer_time(&self) -> Duration {
        self.settings.profile.interval * 2
    }

    fn epochs(&self) -> impl Iterator<Item = u32> {
        let places = self.peers.values().filter_map(Peer::place);
        places.filter(|place| *place < Place::LAST).map(Place::epoch)
    }

    fn greatest_epoch(&self) -> Option<u32> {
        self.epochs().max()
    }

    fn least_epoch(&self) -> Option<u32> {
        self.epochs().min()
    }

    /// How many peers are heard beside this one.
    fn up_without(&self, peer: PeerId) -> u16 {
        let others = self.peers.iter().filter(|(id, _)| **id != peer);
        let up = others.filter(|(_, peer)| peer.session.status() == Status::Up).count();
        u16::try_from(up).unwrap_or(u16::MAX)
    }

    /// The profile, slower where there are so many peers that the rate would be exceeded.
    pub fn pace(&self) -> Profile {
        let Profile { interval, multiplier } = self.settings.profile;
        // Those that are down are probed twice as often, and seldom where that has lasted.
        let often = self.peers.values().filter(|peer| !peer.session.is_given_up());
        let probes = often.map(|peer| 1 + u32::from(!peer.session.status().is_up())).sum::<u32>();
        let shortest = Duration::from_secs(1) * probes / self.settings.rate.max(1);
        Profile { interval: interval.max(shortest), multiplier }
    }

    /// When [`Engine::poll`] has something to do, if nothing arrives before.
    pub fn due(&self, now: Duration) -> Duration {
        let profile = self.pace();
        let peers = self.peers.values().map(|peer| peer.due(&profile, self.own.seq));
        let joins = match self.own.phase {
            Phase::Joining { since, .. } => Some(since + patience(&profile)),
            Phase::Active => None,
        };
        let own = joins
            .into_iter()
            .chain(self.own.leaves_at(self.answer_time(), now))
            .chain(self.own.fails_back_at(self.least_epoch()))
            .chain(self.renewals.due());
        peers.chain(own).min().unwrap_or(Duration::MAX)
    }

    /// The version of the view; it is another when [`Engine::view`] may be.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Whether the view says something: before, this node must leave the table as it is.
    pub fn is_settled(&self) -> bool {
        !self.own.is_joining() || self.own.is_down()
    }

    /// Who can own an address.
    pub fn view(&self) -> View {
        let own = (!self.own.is_joining())
            .then(|| if self.own.has_left() { Place::LAST } else { Place::of_epoch(self.own.epoch) });
        View { own, peers: self.peers.iter().map(|(id, peer)| (*id, peer.place())).collect() }
    }

    /// Grows when this node has to announce what it owns although it has owned it all the while: a peer is back whose
    /// announcements may have been heard last.
    pub fn renewals(&self) -> u64 {
        self.renewals.count()
    }

    /// What the reflector of this node is to reply with.
    pub fn reflects(&self) -> Remote {
        if self.own.is_down() { Remote::AdminDown } else { Remote::Up }
    }

    /// This node's epoch.
    pub fn epoch(&self) -> u32 {
        self.own.epoch
    }

    /// What is known of a peer.
    pub fn peer(&self, peer: PeerId) -> Option<PeerState> {
        let session = &self.peers.get(&peer)?.session;
        Some(PeerState {
            status: session.status(),
            traffic: session.traffic(),
            interval: session.interval(&self.pace()),
            unlimited: session.interval(&self.settings.profile),
        })
    }
}

/// How long a node waits at the most to learn how the others stand.
fn patience(profile: &Profile) -> Duration {
    profile.detection() * 4
}
