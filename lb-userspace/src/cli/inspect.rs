//! `barelb inspect`: what this node answers, for whom, and until when; from the pinned maps, also without an agent.

use std::net::IpAddr;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;

use super::{Output, Places, print};
use crate::dataplane::ebpf::{Pins, View};
use crate::net::clock::boot_time_ns;

mod gather;
mod report;
mod table;

/// Arguments of `barelb inspect`.
#[derive(Debug, Args)]
pub struct Inspect {
    /// Show these addresses only.
    addresses: Vec<IpAddr>,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
    #[command(flatten)]
    places: Places,
}

impl Inspect {
    /// Prints the report.
    pub fn run(self) -> Result<ExitCode> {
        let pins = Pins::new(&self.places.bpffs);
        let view = View::open(pins.root()).with_context(|| {
            format!(
                "no maps of BareLB below {}: has an agent run here with this --bpffs, and are you root?",
                pins.root().display()
            )
        })?;
        let state = gather::state(&self.places.state_dir);
        let report = gather::report(&view, &pins, state, &self.addresses, boot_time_ns())?;
        print(self.output.render(&report, |wide| table::text(&report, wide))?)?;
        Ok(ExitCode::SUCCESS)
    }
}
