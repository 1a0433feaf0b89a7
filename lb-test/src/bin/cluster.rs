//! A cluster in network namespaces that stands until Ctrl-C; `cargo xtask cluster up` runs it.

use clap::Parser;
use lb_test::cluster::Families;
use lb_test::cluster::show::{self, ShowOptions};

/// Stands up a real API server, a controller, nodes with agents and a client, in network namespaces of this machine.
/// Needs root. Ctrl-C removes all of it.
#[derive(Parser)]
#[command(name = "barelb-cluster")]
struct Args {
    /// End after the proof instead of staying up to be looked at.
    #[arg(long)]
    once: bool,
    /// With kubelets and containerd, which run controller, agents and web servers in pods, installed from manifests/base.
    #[arg(long, conflicts_with = "grace")]
    pods: bool,
    /// How many nodes.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=26))]
    nodes: u8,
    /// Address families of control plane, nodes and Service.
    #[arg(long, value_enum, default_value_t)]
    families: Families,
    /// `--grace` of the agents; a node whose agent is gone is replaced 15 s later.
    #[arg(long, value_name = "DURATION", default_value = "10s")]
    grace: String,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let Args { once, pods, nodes, families, grace } = args;
    let options = ShowOptions { once, nodes, families, grace };
    if pods { show::run_pods(&options) } else { show::run(&options) }
}
