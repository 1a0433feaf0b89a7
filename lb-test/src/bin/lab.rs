//! Two nodes and a client in network namespaces; `cargo xtask build-and-load` runs it.

use std::path::PathBuf;

use clap::Parser;
use lb_test::lab::{self, Options};

/// Shows BareLB at work between network namespaces of this machine. Needs root.
#[derive(Parser)]
#[command(name = "barelb-lab")]
struct Args {
    /// End after the proof instead of staying up to be looked at.
    #[arg(long)]
    once: bool,
    /// The barelb binary [default: `BARELB_BIN`, or what cargo left in target/].
    #[arg(long, value_name = "PATH")]
    barelb: Option<PathBuf>,
    /// The object with the programs for the other ends of the links [default: `BARELB_RIG_OBJECT`, or target/bpf/rig.o].
    #[arg(long, value_name = "PATH")]
    rig: Option<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    lab::run(&Options { once: args.once, barelb: args.barelb, rig: args.rig })
}
