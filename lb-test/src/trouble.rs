//! What can go wrong in a cluster, each case while a client asks for the addresses of a Service 500 times a second.
//!
//! A case says what is done and what may be seen of it: how long nobody may answer, how long two nodes may, and how often
//! the owner may change. `tests/trouble.rs` holds each to that; `cargo xtask bench --trouble` shows what is measured.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::client::{Report, Request};
use crate::cluster::{Site, SiteOptions};
use crate::link::mac_text;

mod agents;
mod objects;
mod servers;

/// Requests a second, for all addresses together.
const RATE: u32 = 500;
/// Before anything is done.
const BEFORE: Duration = Duration::from_secs(1);

/// Something that goes wrong.
pub struct Case {
    /// Its name in tests.
    pub name: &'static str,
    /// What is done.
    pub what: &'static str,
    /// What may be seen.
    pub allowed: Allowed,
    /// Why that much, where it is not nothing.
    pub why: &'static str,
    /// `--grace` of the agents; Leases last 15 s longer.
    pub grace: &'static str,
    /// Does it to the owner of the addresses, and waits until all is well again.
    pub act: fn(&mut Site, usize) -> Result<()>,
}

/// What may be seen of a case.
#[derive(Clone, Copy, Debug, Default)]
pub struct Allowed {
    /// How long nobody may answer; with zero every request has its answer.
    pub silence: Duration,
    /// How long two nodes may.
    pub both: Duration,
    /// How often the owner may change.
    pub moves: usize,
}

/// What was seen.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Requests.
    pub asked: usize,
    /// Those without an answer.
    pub unanswered: usize,
    /// The longest time between two answers for one address.
    pub silence: Duration,
    /// How long two nodes have answered.
    pub both: Duration,
    /// How often another node answered than before.
    pub moves: usize,
}

impl Seen {
    /// The worst of both.
    #[must_use]
    pub fn or_worse(self, other: &Self) -> Self {
        Self {
            asked: self.asked + other.asked,
            unanswered: self.unanswered + other.unanswered,
            silence: self.silence.max(other.silence),
            both: self.both.max(other.both),
            moves: self.moves.max(other.moves),
        }
    }
}

/// Of one kind each, so that each kind can be run by itself.
pub const KINDS: [(&str, &[Case]); 3] =
    [("agents", agents::CASES), ("servers", servers::CASES), ("objects", objects::CASES)];

/// The death of a node by the default grace, whose Lease lasts 75 s.
pub fn by_default() -> Option<Case> {
    let dead = agents::CASES.iter().find(|case| case.name == agents::DEAD)?;
    Some(Case { what: "the node dies, with the default grace of 60 s", grace: "60s", ..*dead })
}

impl Case {
    /// Does it in a cluster of its own.
    pub fn run(&self) -> Result<Seen> {
        let options = SiteOptions { grace: self.grace.to_owned(), ..SiteOptions::default() };
        let mut site = Site::without_agents(options)?;
        let seen = self.run_in(&mut site);
        seen.with_context(|| format!("{}: {}\n{}", self.name, self.what, site.logs()))
    }

    fn run_in(&self, site: &mut Site) -> Result<Seen> {
        // Before the agents, whose connections begin at the address of that way.
        for index in 0..site.machines.len() {
            site.add_way_to_api(index)?;
            site.start_agent(index)?;
        }
        site.wait_for_members(site.machines.len())?;
        let owner = site.owner()?;
        site.is_said_to_be_of(Some(owner))?;
        // What was decided is saved.
        thread::sleep(Duration::from_secs(2));
        let probe = site.probe(RATE)?;
        thread::sleep(BEFORE);
        (self.act)(site, owner)?;
        let report = probe.stop()?;
        ensure!(report.socket_drops == 0, "the client's socket lost {} frames", report.socket_drops);
        for mac in report.by_mac.keys() {
            let known = site.machines.iter().any(|machine| machine.cable.a.mac() == *mac);
            ensure!(known, "{} answers, which is no node: {}", mac_text(*mac), report.summary());
        }
        Ok(Seen::of(&report))
    }

    /// An error unless nothing else was seen than what may be.
    pub fn judge(&self, seen: &Seen) -> Result<()> {
        let Allowed { silence, both, moves } = self.allowed;
        let complete = !silence.is_zero() || seen.unanswered == 0;
        ensure!(
            complete
                && (silence.is_zero() || seen.silence <= silence)
                && seen.both <= both
                && seen.moves <= moves,
            "{}: {}: {seen:?} is more than {:?}",
            self.name,
            self.what,
            self.allowed
        );
        Ok(())
    }
}

impl Seen {
    fn of(report: &Report) -> Self {
        let mut last = None;
        let mut moves = 0;
        let alone = |request: &&Request| request.duplicates == 0;
        for answer in report.requests.iter().filter(alone).filter_map(|request| request.answer) {
            moves += usize::from(last.is_some_and(|last| last != answer.mac));
            last = Some(answer.mac);
        }
        let twice = report.requests.iter().filter(|request| request.duplicates > 0).count();
        Self {
            asked: report.sent,
            unanswered: report.missing.len(),
            silence: report.longest_gap,
            both: Duration::from_secs(1) * u32::try_from(twice).unwrap_or(u32::MAX) / RATE,
            moves,
        }
    }
}
