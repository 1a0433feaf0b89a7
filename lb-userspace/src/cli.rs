//! The command line: one file per verb.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::{self, ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use serde::Serialize;

pub mod access;
mod age;
pub mod agent;
mod ask;
pub mod bundle;
mod called;
pub mod check;
pub mod completion;
pub mod controller;
pub mod crds;
pub mod detach;
pub mod drain;
mod duration;
pub mod explain;
mod format;
pub mod inspect;
mod look;
pub mod man;
pub mod migrate;
pub mod plan;
pub mod seccomp;
mod sessions;
pub mod status;
mod table;
pub mod top;
pub mod trace;

pub use called::run;

/// Layer-2 load balancer for bare-metal Kubernetes: ARP and neighbour discovery answered in XDP.
#[derive(Debug, Parser)]
#[command(name = "barelb", version, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Announce addresses from this node.
    Agent(Box<agent::Agent>),
    /// Give Services their addresses, in a cluster.
    Controller(Box<controller::Controller>),
    /// Show entries, counters, deadlines, mode, pins and problems of this node.
    Inspect(inspect::Inspect),
    /// Say whether this node is fit to announce, and what to change if not.
    Check(check::Check),
    /// Show which node answers for each address: Services, interface, MAC, mode, since when, how often it is asked.
    Status(status::Status),
    /// Follow which addresses are asked for, live, on a terminal.
    Top(top::Top),
    /// Say which node answers for an address, and why not another one: every decision with the rule that made it.
    Explain(explain::Explain),
    /// Say what would change for whom if objects were applied or deleted: who loses, gets, changes, moves.
    Plan(plan::Plan),
    /// Follow events and sampled requests for an address.
    Trace(trace::Trace),
    /// Remove programs and pins from this node.
    Detach(detach::Detach),
    /// Have a node of the cluster hand its addresses over to others, or let it own some again.
    Drain(drain::Drain),
    /// Print the custom resource definitions as YAML, for `kubectl apply --server-side -f -`.
    Crds(crds::Crds),
    /// Print the seccomp profile of the agent, for a kubelet's folder.
    Seccomp(seccomp::Seccomp),
    /// Turn a ConfigMap of MetalLB 0.9 to 0.12 into custom resources.
    Migrate(migrate::Migrate),
    /// Collect what is needed to find out what is wrong with a cluster, secrets left out, into an archive.
    Bundle(bundle::Bundle),
    /// Print the script by which a shell completes command lines.
    Completion(completion::Completion),
    /// Print a manual page, or write all of them into a folder.
    Man(man::Man),
}

/// Where an agent keeps what outlives it.
#[derive(Clone, Debug, Args)]
pub struct Places {
    /// BPF file system that holds the pinned maps and links; `barelb` is a folder in it.
    #[arg(long, env = "LB_BPFFS", value_name = "DIR", default_value = "/sys/fs/bpf")]
    pub bpffs: PathBuf,
    /// Folder for the agent's admin socket and its memory.
    #[arg(long, env = "LB_STATE_DIR", value_name = "DIR", default_value = "/run/barelb")]
    pub state_dir: PathBuf,
}

/// How a reading verb prints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// Tables for people.
    #[default]
    Table,
    /// The same with more columns.
    Wide,
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

impl Output {
    /// `value` for programs, or what `table` makes for people: true asks for more columns.
    fn render<T: Serialize>(self, value: &T, table: impl Fn(bool) -> String) -> anyhow::Result<String> {
        Ok(match self {
            Self::Table => table(false),
            Self::Wide => table(true),
            Self::Json => serde_json::to_string_pretty(value)? + "\n",
            Self::Yaml => serde_saphyr::to_string(value)?,
        })
    }
}

/// Writes to standard output; false when nobody reads any more, which is no fault (`barelb inspect | head`).
fn print(text: impl Display) -> io::Result<bool> {
    let mut out = io::stdout().lock();
    match out.write_all(harmless(&text.to_string()).as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        done => done.map(|()| true),
    }
}

/// Writes to standard error.
fn complain(text: impl Display) -> io::Result<()> {
    io::stderr().lock().write_all(harmless(&text.to_string()).as_bytes())
}

/// A text without what a terminal obeys: somebody else may have written it, into an annotation perhaps.
fn harmless(text: &str) -> Cow<'_, str> {
    let obeyed = |character: char| character.is_control() && !matches!(character, '\n' | '\t');
    if !text.contains(obeyed) {
        return Cow::Borrowed(text);
    }
    let mut harmless = String::with_capacity(text.len());
    for character in text.chars() {
        if obeyed(character) {
            harmless.extend(character.escape_default());
        } else {
            harmless.push(character);
        }
    }
    Cow::Owned(harmless)
}

impl Cli {
    /// Runs the verb.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Agent(verb) => verb.run(),
            Command::Controller(verb) => verb.run(),
            Command::Inspect(verb) => verb.run(),
            Command::Check(verb) => verb.run(),
            Command::Status(verb) => verb.run(),
            Command::Top(verb) => verb.run(),
            Command::Explain(verb) => verb.run(),
            Command::Plan(verb) => verb.run(),
            Command::Trace(verb) => verb.run(),
            Command::Detach(verb) => verb.run(),
            Command::Drain(verb) => verb.run(),
            Command::Crds(verb) => verb.run(),
            Command::Seccomp(verb) => verb.run(),
            Command::Migrate(verb) => verb.run(),
            Command::Bundle(verb) => verb.run(),
            Command::Completion(verb) => verb.run(),
            Command::Man(verb) => verb.run(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_written_as_what_it_is() {
        assert_eq!(harmless("a\tä\n"), "a\tä\n");
        assert_eq!(harmless("a\u{1b}]0;x\u{7}\r\u{9b}2J"), "a\\u{1b}]0;x\\u{7}\\r\\u{9b}2J");
    }
}
