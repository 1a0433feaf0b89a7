//! Runs `barelb agent --standalone` in a namespace, as a process of its own.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::namespace::Namespace;
use crate::process::Process;
use crate::rig::workspace;
use crate::run;

const POLL: Duration = Duration::from_millis(10);

/// The binary under test: `BARELB_BIN`, or what cargo left in this workspace, release before debug.
pub fn barelb() -> Result<PathBuf> {
    if let Some(given) = env::var_os("BARELB_BIN").map(PathBuf::from) {
        ensure!(given.is_file(), "BARELB_BIN names {}, which is no file", given.display());
        return Ok(given);
    }
    let target = workspace().join("target");
    let candidates = [target.join("release/barelb"), target.join("debug/barelb")];
    candidates.into_iter().find(|path| path.is_file()).with_context(|| {
        format!("no barelb under {}: run `cargo xtask build`, or name one by BARELB_BIN", target.display())
    })
}

/// How to start an agent.
#[derive(Clone, Debug)]
pub struct AgentConfig {
    /// Where it runs.
    pub namespace: Namespace,
    /// `--interface`.
    pub interface: String,
    /// `--node-name`.
    pub node: String,
    /// `--standalone`: the folder with the manifests; the agent writes `status/` there.
    pub manifests: PathBuf,
    /// `--bpffs`.
    pub bpffs: PathBuf,
    /// `--state-dir`; the log is kept there too, as `agent.log`.
    pub state: PathBuf,
    /// `--xdp-mode`.
    pub mode: String,
    /// `--grace`, as written on the command line; `None` leaves the default.
    pub grace: Option<String>,
    /// Further arguments.
    pub extra: Vec<String>,
    /// The binary; see [`barelb`].
    pub binary: PathBuf,
}

impl AgentConfig {
    /// An agent in native mode with the default grace. The peer of `interface` then needs a
    /// [`crate::rig::PassProgram`].
    pub fn new(
        namespace: &Namespace,
        interface: &str,
        node: &str,
        manifests: &Path,
        bpffs: &Path,
        state: &Path,
    ) -> Result<Self> {
        Ok(Self {
            namespace: namespace.clone(),
            interface: interface.to_owned(),
            node: node.to_owned(),
            manifests: manifests.to_owned(),
            bpffs: bpffs.to_owned(),
            state: state.to_owned(),
            mode: "native".to_owned(),
            grace: None,
            extra: Vec::new(),
            binary: barelb()?,
        })
    }

    /// The file that captures both output streams.
    pub fn log_file(&self) -> PathBuf {
        self.state.join("agent.log")
    }

    /// The command that starts it, as a person would type it.
    pub fn command_line(&self) -> String {
        run::command_line(&self.command())
    }

    /// A command that looks at it (`inspect`, `check` or `trace`), as a person would type it.
    pub fn look_line(&self, verb: &str, arguments: &[&str]) -> String {
        run::command_line(self.look(verb).args(arguments))
    }

    fn command(&self) -> Command {
        let mut command = self.namespace.command(&self.binary);
        // What a user sees; a developer's shell may ask for more.
        command.arg("agent").args(self.arguments()).env_remove("RUST_BACKTRACE");
        command
    }

    fn look(&self, verb: &str) -> Command {
        let mut command = self.namespace.command(&self.binary);
        command.args([verb, "--bpffs"]).arg(&self.bpffs).arg("--state-dir").arg(&self.state);
        command
    }

    fn arguments(&self) -> Vec<String> {
        let path = |path: &Path| path.to_string_lossy().into_owned();
        let mut arguments: Vec<String> = [
            ["--standalone".to_owned(), path(&self.manifests)],
            ["--interface".to_owned(), self.interface.clone()],
            ["--node-name".to_owned(), self.node.clone()],
            ["--bpffs".to_owned(), path(&self.bpffs)],
            ["--state-dir".to_owned(), path(&self.state)],
            ["--xdp-mode".to_owned(), self.mode.clone()],
        ]
        .concat();
        if let Some(grace) = &self.grace {
            arguments.extend(["--grace".to_owned(), grace.clone()]);
        }
        arguments.extend(self.extra.iter().cloned());
        arguments
    }
}

