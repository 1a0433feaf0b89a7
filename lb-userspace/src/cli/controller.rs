//! `barelb controller`: give Services of type `LoadBalancer` their addresses.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;

use crate::controller::run::{Settings, run};
use crate::telemetry::endpoint;
use crate::telemetry::exposition::Compat;
use crate::telemetry::logging::{self, Logging};

/// Arguments of `barelb controller`.
#[derive(Debug, Args)]
pub struct Controller {
    /// Where the API server is [default: $KUBECONFIG, ~/.kube/config or the pod's ServiceAccount].
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Namespace of MetalLB's objects, of the lease and of the controller's own state.
    #[arg(long, env = "LB_NAMESPACE", value_name = "NS", default_value = "metallb-system")]
    namespace: String,
    /// Name of the v0.9 ConfigMap.
    #[arg(long, env = "LB_CONFIG_MAP", value_name = "NAME", default_value = "config")]
    config_map: String,
    /// Serve Services of this loadBalancerClass, instead of those without one.
    #[arg(long, env = "LB_CLASS", value_name = "CLASS")]
    lb_class: Option<String>,
    /// Answer /metrics, /livez and /readyz here, for example 0.0.0.0:7472 [default: nowhere].
    #[arg(long, env = "LB_METRICS_ADDR", value_name = "ADDRESS", value_parser = endpoint::address)]
    metrics_addr: Option<SocketAddr>,
    /// Whose metrics /metrics has beside our own.
    #[arg(long, env = "LB_METRICS_COMPAT", value_enum, default_value_t)]
    metrics_compat: Compat,
    /// Name of this pod: the first part of the name under which this replica competes for the lease.
    #[arg(long, env = "POD_NAME", value_name = "NAME", hide = true)]
    pod_name: Option<String>,
    #[command(flatten)]
    logging: Logging,
}

impl Controller {
    /// Runs until told to end.
    pub fn run(self) -> Result<ExitCode> {
        logging::start(&self.logging);
        let logging = self.logging.clone();
        logging::ended(&logging, self.allocate())
    }

    fn allocate(self) -> Result<()> {
        let settings = Settings {
            kubeconfig: self.kubeconfig,
            namespace: self.namespace,
            config_map: self.config_map,
            lb_class: self.lb_class,
            metrics: self.metrics_addr,
            compat: self.metrics_compat,
            pod: self.pod_name,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("starting the asynchronous runtime")?;
        let result = runtime.block_on(run(settings));
        runtime.shutdown_background();
        result
    }
}
