//! What runs in the pods of the tests: one static binary, of which the tests make images.

use std::path::PathBuf;

use anyhow::Result;

use crate::image;
use crate::workspace::Workspace;

/// The binary, also in `target/testbed`.
pub(super) const NAME: &str = "barelb-pod";

/// Builds it: some seconds, for it has no dependencies.
pub(super) fn build(workspace: &Workspace) -> Result<PathBuf> {
    image::static_binary(workspace, "lb-pod", NAME, true)
}
