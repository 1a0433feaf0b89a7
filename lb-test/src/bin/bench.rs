//! Measures the data path; `cargo xtask bench` runs it.

use clap::Parser;
use lb_test::bench::{self, Options};

fn main() -> anyhow::Result<()> {
    bench::run(&Options::parse())
}
