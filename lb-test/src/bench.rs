//! The data-path benchmark: our programs and everybody else who answers, on the same machine, in the same
//! minutes, asked by the same generator. `cargo xtask bench` runs it; it writes docs/benchmarks.md.

pub mod agent;
mod bed;
mod contender;
pub mod controller;
pub(crate) mod cpu;
mod document;
pub mod failover;
#[path = "../../lb-ebpf/src/rig/layout.rs"]
pub(crate) mod layout;
pub mod node;
mod ours;
mod packet_socket;
mod plan;
mod programs;
mod report;
mod rounds;
mod stats;
mod trace;
pub mod trouble;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::interrupt::Interrupt;
use crate::scratch::Scratch;
use contender::{Contender, Kind};
use layout::{Plan, SKEWED};
use plan::{FAMILIES, FEW, Family, To, VIPS};
use report::Report;
use rounds::{Load, Rounds};

// SAFETY: repr(C), integers only, no padding (88 × 3 + 8 + 4 × 8 = 304 bytes).
unsafe impl aya::Pod for Plan {}
// SAFETY: repr(C), integers only, no padding.
unsafe impl aya::Pod for layout::Generator {}
// SAFETY: repr(C), integers only, no padding.
unsafe impl aya::Pod for layout::Sink {}

/// The parts, in the order of the report. A new one is a line here, and a table in `report::tables`.
const PARTS: [(&str, Part); 8] = [
    ("programs", programs),
    ("rates", rates),
    ("costs", costs),
    ("unicast", unicast),
    ("latency", latency),
    ("distinct", distinct),
    ("scaling", scaling),
    ("agent", agents),
];
type Part = fn(&mut Bench<'_>) -> Result<()>;

/// Requests per second that the kernel, and a good process, can keep up with.
const MODEST: u64 = 200_000;
/// One million: what a node may see in a day, and a thousand times what the kernel remembers.
const REQUESTERS: u32 = 1_000_000;

const LOADS: [Load; 4] = [
    Load { what: "10,000 requests/s, nothing else to do", interval_ns: 100_000, strangers: 0, hogs: false },
    Load {
        what: "10,000 requests/s, two busy programs on the same processor",
        interval_ns: 100_000,
        strangers: 0,
        hogs: true,
    },
    Load { what: "1,000 requests/s, nothing else to do", interval_ns: 1_000_000, strangers: 0, hogs: false },
    Load {
        what: "1,000 requests/s in a flood of 200,000/s for unknown addresses",
        interval_ns: 4975,
        strangers: 200,
        hogs: false,
    },
];

/// Measures BareLB's data path against the other responders of this machine. Needs root.
#[derive(clap::Parser, Clone, Debug)]
#[command(name = "barelb-bench", args_override_self = true)]
pub struct Options {
    /// The barelb binary.
    #[arg(long, value_name = "PATH")]
    pub barelb: PathBuf,
    /// The object of benchmark programs; our own object, barelb.o, lies beside it.
    #[arg(long, value_name = "PATH")]
    pub rig: PathBuf,
    /// Where the tables of a whole run are saved.
    #[arg(long, value_name = "PATH")]
    pub out: PathBuf,
    /// Where those of a shortened run are saved, so that they do not replace the former.
    #[arg(long, value_name = "PATH")]
    pub draft: PathBuf,
    /// 3 rounds of half a second instead of 10 rounds of 3 seconds.
    #[arg(long)]
    pub quick: bool,
    /// Rounds per contender [default: 10, or 3 with --quick].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub rounds: Option<u16>,
    /// Seconds per round [default: 3, or 0.5 with --quick].
    #[arg(long, value_name = "SECONDS")]
    pub seconds: Option<f64>,
    /// Only this part of the report; may be given several times.
    #[arg(long, value_name = "PART", value_parser = PARTS.map(|(name, _)| name))]
    pub only: Vec<String>,
    /// Another responder: run by sh in the namespace of the link, which it finds in $IFACE; the addresses are in
    /// $VIPS, the Ethernet address in $MAC. May be given several times.
    #[arg(long, value_name = "NAME=COMMAND")]
    pub with: Vec<String>,
}

impl Options {
    fn is_whole(&self) -> bool {
        !self.quick && self.rounds.is_none() && self.seconds.is_none() && self.only.is_empty()
    }

    fn rounds<'i>(&self, interrupt: &'i Interrupt) -> Result<Rounds<'i>> {
        let seconds = self.seconds.unwrap_or(if self.quick { 0.5 } else { 3.0 });
        ensure!((0.05..=600.0).contains(&seconds), "--seconds {seconds}: a round takes 0.05 to 600 seconds");
        let count = self.rounds.map_or(if self.quick { 3 } else { 10 }, usize::from);
        Ok(Rounds { count, time: Duration::from_secs_f64(seconds), interrupt })
    }
}

