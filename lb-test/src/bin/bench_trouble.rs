//! Measures what is seen of trouble; `cargo xtask bench --trouble` runs it.

use clap::Parser;
use lb_test::bench::trouble::{self, Options};

fn main() -> anyhow::Result<()> {
    trouble::run(&Options::parse())
}
