//! The section about the process.

use std::time::Duration;

use super::Report;
use super::goals::{Goal, Size};
use crate::bench::agent::AgentCost;
use crate::bench::plan::FEW;

/// Bytes of a MiB.
const MIB: f64 = 1_048_576.0;

impl Report {
    /// What agents with more and more addresses cost.
    pub(in crate::bench) fn agents(&mut self, found: &[AgentCost]) {
        self.add(
            "\n## The agent\n\n`barelb agent --standalone` over a folder of dual-stack Services; nothing is asked of it \
             while it is watched. Cold: without pins and statuses, to a table that is answered from. Warm: with those \
             of an agent before, to the first moving of the deadline. The maps are the kernel's and not in the \
             memory.\n",
        );
        let rows = found.iter().map(|one| {
            vec![
                one.addresses.to_string(),
                mib(one.resident),
                mib(one.resident_peak),
                format!("{:.3} %", 100.0 * one.idle),
                millis(one.link_event),
                millis(one.plan),
                millis(one.cold_start),
                millis(one.warm_start),
            ]
        });
        let head = [
            "addresses",
            "resident, MiB",
            "at most, MiB",
            "idle, of a core",
            "CPU of a link event, ms",
            "one plan, ms",
            "cold start, ms",
            "warm start, ms",
        ];
        self.table(&head, rows);
        for one in found {
            let (size, memory, idle) =
                if one.addresses == FEW { (Size::Few, 15.0, 0.001) } else { (Size::Many, 60.0, 0.01) };
            let resident = one.resident as f64 / MIB;
            self.reach(Goal::Resident(size), format!("{resident:.1} MiB"), resident <= memory);
            self.reach(Goal::Idle(size), format!("{:.3} %", 100.0 * one.idle), one.idle <= idle);
        }
    }
}

fn mib(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / MIB)
}

fn millis(time: Duration) -> String {
    format!("{:.1}", 1000.0 * time.as_secs_f64())
}
