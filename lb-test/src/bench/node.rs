//! The benchmark of the agent in a cluster: plans in process, then agents on a real API server.
//! `cargo xtask bench --agent` runs it; it writes docs/benchmarks-agent.md.

pub(crate) mod api;
mod bed;
mod changes;
mod commands;
mod load;
mod planning;
mod start;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

use super::document::Page;

/// The parts, in the order of the report.
const PARTS: [(&str, Part); 5] = [
    ("change", |page, options| changes::measure(page, options.trials())),
    ("plan", |page, options| planning::measure(page, if options.quick { 3 } else { 30 })),
    ("start", |page, options| start::measure(page, options.services(), options.trials() / 2)),
    ("commands", |page, options| commands::measure(page, 1000, options.trials() / 4)),
    ("load", |page, options| load::measure(page, Duration::from_secs(if options.quick { 30 } else { 180 }))),
];
type Part = fn(&mut Page, &Options) -> Result<()>;

/// Measures the agent in a cluster. Needs root and the testbed.
#[derive(clap::Parser, Clone, Debug)]
#[command(name = "barelb-bench-agent")]
pub struct Options {
    /// Where the tables of a whole run are saved.
    #[arg(long, value_name = "PATH")]
    pub out: PathBuf,
    /// Where those of a shortened run are saved, so that they do not replace the former.
    #[arg(long, value_name = "PATH")]
    pub draft: PathBuf,
    /// A tenth of everything.
    #[arg(long)]
    pub quick: bool,
    /// Only this part of the report; may be given several times.
    #[arg(long, value_name = "PART", value_parser = PARTS.map(|(name, _)| name))]
    pub only: Vec<String>,
}

impl Options {
    fn is_whole(&self) -> bool {
        !self.quick && self.only.is_empty()
    }

    fn trials(&self) -> u32 {
        if self.quick { 20 } else { 200 }
    }

    fn services(&self) -> usize {
        if self.quick { 1000 } else { 10_000 }
    }
}

/// Measures everything, prints the tables and saves them.
pub fn run(options: &Options) -> Result<()> {
    let mut page = Page::default();
    page.add(HEAD);
    page.machine();
    for (name, part) in PARTS {
        if options.only.is_empty() || options.only.iter().any(|only| only == name) {
            part(&mut page, options)?;
        }
    }
    page.goals();
    page.add(NOTES);
    page.save(if options.is_whole() { &options.out } else { &options.draft })
}

const HEAD: &str = "\
# Benchmarks of the agent in a cluster

Made by `cargo xtask bench --agent`; do not edit. All figures are of this machine and this run.
";

const NOTES: &str = "
## Notes

* API server, etcd, agent and client share the two processors of this machine, so the agent waits for the others where it
  would not on a node of its own. No controller runs: what it would write is written by the benchmark, through a `kubectl
  proxy`, whose time is included.
* Write to answer: both addresses are asked for every millisecond, so a time is up to a millisecond too long. The event is
  the first frame of the API server's with something in it that reaches the node after the write. The agent announces an
  address in the step that writes the table and after it, so \"event to the announcement\" is decrypting, reading,
  deciding, planning, the table, and the first frame of the announcement. Times are those of frames, by the kernel.
* Plans are measured in process, by the call that the agent makes. A node that lapses or returns is another one each time.
  \"The first plan\" has no orders to begin with; all others have those of the plan before. Figures are medians over the
  rounds; in brackets the 95 % bootstrap interval.
* The one node of the start owns all the addresses, of which one half is IPv4: more than any node of a cluster with
  several. The start of the process is known to 10 ms. The addresses are asked for over and over until each is answered.
* A watch is ended by the agent's own wish after a minute at most, so that a connection that is dead is noticed.
";
