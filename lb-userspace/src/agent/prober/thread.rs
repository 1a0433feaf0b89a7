//! What the thread does: take in what has arrived, judge, send, publish, sleep.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixDatagram;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use lb_core::failover::seal::{Key, Keyring};
use lb_core::failover::{CutNews, Cuts, Remote, Settings as EngineSettings, Standing, Status};
use lb_core::ids::{LinkId, NodeName};
use tokio::sync::watch;

use super::proven::Proven;
use super::setup::Setup;
use super::wire::{Beginning, Wire};
use super::{Command, Origin, Seen};
use crate::agent::cluster::CutLink;
use crate::agent::secret::{Keys, SecretDir};
use crate::agent::sessions::{SessionName, SessionState};
use crate::net::probes::wait;
use crate::random;

/// How often the secret is looked at, and sessions are reported.
const TICK: Duration = Duration::from_secs(1);
/// The longest sleep.
const LONGEST: Duration = Duration::from_secs(1);
/// What keys are made of where there is no secret: messages of another cluster are not taken for ours, and nothing more.
const NO_SECRET: &[u8] = b"no secret: messages between agents are not authenticated";

/// See the module above.
pub(super) struct Thread {
    origin: Origin,
    inbox: mpsc::Receiver<Command>,
    rung: UnixDatagram,
    publish: watch::Sender<Arc<Seen>>,
    sessions: Arc<Mutex<Vec<SessionState>>>,
    wires: BTreeMap<LinkId, Wire>,
    proven: Proven,
    cuts: Cuts<CutLink>,
    secret: Option<SecretDir>,
    keys: Keyring,
    clock: Instant,
    setup: u64,
    rejoined: u64,
    leaving: bool,
    next_tick: Duration,
}

impl Thread {
    /// Knows no link yet.
    pub(super) fn new(
        origin: Origin,
        inbox: mpsc::Receiver<Command>,
        rung: UnixDatagram,
        publish: watch::Sender<Arc<Seen>>,
        sessions: Arc<Mutex<Vec<SessionState>>>,
    ) -> Result<Self> {
        Ok(Self {
            proven: Proven::load(&origin.state_dir),
            cuts: Cuts::default(),
            secret: origin.secret_dir.clone().map(SecretDir::new),
            keys: Keyring { current: Key::new(NO_SECRET).context("making a key")?, previous: None },
            origin,
            inbox,
            rung,
            publish,
            sessions,
            wires: BTreeMap::new(),
            clock: Instant::now(),
            setup: 0,
            rejoined: 0,
            leaving: false,
            next_tick: Duration::ZERO,
        })
    }

    pub(super) fn run(mut self) {
        loop {
            let now = self.clock.elapsed();
            for wire in self.wires.values_mut() {
                wire.receive(now);
            }
            match self.obey(now) {
                Ok(news) => {
                    for wire in self.wires.values_mut() {
                        wire.poll(&self.origin.frames, now);
                    }
                    self.tick(now);
                    if self.publish(news) {
                        continue;
                    }
                }
                // The agent has ended.
                Err(mpsc::TryRecvError::Disconnected | mpsc::TryRecvError::Empty) => return,
            }
            self.sleep();
        }
    }

    /// Does what was told; true when there was something.
    fn obey(&mut self, now: Duration) -> Result<bool, mpsc::TryRecvError> {
        let mut bytes = [0; 64];
        while self.rung.recv(&mut bytes).is_ok() {}
        let mut news = false;
        loop {
            match self.inbox.try_recv() {
                Ok(Command::Setup { number, setup }) => {
                    self.set_up(setup, now);
                    self.setup = number;
                }
                Ok(Command::Applied(versions)) => {
                    for (link, version) in versions {
                        if let Some(wire) = self.wires.get_mut(&link) {
                            wire.engine.applied(version);
                        }
                    }
                }
                Ok(Command::Rejoin { number }) => {
                    self.rejoined = number;
                    self.wires.values_mut().for_each(|wire| wire.engine.rejoin(now));
                }
                Ok(Command::Leave(leaving)) => {
                    self.leaving = leaving;
                    self.wires.values_mut().for_each(|wire| wire.engine.leave(leaving, now));
                }
                Err(mpsc::TryRecvError::Empty) => return Ok(news),
                Err(error) => return Err(error),
            }
            news = true;
        }
    }

    fn set_up(&mut self, setup: Setup, now: Duration) {
        self.wires.retain(|link, _| setup.contains_key(link));
        for (id, link) in setup {
            let name = link.name.clone();
            let proven = |peer: &NodeName| self.proven.is(peer, &name);
            if let Some(wire) = self.wires.get_mut(&id) {
                wire.change(link, &proven, now);
                continue;
            }
            let beginning = self.beginning();
            match beginning.and_then(|beginning| Wire::open(id, link, beginning, &proven, now)) {
                Ok(mut wire) => {
                    wire.engine.leave(self.leaving, now);
                    self.wires.insert(id, wire);
                }
                Err(error) => tracing::error!(
                    %error,
                    link = name,
                    port = self.origin.settings.port,
                    "can't watch other nodes on this link: their Leases decide; another port can be given with \
                     --failover-port"
                ),
            }
        }
    }

    fn beginning(&self) -> io::Result<Beginning> {
        let incarnation = u64::from_be_bytes(random::bytes()?).max(1);
        let settings = &self.origin.settings;
        Ok(Beginning {
            me: self.origin.me.clone(),
            port: settings.port,
            settings: EngineSettings {
                profile: self.origin.profile,
                rate: settings.rate,
                failback: settings.failback,
                hold_down: settings.hold_down,
                incarnation,
                seed: random::bytes()?,
            },
            start: self.origin.start,
            incarnation: incarnation.try_into().map_err(io::Error::other)?,
            keys: self.keys.clone(),
        })
    }

