//! Interleaved rounds over all contenders: every figure of a table comes from the same minutes.
#![expect(clippy::cast_precision_loss, reason = "counts and nanoseconds of a run are far below 2^52")]

use std::time::Duration;

use anyhow::Result;

use super::bed::Run;
use super::contender::Contender;
use super::cpu::{self, Priority};
use super::layout::{BITMAP, LATENCY, Plan};
use super::plan::{Family, To};
use super::stats;
use crate::interrupt::Interrupt;

/// Rounds in which the host took more of the machine's time are measured again.
const MOST_STOLEN: f64 = 0.01;

/// What a contender did in each round.
#[derive(Clone, Debug, Default)]
pub(super) struct Series {
    pub(super) name: String,
    /// Frames sent per second.
    pub(super) asked: Vec<f64>,
    /// Answers per second.
    pub(super) rate: Vec<f64>,
    /// Processor nanoseconds per answer.
    pub(super) cost: Vec<f64>,
    /// Share of the requests that were answered.
    pub(super) share: Vec<f64>,
    /// Share of the responder's processor that it was busy.
    pub(super) busy: Vec<f64>,
    /// Incorrect answers, all rounds together.
    pub(super) wrong: u64,
    /// Rounds thrown away because of the host.
    pub(super) discarded: u32,
}

/// How long and how often everything is measured.
#[derive(Clone, Copy)]
pub(super) struct Rounds<'i> {
    pub(super) count: usize,
    pub(super) time: Duration,
    pub(super) interrupt: &'i Interrupt,
}

impl Rounds<'_> {
    /// Asks every contender in turn, round after round. `change` is applied to each plan.
    pub(super) fn contest<'a>(
        &self,
        contenders: impl IntoIterator<Item = &'a mut Contender>,
        family: Family,
        to: To,
        change: impl Fn(&mut Plan),
    ) -> Result<Vec<Series>> {
        let contenders = contenders.into_iter().filter(|contender| contender.speaks(family));
        let mut able: Vec<_> = contenders.map(|one| (Series::of(one), one)).collect();
        for _ in 0..self.count {
            for (series, contender) in &mut able {
                self.interrupt.check()?;
                let mut plan = contender.plan(family, to);
                change(&mut plan);
                let run = self.undisturbed(contender, &plan, &mut series.discarded)?;
                series.add(&run);
            }
        }
        Ok(able.into_iter().map(|(series, _)| series).collect())
    }

    /// A part of the rounds, for what needs less precision.
    pub(super) fn fewer(self, part: usize) -> Self {
        Self { count: self.count.div_ceil(part), ..self }
    }

    /// A run in which the host took next to nothing, if one can be had in three.
    fn undisturbed(&self, contender: &mut Contender, plan: &Plan, discarded: &mut u32) -> Result<Run> {
        for _ in 0..2 {
            let run = contender.ask(plan, self.time)?;
            if run.stolen <= MOST_STOLEN {
                return Ok(run);
            }
            *discarded += 1;
        }
        contender.ask(plan, self.time)
    }

    /// Median over the rounds of each percentile.
    pub(super) fn latency(&self, contender: &mut Contender, family: Family, load: Load) -> Result<Latency> {
        let mut plan = contender.plan(family, To::All);
        plan.flags |= LATENCY;
        plan.interval_ns = load.interval_ns;
        plan.strangers = load.strangers;
        let _hogs = if load.hogs { Some(Hogs::start()?) } else { None };
        let mut latency = Latency { name: contender.name.clone(), ..Latency::default() };
        let [mut p50, mut p99, mut p999, mut answered, mut rate] = [const { Vec::new() }; 5];
        for _ in 0..self.count {
            self.interrupt.check()?;
            let run = self.undisturbed(contender, &plan, &mut 0)?;
            let counts = contender.bed().latencies()?;
            let at = |share| percentile(&counts, share) as f64 / 1000.0;
            p50.push(at(0.5));
            p99.push(at(0.99));
            p999.push(at(0.999));
            answered.push(run.good as f64 / (run.asked as f64).max(1.0));
            rate.push(run.sent as f64 / run.seconds);
            latency.late += run.late;
        }
        let median = |values: Vec<f64>| stats::median(&values);
        (latency.p50, latency.p99, latency.p999) = (median(p50), median(p99), median(p999));
        (latency.answered, latency.rate) = (median(answered), median(rate));
        Ok(latency)
    }
}

