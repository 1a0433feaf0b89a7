//! What engines tell each other: taken in, and acknowledged.

use std::time::Duration;

use super::{ERRANDS, Engine, Output};
use crate::failover::PeerId;
use crate::failover::message::{Message, Tell};
use crate::failover::peer::Owed;
use crate::failover::session::Remote;

/// A probe that is sent for another node.
#[derive(Debug, Clone, Copy)]
pub(super) struct Errand {
    pub(super) asker: PeerId,
    pub(super) target: PeerId,
    pub(super) question: u32,
    pub(super) nonce: u32,
}

impl Engine {
    /// A message of a peer, that nobody else can have sent, and not for the second time.
    pub fn message(&mut self, from: PeerId, message: Message, now: Duration) {
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.speaks(now);
        }
        match message {
            Message::Tell(tell) => self.told(from, tell, now),
            Message::Ack { incarnation, seq, applied, own } => {
                if incarnation == self.settings.incarnation {
                    self.acknowledged(from, (seq, applied), own, now);
                }
            }
            Message::Ask { target, nonce } => self.run_errand(from, target, nonce, now),
            Message::Vouch { nonce, remote, told } => {
                // Of whom it is follows from the nonce.
                let vouched = self.peers.iter_mut().find_map(|(id, peer)| {
                    let heard = peer.session.vouched(nonce, remote)?;
                    Some((*id, heard))
                });
                if let Some((target, heard)) = vouched {
                    let news = told
                        .is_some_and(|tell| self.peers.get_mut(&target).is_some_and(|peer| peer.tells(tell)));
                    self.version += u64::from(news);
                    self.heard(target, heard, now);
                }
            }
        }
    }

    fn told(&mut self, from: PeerId, tell: Tell, now: Duration) {
        let up = self.up_without(from);
        let Some(peer) = self.peers.get_mut(&from) else { return };
        let news = peer.tells(tell);
        self.version += u64::from(news);
        // It tells only those that it hears.
        let remote = if tell.joining { Remote::AdminDown } else { Remote::Up };
        if let Some(heard) = peer.session.told(remote) {
            self.heard(from, heard, now);
        }
        let Some(peer) = self.peers.get_mut(&from) else { return };
        if tell.was_down {
            peer.reunite(now);
        }
        if tell.was_down && !self.own.is_joining() {
            let heard = peer.heard_meanwhile(up);
            let flaps = peer.flaps() && heard == tell.heard && peer.senior;
            let again = self.own.has_given_up(self.settings.profile.detection() * 10, now);
            let greatest = self.greatest_epoch().unwrap_or(0).max(tell.epoch);
            if heard < tell.heard || flaps {
                let before = self.own.epoch;
                self.own.give_up(greatest, again, now);
                if before != self.own.epoch {
                    self.told_anew(now);
                }
            }
        }
        let owed = Owed { incarnation: tell.incarnation, seq: tell.seq, view: self.version };
        if owed.view > self.applied {
            self.acknowledge(from, owed, false);
        }
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.owe(owed);
        }
        self.pay(from);
    }

    pub(super) fn tell(&self, was_down: bool, heard: u16) -> Tell {
        Tell {
            incarnation: self.settings.incarnation,
            seq: self.own.seq,
            epoch: self.own.epoch,
            joining: self.own.is_down(),
            leaving: self.own.is_leaving(),
            was_down,
            heard,
        }
    }

    pub(super) fn told_anew(&mut self, now: Duration) {
        self.version += 1;
        for peer in self.peers.values_mut() {
            peer.tell_again(now);
        }
    }

    /// Counts that this node has to announce anew; not more often than a peer can be missed.
    pub(super) fn renew(&mut self, now: Duration) {
        let apart = self.settings.profile.detection() * 10;
        self.version += u64::from(self.renewals.count_due(apart, now));
    }

    fn acknowledge(&mut self, to: PeerId, owed: Owed, applied: bool) {
        let Owed { incarnation, seq, .. } = owed;
        let message = Message::Ack { incarnation, seq, applied, own: self.tell(false, 0) };
        let output = Output::Send { peer: to, message };
        // What was told several times while this agent was away.
        if !self.outputs.contains(&output) {
            self.outputs.push(output);
        }
    }

    pub(super) fn pay(&mut self, to: PeerId) {
        if let Some(owed) = self.peers.get_mut(&to).and_then(|peer| peer.pay(self.applied)) {
            self.acknowledge(to, owed, true);
        }
    }

    fn acknowledged(&mut self, from: PeerId, (seq, applied): (u32, bool), own: Tell, now: Duration) {
        let current = self.own.seq;
        let Some(peer) = self.peers.get_mut(&from) else { return };
        let before = peer.place();
        peer.tells(own);
        if !peer.knows(seq) {
            peer.tell_soon(now);
        }
        peer.acks(seq, applied);
        if applied && seq == current {
            peer.goes_on();
            if peer.reunion.agree(now) {
                self.renewals.owe();
            }
        }
        self.version += u64::from(before != peer.place());
    }

    fn run_errand(&mut self, asker: PeerId, target: PeerId, question: u32, now: Duration) {
        let nonce = self.draw();
        let Some(peer) = self.peers.get_mut(&target) else { return };
        if asker == target || self.errands.len() >= ERRANDS {
            self.errands.truncate(ERRANDS / 2);
            return;
        }
        peer.session.sent(nonce, now);
        self.errands.retain(|errand| (errand.asker, errand.target) != (asker, target));
        self.errands.push(Errand { asker, target, question, nonce });
        self.outputs.push(Output::Probe { peer: target, nonce });
    }
}
