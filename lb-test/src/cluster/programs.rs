//! Where the parts of the testbed are.

use std::env;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::rig::workspace;

/// `BARELB_TESTBED`, then `KUBEBUILDER_ASSETS`, then where `cargo xtask testbed` shows them.
/// A program of the testbed, or a folder of it, by its name.
pub fn find(name: &str) -> Result<PathBuf> {
    let named =
        ["BARELB_TESTBED", "KUBEBUILDER_ASSETS"].map(|variable| env::var_os(variable).map(PathBuf::from));
    let folders = named.into_iter().flatten().chain([workspace().join("target/testbed")]);
    folders.map(|folder| folder.join(name)).find(|file| file.exists()).with_context(|| {
        format!(
            "there is no {name}: run `cargo xtask testbed`, or name a folder with it by KUBEBUILDER_ASSETS"
        )
    })
}
