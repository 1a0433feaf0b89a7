//! How the thread begins, and how the agent's task waits for it.

use std::future::pending;

use anyhow::{Context, Result};
use lb_core::failover::Start;
use tokio::sync::watch;

use super::{Origin, Prober};
use crate::agent::metrics::Metrics;
use crate::agent::run::Settings;
use crate::agent::sessions::Watching;
use crate::agent::source::Source;
use crate::dataplane::Dataplane;
use crate::dataplane::ebpf::KernelDataplane;
use crate::net::clock::boot_time_ns;
use crate::net::raw::RawSender;

/// Left in the place of an epoch by an agent that must not own anything: the next one begins as new.
pub(in crate::agent) const NO_EPOCH: u32 = u32::MAX;

/// The thread that watches other nodes, where there are any to watch.
pub(in crate::agent) fn start_prober(
    settings: &Settings,
    source: &Source,
    dataplane: &mut KernelDataplane,
    metrics: &Metrics,
) -> Result<Option<Prober>> {
    let (Source::Cluster(cluster), Some(profile)) = (source, settings.failover.profile) else {
        metrics.watching(Watching::Off);
        return Ok(None);
    };
    metrics.watching(Watching::On);
    let is_valid = dataplane.valid_until()? > boot_time_ns();
    let start = match dataplane.epoch()? {
        epoch if is_valid && epoch != NO_EPOCH => Start::Resumed { epoch },
        _ => Start::Fresh,
    };
    let origin = Origin {
        me: settings.node.clone(),
        settings: settings.failover.clone(),
        profile,
        secret_dir: settings.secret_dir.clone(),
        state_dir: settings.state_dir.clone(),
        start,
        heard: cluster.heard(),
        frames: RawSender::open().context("opening the socket for probes")?,
        metrics: metrics.clone(),
        cuts: cluster.cuts(),
        whole: cluster.whole(),
    };
    Prober::start(origin).map(Some)
}

/// Another one after each boot.
pub(in crate::agent) fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default()
}

/// Waits for what the prober sees; an error when it has ended.
pub(in crate::agent) async fn news(prober: &mut Option<Prober>) -> Result<(), watch::error::RecvError> {
    match prober {
        Some(prober) => prober.seen.changed().await,
        None => pending().await,
    }
}
