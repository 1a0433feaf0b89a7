//! `barelb trace ADDRESS`: events and sampled requests, through the agent's admin socket.

use std::io::{BufRead, BufReader, Write};
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;

use super::Places;
use crate::agent::state::{SOCKET, TRACE, Traced};

/// Arguments of `barelb trace`.
#[derive(Debug, Args)]
pub struct Trace {
    /// The address to follow.
    address: IpAddr,
    /// End after this many lines.
    #[arg(long, value_name = "N")]
    count: Option<usize>,
    /// Print the agent's JSON lines as they are.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    places: Places,
}

impl Trace {
    /// Prints until the agent ends or the count is reached.
    #[expect(clippy::print_stdout, reason = "the answer of a command")]
    pub fn run(self) -> Result<ExitCode> {
        let path = self.places.state_dir.join(SOCKET);
        let mut stream = UnixStream::connect(&path).with_context(|| {
            format!("no agent answers at {}: is it running, and is this its --state-dir?", path.display())
        })?;
        writeln!(stream, "{TRACE} {}", self.address)?;
        for line in BufReader::new(stream).lines().take(self.count.unwrap_or(usize::MAX)) {
            let line = line?;
            if self.json {
                println!("{line}");
            } else {
                println!(
                    "{}",
                    text(&serde_json::from_str(&line).context("the agent speaks another version")?)
                );
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// One line for people.
fn text(traced: &Traced) -> String {
    format!(
        "{:>14.6}  {:<12} {:<20} link {} {}  {}  from {} ({})",
        seconds(traced.time_ns),
        traced.kind,
        traced.outcome,
        traced.link,
        traced.vlans,
        traced.ip,
        traced.peer_mac,
        traced.peer
    )
}

#[expect(clippy::cast_precision_loss, reason = "for people; microseconds stay exact for 285 years")]
fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}
