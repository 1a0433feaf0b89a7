//! `cargo xtask bench`: the data-path benchmark against the other responders of this machine.

use std::process::Command;

use anyhow::Result;

use crate::process::{replace_as_root, run as run_program};
use crate::workspace::Workspace;
use crate::{build, objects, packages};

/// Measure the data path and its contenders, and write docs/benchmarks.md.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Arguments for barelb-bench; see `cargo xtask bench -- --help`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
    more: Vec<String>,
}

/// Runs the command; returns only on failure, because the benchmark takes this process over.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    let barelb = build::release(workspace, &[packages::LAB, packages::TEST].concat())?;
    let mut build_bench = workspace.cargo();
    build_bench.args(["build", "--release", "--package", "lb-test", "--bin", "barelb-bench"]);
    run_program(&mut build_bench)?;
    let mut command = Command::new(workspace.target().join("release/barelb-bench"));
    command.arg("--barelb").arg(barelb).arg("--rig").arg(objects::rig(workspace));
    command.arg("--out").arg(workspace.root().join("docs/benchmarks.md"));
    command.arg("--draft").arg(workspace.target().join("benchmarks.md")).args(&args.more);
    replace_as_root(&command)
}
