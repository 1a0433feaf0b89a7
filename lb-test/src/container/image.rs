//! The archive, read as an importer reads it: from the index on, each blob by its digest.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use flate2::read::GzDecoder;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tar::Archive;

use crate::rig::workspace;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// An image out of an archive, its digests checked.
#[derive(Debug)]
pub struct Image {
    /// What the index says of it, by which importers name it.
    pub annotations: BTreeMap<String, String>,
    /// What `docker load` of old reads.
    pub docker: Value,
    content: Content,
    layer: Vec<u8>,
}

/// The configuration of an image.
#[derive(Debug, Deserialize)]
pub struct Content {
    /// For which machines.
    pub architecture: String,
    /// For which kernel.
    pub os: String,
    /// How it is run.
    pub config: Execution,
    rootfs: RootFs,
}

/// How an image is run.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Execution {
    /// `UID:GID`.
    pub user: String,
    /// The program.
    pub entrypoint: Vec<String>,
    /// Where it starts.
    pub working_dir: String,
    /// What it is.
    pub labels: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
struct RootFs {
    r#type: String,
    diff_ids: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Layout {
    image_layout_version: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    schema_version: u32,
    media_type: String,
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    schema_version: u32,
    media_type: String,
    config: Descriptor,
    layers: Vec<Descriptor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: String,
    digest: String,
    size: usize,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

impl Image {
    /// The image under test: `BARELB_IMAGE`, or what `cargo xtask image` left, release before debug.
    pub fn find() -> Result<PathBuf> {
        if let Some(given) = env::var_os("BARELB_IMAGE").map(PathBuf::from) {
            ensure!(given.is_file(), "BARELB_IMAGE names {}, which is no file", given.display());
            return Ok(given);
        }
        let folder = workspace().join("target/image");
        let candidates = ["barelb.tar", "debug/barelb.tar"].map(|name| folder.join(name));
        candidates.into_iter().find(|path| path.is_file()).with_context(|| {
            format!("no image in {}: run `cargo xtask image`, or name one by BARELB_IMAGE", folder.display())
        })
    }

    /// Reads an archive; fails when it is no OCI layout of one image with one layer, or a digest or a size is wrong.
    pub fn read(archive: &Path) -> Result<Self> {
        let bytes = fs::read(archive).with_context(|| format!("cannot read {}", archive.display()))?;
        let mut files = files(&bytes)?;
        let layout: Layout = document(&mut files, "oci-layout")?;
        ensure!(layout.image_layout_version == "1.0.0", "layout {}", layout.image_layout_version);
        let docker = document(&mut files, "manifest.json")?;
        let index: Index = document(&mut files, "index.json")?;
        ensure!((index.schema_version, &*index.media_type) == (2, INDEX), "index {}", index.media_type);
        let image = only(index.manifests).context("the index")?;
        let manifest: Manifest = serde_json::from_slice(&blob(&mut files, &image, MANIFEST)?)?;
        ensure!((manifest.schema_version, &*manifest.media_type) == (2, MANIFEST), "{}", manifest.media_type);
        let content: Content = serde_json::from_slice(&blob(&mut files, &manifest.config, CONFIG)?)?;
        let packed = blob(&mut files, &only(manifest.layers).context("the manifest")?, LAYER)?;
        let mut layer = Vec::new();
        GzDecoder::new(&packed[..]).read_to_end(&mut layer).context("the layer")?;
        ensure!(content.rootfs.r#type == "layers" && content.rootfs.diff_ids == [digest(&layer)], "diff_ids");
        let rest: Vec<_> = files.keys().filter(|name| !name.ends_with('/')).collect();
        ensure!(rest.is_empty(), "nothing refers to {rest:?}");
        Ok(Self { annotations: image.annotations, docker, content, layer })
    }

    /// Its configuration.
    pub fn content(&self) -> &Content {
        &self.content
    }

    /// Everything in its layer.
    pub fn files(&self) -> Result<BTreeMap<String, Vec<u8>>> {
        files(&self.layer)
    }

    /// Unpacks its layer into a new folder.
    pub fn unpack(&self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder)?;
        let mut archive = Archive::new(&self.layer[..]);
        archive.set_preserve_ownerships(true);
        archive.unpack(folder).with_context(|| format!("cannot unpack the image into {}", folder.display()))
    }
}

/// What is in an archive by name; all of it is root's.
fn files(bytes: &[u8]) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    for entry in Archive::new(bytes).entries()? {
        let mut entry = entry?;
        let name = entry.path()?.to_string_lossy().into_owned();
        ensure!((entry.header().uid()?, entry.header().gid()?) == (0, 0), "{name} is not root's");
        let mut content = Vec::new();
        entry.read_to_end(&mut content)?;
        ensure!(files.insert(name.clone(), content).is_none(), "{name} is there twice");
    }
    Ok(files)
}

fn document<T: DeserializeOwned>(files: &mut BTreeMap<String, Vec<u8>>, name: &str) -> Result<T> {
    let bytes = files.remove(name).with_context(|| format!("there is no {name}"))?;
    serde_json::from_slice(&bytes).with_context(|| format!("cannot read {name}"))
}

fn blob(files: &mut BTreeMap<String, Vec<u8>>, wanted: &Descriptor, media_type: &str) -> Result<Vec<u8>> {
    ensure!(wanted.media_type == media_type, "{} is no {media_type}", wanted.media_type);
    let Some((algorithm, hash)) = wanted.digest.split_once(':') else { bail!("digest {}", wanted.digest) };
    let bytes = files.remove(&format!("blobs/{algorithm}/{hash}"));
    let bytes = bytes.with_context(|| format!("there is no blob {}", wanted.digest))?;
    ensure!(digest(&bytes) == wanted.digest, "the blob {} is {}", wanted.digest, digest(&bytes));
    ensure!(bytes.len() == wanted.size, "{} has {} bytes, not {}", wanted.digest, bytes.len(), wanted.size);
    Ok(bytes)
}

fn only<T>(items: Vec<T>) -> Result<T> {
    let count = items.len();
    let mut items = items.into_iter();
    items.next().filter(|_| count == 1).with_context(|| format!("there are {count} where one was expected"))
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{:x}", Sha256::digest(bytes))
}
