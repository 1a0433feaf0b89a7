//! What a client sees of trouble in a cluster. `cargo xtask bench --trouble` runs it; it writes docs/reliability.md.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use super::document::Page;
use super::failover;
use crate::trouble::{Allowed, Case, KINDS, Seen, by_default};

const HEAD: &str = "\
# Reliability

What a client sees when something goes wrong in a cluster of two nodes: real etcd, kube-apiserver and kube-proxy, the
controller and an agent on each node, all in network namespaces of one machine. The client asks for the IPv4 and the IPv6
address of a Service 500 times a second, by ARP and neighbour solicitation, from a second before the trouble until all is
well again. Each case has a cluster of its own each time; the numbers are the worst of all times.

`cargo xtask bench --trouble` writes this page. `cargo xtask test` runs the same cases and holds them to what may be seen.
";

const NOTES: &str = "
* **silence** is the longest time between two answers for one address; about 4 ms where nothing happens, and more where
  the machine was busy with the trouble. **unanswered** are requests that no answer ever came to.
* **two owners** is for how long two nodes have answered. Both give their own address; an answer is never a wrong one.
* **moves**: how often another node answered than before.
* Who is dead is found out by probes (see Failover); Leases, which last 15 s longer than the grace, 75 s by default, decide
  only about nodes that were never heard. The cases run with a grace of 2 s or 6 s.
* Where something may be seen, the last column says why. Nothing else may.
";

/// Measures what is seen of trouble. Needs root and the testbed.
#[derive(clap::Parser, Clone, Debug)]
#[command(name = "barelb-bench-trouble")]
pub struct Options {
    /// Where the page is saved.
    #[arg(long, value_name = "PATH")]
    pub out: PathBuf,
    /// How often each case is run.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    pub times: u16,
    /// Only this case; may be given several times. Its row in the page is replaced, the others stay.
    #[arg(long = "case", value_name = "NAME")]
    pub cases: Vec<String>,
}

/// Measures everything, prints the tables and saves them.
pub fn run(options: &Options) -> Result<()> {
    let mut page = Page::default();
    page.add(HEAD);
    page.machine();
    for (kind, cases) in KINDS {
        page.add(&format!("\n## {}\n", headline(kind)));
        let mut rows = Vec::new();
        for case in cases.iter().filter(|case| options.wants(case)) {
            rows.push(measure(case, options.times)?);
        }
        if kind == "agents" && options.cases.is_empty() {
            rows.extend(by_default().map(|case| measure(&case, 1)).transpose()?);
        }
        let head = ["trouble", "asked", "unanswered", "silence, ms", "two owners, ms", "moves", "why"];
        page.table(&head, rows);
    }
    page.add(NOTES);
    if options.cases.is_empty() {
        // What is measured by itself, and stays.
        let before = fs::read_to_string(&options.out).unwrap_or_default();
        page.text += "\n";
        page.text += failover::part(&before);
        page.save(&options.out)
    } else {
        replace_rows(&options.out, &page.text)
    }
}

/// Puts the rows of some cases in the place of what the page has said of them.
fn replace_rows(path: &Path, measured: &str) -> Result<()> {
    let page = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let case = |line: &str| {
        line.strip_prefix("| ").and_then(|line| line.split_once(" |")).map(|(what, _)| what.to_owned())
    };
    let cases: BTreeSet<&str> =
        KINDS.iter().flat_map(|(_, cases)| cases.iter().map(|case| case.what)).collect();
    let rows: BTreeMap<String, &str> =
        measured.lines().filter_map(|line| Some((case(line)?, line))).collect();
    let newer = |line: &str| {
        let what = case(line).filter(|what| cases.contains(what.as_str()))?;
        rows.get(&what).copied()
    };
    let lines: Vec<&str> = page.lines().map(|line| newer(line).unwrap_or(line)).collect();
    fs::write(path, lines.join("\n") + "\n").with_context(|| format!("cannot write {}", path.display()))
}

impl Options {
    fn wants(&self, case: &Case) -> bool {
        self.cases.is_empty() || self.cases.iter().any(|name| name == case.name)
    }
}

fn headline(kind: &str) -> &str {
    match kind {
        "agents" => "An agent or its node",
        "servers" => "The API server and its store",
        _ => "Objects",
    }
}

fn measure(case: &Case, times: u16) -> Result<Vec<String>> {
    let mut worst = case.run()?;
    for _ in 1..times {
        worst = worst.or_worse(&case.run()?);
    }
    let verdict = match case.judge(&worst) {
        Ok(()) => case.why.to_owned(),
        Err(_) => format!("**more than may be seen** ({}). {}", allowed(case.allowed), case.why),
    };
    let Seen { asked, unanswered, silence, both, moves } = worst;
    let counts = [asked.to_string(), unanswered.to_string(), ms(silence), ms(both), moves.to_string()];
    Ok([&[case.what.to_owned()][..], &counts, &[verdict]].concat())
}

fn allowed(Allowed { silence, both, moves }: Allowed) -> String {
    format!("silence {} ms, two owners {} ms, {moves} moves", ms(silence), ms(both))
}

fn ms(time: Duration) -> String {
    time.as_millis().to_string()
}
