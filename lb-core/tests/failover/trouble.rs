//! What goes wrong, and when.

use std::time::Duration;

use crate::node::{GRACE, HOLD_DOWN};
use crate::world::{ADDRESSES, Event, World};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Nuisance,
    Deaths,
    Partition,
    PartialCut,
    Boot,
    Frozen,
    Edits,
    Everything,
}

#[derive(Debug, Clone)]
pub(crate) enum Act {
    /// Power on: nothing is pinned.
    Boot(usize),
    /// Power off.
    Die(usize),
    /// SIGKILL.
    Kill(usize),
    /// The agent starts and finds the table as it is.
    Start(usize),
    /// SIGSTOP and SIGCONT.
    Freeze(usize),
    Thaw(usize),
    /// Not scheduled for a while.
    Starve(usize, Duration),
    /// Nothing passes between these and the others.
    Part(Vec<usize>),
    /// Nothing passes between the two, in one direction or both.
    Cut(usize, usize, bool),
    Heal,
    /// Another order of candidates, told to all one after the other.
    Edit(usize, Vec<usize>),
    Learn(usize, usize, Vec<usize>),
    /// The node hands over, or does not any more.
    Leave(usize, bool),
}

/// After which everything is quiet.
const START: Duration = Duration::from_millis(100);

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Plans the run; returns when it ends.
pub(crate) fn plan(world: &mut World, kind: Kind) -> Duration {
    let count = world.nodes.len();
    let spread = if kind == Kind::Boot { 60 } else { 5 };
    for node in 0..count {
        let at = world.random.millis(0, spread);
        world.at(at, Event::Act(Act::Boot(node)));
    }
    world.loss = match (kind, world.random.below(3)) {
        (Kind::Nuisance, 0) | (_, 1) => 50_000,
        (Kind::Nuisance, _) => 20_000,
        _ => 0,
    };
    // Where all have begun together, addresses have gone where they belong by then.
    let mut at = START + HOLD_DOWN * 2;
    let happens = |world: &mut World, at: Duration, act: Act| world.at(at, Event::Act(act));
    match kind {
        Kind::Boot => {}
        Kind::Nuisance => at = nuisance(world, at, 8),
        Kind::Deaths => {
            let dead = 1 + world.random.below(count - 1);
            let order = world.random.shuffled(count);
            for node in order.into_iter().take(dead) {
                let after = world.random.millis(0, 3);
                happens(world, at + after, Act::Die(node));
                let back = world.random.millis(100, 400);
                happens(world, at + back, Act::Boot(node));
            }
            at += ms(450);
        }
        Kind::Partition => {
            let side = 1 + world.random.below(count - 1);
            let order = world.random.shuffled(count);
            happens(world, at, Act::Part(order.into_iter().take(side).collect()));
            at += world.random.millis(60, 300);
            happens(world, at, Act::Heal);
        }
        Kind::PartialCut => {
            let order = world.random.shuffled(count);
            let both = world.random.below(2) == 0;
            happens(world, at, Act::Cut(order[0], order[1], both));
            at += world.random.millis(60, 300);
            happens(world, at, Act::Heal);
        }
        Kind::Frozen => {
            let node = world.random.below(count);
            happens(world, at, Act::Freeze(node));
            at += world.random.millis(20, 800);
            happens(world, at, Act::Thaw(node));
        }
        Kind::Edits => {
            for _ in 0..4 {
                at += world.random.millis(30, 200);
                edit(world, at);
            }
        }
        Kind::Everything => at = everything(world, at),
    }
    at + HOLD_DOWN * if kind == Kind::Everything { 16 } else { 3 } + ms(150)
}

fn nuisance(world: &mut World, mut at: Duration, times: usize) -> Duration {
    // Since when each agent has hardly been scheduled, and until when. One that is away for its grace has fallen silent, and
    // moves its addresses with a cause.
    let mut starved = vec![(Duration::ZERO, Duration::ZERO); world.nodes.len()];
    for _ in 0..times {
        let node = world.random.below(world.nodes.len());
        let wait = world.random.millis(10, 80);
        if world.random.below(3) == 0 {
            world.at(at, Event::Act(Act::Kill(node)));
            let away = world.random.millis(1, 100);
            world.at(at + away, Event::Act(Act::Start(node)));
            at += away;
        } else {
            let long = world.random.millis(1, 120);
            let (since, until) = starved[node];
            let since = if at > until + ms(20) { at } else { since };
            if at + long < since + GRACE / 2 {
                starved[node] = (since, until.max(at + long));
                world.at(at, Event::Act(Act::Starve(node, long)));
            }
        }
        at += wait;
    }
    at + GRACE
}

