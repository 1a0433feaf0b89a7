//! `cargo xtask build`: the BPF objects, then one self-contained `barelb` with them inside.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::packages::Package;
use crate::workspace::Workspace;
use crate::{objects, process, toolchain};

/// What `--frame-log` builds.
const FRAME_LOG: &str = "barelb-frame-log";

/// Build the BPF objects and one self-contained target/release/barelb.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Build barelb-frame-log beside it, which can log each ARP/ND frame's outcome (`barelb-frame-log agent --frame-log`).
    #[arg(long)]
    frame_log: bool,
    /// Build the binary without optimisation, as target/debug/barelb.
    #[arg(long)]
    debug: bool,
}

/// Runs the command.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    build(workspace, args, &[])?;
    Ok(())
}

/// Builds `target/debug/barelb-frame-log`, for the test of that log.
pub(crate) fn frame_log(workspace: &Workspace) -> Result<PathBuf> {
    build(workspace, &Args { frame_log: true, debug: true }, &[])
}

/// Builds `target/release/barelb` with the objects of this checkout, installing what is missing for it and the
/// packages in `also`; returns its path.
pub(crate) fn release(workspace: &Workspace, also: &[Package]) -> Result<PathBuf> {
    build(workspace, &Args { frame_log: false, debug: false }, also)
}

fn build(workspace: &Workspace, args: &Args, also: &[Package]) -> Result<PathBuf> {
    let toolchain = toolchain::prepare(workspace, also)?;
    objects::build(workspace, &toolchain, args.frame_log)?;
    let mut binary = binary(workspace, args)?;
    if args.frame_log {
        // Cargo knows one name for both. The next build gives `barelb` back to the binary that logs nothing.
        let named = binary.with_file_name(FRAME_LOG);
        fs::copy(&binary, &named).with_context(|| format!("can't write {}", named.display()))?;
        self::binary(workspace, &Args { frame_log: false, ..*args })?;
        binary = named;
    }
    let shown = binary.strip_prefix(workspace.root()).unwrap_or(&binary);
    println!("built {} ({} KiB)", shown.display(), size(&binary)? / 1024);
    Ok(binary)
}

fn binary(workspace: &Workspace, args: &Args) -> Result<PathBuf> {
    let mut command = workspace.cargo();
    command.args(["build", "--package", "lb-userspace", "--bin", "barelb"]);
    if !args.debug {
        command.arg("--release");
    }
    if args.frame_log {
        command.args(["--features", "frame-log"]);
    }
    // An object from elsewhere would not be the one that was just built.
    command.env_remove("BARELB_BPF_OBJECT");
    process::run(&mut command)?;
    Ok(workspace.target().join(if args.debug { "debug" } else { "release" }).join("barelb"))
}

fn size(binary: &Path) -> Result<u64> {
    Ok(fs::metadata(binary).with_context(|| format!("cargo left no {}", binary.display()))?.len())
}
