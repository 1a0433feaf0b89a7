//! The benchmark of the controller: the allocator by itself, then all of it on a real API server.
//! `cargo xtask bench --controller` runs it; it writes docs/benchmarks-controller.md.

mod allocator;
mod cluster;

use std::path::PathBuf;

use anyhow::Result;

use super::document::Page;

/// Measures the allocator, and the controller on an API server. Needs root and the testbed.
#[derive(clap::Parser, Clone, Debug)]
#[command(name = "barelb-bench-controller")]
pub struct Options {
    /// Where the tables are saved.
    #[arg(long, value_name = "PATH")]
    pub out: PathBuf,
    /// Rounds of the allocator.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..))]
    pub rounds: u16,
    /// Services on the API server.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u16).range(1..=60_000))]
    pub services: u16,
}

/// Measures everything, prints the tables and saves them.
pub fn run(options: &Options) -> Result<()> {
    let mut page = Page::default();
    page.add(HEAD);
    page.machine();
    allocator::measure(&mut page, usize::from(options.rounds))?;
    cluster::measure(&mut page, usize::from(options.services))?;
    page.goals();
    page.add(NOTES);
    page.save(&options.out)
}

const HEAD: &str = "\
# Benchmarks of the controller

Made by `cargo xtask bench --controller`; do not edit. All figures are of this machine and this run.
";

const NOTES: &str = "
## Notes

* The allocator is measured in process, by the calls that the controller makes. Figures are medians over the rounds; in
  brackets the 95 % bootstrap interval.
* The scan is what MetalLB's allocator does: it looks at the addresses of a pool one after the other until one is free.
  Here it is that loop over a hash set of the addresses in use and nothing else, which flatters it.
* On the API server, controller, API server, etcd and the generator of Services share the two processors of this
  machine. Most of a cold start is the API server's time.
* Writes are counted in the API server's audit log. The lease is renewed by one write every two seconds, which is
  not counted.
";
