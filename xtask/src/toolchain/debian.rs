//! Debian's compiler: rustc-web and the prebuilt `core` for the BPF target.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::version::Version;
use crate::packages::{Package, package};
use crate::process::ask;

/// The compiler that the package installs; a rustup that comes first in `PATH` has no BPF target.
pub(super) const RUSTC: &str = "/usr/bin/rustc";

/// The compiler's package.
pub(super) const COMPILER: Package = package("rustc-web", None, "compiler for the BPF program");

/// The compiler and what it needs for the BPF target.
pub(super) const PACKAGES: &[Package] = &[
    COMPILER,
    package("libstd-rust-web-dev-bpf", None, "the Rust core library, prebuilt for the BPF target"),
];

const CORE_FOLDER: &str = "/usr/lib/rustlib/bpfel-unknown-none/lib";

/// Version of the distribution's compiler, when there is one.
pub(super) fn rustc_version() -> Option<Version> {
    Version::parse(&ask(Command::new(RUSTC).arg("--version"))?)
}

/// True when the prebuilt core library is there.
pub(super) fn has_core() -> bool {
    let is_core = |name: &Path| {
        let name = name.to_string_lossy();
        name.starts_with("libcore-") && name.ends_with(".rlib")
    };
    fs::read_dir(CORE_FOLDER)
        .is_ok_and(|entries| entries.flatten().any(|entry| is_core(Path::new(&entry.file_name()))))
}

/// Fails when the packages that are installed can't do what they were installed for.
pub(super) fn verify() -> Result<()> {
    let package = COMPILER.name;
    let version =
        rustc_version().with_context(|| format!("{RUSTC} does not run although {package} is installed"))?;
    ensure!(
        version.is_usable(),
        "the package {package} brought rustc {version}, but the BPF program builds with {} to {}: install rustup and \
         run this again, it then takes a nightly",
        Version::OLDEST,
        Version::NEWEST
    );
    ensure!(has_core(), "{CORE_FOLDER} holds no libcore: reinstall libstd-rust-web-dev-bpf");
    Ok(())
}