fn edit(world: &mut World, at: Duration) {
    let count = world.nodes.len();
    if world.random.below(3) == 0 {
        let node = world.random.below(count);
        world.at(at, Event::Act(Act::Leave(node, true)));
        let later = world.random.millis(40, 150);
        world.at(at + later, Event::Act(Act::Leave(node, false)));
        return;
    }
    let address = world.random.below(ADDRESSES);
    let some = 1 + world.random.below(count);
    let order = world.random.shuffled(count).into_iter().take(some).collect();
    world.at(at, Event::Act(Act::Edit(address, order)));
}

fn everything(world: &mut World, mut at: Duration) -> Duration {
    let count = world.nodes.len();
    for _ in 0..6 {
        at += world.random.millis(5, 120);
        let node = world.random.below(count);
        let later = at + world.random.millis(5, 250);
        match world.random.below(7) {
            0 => {
                world.at(at, Event::Act(Act::Die(node)));
                world.at(later, Event::Act(Act::Boot(node)));
            }
            1 => {
                world.at(at, Event::Act(Act::Kill(node)));
                world.at(later, Event::Act(Act::Start(node)));
            }
            2 => {
                world.at(at, Event::Act(Act::Freeze(node)));
                world.at(later, Event::Act(Act::Thaw(node)));
            }
            3 => {
                world.at(at, Event::Act(Act::Part(vec![node])));
                world.at(later, Event::Act(Act::Heal));
            }
            4 => {
                let other = (node + 1 + world.random.below(count - 1)) % count;
                world.at(at, Event::Act(Act::Cut(node, other, true)));
                world.at(later, Event::Act(Act::Heal));
            }
            5 => edit(world, at),
            _ => {
                let long = world.random.millis(1, 100);
                world.at(at, Event::Act(Act::Starve(node, long)));
            }
        }
    }
    // Whatever is still amiss ends.
    at += ms(400);
    world.at(at, Event::Act(Act::Heal));
    for node in 0..count {
        world.at(at, Event::Act(Act::Leave(node, false)));
    }
    at
}

/// Does it.
pub(crate) fn act(world: &mut World, act: &Act) {
    let (now, count, failback) = (world.now, world.nodes.len(), world.failback);
    match act {
        Act::Boot(node) => {
            let one = &mut world.nodes[*node];
            if !one.is_on {
                one.is_on = true;
                one.table.valid_until = Duration::ZERO;
                one.silence();
                one.start(*node, count, failback, &mut world.random, now);
            }
            world.wake(*node);
        }
        Act::Die(node) => {
            let one = &mut world.nodes[*node];
            (one.is_on, one.engine) = (false, None);
        }
        Act::Kill(node) => world.nodes[*node].engine = None,
        Act::Start(node) => {
            let one = &mut world.nodes[*node];
            if one.is_on && one.engine.is_none() {
                one.start(*node, count, failback, &mut world.random, now);
            }
            world.wake(*node);
        }
        Act::Freeze(node) => world.nodes[*node].is_frozen = true,
        Act::Thaw(node) => {
            world.nodes[*node].is_frozen = false;
            world.wake(*node);
        }
        Act::Starve(node, long) => {
            world.nodes[*node].away_until = now + *long;
            world.wakes_at(*node, now + *long);
        }
        Act::Part(side) => {
            for a in 0..count {
                for b in 0..count {
                    world.cut[a][b] |= side.contains(&a) != side.contains(&b);
                }
            }
        }
        Act::Cut(a, b, both) => {
            world.cut[*a][*b] = true;
            world.cut[*b][*a] |= *both;
        }
        Act::Heal => world.cut.iter_mut().flatten().for_each(|cut| *cut = false),
        Act::Edit(address, order) => {
            world.judge.expects(*address, order.clone());
            for node in 0..count {
                let at = now + world.random.millis(0, 5);
                world.at(at, Event::Act(Act::Learn(node, *address, order.clone())));
            }
        }
        Act::Learn(node, address, order) => {
            world.nodes[*node].ranks[*address].clone_from(order);
            world.learned(*node);
        }
        Act::Leave(node, leaving) => {
            let one = &mut world.nodes[*node];
            one.leaving = *leaving;
            if let Some(engine) = &mut one.engine {
                engine.leave(*leaving, now);
            }
            world.wake(*node);
        }
    }
}
