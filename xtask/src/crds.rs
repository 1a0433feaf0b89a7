//! `cargo xtask crds`: manifests/crds from the types in lb-userspace.

use anyhow::{Context, Result};

use crate::process;
use crate::workspace::Workspace;

/// Write manifests/crds anew from the Rust types.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Change nothing and fail on a difference, as the level `unit` of `cargo xtask test` does.
    #[arg(long)]
    check: bool,
}

/// Runs the command.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    let mut command = workspace.cargo();
    if args.check {
        command.args(["test", "--package", "lb-userspace", "--lib", "--", "--exact"]);
        command.arg("k8s::crd::tests::the_manifests_are_up_to_date");
        return process::run(&mut command).context("manifests/crds is out of date: run `cargo xtask crds`");
    }
    command.args(["run", "--package", "lb-userspace", "--bin", "barelb", "--", "crds", "--output"]);
    process::run(command.arg(workspace.root().join("manifests/crds")))
}
