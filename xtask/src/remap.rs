//! Folders of this machine, and the names that binaries have for them: without that, another checkout or another user
//! would get other bytes.

use std::env;
use std::path::{Path, PathBuf};
use std::{fs, iter};

use crate::workspace::Workspace;

/// Where sources of crates appear to be.
const CRATES: &str = "/usr/src/crates";
/// Where the standard library appears to be, when it is compiled here.
const RUST: &str = "/usr/src/rust";
/// Where the checkout appears to be.
const CHECKOUT: &str = "/usr/src/barelb";

/// All that folders of this machine are replaced by.
pub(crate) const NAMES: [&str; 3] = [CRATES, RUST, CHECKOUT];

/// The compiler's flags.
pub(crate) fn flags(workspace: &Workspace) -> Vec<String> {
    // The last one that fits counts.
    let all = iter::once((workspace.root().to_path_buf(), CHECKOUT)).chain(homes());
    all.map(|(from, to)| flag(&from, to)).collect()
}

/// What no binary may name: folders, or how paths in them begin.
pub(crate) fn hidden(workspace: &Workspace) -> Vec<PathBuf> {
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

#[cfg(test)]
mod tests {
    use super::*;

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
