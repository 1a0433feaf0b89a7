//! What each level runs. Output of the tools is passed through unchanged.

use std::env::consts::ARCH;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::failures;
use super::level::Level;
use crate::cargo_tool::CargoTool;
use crate::process::{ask, find_command, is_root, run as run_program};
use crate::workspace::Workspace;
use crate::{build, fuzz, image, objects, packages, testbed, toolchain};

/// Seconds that each fuzz target gets in a test run.
const FUZZ_SECONDS: u32 = 20;

/// How the names of the tests of the level `cluster` start (lb-test/README.md).
const CLUSTER_PREFIX: &str = "l5_";

/// Tests of the level `cluster` at a time: they wait for most of their time.
const CLUSTERS_AT_ONCE: &str = "4";

const DENY: CargoTool = CargoTool { name: "cargo-deny", version: "0.20.2", reason: "licence check" };

/// Runs a level to its first failure.
pub(super) fn run(workspace: &Workspace, level: Level) -> Result<()> {
    match level {
        Level::Format => format(workspace),
        Level::Build => set_up_and_build(workspace),
        Level::Reproducible => objects::compare(workspace, &toolchain::prepare(workspace, &[])?),
        Level::Clippy => clippy(workspace),
        Level::Crates => crates(workspace),
        Level::Doc => doc(workspace),
        Level::Deny => deny(workspace),
        Level::Unit => unit(workspace),
        Level::Fuzz => fuzz::run(workspace, &fuzz::Args { seconds: FUZZ_SECONDS, target: None }),
        Level::Root => root(workspace),
        Level::Cluster => cluster(workspace),
    }
}

fn format(workspace: &Workspace) -> Result<()> {
    ensure_component(workspace, "fmt", "rustfmt")?;
    cargo(workspace, &["fmt", "--all", "--check"])
}

fn set_up_and_build(workspace: &Workspace) -> Result<()> {
    build::frame_log(workspace)?;
    build::release(workspace, &[packages::LAB, packages::TEST, packages::PODS].concat())?;
    // Its content, not its size, is what the tests look at; `cargo xtask image` makes the one to ship.
    image::for_tests(workspace)
}

fn clippy(workspace: &Workspace) -> Result<()> {
    ensure_component(workspace, "clippy", "clippy")?;
    cargo(workspace, &["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"])?;
    let frame_log = ["--package", "lb-ebpf", "--package", "lb-userspace", "--features"];
    let features = "lb-ebpf/frame-log,lb-userspace/frame-log";
    let arguments =
        [&["clippy"], &frame_log[..], &[features, "--all-targets", "--", "--deny", "warnings"]].concat();
    cargo(workspace, &arguments)
}

/// A crate that compiles only because another one turned a dependency's feature on is broken for its users.
fn crates(workspace: &Workspace) -> Result<()> {
    const ALONE: &[&[&str]] = &[
        &["lb-common", "--no-default-features"],
        &["lb-common", "--all-features"],
        &["lb-core"],
        &["lb-ebpf"],
        &["lb-userspace"],
        &["lb-pod"],
        &["lb-test"],
        &["xtask"],
    ];
    for package in ALONE {
        cargo(workspace, &[&["check", "--package"], *package].concat())?;
    }
    Ok(())
}

