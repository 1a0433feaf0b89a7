//! Asking agents for a page, through the API server, and saying why one of them can't be asked.

use std::collections::BTreeMap;

use anyhow::{Result, anyhow, bail};
use futures::StreamExt;
use futures::stream;
use serde::Serialize;

use crate::k8s::agents::{AgentPod, Agents};

mod fault;

pub(super) use fault::{Cluster, Fault};

/// Agents that are asked at a time.
const AT_ONCE: usize = 16;

/// An agent that has not said it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Unasked {
    pub(super) node: String,
    pub(super) pod: String,
    /// Why, and what to do.
    pub(super) why: String,
}

impl Unasked {
    /// Where it is, and why.
    pub(super) fn warning(&self) -> (&str, &str) {
        (if self.node.is_empty() { &self.pod } else { &self.node }, &self.why)
    }
}

/// The agents of the cluster; an error where there are none.
pub(super) async fn pods(agents: &Agents, cluster: Cluster<'_>) -> Result<Vec<AgentPod>> {
    let pods = agents.list().await.map_err(|error| anyhow!("{}", cluster.not_listed(&error)))?;
    if pods.is_empty() {
        bail!("{}", cluster.no_agents());
    }
    Ok(pods)
}

/// What each of them says, in their order, and which do not.
pub(super) async fn all<T>(
    pods: &[AgentPod],
    cluster: Cluster<'_>,
    ask: impl AsyncFn(&AgentPod) -> Result<T, Fault>,
) -> (Vec<(AgentPod, T)>, Vec<Unasked>) {
    let ask = &ask;
    let answers = stream::iter(pods).map(|pod| async move { (pod, ask(pod).await) });
    let mut answers = answers.buffered(AT_ONCE);
    let (mut said, mut unasked) = (Vec::new(), Vec::new());
    while let Some((pod, answer)) = answers.next().await {
        match answer {
            Ok(answer) => said.push((pod.clone(), answer)),
            Err(fault) => unasked.push(Unasked {
                node: pod.node.clone(),
                pod: pod.name.clone(),
                why: fault.describe(cluster, pod),
            }),
        }
    }
    (said, unasked)
}

/// What an agent answers on a path.
pub(super) async fn page(agents: &Agents, pod: &AgentPod, path: &str) -> Result<String, Fault> {
    if !pod.has_address {
        return Err(Fault::NoAddress);
    }
    let port = pod.port.ok_or(Fault::NoPort)?;
    Ok(agents.ask(&pod.name, port, path).await?)
}

/// Of what is true of whom: one warning for each reason, with all of whom it is true.
pub(super) fn warnings<'a>(reasons: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<(String, String)> {
    let mut by_reason: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (whom, why) in reasons {
        by_reason.entry(why).or_default().push(whom);
    }
    by_reason.into_iter().map(|(why, whom)| (whom.join(", "), why.to_owned())).collect()
}
