//! `cargo xtask bench`: the data-path benchmark against the other responders of this machine, and those of the controller
//! and of the agent in a cluster.

use std::process::Command;

use anyhow::Result;

use crate::process::{replace_as_root, run as run_program};
use crate::workspace::Workspace;
use crate::{build, objects, packages, testbed};

/// Measure the data path and its contenders, and write docs/benchmarks.md; or the controller, or the agent in a cluster.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Measure the controller instead, and write docs/benchmarks-controller.md.
    #[arg(long)]
    controller: bool,
    /// Measure the agent in a cluster instead, and write docs/benchmarks-agent.md.
    #[arg(long, conflicts_with = "controller")]
    agent: bool,
    /// Arguments for the program that measures; see `cargo xtask bench -- --help`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
    more: Vec<String>,
}

/// Runs the command; returns only on failure, because the benchmark takes this process over.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    let barelb = build::release(workspace, &[packages::LAB, packages::TEST].concat())?;
    let program = match (args.controller, args.agent) {
        (true, _) => "barelb-bench-controller",
        (false, true) => "barelb-bench-agent",
        (false, false) => "barelb-bench",
    };
    let mut build_bench = workspace.cargo();
    build_bench.args(["build", "--release", "--package", "lb-test", "--bin", program]);
    run_program(&mut build_bench)?;
    let mut command = Command::new(workspace.target().join("release").join(program));
    let draft = |name: &str| workspace.target().join(name);
    if args.agent {
        testbed::prepare(workspace)?;
        command.arg("--out").arg(workspace.root().join("docs/benchmarks-agent.md"));
        command.arg("--draft").arg(draft("benchmarks-agent.md")).args(&args.more).env("BARELB_BIN", barelb);
        return replace_as_root(&command);
    }
    if args.controller {
        testbed::prepare(workspace)?;
        command.arg("--out").arg(workspace.root().join("docs/benchmarks-controller.md"));
        command.args(&args.more).env("BARELB_BIN", barelb);
        return replace_as_root(&command);
    }
    command.arg("--barelb").arg(barelb).arg("--rig").arg(objects::rig(workspace));
    command.arg("--out").arg(workspace.root().join("docs/benchmarks.md"));
    command.arg("--draft").arg(draft("benchmarks.md")).args(&args.more);
    replace_as_root(&command)
}
