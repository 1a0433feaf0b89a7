//! `barelb`: agent and tools in one binary.

use std::process::ExitCode;

use clap::Parser;
use lb_userspace::cli::Cli;

fn main() -> anyhow::Result<ExitCode> {
    Cli::parse().run()
}
