//! What is built, and which versions `testbed/go.mod` pins.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::go::Release;

/// A program and the Go package it is built from.
pub(super) struct Program {
    pub(super) name: &'static str,
    pub(super) package: &'static str,
}

/// In the order in which they are built.
pub(super) const PROGRAMS: &[Program] = &[
    Program { name: "etcd", package: "go.etcd.io/etcd/server/v3" },
    Program { name: "kube-apiserver", package: "k8s.io/kubernetes/cmd/kube-apiserver" },
    Program { name: "kube-proxy", package: "k8s.io/kubernetes/cmd/kube-proxy" },
    Program { name: "kubectl", package: "k8s.io/kubernetes/cmd/kubectl" },
];

/// What pods need beside those.
pub(super) const POD_PROGRAMS: &[Program] = &[
    Program { name: "kubelet", package: "k8s.io/kubernetes/cmd/kubelet" },
    Program { name: "kube-controller-manager", package: "k8s.io/kubernetes/cmd/kube-controller-manager" },
    Program { name: "kube-scheduler", package: "k8s.io/kubernetes/cmd/kube-scheduler" },
];

/// Where Kubernetes programs and their clients keep the version that they report.
const VERSION_PACKAGES: [&str; 2] = ["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"];

/// The version of a module that a `go.mod` requires, without the `v`.
pub(super) fn required<'a>(text: &'a str, module: &str) -> Option<&'a str> {
    let mut lines = text.lines().filter(|line| !line.contains("=>"));
    lines.find_map(|line| {
        let mut words = line.trim().trim_start_matches("require ").split_whitespace();
        (words.next() == Some(module)).then(|| words.next()?.strip_prefix('v'))?
    })
}

/// The pinned versions, without the `v`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Versions {
    pub(super) kubernetes: String,
    pub(super) etcd: String,
    /// The oldest Go that builds them.
    pub(super) go: Release,
}

impl Versions {
    /// Reads a `go.mod`.
    pub(super) fn read(file: &Path) -> Result<Self> {
        let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        Self::parse(&text).with_context(|| {
            format!(
                "{} does not require k8s.io/kubernetes, go.etcd.io/etcd/server/v3 and a Go version",
                file.display()
            )
        })
    }

    fn parse(text: &str) -> Option<Self> {
        Some(Self {
            kubernetes: required(text, "k8s.io/kubernetes")?.to_owned(),
            etcd: required(text, "go.etcd.io/etcd/server/v3")?.to_owned(),
            go: text.lines().find_map(|line| Release::parse(line.strip_prefix("go ")?))?,
        })
    }

    /// The name of the folder in the cache.
    pub(super) fn key(&self) -> String {
        format!("testbed-kubernetes-{}-etcd-{}", self.kubernetes, self.etcd)
    }

    /// Without these, Kubernetes programs call themselves v0.0.0, and clients decide by that.
    pub(super) fn linker_flags(&self) -> String {
        let mut numbers = self.kubernetes.split('.');
        let (major, minor) = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
        let version = format!("v{}", self.kubernetes);
        let values = [("gitVersion", version.as_str()), ("gitMajor", major), ("gitMinor", minor)];
        let settings = VERSION_PACKAGES.into_iter().flat_map(|package| {
            values.into_iter().map(move |(name, value)| format!(" -X {package}.{name}={value}"))
        });
        "-s -w".to_owned() + &settings.collect::<String>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Workspace;

    fn pinned() -> String {
        fs::read_to_string(Workspace::locate().unwrap().root().join("testbed/go.mod")).unwrap()
    }

    #[test]
    fn versions_are_read_from_both_forms_of_a_requirement() {
        let text = "module x\n\ngo 1.26.0\n\nrequire k8s.io/kubernetes v1.35.4\nrequire (\n\
                    \tgo.etcd.io/etcd/server/v3 v3.6.16 // indirect\n)\n\
                    replace k8s.io/kubernetes => example.org/kubernetes v9.9.9\n";
        let expected = Versions {
            kubernetes: "1.35.4".to_owned(),
            etcd: "3.6.16".to_owned(),
            go: Release::parse("1.26.0").unwrap(),
        };
        assert_eq!(Versions::parse(text), Some(expected));
        assert_eq!(Versions::parse("module x\n\ngo 1.26.0\n"), None);
    }

    #[test]
    fn the_staging_modules_are_of_the_pinned_kubernetes() {
        let text = pinned();
        let versions = Versions::parse(&text).unwrap();
        let expected = format!(" v0.{}", versions.kubernetes.strip_prefix("1.").unwrap());
        let replaced: Vec<_> = text.lines().filter(|line| line.contains("=> k8s.io/")).collect();
        assert_eq!(replaced.len(), 31, "the lines of Kubernetes' own go.mod");
        assert!(replaced.iter().all(|line| line.ends_with(&expected)), "{replaced:?}");
    }

    #[test]
    fn every_program_is_pinned_by_the_tools_file() {
        let tools = fs::read_to_string(Workspace::locate().unwrap().root().join("testbed/tools.go")).unwrap();
        for program in PROGRAMS.iter().chain(POD_PROGRAMS) {
            assert!(tools.contains(&format!("_ \"{}\"", program.package)), "{}", program.name);
        }
    }

    #[test]
    fn programs_are_told_their_version() {
        let versions = Versions::parse(&pinned()).unwrap();
        let flags = versions.linker_flags();
        assert!(
            flags.contains(&format!("-X k8s.io/component-base/version.gitVersion=v{}", versions.kubernetes))
        );
        assert!(flags.contains(" -X k8s.io/client-go/pkg/version.gitMajor=1 "), "{flags}");
    }
}
