//! The container image, run by runc as a kubelet and containerd would run it for the manifests.
//!
//! [`Image`] reads what `cargo xtask image` left, [`Pod`] what a manifest says, and [`Container`] is the one run as the
//! other says. Nothing that the manifest says is repeated here: a security context with a field that is not understood
//! is an error.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::namespace::Namespace;
use crate::process::Process;
use crate::run;
use crate::scratch::Scratch;

pub use self::image::{Content, Image};
pub use self::pod::Pod;
pub use self::spec::Rooms;

mod image;
mod pod;
mod spec;

/// How long runc and a signal may take.
const LIMIT: Duration = Duration::from_secs(30);

/// A running container; killed and removed on drop.
#[derive(Debug)]
pub struct Container {
    id: String,
    process: Process,
    // runc writes into it until it ends.
    folder: Scratch,
    // Keeps the namespace until the container is gone.
    _network: Namespace,
}

impl Container {
    /// Runs the first container of `pod`, as `what` tells people, with `image` as its root and `rooms` of its node.
    pub fn start(what: &str, image: &Image, pod: &Pod, rooms: &Rooms) -> Result<Self> {
        let folder = Scratch::new(what)?;
        // Its own name is one that nobody else has.
        let id = folder.path().file_name().context("a folder without a name")?.to_string_lossy().into_owned();
        let root = folder.join("rootfs");
        image.unpack(&root)?;
        let config = spec::config(&id, image.content(), pod, rooms)?;
        fs::write(folder.join("config.json"), serde_json::to_vec_pretty(&config)?)?;
        let mut command = runc(&folder);
        command.arg("run").arg("--bundle").arg(folder.path()).arg(&id);
        let process = Process::spawn(command, &folder.join("log"))?;
        Ok(Self { id, process, folder, _network: rooms.network.clone() })
    }

    /// Runs the image's program with other arguments in the container, as `kubectl exec` does.
    pub fn exec(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = runc(&self.folder);
        command.args(["exec", &self.id, "/barelb"]).args(arguments);
        command.output().with_context(|| format!("cannot start `{}`", run::command_line(&command)))
    }

    /// SIGTERM, as a kubelet sends it.
    pub fn term(&self) -> Result<()> {
        run::output(runc(&self.folder).args(["kill", &self.id, "TERM"])).map(drop)
    }

    /// SIGKILL, and waits until it has gone.
    pub fn kill(&mut self) -> Result<()> {
        run::output(runc(&self.folder).args(["kill", &self.id, "KILL"]))?;
        self.wait().map(drop)
    }

    /// Waits for its end; true when it ended well.
    pub fn wait(&mut self) -> Result<bool> {
        let status = self.process.wait(LIMIT)?;
        Ok(status.with_context(|| format!("it goes on: {}", self.log()))?.success())
    }

    /// Fails, with the end of its log, when it has ended.
    pub fn ensure_running(&mut self) -> Result<()> {
        ensure!(self.process.is_running(), "the container has ended: {}", self.process.tail());
        Ok(())
    }

    /// What it wrote.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// What its first process may do: a line of `/proc/<pid>/status`, without the name.
    pub fn status(&self, name: &str) -> Result<String> {
        let status = self.proc("status")?;
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        Ok(line.with_context(|| format!("no {name} in {status}"))?.trim().to_owned())
    }

    /// Where its first process may write: mount points that are not read-only (proc(5), `mountinfo`), in order.
    pub fn writable(&self) -> Result<BTreeSet<String>> {
        let mounts = self.proc("mountinfo")?;
        let writable = mounts.lines().filter_map(|line| {
            let mut fields = line.split(' ').skip(4);
            let (target, options) = (fields.next()?, fields.next()?);
            options.split(',').any(|option| option == "rw").then(|| target.to_owned())
        });
        Ok(writable.collect())
    }

    /// A file of `/proc/<pid>` of its first process.
    fn proc(&self, file: &str) -> Result<String> {
        let state = run::output(runc(&self.folder).args(["state", &self.id]))?;
        let state: serde_json::Value = serde_json::from_str(&state)?;
        let path = Path::new("/proc").join(state["pid"].to_string()).join(file);
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // It fails when there was no container.
        drop(runc(&self.folder).args(["delete", "--force", &self.id]).output());
    }
}

/// runc, with its state among the files of the container.
fn runc(folder: &Scratch) -> Command {
    let mut command = Command::new("runc");
    command.arg("--root").arg(folder.join("state"));
    command
}
