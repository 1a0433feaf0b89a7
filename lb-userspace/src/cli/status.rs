//! `barelb status`: a cluster as its agents see it, asked through the API server.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::ExitCode;

use anyhow::{Result, anyhow, bail};
use clap::Args;
use futures::StreamExt;
use futures::stream;

use super::access::{Access, runtime};
use super::{Output, print};
use crate::agent::sessions::{PATH, PeerReport};
use crate::k8s::agents::{AgentPod, Agents};

mod fault;
mod report;

use fault::{Cluster, Fault};
use report::{NodePeers, Report, Unasked};

/// Agents that are asked at a time.
const AT_ONCE: usize = 16;

/// Arguments of `barelb status`.
#[derive(Debug, Args)]
pub struct Status {
    /// Show how the nodes hear each other: a row for each node, interface and other node there, with its status (up,
    /// suspect, relayed: only other nodes hear it, down, unproven: never heard), how often it is probed, probes sent and
    /// lost, how often it was down, and the round trip.
    #[arg(long, required = true)]
    pub peers: bool,
    #[command(flatten)]
    access: Access,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

impl Status {
    /// Prints what the agents say; exit code 1 when one of them has not said it.
    pub fn run(self) -> Result<ExitCode> {
        let report = runtime()?.block_on(self.ask())?;
        print(self.output.render(&report, |wide| report.table(wide))?)?;
        let mut warnings = String::new();
        for (nodes, warning) in report.warnings() {
            writeln!(warnings, "warning: {nodes}: {warning}")?;
        }
        io::stderr().lock().write_all(warnings.as_bytes())?;
        Ok(if report.unasked.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    async fn ask(&self) -> Result<Report> {
        let (access, namespace) = (self.access.place(), &self.access.namespace);
        let agents = Agents::new(self.access.client().await?, namespace);
        let cluster = Cluster { namespace, access: &access };
        let pods = agents.list().await.map_err(|error| anyhow!("{}", cluster.not_listed(&error)))?;
        if pods.is_empty() {
            bail!("{}", cluster.no_agents());
        }
        let agents = &agents;
        let answers = stream::iter(&pods).map(|pod| async move { (pod, peers(agents, pod).await) });
        let answers: Vec<_> = answers.buffered(AT_ONCE).collect().await;
        let mut report = Report::default();
        for (pod, answer) in answers {
            let (node, name) = (pod.node.clone(), pod.name.clone());
            match answer {
                Ok(said) => report.nodes.push(NodePeers { pod: name, said }),
                Err(fault) => {
                    let why = fault.describe(cluster, pod);
                    report.unasked.push(Unasked { node, pod: name, why });
                }
            }
        }
        Ok(report)
    }
}

/// What an agent says of the nodes that it watches.
async fn peers(agents: &Agents, pod: &AgentPod) -> Result<PeerReport, Fault> {
    if !pod.has_address {
        return Err(Fault::NoAddress);
    }
    let port = pod.port.ok_or(Fault::NoPort)?;
    let page = agents.ask(&pod.name, port, PATH).await?;
    Fault::of(serde_json::from_str(&page)?)
}
