//! `cargo xtask build`: the BPF objects, then one self-contained `barelb` with them inside.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::cargo_tool::CargoTool;
use crate::packages::Package;
use crate::workspace::Workspace;
use crate::{objects, process, remap, toolchain};

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
    /// Put the list of its crates into the binary, where `cargo audit bin` and scanners find it: for releases.
    #[arg(long)]
    auditable: bool,
}

/// What puts the list there.
const AUDITABLE: CargoTool =
    CargoTool { name: "cargo-auditable", version: "0.7.7", reason: "the list of crates in the binary" };
/// The section that it is in.
const AUDITABLE_SECTION: &str = ".dep-v0";

/// Runs the command.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    build(workspace, args, &[])?;
    Ok(())
}

/// Builds `target/debug/barelb-frame-log`, for the test of that log.
pub(crate) fn frame_log(workspace: &Workspace) -> Result<PathBuf> {
    build(workspace, &Args { frame_log: true, debug: true, auditable: false }, &[])
}

/// Builds `target/release/barelb` with the objects of this checkout, installing what is missing for it and the
/// packages in `also`; returns its path.
pub(crate) fn release(workspace: &Workspace, also: &[Package]) -> Result<PathBuf> {
    build(workspace, &Args { frame_log: false, debug: false, auditable: false }, also)
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
    if args.auditable {
        // It is a cargo that calls the other one.
        command = process::instead(&AUDITABLE.prepare(workspace)?, &command);
        command.arg("auditable");
        // What others get names no folder of whoever has built it.
        command.env("CARGO_ENCODED_RUSTFLAGS", remap::flags(workspace).join("\x1f"));
    }
    command.args(["build", "--package", "lb-userspace", "--bin", "barelb"]);
    if args.auditable {
        command.arg("--locked");
    }
    if !args.debug {
        command.arg("--release");
    }
    if args.frame_log {
        command.args(["--features", "frame-log"]);
    }
    // An object from elsewhere would not be the one that was just built.
    command.env_remove("BARELB_BPF_OBJECT");
    process::run(&mut command)?;
    let binary = workspace.target().join(if args.debug { "debug" } else { "release" }).join("barelb");
    if args.auditable {
        let bytes = fs::read(&binary).with_context(|| format!("cargo left no {}", binary.display()))?;
        let name = AUDITABLE_SECTION.as_bytes();
        ensure!(
            bytes.windows(name.len()).any(|window| window == name),
            "{} has no section {AUDITABLE_SECTION}: cargo-auditable was not asked about its linking",
            binary.display()
        );
        remap::ensure_anonymous(workspace, &bytes)?;
    }
    Ok(binary)
}

fn size(binary: &Path) -> Result<u64> {
    Ok(fs::metadata(binary).with_context(|| format!("cargo left no {}", binary.display()))?.len())
}
