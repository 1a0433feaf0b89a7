//! `barelb drain`: have a node hand its addresses over to others.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use clap::Args;
use comfy_table::{Table, presets::NOTHING};
use lb_core::ids::{NodeName, ServiceKey};
use tokio::time::{Instant, sleep};

use super::access::{Access, runtime};
use super::{duration, print};
use crate::k8s::drain::{Agent, Announcing, Drain as Cluster};
use crate::k8s::time::rfc3339;
use crate::k8s::write::{WriteError, in_time};

/// Between two looks.
const PACE: Duration = Duration::from_millis(500);
/// For those who have taken over to say so.
const SAID: Duration = Duration::from_secs(3);

/// Arguments of `barelb drain`.
#[derive(Debug, Args)]
pub struct Drain {
    /// The node. Other nodes take over what it announces; no answer is missed, and nothing else on it changes.
    #[arg(value_name = "NODE")]
    node: String,
    /// Let the node own addresses again.
    #[arg(long)]
    undo: bool,
    /// How long to wait until other nodes announce.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration::parse)]
    timeout: Duration,
    #[command(flatten)]
    access: Access,
}

impl Drain {
    /// Marks the node and waits until it announces nothing.
    pub fn run(self) -> Result<ExitCode> {
        let said = runtime()?.block_on(self.carry_out())?;
        print(said)?;
        Ok(ExitCode::SUCCESS)
    }

    async fn carry_out(&self) -> Result<String> {
        let node = NodeName::new(&self.node).with_context(|| format!("NODE {:?}", self.node))?;
        let cluster = Cluster::new(self.access.client().await?, &self.access.namespace);
        if self.undo {
            mark(&cluster, &node, None).await?;
            return Ok(format!("node/{node} undrained\n"));
        }
        let before = in_time(cluster.announcing()).await.context("asking who announces which Service")?;
        mark(&cluster, &node, Some(&rfc3339(SystemTime::now()))).await?;
        self.wait(&cluster, &node).await?;
        let left: BTreeSet<ServiceKey> = of(&before, &node);
        let since = Instant::now();
        let mut now = Announcing::new();
        loop {
            // It is done: an error changes nothing about that.
            now = in_time(cluster.announcing()).await.unwrap_or(now);
            if left.iter().all(|service| now.contains_key(service)) || since.elapsed() > SAID {
                break;
            }
            sleep(PACE).await;
        }
        Ok(format!("node/{node} drained\n{}", moved(&left, &now)))
    }

    /// Waits until the node announces nothing.
    async fn wait(&self, cluster: &Cluster, node: &NodeName) -> Result<()> {
        let (since, namespace) = (Instant::now(), &self.access.namespace);
        loop {
            let (agent, announced) = match look(cluster, node).await {
                Ok(seen) => seen,
                // The node is marked: what is asked on the way may fail.
                Err(error) if since.elapsed() <= self.timeout && !is_forbidden(&error) => {
                    sleep(PACE).await;
                    continue;
                }
                Err(error) => {
                    return Err(error)
                        .with_context(|| format!("node/{node} is marked; looking what it announces"));
                }
            };
            if agent == Agent::Gone || (agent == Agent::Unfit && announced == 0) {
                return Ok(());
            }
            if since.elapsed() > self.timeout {
                bail!(
                    "node/{node} is marked, but after {:?} it announces {announced} Services still, and its agent {}: \
                     look whether the agent runs (`kubectl -n {namespace} get pods -o wide`) and renews its Lease \
                     (`kubectl -n {namespace} get lease barelb-node-{node} -o yaml`); an agent that is gone is \
                     replaced when its Lease runs out",
                    self.timeout,
                    if agent == Agent::Unfit { "has told the others" } else { "has not told the others" },
                );
            }
            sleep(PACE).await;
        }
    }
}

fn is_forbidden(error: &WriteError) -> bool {
    matches!(error, WriteError::Forbidden { .. })
}

/// What the agent of the node says, and how many Services the node announces.
async fn look(cluster: &Cluster, node: &NodeName) -> Result<(Agent, usize), WriteError> {
    let agent = in_time(cluster.agent(node)).await?;
    Ok((agent, of(&in_time(cluster.announcing()).await?, node).len()))
}

async fn mark(cluster: &Cluster, node: &NodeName, value: Option<&str>) -> Result<()> {
    match in_time(cluster.mark(node, value)).await {
        Err(WriteError::Gone) => bail!("there is no node {node}: `kubectl get nodes` lists those that exist"),
        done => done.with_context(|| format!("annotating node {node}")),
    }
}

/// The Services that a node announces.
fn of(announcing: &Announcing, node: &NodeName) -> BTreeSet<ServiceKey> {
    let of_node = announcing.iter().filter(|(_, nodes)| nodes.contains(node));
    of_node.map(|(service, _)| service.clone()).collect()
}

/// Who announces what the node has left.
fn moved(left: &BTreeSet<ServiceKey>, now: &Announcing) -> String {
    if left.is_empty() {
        return String::new();
    }
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(["SERVICE", "NODE"]);
    for service in left {
        let nodes: Vec<&str> = now.get(service).into_iter().flatten().map(NodeName::as_str).collect();
        let nodes = if nodes.is_empty() { "<none>".to_owned() } else { nodes.join(",") };
        table.add_row([service.to_string(), nodes]);
    }
    let lines = table.lines().map(|line| line.trim().to_owned() + "\n");
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn announcing(list: &[(&str, &[&str])]) -> Announcing {
        let entry = |(service, nodes): &(&str, &[&str])| {
            (service.parse().unwrap(), nodes.iter().map(|node| NodeName::new(node).unwrap()).collect())
        };
        list.iter().map(entry).collect()
    }

    #[test]
    fn what_has_moved_is_a_table() {
        let before = announcing(&[("default/a", &["x"]), ("default/b", &["y"]), ("web/longer", &["x", "y"])]);
        let left = of(&before, &NodeName::new("x").unwrap());
        let now = announcing(&[("default/a", &["z"]), ("default/b", &["y"])]);
        assert_eq!(moved(&left, &now), "SERVICE     NODE\ndefault/a   z\nweb/longer  <none>\n");
        assert_eq!(moved(&BTreeSet::new(), &now), "");
    }
}
