//! Measures failover; `cargo xtask bench failover` runs it.

use clap::Parser;
use lb_test::bench::failover::{self, Options};

fn main() -> anyhow::Result<()> {
    failover::run(&Options::parse())
}
