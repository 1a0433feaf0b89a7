//! The sections: figures into tables, and into the goals they decide.

use std::time::Duration;

use super::super::plan::{FEW, Family};
use super::super::programs::{ARP_HIT, NS_HIT, Passed, SWAP as BARE, Time};
use super::super::rounds::{DISTINCT_NS, DISTINCT_TRIES, Distinct, Latency, Load, Series};
use super::super::stats;
use super::goals::{Goal, Size};
use super::{Report, percent, spread};
use crate::bench::agent::AgentCost;
use crate::bench::contender::Kind;

impl Report {
    /// Program times, and what all other traffic pays.
    pub(in crate::bench) fn programs(&mut self, times: &[Time], passed: &[Passed]) {
        self.add(
            "\n## Program time\n\n`BPF_PROG_RUN`, nanoseconds beyond the empty program; the whole request is \
             written anew before each round. Frames have 60 bytes (ARP, with padding) or 86 (NS); addresses are \
             asked for uniformly at random.\n",
        );
        self.table(
            &["case", "ns"],
            times.iter().map(|time| vec![time.what.clone(), spread(time.nanoseconds, 1)]),
        );
        self.add(
            "What all other traffic pays. Instructions: those the translated program executes for the frame, \
             interpreted one by one; the interpreter refuses helpers and maps, so a number means that none is \
             reached.\n",
        );
        let rows = passed.iter().map(|Passed { time, instructions }| {
            let count = instructions.as_ref().map_or_else(|error| format!("{error:#}"), usize::to_string);
            vec![time.what.clone(), spread(time.nanoseconds, 1), count]
        });
        self.table(&["case", "ns", "instructions"], rows);
        let of = |what: &str| times.iter().find(|time| time.what == what).map(|time| time.nanoseconds.value);
        let [arp, ns] = [ARP_HIT, NS_HIT].map(|hit| of(&format!("{hit}{FEW} addresses")));
        if let (Some(arp), Some(ns), Some(bare)) = (arp, ns, of(BARE)) {
            self.reach(Goal::ArpHit, format!("+ {:.1} ns", arp - bare), arp - bare <= 45.0);
            self.reach(Goal::NsHit, format!("{:.2} ×", ns / arp), ns / arp <= 2.5);
        }
        if let Some(Passed { time, instructions }) = passed.first() {
            let ns = time.nanoseconds.value;
            self.reach(Goal::PassTime, format!("{ns:.1} ns"), ns <= 4.0);
            let (value, met) = match instructions {
                Ok(count) => (count.to_string(), *count <= 14),
                Err(error) => (format!("{error:#}"), false),
            };
            self.reach(Goal::PassInstructions, value, met);
        }
    }

    /// The verifier's work.
    pub(in crate::bench) fn verified(&mut self, counts: &[(String, u32)]) {
        self.add("\nInstructions the verifier processes to accept a program:\n");
        let rows = counts.iter().map(|(name, count)| vec![name.clone(), count.to_string()]);
        self.table(&["program", "instructions"], rows);
        let most = counts.iter().map(|&(_, count)| count).max().unwrap_or(0);
        self.reach(Goal::Verifier, most.to_string(), most <= 5000);
    }

    /// Hash maps by themselves.
    pub(in crate::bench) fn lookups(&mut self, times: &[Time]) {
        self.add(
            "\n## Hash look-up\n\nOne look-up of a present key, in random order (256 in a run; the making of the \
             keys is subtracted).\n",
        );
        self.table(
            &["map", "ns"],
            times.iter().map(|time| vec![time.what.clone(), spread(time.nanoseconds, 1)]),
        );
    }

