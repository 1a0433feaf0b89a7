//! `barelb detach`: remove programs and pins from this node.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;

use super::Places;
use crate::dataplane::ebpf::{Pins, check_bpffs};
use crate::net::groups::{Groups, Limits, Wanted};
use crate::net::lock::DirLock;

/// Arguments of `barelb detach`.
#[derive(Debug, Args)]
pub struct Detach {
    /// Remove the maps and the group memberships too: nothing of BareLB is left on the node.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    places: Places,
}

impl Detach {
    /// Detaches and says what it removed.
    #[expect(clippy::print_stdout, reason = "the answer of a command")]
    pub fn run(self) -> Result<ExitCode> {
        check_bpffs(&self.places.bpffs)?;
        let pins = Pins::new(&self.places.bpffs);
        if !pins.root().exists() {
            println!("nothing to detach: {} does not exist", pins.root().display());
            return Ok(ExitCode::SUCCESS);
        }
        let Some(_lock) = DirLock::try_acquire(pins.root()).context("locking the BPF file system")? else {
            bail!("an agent is running with this BPF file system: stop it first, it would attach again");
        };
        let links = pins.links();
        for link in &links {
            pins.remove_link(*link)?;
            println!("detached from interface {}", link.0);
        }
        if self.all {
            pins.remove_all()?;
            Groups::open(Limits::default())?.apply_blocking(&Wanted::default())?;
            println!("removed the maps and the solicited-node groups");
        } else if links.is_empty() {
            println!("nothing was attached; the maps are left, remove them with --all");
        }
        Ok(ExitCode::SUCCESS)
    }
}
