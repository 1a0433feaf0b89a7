//! The engines of a link in a simulated network: a virtual clock, loss and delay in each direction, cuts, deaths,
//! restarts, frozen and starved agents, edits. docs/adr/0011-failover.md has the rules; their names are used here.
//!
//! Each seed is one run of one kind of trouble. `BARELB_SEEDS=N` runs so many of each (12,500 where nothing is
//! said), `BARELB_SEED=N` one with its story, `BARELB_FRAMES=1` also with each frame.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::format_push_string,
    clippy::needless_pass_by_value,
    reason = "all of it is a test"
)]

#[path = "failover/judge.rs"]
mod judge;
#[path = "failover/node.rs"]
mod node;
#[path = "failover/random.rs"]
mod random;
#[path = "failover/trouble.rs"]
mod trouble;
#[path = "failover/world.rs"]
mod world;

use std::env;
use std::thread;

use trouble::Kind;
use world::World;

/// Seeds of each kind where nothing else is said.
const SEEDS: u64 = 12_500;

/// Runs the seeds of one kind and shows the first that fails, with what has happened.
fn all_seeds(kind: Kind) {
    if let Some(seed) = number("BARELB_SEED") {
        let world = World::run(kind, seed);
        println!("{}", world.story());
        assert!(world.faults().is_empty(), "{kind:?} seed {seed}: {:#?}", world.faults());
        return;
    }
    let seeds = number("BARELB_SEEDS").unwrap_or(SEEDS);
    let failed = thread::scope(|scope| {
        let runs = [0, 1].map(|half| {
            scope.spawn(move || {
                (half..seeds).step_by(2).find_map(|seed| {
                    let world = World::run(kind, seed);
                    (!world.faults().is_empty()).then_some((seed, world))
                })
            })
        });
        runs.into_iter().filter_map(|run| run.join().unwrap()).min_by_key(|(seed, _)| *seed)
    });
    if let Some((seed, world)) = failed {
        panic!("{kind:?}: BARELB_SEED={seed} repeats it\n{}\n{:#?}", world.story(), world.faults());
    }
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok()?.parse().ok()
}

#[test]
fn loss_starvation_and_restarts_move_nothing() {
    all_seeds(Kind::Nuisance);
}

#[test]
fn nodes_die_and_come_back() {
    all_seeds(Kind::Deaths);
}

#[test]
fn the_network_is_parted_and_heals() {
    all_seeds(Kind::Partition);
}

#[test]
fn a_link_between_two_nodes_is_cut() {
    all_seeds(Kind::PartialCut);
}

#[test]
fn everybody_boots_at_once() {
    all_seeds(Kind::Boot);
}

#[test]
fn agents_freeze() {
    all_seeds(Kind::Frozen);
}

#[test]
fn who_is_eligible_changes_and_nodes_leave() {
    all_seeds(Kind::Edits);
}

#[test]
fn everything_happens() {
    all_seeds(Kind::Everything);
}
