//! `barelb seccomp`: print the seccomp profile of the agent.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;

/// What the kubelet of a node is given: the calls that runtimes permit by default, and those that load programs.
const PROFILE: &str = include_str!("../../../manifests/overlays/seccomp/barelb-agent.json");

/// Arguments of `barelb seccomp`.
#[derive(Debug, Args)]
pub struct Seccomp {
    /// Write it to this file instead, for example /var/lib/kubelet/seccomp/profiles/barelb-agent.json.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Seccomp {
    /// Prints or writes it.
    pub fn run(self) -> Result<ExitCode> {
        match self.output {
            Some(file) => write(&file).with_context(|| format!("writing {}", file.display()))?,
            None => _ = super::print(PROFILE)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// At its place only when complete: a runtime may read it at any moment.
fn write(file: &Path) -> io::Result<()> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    let new = file.with_extension("new");
    fs::write(&new, PROFILE)?;
    fs::rename(&new, file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn it_permits_programs_and_nothing_that_changes_the_node() {
        let profile: Value = serde_json::from_str(PROFILE).unwrap();
        assert_eq!(profile["defaultAction"], "SCMP_ACT_ERRNO");
        let rules = profile["syscalls"].as_array().unwrap();
        let permits = |name: &str| {
            let named = |rule: &&Value| rule["names"].as_array().unwrap().iter().any(|one| one == name);
            let rules: Vec<_> = rules.iter().filter(named).collect();
            assert!(rules.iter().all(|rule| rule["action"] == "SCMP_ACT_ALLOW"), "{name}");
            (!rules.is_empty(), rules.iter().all(|rule| rule["args"].is_array()))
        };
        for name in ["bpf", "perf_event_open", "execve", "futex", "sendmsg", "capset"] {
            assert_eq!(permits(name), (true, false), "{name}");
        }
        for name in ["socket", "clone", "personality"] {
            assert_eq!(permits(name), (true, true), "{name} only with some arguments");
        }
        for name in ["mount", "setns", "unshare", "clone3", "ptrace", "init_module", "kexec_load", "reboot"] {
            assert!(!permits(name).0, "{name}");
        }
        // AF_UNIX, AF_INET, AF_INET6, AF_NETLINK, AF_PACKET.
        let sockets = rules.iter().filter(|rule| rule["names"] == serde_json::json!(["socket"]));
        let families: Vec<_> = sockets.map(|rule| rule["args"][0]["value"].as_u64().unwrap()).collect();
        assert_eq!(families, [1, 2, 10, 16, 17]);
    }

    #[test]
    fn it_is_written_whole_also_over_another_one() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("profiles/barelb-agent.json");
        for _ in 0..2 {
            write(&file).unwrap();
            assert_eq!(fs::read_to_string(&file).unwrap(), PROFILE);
            fs::write(&file, "{}").unwrap();
        }
        assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 1);
    }
}
