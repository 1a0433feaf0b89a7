//! `cargo xtask fuzz`: runs each fuzz target for a while (test level L2).
//!
//! With a nightly that has the sanitizer runtimes, libFuzzer searches by coverage under AddressSanitizer. Elsewhere
//! the targets' own driver replays the corpus and tries random inputs: weaker, but it needs only stable cargo.
//! `fuzz/Cargo.toml` says what a target has to offer for both.

use std::env::consts::ARCH;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process::{find_command, run as run_program};
use crate::toolchain;
use crate::workspace::Workspace;

/// Run the fuzz targets in fuzz/.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How long each target runs.
    #[arg(long, default_value_t = 60)]
    pub(crate) seconds: u32,
    /// Only this target: the name of a file in the folder of targets, without its ending.
    pub(crate) target: Option<String>,
}

/// How the targets are built and driven.
enum Driver {
    /// libFuzzer, by this toolchain of rustup.
    LibFuzzer { toolchain: String },
    /// The fuzz crate's own, by the cargo that runs us.
    Stable,
}

/// Runs the command.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    let folder = workspace.root().join("fuzz");
    let targets = select(targets(&folder)?, args.target.as_deref())?;
    let driver = choose_driver();
    for target in &targets {
        println!("fuzzing {target} for {} seconds", args.seconds);
        run_program(&mut build(workspace, &folder, &driver, target))?;
        run_program(&mut fuzz(&folder, &driver, target, args.seconds)?)?;
    }
    println!("fuzzed {} targets, nothing found: {}", targets.len(), targets.join(" "));
    Ok(())
}

fn choose_driver() -> Driver {
    let has_compiler = find_command("c++").is_some();
    match toolchain::nightly_with_sanitizers() {
        Some(toolchain) if has_compiler => {
            println!("fuzzing with libFuzzer and AddressSanitizer ({toolchain})");
            Driver::LibFuzzer { toolchain }
        }
        found => {
            let lacks = if found.is_some() { "C++ compiler" } else { "nightly with sanitizer runtimes" };
            println!("fuzzing with the stable driver (corpus and random inputs): there is no {lacks} here");
            Driver::Stable
        }
    }
}

fn build(workspace: &Workspace, folder: &Path, driver: &Driver, target: &str) -> Command {
    let mut command = match driver {
        Driver::LibFuzzer { toolchain } => {
            let mut command = workspace.rustup_cargo(toolchain);
            command.arg("build").env("CARGO_ENCODED_RUSTFLAGS", SANITIZER_FLAGS.join("\x1f"));
            command
        }
        Driver::Stable => {
            let mut command = workspace.cargo();
            command.args(["build", "--no-default-features", "--features", "stable-driver"]);
            command.env("CARGO_ENCODED_RUSTFLAGS", STABLE_FLAGS.join("\x1f"));
            command
        }
    };
    command.args(["--release", "--target", &host(), "--bin", target]);
    command
        .arg("--manifest-path")
        .arg(folder.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(output(folder, driver));
    command
}

/// What cargo-fuzz would pass: coverage counters for libFuzzer, and AddressSanitizer.
const SANITIZER_FLAGS: &[&str] = &[
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Zsanitizer=address",
    "-Ccodegen-units=1",
    "-Cdebug-assertions",
    "-Coverflow-checks",
    "--cfg=fuzzing",
];

/// Without a sanitizer the compiler's own checks are what finds faults.
const STABLE_FLAGS: &[&str] = &["-Cdebug-assertions", "-Coverflow-checks", "--cfg=fuzzing"];

fn fuzz(folder: &Path, driver: &Driver, target: &str, seconds: u32) -> Result<Command> {
    let corpus = made(folder.join("corpus").join(target))?;
    let artifacts = made(folder.join("artifacts").join(target))?;
    let mut command = Command::new(output(folder, driver).join(host()).join("release").join(target));
    command
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-artifact_prefix={}/", artifacts.display()));
    // New inputs go to the first folder; inputs that are kept in the repository are only read.
    command.arg(corpus);
    for kept in ["seeds", "regressions"] {
        let inputs = folder.join(kept).join(target);
        if inputs.is_dir() {
            command.arg(inputs);
        }
    }
    Ok(command)
}

fn made(folder: PathBuf) -> Result<PathBuf> {
    fs::create_dir_all(&folder).with_context(|| format!("can't make {}", folder.display()))?;
    Ok(folder)
}

/// Two folders, because the drivers' builds would replace each other's.
fn output(folder: &Path, driver: &Driver) -> PathBuf {
    folder.join("target").join(match driver {
        Driver::LibFuzzer { .. } => "libfuzzer",
        Driver::Stable => "stable",
    })
}

fn host() -> String {
    format!("{ARCH}-unknown-linux-gnu")
}

fn targets(folder: &Path) -> Result<Vec<String>> {
    let sources = folder.join("fuzz_targets");
    let entries = fs::read_dir(&sources).with_context(|| format!("can't list {}", sources.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        let path = entry.with_context(|| format!("can't list {}", sources.display()))?.path();
        if path.extension().is_some_and(|ending| ending == "rs") {
            names.extend(path.file_stem().map(|name| name.to_string_lossy().into_owned()));
        }
    }
    names.sort();
    Ok(names)
}

fn select(targets: Vec<String>, wanted: Option<&str>) -> Result<Vec<String>> {
    match wanted {
        _ if targets.is_empty() => bail!("fuzz/fuzz_targets holds no target"),
        None => Ok(targets),
        Some(name) if targets.iter().any(|target| target == name) => Ok(vec![name.to_owned()]),
        Some(name) => bail!("there is no fuzz target `{name}`; there are: {}", targets.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn targets_are_selected_by_name() {
        let all = names(&["frame", "pool"]);
        assert_eq!(select(all.clone(), None).unwrap(), all);
        assert_eq!(select(all.clone(), Some("pool")).unwrap(), ["pool"]);
        let error = select(all, Some("poool")).unwrap_err().to_string();
        assert_eq!(error, "there is no fuzz target `poool`; there are: frame, pool");
    }

    #[test]
    fn a_run_without_targets_fails() {
        assert!(select(Vec::new(), None).is_err());
        assert!(select(Vec::new(), Some("frame")).is_err());
    }

    #[test]
    fn targets_are_the_source_files_in_order() {
        let folder = std::env::temp_dir().join(format!("xtask-fuzz-{}", std::process::id()));
        let sources = folder.join("fuzz_targets");
        fs::create_dir_all(sources.join("support")).unwrap();
        for file in ["pool.rs", "frame.rs", "README.md"] {
            fs::write(sources.join(file), "").unwrap();
        }
        assert_eq!(targets(&folder).unwrap(), ["frame", "pool"]);
        fs::remove_dir_all(folder).unwrap();
    }
}
