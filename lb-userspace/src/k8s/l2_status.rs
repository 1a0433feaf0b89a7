//! `ServiceL2Status` objects: which node announces a Service, as MetalLB's speaker writes them.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, stream::BoxStream};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use lb_core::ids::{LinkName, NodeName, ServiceKey};
use serde_json::json;

use super::crd::{ServiceL2Status, service_l2_status::ServiceL2StatusSpec};
use super::watch::{self, Change, Guarded};
use super::write::WriteError;

const NODE: &str = "metallb.io/node";
const SERVICE_NAME: &str = "metallb.io/service-name";
const SERVICE_NAMESPACE: &str = "metallb.io/service-namespace";
const FIELD_MANAGER: &str = "barelb-agent";
/// Longest value of a label.
const LABEL: usize = 63;

/// What such an object says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// The Service.
    pub service: ServiceKey,
    /// Who announces it.
    pub node: NodeName,
    /// On which links; empty = not said.
    pub links: BTreeSet<LinkName>,
    /// A pod has it, as MetalLB's speaker makes its own: it goes when the pod does. An agent's has no owner.
    pub of_metallb: bool,
}

/// Name of an object and what it says; `None` for one that is none of an agent. One whose status was not written is known
/// by its labels.
pub fn read(object: Guarded<ServiceL2Status>) -> Option<(String, Announcement)> {
    let object = object.0.ok()?;
    let (labels, status) = (object.metadata.labels.unwrap_or_default(), object.status.unwrap_or_default());
    let or_label = |written: String, label: &str| {
        if written.is_empty() { labels.get(label).cloned().unwrap_or_default() } else { written }
    };
    let namespace = or_label(status.service_namespace, SERVICE_NAMESPACE);
    let owners = object.metadata.owner_references.unwrap_or_default();
    let announcement = Announcement {
        service: ServiceKey::new(namespace, or_label(status.service_name, SERVICE_NAME)).ok()?,
        node: NodeName::new(or_label(status.node, NODE)).ok()?,
        links: status.interfaces.into_iter().filter_map(|link| LinkName::new(link.name).ok()).collect(),
        of_metallb: owners.iter().any(|owner| owner.kind == "Pod"),
    };
    Some((object.metadata.name?, announcement))
}

/// Watches the objects of one namespace; see [`read`].
pub fn watch(client: &Client, namespace: &str) -> BoxStream<'static, Change<Option<(String, Announcement)>>> {
    let objects = watch::watch(
        Api::<Guarded<ServiceL2Status>>::namespaced(client.clone(), namespace),
        None,
        watch::PAGE,
    );
    objects.map(|change| change.map(read)).boxed()
}

/// What all objects of one namespace say.
pub async fn list(client: &Client, namespace: &str) -> Result<Vec<Announcement>, WriteError> {
    let api = Api::<Guarded<ServiceL2Status>>::namespaced(client.clone(), namespace);
    let objects = api.list(&ListParams::default()).await?;
    Ok(objects.into_iter().filter_map(read).map(|(_, said)| said).collect())
}

/// Writes the objects of one namespace.
#[derive(Clone)]
pub struct Statuses {
    api: Api<ServiceL2Status>,
}

impl std::fmt::Debug for Statuses {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Statuses").finish_non_exhaustive()
    }
}

impl Statuses {
    /// Writes by a client that does not repeat requests.
    pub fn new(client: Client, namespace: &str) -> Self {
        Self { api: Api::namespaced(client, namespace) }
    }

    /// Makes an object and says in it who announces what.
    pub async fn create(&self, announcement: &Announcement) -> Result<(), WriteError> {
        let made = self.api.create(&params(), &object(announcement)).await?;
        let name = made.metadata.name.unwrap_or_default();
        self.say(&name, announcement).await
    }

    /// Says in an object who announces what.
    pub async fn say(&self, name: &str, announcement: &Announcement) -> Result<(), WriteError> {
        let patch = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        self.api.patch_status(name, &patch, &Patch::Merge(status(announcement))).await?;
        Ok(())
    }

    /// Takes an object away; it may be gone already.
    pub async fn delete(&self, name: &str) -> Result<(), WriteError> {
        match self.api.delete(name, &DeleteParams::default()).await.map_err(WriteError::from) {
            Ok(_) | Err(WriteError::Gone) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn params() -> PostParams {
    PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), dry_run: false }
}

fn object(announcement: &Announcement) -> ServiceL2Status {
    let Announcement { service, node, .. } = announcement;
    // What is longer than a label may be is in the status all the same.
    let labels =
        [(NODE, node.as_str()), (SERVICE_NAME, service.name()), (SERVICE_NAMESPACE, service.namespace())];
    let labels = labels.into_iter().filter(|(_, value)| value.len() <= LABEL);
    let labels: BTreeMap<String, String> =
        labels.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    ServiceL2Status {
        metadata: ObjectMeta {
            generate_name: Some("l2-".to_owned()),
            labels: Some(labels),
            ..ObjectMeta::default()
        },
        spec: ServiceL2StatusSpec::default(),
        status: None,
    }
}

fn status(announcement: &Announcement) -> serde_json::Value {
    let Announcement { service, node, links, .. } = announcement;
    let links: Vec<_> = links.iter().map(|link| json!({"name": link.as_str()})).collect();
    json!({"status": {
        "node": node.as_str(),
        "serviceName": service.name(),
        "serviceNamespace": service.namespace(),
        "interfaces": links,
    }})
}
