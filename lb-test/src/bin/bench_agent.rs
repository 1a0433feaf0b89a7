//! Measures the agent in a cluster; `cargo xtask bench --agent` runs it.

use clap::Parser;
use lb_test::bench::node::{self, Options};

fn main() -> anyhow::Result<()> {
    node::run(&Options::parse())
}
