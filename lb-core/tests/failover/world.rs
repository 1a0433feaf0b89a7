//! The network, the clock and what happens when.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::time::Duration;

use lb_core::failover::{Engine, Failback, Message, Output, Remote};

use crate::judge::Judge;
use crate::node::{Arrived, GRACE, Node, id};
use crate::random::Random;
use crate::trouble::{self, Act, Kind};

/// How often the properties are looked at, beside all changes.
const LOOK: Duration = Duration::from_millis(1);
/// An announcement is repeated after these, as long as the node answers.
const ROUNDS_MS: [u64; 4] = [0, 20, 60, 120];
/// When a node announces what it still owns after another one has announced it.
const CONTEST: Duration = Duration::from_millis(40);
pub(crate) const ADDRESSES: usize = 3;

/// Something that happens, at a time.
#[derive(Debug)]
pub(crate) enum Event {
    Act(Act),
    /// A probe reaches a node.
    Probe {
        from: usize,
        to: usize,
        nonce: u32,
    },
    Reply {
        from: usize,
        to: usize,
        nonce: u32,
        remote: Remote,
    },
    Message {
        from: usize,
        to: usize,
        message: Message,
    },
    Wake(usize),
    Apply(usize),
    /// A node announces an address.
    Announce(usize, usize),
    /// The deadline of a node's table may have passed.
    Deadline(usize),
}

/// An event, ordered by its time; of one time, what was planned first.
struct Planned {
    at: Duration,
    number: u64,
    event: Event,
}

impl Ord for Planned {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

impl PartialOrd for Planned {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Planned {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Planned {}

pub(crate) struct World {
    pub(crate) now: Duration,
    pub(crate) nodes: Vec<Node>,
    /// Nothing gets from one to the other.
    pub(crate) cut: Vec<Vec<bool>>,
    /// Of a million packets.
    pub(crate) loss: u64,
    pub(crate) failback: Failback,
    pub(crate) random: Random,
    pub(crate) judge: Judge,
    /// Whom stations beside each node take for the owner of each address: who announced it last there.
    believed: Vec<[Option<usize>; ADDRESSES]>,
    queue: BinaryHeap<Reverse<Planned>>,
    count: u64,
    story: String,
    tells_all: bool,
}

impl World {
    pub(crate) fn run(kind: Kind, seed: u64) -> Self {
        let mut random = Random::new(seed ^ ((kind as u64) << 56));
        let count = 2 + random.below(3);
        let ranks: Vec<Vec<usize>> = (0..ADDRESSES).map(|_| random.shuffled(count)).collect();
        let mut world = Self {
            now: Duration::ZERO,
            nodes: (0..count).map(|_| Node::new(ranks.clone())).collect(),
            cut: vec![vec![false; count]; count],
            loss: 0,
            failback: if random.below(4) == 0 { Failback::Never } else { Failback::Auto },
            random,
            judge: Judge::new(count, kind),
            believed: vec![[None; ADDRESSES]; count],
            queue: BinaryHeap::new(),
            count: 0,
            story: String::new(),
            tells_all: std::env::var_os("BARELB_FRAMES").is_some(),
        };
        let end = trouble::plan(&mut world, kind);
        let mut looked = Duration::ZERO;
        while let Some(Reverse(Planned { at, event, .. })) = world.queue.pop() {
            if at > end || world.judge.has_failed() {
                break;
            }
            let matters = matches!(event, Event::Act(_) | Event::Apply(_) | Event::Deadline(_));
            if matters || at > looked + LOOK {
                world.judge.look(&world.nodes, &world.cut, at);
                looked = at;
            }
            world.now = at;
            world.happens(event);
        }
        let (nodes, now) = (&world.nodes, world.now);
        if !world.judge.has_failed() {
            world.judge.end(nodes, &world.cut, now, world.failback);
            world.judge.heard(nodes, &world.believed, now);
        }
        world
    }

    pub(crate) fn story(&self) -> &str {
        &self.story
    }

    pub(crate) fn faults(&self) -> &[String] {
        self.judge.faults()
    }

    pub(crate) fn tell(&mut self, what: &str) {
        self.story.push_str(&format!("{:>10.3} ms {what}\n", self.now.as_secs_f64() * 1000.0));
    }

    pub(crate) fn at(&mut self, at: Duration, event: Event) {
        self.count += 1;
        self.queue.push(Reverse(Planned { at, number: self.count, event }));
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Act(act) => {
                self.tell(&format!("{act:?}"));
                self.judge.something_happens(self.now);
                trouble::act(self, &act);
            }
            Event::Probe { from, to, nonce } => {
                if let Some(remote) = self.nodes[to].reflection(self.now) {
                    self.send(to, from, |from, to| Event::Reply { from, to, nonce, remote });
                }
            }
            Event::Reply { from, to, nonce, remote } => {
                if self.nodes[to].is_on {
                    self.judge.hears(from, to, self.now);
                    self.nodes[to].proven.insert(id(from));
                    self.nodes[to].inbox.push(Arrived::Reply { from, nonce, remote });
                    self.wake(to);
                }
            }
            Event::Message { from, to, message } => {
                if self.nodes[to].is_on {
                    self.nodes[to].inbox.push(Arrived::Message { from, message });
                    self.wake(to);
                }
            }
            Event::Wake(node) => self.runs(node),
            Event::Apply(node) => self.applies(node),
            Event::Deadline(node) => {
                self.nodes[node].watches_deadline = false;
                self.watches_deadline(node);
            }
            Event::Announce(node, address) => self.announces(node, address),
        }
    }

