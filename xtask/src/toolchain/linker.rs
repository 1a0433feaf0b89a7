//! bpf-linker: built once into the user's cache, against the LLVM that is installed.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::packages::{Package, package};
use crate::process::{ask, find_command, run};
use crate::workspace::{Workspace, tool_folder};

const VERSION: &str = "0.13.0";

/// The LLVM that Debian's package brings, and the oldest that reads the bitcode of the usable compilers.
const LLVM: u32 = 22;

const LLVM_PACKAGES: &[Package] =
    &[package("llvm-22-dev", Some("llvm-config-22"), "LLVM, which bpf-linker is built on")];

/// What must be installed before [`prepare`].
pub(super) fn packages() -> Result<&'static [Package]> {
    let is_complete = runs(&program(&folder()?)) || llvm_prefix().is_some();
    Ok(if is_complete { &[] } else { LLVM_PACKAGES })
}

/// Path of a bpf-linker that runs; builds it when there is none.
pub(super) fn prepare(workspace: &Workspace) -> Result<PathBuf> {
    let folder = folder()?;
    let program = program(&folder);
    if !runs(&program) {
        let prefix = llvm_prefix().with_context(|| {
            format!("no llvm-config of LLVM {LLVM} in PATH or below /usr/lib: install LLVM {LLVM} with its headers")
        })?;
        println!(
            "building bpf-linker {VERSION} (links BPF objects) into {}: a minute or two",
            folder.display()
        );
        install(workspace, &folder, &prefix)?;
        let shown = program.display();
        ensure!(runs(&program), "{shown} was built but does not run: try `{shown} --version`");
    }
    Ok(program)
}

fn folder() -> Result<PathBuf> {
    tool_folder(&format!("bpf-linker-{VERSION}-llvm-{LLVM}"))
}

fn program(folder: &Path) -> PathBuf {
    folder.join("bin/bpf-linker")
}

/// Built outside the workspace, so that neither its cargo configuration nor its target folder matters.
fn install(workspace: &Workspace, folder: &Path, prefix: &Path) -> Result<()> {
    let mut command = workspace.cargo();
    command.args([
        "install",
        &format!("bpf-linker@{VERSION}"),
        "--locked",
        "--force",
        "--no-default-features",
    ]);
    command.args(["--features", &format!("llvm-{LLVM}"), "--root"]).arg(folder);
    command.env("LLVM_PREFIX", prefix).env_remove("CARGO_TARGET_DIR");
    run(&mut command)
}

fn runs(program: &Path) -> bool {
    ask(Command::new(program).arg("--version"))
        .is_some_and(|text| text.trim() == format!("bpf-linker {VERSION}"))
}

/// Where the wanted LLVM is installed with its development files.
fn llvm_prefix() -> Option<PathBuf> {
    ["llvm-config-22", "llvm-config22", "llvm-config", "/usr/lib/llvm-22/bin/llvm-config"]
        .into_iter()
        .filter_map(|name| if name.starts_with('/') { Some(PathBuf::from(name)) } else { find_command(name) })
        .filter(|config| ask(Command::new(config).arg("--version")).is_some_and(|text| is_wanted(&text)))
        .find_map(|config| {
            ask(Command::new(config).arg("--prefix")).map(|prefix| PathBuf::from(prefix.trim()))
        })
}

fn is_wanted(version: &str) -> bool {
    version.trim().split('.').next().and_then(|major| major.parse().ok()) == Some(LLVM)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_llvm_of_the_compilers_is_taken() {
        assert!(is_wanted("22.1.8\n"));
        for version in ["21.1.0", "23.0.0git", "2", "", "llvm 22"] {
            assert!(!is_wanted(version), "{version}");
        }
    }
}
