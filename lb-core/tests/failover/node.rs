//! A node: its table, which answers by itself, and its agent, which may be away.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lb_core::failover::{Engine, Failback, Message, PeerId, Place, Profile, Remote, Settings, Start, first};

use crate::random::Random;
use crate::world::ADDRESSES;

/// How long a table answers without its agent.
pub(crate) const GRACE: Duration = Duration::from_millis(400);
/// Before addresses go back.
pub(crate) const HOLD_DOWN: Duration = Duration::from_millis(120);

/// What the data plane has.
#[derive(Default)]
pub(crate) struct Table {
    pub(crate) answers: Vec<bool>,
    pub(crate) valid_until: Duration,
    pub(crate) reflects: Option<Remote>,
    pub(crate) epoch: u32,
}

/// What has arrived and the agent has not looked at yet.
pub(crate) enum Arrived {
    Reply { from: usize, nonce: u32, remote: Remote },
    Message { from: usize, message: Message },
}

pub(crate) struct Node {
    pub(crate) is_on: bool,
    pub(crate) table: Table,
    pub(crate) engine: Option<Engine>,
    pub(crate) inbox: Vec<Arrived>,
    /// Not scheduled until then.
    pub(crate) away_until: Duration,
    pub(crate) is_frozen: bool,
    /// The candidates of each address in their order, as this node knows them.
    pub(crate) ranks: Vec<Vec<usize>>,
    pub(crate) leaving: bool,
    /// Who has ever replied.
    pub(crate) proven: BTreeSet<PeerId>,
    /// When it was last on, thawed or scheduled after a pause that was noticed.
    pub(crate) ready_since: Duration,
    pub(crate) wake_at: Duration,
    pub(crate) applying: Option<u64>,
    pub(crate) applied: u64,
    /// An event waits for its table's deadline.
    pub(crate) watches_deadline: bool,
    /// How often it had to announce anew, as far as it has.
    pub(crate) renewed: u64,
    /// Until when it has nothing to say against those that announce an address that it owns.
    pub(crate) contests: Vec<Duration>,
    lives: u64,
}

impl Node {
    pub(crate) fn new(ranks: Vec<Vec<usize>>) -> Self {
        Self {
            is_on: false,
            table: Table { answers: vec![false; ranks.len()], ..Table::default() },
            engine: None,
            inbox: Vec::new(),
            away_until: Duration::ZERO,
            is_frozen: false,
            ranks,
            leaving: false,
            proven: BTreeSet::new(),
            ready_since: Duration::MAX,
            wake_at: Duration::MAX,
            applying: None,
            applied: 0,
            watches_deadline: false,
            renewed: 0,
            contests: vec![Duration::ZERO; ADDRESSES],
            lives: 0,
        }
    }

    /// Starts the agent: as new, or with the table that is still valid.
    pub(crate) fn start(
        &mut self,
        me: usize,
        count: usize,
        failback: Failback,
        random: &mut Random,
        now: Duration,
    ) {
        self.lives += 1;
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&random.next().to_be_bytes());
        let settings = Settings {
            profile: Profile::DEFAULT,
            rate: 10_000,
            failback,
            hold_down: HOLD_DOWN,
            incarnation: self.lives * 1000 + me as u64,
            seed,
        };
        let is_valid = self.table.valid_until > now;
        let start = if is_valid && self.table.reflects == Some(Remote::Up) {
            Start::Resumed { epoch: self.table.epoch }
        } else {
            self.silence();
            Start::Fresh
        };
        let mut engine = Engine::new(settings, start, now);
        let peers: BTreeMap<_, _> = (0..count)
            .filter(|peer| *peer != me)
            .map(|peer| (id(peer), (self.proven.contains(&id(peer)), peer < me)))
            .collect();
        engine.set_peers(&peers, now);
        engine.leave(self.leaving, now);
        self.engine = Some(engine);
        self.inbox.clear();
        (self.applying, self.applied, self.renewed) = (None, 0, 0);
        self.ready_since = now;
        self.is_frozen = false;
        if start == Start::Fresh {
            self.table.reflects = Some(Remote::AdminDown);
        }
        self.table.valid_until = now + GRACE;
    }

    pub(crate) fn silence(&mut self) {
        self.table.answers.fill(false);
        self.table.reflects = None;
    }

    pub(crate) fn is_running(&self, now: Duration) -> bool {
        self.is_on && self.engine.is_some() && !self.is_frozen && now >= self.away_until
    }

    pub(crate) fn answers(&self, address: usize, now: Duration) -> bool {
        self.is_on && now < self.table.valid_until && self.table.answers[address]
    }

    /// What the reflector says; it needs no agent.
    pub(crate) fn reflection(&self, now: Duration) -> Option<Remote> {
        self.table.reflects.filter(|_| self.is_on && now < self.table.valid_until)
    }

    /// Whether this node is the owner of an address, as its agent sees it.
    pub(crate) fn owns(&self, me: usize, address: usize) -> bool {
        let Some(engine) = &self.engine else { return false };
        let view = engine.view();
        let place = |node: usize| -> Option<Place> {
            if node == me { view.own } else { view.peers.get(&id(node)).copied().flatten() }
        };
        first(self.ranks[address].iter().map(|node| (*node, place(*node)))) == Some(me)
    }

    /// Makes the table follow the view.
    pub(crate) fn apply(&mut self, me: usize, now: Duration) {
        let Some(version) = self.applying.take() else { return };
        for address in 0..self.ranks.len() {
            self.table.answers[address] = self.owns(me, address);
        }
        if let Some(engine) = &mut self.engine {
            self.table.reflects = Some(engine.reflects());
            self.table.epoch = engine.epoch();
            self.table.valid_until = now + GRACE;
            engine.applied(version);
            self.applied = version;
        }
    }
}

pub(crate) fn id(node: usize) -> PeerId {
    PeerId(u16::try_from(node).unwrap())
}
