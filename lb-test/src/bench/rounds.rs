//! Interleaved rounds over all contenders: every figure of a table comes from the same minutes.

use std::time::Duration;

use anyhow::Result;

use super::Options;
use super::contender::Contender;
use super::cpu::{self, Priority};
use super::layout::{BITMAP, LATENCY, Plan};
use super::plan::{Family, To};
use super::stats;

/// Rounds in which the host took more of the machine's time are measured again.
const MOST_STOLEN: f64 = 0.01;

/// What a contender did in each round.
#[derive(Clone, Debug, Default)]
pub(super) struct Series {
    pub(super) name: String,
    /// Answers per second.
    pub(super) rate: Vec<f64>,
    /// Processor nanoseconds per answer.
    pub(super) cost: Vec<f64>,
    /// Share of the requests that were answered.
    pub(super) share: Vec<f64>,
    /// Incorrect answers, all rounds together.
    pub(super) wrong: u64,
    /// Rounds thrown away because of the host.
    pub(super) discarded: u32,
}

/// Asks every contender in turn, round after round; `interval_ns` as in `Plan`.
pub(super) fn contest(
    options: &Options,
    contenders: &mut [Contender],
    family: Family,
    to: To,
    interval_ns: u64,
) -> Result<Vec<Series>> {
    let mut able: Vec<_> = contenders.iter_mut().filter(|contender| contender.speaks(family)).collect();
    let mut found: Vec<_> =
        able.iter().map(|contender| Series { name: contender.name.clone(), ..Series::default() }).collect();
    for _ in 0..options.rounds() {
        for (contender, series) in able.iter_mut().zip(&mut found) {
            let mut run = contender.ask(family, to, interval_ns, options.time())?;
            for _ in 0..2 {
                if run.stolen <= MOST_STOLEN {
                    break;
                }
                series.discarded += 1;
                run = contender.ask(family, to, interval_ns, options.time())?;
            }
            series.wrong += run.wrong;
            let good = run.good as f64;
            series.rate.push(good / run.seconds);
            series.cost.push(run.busy_ns as f64 / good.max(1.0));
            series.share.push(good / (run.asked as f64).max(1.0));
        }
    }
    Ok(found)
}

/// One million requesters, each asking once: requesters answered, and the node's neighbour entries before and after.
pub(super) struct Distinct {
    pub(super) name: String,
    pub(super) asked: u64,
    pub(super) distinct: u64,
    pub(super) before: usize,
    pub(super) after: usize,
}

/// At 200,000 a second, so that nobody is overrun by the rate itself.
pub(super) fn distinct(contender: &mut Contender, family: Family, requesters: u32) -> Result<Distinct> {
    let mut plan = Plan::clone(&super::bed::Bed::plan(family, To::All, contender.vips));
    plan.flags |= BITMAP;
    plan.requesters = requesters;
    plan.interval_ns = 5000;
    let neighbours = |contender: &mut Contender| -> Result<usize> {
        Ok(contender.bed().far.neighbours()?.lines().count())
    };
    let before = neighbours(contender)?;
    let time = Duration::from_nanos(plan.interval_ns * u64::from(requesters)) + Duration::from_millis(30);
    let run = contender.ask_plan(&plan, time, None)?;
    let after = neighbours(contender)?;
    let asked = run.asked.min(u64::from(requesters));
    Ok(Distinct { name: contender.name.clone(), asked, distinct: run.distinct, before, after })
}

/// Times from request to answer in microseconds.
#[derive(Clone, Debug)]
pub(super) struct Latency {
    pub(super) name: String,
    pub(super) p50: f64,
    pub(super) p99: f64,
    pub(super) p999: f64,
    pub(super) answered: f64,
}

/// Median over the rounds of each percentile, for the requests `plan` makes; `strangers` frames for unknown
/// addresses go between two that are measured. With `hogs`, two busy programs share the responder's processor:
/// its receiving thread then runs as an interrupt would, its processes as any program.
pub(super) fn latency(
    options: &Options,
    contender: &mut Contender,
    interval_ns: u64,
    strangers: u32,
    hogs: bool,
) -> Result<Latency> {
    let mut plan = super::bed::Bed::plan(Family::Arp, To::All, contender.vips);
    plan.flags |= LATENCY;
    plan.interval_ns = interval_ns;
    plan.strangers = strangers;
    let _hogs = if hogs { Some(Hogs::start()?) } else { None };
    let own = if hogs { Priority::Normal } else { Priority::High };
    contender.bed().settle(Priority::Interrupt)?;
    contender.threads().iter().try_for_each(|&thread| cpu::prioritise(thread, own))?;
    let [mut p50, mut p99, mut p999, mut answered] = [const { Vec::new() }; 4];
    for _ in 0..options.rounds().div_ceil(3) {
        let run = contender.ask_plan(&plan, options.time(), None)?;
        let counts = contender.bed().latencies()?;
        let at = |share| percentile(&counts, share) as f64 / 1000.0;
        p50.push(at(0.5));
        p99.push(at(0.99));
        p999.push(at(0.999));
        answered.push(run.good as f64 / (run.asked as f64).max(1.0));
    }
    contender.bed().settle(Priority::High)?;
    contender.threads().iter().try_for_each(|&thread| cpu::prioritise(thread, Priority::High))?;
    let name = contender.name.clone();
    let [p50, p99, p999, answered] = [p50, p99, p999, answered].map(|values| stats::median(&values));
    Ok(Latency { name, p50, p99, p999, answered })
}

fn percentile(counts: &[(u64, u64)], share: f64) -> u64 {
    let total: u64 = counts.iter().map(|&(_, count)| count).sum();
    let rank = (total as f64 * share).ceil() as u64;
    let mut seen = 0;
    for &(ns, count) in counts {
        seen += count;
        if seen >= rank {
            return ns;
        }
    }
    0
}

/// Two programs that do nothing, all the time, on the responder's processor.
struct Hogs(Vec<std::process::Child>);

impl Hogs {
    fn start() -> Result<Self> {
        let mut hogs = Self(Vec::new());
        for _ in 0..2 {
            let child = std::process::Command::new("sh").args(["-c", "while :; do :; done"]).spawn()?;
            cpu::bind(child.id().cast_signed(), cpu::RESPONDER)?;
            cpu::prioritise(child.id().cast_signed(), Priority::Normal)?;
            hogs.0.push(child);
        }
        Ok(hogs)
    }
}

impl Drop for Hogs {
    fn drop(&mut self) {
        for hog in &mut self.0 {
            drop(hog.kill());
            drop(hog.wait());
        }
    }
}
