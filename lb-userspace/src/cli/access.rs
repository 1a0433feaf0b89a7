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

/// For a verb that asks a few things and ends.
pub fn runtime() -> Result<Runtime> {
    Builder::new_current_thread().enable_all().build().context("starting the asynchronous runtime")
}
