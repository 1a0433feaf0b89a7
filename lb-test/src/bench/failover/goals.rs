//! What was to be reached.

use super::cost::Cost;
use super::record::Record;
use super::soak::Minute;
use super::tables::{firsts, of};
use crate::bench::document::{Goal, Page};
use crate::bench::stats::quantile;
use crate::failover::{Kind, MAIN, Way};

/// How much sooner than keepalived the profile `default` has to be.
const SOONER: f64 = 80.0;
/// For the last of many addresses.
const LAST_MS: f64 = 100.0;
const LAST_TRIED: &str = "the probes take a quarter of it; then both survivors plan (some 20 ms alone) and read, compare \
     and write the table (some 20 ms alone), at once, on the two processors of this machine, beside the client. The table \
     is flipped in batches, and nothing is announced or told before that";
/// Minutes without a move.
const HOUR: usize = 60;
/// For how long two nodes may answer after a partition has healed.
const HEALED_US: u64 = 100_000;
/// For a node without a carrier to be silent by its own table.
const SILENT_MS: f64 = 5.0;

/// Adds the goals about what was measured.
pub(super) fn add(page: &mut Page, records: &[Record], minutes: &[Minute], costs: &[Cost]) {
    let all = [
        deaths(records, MAIN, "silent death"),
        compared(records),
        deaths(records, "death-no-api", "silent death without the API server"),
        crowded(records),
        quiet(records),
        unplugged(records),
        soaks(minutes),
        super::cost::goal(costs).into_iter().collect(),
    ];
    page.goals.extend(all.into_iter().flatten());
    if !page.goals.is_empty() {
        page.goals();
    }
}

fn goal(text: impl Into<String>, measured: String, met: bool) -> Goal {
    Goal { text: text.into(), measured, met, tried: "" }
}

/// First answers of a system in a case, if each trial has one; none where there are no trials.
fn times(records: &[Record], kind: Kind, case: &str) -> Option<Vec<f64>> {
    let trials = of(records, kind, case);
    let mut times = firsts(&trials, [Way::Arp, Way::Ns]);
    // Who has not come at all is later than all others.
    times.resize(trials.len(), f64::INFINITY);
    (!times.is_empty()).then_some(times)
}

fn deaths(records: &[Record], case: &str, what: &str) -> Vec<Goal> {
    let mut goals = Vec::new();
    let limits = [(Kind::Barelb, 0.5, 32.0), (Kind::Barelb, 0.99, 40.0), (Kind::BarelbFast, 0.99, 15.0)];
    for (kind, share, limit) in limits {
        let Some(times) = times(records, kind, case) else { continue };
        let measured = quantile(&times, share);
        let text = format!("{what}, first answer, {}: p{:.0} ≤ {limit:.0} ms", kind.what(), share * 100.0);
        goals.push(goal(text, format!("{measured:.1} ms of {} trials", times.len()), measured <= limit));
    }
    goals
}

fn compared(records: &[Record]) -> Vec<Goal> {
    let median = |kind| Some(quantile(&times(records, kind, MAIN)?, 0.5));
    let mut goals = Vec::new();
    if let (Some(ours), Some(theirs)) = (median(Kind::Barelb), median(Kind::Keepalived)) {
        let text = format!(
            "silent death: {SOONER:.0} times sooner than keepalived as it is by itself, by the medians"
        );
        let times = theirs / ours;
        goals.push(goal(text, format!("{ours:.1} ms to {theirs:.1} ms: {times:.0} times"), times >= SOONER));
    }
    if let (Some(ours), Some(theirs)) = (median(Kind::BarelbFast), median(Kind::KeepalivedFast)) {
        let text =
            "silent death: the profile fast sooner than keepalived with adverts of 10 ms, by the medians";
        goals.push(goal(text, format!("{ours:.1} ms to {theirs:.1} ms"), ours < theirs));
    }
    goals
}

fn crowded(records: &[Record]) -> Vec<Goal> {
    let mut goals = Vec::new();
    for kind in [Kind::Barelb, Kind::BarelbFast] {
        let Some(times) = times(records, kind, "death-of-10000") else { continue };
        let last = quantile(&times, 1.0);
        let text =
            format!("silent death, {}: the last of 10,000 addresses in ≤ {LAST_MS:.0} ms", kind.what());
        let measured = format!("{last:.1} ms at most in {} trials", times.len());
        goals.push(Goal { tried: LAST_TRIED, ..goal(text, measured, last <= LAST_MS) });
    }
    goals
}

