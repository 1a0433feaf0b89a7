//! What probing costs an agent that has ten peers.

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::record::{append, read, remove};
use super::{Options, tell};
use crate::bench::cpu;
use crate::bench::document::{Goal, Page};
use crate::failover::{Barelb, Kind, Purpose, System};

/// Peers and the node itself.
const NODES: u8 = 11;
/// For what a start brings to be over.
const START: Duration = Duration::from_secs(30);
/// How long the processor time is counted.
const LONG: Duration = Duration::from_mins(1);
/// Percent of a processor, in the profile `default`.
const MOST: f64 = 1.0;
const TRIED: &str = "probes that are due leave in one call, but peers are due at different moments, so that nearly every probe and \
     every reply wakes the thread by itself. Due times on a common grid are what is left to try";

/// What was measured of one system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cost {
    system: String,
    /// Of the time it took.
    nanoseconds: u64,
    /// Processor time of all threads of the agent.
    cpu_ns: u64,
    /// Requests it has sent.
    probes: u64,
    /// Requests of its peers.
    from_peers: u64,
}

impl Cost {
    /// Percent of a processor.
    #[expect(clippy::cast_precision_loss, reason = "some minutes of nanoseconds")]
    fn share(&self) -> f64 {
        100.0 * self.cpu_ns as f64 / self.nanoseconds.max(1) as f64
    }

    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    fn probes_a_second(&self) -> f64 {
        self.probes as f64 * 1e9 / self.nanoseconds.max(1) as f64
    }

    /// Microseconds of processor time for each round trip, beyond what an agent without probes takes.
    fn round_trip_us(&self, without: &Self) -> Option<f64> {
        let more = (self.share() - without.share()) / 100.0 * 1e6;
        (self.probes > 0).then(|| more / self.probes_a_second())
    }
}

/// Measures each of the chosen systems that has agents, and an agent without probes.
pub(super) fn run(options: &Options) -> Result<()> {
    let path = file(options);
    remove(&path)?;
    for kind in [Kind::BarelbLeases, Kind::Barelb, Kind::BarelbFast] {
        if options.systems.is_empty() || options.systems.contains(&kind) {
            let cost = measure(kind).with_context(|| kind.what())?;
            tell(&format!("{}: {:.2} % of a processor", kind.name(), cost.share()));
            append(&path, &cost)?;
        }
    }
    Ok(())
}

fn measure(kind: Kind) -> Result<Cost> {
    let profile = kind.profile().context("it has no agents")?;
    let mut system = Barelb::start_with(profile, NODES, Purpose::Soak)?;
    system.freeze_proxies()?;
    let node = system.order()[0];
    let pid = system.agent(node)?.pid();
    thread::sleep(START);
    let ([sent, received], cpu_ns, began) = (system.port(node)?.probes()?, run_time(pid)?, Instant::now());
    thread::sleep(LONG);
    let (cpu_ns, took) = (run_time(pid)? - cpu_ns, began.elapsed());
    let [sent_then, received_then] = system.port(node)?.probes()?;
    Ok(Cost {
        system: kind.name().to_owned(),
        nanoseconds: u64::try_from(took.as_nanos())?,
        cpu_ns,
        probes: sent_then - sent,
        from_peers: received_then - received,
    })
}

/// Nanoseconds that all threads of a process have run.
fn run_time(process: u32) -> Result<u64> {
    cpu::threads(process).into_iter().map(cpu::run_time).sum()
}

fn file(options: &Options) -> PathBuf {
    options.records.with_extension("cost.jsonl")
}

/// What is saved.
pub(super) fn saved(options: &Options) -> Result<Vec<Cost>> {
    read(&file(options))
}

/// The goal about the profile `default`, once it is measured.
pub(super) fn goal(costs: &[Cost]) -> Option<Goal> {
    let cost = costs.iter().find(|cost| cost.system == Kind::Barelb.name() && cost.probes > 0)?;
    let share = cost.share();
    Some(Goal {
        text: format!("the agent, {}, with ten peers: ≤ {MOST} % of a processor", Kind::Barelb.what()),
        measured: format!("{share:.2} %"),
        met: share <= MOST,
        tried: TRIED,
    })
}

/// Adds the table, if anything was measured.
pub(super) fn add(page: &mut Page, costs: &[Cost]) {
    if costs.is_empty() {
        return;
    }
    let without = costs.iter().find(|cost| cost.probes == 0);
    page.add("\n### What probing costs an agent with ten peers\n");
    let row = |cost: &Cost| {
        let round_trip = without.and_then(|without| cost.round_trip_us(without));
        vec![
            cost.system.clone(),
            format!("{:.2}", cost.share()),
            format!("{:.0}", cost.probes_a_second()),
            round_trip.map_or_else(|| "–".to_owned(), |us| format!("{us:.1}")),
        ]
    };
    let head =
        ["system", "processor time of the agent, %", "probes sent a second", "for each round trip, µs"];
    page.table(&head, costs.iter().map(row));
    page.add(
        "Of all threads of the agent, within a minute, while nothing happens. The last column is what is more than in an agent \
         without probes; what the kernel does for frames outside of the agent's threads is in none of them.",
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_trip_costs_what_is_more_than_without() {
        let cost = |cpu_ms: u64, probes| Cost {
            system: "barelb".to_owned(),
            nanoseconds: 10_000_000_000,
            cpu_ns: cpu_ms * 1_000_000,
            probes,
            from_peers: probes,
        };
        let (without, with) = (cost(20, 0), cost(70, 10_000));
        assert!((with.share() - 0.7).abs() < 1e-9, "{}", with.share());
        // 50 ms more for 10,000 round trips.
        assert!((with.round_trip_us(&without).unwrap() - 5.0).abs() < 1e-6);
        assert_eq!(without.round_trip_us(&without), None);
        assert!(goal(&[without]).is_none(), "nothing was probed");
        assert!(goal(&[with]).unwrap().met);
    }
}