/// A run of the benchmark.
struct Bench<'o> {
    options: &'o Options,
    rounds: Rounds<'o>,
    report: Report,
    logs: Scratch,
    /// Everybody, with few addresses; set up when the first part wants them.
    contenders: Vec<Contender>,
}

/// Measures everything, prints the tables and saves them. Everything it made is gone when it returns.
pub fn run(options: &Options) -> Result<()> {
    let interrupt = Interrupt::block()?;
    ensure!(cpu::count() >= 2, "the benchmark needs two processors: one asks, one answers");
    for given in &options.with {
        ensure!(given.contains('='), "--with {given}: NAME=COMMAND is wanted");
    }
    let rounds = options.rounds(&interrupt)?;
    let logs = Scratch::new("bench-logs")?;
    let report = Report::new(rounds, options.is_whole());
    let mut bench = Bench { options, rounds, report, logs, contenders: Vec::new() };
    let only: BTreeSet<&str> = options.only.iter().map(String::as_str).collect();
    for (name, part) in PARTS {
        if only.is_empty() || only.contains(name) {
            part(&mut bench)?;
        }
    }
    bench.report.save(if options.is_whole() { &options.out } else { &options.draft })
}

fn programs(bench: &mut Bench<'_>) -> Result<()> {
    let (options, rounds) = (bench.options, bench.rounds);
    bench.report.programs(&programs::times(options, rounds)?, &programs::pass(options, rounds)?);
    bench.report.verified(&programs::verified(options)?);
    bench.report.lookups(&programs::lookups(options, rounds)?);
    Ok(())
}

fn rates(bench: &mut Bench<'_>) -> Result<()> {
    bench.set_up()?;
    for family in FAMILIES {
        let found = bench.rounds.contest(&mut bench.contenders, family, To::All, |_| {})?;
        bench.report.rates(family, &found);
    }
    Ok(())
}

fn costs(bench: &mut Bench<'_>) -> Result<()> {
    bench.set_up()?;
    for family in FAMILIES {
        let modest = |plan: &mut Plan| plan.interval_ns = 1_000_000_000 / MODEST;
        let found = bench.rounds.fewer(3).contest(&mut bench.contenders, family, To::All, modest)?;
        bench.report.costs(family, MODEST, &found);
    }
    Ok(())
}

fn unicast(bench: &mut Bench<'_>) -> Result<()> {
    bench.set_up()?;
    for family in FAMILIES {
        let some = bench.contenders.iter_mut().filter(|contender| {
            matches!(contender.kind, Kind::Native | Kind::Swap | Kind::Tcx | Kind::PacketSocket)
                || contender.kind == Kind::Kernel && family == Family::Arp
        });
        let found = bench.rounds.fewer(3).contest(some, family, To::One, |_| {})?;
        bench.report.unicast(family, &found);
    }
    Ok(())
}

