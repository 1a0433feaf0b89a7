//! How long until another node answers, system by system and fault by fault. `cargo xtask bench failover` runs it; it
//! writes the part `Failover` of docs/reliability.md.
//!
//! Trials are saved one by one, so that a run that was cut goes on with `--resume`. Systems take turns: each has some
//! trials of each case in its turn, so that all of them see the same hours of the machine.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};

use crate::failover::{CASES, Case, Kind, MAIN, Purpose, System, case};
use crate::interrupt::Interrupt;
use record::{Record, Records};

mod connections;
mod cost;
mod goals;
mod page;
mod record;
mod soak;
mod tables;

pub(super) use page::part;

/// Turns of each system.
const TURNS: usize = 10;
/// Other cases have that many times fewer trials than the main one.
const FEWER: usize = 5;
/// Trials of a case that may fail in a row, each with a system set up anew.
const FAILURES: usize = 3;

/// Measures failover. Needs root, keepalived and the testbed.
#[derive(clap::Parser, Clone, Debug)]
#[command(name = "barelb-bench-failover")]
pub struct Options {
    /// The page whose part `Failover` is written.
    #[arg(long, value_name = "PATH")]
    pub out: PathBuf,
    /// Where the trials are saved, one a line.
    #[arg(long, value_name = "PATH")]
    pub records: PathBuf,
    /// Trials of the main case, silent death; the others have a fifth of it.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..))]
    pub trials: u16,
    /// Only this case; may be given several times.
    #[arg(long = "case", value_name = "NAME", value_parser = case_name)]
    pub cases: Vec<String>,
    /// Only this system; may be given several times: barelb, barelb-fast, barelb-leases (only when named), keepalived,
    /// keepalived-10ms.
    #[arg(long = "with", value_name = "SYSTEM")]
    pub systems: Vec<Kind>,
    /// Keep the trials that are saved already, and do those that are missing.
    #[arg(long)]
    pub resume: bool,
    /// Instead of faults: count how often addresses move for no reason in so long a time, for example 1h.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub soak: Option<Duration>,
    /// With --soak: of so many of a hundred frames lost by every node's port, each way.
    #[arg(long, value_name = "PERCENT", default_value_t = 0, requires = "soak", value_parser = clap::value_parser!(u32).range(0..=100))]
    pub loss: u32,
    /// With --soak: while all processors are busy.
    #[arg(long, requires = "soak")]
    pub busy: bool,
    /// Instead of faults: what probing costs an agent with ten peers.
    #[arg(long, conflicts_with = "soak")]
    pub cost: bool,
    /// Instead of faults: what becomes of TCP connections.
    #[arg(long, conflicts_with_all = ["soak", "cost"])]
    pub connections: bool,
    /// Only write the page from what is saved.
    #[arg(long, conflicts_with_all = ["soak", "cost", "connections"])]
    pub page: bool,
}

fn case_name(name: &str) -> Result<String> {
    let all = || CASES.iter().map(|case| case.name).collect::<Vec<_>>().join(", ");
    case(name).map(|case| case.name.to_owned()).ok_or_else(|| anyhow!("no such case; there are: {}", all()))
}

/// A number with one of the units s, m and h.
fn duration(text: &str) -> Result<Duration> {
    let wrong = || anyhow!("write a number and s, m or h, for example 90s or 1h");
    let (at, unit) = text.char_indices().next_back().ok_or_else(wrong)?;
    let number: u64 = text[..at].parse().map_err(|_error| wrong())?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        _ => return Err(wrong()),
    };
    ensure!(number > 0, wrong());
    Ok(Duration::from_secs(number.checked_mul(seconds).ok_or_else(wrong)?))
}

impl Options {
    fn wants(&self, case: &Case) -> bool {
        self.cases.is_empty() || self.cases.iter().any(|name| name == case.name)
    }

    fn systems(&self) -> Vec<Kind> {
        let all = Kind::ALL.into_iter();
        if self.systems.is_empty() {
            all.filter(|kind| *kind != Kind::BarelbLeases).collect()
        } else {
            all.filter(|kind| self.systems.contains(kind)).collect()
        }
    }

    fn trials_of(&self, case: &Case) -> usize {
        let trials = usize::from(self.trials);
        if case.name == MAIN { trials } else { trials.div_ceil(FEWER) }
    }
}