    /// As many answers as possible.
    pub(in crate::bench) fn rates(&mut self, family: Family, series: &[Series]) {
        let name = family.name();
        self.add(&format!(
            "\n## Answers per second, {name}, {FEW} addresses\n\nThe generator sends as fast as it can; one \
             processor answers.\n"
        ));
        self.contest(series);
        let of = |kind: Kind| {
            let name = kind.name();
            series.iter().find(|one| one.name == name)
        };
        let Some(ours) = of(Kind::Native) else { return };
        for (goal, other, least) in
            [(Goal::OfKernel(family), of(Kind::Kernel), 3.0), (Goal::OfSwap(family), of(Kind::Swap), 0.85)]
        {
            let Some(other) = other else { continue };
            let (rate, cost) = (stats::ratio(&ours.rate, &other.rate), stats::ratio(&other.cost, &ours.cost));
            let [us, them] = [ours, other].map(|one| 100.0 * stats::median(&one.busy));
            let value = format!(
                "{} × (we {us:.0} % busy, they {them:.0} %); a whole core: {} ×",
                spread(rate, 2),
                spread(cost, 2)
            );
            // Answers per second alone would flatter us where the other was not even busy.
            self.reach(goal, value, rate.value >= least && cost.value >= least);
        }
    }

    /// The same at a rate most keep up with.
    pub(in crate::bench) fn costs(&mut self, family: Family, per_second: u64, series: &[Series]) {
        self.add(&format!(
            "\n## Answers and their processor time, {}, at {per_second} requests/s\n\nA rate at which a process is \
             not yet starved by the thread that receives for it. For those who are not busy, part of the \
             processor time is waking up, and waking the receiver.\n",
            family.name()
        ));
        self.contest(series);
    }

    /// Requests to one station.
    pub(in crate::bench) fn unicast(&mut self, family: Family, series: &[Series]) {
        self.add(&format!(
            "\n## Answers per second, {}, sent to the responder's own Ethernet address\n\nElsewhere requests are \
             broadcast (ARP) or go to the group of the address (NS).\n",
            family.name()
        ));
        self.contest(series);
    }

    /// More addresses; the first of `series` has fewest, the last but one has most, the last is asked unevenly.
    pub(in crate::bench) fn scaling(&mut self, family: Family, series: &[Series], skewed: &[Series]) {
        self.add(&format!("\n## More addresses, {}, native XDP\n", family.name()));
        self.contest(series.iter().chain(skewed));
        if let (Some(few), Some(many)) = (series.first(), series.last()) {
            let ratio = stats::ratio(&many.cost, &few.cost);
            self.reach(Goal::Scaling(family), format!("{} ×", spread(ratio, 2)), ratio.value <= 1.5);
        }
    }

