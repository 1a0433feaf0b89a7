//! The agent from its start to its end: capabilities, the lock of one agent per bpffs, and what is left behind.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use lb_core::ids::{LinkName, NodeName};

use super::metrics::{Metrics, Telemetry};
use super::prober::FailoverSettings;
use super::source::Source;
use super::task::Agent;
use crate::dataplane::ModeChoice;
use crate::dataplane::ebpf::{self, Pins};
use crate::net::capabilities::{Capabilities, Capability};
use crate::net::lock::DirLock;

/// What an agent leaves behind when it is told to end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum OnExit {
    /// The data plane, which answers on for the grace: the end is taken for a restart.
    #[default]
    Keep,
    /// Nothing: addresses are no longer answered when the process ends.
    Withdraw,
}

/// How the agent runs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Name of this node.
    pub node: NodeName,
    /// Links to announce on; empty = all that are not excluded.
    pub interfaces: BTreeSet<LinkName>,
    /// Nodes with the exclude label take part all the same.
    pub ignore_exclude_label: bool,
    /// `--xdp-mode`.
    pub mode: ModeChoice,
    /// BPF file system.
    pub bpffs: PathBuf,
    /// Folder of the admin socket.
    pub state_dir: PathBuf,
    /// Folder with the secret that all agents have, for [`super::secret`]; `None`: there is none.
    pub secret_dir: Option<PathBuf>,
    /// How long the data plane answers without the agent.
    pub grace: Duration,
    /// How nodes watch each other.
    pub failover: FailoverSettings,
    /// A node that is cordoned hands over what it owns.
    pub leaves_on_cordon: bool,
    /// `--on-exit`.
    pub on_exit: OnExit,
    /// Size of the maps.
    pub max_vips: u32,
    /// Announcement frames a second.
    pub announce_rate: NonZeroU32,
    /// Announce again this often; `None`: only when something has changed.
    pub announce_interval: Option<Duration>,
    /// Show the outcome of each frame in the log (a build with the feature `frame-log`).
    pub frame_log: bool,
}

/// Runs the agent until it is told to end.
pub async fn run(settings: Settings, source: Source, telemetry: Telemetry) -> Result<()> {
    check_capabilities()?;
    // Who stands by may find its port taken by the one that it is to follow.
    let early = telemetry.answer();
    let lock = stand_by(&settings, &telemetry.metrics).await?;
    let endpoint = telemetry.answer_after(early).await?;
    let mut agent = Agent::start(settings, source, telemetry.metrics)?;
    let served = agent.serve().await;
    let ended = agent.end().await;
    // The one that stands by makes the admin socket anew and takes the port, so ours must have gone before it gets the
    // lock.
    drop(endpoint);
    drop(lock);
    served.and(ended)
}

fn check_capabilities() -> Result<()> {
    let needed = [Capability::Bpf, Capability::NetAdmin, Capability::Perfmon, Capability::NetRaw];
    let missing = Capabilities::read().context("reading the capabilities of this process")?.missing(&needed);
    if !missing.is_empty() {
        let names: Vec<String> = missing.iter().map(ToString::to_string).collect();
        bail!(
            "this process lacks {}: run it as root, or give it {} (securityContext.capabilities.add in a pod)",
            names.join(", "),
            needed.map(|capability| capability.to_string()).join(", ")
        );
    }
    Ok(())
}

/// Waits until no other agent holds the lock of this bpffs.
async fn stand_by(settings: &Settings, metrics: &Metrics) -> Result<DirLock> {
    let pins = Pins::new(&settings.bpffs);
    ebpf::check_bpffs(&settings.bpffs)?;
    let mut told = false;
    loop {
        // Again each time: `barelb detach --all` removes them.
        pins.create()?;
        if let Some(lock) = DirLock::try_acquire(pins.root()).context("locking the BPF file system")? {
            return Ok(lock);
        }
        if !told {
            tracing::info!(path = %pins.root().display(), "another agent holds the lock; standing by");
            told = true;
        }
        metrics.standing_by();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
