//! How controller and agents are run: with the identity and the capabilities that the manifests give their containers.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::agent::barelb;
use crate::namespace::Namespace;
use crate::scratch::Scratch;

/// What the manifests give an agent, by the names of setpriv(1). A controller has none.
pub const CAPABILITIES: [&str; 4] = ["bpf", "net_admin", "perfmon", "net_raw"];
/// The user and group of the controller.
const USER: &str = "65532";

/// The binary under test, at a place that a process without rights over others' files can reach: it may be in a home
/// that is closed to them.
#[derive(Debug)]
pub(super) struct Image {
    folder: Scratch,
}

impl Image {
    pub(super) fn new() -> Result<Self> {
        let image = Self { folder: Scratch::new("image")? };
        let (from, to) = (barelb()?, image.binary());
        if fs::hard_link(&from, &to).is_err() {
            fs::copy(&from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
        }
        Ok(image)
    }

    pub(super) fn binary(&self) -> PathBuf {
        self.folder.join("barelb")
    }

    /// `barelb agent` as root with [`CAPABILITIES`].
    pub(super) fn agent(&self, machine: &Namespace) -> Command {
        let allowed = CAPABILITIES.map(|name| format!(",+{name}")).concat();
        let mut command = machine.command("setpriv");
        command.arg(format!("--bounding-set=-all{allowed}")).arg("--no-new-privs");
        command.arg(self.binary()).arg("agent");
        command
    }

    /// `barelb controller` as a user without capabilities.
    pub(super) fn controller(&self, machine: &Namespace) -> Command {
        let mut command = machine.command("setpriv");
        command.args(["--reuid", USER, "--regid", USER, "--clear-groups", "--bounding-set=-all"]);
        command.arg("--no-new-privs").arg(self.binary()).arg("controller");
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rig::workspace;

    fn manifest(file: &str) -> String {
        fs::read_to_string(workspace().join("manifests/base").join(file)).unwrap()
    }

    #[test]
    fn identity_and_capabilities_are_those_of_the_manifests() {
        let agent = manifest("agent/daemonset.yaml");
        let names = CAPABILITIES.map(str::to_uppercase).join(", ");
        for words in ["runAsUser: 0", "drop: [ALL]", &format!("add: [{names}]")] {
            assert!(agent.contains(words), "{words}");
        }
        let controller = manifest("controller/deployment.yaml");
        let [user, group] = ["User", "Group"].map(|what| format!("runAs{what}: {USER}"));
        for words in [&user, &group, "drop: [ALL]"] {
            assert!(controller.contains(words), "{words}");
        }
        assert!(!controller.contains("add: ["));
    }
}
