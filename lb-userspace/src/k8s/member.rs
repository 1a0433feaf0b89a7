//! The Lease by which an agent says that it is there, and what its links can do.

use std::time::{Duration, SystemTime};

use k8s_openapi::{
    api::coordination::v1::Lease, apimachinery::pkg::apis::meta::v1::MicroTime, jiff::Timestamp,
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use lb_core::{
    ids::NodeName,
    membership::{Heartbeat, LinkReport, fitness},
};
use serde_json::json;

use super::{lease::WallTime, write::WriteError};

#[cfg(test)]
mod tests;

/// Finds the Leases of agents.
pub const SELECTOR: &str = LABEL;
const LABEL: &str = "barelb.io/member";
/// What the links of the node can do.
const LINKS: &str = "barelb.io/links";
/// Before the name of the node.
const PREFIX: &str = "barelb-node-";
/// Who owns the fields of the Lease.
const FIELD_MANAGER: &str = "barelb-agent";

/// The name of a node's Lease.
pub fn lease_name(node: &NodeName) -> String {
    format!("{PREFIX}{node}")
}

/// What a Lease says; `None` if it is that of no node.
pub fn read(lease: Lease) -> Option<(NodeName, Heartbeat)> {
    let name = lease.metadata.name?;
    let node = NodeName::new(name.strip_prefix(PREFIX)?).ok()?;
    let spec = lease.spec.unwrap_or_default();
    let report = lease.metadata.annotations.as_ref().and_then(|annotations| annotations.get(LINKS));
    let reports = report.and_then(|text| serde_json::from_str::<Vec<LinkReport>>(text).ok());
    let links = reports.clone().map(fitness);
    let seconds = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
    let heartbeat = Heartbeat {
        holder: spec.holder_identity.unwrap_or_default(),
        renewed: spec.renew_time.map_or(0, |time| time.0.as_microsecond()),
        duration: Duration::from_secs(seconds.unwrap_or_default()),
        version: lease.metadata.resource_version.unwrap_or_default(),
        links,
        reports: reports.unwrap_or_default(),
    };
    Some((node, heartbeat))
}

/// Renews the Lease of one node.
#[derive(Clone)]
pub struct Member {
    leases: Api<Lease>,
    node: NodeName,
    holder: String,
    duration: Duration,
}

impl std::fmt::Debug for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Member")
            .field("node", &self.node)
            .field("holder", &self.holder)
            .finish_non_exhaustive()
    }
}

impl Member {
    /// Writes by a client that does not repeat requests: see [`super::client::writing`].
    pub fn new(client: Client, namespace: &str, node: NodeName, holder: String, duration: Duration) -> Self {
        Self { leases: Api::namespaced(client, namespace), node, holder, duration }
    }

    /// Says that the agent is there; the caller limits the time.
    pub async fn renew(&self, links: &[LinkReport], now: SystemTime) -> Result<(), WriteError> {
        self.apply(&self.holder, links, now).await
    }

    /// Says that the agent is not there any more, and reflects nothing soon.
    pub async fn give_back(&self, links: &[LinkReport], now: SystemTime) -> Result<(), WriteError> {
        let links: Vec<LinkReport> =
            links.iter().cloned().map(|link| LinkReport { liveness: None, ..link }).collect();
        self.apply("", &links, now).await
    }

    /// Marks the Lease of another node as given back, if it is still of this version: its agent was judged dead.
    pub async fn strike_out(&self, node: &NodeName, version: &str) -> Result<(), WriteError> {
        let patch = json!({"metadata": {"resourceVersion": version}, "spec": {"holderIdentity": ""}});
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        self.leases.patch(&lease_name(node), &params, &Patch::Merge(patch)).await?;
        Ok(())
    }

    /// How long the Lease lasts.
    pub fn duration(&self) -> Duration {
        self.duration
    }

    async fn apply(&self, holder: &str, links: &[LinkReport], now: SystemTime) -> Result<(), WriteError> {
        let lease = lease(&self.node, holder, self.duration, links, now);
        // Whoever had the fields before, such as the agent before this one, gives them up.
        let params = PatchParams::apply(FIELD_MANAGER).force();
        self.leases.patch(&lease_name(&self.node), &params, &Patch::Apply(lease)).await?;
        Ok(())
    }
}

fn lease(
    node: &NodeName,
    holder: &str,
    duration: Duration,
    links: &[LinkReport],
    now: SystemTime,
) -> serde_json::Value {
    let WallTime(micros) = WallTime::from(now);
    let renewed = MicroTime(Timestamp::from_microsecond(micros).unwrap_or_default());
    json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {
            "name": lease_name(node),
            "labels": {LABEL: "true"},
            "annotations": {LINKS: serde_json::to_string(links).unwrap_or_default()},
        },
        "spec": {
            "holderIdentity": holder,
            "leaseDurationSeconds": i32::try_from(duration.as_secs()).unwrap_or(i32::MAX),
            "renewTime": renewed,
        },
    })
}
