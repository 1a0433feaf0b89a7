//! docs/benchmarks.md: the figures, and beside them what was to be reached.
//!
//! A section is a method in `tables` that writes a heading, a table and the goals it decides. New ones need nothing
//! but that, a goal or none, and a line among the sections of the benchmark.

mod goals;
mod tables;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::cpu;
use super::document::{self, spread};
use super::rounds::Rounds;
use goals::{Goal, Reached};

/// The document, written as the figures come in, and printed as it grows.
pub(super) struct Report {
    text: String,
    goals: BTreeMap<Goal, Reached>,
}

impl Report {
    /// Starts with what a reader must know; `whole` = every part, at full length.
    pub(super) fn new(rounds: Rounds<'_>, whole: bool) -> Self {
        let mut report = Self { text: String::new(), goals: BTreeMap::new() };
        report.add(HEAD);
        if !whole {
            report.add("**A shortened run**: for development, not for comparison.\n");
        }
        report.add(&format!(
            "Rounds: {} of {:.1} s per responder, interleaved. Figures are medians; in brackets the 95 % bootstrap \
             interval. A round in which the host took more than 1 % of the machine's time is measured again.\n",
            rounds.count,
            rounds.time.as_secs_f64()
        ));
        report.table(&["machine", ""], cpu::facts().into_iter().map(|(name, value)| vec![name, value]));
        report
    }

    /// A contender that cannot be had here.
    pub(super) fn missing(&mut self, error: &anyhow::Error) {
        self.add(&format!("Not measured: {error:#}.\n"));
    }

    /// Ends with the goals and the notes, and writes the file.
    pub(super) fn save(mut self, path: &Path) -> Result<()> {
        self.add_goals();
        self.add(NOTES);
        let written =
            path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(path, &self.text));
        written.with_context(|| format!("cannot write {}", path.display()))
    }

    fn add_goals(&mut self) {
        self.add("\n## Goals\n");
        let rows: Vec<_> = Goal::all()
            .map(|goal| {
                let (value, verdict) = match self.goals.get(&goal) {
                    None => ("not measured in this run".to_owned(), String::new()),
                    Some(Reached { value, met: true }) => (value.clone(), "met".to_owned()),
                    Some(Reached { value, met: false }) => {
                        (value.clone(), format!("**missed**. {}", goal.tried()))
                    }
                };
                vec![goal.text(), value, verdict.trim().to_owned()]
            })
            .collect();
        self.table(&["goal", "measured", ""], rows);
    }

    fn reach(&mut self, goal: Goal, value: String, met: bool) {
        self.goals.insert(goal, Reached { value, met });
    }

    fn add(&mut self, text: &str) {
        document::add(&mut self.text, text);
    }

    fn table(&mut self, head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) {
        self.add(&document::table(head, rows));
    }
}

fn percent(share: f64) -> String {
    // Rounded down: not one missing answer in a million may look like none.
    format!("{:.3} %", (share * 100_000.0).floor() / 1000.0)
}

const HEAD: &str = "\
# Benchmarks of the data path

Made by `cargo xtask bench`; do not edit.

Two namespaces and a veth. Processor 0 makes the requests (a BPF program run with live frames) and checks every
answer; processor 1 only answers: the link's threaded NAPI and the responder's own threads are bound to it. All
figures are of this machine and this run; none compares with one from elsewhere, and none says what a NIC would do.
";

const NOTES: &str = "
## Notes

* Answers are checked whole (addresses, operation or flags, options, ICMPv6 checksum). Of the bare MAC swap and the
  bare XDP_TX, which answer nothing, the request is expected back, checked as thoroughly.
* Answers sent by XDP are received by XDP, those sent by the stack or a process by tcx: an XDP program at the
  receiving end would copy each of the latter first. The receiving end's processor time is in no figure.
* Processor time is that of the thread that receives for the responder and of the responder's own threads. *Busy* is
  its share of the processor. Well below 100 % it means that the generator, which shares its processor with the
  check of the answers, was the limit: answers/s then say what the generator can do, and *a whole core* (one second
  divided by the processor time of an answer) says what the responder could.
* The receiving thread has real-time priority, as the interrupt has that it stands for. Beside a process that answers
  it has none, as ksoftirqd has none, except where latencies are measured; processes have the priority they are born
  with. The kernel may keep some five percent of a processor from real-time threads: 95 % busy is as busy as can be.
* As fast as the generator can is too fast for a process: the thread that receives takes the processor for frames
  that are lost anyway. What a process can do is seen at the modest rate.
* farpd's answers go to all stations, also by their target hardware address; they count as they are.
* Each responder is asked by 400 requesters in turn, so that the kernel's neighbour table does not overflow. The
  kernel learns each of them; what that saves or costs later is not in these figures.
* ebtables needs a bridge, so its figures contain the bridge's cost.
* Linux answers a solicitation sent to its own Ethernet address with a shorter advertisement (no option, not
  overriding), which is right but not what is expected here; so it is missing there.
* A request for an unknown address goes up the stack, as it must. One processor here takes less than a million of
  these a second, whoever answers the others, so the flood is 200,000 a second.
* An answer that takes longer than the pause until its requester asks again (40 ms at 10,000 requests/s, 0.4 s at
  1,000) is taken for that of the next request, which flatters the slow; *late* counts these requests.
* 10 Gbit/s line rate: not measured; there is no NIC here.
";