    fn tick(&mut self, now: Duration) {
        if now < self.next_tick {
            return;
        }
        self.next_tick = now + TICK;
        match self.secret.as_mut().map(SecretDir::poll) {
            Some(Ok(Keys::Of(keys))) => {
                self.keys = *keys;
                self.wires.values_mut().for_each(|wire| wire.set_keys(self.keys.clone()));
                tracing::info!("messages between agents are authenticated");
            }
            Some(Err(error)) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the agents' secret; going on as before"
                );
            }
            Some(Ok(Keys::Unchanged | Keys::Missing)) | None => {}
        }
        self.report(now);
    }

    /// Says how the sessions are and who is heard, and writes down who has replied.
    fn report(&mut self, now: Duration) {
        let (mut states, mut heard) = (Vec::new(), BTreeSet::new());
        let (mut refused, mut links) = (BTreeMap::new(), BTreeMap::new());
        for wire in self.wires.values_mut() {
            for (reason, count) in wire.take_refused() {
                *refused.entry(reason).or_default() += count;
            }
            for (peer, address, session) in wire.sessions() {
                if session.traffic.replies > 0 {
                    self.proven.note(&peer, wire.name());
                }
                if matches!(session.status, Status::Up | Status::Relayed | Status::Suspect) {
                    heard.extend([peer.clone(), self.origin.me.clone()]);
                }
                let link = wire.name().to_owned();
                let name = SessionName { peer: peer.to_string(), link: link.clone(), address };
                states.push(SessionState::new(name, &session));
                links.insert(CutLink { peer, link }, session.status);
            }
        }
        self.proven.save();
        self.origin.heard.send_if_modified(|known| {
            let news = *known != heard;
            *known = heard;
            news
        });
        self.tell_cuts(&links, now);
        self.origin.metrics.watched_peers(&states, &refused);
        *self.sessions.lock().unwrap_or_else(PoisonError::into_inner) = states;
    }

    /// Says which links are cut though both nodes are there.
    fn tell_cuts(&mut self, links: &BTreeMap<CutLink, Status>, now: Duration) {
        for (cut, news) in self.cuts.look(links, now) {
            let CutLink { peer, link } = &cut;
            match news {
                CutNews::Cut => tracing::warn!(
                    %peer,
                    link,
                    "nothing gets through to another node and back, though others hear it: look at the switch ports, \
                     cables and firewalls between both; addresses stay as long as others say so in time"
                ),
                CutNews::Whole => {
                    tracing::info!(%peer, link, "another node is heard directly again");
                    // Without room there is no Event; the log has it.
                    drop(self.origin.whole.try_send(cut));
                }
            }
        }
        let cuts: BTreeSet<CutLink> = self.cuts.told().cloned().collect();
        self.origin.cuts.send_if_modified(|known| {
            let differs = *known != cuts;
            if differs {
                *known = cuts;
            }
            differs
        });
    }

    /// Publishes what is other than before. True when there is something to send.
    fn publish(&mut self, news: bool) -> bool {
        let before = Arc::clone(&self.publish.borrow());
        let versions: BTreeMap<LinkId, u64> =
            self.wires.iter().map(|(id, wire)| (*id, wire.engine.version())).collect();
        if !news && versions == before.versions {
            return false;
        }
        let engines = || self.wires.iter().map(|(id, wire)| (*id, &wire.engine));
        let up = engines().filter(|(_, engine)| engine.reflects() == Remote::Up).map(|(id, _)| id);
        let seen = Seen {
            setup: self.setup,
            rejoined: self.rejoined,
            standing: Arc::new(Standing {
                links: self.wires.iter().map(|(id, wire)| (*id, wire.standing())).collect(),
            }),
            settled: engines().all(|(_, engine)| engine.is_settled()),
            versions,
            renewals: engines().map(|(id, engine)| (id, engine.renewals())).collect(),
            up: up.collect(),
            epoch: engines()
                .map(|(_, engine)| (engine.reflects() == Remote::Up).then(|| engine.epoch()))
                .try_fold(0, |most, epoch| Some(most.max(epoch?))),
        };
        if (Seen { versions: seen.versions.clone(), ..Seen::clone(&before) }) != seen {
            self.publish.send_replace(Arc::new(seen));
            return false;
        }
        // Only the number is another: a table that follows the one follows the other.
        let mut acknowledged = false;
        for (link, version) in &seen.versions {
            if let (Some(wire), Some(before)) = (self.wires.get_mut(link), before.versions.get(link))
                && wire.engine.follows() >= *before
            {
                acknowledged |= wire.engine.follows() < *version;
                wire.engine.applied(*version);
            }
        }
        self.publish.send_if_modified(|known| {
            *known = Arc::new(seen);
            false
        });
        acknowledged
    }

    fn sleep(&self) {
        let now = self.clock.elapsed();
        let due = self.wires.values().map(|wire| wire.due(now)).min().unwrap_or(Duration::MAX);
        let due = due.min(self.next_tick).saturating_sub(now).min(LONGEST);
        if due.is_zero() {
            return;
        }
        let sockets = self.wires.values().flat_map(Wire::descriptors);
        let all: Vec<BorrowedFd<'_>> = sockets.chain([self.rung.as_fd()]).collect();
        wait(&all, due);
    }
}
