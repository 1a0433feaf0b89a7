//! Subcommands of cargo that others have written: built once into the user's cache, in the version that is named.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::process::{ask, run};
use crate::workspace::{Workspace, tool_folder};

/// A tool on crates.io.
pub(crate) struct CargoTool {
    /// Of the crate and of its program.
    pub(crate) name: &'static str,
    /// Exactly this one.
    pub(crate) version: &'static str,
    /// What it is for, for people who wait.
    pub(crate) reason: &'static str,
}

impl CargoTool {
    /// The program, which is built where it is missing.
    pub(crate) fn prepare(&self, workspace: &Workspace) -> Result<PathBuf> {
        let Self { name, version, reason } = self;
        let folder = tool_folder(&format!("{name}-{version}"))?;
        let program = folder.join("bin").join(name);
        if ask(Command::new(&program).arg("--version")).is_none() {
            println!("building {name} {version} ({reason}) into {}: some minutes", folder.display());
            let mut install = workspace.cargo();
            install.args(["install", &format!("{name}@{version}"), "--locked", "--force", "--root"]);
            run(install.arg(&folder).env_remove("CARGO_TARGET_DIR"))?;
        }
        Ok(program)
    }
}