fn doc(workspace: &Workspace) -> Result<()> {
    let mut command = workspace.cargo();
    command.args(["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "--deny warnings");
    run_program(&mut command)
}

fn deny(workspace: &Workspace) -> Result<()> {
    let mut command = Command::new(DENY.prepare(workspace)?);
    command.current_dir(workspace.root()).args(["--workspace", "--all-features", "check"]);
    run_program(command.args(["bans", "licenses", "sources"]))
}

fn unit(workspace: &Workspace) -> Result<()> {
    failures::run(workspace.cargo().args(["test", "--workspace", "--no-fail-fast"]))
}

/// Tests that need the kernel.
fn root(workspace: &Workspace) -> Result<()> {
    let mut command = workspace.cargo();
    command.args(["test", "--package", "lb-test", "--package", "lb-userspace", "--no-fail-fast"]);
    command.args(["--lib", "--bins", "--tests", "--", "--ignored", "--skip", CLUSTER_PREFIX]);
    run_as_root(workspace, &mut command)
}

/// Tests that need a control plane.
fn cluster(workspace: &Workspace) -> Result<()> {
    let programs = testbed::prepare_for_tests(workspace)?;
    let mut command = workspace.cargo();
    command.args([
        "test",
        "--package",
        "lb-test",
        "--no-fail-fast",
        "--tests",
        "--",
        "--ignored",
        CLUSTER_PREFIX,
    ]);
    command.env("BARELB_TESTBED", programs).env("RUST_TEST_THREADS", CLUSTERS_AT_ONCE);
    run_as_root(workspace, &mut command)
}

/// Tests are built as the user and run as root.
fn run_as_root(workspace: &Workspace, command: &mut Command) -> Result<()> {
    // What the level `build` made, whatever the caller's environment names.
    command.env_remove("BARELB_BPF_OBJECT");
    command.env("BARELB_BIN", workspace.target().join("release/barelb"));
    command.env("BARELB_RIG_OBJECT", objects::rig(workspace));
    command.env("BARELB_IMAGE", image::archive_for_tests(workspace));
    if !is_root() {
        let sudo = find_command("sudo").context("it needs root and there is no sudo: run it as root")?;
        if ask(Command::new(&sudo).args(["-n", "true"])).is_none() {
            bail!("it needs root and sudo asks for a password: run `sudo -v` first, or run it as root");
        }
        let runner = format!("CARGO_TARGET_{}_UNKNOWN_LINUX_GNU_RUNNER", ARCH.to_uppercase());
        command.env(runner, "sudo --non-interactive --preserve-env");
    }
    failures::run(command)
}

fn cargo(workspace: &Workspace, arguments: &[&str]) -> Result<()> {
    run_program(workspace.cargo().args(arguments))
}

/// rustup's minimal profile has neither rustfmt nor clippy.
fn ensure_component(workspace: &Workspace, command: &str, component: &str) -> Result<()> {
    if ask(workspace.cargo().args([command, "--version"])).is_some() {
        return Ok(());
    }
    if find_command("rustup").is_none() {
        bail!(
            "`cargo {command}` is missing and there is no rustup: install {component} as you installed cargo"
        );
    }
    println!("installing by rustup: {component}, for `cargo {command}`");
    run_program(Command::new("rustup").args(["component", "add", component]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// Name of the function and the reason to be ignored, for each ignored test in a source.
    fn ignored(source: &str) -> Vec<(String, String)> {
        let tests = source.split("#[ignore = \"").skip(1);
        let read = |test: &str| {
            let (reason, rest) = test.split_once('"')?;
            let name = rest.split_once("fn ")?.1.split_once('(')?.0;
            Some((name.to_owned(), reason.to_owned()))
        };
        tests.filter_map(read).collect()
    }

    #[test]
    fn tests_of_the_level_cluster_are_known_by_name_and_by_reason() {
        let root = Workspace::locate().unwrap().root().to_owned();
        let files = ["lb-test/tests", "lb-userspace/tests"].map(|folder| fs::read_dir(root.join(folder)));
        let sources = files.into_iter().flatten().flatten().flatten();
        let tests: Vec<_> = sources
            .filter_map(|file| fs::read_to_string(file.path()).ok())
            .flat_map(|text| ignored(&text))
            .collect();
        assert!(tests.iter().any(|(name, _)| name.starts_with(CLUSTER_PREFIX)));
        for (name, reason) in tests {
            assert_eq!(name.contains(CLUSTER_PREFIX), reason.starts_with("L5:"), "{name}: {reason}");
        }
    }
}
