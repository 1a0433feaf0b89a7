//! Debian packages: which are missing, why each is wanted, and their installation.
//!
//! The network is touched only when something is missing.

use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Result, bail};

use crate::process::{ask, find_command, is_root, run};

/// A package and the reason that is shown before it is installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Package {
    /// Debian's name.
    pub(crate) name: &'static str,
    /// A command it brings: how its presence is judged where there is no dpkg.
    pub(crate) command: Option<&'static str>,
    /// Why we want it.
    pub(crate) reason: &'static str,
    /// The command is what counts, whatever package it comes from.
    pub(crate) any: bool,
}

/// A package that is judged by its own name.
pub(crate) const fn package(
    name: &'static str,
    command: Option<&'static str>,
    reason: &'static str,
) -> Package {
    Package { name, command, reason, any: false }
}

/// What the lab and the tests between network namespaces call.
pub(crate) const LAB: &[Package] = &[
    package("iproute2", Some("ip"), "network namespaces and veth pairs"),
    package("bpftool", Some("bpftool"), "typed dumps of the BPF maps"),
    package("arping", Some("arping"), "ARP requests from an independent program"),
    package("ndisc6", Some("ndisc6"), "neighbour solicitations from an independent program"),
    package("nftables", Some("nft"), "DNAT that stands in for kube-proxy"),
    package("curl", Some("curl"), "pages through a virtual address, by hand"),
];

/// What the tests and the benchmark call beyond [`LAB`].
pub(crate) const TEST: &[Package] = &[
    package("iptables", Some("ebtables-nft"), "a contender of the benchmark (ebtables arpreply)"),
    package("farpd", Some("farpd"), "a contender of the benchmark"),
    package("keepalived", Some("keepalived"), "what failover is compared with, in a test and the benchmark"),
    package("faketime", Some("faketime"), "steps of the clock in the cluster tests"),
    package("strace", Some("strace"), "the agent's seccomp profile, call by call"),
    package("prometheus", Some("promtool"), "alert rules and dashboard on real metrics, in the tests"),
    package("openssl", Some("openssl"), "a certificate for HTTPS in the cluster tests"),
];

/// What runs pods. The package that another vendor brings containerd and runc by is not to be replaced by Debian's.
pub(crate) const PODS: &[Package] = &[
    Package { any: true, ..package("containerd", Some("containerd"), "runs the pods of a cluster") },
    Package { any: true, ..package("runc", Some("runc"), "runs the container image") },
    package("containernetworking-plugins", None, "the network of pods"),
];

/// Installs what is missing of `wanted`; does nothing, and needs neither root nor network, when nothing is.
pub(crate) fn ensure(wanted: &[Package]) -> Result<()> {
    let missing = missing(wanted, is_installed);
    if missing.is_empty() {
        return Ok(());
    }
    println!("missing packages:");
    for package in &missing {
        println!("  {:<24} {}", package.name, package.reason);
    }
    let install = install_line(&missing);
    if find_command("apt-get").is_none() {
        bail!(
            "this machine has no apt-get: install the packages above with its own tools, then run this again"
        );
    }
    if !is_root() {
        bail!(
            "installing packages needs root; run this, then start again as you are:\n  apt-get update && {install}"
        );
    }
    println!("installing them: apt-get update && {install}");
    update()?;
    run(apt().args(INSTALL).args(missing.iter().map(|package| package.name)))?;
    Ok(())
}

/// Fetches apt's package lists, once in the life of this process.
pub(crate) fn update() -> Result<()> {
    static UPDATED: OnceLock<()> = OnceLock::new();
    if UPDATED.get().is_none() {
        run(apt().arg("update"))?;
        UPDATED.get_or_init(|| ());
    }
    Ok(())
}

/// True when apt knows a version of the package that it could install.
pub(crate) fn is_offered(name: &str) -> bool {
    ask(Command::new("apt-cache").args(["policy", name])).is_some_and(|text| has_candidate(&text))
}

/// `--no-remove`: a package of the user's that is in the way ends in a message, not in its removal.
const INSTALL: [&str; 4] = ["install", "--yes", "--no-install-recommends", "--no-remove"];

fn apt() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command
}

fn install_line(packages: &[Package]) -> String {
    let names: Vec<_> = packages.iter().map(|package| package.name).collect();
    format!("apt-get {} {}", INSTALL.join(" "), names.join(" "))
}

fn missing(wanted: &[Package], is_installed: impl Fn(&Package) -> bool) -> Vec<Package> {
    wanted.iter().filter(|package| !is_installed(package)).copied().collect()
}

/// Asks dpkg where there is one: a command of the same name may come from another package (arping does).
fn is_installed(package: &Package) -> bool {
    let has_command = package.command.is_some_and(|command| find_command(command).is_some());
    if package.any && has_command {
        return true;
    }
    if find_command("dpkg-query").is_some() {
        let status = ask(Command::new("dpkg-query").args([
            "--show",
            "--showformat=${db:Status-Abbrev}",
            package.name,
        ]));
        return status.is_some_and(|text| text.starts_with("ii"));
    }
    has_command
}

fn has_candidate(policy: &str) -> bool {
    policy
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Candidate:"))
        .any(|version| version.trim() != "(none)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_missing_packages_are_listed_in_order() {
        let found = missing(LAB, |package| matches!(package.name, "iproute2" | "arping"));
        let names: Vec<_> = found.iter().map(|package| package.name).collect();
        assert_eq!(names, ["bpftool", "ndisc6", "nftables", "curl"]);
        assert_eq!(missing(LAB, |_| true), []);
    }

    #[test]
    fn the_install_line_can_be_pasted() {
        assert_eq!(
            install_line(&TEST[..2]),
            "apt-get install --yes --no-install-recommends --no-remove iptables farpd"
        );
    }

    #[test]
    fn a_candidate_is_read_from_apt() {
        assert!(has_candidate("rustc-web:\n  Installed: (none)\n  Candidate: 1.96.0+dfsg1-1~deb12u2\n"));
        assert!(!has_candidate("libpolly-22-dev:\n  Installed: (none)\n  Candidate: (none)\n"));
        assert!(!has_candidate(""));
    }
}
