//! What `barelb drain` asks of a cluster and sees happen: the annotation of a Node, what its agent says of its links, and
//! who announces which Service.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::{coordination::v1::Lease, core::v1::Node};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use lb_core::{
    eligibility::{DRAIN_ANNOTATION, LinkFitness},
    ids::{NodeName, ServiceKey},
};
use serde_json::json;

use super::{
    l2_status,
    member::{self, lease_name},
    write::WriteError,
};

const FIELD_MANAGER: &str = "barelb-drain";

/// A cluster in which a node is drained.
#[derive(Clone)]
pub struct Drain {
    nodes: Api<Node>,
    leases: Api<Lease>,
    client: Client,
    namespace: String,
}

impl std::fmt::Debug for Drain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Drain").finish_non_exhaustive()
    }
}

/// What the agent of a node says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agent {
    /// It has no Lease, or has given it back: it announces nothing.
    Gone,
    /// It may announce, as far as it says.
    Ready,
    /// It says that no link of its node can announce.
    Unfit,
}

/// Nodes that announce each Service, as `ServiceL2Status` objects say.
pub type Announcing = BTreeMap<ServiceKey, BTreeSet<NodeName>>;

impl Drain {
    /// By a client that asks once; `namespace` has the Leases and statuses.
    pub fn new(client: Client, namespace: &str) -> Self {
        Self {
            nodes: Api::all(client.clone()),
            leases: Api::namespaced(client.clone(), namespace),
            namespace: namespace.to_owned(),
            client,
        }
    }

    /// Asks the node to hand over what it owns; with `None` takes that back.
    pub async fn mark(&self, node: &NodeName, value: Option<&str>) -> Result<(), WriteError> {
        let patch = json!({"metadata": {"annotations": {DRAIN_ANNOTATION: value}}});
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        self.nodes.patch_metadata(node.as_str(), &params, &Patch::Merge(patch)).await?;
        Ok(())
    }

    /// What the agent of the node says.
    pub async fn agent(&self, node: &NodeName) -> Result<Agent, WriteError> {
        let lease = self.leases.get_opt(&lease_name(node)).await?;
        let Some((_, heartbeat)) = lease.and_then(member::read) else { return Ok(Agent::Gone) };
        let fit = heartbeat.links.is_none_or(|links| links.values().any(|link| *link == LinkFitness::Fit));
        Ok(match (heartbeat.holder.is_empty(), fit) {
            (true, _) => Agent::Gone,
            (false, true) => Agent::Ready,
            (false, false) => Agent::Unfit,
        })
    }

    /// Who announces what.
    pub async fn announcing(&self) -> Result<Announcing, WriteError> {
        let mut announcing = Announcing::new();
        for said in
            l2_status::list(&self.client, &self.namespace).await?.into_iter().filter(|said| !said.of_metallb)
        {
            announcing.entry(said.service).or_default().insert(said.node);
        }
        Ok(announcing)
    }
}
