//! `barelb agent` on the nodes of a cluster, under the rights of manifests/base and no others.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::ControlPlane;
use super::controller::NAMESPACE;
use super::image::Image;
use crate::namespace::Namespace;
use crate::pages::Pages;
use crate::process::Process;
use crate::run;
use crate::scratch::{Bpffs, Scratch};

/// Port of `--metrics-addr`.
const METRICS: u16 = 7475;

/// The files of an agent, which outlive it as those of a node do.
#[derive(Debug)]
pub struct NodeFiles {
    bpffs: Bpffs,
    state: Scratch,
    image: Image,
}

impl NodeFiles {
    /// Of a node that was just installed.
    pub fn new() -> Result<Self> {
        let (bpffs, state) = (Bpffs::new("node-bpffs")?, Scratch::new("node-state")?);
        Ok(Self { bpffs, state, image: Image::new()? })
    }

    /// What to give as `--bpffs`.
    pub fn bpffs(&self) -> &Path {
        self.bpffs.path()
    }

    /// What to give as `--state-dir`.
    pub fn state(&self) -> &Path {
        self.state.path()
    }

    /// The binary under test.
    pub fn binary(&self) -> PathBuf {
        self.image.binary()
    }

    /// What the agents of the node have logged.
    pub fn log_file(&self) -> PathBuf {
        self.state.join("agent.log")
    }
}

/// The agent of a node; killed on drop, which leaves its pins.
#[derive(Debug)]
pub struct NodeAgent {
    process: Process,
    namespace: Namespace,
    pages: Pages,
    command_line: String,
}

impl NodeAgent {
    /// Starts it on a machine with [`super::CAPABILITIES`] and further arguments. The manifests are installed:
    /// [`ControlPlane::install`].
    pub fn start(
        plane: &ControlPlane,
        machine: &Namespace,
        node: &str,
        files: &NodeFiles,
        arguments: &[&str],
    ) -> Result<Self> {
        Self::start_in(plane, machine, node, files, arguments, &[])
    }

    /// As [`NodeAgent::start`], with these variables in its environment.
    pub fn start_in(
        plane: &ControlPlane,
        machine: &Namespace,
        node: &str,
        files: &NodeFiles,
        arguments: &[&str],
        environment: &[(&str, PathBuf)],
    ) -> Result<Self> {
        let access = plane.service_account(NAMESPACE, "barelb-agent")?;
        let mut command = files.image.agent(machine);
        command.args(["--node-name", node, "--interface", "eth0"]);
        command.arg("--kubeconfig").arg(access.kubeconfig());
        command.arg("--bpffs").arg(files.bpffs()).arg("--state-dir").arg(files.state());
        command.args(["--log", "lb_userspace=debug,info"]).args(arguments).env_remove("RUST_BACKTRACE");
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        let pages = Pages::new(machine, plane.options.loopback(METRICS));
        // On every address, so that the API server gets there too.
        command.arg(format!("--metrics-addr=[::]:{METRICS}"));
        let command_line = run::command_line(&command);
        let process = machine.spawn_command(&mut command, &files.log_file())?;
        Ok(Self { process, namespace: machine.clone(), pages, command_line })
    }

    /// The process, to send signals to.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// The process, for signals that do not end it.
    pub fn process_ref(&self) -> &Process {
        &self.process
    }

    /// The command that starts it, as a person would type it.
    pub fn command_line(&self) -> &str {
        &self.command_line
    }

    /// What the agents of the node have logged.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// The port of its metrics, on every address of its machine.
    pub const METRICS: u16 = METRICS;

    /// What it says of itself.
    pub fn metrics(&self) -> &Pages {
        &self.pages
    }

    /// Where it runs.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Ends it in order, and waits.
    pub fn stop(mut self) -> Result<()> {
        self.process.end()
    }

    /// The end of its log.
    pub fn tail(&self) -> String {
        self.process.tail()
    }
}

impl ControlPlane {
    /// The times in the Leases of the agents, by node: another one is a renewal.
    pub fn renewals(&self) -> Result<Vec<(String, String)>> {
        let leases = self.get(&["leases", "--namespace", NAMESPACE, "--selector", "barelb.io/member"])?;
        let items = leases["items"].as_array().into_iter().flatten();
        let of = |lease: &serde_json::Value| {
            let node = lease["metadata"]["name"].as_str()?.strip_prefix("barelb-node-")?.to_owned();
            Some((node, lease["spec"]["renewTime"].as_str()?.to_owned()))
        };
        Ok(items.filter_map(of).collect())
    }
}