    fn contest<'a>(&mut self, series: impl IntoIterator<Item = &'a Series>) {
        let series: Vec<_> = series.into_iter().collect();
        let Some(first) = series.first() else { return };
        let rows: Vec<_> = series.iter().map(|one| row(first, one)).collect();
        let head = [
            "responder",
            "asked/s",
            "answers/s",
            "first row ÷ this",
            "CPU-ns/answer",
            "this ÷ first row",
            "a whole core, answers/s",
            "busy",
            "answered",
            "wrong",
            "discarded rounds",
        ];
        self.table(&head, rows);
    }

    /// Percentiles of one load.
    pub(in crate::bench) fn latencies(&mut self, family: Family, load: Load, found: &[Latency]) {
        self.add(&format!(
            "\n## Latency, {}, {}\n\nMicroseconds from the making of the request to the sink, by kernel \
             timestamps.\n",
            family.name(),
            load.what
        ));
        let rows = found.iter().map(|one| {
            let times = [one.p50, one.p99, one.p999].map(|time| format!("{time:.1}"));
            let rest = [format!("{:.0}", one.rate), percent(one.answered), one.late.to_string()];
            [one.name.clone()].into_iter().chain(times).chain(rest).collect()
        });
        self.table(&["responder", "p50", "p99", "p99.9", "asked/s", "answered", "late"], rows);
    }

    /// What agents cost, by their number of addresses.
    pub(in crate::bench) fn agents(&mut self, found: &[AgentCost]) {
        self.add(
            "\n## The agent\n\nResident memory is the process's; the maps are the kernel's and not in it. Idle: \
             share of one core when nothing happens. Starts: until everything is answered; cold = nothing pinned, \
             warm = after an agent before it.\n",
        );
        let milliseconds = |time: Duration| format!("{:.1}", 1000.0 * time.as_secs_f64());
        let rows = found.iter().map(|one| {
            let memory = [one.resident, one.resident_peak].map(|bytes| format!("{:.1}", mebibytes(bytes)));
            let times = [one.cold_start, one.warm_start, one.plan, one.link_event].map(milliseconds);
            let first = [one.addresses.to_string()].into_iter().chain(memory);
            first.chain([format!("{:.3} %", 100.0 * one.idle)]).chain(times).collect()
        });
        let head = [
            "addresses",
            "resident, MiB",
            "most, MiB",
            "idle",
            "cold start, ms",
            "warm start, ms",
            "one plan, ms",
            "link event, ms of processor time",
        ];
        self.table(&head, rows);
        for one in found {
            let (size, memory, idle) =
                if one.addresses <= FEW { (Size::Few, 15.0, 0.001) } else { (Size::Many, 60.0, 0.01) };
            let resident = mebibytes(one.resident);
            self.reach(Goal::Resident(size), format!("{resident:.1} MiB"), resident <= memory);
            self.reach(Goal::Idle(size), format!("{:.3} %", 100.0 * one.idle), one.idle <= idle);
        }
    }

    /// Many requesters.
    pub(in crate::bench) fn distinct(&mut self, family: Family, found: &[Distinct]) {
        let name = family.name();
        self.add(&format!(
            "\n## Distinct requesters, {name}\n\n{} a second. Who has no answer asks again, {} times in all at most, as \
             hosts do (RFC 4861 §10); what is missing after the first time was lost on the way: a virtual processor \
             that pauses lets the link's queue of 256 frames overflow.\n",
            1_000_000_000 / DISTINCT_NS,
            DISTINCT_TRIES
        ));
        let rows = found.iter().map(|one| {
            let counts =
                [one.asked, one.at_once, one.answered, one.tries.into()].map(|count| count.to_string());
            let table = [one.before, one.after].map(|count| count.to_string());
            [one.name.clone()].into_iter().chain(counts).chain(table).collect()
        });
        let header = [
            "responder",
            "requesters",
            "answered at once",
            "in the end",
            "requests each",
            "neighbours before",
            "after",
        ];
        self.table(&header, rows);
        if let Some(ours) = found.iter().find(|one| one.name == Kind::Native.name()) {
            let Distinct { asked, answered, at_once, before, after, .. } = ours;
            let value = format!(
                "{answered} of {asked} answered, {at_once} of them at their first request; {before} → {after} entries"
            );
            self.reach(Goal::Distinct(family), value, answered == asked && before == after);
        }
    }
}

fn mebibytes(bytes: u64) -> f64 {
    // Whole KiB, as the kernel counts them.
    f64::from(u32::try_from(bytes / 1024).unwrap_or(u32::MAX)) / 1024.0
}

fn row(first: &Series, one: &Series) -> Vec<String> {
    vec![
        one.name.clone(),
        format!("{:.0}", stats::median(&one.asked)),
        spread(stats::spread(&one.rate), 0),
        spread(stats::ratio(&first.rate, &one.rate), 2),
        spread(stats::spread(&one.cost), 0),
        spread(stats::ratio(&one.cost, &first.cost), 2),
        format!("{:.0}", 1e9 / stats::median(&one.cost)),
        format!("{:.0} %", 100.0 * stats::median(&one.busy)),
        percent(stats::median(&one.share)),
        one.wrong.to_string(),
        one.discarded.to_string(),
    ]
}
