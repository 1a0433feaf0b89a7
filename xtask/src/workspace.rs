//! Where things are, in the checkout and in the user's cache, and the cargo that works on them.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

/// The checkout this command was started from.
pub(crate) struct Workspace {
    root: PathBuf,
}

impl Workspace {
    /// Finds the checkout: cargo names the crate it runs, which is a child of the root.
    pub(crate) fn locate() -> Result<Self> {
        let manifest = env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = manifest
            .parent()
            .with_context(|| format!("{} has no parent folder: no checkout around it", manifest.display()))?;
        Ok(Self::at(root.to_path_buf()))
    }

    /// A checkout in this folder.
    pub(crate) fn at(root: PathBuf) -> Self {
        Self { root }
    }

    /// The folder of the workspace's `Cargo.toml`.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Cargo's target folder: always the one in the checkout, so that documented paths hold.
    pub(crate) fn target(&self) -> PathBuf {
        self.root.join("target")
    }

    /// The cargo that started us, run in the root of the checkout.
    pub(crate) fn cargo(&self) -> Command {
        let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        self.tune(&mut command);
        command
    }

    /// Cargo of another rustup toolchain, by rustup: the variable `CARGO` names one toolchain's binary, which does
    /// not understand `+nightly`.
    pub(crate) fn rustup_cargo(&self, toolchain: &str) -> Command {
        let mut command = Command::new("rustup");
        command.args(["run", toolchain, "cargo"]);
        self.tune(&mut command);
        for name in ["CARGO", "RUSTC", "RUSTDOC", "RUSTUP_TOOLCHAIN"] {
            command.env_remove(name);
        }
        command
    }

    /// Takes back what `cargo run` added to the environment for this program only: it would leak into the builds
    /// that we start, where the library path belongs to another compiler.
    fn tune(&self, command: &mut Command) {
        command.current_dir(&self.root).env("CARGO_TARGET_DIR", self.target());
        command.env_remove("LD_LIBRARY_PATH");
        for (name, _) in env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
                command.env_remove(name);
            }
        }
    }
}

/// The folder of a tool that we built ourselves: in the user's cache and keyed by version, so that a second
/// checkout does not build it again.
pub(crate) fn tool_folder(name: &str) -> Result<PathBuf> {
    let cache = match env::var_os("XDG_CACHE_HOME").filter(|value| !value.is_empty()) {
        Some(folder) => PathBuf::from(folder),
        None => PathBuf::from(
            env::var_os("HOME")
                .context("neither XDG_CACHE_HOME nor HOME is set: set one, tools are kept below it")?,
        )
        .join(".cache"),
    };
    Ok(cache.join("barelb").join("tools").join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_holds_this_crate() {
        let workspace = Workspace::locate().unwrap();
        assert!(workspace.root().join("xtask/Cargo.toml").is_file());
        assert_eq!(workspace.target(), workspace.root().join("target"));
    }
}
