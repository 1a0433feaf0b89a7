//! The data-path benchmark: our programs and everybody else who answers, on the same machine, in the same
//! minutes, asked by the same generator. `cargo xtask bench` runs it; it writes docs/benchmarks.md.

mod bed;
mod contender;
mod cpu;
#[path = "../../lb-ebpf/src/rig/layout.rs"]
mod layout;
mod ours;
mod packet_socket;
mod plan;
mod programs;
mod report;
mod rounds;
mod stats;
mod trace;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::scratch::Scratch;
use contender::{Contender, Kind};
use plan::{FAMILIES, Family, To};
use report::Report;

// SAFETY: repr(C), integers only, no padding (88 × 3 + 8 + 4 × 8 = 304 bytes).
unsafe impl aya::Pod for layout::Plan {}
// SAFETY: repr(C), integers only, no padding.
unsafe impl aya::Pod for layout::Generator {}
// SAFETY: repr(C), integers only, no padding.
unsafe impl aya::Pod for layout::Sink {}

/// Measures BareLB's data path against the other responders of this machine. Needs root.
#[derive(clap::Parser, Clone, Debug)]
#[command(name = "barelb-bench")]
pub struct Options {
    /// The barelb binary.
    #[arg(long, value_name = "PATH")]
    pub barelb: PathBuf,
    /// The object of benchmark programs; our own object, barelb.o, lies beside it.
    #[arg(long, value_name = "PATH")]
    pub rig: PathBuf,
    /// Where the tables are saved.
    #[arg(long, value_name = "PATH")]
    pub out: PathBuf,
    /// 3 rounds of half a second instead of 10 rounds of 3 seconds.
    #[arg(long)]
    pub quick: bool,
    /// Rounds per contender [default: 10, or 3 with --quick].
    #[arg(long, value_name = "N")]
    pub rounds: Option<usize>,
    /// Seconds per round [default: 3, or 0.5 with --quick].
    #[arg(long, value_name = "SECONDS")]
    pub seconds: Option<f64>,
    /// Another responder: run by sh in the namespace of the link, which it finds in $IFACE; the addresses are in
    /// $VIPS, the Ethernet address in $MAC. May be given several times.
    #[arg(long, value_name = "NAME=COMMAND")]
    pub with: Vec<String>,
}

impl Options {
    fn rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.quick { 3 } else { 10 })
    }

    fn time(&self) -> Duration {
        Duration::from_secs_f64(self.seconds.unwrap_or(if self.quick { 0.5 } else { 3.0 }))
    }
}

/// Measures everything, prints the tables and saves them.
pub fn run(options: &Options) -> Result<()> {
    let logs = Scratch::new("bench-logs")?;
    let mut report = Report::new(options);
    report.programs(&programs::times(options)?, &programs::pass(options)?);
    report.verified(&programs::verified(options)?);
    report.lookups(&programs::lookups(options)?);
    let mut contenders = contenders(options, &logs, &mut report)?;
    for family in FAMILIES {
        report.rates(family, &rounds::contest(options, &mut contenders, family, To::All, 0)?);
        // 50,000 a second: everybody but farpd keeps up, so the costs compare like with like.
        report.costs(family, &rounds::contest(options, &mut contenders, family, To::All, 20_000)?);
    }
    let unicast = rounds::contest(options, &mut contenders, Family::Arp, To::One, 0)?;
    report.unicast(&unicast);
    latencies(options, &mut contenders, &mut report)?;
    for family in FAMILIES {
        for contender in &mut contenders {
            if matches!(contender.kind, Kind::Native | Kind::Kernel) {
                report.distinct(family, &rounds::distinct(contender, family, 1_000_000)?);
            }
        }
    }
    drop(contenders);
    scaling(options, &logs, &mut report)?;
    report.save(&options.out).with_context(|| format!("cannot write {}", options.out.display()))
}

/// With ten addresses each. One that cannot be had on this machine is named in the report, with the reason.
fn contenders(options: &Options, logs: &Scratch, report: &mut Report) -> Result<Vec<Contender>> {
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
    kinds.extend(options.with.iter().cloned().map(Kind::Other));
    let mut found = Vec::new();
    for kind in kinds {
        let is_foreign = matches!(kind, Kind::Ebtables | Kind::Farpd);
        match Contender::new(options, kind, 10, logs.path()) {
            Ok(contender) => found.push(contender),
            Err(error) if is_foreign => report.missing(&error),
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

fn latencies(options: &Options, contenders: &mut [Contender], report: &mut Report) -> Result<()> {
    for (what, interval_ns, strangers, hogs) in [
        ("idle, 10,000 requests/s", 100_000, 0, false),
        ("two busy programs on the same processor, 10,000 requests/s", 100_000, 0, true),
        ("flood: 200,000 requests/s for unknown addresses, 1,000/s good ones", 4975, 200, false),
        ("idle, 1,000 requests/s (to compare the flood with)", 1_000_000, 0, false),
    ] {
        let mut found = Vec::new();
        for contender in contenders.iter_mut() {
            if !matches!(contender.kind, Kind::Swap | Kind::Reflect | Kind::Farpd | Kind::Other(_)) {
                found.push(rounds::latency(options, contender, interval_ns, strangers, hogs)?);
            }
        }
        report.latencies(what, &found);
    }
    Ok(())
}

/// Our native program with more and more addresses.
fn scaling(options: &Options, logs: &Scratch, report: &mut Report) -> Result<()> {
    let mut beds = Vec::new();
    for vips in [10, 1000, 100_000] {
        let mut contender = Contender::new(options, Kind::Native, vips, logs.path())?;
        contender.name = format!("{vips} addresses");
        beds.push(contender);
    }
    for family in FAMILIES {
        report.scaling(family, &rounds::contest(options, &mut beds, family, To::All, 0)?);
    }
    Ok(())
}
