//! `barelb check`: is this node fit to announce, and what to change if not. Changes nothing and sends nothing.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Args;

use super::{Output, Places, print};

mod facts;
mod gather;
mod rivals;
mod rows;

pub use rows::{Level, Row};

/// Arguments of `barelb check`.
#[derive(Debug, Args)]
pub struct Check {
    /// Look at this interface; may be given several times [default: each that an agent would use].
    #[arg(long = "interface", value_name = "NAME", value_delimiter = ',')]
    interfaces: Vec<String>,
    /// How long to listen for a broadcast frame on each interface; 0 = not at all.
    #[arg(long, value_name = "SECONDS", default_value_t = 2)]
    listen: u8,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
    #[command(flatten)]
    places: Places,
}

impl Check {
    /// Prints one row per check; exit code 1 when one failed.
    pub fn run(self) -> Result<ExitCode> {
        let listen = Duration::from_secs(self.listen.into());
        let rows = rows::rows(&gather::facts(&self.interfaces, listen, &self.places)?);
        print(self.output.render(&rows, |_wide| rows::text(&rows))?)?;
        let failed = rows.iter().any(|row| row.level == Level::Fail);
        Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}
