//! `cargo xtask bench`: the data-path benchmark against the other responders of this machine, those of the controller and
//! of the agent in a cluster, what is seen of trouble there, and failover beside other systems.

use std::process::Command;

use anyhow::Result;

use crate::process::{replace_as_root, run as run_program};
use crate::workspace::Workspace;
use crate::{build, objects, packages, testbed};

mod failover;

/// Measure the data path and its contenders, and write docs/benchmarks.md; or something else, and its own page.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    other: Option<Other>,
    /// Measure the controller instead, and write docs/benchmarks-controller.md.
    #[arg(long, group = "subject")]
    controller: bool,
    /// Measure the agent in a cluster instead, and write docs/benchmarks-agent.md.
    #[arg(long, group = "subject")]
    agent: bool,
    /// Measure what a client sees of trouble in a cluster instead, and write docs/reliability.md.
    #[arg(long, group = "subject")]
    trouble: bool,
    /// Arguments for the program that measures; see `cargo xtask bench -- --help`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
    more: Vec<String>,
}

/// What has a command of its own.
#[derive(clap::Subcommand)]
enum Other {
    Failover(failover::Args),
}

/// What is measured.
#[derive(Clone, Copy)]
enum Subject {
    DataPath,
    Controller,
    Agent,
    Trouble,
}

impl Args {
    /// Whether failover is what is to be measured.
    #[cfg(test)]
    pub(crate) fn is_failover(&self) -> bool {
        matches!(self.other, Some(Other::Failover(_)))
    }

    fn subject(&self) -> Subject {
        match (self.controller, self.agent, self.trouble) {
            (true, _, _) => Subject::Controller,
            (_, true, _) => Subject::Agent,
            (_, _, true) => Subject::Trouble,
            (false, false, false) => Subject::DataPath,
        }
    }
}

/// Runs the command; returns only on failure, because the benchmark takes this process over.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    if let Some(Other::Failover(args)) = &args.other {
        return failover::run(workspace, args);
    }
    let subject = args.subject();
    let barelb = build::release(workspace, &[packages::LAB, packages::TEST].concat())?;
    let program = match subject {
        Subject::DataPath => "barelb-bench",
        Subject::Controller => "barelb-bench-controller",
        Subject::Agent => "barelb-bench-agent",
        Subject::Trouble => "barelb-bench-trouble",
    };
    let mut command = build_program(workspace, program)?;
    let (page, has_draft) = match subject {
        Subject::DataPath => ("benchmarks.md", true),
        Subject::Controller => ("benchmarks-controller.md", false),
        Subject::Agent => ("benchmarks-agent.md", true),
        Subject::Trouble => ("reliability.md", false),
    };
    command.arg("--out").arg(workspace.root().join("docs").join(page));
    if has_draft {
        command.arg("--draft").arg(workspace.target().join(page));
    }
    if let Subject::DataPath = subject {
        command.arg("--barelb").arg(barelb).arg("--rig").arg(objects::rig(workspace));
    } else {
        testbed::prepare(workspace)?;
        command.env("BARELB_BIN", barelb);
    }
    command.args(&args.more);
    replace_as_root(&command)
}

/// Builds a program that measures; how it is called.
fn build_program(workspace: &Workspace, program: &str) -> Result<Command> {
    let mut build = workspace.cargo();
    build.args(["build", "--release", "--package", "lb-test", "--bin", program]);
    run_program(&mut build)?;
    Ok(Command::new(workspace.target().join("release").join(program)))
}
