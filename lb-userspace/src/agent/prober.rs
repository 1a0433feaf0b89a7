//! The thread that finds out within tens of milliseconds which nodes are there: an engine for each link
//! ([`lb_core::failover`]), its probes and messages, and the socket of announcements' twin that they leave by.
//!
//! A thread of its own, because a step of the agent's task may take longer than a peer may stay silent. It decides nothing:
//! what follows from what it sees is planned and applied by the agent's task, as everything else is, and told back.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use anyhow::{Context, Result};
use lb_core::failover::{Failback, Profile, Standing, Start};
use lb_core::ids::{LinkId, NodeName};
use tokio::sync::watch;

use super::cluster::CutLink;
use super::metrics::Metrics;
use super::sessions::SessionState;
use crate::net::raw::RawSender;

pub(super) mod proven;
mod refused;
pub(super) mod setup;
pub(super) mod start;
mod thread;
mod wire;

pub use refused::Refused;

use setup::Setup;
use thread::Thread;

/// How nodes watch each other.
#[derive(Clone, Debug)]
pub struct FailoverSettings {
    /// `None`: by Leases only.
    pub profile: Option<Profile>,
    /// `--failback`.
    pub failback: Failback,
    /// `--failback-after`.
    pub hold_down: Duration,
    /// `--failover-port`.
    pub port: u16,
    /// Probes a second and link at the most.
    pub rate: u32,
}

/// What the agent's task tells.
enum Command {
    Setup {
        number: u64,
        setup: Setup,
    },
    /// The table follows these versions.
    Applied(BTreeMap<LinkId, u64>),
    /// The table has fallen silent.
    Rejoin {
        number: u64,
    },
    Leave(bool),
}

/// What the thread has seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// The setup it knows, and how often it has begun anew.
    pub(super) setup: u64,
    pub(super) rejoined: u64,
    pub(super) standing: Arc<Standing>,
    /// Every link knows who is there, or must not own anything.
    pub(super) settled: bool,
    pub(super) versions: BTreeMap<LinkId, u64>,
    /// How often all that is owned on each link had to be announced anew.
    pub(super) renewals: BTreeMap<LinkId, u64>,
    /// Links on which this node may own addresses.
    pub(super) up: BTreeSet<LinkId>,
    /// To be left for the next agent; `None`: that one begins as new.
    pub(super) epoch: Option<u32>,
}

/// The thread, seen from the agent's task.
pub(super) struct Prober {
    commands: mpsc::Sender<Command>,
    bell: UnixDatagram,
    pub(super) seen: watch::Receiver<Arc<Seen>>,
    sessions: Arc<Mutex<Vec<SessionState>>>,
    setup: Setup,
    setups: u64,
    rejoins: u64,
    leaving: bool,
}

/// What it begins with.
pub(super) struct Origin {
    pub(super) me: NodeName,
    pub(super) settings: FailoverSettings,
    pub(super) profile: Profile,
    pub(super) secret_dir: Option<PathBuf>,
    pub(super) state_dir: PathBuf,
    pub(super) start: Start,
    /// Whom to tell who is heard.
    pub(super) heard: watch::Sender<BTreeSet<NodeName>>,
    pub(super) frames: RawSender,
    pub(super) metrics: Metrics,
    pub(super) cuts: watch::Sender<BTreeSet<CutLink>>,
    /// Links that were cut and are whole again.
    pub(super) whole: tokio::sync::mpsc::Sender<CutLink>,
}

impl Prober {
    /// Starts the thread. It ends with this.
    pub(super) fn start(origin: Origin) -> Result<Self> {
        let (commands, inbox) = mpsc::channel();
        let (bell, rung) = UnixDatagram::pair().context("waking the prober")?;
        for end in [&bell, &rung] {
            end.set_nonblocking(true).context("waking the prober")?;
        }
        let (publish, seen) = watch::channel(Arc::default());
        let sessions = Arc::<Mutex<Vec<SessionState>>>::default();
        let thread = Thread::new(origin, inbox, rung, publish, Arc::clone(&sessions))?;
        std::thread::Builder::new()
            .name("prober".to_owned())
            .spawn(move || thread.run())
            .context("starting the prober")?;
        Ok(Self {
            commands,
            bell,
            seen,
            sessions,
            setup: Setup::new(),
            setups: 0,
            rejoins: 0,
            leaving: false,
        })
    }

    fn tell(&self, command: Command) {
        // An error: the thread has ended, which `seen` tells.
        let _ended = self.commands.send(command);
        let _full = self.bell.send(&[0]);
    }

    /// Probes these from now on.
    pub(super) fn probe(&mut self, setup: &Setup) {
        if self.setups == 0 || self.setup != *setup {
            self.setup.clone_from(setup);
            self.setups += 1;
            self.tell(Command::Setup { number: self.setups, setup: setup.clone() });
        }
    }

    /// What it probes.
    pub(super) fn setup(&self) -> &Setup {
        &self.setup
    }

    /// The table follows what was seen.
    pub(super) fn applied(&self, seen: &Seen) {
        self.tell(Command::Applied(seen.versions.clone()));
    }

    /// The table has fallen silent: others may have taken over.
    pub(super) fn rejoin(&mut self) {
        self.rejoins += 1;
        self.tell(Command::Rejoin { number: self.rejoins });
    }

    /// This node hands over, or does not any more.
    pub(super) fn leave(&mut self, leaving: bool) {
        if std::mem::replace(&mut self.leaving, leaving) != leaving {
            self.tell(Command::Leave(leaving));
        }
    }

    /// Whether what was seen is about all that was told, and says something.
    pub(super) fn is_current(&self, seen: &Seen) -> bool {
        self.setups > 0 && (seen.setup, seen.rejoined) == (self.setups, self.rejoins) && seen.settled
    }

    /// All sessions, not more than a second old.
    pub(super) fn sessions(&self) -> Vec<SessionState> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
