//! docs/benchmarks.md: the figures, and beside them what was to be reached.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::Result;

use super::plan::Family;
use super::programs::Time;
use super::rounds::{Distinct, Latency, Series};
use super::stats::{self, Spread};
use super::{Options, cpu};

const OURS: &str = "BareLB, native XDP";
const SWAP: &str = "bare MAC swap (XDP)";
const KERNEL: &str = "Linux owns the addresses";

/// The document, written as the figures come in, and printed as it grows.
pub(super) struct Report {
    text: String,
    goals: Vec<(String, String, bool)>,
}

impl Report {
    pub(super) fn new(options: &Options) -> Self {
        let mut report = Self { text: String::new(), goals: Vec::new() };
        report.add(HEAD);
        report.add(&format!(
            "Rounds: {} of {:.1} s per contender, interleaved. Figures are medians; in brackets the 95 % bootstrap \
             interval. A round in which the host took more than 1 % of the time is measured again.\n",
            options.rounds(),
            options.time().as_secs_f64()
        ));
        report.table(&["machine", ""], cpu::facts().into_iter().map(|(name, value)| vec![name, value]));
        report
    }

    /// A contender that cannot be had here.
    pub(super) fn missing(&mut self, error: &anyhow::Error) {
        self.add(&format!("Not measured: {error:#}\n"));
    }

    pub(super) fn programs(&mut self, times: &[Time], pass: &[(Time, usize)]) {
        self.add("## Program time\n\n`BPF_PROG_RUN`, nanoseconds beyond the empty program; the whole request is written anew before each round. Frames are padded to 60 bytes (ARP) or have 86 (NS); addresses are asked uniformly at random.\n");
        let rows = times.iter().map(|time| vec![time.what.clone(), spread(time.nanoseconds, 1)]);
        self.table(&["case", "ns"], rows);
        let rows = pass.iter().map(|(time, count)| {
            vec![time.what.clone(), spread(time.nanoseconds, 1), count.to_string()]
        });
        self.add("\nWhat all other traffic pays. Instructions: those the translated program executes for the frame, interpreted one by one; the interpreter fails on any helper or map, so none is reached.\n");
        self.table(&["case", "ns", "instructions"], rows);
        let of = |what: &str| times.iter().find(|time| time.what == what).map_or(0.0, |time| time.nanoseconds.value);
        let (arp, ns, swap) = (of("ARP hit, 10 addresses"), of("NS hit, 10 addresses"), of("bare MAC swap"));
        self.goal("ARP hit ≤ bare MAC swap + 45 ns", format!("{:+.1} ns", arp - swap), arp - swap <= 45.0);
        self.goal("NS hit ≤ 2.5 × ARP hit", format!("{:.2}", ns / arp), ns / arp <= 2.5);
        if let Some((time, count)) = pass.first() {
            let value = time.nanoseconds.value;
            self.goal("IPv4 TCP ≤ 4 ns over an empty program", format!("{value:.1} ns"), value <= 4.0);
            self.goal("IPv4 TCP ≤ 10 instructions, no map", count.to_string(), *count <= 10);
        }
    }

    pub(super) fn verified(&mut self, counts: &[(String, u32)]) {
        self.add("\nInstructions the verifier processes to accept a program:\n");
        self.table(&["program", "instructions"], counts.iter().map(|(name, count)| vec![name.clone(), count.to_string()]));
        let most = counts.iter().map(|&(_, count)| count).max().unwrap_or(0);
        self.goal("verifier-processed instructions ≤ 5,000", most.to_string(), most <= 5000);
    }

    pub(super) fn lookups(&mut self, times: &[Time]) {
        self.add("\n## Hash look-up\n\nOne look-up of a present key, in random order (256 in a run, the making of the keys subtracted).\n");
        self.table(&["map", "ns"], times.iter().map(|time| vec![time.what.clone(), spread(time.nanoseconds, 1)]));
    }

    pub(super) fn rates(&mut self, family: Family, series: &[Series]) {
        self.add(&format!("\n## Answers per second, {}, ten addresses\n\nThe generator sends as fast as it can; one processor answers.\n", family.name()));
        self.contest(series);
        let rate = |name: &str| series.iter().find(|one| one.name == name).map(|one| &one.rate);
        if let (Some(ours), Some(swap), Some(kernel)) = (rate(OURS), rate(SWAP), rate(KERNEL)) {
            let (floor, kernel) = (stats::ratio(ours, swap), stats::ratio(ours, kernel));
            let name = family.name();
            self.goal(&format!("{name}: ≥ 3 × the kernel's own answers/s"), spread(kernel, 2), kernel.value >= 3.0);
            self.goal(&format!("{name}: ≥ 85 % of the bare MAC swap"), spread(floor, 2), floor.value >= 0.85);
        }
    }

    pub(super) fn costs(&mut self, family: Family, series: &[Series]) {
        self.add(&format!("\n## Cost of an answer, {}, at 50,000 requests/s\n\nProcessor time of the receiving thread and of the responder's own threads. At this rate part of it is waking up.\n", family.name()));
        self.contest(series);
    }

    pub(super) fn unicast(&mut self, series: &[Series]) {
        self.add("\n## Answers per second, ARP sent to the responder's own Ethernet address\n");
        self.contest(series);
    }

