//! `cargo xtask crds`: manifests/crds, and the chart's, from the types in lb-userspace.

use anyhow::{Context, Result};

use crate::process;
use crate::workspace::Workspace;

/// Where they are kept.
const FOLDERS: [&str; 2] = ["manifests/crds", "charts/barelb/crds"];

/// Write manifests/crds and charts/barelb/crds anew from the Rust types.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Change nothing and fail on a difference, as the level `unit` of `cargo xtask test` does.
    #[arg(long)]
    check: bool,
}

/// Runs the command.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    if args.check {
        let mut command = workspace.cargo();
        command.args(["test", "--package", "lb-userspace", "--lib", "--", "--exact"]);
        command.arg("k8s::crd::tests::the_manifests_are_up_to_date");
        return process::run(&mut command).context("the CRDs are out of date: run `cargo xtask crds`");
    }
    for folder in FOLDERS {
        let mut command = workspace.cargo();
        command.args(["run", "--package", "lb-userspace", "--bin", "barelb", "--", "crds", "--output"]);
        process::run(command.arg(workspace.root().join(folder)))?;
    }
    Ok(())
}
