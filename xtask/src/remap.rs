//! Folders of this machine, and the names that binaries have for them: without that, another checkout or another user
//! would get other bytes.

use std::env;
use std::path::{Path, PathBuf};
use std::{fs, iter};

use anyhow::{Result, ensure};

use crate::workspace::Workspace;

/// Where sources of crates appear to be.
const CRATES: &str = "/usr/src/crates";
/// Where the standard library appears to be, when it is compiled here.
const RUST: &str = "/usr/src/rust";
/// Where the checkout appears to be.
const CHECKOUT: &str = "/usr/src/barelb";

/// All that folders of this machine are replaced by.
const NAMES: [&str; 3] = [CRATES, RUST, CHECKOUT];

/// The compiler's flags.
pub(crate) fn flags(workspace: &Workspace) -> Vec<String> {
    // The last one that fits counts.
    let all = iter::once((workspace.root().to_path_buf(), CHECKOUT)).chain(homes());
    all.map(|(from, to)| flag(&from, to)).collect()
}

/// Fails when the binary names a folder of this machine.
pub(crate) fn ensure_anonymous(workspace: &Workspace, binary: &[u8]) -> Result<()> {
    anonymous(binary, &hidden(workspace))
}

/// What no binary may name: folders, or how paths in them begin.
fn hidden(workspace: &Workspace) -> Vec<PathBuf> {
    let ours = ["target", "lb-"].map(|name| workspace.root().join(name));
    ours.into_iter().chain(homes().map(|(folder, _)| folder)).collect()
}

fn flag(from: &Path, to: &str) -> String {
    format!("--remap-path-prefix={}={to}", from.display())
}

/// Folders of cargo, one for each registry, and of rustup.
fn homes() -> impl Iterator<Item = (PathBuf, &'static str)> {
    // With vendored sources there is none.
    let registries = home("CARGO_HOME", ".cargo").map(|home| home.join("registry/src"));
    let entries = registries.and_then(|folder| fs::read_dir(folder).ok()).into_iter().flatten().flatten();
    let mut sources: Vec<_> = entries.map(|entry| (entry.path(), CRATES)).collect();
    sources.sort();
    let rust = home("RUSTUP_HOME", ".rustup").map(|home| (home.join("toolchains"), RUST));
    sources.into_iter().chain(rust)
}

fn home(variable: &str, name: &str) -> Option<PathBuf> {
    let given = env::var_os(variable).filter(|home| !home.is_empty()).map(PathBuf::from);
    given.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(name)))
}

/// Fails when one of the folders, which are absolute, is named in the binary.
fn anonymous(binary: &[u8], folders: &[PathBuf]) -> Result<()> {
    let slashes = binary.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
    for at in slashes {
        let named = |folder: &&PathBuf| binary[at..].starts_with(folder.as_os_str().as_encoded_bytes());
        let found = folders.iter().find(named).filter(|_| !is_in_replaced_name(binary, at));
        ensure!(
            found.is_none(),
            "the binary names {} (at byte {at}): whatever put it there must be told to leave it out, see \
             xtask/src/remap.rs",
            found.map(|folder| folder.display().to_string()).unwrap_or_default()
        );
    }
    Ok(())
}

/// A checkout may lie in a folder that is called like the end of what replaces it.
fn is_in_replaced_name(binary: &[u8], at: usize) -> bool {
    NAMES.iter().any(|name| {
        let mut starts = (at + 1).saturating_sub(name.len())..=at;
        starts.any(|start| binary[start..].starts_with(name.as_bytes()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binary_that_names_a_folder_is_refused() {
        let folders = [PathBuf::from("/home/me/barelb/target")];
        assert!(anonymous(b"/usr/src/barelb/lb-core", &folders).is_ok());
        let error = anonymous(b"see /home/me/barelb/target/x", &folders).unwrap_err().to_string();
        assert!(error.contains("at byte 4"), "{error}");
    }

    #[test]
    fn a_name_that_replaces_a_folder_is_no_folder() {
        for folder in ["/barelb/lb-", "/src/barelb/lb-", "/usr/src/barelb/lb-"] {
            let folders = [PathBuf::from(folder)];
            assert!(anonymous(b"x/usr/src/barelb/lb-core", &folders).is_ok(), "{folder}");
            let other = format!("/usr/src/barelb/lb-core{folder}core");
            assert_eq!(
                anonymous(other.as_bytes(), &folders).is_err(),
                !folder.starts_with("/usr"),
                "{other}"
            );
        }
    }

    #[test]
    fn paths_of_this_machine_are_replaced() {
        let workspace = Workspace::locate().unwrap();
        let flags = flags(&workspace);
        assert_eq!(flags[0], format!("--remap-path-prefix={}={CHECKOUT}", workspace.root().display()));
        // This crate has dependencies, so cargo has unpacked some.
        assert!(flags.iter().any(|flag| flag.ends_with(&format!("={CRATES}"))), "{flags:?}");
        let hidden = hidden(&workspace);
        assert!(hidden.contains(&workspace.root().join("target")), "{hidden:?}");
        assert_eq!(hidden.len(), flags.len() + 1);
    }
}
