//! `cargo xtask build-and-load`: sets up what is missing, builds, and shows BareLB at work.
//!
//! Without arguments in a lab of network namespaces on this machine; with an interface on the real network.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::process::{replace_as_root, run as run_program};
use crate::workspace::Workspace;
use crate::{build, packages};

/// Set up, build and run: the lab of namespaces, or an agent on a real interface.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// End after the proof, with exit code 0 when it holds; otherwise the lab stays until Ctrl-C.
    #[arg(long, conflicts_with = "iface")]
    once: bool,
    /// Run an agent on this interface of the machine instead of the lab.
    #[arg(long, value_name = "IF", requires = "config")]
    iface: Option<String>,
    /// Folder with Services, pools and advertisements as YAML, for `--iface`.
    #[arg(long, value_name = "DIR", requires = "iface")]
    config: Option<PathBuf>,
    /// More arguments for the lab, or for the agent with `--iface`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
    more: Vec<String>,
}

/// Runs the command; returns only on failure, because the lab or the agent takes this process over.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    let mut command = if let (Some(iface), Some(config)) = (&args.iface, &args.config) {
        let mut command = Command::new(build::release(workspace, &[])?);
        command.arg("agent").arg("--standalone").arg(config).args(["--interface", iface]);
        command
    } else {
        lab(workspace, args.once)?
    };
    command.args(&args.more);
    replace_as_root(&command)
}

fn lab(workspace: &Workspace, once: bool) -> Result<Command> {
    let barelb = build::release(workspace, packages::LAB)?;
    let mut build_lab = workspace.cargo();
    build_lab.args(["build", "--release", "--package", "lb-test", "--bin", "barelb-lab"]);
    run_program(&mut build_lab)?;
    let mut command = Command::new(workspace.target().join("release/barelb-lab"));
    command.arg("--barelb").arg(barelb);
    if once {
        command.arg("--once");
    }
    Ok(command)
}