impl Series {
    fn of(contender: &Contender) -> Self {
        Self { name: contender.name.clone(), ..Self::default() }
    }

    fn add(&mut self, run: &Run) {
        let good = run.good as f64;
        self.wrong += run.wrong;
        self.asked.push(run.sent as f64 / run.seconds);
        self.rate.push(good / run.seconds);
        self.cost.push(run.busy_ns as f64 / good.max(1.0));
        self.share.push(good / (run.asked as f64).max(1.0));
        self.busy.push(run.busy_ns as f64 / 1e9 / run.seconds);
    }
}

/// Many requesters: how many are answered, and the node's neighbour entries before and after.
pub(super) struct Distinct {
    pub(super) name: String,
    pub(super) asked: u64,
    /// Answered at their first request.
    pub(super) at_once: u64,
    /// Answered in the end.
    pub(super) answered: u64,
    /// Requests the most patient one sent.
    pub(super) tries: u32,
    pub(super) before: usize,
    pub(super) after: usize,
}

/// Nanoseconds between two of the distinct requesters: so slow that the link's queue (256 frames) outlasts most
/// pauses of a virtual processor.
pub(super) const DISTINCT_NS: u64 = 20_000;
/// As often as Linux and RFC 4861 (`MAX_MULTICAST_SOLICIT`) ask before they give up.
pub(super) const DISTINCT_TRIES: u32 = 3;

/// Lets `requesters` ask. While one has no answer, all ask again, as the generator can't ask for a few only.
pub(super) fn distinct(contender: &mut Contender, family: Family, requesters: u32) -> Result<Distinct> {
    let mut plan = contender.plan(family, To::All);
    plan.flags |= BITMAP;
    plan.requesters = requesters;
    plan.interval_ns = DISTINCT_NS;
    let neighbours = |contender: &mut Contender| -> Result<usize> {
        Ok(contender.bed().far.neighbours()?.lines().count())
    };
    let before = neighbours(contender)?;
    contender.bed().forget_answered()?;
    let mut found = Distinct {
        name: contender.name.clone(),
        asked: requesters.into(),
        at_once: 0,
        answered: 0,
        tries: 0,
        before,
        after: before,
    };
    while found.answered < found.asked && found.tries < DISTINCT_TRIES {
        let run = contender.ask(&plan, Duration::from_nanos(DISTINCT_NS * u64::from(requesters)))?;
        found.tries += 1;
        found.answered += run.distinct;
        if found.tries == 1 {
            found.asked = run.asked.min(found.asked);
            found.at_once = run.distinct;
        }
    }
    found.after = neighbours(contender)?;
    Ok(found)
}

/// What is asked while latencies are measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    pub(super) what: &'static str,
    /// Between two frames.
    pub(super) interval_ns: u64,
    /// Frames for unknown addresses between two requests that are measured.
    pub(super) strangers: u32,
    /// Two busy programs share the responder's processor: its receiving thread runs as an interrupt would, its
    /// processes as any program.
    pub(super) hogs: bool,
}

/// Times from request to answer in microseconds.
#[derive(Clone, Debug, Default)]
pub(super) struct Latency {
    pub(super) name: String,
    pub(super) p50: f64,
    pub(super) p99: f64,
    pub(super) p999: f64,
    /// Share of the requests.
    pub(super) answered: f64,
    /// Frames sent per second, all of them.
    pub(super) rate: f64,
    /// Requests whose requester still waited for its last answer.
    pub(super) late: u64,
}

/// The duration that `share` of all counted ones did not exceed; 0 of none.
fn percentile(counts: &[(u64, u64)], share: f64) -> u64 {
    let total: u64 = counts.iter().map(|&(_, count)| count).sum();
    let mut seen = 0;
    for &(ns, count) in counts {
        seen += count;
        if seen as f64 >= total as f64 * share {
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

#[cfg(test)]
mod tests {
    use super::percentile;

    #[test]
    fn percentiles_are_those_of_the_counted() {
        let counts = [(10, 90), (20, 9), (1000, 1)];
        assert_eq!([0.5, 0.9, 0.99, 0.999].map(|share| percentile(&counts, share)), [10, 10, 20, 1000]);
        assert_eq!(percentile(&[], 0.5), 0);
    }
}