    fn send(&mut self, from: usize, to: usize, event: impl Fn(usize, usize) -> Event) {
        let lost = self.cut[from][to] || self.random.chance(self.loss);
        if self.tells_all {
            let event = event(from, to);
            self.tell(&format!("{}{event:?}", if lost { "lost: " } else { "" }));
        }
        if lost {
            return;
        }
        let at = self.now + self.random.micros(40, 200);
        self.at(at, event(from, to));
    }

    /// The agent of a node is woken, if it runs.
    pub(crate) fn wake(&mut self, node: usize) {
        if !self.nodes[node].is_running(self.now) {
            return;
        }
        let at = self.now + self.random.micros(10, 120);
        if at < self.nodes[node].wake_at || self.nodes[node].wake_at < self.now {
            self.wakes_at(node, at);
        }
    }

    /// One alarm at a time.
    pub(crate) fn wakes_at(&mut self, node: usize, at: Duration) {
        self.nodes[node].wake_at = at;
        self.at(at, Event::Wake(node));
    }

    fn runs(&mut self, me: usize) {
        let now = self.now;
        let node = &mut self.nodes[me];
        if !node.is_running(now) || node.wake_at != now {
            return;
        }
        if node.table.valid_until <= now {
            // It was away for too long, and notices.
            node.silence();
            node.ready_since = now;
            if let Some(engine) = &mut node.engine {
                engine.rejoin(now);
            }
        }
        node.table.valid_until = now + GRACE;
        let Some(engine) = &mut node.engine else { return };
        for arrived in node.inbox.drain(..) {
            match arrived {
                Arrived::Reply { from, nonce, remote } => {
                    engine.reply(id(from), nonce, remote, now);
                }
                Arrived::Message { from, message } => engine.message(id(from), message, now),
            }
        }
        let outputs = engine.poll(now);
        let due = engine.due(now).max(now);
        let news = engine.version() != node.applied && engine.is_settled() && node.applying.is_none();
        let version = engine.version();
        if news {
            node.applying = Some(version);
        }
        self.wakes_at(me, due.max(now + Duration::from_micros(1)));
        self.watches_deadline(me);
        if news {
            let at = now + self.random.micros(200, 2500);
            self.at(at, Event::Apply(me));
        }
        for output in outputs {
            match output {
                Output::Probe { peer, nonce } => {
                    self.send(me, usize::from(peer.0), |from, to| Event::Probe { from, to, nonce });
                }
                Output::Send { peer, message } => {
                    self.send(me, usize::from(peer.0), |from, to| Event::Message { from, to, message });
                }
            }
        }
    }

    /// The properties are looked at when a table falls silent.
    fn watches_deadline(&mut self, node: usize) {
        let at = self.nodes[node].table.valid_until;
        if !self.nodes[node].watches_deadline && at > self.now {
            self.nodes[node].watches_deadline = true;
            self.at(at, Event::Deadline(node));
        }
    }

    fn announces(&mut self, me: usize, address: usize) {
        if self.nodes[me].is_running(self.now) && self.nodes[me].answers(address, self.now) {
            for (station, believed) in self.believed.iter_mut().enumerate() {
                if !self.cut[me][station] {
                    believed[address] = Some(me);
                }
            }
            self.is_contradicted(me, address);
        }
    }

    /// Who owns what another node announces, and still does a little later, says so.
    fn is_contradicted(&mut self, me: usize, address: usize) {
        let now = self.now;
        for other in (0..self.nodes.len()).filter(|other| *other != me) {
            let hears = !self.cut[me][other] && self.nodes[other].is_running(now);
            if hears && self.nodes[other].answers(address, now) && now >= self.nodes[other].contests[address]
            {
                self.nodes[other].contests[address] = now + CONTEST;
                self.at(now + CONTEST, Event::Announce(other, address));
            }
        }
    }

    fn applies(&mut self, me: usize) {
        let now = self.now;
        if !self.nodes[me].is_running(now) {
            // It goes on where it was.
            self.nodes[me].applying = None;
            return;
        }
        let before = self.nodes[me].table.answers.clone();
        let renewals = self.nodes[me].engine.as_ref().map_or(0, Engine::renewals);
        self.nodes[me].apply(me, now);
        let after = self.nodes[me].table.answers.clone();
        if before != after {
            self.tell(&format!("node {me} answers {after:?}, epoch {}", self.nodes[me].table.epoch));
        }
        let anew = renewals > std::mem::replace(&mut self.nodes[me].renewed, renewals);
        for address in (0..ADDRESSES).filter(|address| after[*address] && (anew || !before[*address])) {
            for round in ROUNDS_MS.map(Duration::from_millis) {
                self.at(now + round, Event::Announce(me, address));
            }
        }
        self.judge.changed(me, &before, &after, now);
        self.wake(me);
    }
}

impl World {
    /// A node knows other objects than before.
    pub(crate) fn learned(&mut self, node: usize) {
        self.nodes[node].applied = 0;
        self.wake(node);
    }
}