/// What nobody may notice, or two nodes may not do.
fn quiet(records: &[Record]) -> Vec<Goal> {
    let mut goals = Vec::new();
    for kind in [Kind::Barelb, Kind::BarelbFast] {
        let handed = of(records, kind, "hand-over");
        if !handed.is_empty() {
            let lost: usize = handed.iter().map(|one| one.worst(|seen| seen.unanswered)).sum();
            let text = format!("hand-over, {}: no answer to ARP or NS is lost", kind.what());
            goals.push(goal(text, format!("{lost} lost in {} trials", handed.len()), lost == 0));
            let lost_by = |one: &&Record| one.worst_by([Way::Udp4, Way::Udp6], |seen| seen.unanswered);
            let lost: usize = handed.iter().map(lost_by).sum();
            let text = format!("hand-over, {}: no datagram is lost", kind.what());
            goals.push(goal(text, format!("{lost} lost in {} trials", handed.len()), lost == 0));
        }
        let killed = of(records, kind, "kill");
        if !killed.is_empty() {
            let lost: usize = killed.iter().map(|one| one.worst(|seen| seen.unanswered)).sum();
            let moves: usize = killed.iter().map(|one| one.worst(|seen| seen.moves)).sum();
            let text = format!("SIGKILL to the agent, {}: nothing is lost and nothing moves", kind.what());
            let measured = format!("{lost} lost and {moves} moves in {} trials", killed.len());
            goals.push(goal(text, measured, lost == 0 && moves == 0));
        }
        let frozen = of(records, kind, "freeze");
        if !frozen.is_empty() {
            let moved = firsts(&frozen, [Way::Arp, Way::Ns]).len();
            let both = frozen.iter().map(|one| one.worst(|seen| seen.both_us)).max().unwrap_or_default();
            let text = format!(
                "SIGSTOP to the agent, {}: another node takes over, and never do two answer",
                kind.what()
            );
            let measured = format!("{moved} of {} trials, two owners for {both} µs at most", frozen.len());
            goals.push(goal(text, measured, moved == frozen.len() && both == 0));
        }
        let healed = of(records, kind, "heal");
        if !healed.is_empty() {
            let both = healed.iter().map(|one| one.worst(|seen| seen.both_us)).max().unwrap_or_default();
            let text =
                format!("a partition heals, {}: two owners for ≤ {} ms", kind.what(), HEALED_US / 1000);
            let measured = format!("{} ms at most in {} trials", both.div_ceil(1000), healed.len());
            goals.push(goal(text, measured, both <= HEALED_US));
        }
    }
    goals
}

fn unplugged(records: &[Record]) -> Vec<Goal> {
    let mut goals = Vec::new();
    for kind in [Kind::Barelb, Kind::BarelbFast] {
        let silent: Vec<_> = of(records, kind, "carrier").into_iter().filter_map(Record::silent_ms).collect();
        if !silent.is_empty() {
            let most = quantile(&silent, 1.0);
            let text =
                format!("the carrier goes, {}: the node is silent within {SILENT_MS:.0} ms", kind.what());
            let measured = format!("{most:.1} ms at most in {} trials", silent.len());
            goals.push(goal(text, measured, most <= SILENT_MS));
        }
    }
    goals
}

fn soaks(minutes: &[Minute]) -> Vec<Goal> {
    let sums = super::soak::sums(minutes);
    // Of a soak that was cut off the table says how far it came.
    let is_whole = |sum: &super::soak::Sum| sum.minutes >= HOUR;
    let is_held = |sum: &super::soak::Sum| sum.system.starts_with("barelb") && sum.loss <= 5;
    let held = sums.into_iter().filter(|sum| is_held(sum) && is_whole(sum));
    let goal_of = |sum: super::soak::Sum| {
        let text = format!("false moves in an hour, {}, {}: none", sum.system, sum.circumstances());
        goal(text, format!("{} in {} min", sum.moves, sum.minutes), sum.moves == 0)
    };
    held.map(goal_of).collect()
}
