//! `MetalLB`'s own CRDs, which tests install instead of ours. They are read from its Go module, which no program is
//! built of.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::go::{self, Release};
use super::program::required;
use crate::workspace::tool_folder;

const MODULE: &str = "go.universe.tf/metallb";
/// Where the module keeps them.
const CRDS: &str = "config/crd/bases";

/// The folder with the CRDs; fetches the module unless they are in the cache.
pub(super) fn prepare(module: &Path, oldest: &Release) -> Result<PathBuf> {
    let file = module.join("go.mod");
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let version =
        required(&text, MODULE).with_context(|| format!("{} does not require {MODULE}", file.display()))?;
    let folder = tool_folder(&format!("metallb-crds-{version}"))?;
    if folder.is_dir() {
        return Ok(folder);
    }
    let work = folder.with_file_name(format!("metallb-crds-{version}-{}", std::process::id()));
    let (modules, partial) = (work.join("go"), work.join("crds"));
    fs::create_dir_all(&partial).with_context(|| format!("cannot make {}", partial.display()))?;
    eprintln!("fetching {MODULE} {version} for its CRDs into {}", folder.display());
    let fetched = go::prepare(oldest)?.download(module, MODULE, &modules)?;
    copy(&fetched.join(CRDS), &partial)?;
    // At its place only when complete; another checkout may have been faster.
    if let Err(error) = fs::rename(&partial, &folder)
        && !folder.is_dir()
    {
        return Err(error).with_context(|| format!("cannot make {}", folder.display()));
    }
    fs::remove_dir_all(&work).with_context(|| format!("cannot remove {}", work.display()))?;
    Ok(folder)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let mut count = 0;
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let file = entry?.path();
        if let Some(name) = file.file_name().filter(|_| file.extension().is_some_and(|end| end == "yaml")) {
            fs::copy(&file, to.join(name)).with_context(|| format!("cannot copy {}", file.display()))?;
            count += 1;
        }
    }
    ensure!(count > 0, "there are no CRDs in {}: the module has another layout than before", from.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Workspace;

    #[test]
    fn the_version_is_pinned() {
        let file = Workspace::locate().unwrap().root().join("testbed/metallb/go.mod");
        let text = fs::read_to_string(file).unwrap();
        assert!(required(&text, MODULE).unwrap().starts_with("0."));
        assert_eq!(required("require go.universe.tf/metallb/x v1.0.0\n", MODULE), None);
    }
}
