//! What the controller writes, each as one request that does not touch what others own.
//!
//! Addresses, counters and states are applied by the server (`fieldManager` [`FIELD_MANAGER`]). What an apply can't do,
//! taking away what another manager such as MetalLB wrote, is a merge patch. A write to a Service names the version it
//! was decided for: one that changed meanwhile is refused, and looked at again.

use std::{net::IpAddr, time::Duration};

use k8s_openapi::api::core::v1 as core;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
    core::Status,
};
use serde_json::{Map, Value, json};
use tokio::time::timeout;

use super::{
    crd::{
        self, IPAddressPool, IPAddressPoolStatus,
        configuration_state::{ConfigurationState, ConfigurationStateStatus},
    },
    watch::Guarded,
};

mod result;
mod state;
#[cfg(test)]
mod tests;

pub use result::WriteResult;
pub use state::{configuration, says_the_same};

/// Who owns the fields that are written (`metadata.managedFields[].manager`).
pub const FIELD_MANAGER: &str = "barelb";
/// Label of a `ConfigurationState` that says whose it is.
const COMPONENT: &str = "metallb.io/component-type";

/// Why nothing was written, as far as is known.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Somebody else wrote the object, or it was made anew.
    #[error("somebody else wrote the object first: it is looked at again")]
    Conflict,
    /// The object, its namespace or its kind is gone.
    #[error("the object or its namespace does not exist any more")]
    Gone,
    /// The rights are missing.
    #[error(
        "the API server does not permit it ({code}): compare the ServiceAccount's roles with manifests/base"
    )]
    Forbidden {
        /// HTTP status: 401 or 403.
        code: u16,
        /// The words of the API server.
        #[source]
        source: Box<Status>,
    },
    /// The API server, or an admission webhook, does not accept the object.
    #[error("the API server does not accept it ({code}): its words name the rule or the webhook")]
    Invalid {
        /// HTTP status.
        code: u16,
        /// The words of the API server.
        #[source]
        source: Box<Status>,
    },
    /// The API server has too much to do or an error of its own.
    #[error("the API server can't do it now ({code})")]
    Busy {
        /// HTTP status: 429 or 5xx.
        code: u16,
        /// The words of the API server.
        #[source]
        source: Box<Status>,
    },
    /// No answer in time. It may still be carried out.
    #[error("no answer in time: check that the API server is up and reachable from this node")]
    Timeout,
    /// The request or the answer did not get through.
    #[error("the API server can't be asked: check its address and certificates, and the network to it")]
    Unreachable(#[source] kube::Error),
}

/// Longest wait for an answer.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// An answer, if it comes in time.
pub async fn in_time<T>(answer: impl Future<Output = Result<T, WriteError>>) -> Result<T, WriteError> {
    timeout(PATIENCE, answer).await.unwrap_or(Err(WriteError::Timeout))
}

impl From<kube::Error> for WriteError {
    fn from(error: kube::Error) -> Self {
        let kube::Error::Api(source) = error else { return Self::Unreachable(error) };
        match source.code {
            409 => Self::Conflict,
            404 => Self::Gone,
            code @ (401 | 403) => Self::Forbidden { code, source },
            code @ (429 | 500..) => Self::Busy { code, source },
            code => Self::Invalid { code, source },
        }
    }
}

/// Which Service is written, in which version.
#[derive(Debug, Clone, Copy)]
pub struct At<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// `metadata.resourceVersion`.
    pub version: &'a str,
}

/// Writes to an API server.
#[derive(Clone)]
pub struct Writer {
    client: Client,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").finish_non_exhaustive()
    }
}

impl Writer {
    /// Writes by a client that does not repeat requests: see [`super::client::writing`].
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// The client, for objects that other modules write.
    pub(super) fn client(&self) -> Client {
        self.client.clone()
    }

    /// Gives a Service addresses, in this order, and annotations; returns it as it is now.
    pub async fn set_addresses(
        &self,
        at: At<'_>,
        addresses: impl IntoIterator<Item = IpAddr>,
        annotations: &[(&str, &str)],
    ) -> Result<Guarded<core::Service>, WriteError> {
        let body = set_addresses(at, addresses, annotations);
        Ok(self.services(at).patch_status(at.name, &applying(), &Patch::Apply(body)).await?)
    }

    /// Takes annotations away from a Service and, with `addresses`, all of its addresses.
    pub async fn take_away(
        &self,
        at: At<'_>,
        annotations: &[&str],
        addresses: bool,
    ) -> Result<Guarded<core::Service>, WriteError> {
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let body = take_away(at, annotations, addresses);
        Ok(self.services(at).patch_status(at.name, &params, &Patch::Merge(body)).await?)
    }

    /// Writes how full a pool is.
    pub async fn pool_status(
        &self,
        namespace: &str,
        name: &str,
        status: &IPAddressPoolStatus,
    ) -> Result<Guarded<IPAddressPool>, WriteError> {
        let body = json!({
            "apiVersion": crd::API_VERSION, "kind": "IPAddressPool", "metadata": {"name": name}, "status": status,
        });
        let api = Api::namespaced(self.client(), namespace);
        Ok(api.patch_status(name, &applying(), &Patch::Apply(body)).await?)
    }

    /// Writes what a component makes of the configuration; makes the object first if it is not there.
    pub async fn configuration_state(
        &self,
        namespace: &str,
        name: &str,
        component: &str,
        status: &ConfigurationStateStatus,
        exists: bool,
    ) -> Result<Guarded<ConfigurationState>, WriteError> {
        let api: Api<Guarded<ConfigurationState>> = Api::namespaced(self.client(), namespace);
        let (version, kind) = (crd::API_VERSION, "ConfigurationState");
        if !exists {
            let metadata = json!({"name": name, "labels": {COMPONENT: component}});
            let body = json!({"apiVersion": version, "kind": kind, "metadata": metadata});
            api.patch(name, &applying(), &Patch::Apply(body)).await?;
        }
        let body = json!({"apiVersion": version, "kind": kind, "metadata": {"name": name}, "status": status});
        Ok(api.patch_status(name, &applying(), &Patch::Apply(body)).await?)
    }

    fn services(&self, at: At<'_>) -> Api<Guarded<core::Service>> {
        Api::namespaced(self.client(), at.namespace)
    }
}

/// Applies even where another manager, such as MetalLB, owns the fields.
fn applying() -> PatchParams {
    PatchParams::apply(FIELD_MANAGER).force()
}

fn set_addresses(
    at: At<'_>,
    addresses: impl IntoIterator<Item = IpAddr>,
    annotations: &[(&str, &str)],
) -> Value {
    let ingress: Vec<Value> =
        addresses.into_iter().map(|ip| json!({"ip": ip.to_string(), "ipMode": "VIP"})).collect();
    let annotations: Map<String, Value> =
        annotations.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": at.name, "resourceVersion": at.version, "annotations": annotations},
        "status": {"loadBalancer": {"ingress": ingress}},
    })
}

fn take_away(at: At<'_>, annotations: &[&str], addresses: bool) -> Value {
    let annotations: Map<String, Value> =
        annotations.iter().map(|name| ((*name).to_owned(), Value::Null)).collect();
    let mut body = json!({"metadata": {"resourceVersion": at.version, "annotations": annotations}});
    if addresses {
        body["status"] = json!({"loadBalancer": {"ingress": null}});
    }
    body
}
