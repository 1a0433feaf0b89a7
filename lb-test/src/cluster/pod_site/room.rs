//! What makes a network namespace a machine for kubelets: mounts, processes and cgroups that are its own.
//!
//! Each node needs its own `/run`, `/var/lib`, `/dev` and BPF file system at the places that manifests name, and what runs
//! there must not reach those of this machine. All of that is done by `room/enter.sh`, the first process of the node. It has
//! a process namespace too: nothing that runs on the node outlives it, whoever is the parent.

use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::namespace::Namespace;
use crate::process::Process;
use crate::scratch::Scratch;
use crate::sweep;

const ENTER: &str = include_str!("room/enter.sh");
const LIMIT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(5);

/// A machine in a namespace; all that runs there ends with it, and nothing of it stays.
#[derive(Debug)]
pub(super) struct Room {
    // The parent of the first process.
    outside: Process,
    first: u32,
    namespace: Namespace,
    folder: Scratch,
}

impl Room {
    /// A machine of this name with the network of `namespace`.
    pub(super) fn new(namespace: &Namespace, name: &str) -> Result<Self> {
        let folder = Scratch::new(name)?;
        let script = folder.join("enter.sh");
        fs::write(&script, ENTER)?;
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}/{}", sweep::NETNS, namespace.name()));
        command.args(["unshare", "--mount", "--pid", "--uts", "--fork", "--kill-child", "sh"]);
        command.arg(&script).arg(folder.path()).arg(name);
        let mut outside = Process::spawn_in(&mut command, &folder.join("room.log"), Some(namespace.clone()))?;
        let deadline = Instant::now() + LIMIT;
        while !folder.join("lib/ready").exists() {
            let is_waiting = outside.is_running() && Instant::now() < deadline;
            ensure!(is_waiting, "{name} is not made: {}", outside.tail());
            thread::sleep(POLL);
        }
        let first = child_of(outside.pid())?;
        let room = Self { outside, first, namespace: namespace.clone(), folder };
        sweep::make_cgroups(namespace.name())?;
        Ok(room)
    }

    /// `program` as it will run there.
    pub(super) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--target={}", self.first)).args(["--mount", "--pid", "--uts", "--net"]);
        command.arg(program);
        command
    }

    /// Starts what [`Room::command`] made, with a log of this name.
    pub(super) fn spawn(&self, command: &mut Command, log: &str) -> Result<Process> {
        Process::spawn_in(command, &self.folder.join(log), Some(self.namespace.clone()))
    }

    /// What is `/var/lib/NAME` there.
    pub(super) fn lib(&self, name: &str) -> PathBuf {
        self.folder.join("lib").join(name)
    }

    /// The cgroup that all of its containers are below. The sweep knows it by its name.
    pub(super) fn cgroup(&self) -> String {
        format!("/{}", self.namespace.name())
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        drop(self.outside.kill());
        // The first process is reaped after all others of its namespace.
        let deadline = Instant::now() + LIMIT;
        while is_alive(self.first) && Instant::now() < deadline {
            thread::sleep(POLL);
        }
        sweep::remove_cgroups(self.namespace.name());
    }
}

/// The only child of a process.
pub(super) fn child_of(pid: u32) -> Result<u32> {
    let file = format!("/proc/{pid}/task/{pid}/children");
    let children = fs::read_to_string(&file).with_context(|| format!("cannot read {file}"))?;
    children.trim().parse().with_context(|| format!("process {pid} has the children {children:?}"))
}

fn is_alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, fields)| !fields.starts_with('Z'))
}
