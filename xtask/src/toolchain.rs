//! How the BPF objects are compiled: which compiler, which linker, and what is installed when they are missing.
//!
//! Two routes lead to an object. Debian ships a compiler with a prebuilt `core` for the BPF target, so that no
//! nightly is needed; elsewhere a nightly of rustup builds `core` from its sources. bpf-linker, which turns
//! LLVM bitcode into a BPF object with BTF, is built once into the user's cache on both.

mod debian;
mod linker;
mod route;
mod rustup;
mod version;

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::packages::{self, Package};
use crate::process::{ask, find_command, is_root};
use crate::workspace::Workspace;
use route::{Facts, Route};

pub(crate) use rustup::nightly_with_sanitizers;

/// A compiler and a linker that exist on this machine.
pub(crate) struct Toolchain {
    route: Route,
    linker: PathBuf,
}

/// Finds the toolchain, installs what it lacks and the packages in `also`, and says which route was taken.
pub(crate) fn prepare(workspace: &Workspace, also: &[Package]) -> Result<Toolchain> {
    let mut facts = gather();
    let mut choice = route::choose(&facts);
    // Fresh images have no package lists, and only apt can say what it offers.
    let is_complete = matches!(&choice, Ok(route) if facts.is_ready(route));
    if facts.apt && !facts.offered && !is_complete && is_root() {
        println!("asking apt for a compiler with the BPF target: apt-get update");
        packages::update()?;
        facts.offered = packages::is_offered(debian::COMPILER.name);
        choice = route::choose(&facts);
    }
    let route = choice?;
    // One list, so that a user without root is told everything at once.
    let compiler = if route == Route::Debian && !facts.is_ready(&route) { debian::PACKAGES } else { &[] };
    packages::ensure(&[compiler, linker::packages()?, also].concat())?;
    match &route {
        Route::Debian => debian::verify()?,
        Route::Rustup { toolchain } => rustup::install(toolchain)?,
    }
    let linker = linker::prepare(workspace)?;
    // Too old a cargo never gets here: it refuses the workspace's rust-version.
    let cargo =
        ask(workspace.cargo().arg("--version")).unwrap_or_else(|| "cargo of unknown version".to_owned());
    println!("toolchain: {} for this machine; for BPF {route}", cargo.trim());
    Ok(Toolchain { route, linker })
}

impl Toolchain {
    /// bpf-linker's path.
    pub(crate) fn linker(&self) -> &PathBuf {
        &self.linker
    }

    /// Cargo set up with the compiler of the route.
    pub(crate) fn cargo(&self, workspace: &Workspace) -> Command {
        let mut command = match &self.route {
            Route::Debian => {
                let mut command = workspace.cargo();
                // BPF inline assembly is unstable, and this compiler is a stable one.
                command
                    .env("RUSTC", debian::RUSTC)
                    .env("RUSTC_BOOTSTRAP", "1")
                    .env_remove("RUSTUP_TOOLCHAIN");
                command
            }
            Route::Rustup { toolchain } => workspace.rustup_cargo(toolchain),
        };
        // An empty value also overrules a wrapper from the user's cargo configuration.
        command.env("RUSTC_WRAPPER", "").env("RUSTC_WORKSPACE_WRAPPER", "");
        command
    }

    /// Arguments of `cargo build` that only this route needs.
    pub(crate) fn build_arguments(&self) -> &'static [&'static str] {
        match self.route {
            Route::Debian => &[],
            Route::Rustup { .. } => &["-Zbuild-std=core"],
        }
    }
}

fn gather() -> Facts {
    Facts {
        debian_rustc: debian::rustc_version(),
        debian_core: debian::has_core(),
        nightly: rustup::usable_nightly(),
        rustup: find_command("rustup").is_some(),
        apt: find_command("apt-get").is_some(),
        offered: packages::is_offered(debian::COMPILER.name),
    }
}
