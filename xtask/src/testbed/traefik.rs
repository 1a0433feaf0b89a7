//! Traefik, the ingress that the cluster tests run behind an address, and the CRDs of its own objects.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::building::Building;
use super::go::Release;
use super::program::{Program, required};
use crate::workspace::tool_folder;

const MODULE: &str = "github.com/traefik/traefik/v3";
const PROGRAM: Program = Program { name: "traefik", package: "github.com/traefik/traefik/v3/cmd/traefik" };
/// Where the module keeps them.
const CRDS: &str = "docs/content/reference/dynamic-configuration/kubernetes-crd-definition-v1.yml";

/// What there is of Traefik.
pub(super) struct Traefik {
    pub(super) program: PathBuf,
    pub(super) crds: PathBuf,
}

/// Builds it unless it is in the cache.
pub(super) fn prepare(module: &Path, oldest: Release) -> Result<Traefik> {
    let file = module.join("go.mod");
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let version =
        required(&text, MODULE).with_context(|| format!("{} does not require {MODULE}", file.display()))?;
    let cache = tool_folder(&format!("traefik-{version}"))?;
    let traefik = Traefik { program: cache.join(PROGRAM.name), crds: cache.join("crds.yaml") };
    let building = Building {
        module,
        cache: &cache,
        oldest,
        linker_flags: format!("-s -w -X {MODULE}/pkg/version.Version={version}"),
        notice: format!("Traefik {version}: about six minutes on two cores"),
    };
    if !building.missing(&[&PROGRAM]).is_empty() {
        building.build(&[&PROGRAM], |go, work| {
            let from = go.source(module, MODULE, work)?.join(CRDS);
            // The program comes last, so who finds it finds these too.
            fs::copy(&from, &traefik.crds).with_context(|| format!("cannot copy {}", from.display()))?;
            Ok(())
        })?;
    }
    Ok(traefik)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Workspace;

    #[test]
    fn version_and_program_are_pinned() {
        let folder = Workspace::locate().unwrap().root().join("testbed/traefik");
        let text = fs::read_to_string(folder.join("go.mod")).unwrap();
        assert!(required(&text, MODULE).unwrap().starts_with("3."));
        let tools = fs::read_to_string(folder.join("tools.go")).unwrap();
        assert!(tools.contains(&format!("_ \"{}\"", PROGRAM.package)));
    }
}