fn latency(bench: &mut Bench<'_>) -> Result<()> {
    bench.set_up()?;
    let rounds = bench.rounds.fewer(4);
    for load in LOADS {
        for family in FAMILIES {
            let mut found = Vec::new();
            for contender in bench.contenders.iter_mut().filter(|contender| contender.speaks(family)) {
                // The swap answers for unknown addresses too.
                let able = match contender.kind {
                    Kind::Swap => load.strangers == 0,
                    Kind::Reflect | Kind::Farpd => false,
                    Kind::Native
                    | Kind::Tcx
                    | Kind::Generic
                    | Kind::Kernel
                    | Kind::PacketSocket
                    | Kind::Ebtables
                    | Kind::Other(_) => true,
                };
                if able {
                    found.push(rounds.latency(contender, family, load)?);
                }
            }
            bench.report.latencies(family, load, &found);
        }
    }
    Ok(())
}

fn distinct(bench: &mut Bench<'_>) -> Result<()> {
    bench.set_up()?;
    for family in FAMILIES {
        let mut found = Vec::new();
        for contender in &mut bench.contenders {
            if matches!(contender.kind, Kind::Native | Kind::Kernel) {
                bench.rounds.interrupt.check()?;
                let requesters = if bench.options.quick { REQUESTERS / 10 } else { REQUESTERS };
                found.push(rounds::distinct(contender, family, requesters)?);
            }
        }
        bench.report.distinct(family, &found);
    }
    Ok(())
}

/// Our native program with more and more addresses.
fn scaling(bench: &mut Bench<'_>) -> Result<()> {
    let mut beds = Vec::new();
    for vips in VIPS {
        let mut contender = Contender::new(bench.options, Kind::Native, vips, bench.logs.path())?;
        contender.name = format!("{vips} addresses, asked uniformly");
        beds.push(contender);
    }
    for family in FAMILIES {
        let uniform = bench.rounds.contest(&mut beds, family, To::All, |_| {})?;
        let mut skewed =
            bench.rounds.contest(beds.last_mut(), family, To::All, |plan| plan.flags |= SKEWED)?;
        for series in &mut skewed {
            series.name = format!("{} addresses, some asked far more often (Zipf)", VIPS[VIPS.len() - 1]);
        }
        bench.report.scaling(family, &uniform, &skewed);
    }
    Ok(())
}

/// The agent, whose data plane all of the above is.
fn agents(bench: &mut Bench<'_>) -> Result<()> {
    // The others are not needed any more, and would be in its way.
    bench.contenders.clear();
    let most = VIPS[VIPS.len() - 1];
    let sizes: &[u32] = if bench.options.quick { &[FEW] } else { &[FEW, most] };
    let mut found = Vec::new();
    for &addresses in sizes {
        bench.rounds.interrupt.check()?;
        match agent::measure(&bench.options.barelb, addresses) {
            Ok(cost) => found.push(cost),
            Err(error) => {
                bench.report.missing(&error.context(format!("an agent with {addresses} addresses")));
            }
        }
    }
    bench.report.agents(&found);
    Ok(())
}

impl Bench<'_> {
    /// Everybody with few addresses. One that cannot be had on this machine is named in the report, with the reason.
    fn set_up(&mut self) -> Result<()> {
        if !self.contenders.is_empty() {
            return Ok(());
        }
        let mut kinds = vec![
            Kind::Native,
            Kind::Swap,
            Kind::Reflect,
            Kind::Tcx,
            Kind::Generic,
            Kind::Kernel,
            Kind::PacketSocket,
            Kind::Ebtables,
            Kind::Farpd,
        ];
        kinds.extend(self.options.with.iter().cloned().map(Kind::Other));
        for kind in kinds {
            self.rounds.interrupt.check()?;
            let is_foreign = matches!(kind, Kind::Ebtables | Kind::Farpd | Kind::Other(_));
            match Contender::new(self.options, kind, FEW, self.logs.path()) {
                Ok(contender) => self.contenders.push(contender),
                Err(error) if is_foreign => self.report.missing(&error),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
