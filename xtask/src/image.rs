//! `cargo xtask image`: the container image, one static binary on nothing, as an archive that container runtimes import.
//!
//! The same commit, compiler and C library make the same bytes, wherever the checkout and the user's home are.
//! Nothing is pulled: there is no base image.

mod archive;
mod binary;
mod oci;
mod sbom;
mod source;

use std::env::consts::ARCH;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::elsewhere::{self, Elsewhere};
use crate::packages::Package;
use crate::workspace::Workspace;
use crate::{objects, toolchain};
use archive::{Entry, Image};
use source::Source;

/// What the image may weigh, compressed: nodes pull it when there is trouble.
const LIMIT: u64 = 15 << 20;

/// The repository that runtimes understand by the manifests' `image: barelb:…`.
const REPOSITORY: &str = "docker.io/library/barelb";

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What lies in the root of the image beside the binary, so that whoever has the image alone has it too.
const SBOM: &str = "barelb.cdx.json";

/// Build the container image, target/image/barelb.tar, and the list of what is in it, target/image/barelb.cdx.json.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Build the binary without optimisation, into target/image/debug: for tests, of no limited size.
    #[arg(long)]
    debug: bool,
    /// Build it a second time, from a copy of the sources in another folder, and compare.
    #[arg(long)]
    twice: bool,
}

/// Runs the command.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    prepare_and_build(workspace, args, &[])
}

/// Builds the image to ship with the objects of this checkout, installing what is missing for it and the packages in
/// `also`.
pub(crate) fn release(workspace: &Workspace, also: &[Package]) -> Result<()> {
    prepare_and_build(workspace, &Args { debug: false, twice: false }, also)
}

fn prepare_and_build(workspace: &Workspace, args: &Args, also: &[Package]) -> Result<()> {
    let toolchain = toolchain::prepare(workspace, also)?;
    objects::build(workspace, &toolchain, false)?;
    let archive = build(workspace, args.debug)?;
    if args.twice {
        let elsewhere = Elsewhere::new(workspace)?;
        objects::build(elsewhere.workspace(), &toolchain, false)?;
        // The copy is of no commit: that and its date are the ones of this checkout.
        let again = assemble(elsewhere.workspace(), &Source::find(workspace)?, args.debug)?.0;
        elsewhere::ensure_same("barelb.tar", &archive, &again.archive)?;
        println!("the same from another folder: {}", archive::digest(&again.archive));
    }
    Ok(())
}

/// Builds the image that the tests run, with the objects that are there.
pub(crate) fn for_tests(workspace: &Workspace) -> Result<()> {
    build(workspace, true).map(drop)
}

/// The archive of [`for_tests`].
pub(crate) fn archive_for_tests(workspace: &Workspace) -> PathBuf {
    folder(workspace, true).join("barelb.tar")
}

/// Builds a program of another package as that of the image is built.
pub(crate) fn static_binary(
    workspace: &Workspace,
    package: &str,
    name: &str,
    debug: bool,
) -> Result<PathBuf> {
    binary::build_static(workspace, package, name, debug)
}

fn folder(workspace: &Workspace, debug: bool) -> PathBuf {
    let folder = workspace.target().join("image");
    if debug { folder.join("debug") } else { folder }
}

/// Builds the image and writes it; the bytes of its archive.
fn build(workspace: &Workspace, debug: bool) -> Result<Vec<u8>> {
    let source = Source::find(workspace)?;
    let (image, sbom, size) = assemble(workspace, &source, debug)?;
    let folder = folder(workspace, debug);
    fs::create_dir_all(&folder).with_context(|| format!("can't make {}", folder.display()))?;
    write(&folder.join(SBOM), &sbom)?;
    let file = folder.join("barelb.tar");
    write(&file, &image.archive)?;

    let shown = file.strip_prefix(workspace.root()).unwrap_or(&file);
    println!(
        "built {} ({} KiB), {}",
        shown.display(),
        image.archive.len() / 1024,
        archive::digest(&image.archive)
    );
    println!("  image  {REPOSITORY}:{VERSION}@{}", image.digest);
    println!("  layer  {} KiB compressed, the binary {} KiB", image.layer / 1024, size / 1024);
    println!("  SBOM   {SBOM}, beside it and inside, {} KiB", sbom.len() / 1024);
    println!("  source {}, {}", source.revision.as_deref().unwrap_or("of no known commit"), source.date());
    if !debug {
        within_limit(image.archive.len() as u64)?;
    }
    Ok(image.archive)
}

/// The image, the list of its parts, and the bytes of its binary.
fn assemble(workspace: &Workspace, source: &Source, debug: bool) -> Result<(Image, Vec<u8>, usize)> {
    let binary = binary::build(workspace, debug)?;
    let sbom = sbom::make(workspace, source, &binary)?;
    let size = binary.len();
    let image = Image::assemble(source, architecture()?, &content(workspace, binary, sbom.clone())?)?;
    Ok((image, sbom, size))
}

/// Everything in the image, in the order of the names.
fn content(workspace: &Workspace, binary: Vec<u8>, sbom: Vec<u8>) -> Result<Vec<Entry>> {
    let licence = |name: &str| {
        let file = workspace.root().join(name);
        let bytes = fs::read(&file).with_context(|| format!("can't read {}", file.display()))?;
        Ok::<_, anyhow::Error>(Entry::file(&format!("licenses/{name}"), 0o644, bytes))
    };
    Ok(vec![
        Entry::file("barelb", 0o755, binary),
        Entry::file(SBOM, 0o644, sbom),
        Entry::folder("licenses/"),
        licence("LICENSE-APACHE")?,
        licence("LICENSE-MIT")?,
    ])
}

fn within_limit(size: u64) -> Result<()> {
    ensure!(
        size <= LIMIT,
        "the image has {size} bytes, and {LIMIT} is what it may have: see what has grown by `cargo tree --package \
         lb-userspace --edges normal` and by the sizes above, or raise the limit in xtask/src/image.rs with a reason"
    );
    Ok(())
}

/// This machine's architecture by the name that images have for it.
fn architecture() -> Result<&'static str> {
    match ARCH {
        "x86_64" => Ok("amd64"),
        "aarch64" => Ok("arm64"),
        other => {
            bail!("images are made on x86_64 and aarch64, and this machine is {other}: build on one of these")
        }
    }
}

/// Readers see the old or the new bytes, never a part.
fn write(file: &Path, bytes: &[u8]) -> Result<()> {
    let fresh = file.with_extension("new");
    fs::write(&fresh, bytes)
        .and_then(|()| fs::rename(&fresh, file))
        .with_context(|| format!("can't write {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manifests_name_this_image() {
        let base = Workspace::locate().unwrap().root().join("manifests/base");
        for file in ["agent/daemonset.yaml", "controller/deployment.yaml"] {
            let text = fs::read_to_string(base.join(file)).unwrap();
            // What runtimes make of a name without a registry and a folder.
            let images: Vec<_> = text
                .lines()
                .filter_map(|line| line.trim().strip_prefix("image: "))
                .map(|name| format!("docker.io/library/{name}"))
                .collect();
            assert_eq!(images, [format!("{REPOSITORY}:{VERSION}")], "{file}");
        }
    }

    #[test]
    fn too_large_an_image_is_refused() {
        assert!(within_limit(LIMIT).is_ok());
        let error = within_limit(LIMIT + 1).unwrap_err().to_string();
        assert!(error.contains("15728641") && error.contains("cargo tree"), "{error}");
    }
}
