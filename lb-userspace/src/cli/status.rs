//! `barelb status`: a cluster as its agents see it, asked through the API server.

use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use super::access::{self, Access, runtime};
use super::ask::{self, Cluster, Fault};
use super::format::Format;
use super::{complain, print};
use crate::agent::sessions::PATH;
use crate::k8s::agents::{AgentPod, Agents};

pub(super) mod addresses;
pub(super) mod join;
mod peers;
pub(super) mod report;
pub(super) mod view;

use peers::NodePeers;

/// Arguments of `barelb status`.
#[derive(Debug, Args)]
pub struct Status {
    /// Show how the nodes hear each other: a row for each node, interface and other node there, with its status (up,
    /// suspect, relayed: only other nodes hear it, down, unproven: never heard), how often it is probed, probes sent and
    /// lost, how often it was down, and the round trip.
    #[arg(long, conflicts_with_all = ["namespace", "all_namespaces", "selector"])]
    pub peers: bool,
    #[command(flatten)]
    scope: Scope,
    #[command(flatten)]
    access: Access,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// Which Services; all of them unless it is said.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct Scope {
    /// Services of this namespace only.
    #[arg(short, long, value_name = "NS", conflicts_with = "all_namespaces", value_parser = access::namespace)]
    pub(super) namespace: Option<String>,
    /// Services of all namespaces, as without -n.
    #[arg(short = 'A', long)]
    pub(super) all_namespaces: bool,
    /// Services with these labels only, for example app=web,tier!=test.
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    pub(super) selector: Option<String>,
}

impl Status {
    /// Prints what the agents say; exit code 1 when one of them has not said it.
    pub fn run(self) -> Result<ExitCode> {
        let (text, warnings, complete) = runtime()?
            .block_on(async { if self.peers { self.of_peers().await } else { self.of_addresses().await } })?;
        print(text)?;
        let mut complaints = String::new();
        for (whose, warning) in warnings {
            writeln!(complaints, "warning: {whose}: {warning}")?;
        }
        complain(complaints)?;
        Ok(if complete { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    async fn of_peers(&self) -> Result<Printed> {
        let place = self.access.place();
        let cluster = Cluster { namespace: &self.access.namespace, access: &place };
        let agents = Agents::new(self.access.client().await?, &self.access.namespace);
        let pods = ask::pods(&agents, cluster).await?;
        let peers =
            async |pod: &AgentPod| Fault::of(serde_json::from_str(&ask::page(&agents, pod, PATH).await?)?);
        let (said, unasked) = ask::all(&pods, cluster, peers).await;
        let nodes = said.into_iter().map(|(pod, said)| NodePeers { pod: pod.name, said });
        let report = peers::Report { nodes: nodes.collect(), unasked };
        let text = self.output.render(&report, |wide| report.table(wide), || report.names())?;
        Ok((text, report.warnings(), report.unasked.is_empty()))
    }

    async fn of_addresses(&self) -> Result<Printed> {
        let report = addresses::look(&self.access.client().await?, &self.access, &self.scope).await?;
        let text = self.output.render(&report, |wide| report.table(wide), || report.names())?;
        Ok((text, report.warnings(), report.unasked.is_empty()))
    }
}

/// What is printed, what is warned of, and whether all agents were asked.
type Printed = (String, Vec<(String, String)>, bool);
