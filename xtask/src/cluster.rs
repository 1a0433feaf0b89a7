//! `cargo xtask cluster`: a whole cluster in network namespaces of this machine, for a person.

use std::process::Command;

use anyhow::Result;

use crate::process::{replace_as_root, run as run_program};
use crate::workspace::Workspace;
use crate::{build, image, packages, testbed};

/// Stand up a cluster in network namespaces: a real API server, the controller, nodes with agents, a client.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// Build what it needs and let it stand until Ctrl-C, which removes all of it: there is no `down`.
    Up(Up),
}

#[derive(clap::Args)]
struct Up {
    /// End after the proof, with exit code 0 when it holds.
    #[arg(long)]
    once: bool,
    /// With kubelets, which run controller, agents and web servers in pods, from the image and the manifests.
    #[arg(long)]
    pods: bool,
    /// More arguments for barelb-cluster, for example `--nodes 2` or `--families ipv6`; see `cargo xtask cluster up -- --help`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
    more: Vec<String>,
}

/// Runs the command; returns only on failure, because the cluster takes this process over.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    let What::Up(up) = &args.what;
    if up.pods {
        image::release(workspace, &[packages::LAB, packages::PODS].concat())?;
        testbed::prepare_for_pods(workspace)?;
    } else {
        build::release(workspace, packages::LAB)?;
        testbed::prepare(workspace)?;
    }
    let mut build_cluster = workspace.cargo();
    build_cluster.args(["build", "--release", "--package", "lb-test", "--bin", "barelb-cluster"]);
    run_program(&mut build_cluster)?;
    let mut command = Command::new(workspace.target().join("release/barelb-cluster"));
    for (wanted, argument) in [(up.once, "--once"), (up.pods, "--pods")] {
        if wanted {
            command.arg(argument);
        }
    }
    replace_as_root(command.args(&up.more))
}
