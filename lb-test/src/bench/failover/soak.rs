//! How often addresses move though nothing happens: an hour of loss, or of busy processors.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::record::{append, read, remove};
use super::{Options, tell};
use crate::bench::document::Page;
use crate::client::{ProbeClient, ProbeConfig};
use crate::failover::{Hogs, Kind, Purpose, System, lose};
use crate::interrupt::Interrupt;

/// What is saved at a time.
const PIECE: Duration = Duration::from_mins(1);
/// Requests a second for each address.
const RATE: u32 = 200;

/// What was seen in a minute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Minute {
    system: String,
    /// Percent.
    loss: u32,
    busy: bool,
    asked: usize,
    unanswered: usize,
    moves: usize,
    /// Requests that two nodes have answered.
    twice: usize,
}

/// All minutes of a system under the same circumstances.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sum {
    pub(super) system: String,
    pub(super) loss: u32,
    pub(super) busy: bool,
    pub(super) minutes: usize,
    pub(super) moves: usize,
    asked: usize,
    unanswered: usize,
    twice: usize,
}

impl Sum {
    /// What there was, for people.
    pub(super) fn circumstances(&self) -> String {
        let loss = (self.loss > 0).then(|| format!("{} % lost each way at every node's port", self.loss));
        let busy = self.busy.then(|| "all processors busy".to_owned());
        let all: Vec<_> = loss.into_iter().chain(busy).collect();
        if all.is_empty() { "nothing".to_owned() } else { all.join(", ") }
    }
}

/// Watches each system for so long.
pub(super) fn run(options: &Options, long: Duration, interrupt: &Interrupt) -> Result<()> {
    let pieces = usize::try_from(long.as_secs().div_ceil(PIECE.as_secs()))?;
    for kind in options.systems() {
        let is_same =
            |one: &Minute| one.system == kind.name() && one.loss == options.loss && one.busy == options.busy;
        if !options.resume {
            forget(options, is_same)?;
        }
        let done = saved(options)?.iter().filter(|one| is_same(one)).count();
        if done < pieces {
            let mut system =
                kind.set_up(Purpose::Soak).with_context(|| format!("setting up {}", kind.what()))?;
            let hogs = options.busy.then(Hogs::start).transpose()?;
            lose(system.as_mut(), options.loss * 10)?;
            for _ in done..pieces {
                interrupt.check().context("what was seen is saved: go on with --resume")?;
                let minute = watch(options, kind, system.as_ref())?;
                tell(&format!("{}: {} moves in a minute", kind.name(), minute.moves));
                append(&file(options), &minute)?;
            }
            drop(hogs);
        }
    }
    Ok(())
}

fn watch(options: &Options, kind: Kind, system: &dyn System) -> Result<Minute> {
    let targets = system.vips();
    let per_second = RATE * u32::try_from(targets.len())?;
    let config = ProbeConfig { targets: targets.to_vec(), per_second };
    let report = ProbeClient::start_from_few(system.client(), config)?.run_for(PIECE)?;
    let moves = |vip| {
        let of_vip =
            report.requests.iter().filter(|request| request.target == vip && request.duplicates == 0);
        let owners: Vec<_> = of_vip.filter_map(|request| Some(request.answer?.mac)).collect();
        owners.windows(2).filter(|pair| pair[0] != pair[1]).count()
    };
    Ok(Minute {
        system: kind.name().to_owned(),
        loss: options.loss,
        busy: options.busy,
        asked: report.sent,
        unanswered: report.missing.len(),
        moves: targets.into_iter().map(moves).max().unwrap_or_default(),
        twice: report.requests.iter().filter(|request| request.duplicates > 0).count(),
    })
}

fn file(options: &Options) -> PathBuf {
    options.records.with_extension("soak.jsonl")
}

/// The minutes that are saved.
pub(super) fn saved(options: &Options) -> Result<Vec<Minute>> {
    read(&file(options))
}

fn forget(options: &Options, which: impl Fn(&Minute) -> bool) -> Result<()> {
    let path = file(options);
    let left: Vec<Minute> = saved(options)?.into_iter().filter(|one| !which(one)).collect();
    remove(&path)?;
    left.iter().try_for_each(|minute| append(&path, minute))
}

/// Minutes added up, by system and circumstances.
pub(super) fn sums(minutes: &[Minute]) -> Vec<Sum> {
    let mut sums = BTreeMap::<(String, u32, bool), Sum>::new();
    for one in minutes {
        let key = (one.system.clone(), one.loss, one.busy);
        let none = Sum {
            system: one.system.clone(),
            loss: one.loss,
            busy: one.busy,
            minutes: 0,
            moves: 0,
            asked: 0,
            unanswered: 0,
            twice: 0,
        };
        let sum = sums.entry(key).or_insert(none);
        sum.minutes += 1;
        sum.moves += one.moves;
        sum.asked += one.asked;
        sum.unanswered += one.unanswered;
        sum.twice += one.twice;
    }
    sums.into_values().collect()
}

/// Adds the table, if anything was watched.
pub(super) fn add(page: &mut Page, minutes: &[Minute]) {
    let row = |sum: Sum| {
        let counts =
            [sum.minutes, sum.moves, sum.asked, sum.unanswered, sum.twice].map(|count| count.to_string());
        [&[sum.system.clone(), sum.circumstances()][..], &counts].concat()
    };
    let rows: Vec<_> = sums(minutes).into_iter().map(row).collect();
    if !rows.is_empty() {
        page.add("\n### False moves: nothing happens to any node\n");
        let head = ["system", "beside", "minutes", "moves", "asked", "lost", "answered by two"];
        page.table(&head, rows);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minutes_of_the_same_circumstances_add_up() {
        let minute = |loss, moves| Minute {
            system: "barelb".to_owned(),
            loss,
            busy: false,
            asked: 100,
            unanswered: 5,
            moves,
            twice: 1,
        };
        let sums = sums(&[minute(5, 0), minute(20, 3), minute(5, 2), minute(0, 0)]);
        let seen: Vec<_> = sums.iter().map(|sum| (sum.loss, sum.minutes, sum.moves, sum.asked)).collect();
        assert_eq!(seen, [(0, 1, 0, 100), (5, 2, 2, 200), (20, 1, 3, 100)]);
        assert_eq!(sums[1].circumstances(), "5 % lost each way at every node's port");
        assert_eq!(sums[0].circumstances(), "nothing");
    }
}