/// Measures what is missing, prints the tables and saves them.
pub fn run(options: &Options) -> Result<()> {
    let interrupt = Interrupt::block()?;
    let mut missing = Vec::new();
    if let Some(long) = options.soak {
        soak::run(options, long, &interrupt)?;
    } else if options.cost {
        cost::run(options)?;
    } else if options.connections {
        connections::run(options)?;
    } else if !options.page {
        missing = measure(options, &interrupt)?;
    }
    page::write(options)?;
    ensure!(missing.is_empty(), "trials are missing, why is told above: {}", missing.join(", "));
    Ok(())
}

/// Which cases of which systems have fewer trials than they should.
fn measure(options: &Options, interrupt: &Interrupt) -> Result<Vec<String>> {
    let systems = options.systems();
    let cases: Vec<&Case> = CASES.iter().filter(|case| options.wants(case)).collect();
    let mut records = Records::open(&options.records)?;
    if !options.resume {
        records.forget(|record| {
            systems.iter().any(|kind| kind.name() == record.system)
                && cases.iter().any(|case| case.name == record.case)
        })?;
    }
    let mut missing = BTreeSet::new();
    for turn in 1..=TURNS {
        for kind in &systems {
            let due = |case: &Case| (options.trials_of(case) * turn).div_ceil(TURNS);
            let is_due = |case: &&&Case| {
                let is_hopeless = missing.contains(&label(*kind, case));
                kind.has(case) && !is_hopeless && records.count(*kind, case) < due(case)
            };
            let cases: Vec<&Case> = cases.iter().filter(is_due).copied().collect();
            if !cases.is_empty() {
                missing.extend(turn_of(*kind, &cases, &mut records, due, interrupt)?);
            }
        }
    }
    Ok(missing.into_iter().collect())
}

/// Some trials of some cases, in one system; in another one after a trial that has failed. Which have failed too often.
fn turn_of(
    kind: Kind,
    cases: &[&Case],
    records: &mut Records,
    due: impl Fn(&Case) -> usize,
    interrupt: &Interrupt,
) -> Result<Vec<String>> {
    let (mut system, mut missing): (Option<Box<dyn System>>, _) = (None, Vec::new());
    let mut purpose = Purpose::Faults;
    for case in cases {
        let wanted = if case.crowded { Purpose::Crowd } else { Purpose::Faults };
        if wanted != purpose {
            (system, purpose) = (None, wanted);
        }
        let mut failures = 0;
        while records.count(kind, case) < due(case) {
            interrupt.check().context("what was measured is saved: go on with --resume")?;
            let trial = (|| {
                let mut ready = match system.take() {
                    Some(system) => system,
                    None => kind.set_up(purpose).with_context(|| format!("setting up {}", kind.what()))?,
                };
                let seen = case.run(ready.as_mut())?;
                system = Some(ready);
                anyhow::Ok(seen)
            })();
            match trial {
                Ok(Some(ways)) => records.add(Record::new(kind, case, ways))?,
                // Nothing of the kind in this system.
                Ok(None) => break,
                Err(error) => {
                    failures += 1;
                    tell(&format!("{}, {}: a trial has failed: {error:#}", kind.name(), case.name));
                    if failures == FAILURES {
                        missing.push(label(kind, case));
                        break;
                    }
                }
            }
        }
    }
    Ok(missing)
}

/// A case of a system, for people.
fn label(kind: Kind, case: &Case) -> String {
    format!("{} of {}", case.name, kind.name())
}

/// Tells a person what goes on.
#[expect(clippy::print_stderr, reason = "the page goes to standard output")]
fn tell(text: &str) {
    eprintln!("{text}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory, Parser};

    fn parse(more: &[&str]) -> Result<Options, clap::Error> {
        Options::try_parse_from([&["bench", "--out", "page", "--records", "file"], more].concat())
    }

    #[test]
    fn calls_are_understood_or_refused() {
        Options::command().debug_assert();
        let options =
            parse(&["--case", "kill", "--with", "keepalived", "--with", "barelb", "--trials", "12"]).unwrap();
        assert_eq!(options.systems(), [Kind::Barelb, Kind::Keepalived]);
        let trials = |name| options.trials_of(case(name).unwrap());
        assert_eq!((trials(MAIN), trials("kill")), (12, 3));
        assert!(options.wants(case("kill").unwrap()) && !options.wants(case(MAIN).unwrap()));
        assert_eq!(parse(&["--soak", "1h", "--loss", "5"]).unwrap().soak, Some(Duration::from_hours(1)));
        assert!(!parse(&[]).unwrap().systems().contains(&Kind::BarelbLeases));
        for wrong in [
            &["--case", "fire"][..],
            &["--with", "other"],
            &["--trials", "0"],
            &["--loss", "5"],
            &["--soak", "long"],
            &["--soak", "0m"],
            &["--soak", "1h", "--loss", "101"],
        ] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
