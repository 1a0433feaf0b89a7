//! The way to a cluster, as all verbs that ask one take it.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use tokio::runtime::{Builder, Runtime};

use crate::k8s::client;
use crate::source::kubernetes::Client;

/// Where the cluster is, and where in it.
#[derive(Clone, Debug, Args)]
pub struct Access {
    /// Where the API server is [default: $KUBECONFIG, ~/.kube/config or the pod's ServiceAccount].
    #[arg(long, value_name = "FILE", global = true)]
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig [default: the current one].
    #[arg(long, value_name = "NAME", global = true)]
    pub context: Option<String>,
    /// Namespace of MetalLB's objects, the agents and their Leases.
    #[arg(
        id = "system-namespace",
        long = "system-namespace",
        env = "LB_NAMESPACE",
        value_name = "NS",
        default_value = "metallb-system",
        value_parser = namespace,
        global = true
    )]
    pub namespace: String,
}

impl Access {
    /// A client that asks once.
    pub async fn client(&self) -> Result<Client> {
        let config = client::configuration_of(self.kubeconfig.as_deref(), self.context.as_deref()).await?;
        client::writing(&config).with_context(|| format!("going by {}", self.place()))
    }

    /// By what it is gone, for a person.
    pub fn place(&self) -> String {
        client::place(self.kubeconfig.as_deref())
    }
}

/// The name of a namespace: it becomes part of a path.
pub(super) fn namespace(text: &str) -> Result<String, String> {
    let is_of_label = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !text.is_empty() && text.len() <= 63 && text.chars().all(is_of_label) {
        Ok(text.to_owned())
    } else {
        Err("a namespace is called by small letters, digits and - : `kubectl get namespaces` lists them"
            .to_owned())
    }
}

/// For a verb that asks a few things and ends.
pub fn runtime() -> Result<Runtime> {
    Builder::new_current_thread().enable_all().build().context("starting the asynchronous runtime")
}
