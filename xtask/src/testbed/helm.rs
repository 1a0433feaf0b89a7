//! Helm, by which tests render, check and install the chart.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::building::Building;
use super::go::Release;
use super::program::{Program, required};
use crate::workspace::tool_folder;

const MODULE: &str = "helm.sh/helm/v4";
const PROGRAM: Program = Program { name: "helm", package: "helm.sh/helm/v4/cmd/helm" };

/// The program; builds it unless it is in the cache.
pub(super) fn prepare(module: &Path, oldest: Release) -> Result<PathBuf> {
    let file = module.join("go.mod");
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let version =
        required(&text, MODULE).with_context(|| format!("{} does not require {MODULE}", file.display()))?;
    let cache = tool_folder(&format!("helm-{version}"))?;
    let building = Building {
        module,
        cache: &cache,
        oldest,
        linker_flags: format!("-s -w -X {MODULE}/internal/version.version=v{version}"),
        notice: format!("Helm {version}: about five minutes on two cores"),
    };
    if !building.missing(&[&PROGRAM]).is_empty() {
        building.build(&[&PROGRAM], |_, _| Ok(()))?;
    }
    Ok(cache.join(PROGRAM.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Workspace;

    #[test]
    fn version_and_program_are_pinned() {
        let folder = Workspace::locate().unwrap().root().join("testbed/helm");
        let text = fs::read_to_string(folder.join("go.mod")).unwrap();
        assert!(required(&text, MODULE).unwrap().starts_with("4."));
        let tools = fs::read_to_string(folder.join("tools.go")).unwrap();
        assert!(tools.contains(&format!("_ \"{}\"", PROGRAM.package)));
    }
}
