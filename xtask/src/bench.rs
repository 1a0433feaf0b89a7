//! `cargo xtask bench`: the data-path benchmark against the other responders of this machine, and that of the controller.

use std::process::Command;

use anyhow::Result;

use crate::process::{replace_as_root, run as run_program};
use crate::workspace::Workspace;
use crate::{build, objects, packages, testbed};

/// Measure the data path and its contenders, and write docs/benchmarks.md; or the controller.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Measure the controller instead, and write docs/benchmarks-controller.md.
    #[arg(long)]
    controller: bool,
    /// Arguments for barelb-bench or barelb-bench-controller; see `cargo xtask bench -- --help`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
    more: Vec<String>,
}

/// Runs the command; returns only on failure, because the benchmark takes this process over.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    let barelb = build::release(workspace, &[packages::LAB, packages::TEST].concat())?;
    let program = if args.controller { "barelb-bench-controller" } else { "barelb-bench" };
    let mut build_bench = workspace.cargo();
    build_bench.args(["build", "--release", "--package", "lb-test", "--bin", program]);
    run_program(&mut build_bench)?;
    let mut command = Command::new(workspace.target().join("release").join(program));
    if args.controller {
        testbed::prepare(workspace)?;
        command.arg("--out").arg(workspace.root().join("docs/benchmarks-controller.md"));
        command.args(&args.more).env("BARELB_BIN", barelb);
        return replace_as_root(&command);
    }
    command.arg("--barelb").arg(barelb).arg("--rig").arg(objects::rig(workspace));
    command.arg("--out").arg(workspace.root().join("docs/benchmarks.md"));
    command.arg("--draft").arg(workspace.target().join("benchmarks.md")).args(&args.more);
    replace_as_root(&command)
}
