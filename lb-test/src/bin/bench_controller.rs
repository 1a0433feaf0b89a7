//! Measures the controller; `cargo xtask bench --controller` runs it.

use clap::Parser;
use lb_test::bench::controller::{self, Options};

fn main() -> anyhow::Result<()> {
    controller::run(&Options::parse())
}
