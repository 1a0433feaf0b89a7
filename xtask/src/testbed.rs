//! `cargo xtask testbed`: the programs of a real control plane, which the cluster tests (L5) run.
//!
//! `KUBEBUILDER_ASSETS` is honoured first, as in the rest of the ecosystem. What it lacks is built from the modules
//! pinned in `testbed/go.mod`, once per version, into the user's cache. Either way `target/testbed` shows all of
//! them in one folder, with `MetalLB`'s own CRDs beside them. Traefik and Helm, which only tests want, come from modules of
//! their own, and what runs in pods from the crate lb-pod.

mod building;
mod go;
mod helm;
mod metallb;
mod pod;
mod program;
mod traefik;

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::{env, process};

use anyhow::{Context, Result, ensure};

use crate::process::is_executable;
use crate::workspace::{Workspace, tool_folder};
use building::Building;
use program::{POD_PROGRAMS, PROGRAMS, Program, Versions};

/// Build etcd, the programs of Kubernetes, Traefik and Helm for the cluster tests, fetch MetalLB's CRDs, and print the
/// folder they are in.
#[derive(clap::Args)]
pub(crate) struct Args {}

/// Runs the command.
pub(crate) fn run(workspace: &Workspace, _args: &Args) -> Result<()> {
    println!("{}", prepare_for_tests(workspace)?.display());
    Ok(())
}

/// The same as [`prepare_for_pods`], and what only tests want.
pub(crate) fn prepare_for_tests(workspace: &Workspace) -> Result<PathBuf> {
    let shown = prepare_for_pods(workspace)?;
    let module = module(workspace);
    let oldest = Versions::read(&module.join("go.mod"))?.go;
    let traefik = traefik::prepare(&module.join("traefik"), oldest)?;
    show(&traefik.program, &shown.join("traefik"))?;
    show(&traefik.crds, &shown.join("traefik-crds.yaml"))?;
    show(&helm::prepare(&module.join("helm"), oldest)?, &shown.join("helm"))?;
    Ok(shown)
}

/// A folder with all programs of a control plane, and with `MetalLB`'s CRDs; builds and fetches what is neither given nor in the cache, and
/// needs neither Go nor network when there is nothing of that.
pub(crate) fn prepare(workspace: &Workspace) -> Result<PathBuf> {
    let shown = show_programs(workspace, &PROGRAMS.iter().collect::<Vec<_>>())?;
    let module = module(workspace);
    let oldest = Versions::read(&module.join("go.mod"))?.go;
    show(&metallb::prepare(&module.join("metallb"), &oldest)?, &shown.join("metallb-crds"))?;
    Ok(shown)
}

/// The same, with what runs pods and what runs in them.
pub(crate) fn prepare_for_pods(workspace: &Workspace) -> Result<PathBuf> {
    show_programs(workspace, &PROGRAMS.iter().chain(POD_PROGRAMS).collect::<Vec<_>>())?;
    let shown = prepare(workspace)?;
    show(&pod::build(workspace)?, &shown.join(pod::NAME))?;
    Ok(shown)
}

/// A folder with these programs of Kubernetes.
fn show_programs(workspace: &Workspace, programs: &[&'static Program]) -> Result<PathBuf> {
    let module = module(workspace);
    let versions = Versions::read(&module.join("go.mod"))?;
    let given = given(env::var_os("KUBEBUILDER_ASSETS"))?;
    let cache = tool_folder(&versions.key())?;
    let wanted: Vec<_> =
        programs.iter().copied().filter(|program| from(given.as_deref(), program).is_none()).collect();
    let building = Building {
        module: &module,
        cache: &cache,
        oldest: versions.go,
        linker_flags: versions.linker_flags(),
        notice: format!(
            "Kubernetes {}, etcd {}: about ten minutes for all on two cores",
            versions.kubernetes, versions.etcd
        ),
    };
    if !building.missing(&wanted).is_empty() {
        building.build(&wanted, |_, _| Ok(()))?;
    }
    let shown = workspace.target().join("testbed");
    for program in programs {
        let file = from(given.as_deref(), program).unwrap_or_else(|| cache.join(program.name));
        show(&file, &shown.join(program.name))?;
    }
    Ok(shown)
}

fn module(workspace: &Workspace) -> PathBuf {
    workspace.root().join("testbed")
}

/// The folder named by the user; a wrong name is an error, because silence would test other versions than meant.
fn given(value: Option<OsString>) -> Result<Option<PathBuf>> {
    let Some(folder) = value.filter(|value| !value.is_empty()).map(PathBuf::from) else { return Ok(None) };
    ensure!(
        folder.is_dir(),
        "KUBEBUILDER_ASSETS names {}, which is no folder: correct it, or unset it to have the programs built",
        folder.display()
    );
    // The links in target/testbed do not stand where the relative path was meant.
    Ok(Some(folder.canonicalize()?))
}

fn from(given: Option<&Path>, program: &Program) -> Option<PathBuf> {
    given.map(|folder| folder.join(program.name)).filter(|file| is_executable(file))
}

/// Makes `link` lead to `file`; a test that runs at the same time sees the old link or the new one.
fn show(file: &Path, link: &Path) -> Result<()> {
    if fs::read_link(link).is_ok_and(|target| target == file) {
        return Ok(());
    }
    let new = link.with_extension(format!("new-{}", process::id()));
    fs::create_dir_all(link.parent().unwrap_or(link))?;
    symlink(file, &new).with_context(|| format!("cannot make the link {}", new.display()))?;
    fs::rename(&new, link).with_context(|| format!("cannot replace {}", link.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn scratch(name: &str) -> PathBuf {
        let folder = env::temp_dir().join(format!("barelb-xtask-{}-{name}", process::id()));
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    fn program(folder: &Path, name: &str) {
        fs::write(folder.join(name), "").unwrap();
        fs::set_permissions(folder.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn a_given_folder_must_exist() {
        assert_eq!(given(None).unwrap(), None);
        assert_eq!(given(Some(OsString::new())).unwrap(), None);
        let error = given(Some("/no/such/folder".into())).unwrap_err().to_string();
        assert!(error.contains("KUBEBUILDER_ASSETS names /no/such/folder"), "{error}");
        assert!(given(Some("/".into())).unwrap().is_some());
    }

    #[test]
    fn what_is_given_is_not_built_and_the_rest_is() {
        let (assets, cache) = (scratch("assets"), scratch("cache"));
        for name in ["etcd", "kube-apiserver"] {
            program(&assets, name);
        }
        fs::write(assets.join("kubectl"), "not executable").unwrap();
        program(&cache, "kubectl");
        let wanted: Vec<_> = PROGRAMS.iter().filter(|one| from(Some(&assets), one).is_none()).collect();
        assert_eq!(wanted.iter().map(|one| one.name).collect::<Vec<_>>(), ["kube-proxy", "kubectl"]);
        let missing: Vec<_> = building::missing(&cache, &wanted).iter().map(|one| one.name).collect();
        assert_eq!(missing, ["kube-proxy"]);
        for folder in [assets, cache] {
            fs::remove_dir_all(folder).unwrap();
        }
    }

    #[test]
    fn a_link_is_made_and_replaced() {
        let folder = scratch("links");
        let link = folder.join("shown/kubectl");
        for file in ["/one/kubectl", "/two/kubectl", "/two/kubectl"] {
            show(Path::new(file), &link).unwrap();
            assert_eq!(fs::read_link(&link).unwrap(), Path::new(file));
        }
        assert_eq!(fs::read_dir(folder.join("shown")).unwrap().count(), 1);
        fs::remove_dir_all(folder).unwrap();
    }
}
