//! `barelb detach`: remove programs and pins from this node.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::Places;
use crate::dataplane::ebpf::{Pins, check_bpffs};
use crate::net::groups::{GroupReport, Groups, Limits, Wanted};
use crate::net::links;
use crate::net::lock::DirLock;

/// Arguments of `barelb detach`.
#[derive(Debug, Args)]
pub struct Detach {
    /// Remove the maps too: nothing of BareLB is left on the node.
    #[arg(long)]
    all: bool,
    /// Stay after that until told to end, as the pods of a DaemonSet have to.
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    places: Places,
}

impl Detach {
    /// Detaches and says what it removed.
    #[expect(clippy::print_stdout, reason = "the answer of a command")]
    pub fn run(self) -> Result<ExitCode> {
        check_bpffs(&self.places.bpffs)?;
        let pins = Pins::new(&self.places.bpffs);
        // Without the folder there is nothing to lock; groups may still be there from before.
        let lock = if pins.root().exists() { Some(self.lock(&pins)?) } else { None };
        let names = links::list().unwrap_or_default();
        let detached = pins.remove_links()?;
        for link in &detached {
            let name = names.get(&link.0).map_or("gone meanwhile", |link| link.name.as_str());
            println!("detached from interface {} ({name})", link.0);
        }
        if detached.is_empty() {
            println!("nothing was attached");
        }
        let left = leave_groups()?;
        println!("left {} solicited-node groups", left.left_now);
        if self.all {
            pins.remove_all()?;
            pins.remove_folders()?;
            println!("removed {}", pins.root().display());
        } else if !pins.sets().is_empty() {
            println!("the maps are left in {}; remove them with --all", pins.root().display());
        }
        drop(lock);
        if self.wait {
            println!("waiting for SIGTERM");
            wait()?;
        }
        Ok(ExitCode::SUCCESS)
    }

    fn lock(&self, pins: &Pins) -> Result<DirLock> {
        match DirLock::try_acquire(pins.root()).context("locking the BPF file system")? {
            Some(lock) => Ok(lock),
            None => bail!(
                "an agent is running with the BPF file system {}: stop it first, it would attach again",
                self.places.bpffs.display()
            ),
        }
    }
}

/// The first process of a container ends by no signal that it does not listen for.
fn wait() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        Ok(())
    })
}

/// Ends the memberships, and the reception of all multicast if it is ours: nothing answers for them any more.
fn leave_groups() -> Result<GroupReport> {
    let report = Groups::open(Limits::default())?.apply_blocking(&Wanted::default())?;
    match report.errors.iter().next() {
        Some((link, errors)) => {
            let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
            bail!("leaving the solicited-node groups of interface {link}: {}", errors.join("; "))
        }
        None => Ok(report),
    }
}
