//! `barelb agent`: announce addresses from this node.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use lb_core::failover::{Failback, Profile};
use lb_core::ids::{LinkName, NodeName};

use super::{Places, duration};
use crate::agent::{
    Cluster, ClusterRules, ClusterSettings, FailoverSettings, Metrics, OnExit, Settings, Source, Standalone,
    StandaloneSettings, Telemetry, run,
};
use crate::dataplane::ModeChoice;
use crate::telemetry::endpoint;
use crate::telemetry::exposition::Compat;
use crate::telemetry::logging::{self, Logging};

/// What cordoning a node means for its addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum OnCordon {
    /// Nothing, as with MetalLB: `barelb drain` moves them.
    #[default]
    Keep,
    /// They are handed over to other nodes until it is uncordoned.
    Withdraw,
}

/// `--failover-profile`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum FailoverProfile {
    /// Every 10 ms.
    #[default]
    Default,
    /// Every 3 ms, for nodes of one rack.
    Fast,
    /// Not at all: Leases tell.
    Off,
}

impl FailoverProfile {
    fn profile(self) -> Option<Profile> {
        match self {
            Self::Default => Some(Profile::DEFAULT),
            Self::Fast => Some(Profile::FAST),
            Self::Off => None,
        }
    }
}

/// `--failback`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum FailbackChoice {
    /// They do, after a while.
    #[default]
    Auto,
    /// They stay where they are until that node fails.
    Never,
}

/// Arguments of `barelb agent`.
#[derive(Debug, Args)]
pub struct Agent {
    /// Where the API server is [default: $KUBECONFIG, ~/.kube/config or the pod's ServiceAccount].
    #[arg(long, value_name = "FILE", conflicts_with = "standalone")]
    kubeconfig: Option<PathBuf>,
    /// No cluster: Services, pools, advertisements (or the v0.9 ConfigMap) as YAML files in this folder, watched.
    #[arg(long, env = "LB_STANDALONE", value_name = "DIR")]
    standalone: Option<PathBuf>,
    /// Where assigned addresses are written [default: DIR/status].
    #[arg(long, env = "LB_STATUS_DIR", value_name = "DIR", requires = "standalone")]
    status_dir: Option<PathBuf>,
    /// Name of this node [default: the host name].
    #[arg(long, env = "LB_NODE_NAME", value_name = "NAME")]
    node_name: Option<String>,
    /// Announce on this interface only; may be given several times [default: all but virtual ones].
    #[arg(long = "interface", env = "LB_INTERFACE", value_name = "NAME", value_delimiter = ',')]
    interfaces: Vec<String>,
    /// Let nodes take part that have the label node.kubernetes.io/exclude-from-external-load-balancers; the same on all nodes.
    #[arg(long = "ignore-exclude-lb", env = "LB_IGNORE_EXCLUDE_LB")]
    ignore_exclude_label: bool,
    /// How to see the frames of a link.
    #[arg(long, env = "LB_XDP_MODE", value_enum, default_value_t)]
    xdp_mode: ModeChoice,
    #[command(flatten)]
    places: Places,
    /// Folder with the secret that all agents have in common, as the file secretkey [default: none].
    #[arg(long, env = "LB_SECRET_DIR", value_name = "DIR")]
    secret_dir: Option<PathBuf>,
    /// How long the data plane answers without its agent, for example 60s or 2m.
    #[arg(long, env = "LB_GRACE", value_name = "DURATION", default_value = "60s", value_parser = duration::parse)]
    grace: Duration,
    /// What is left behind when the agent is told to end.
    #[arg(long, env = "LB_ON_EXIT", value_enum, default_value_t)]
    on_exit: OnExit,
    /// What happens to the addresses of this node while it is cordoned.
    #[arg(long, env = "LB_ON_CORDON", value_enum, default_value_t, conflicts_with = "standalone")]
    on_cordon: OnCordon,
    /// How nodes find out that one of them is gone: by probes every 10 ms or 3 ms, three of which may be missed, or by
    /// Leases only.
    #[arg(long, env = "LB_FAILOVER_PROFILE", value_enum, default_value_t)]
    failover_profile: FailoverProfile,
    /// Whether addresses go back to a node that has come back.
    #[arg(long, env = "LB_FAILBACK", value_enum, default_value_t)]
    failback: FailbackChoice,
    /// How long a node that has come back waits with that.
    #[arg(long, env = "LB_FAILBACK_AFTER", value_name = "DURATION", default_value = "10s", value_parser = duration::parse)]
    failback_after: Duration,
    /// UDP port on which agents hear each other, beside 7784 (S-BFD).
    #[arg(long, env = "LB_FAILOVER_PORT", value_name = "PORT", default_value_t = 7785, value_parser = clap::value_parser!(u16).range(1..))]
    failover_port: u16,
    /// Probes a second and link at most; with more nodes they are probed less often.
    #[arg(long, env = "LB_FAILOVER_RATE", value_name = "PROBES", default_value_t = 5000, value_parser = clap::value_parser!(u32).range(1..))]
    failover_rate: u32,
    /// Room for this many addresses; sizes every map.
    #[arg(long, env = "LB_MAX_VIPS", value_name = "N", default_value_t = lb_common::abi::DEFAULT_MAX_VIPS,
          value_parser = clap::value_parser!(u32).range(1..=4_000_000))]
    max_vips: u32,
    /// Announcement frames a second at most.
    #[arg(long, env = "LB_ANNOUNCE_RATE", value_name = "FRAMES", default_value_t = lb_core::burst::DEFAULT_RATE)]
    announce_rate: NonZeroU32,
    /// Announce every address again this often, for example 5m [default: only when something has changed].
    #[arg(long, env = "LB_ANNOUNCE_INTERVAL", value_name = "DURATION", value_parser = duration::parse)]
    announce_interval: Option<Duration>,
    /// Namespace of MetalLB's objects.
    #[arg(long, env = "LB_NAMESPACE", value_name = "NS", default_value = "metallb-system")]
    namespace: String,
    /// Name of the v0.9 ConfigMap.
    #[arg(long, env = "LB_CONFIG_MAP", value_name = "NAME", default_value = "config")]
    config_map: String,
    /// Serve Services of this loadBalancerClass, instead of those without one.
    #[arg(long, env = "LB_CLASS", value_name = "CLASS")]
    lb_class: Option<String>,
    /// Answer /metrics, /livez and /readyz here, for example 0.0.0.0:7475 [default: nowhere].
    #[arg(long, env = "LB_METRICS_ADDR", value_name = "ADDRESS", value_parser = endpoint::address)]
    metrics_addr: Option<SocketAddr>,
    /// Whose metrics /metrics has beside our own.
    #[arg(long, env = "LB_METRICS_COMPAT", value_enum, default_value_t)]
    metrics_compat: Compat,
    /// Log the outcome of each ARP and neighbour discovery frame; needs a build with `cargo xtask build --frame-log`.
    #[arg(long, env = "LB_FRAME_LOG")]
    frame_log: bool,
    #[command(flatten)]
    logging: Logging,
}

