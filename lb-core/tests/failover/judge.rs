//! The properties.

use std::time::Duration;

use lb_core::failover::Failback;

use crate::node::Node;
use crate::trouble::Kind;
use crate::world::ADDRESSES;

/// S: two nodes that hear each other answer for an address both for so long at the most.
const BOTH: Duration = Duration::from_millis(20);
/// The same where one of them hands over: an agent that has begun to take over may be slow, or restart.
const HANDED_OVER: Duration = Duration::from_millis(1500);
/// L: an address that a node could answer for is answered after so long, from the last that has happened.
const SILENCE: Duration = Duration::from_millis(60);
/// How long an agent that starts learns about the others, at the most.
const START: Duration = Duration::from_millis(140);

/// Two nodes answer for an address.
#[derive(Clone, Copy, Default)]
struct Both {
    is_so: bool,
    /// When one of them heard the other first since then.
    heard: Option<Duration>,
    /// When one of them was handing over last.
    left: Duration,
}

pub(crate) struct Judge {
    kind: Kind,
    count: usize,
    faults: Vec<String>,
    /// Since when both of a pair answer for an address, and have heard each other.
    both: Vec<Vec<Vec<Both>>>,
    silent_since: Vec<Vec<Option<Duration>>>,
    happened: Duration,
    owners: Vec<Option<usize>>,
    moves: usize,
    expected: Vec<Option<Vec<usize>>>,
}

impl Judge {
    pub(crate) fn new(count: usize, kind: Kind) -> Self {
        Self {
            kind,
            count,
            faults: Vec::new(),
            both: vec![vec![vec![Both::default(); count]; count]; ADDRESSES],
            silent_since: vec![vec![None; count]; ADDRESSES],
            happened: Duration::ZERO,
            owners: vec![None; ADDRESSES],
            moves: 0,
            expected: vec![None; ADDRESSES],
        }
    }

    pub(crate) fn faults(&self) -> &[String] {
        &self.faults
    }

    pub(crate) fn has_failed(&self) -> bool {
        !self.faults.is_empty()
    }

    fn fault(&mut self, now: Duration, what: String) {
        self.faults.push(format!("{:.3} ms: {what}", now.as_secs_f64() * 1000.0));
    }

    pub(crate) fn something_happens(&mut self, now: Duration) {
        self.happened = now;
    }

    pub(crate) fn expects(&mut self, address: usize, order: Vec<usize>) {
        self.expected[address] = Some(order);
    }

    /// A reply has got through.
    pub(crate) fn hears(&mut self, from: usize, to: usize, now: Duration) {
        for pairs in &mut self.both {
            let both = &mut pairs[from.max(to)][from.min(to)];
            if both.is_so {
                both.heard.get_or_insert(now);
            }
        }
    }

    /// A table answers for other addresses than before.
    pub(crate) fn changed(&mut self, node: usize, before: &[bool], after: &[bool], now: Duration) {
        for address in 0..ADDRESSES {
            if !before[address] && after[address] {
                let moved = self.owners[address].is_some_and(|owner| owner != node);
                self.moves += usize::from(moved);
                if moved && self.kind == Kind::Nuisance && self.happened > Duration::from_millis(500) {
                    self.fault(now, format!("Q: address {address} moved to node {node} without a cause"));
                }
                self.owners[address] = Some(node);
            }
        }
    }

    /// How things are, from the event before until `until`.
    pub(crate) fn look(&mut self, nodes: &[Node], cut: &[Vec<bool>], until: Duration) {
        // Whoever is cut off from a node, also by way of others, serves others.
        let reached: Vec<u32> = (0..self.count).map(|node| reached(cut, node)).collect();
        for address in 0..ADDRESSES {
            for a in 0..self.count {
                for b in 0..a {
                    self.look_at_pair(nodes, cut, (address, a, b), until);
                }
            }
            self.look_for_silence(nodes, &reached, address, until);
        }
    }

