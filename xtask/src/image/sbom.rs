//! What the binary is made of, as CycloneDX 1.6 has it: the crates that are linked, those of the BPF program, the
//! standard library and the C library.
//!
//! `cargo tree` knows which crates those are: it resolves features for one package and one target, as a build does.
//! `cargo metadata` resolves them for the whole workspace with its tests, and would name what nobody links.

mod document;
mod tree;

use std::process::Command;

use anyhow::{Context, Result};

use super::source::Source;
use super::{VERSION, archive, binary};
use crate::process::ask;
use crate::workspace::Workspace;
use document::{Component, Document};
use tree::Tree;

/// Makes the document, for these bytes of the binary.
pub(super) fn make(workspace: &Workspace, source: &Source, barelb: &[u8]) -> Result<Vec<u8>> {
    let trees = [
        tree(workspace, "lb-userspace", &binary::triple())?,
        // The object that is embedded.
        tree(workspace, "lb-ebpf", "bpfel-unknown-none")?,
    ];
    let application = Component::application("barelb", VERSION, archive::hash(barelb));
    let document = Document::new(source, application, &trees, linked_libraries());
    let mut bytes = serde_json::to_vec_pretty(&document)?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn tree(workspace: &Workspace, package: &str, target: &str) -> Result<Tree> {
    let mut command = workspace.cargo();
    command.args(["tree", "--locked", "--package", package, "--target", target]);
    // Macros and build scripts run where it is built.
    command.args(["--edges", "normal,no-proc-macro", "--prefix", "depth", "--charset", "ascii"]);
    command.args(["--format", tree::FORMAT]);
    let output = command.output().context("can't start cargo")?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        anyhow::bail!(
            "`cargo tree --package {package}` failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    tree::parse(&text).with_context(|| format!("can't read the output of `cargo tree --package {package}`"))
}

/// What comes with the compiler and with the system, as far as they tell.
fn linked_libraries() -> Vec<Component> {
    let rust = ask(Command::new("rustc").arg("--version"));
    let rust = rust.as_deref().and_then(|text| text.split_whitespace().nth(1));
    let package = ask(Command::new("dpkg-query").args(["--show", "--showformat=${Version}", "libc6-dev"]));
    let glibc = ask(Command::new("getconf").arg("GNU_LIBC_VERSION"));
    let glibc = glibc.as_deref().and_then(|text| text.split_whitespace().nth(1));
    let c_library = match &package {
        Some(version) => Some(Component::debian("libc6-dev", version, "LGPL-2.1-or-later")),
        None => glibc.map(|version| Component::generic("glibc", version, "LGPL-2.1-or-later")),
    };
    rust.map(|version| Component::generic("rust-std", version, "MIT OR Apache-2.0"))
        .into_iter()
        .chain(c_library)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_linked_is_listed_and_what_is_not_is_not() {
        let workspace = Workspace::locate().unwrap();
        let document = make(&workspace, &Source::example(), b"barelb").unwrap();
        assert!(document == make(&workspace, &Source::example(), b"barelb").unwrap());
        let document: serde_json::Value = serde_json::from_slice(&document).unwrap();
        let names: Vec<_> =
            document["components"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
        // Of the binary, of the BPF program, of the compiler.
        for linked in
            ["lb-core", "lb-common", "kube-client", "rustls", "ring", "lb-ebpf", "aya-ebpf", "rust-std"]
        {
            assert!(names.contains(&linked), "{linked}");
        }
        // Of tests, of macros, of build scripts, of other features.
        for other in ["proptest", "kube-cel", "smoltcp", "lb-test", "syn", "cc", "aya-log", "aws-lc-rs"] {
            assert!(!names.contains(&other), "{other}");
        }
    }
}