impl Agent {
    /// Runs until told to end.
    pub fn run(self) -> Result<ExitCode> {
        logging::start(&self.logging);
        let logging = self.logging.clone();
        logging::ended(&logging, self.announce())
    }

    fn announce(self) -> Result<()> {
        if self.frame_log && !cfg!(feature = "frame-log") {
            bail!("this build can't log frames: make one with `cargo xtask build --frame-log`");
        }
        let settings = self.settings()?;
        // One thread: the deadline is moved by the task that keeps the table right, and by nobody else.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("starting the asynchronous runtime")?;
        let result = runtime.block_on(async {
            let class = self.lb_class.clone();
            let telemetry = Telemetry::new(&settings.node, class, self.metrics_addr, self.metrics_compat);
            let source = self.source(&settings, &telemetry.metrics).await?;
            Box::pin(run(settings, source, telemetry)).await
        });
        // A thread that still waits for a disk does not hold up the end.
        runtime.shutdown_background();
        result
    }

    async fn source(&self, settings: &Settings, metrics: &Metrics) -> Result<Source> {
        let Some(directory) = self.standalone.clone() else {
            let cluster = Cluster::new(ClusterSettings {
                kubeconfig: self.kubeconfig.clone(),
                node: settings.node.clone(),
                namespace: self.namespace.clone(),
                config_map: self.config_map.clone(),
                rules: ClusterRules {
                    lb_class: self.lb_class.clone(),
                    leaves_on_cordon: self.on_cordon == OnCordon::Withdraw,
                },
                grace: self.grace,
                state_dir: self.places.state_dir.clone(),
                metrics: metrics.clone(),
            });
            let advice = "finding the cluster; `--standalone DIR` announces without one";
            return Ok(Source::Cluster(Box::new(cluster.await.context(advice)?)));
        };
        let status = self.status_dir.clone().unwrap_or_else(|| directory.join("status"));
        Ok(Source::Directory(Box::new(Standalone::new(StandaloneSettings {
            directory,
            status,
            state: self.places.state_dir.clone(),
            node: settings.node.clone(),
            namespace: self.namespace.clone(),
            config_map: self.config_map.clone(),
            lb_class: self.lb_class.clone(),
        }))))
    }

    fn settings(&self) -> Result<Settings> {
        let node = match &self.node_name {
            Some(name) => name.clone(),
            None => std::fs::read_to_string("/proc/sys/kernel/hostname")
                .context("reading the host name")?
                .trim()
                .to_owned(),
        };
        let link = |name: &String| LinkName::new(name).with_context(|| format!("--interface {name}"));
        Ok(Settings {
            node: NodeName::new(&node).with_context(|| format!("--node-name {node}"))?,
            interfaces: self.interfaces.iter().map(link).collect::<Result<_>>()?,
            ignore_exclude_label: self.ignore_exclude_label,
            mode: self.xdp_mode,
            bpffs: self.places.bpffs.clone(),
            state_dir: self.places.state_dir.clone(),
            secret_dir: self.secret_dir.clone(),
            grace: self.grace,
            failover: FailoverSettings {
                profile: self.failover_profile.profile(),
                failback: match self.failback {
                    FailbackChoice::Auto => Failback::Auto,
                    FailbackChoice::Never => Failback::Never,
                },
                hold_down: self.failback_after,
                port: self.failover_port,
                rate: self.failover_rate,
            },
            leaves_on_cordon: self.on_cordon == OnCordon::Withdraw,
            on_exit: self.on_exit,
            max_vips: self.max_vips,
            announce_rate: self.announce_rate,
            announce_interval: self.announce_interval,
            frame_log: self.frame_log,
        })
    }
}