    fn look_at_pair(&mut self, nodes: &[Node], cut: &[Vec<bool>], at: (usize, usize, usize), now: Duration) {
        let (address, a, b) = at;
        let able = |node: usize| {
            let one = &nodes[node];
            one.answers(address, now) && one.is_running(now) && one.ready_since.saturating_add(START) < now
        };
        let is_so = able(a) && able(b) && !cut[a][b] && !cut[b][a];
        let both = &mut self.both[address][a][b];
        let leaving = nodes[a].leaving || nodes[b].leaving;
        let left = if leaving { now } else { both.left };
        *both = Both { is_so, heard: both.heard.filter(|_| is_so), left };
        // Replies are lost, also by chance: time runs once one has got through, and anew where a node does not leave after all.
        let late = |heard: Duration| {
            if leaving { now > heard + HANDED_OVER } else { now > heard.max(left) + BOTH }
        };
        if let Some(heard) = both.heard.filter(|heard| late(*heard)) {
            self.fault(
                now,
                format!("S: nodes {a} and {b} both answer for address {address} since {heard:?}"),
            );
        }
    }

    fn look_for_silence(&mut self, nodes: &[Node], reached: &[u32], address: usize, now: Duration) {
        for node in 0..self.count {
            let answered = (0..self.count)
                .any(|other| reached[node] & 1 << other != 0 && nodes[other].answers(address, now));
            let one = &nodes[node];
            let able = one.is_running(now)
                && one.ready_since.saturating_add(START) < now
                && one.away_until + START < now
                && one.ranks[address].contains(&node)
                && !one.leaving;
            // Another that is there, and better, and frozen, is not replaced before its table has fallen silent.
            let waits = (0..self.count).any(|other| {
                let other = &nodes[other];
                other.is_on && !other.is_running(now) && now < other.table.valid_until + SILENCE
            });
            let since = &mut self.silent_since[address][node];
            if answered || !able || waits {
                *since = None;
                continue;
            }
            let since = (*since.get_or_insert(now)).max(self.happened);
            if now > since + SILENCE {
                self.fault(
                    now,
                    format!("L: nobody answers for address {address} since {since:?}; node {node} could"),
                );
                return;
            }
        }
    }

    /// After everything: one owner of each address, and the right one.
    pub(crate) fn end(&mut self, nodes: &[Node], cut: &[Vec<bool>], now: Duration, failback: Failback) {
        if cut.iter().flatten().any(|cut| *cut) {
            return;
        }
        for address in 0..ADDRESSES {
            let answering: Vec<usize> =
                (0..self.count).filter(|node| nodes[*node].answers(address, now)).collect();
            let able = |node: &&usize| nodes[**node].is_running(now) && !nodes[**node].leaving;
            let right = nodes[0].ranks[address].iter().find(able).copied();
            let one = answering.len() == 1 || (right.is_none() && answering.is_empty());
            if !one || (failback == Failback::Auto && right != answering.first().copied()) {
                let owner =
                    format!("nodes {answering:?} answer for address {address} at the end, not {right:?}");
                self.fault(now, owner);
            }
        }
    }

    /// N: beside every node, who was heard last to announce an address is its owner. Not where a node may have died or
    /// fallen silent while nobody heard it: it can't say that it owned anything.
    pub(crate) fn heard(&mut self, nodes: &[Node], believed: &[[Option<usize>; ADDRESSES]], now: Duration) {
        if self.kind == Kind::Everything {
            return;
        }
        for address in 0..ADDRESSES {
            let owner = (0..self.count).find(|node| nodes[*node].answers(address, now));
            for (station, believed) in believed.iter().enumerate() {
                if owner.is_some() && believed[address] != owner {
                    self.fault(
                        now,
                        format!(
                            "N: beside node {station} {:?} was heard last of address {address}, which {owner:?} owns",
                            believed[address]
                        ),
                    );
                }
            }
        }
    }
}

/// All nodes that are connected with this one, a bit each.
fn reached(cut: &[Vec<bool>], node: usize) -> u32 {
    let mut all = 1 << node;
    loop {
        let before = all;
        for from in (0..cut.len()).filter(|from| before & 1 << from != 0) {
            for to in (0..cut.len()).filter(|to| !cut[from][*to] && !cut[*to][from]) {
                all |= 1 << to;
            }
        }
        if all == before {
            return all;
        }
    }
}