/// A running agent; killed with SIGKILL on drop, which leaves its pins in the bpffs.
#[derive(Debug)]
pub struct Agent {
    config: AgentConfig,
    process: Process,
}

impl Agent {
    /// Starts it and returns at once; see [`Agent::wait_ready`].
    pub fn start(config: &AgentConfig) -> Result<Self> {
        fs::create_dir_all(&config.state)?;
        let process = config.namespace.spawn_command(&mut config.command(), &config.log_file())?;
        Ok(Self { config: config.clone(), process })
    }

    /// The process, to send signals to.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// The process, for signals that do not end it.
    pub fn process_ref(&self) -> &Process {
        &self.process
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// How it was started.
    pub fn config(&self) -> &AgentConfig {
        &self.config
    }

    /// Everything the agents with this state folder have logged.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Where it writes what it assigned.
    pub fn status_dir(&self) -> PathBuf {
        self.config.manifests.join("status")
    }

    /// The addresses it has assigned, by `namespace.name` of the Service.
    pub fn ingress(&self) -> BTreeMap<String, Vec<IpAddr>> {
        let files = fs::read_dir(self.status_dir()).into_iter().flatten().flatten();
        let services = files.filter_map(|file| {
            let path = file.path();
            let name = path.file_name()?.to_str()?.strip_suffix(".yaml")?.to_owned();
            // problems.yaml is of no Service: their files are named namespace.name.
            name.contains('.').then_some(())?;
            Some((name, ingress_addresses(&fs::read_to_string(&path).ok()?)))
        });
        services.collect()
    }

    /// Waits until it has assigned an address to at least one Service.
    pub fn wait_ready(&mut self, limit: Duration) -> Result<()> {
        self.wait_until(limit, "no Service has an address", |agent| {
            agent.ingress().values().any(|addresses| !addresses.is_empty())
        })
    }

    /// Waits until `ready` holds. The error says `missing` and ends with the last lines of the log.
    pub fn wait_until(
        &mut self,
        limit: Duration,
        missing: &str,
        ready: impl Fn(&Self) -> bool,
    ) -> Result<()> {
        let deadline = Instant::now() + limit;
        while !ready(self) {
            if let Some(status) = self.process.wait(Duration::ZERO)? {
                bail!(
                    "the agent of {} ended with {status}; its log ends:\n{}",
                    self.config.node,
                    self.log_tail()
                );
            }
            if Instant::now() >= deadline {
                bail!(
                    "{missing} after {limit:?} on {}; the agent's log ends:\n{}",
                    self.config.node,
                    self.log_tail()
                );
            }
            thread::sleep(POLL);
        }
        Ok(())
    }

    /// `barelb inspect` for this node: its standard output.
    pub fn inspect(&self, arguments: &[&str]) -> Result<String> {
        run::output(self.config.look("inspect").args(arguments))
    }

    fn log_tail(&self) -> String {
        self.process.tail()
    }
}

/// The `ip:` fields of a Service status. The files are ours and small, so no YAML parser is asked: a test must
/// not depend on the code under test to read them.
fn ingress_addresses(status: &str) -> Vec<IpAddr> {
    let fields = status.lines().filter_map(|line| line.trim().trim_start_matches("- ").strip_prefix("ip:"));
    fields.filter_map(|value| value.trim().trim_matches(['"', '\'']).parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_from_a_status() {
        let status = "status:\n  loadBalancer:\n    ingress:\n    - ip: 192.0.2.100\n    - ipMode: VIP\n      ip: \"2001:db8::64\"\n";
        let expected: Vec<IpAddr> = vec!["192.0.2.100".parse().unwrap(), "2001:db8::64".parse().unwrap()];
        assert_eq!(ingress_addresses(status), expected);
        assert_eq!(ingress_addresses("status:\n  loadBalancer: {}\n"), Vec::<IpAddr>::new());
    }
}
