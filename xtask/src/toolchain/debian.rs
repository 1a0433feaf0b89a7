//! Debian's compiler: rustc-web and the prebuilt `core` for the BPF target.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::version::Version;
use crate::packages::{self, Package};
use crate::process::ask;

/// The compiler that the package installs; a rustup that comes first in `PATH` has no BPF target.
pub(super) const RUSTC: &str = "/usr/bin/rustc";

/// The compiler's package.
pub(super) const COMPILER: Package =
    Package { name: "rustc-web", command: None, reason: "compiler for the BPF program" };

const CORE: Package = Package {
    name: "libstd-rust-web-dev-bpf",
    command: None,
    reason: "the Rust core library, prebuilt for the BPF target",
};

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

/// Installs the packages unless compiler and core are already there.
pub(super) fn install() -> Result<()> {
    if rustc_version().is_some_and(Version::is_usable) && has_core() {
        return Ok(());
    }
    packages::ensure(&[COMPILER, CORE])?;
    let version = rustc_version()
        .with_context(|| format!("{RUSTC} does not run although {} is installed", COMPILER.name))?;
    ensure!(
        version.is_usable(),
        "the package {} brought rustc {version}, but the BPF program builds with {} to {}: install rustup and run \
         this again, it then takes a nightly",
        COMPILER.name,
        Version::OLDEST,
        Version::NEWEST
    );
    ensure!(has_core(), "{CORE_FOLDER} holds no libcore although {} is installed: reinstall it", CORE.name);
    Ok(())
}
