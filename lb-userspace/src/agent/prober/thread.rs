//! What the thread does: take in what has arrived, judge, send, publish, sleep.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixDatagram;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use lb_core::failover::seal::{Key, Keyring};
use lb_core::failover::{Remote, Settings as EngineSettings, Standing, Status};
use lb_core::ids::{LinkId, NodeName};
use tokio::sync::watch;

use super::proven::Proven;
use super::setup::Setup;
use super::wire::{Beginning, Wire};
use super::{Command, Origin, Seen, SessionState};
use crate::agent::secret::{Keys, SecretDir};
use crate::net::probes::wait;

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
    secret: Option<SecretDir>,
    keys: Keyring,
    clock: Instant,
    setup: u64,
    rejoined: u64,
    leaving: bool,
    next_tick: Duration,
    published: Vec<(LinkId, u64)>,
    /// What the table follows.
    applied: BTreeMap<LinkId, u64>,
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
            published: Vec::new(),
            applied: BTreeMap::new(),
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
                            self.applied.insert(link, version);
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
        self.applied.retain(|link, _| setup.contains_key(link));
        for (id, link) in setup {
            if let Some(wire) = self.wires.get_mut(&id) {
                let proven = |name: &NodeName| self.proven.is(name, &link.name);
                wire.change(link.clone(), &proven, now);
                continue;
            }
            let name = link.name.clone();
            let proven = |peer: &NodeName| self.proven.is(peer, &name);
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
        let mut random = [0; 40];
        File::open("/dev/urandom")?.read_exact(&mut random)?;
        let (mut seed, mut incarnation) = ([0; 32], [0; 8]);
        seed.copy_from_slice(&random[..32]);
        incarnation.copy_from_slice(&random[32..]);
        let incarnation = u64::from_be_bytes(incarnation).max(1);
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
                seed,
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
        let mut states = Vec::new();
        for wire in self.wires.values() {
            let interval = wire.engine.pace().interval;
            for (peer, address, status, traffic) in wire.sessions() {
                if traffic.replies > 0 {
                    self.proven.note(&peer, wire.name());
                }
                states.push(SessionState {
                    peer: peer.to_string(),
                    link: wire.name().to_owned(),
                    address,
                    status: describe(status).to_owned(),
                    interval_us: micros(interval),
                    sent: traffic.sent,
                    replies: traffic.replies,
                    downs: traffic.downs,
                    round_trip_us: traffic.round_trip.map(micros),
                });
            }
        }
        self.proven.save();
        *self.sessions.lock().unwrap_or_else(PoisonError::into_inner) = states;
    }

    /// Publishes what is other than before. True when there is something to send.
    fn publish(&mut self, news: bool) -> bool {
        let versions: Vec<(LinkId, u64)> =
            self.wires.iter().map(|(id, wire)| (*id, wire.engine.version())).collect();
        if !news && versions == self.published {
            return false;
        }
        self.published = versions;
        let engines = || self.wires.iter().map(|(id, wire)| (*id, &wire.engine));
        let up = engines().filter(|(_, engine)| engine.reflects() == Remote::Up).map(|(id, _)| id);
        let seen = Seen {
            setup: self.setup,
            rejoined: self.rejoined,
            standing: Arc::new(Standing {
                links: self.wires.iter().map(|(id, wire)| (*id, wire.standing())).collect(),
            }),
            settled: engines().all(|(_, engine)| engine.is_settled()),
            versions: self.published.iter().copied().collect(),
            up: up.collect(),
            epoch: engines()
                .map(|(_, engine)| (engine.reflects() == Remote::Up).then(|| engine.epoch()))
                .try_fold(0, |most, epoch| Some(most.max(epoch?))),
        };
        let before = Arc::clone(&self.publish.borrow());
        let same = (before.setup, before.rejoined, before.settled, before.epoch)
            == (seen.setup, seen.rejoined, seen.settled, seen.epoch)
            && (&before.standing, &before.up) == (&seen.standing, &seen.up);
        if !same {
            self.publish.send_replace(Arc::new(seen));
            return false;
        }
        // Only the number is another: a table that follows the one follows the other.
        let mut acknowledged = false;
        for (link, version) in &seen.versions {
            let follows =
                before.versions.get(link).is_some_and(|before| self.applied.get(link) >= Some(before));
            if let Some(wire) = self.wires.get_mut(link).filter(|_| follows) {
                wire.engine.applied(*version);
                acknowledged |= self.applied.insert(*link, *version) != Some(*version);
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

fn describe(status: Status) -> &'static str {
    match status {
        Status::Unproven => "unproven",
        Status::Up => "up",
        Status::Relayed => "relayed",
        Status::Suspect => "suspect",
        Status::Down => "down",
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
