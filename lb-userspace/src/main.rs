//! `barelb`: agent and tools in one binary.

use std::process::ExitCode;

fn main() -> anyhow::Result<ExitCode> {
    lb_userspace::cli::run()
}
