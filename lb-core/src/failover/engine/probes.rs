//! What an engine sends to find out who is there: probes, and questions to others.

use std::time::Duration;

use sha2::{Digest, Sha256};

use super::{Engine, Output, patience};
use crate::failover::PeerId;
use crate::failover::message::Message;
use crate::failover::peer::Peer;
use crate::failover::session::Status;

/// How many others are asked for a peer at a time.
const ASKED: usize = 2;

impl Engine {
    /// Time in which this agent was not scheduled is nobody's silence.
    pub(super) fn notice_absence(&mut self, now: Duration) {
        let away = now.saturating_sub(self.polled).saturating_sub(self.pace().interval * 2);
        self.polled = now;
        if !away.is_zero() {
            self.own.was_away(away, now);
            self.peers.values_mut().for_each(|peer| peer.was_away(away, now));
        }
    }

    pub(super) fn probe(&mut self, now: Duration) {
        let profile = self.pace();
        let ids: Vec<PeerId> = self.peers.keys().copied().collect();
        for id in ids {
            let others = self.up_without(id);
            let Some(peer) = self.peers.get_mut(&id) else { continue };
            let before = peer.session.status();
            let wants = peer.session.poll(&profile, now);
            let status = peer.session.status();
            match (before == Status::Down, status == Status::Down) {
                (false, true) => {
                    peer.goes_down(others, now);
                    self.version += 1;
                }
                (_, true) => peer.others_are_up(others),
                (_, false) => {}
            }
            self.version += u64::from(peer.introduce(&profile, patience(&profile), now));
            if wants.probe {
                let nonce = self.draw();
                self.outputs.push(Output::Probe { peer: id, nonce });
                if let Some(peer) = self.peers.get_mut(&id) {
                    peer.session.sent(nonce, now);
                }
            }
            if wants.ask {
                self.ask(id, now);
            }
        }
    }

    /// Asks others for a peer, by turns.
    fn ask(&mut self, target: PeerId, now: Duration) {
        let hears = |peer: &Peer| peer.session.status() == Status::Up;
        let others: Vec<PeerId> =
            self.peers.iter().filter(|(id, peer)| **id != target && hears(peer)).map(|(id, _)| *id).collect();
        if others.is_empty() {
            return;
        }
        let nonce = self.draw();
        for turn in 0..ASKED.min(others.len()) {
            if let Some(peer) = others.get((self.turn + turn) % others.len()) {
                self.outputs.push(Output::Send { peer: *peer, message: Message::Ask { target, nonce } });
            }
        }
        self.turn = self.turn.wrapping_add(1);
        if let Some(peer) = self.peers.get_mut(&target) {
            peer.session.asked(nonce, now);
        }
    }

    /// A number that nobody can guess, not 0.
    pub(super) fn draw(&mut self) -> u32 {
        let at = (self.drawn % 8) as usize;
        if at == 0 {
            let block = (self.drawn / 8).to_be_bytes();
            self.nonces =
                Sha256::new().chain_update(self.settings.seed).chain_update(block).finalize().into();
        }
        self.drawn += 1;
        let bytes = self.nonces.get(at * 4..).and_then(|rest| rest.first_chunk());
        bytes.map_or(1, |bytes| u32::from_be_bytes(*bytes)).max(1)
    }
}