    pub(super) fn scaling(&mut self, family: Family, series: &[Series]) {
        self.add(&format!("\n## More addresses, {}, native XDP, asked uniformly\n", family.name()));
        self.contest(series);
        if let (Some(few), Some(many)) = (series.first(), series.last()) {
            let ratio = stats::ratio(&many.cost, &few.cost);
            let what = format!("{}: CPU per reply with 100,000 addresses ≤ 1.5 × of ten", family.name());
            self.goal(&what, spread(ratio, 2), ratio.value <= 1.5);
        }
    }

    fn contest(&mut self, series: &[Series]) {
        let ours = series.first().map(|one| one.rate.clone()).unwrap_or_default();
        let rows = series.iter().map(|one| {
            vec![
                one.name.clone(),
                spread(stats::spread(&one.rate), 0),
                spread(stats::ratio(&ours, &one.rate), 2),
                spread(stats::spread(&one.cost), 0),
                format!("{:.2} %", 100.0 * stats::median(&one.share)),
                one.wrong.to_string(),
                one.discarded.to_string(),
            ]
        });
        let rows: Vec<_> = rows.collect();
        self.table(&["responder", "answers/s", "first row ÷ this", "CPU-ns/answer", "answered", "wrong", "discarded rounds"], rows);
    }

    pub(super) fn latencies(&mut self, what: &str, found: &[Latency]) {
        self.add(&format!("\n## Latency, ARP, {what}\n\nMicroseconds from the making of the request to the sink, by kernel timestamps.\n"));
        let rows = found.iter().map(|one| {
            vec![one.name.clone(), format!("{:.1}", one.p50), format!("{:.1}", one.p99), format!("{:.1}", one.p999), format!("{:.2} %", 100.0 * one.answered)]
        });
        self.table(&["responder", "p50", "p99", "p99.9", "answered"], rows);
    }

    pub(super) fn distinct(&mut self, family: Family, found: &Distinct) {
        self.add(&format!(
            "\n{}, {} requesters, each asking once at 200,000/s — {}: {} answered; neighbour table {} → {} entries.\n",
            family.name(), found.asked, found.name, found.distinct, found.before, found.after
        ));
        if found.name == OURS {
            let met = found.distinct == 1_000_000 && found.before == found.after;
            let value = format!("{} answered, {} → {} entries", found.distinct, found.before, found.after);
            self.goal(&format!("{}: 1,000,000 requesters answered, neighbour table unchanged", family.name()), value, met);
        }
    }

    fn goal(&mut self, goal: &str, value: String, met: bool) {
        self.goals.push((goal.to_owned(), value, met));
    }

    /// Ends with the goals and the notes, and writes the file.
    pub(super) fn save(mut self, path: &Path) -> Result<()> {
        self.add("\n## Goals\n");
        let goals = std::mem::take(&mut self.goals);
        let rows = goals.into_iter().map(|(goal, value, met)| vec![goal, value, if met { "met" } else { "**missed**" }.to_owned()]);
        self.table(&["goal", "measured", ""], rows);
        self.add(NOTES);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        Ok(fs::write(path, &self.text)?)
    }

    #[expect(clippy::print_stdout, reason = "the tables are the output of the benchmark")]
    fn add(&mut self, text: &str) {
        println!("{text}");
        self.text.push_str(text);
        self.text.push('\n');
    }

    fn table(&mut self, head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) {
        let mut text = String::new();
        let mut line = |cells: String| drop(writeln!(text, "| {cells} |"));
        line(head.join(" | "));
        line(vec!["---"; head.len()].join(" | "));
        for row in rows {
            line(row.join(" | "));
        }
        self.add(&text);
    }
}

fn spread(spread: Spread, digits: usize) -> String {
    let Spread { value, low, high } = spread;
    format!("{value:.digits$} [{low:.digits$}–{high:.digits$}]")
}

const HEAD: &str = "\
# Benchmarks of the data path

Made by `cargo xtask bench`; do not edit.

Two namespaces and a veth. Processor 0 makes the requests (a BPF program run with live frames) and checks every
answer; processor 1 only answers: the link's threaded NAPI and the responder's own threads are bound to it, with
niceness −20 so that other programs of the machine hardly count. All figures are of this machine and this run;
none compares with one from elsewhere, and none says what a NIC would do.
";

const NOTES: &str = "
## Notes

* Answers are checked whole (addresses, operation or flags, options, ICMPv6 checksum), except those of the bare
  MAC swap and of the bare XDP_TX, which are no answers: there every frame that comes back counts.
* Answers sent by XDP are received by XDP, those sent by the stack or a process by tcx: an XDP program at the
  receiving end would copy each of the latter first.
* Each responder is asked by 400 requesters in turn, so that the kernel's neighbour table does not overflow.
* In the run with two busy programs the receiving thread has real-time priority, as the interrupt has that it
  stands for; processes have the priority they are born with.
* A latency above 40 ms (400 requesters at 10,000/s) would be taken for that of the requester's next request, which
  flatters the slow.
* The flood of unknown requests is 200,000/s: the paced generator makes one frame at a time, and 1,000,000/s of them
  do not fit beside the sink on one processor here.
* Memory and idle processor time of the agent: not measured.
* 10 Gbit/s line rate: not measured; there is no NIC here.
";
