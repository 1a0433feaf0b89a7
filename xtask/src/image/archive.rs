//! Layer and archive: the same content makes the same bytes.

use std::io::Write as _;

use anyhow::Result;
use flate2::{Compression, GzBuilder};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};

use super::oci::{
    CONFIG, Configuration, Descriptor, DockerManifest, Execution, History, INDEX, Index, LAYER, Labels,
    Layout, MANIFEST, Manifest, Platform, RootFs,
};
use super::source::Source;
use super::{REPOSITORY, VERSION};

/// The controller's user and group, and that of whoever runs the image without saying as whom. The agent's pods say root.
const USER: &str = "65532:65532";

/// A file or a folder.
pub(super) struct Entry {
    path: String,
    mode: u32,
    /// None for a folder.
    bytes: Option<Vec<u8>>,
}

impl Entry {
    /// A file.
    pub(super) fn file(path: &str, mode: u32, bytes: Vec<u8>) -> Self {
        Self { path: path.to_owned(), mode, bytes: Some(bytes) }
    }

    /// A folder; its path ends with a slash.
    pub(super) fn folder(path: &str) -> Self {
        Self { path: path.to_owned(), mode: 0o755, bytes: None }
    }
}

/// An image and the archive it is shipped in.
pub(super) struct Image {
    /// The archive: an OCI layout that also `docker load` of any age reads.
    pub(super) archive: Vec<u8>,
    /// What registries and runtimes call the image by.
    pub(super) digest: String,
    /// Bytes of the compressed layer.
    pub(super) layer: usize,
}

impl Image {
    /// Makes the image of `content`, which is in order.
    pub(super) fn assemble(source: &Source, architecture: &'static str, content: &[Entry]) -> Result<Self> {
        let plain = pack(source, content)?;
        // No name and no date in the header, and no system.
        let mut gzip = GzBuilder::new().write(Vec::new(), Compression::best());
        gzip.write_all(&plain)?;
        let layer = gzip.finish()?;
        let platform = Platform { architecture, os: "linux" };
        let config = json(&configuration(source, platform.clone(), digest(&plain)))?;
        let manifest = json(&Manifest {
            schema_version: 2,
            media_type: MANIFEST,
            config: describe(CONFIG, &config),
            layers: [describe(LAYER, &layer)],
            annotations: labels(source),
        })?;
        let name = format!("{REPOSITORY}:{VERSION}");
        let image = Descriptor {
            platform: Some(platform),
            annotations: Labels::from([
                ("io.containerd.image.name", name.clone()),
                ("org.opencontainers.image.ref.name", VERSION.to_owned()),
            ]),
            ..describe(MANIFEST, &manifest)
        };
        let docker = DockerManifest { config: place(&config), repo_tags: [name], layers: [place(&layer)] };
        let (digest, size) = (image.digest.clone(), layer.len());
        let index = Index { schema_version: 2, media_type: INDEX, manifests: [image] };

        let mut blobs: Vec<_> = [config, layer, manifest]
            .into_iter()
            .map(|blob| Entry::file(&place(&blob), 0o644, blob))
            .collect();
        blobs.sort_by(|a, b| a.path.cmp(&b.path));
        let folders = ["blobs/", "blobs/sha256/"].map(Entry::folder);
        let documents = [
            Entry::file("index.json", 0o644, json(&index)?),
            Entry::file("manifest.json", 0o644, json(&[docker])?),
            Entry::file("oci-layout", 0o644, json(&Layout { image_layout_version: "1.0.0" })?),
        ];
        let all: Vec<_> = folders.into_iter().chain(blobs).chain(documents).collect();
        Ok(Self { archive: pack(source, &all)?, digest, layer: size })
    }
}

/// The SHA-256 as descriptors have it.
pub(super) fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hash(bytes))
}

/// The SHA-256 alone.
pub(super) fn hash(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

/// Where a blob lies in an OCI layout.
fn place(blob: &[u8]) -> String {
    format!("blobs/sha256/{}", hash(blob))
}

fn describe(media_type: &'static str, blob: &[u8]) -> Descriptor {
    Descriptor {
        media_type,
        digest: digest(blob),
        size: blob.len(),
        platform: None,
        annotations: Labels::new(),
    }
}

fn configuration(source: &Source, platform: Platform, layer: String) -> Configuration {
    Configuration {
        created: source.date(),
        platform,
        config: Execution { user: USER, entrypoint: ["/barelb"], working_dir: "/", labels: labels(source) },
        rootfs: RootFs { r#type: "layers", diff_ids: [layer] },
        history: [History { created: source.date(), created_by: "cargo xtask image" }],
    }
}

fn labels(source: &Source) -> Labels {
    let fixed = [
        ("org.opencontainers.image.title", "BareLB"),
        ("org.opencontainers.image.description", "Layer-2 load balancer for bare-metal Kubernetes"),
        ("org.opencontainers.image.version", VERSION),
        ("org.opencontainers.image.licenses", env!("CARGO_PKG_LICENSE")),
        ("org.opencontainers.image.source", env!("CARGO_PKG_REPOSITORY")),
    ];
    let mut labels: Labels = fixed.map(|(name, text)| (name, text.to_owned())).into();
    labels.insert("org.opencontainers.image.created", source.date());
    labels.extend(source.revision.clone().map(|hash| ("org.opencontainers.image.revision", hash)));
    labels
}

/// A tar archive in which everything is root's and of the source's date.
fn pack(source: &Source, entries: &[Entry]) -> Result<Vec<u8>> {
    let mut builder = Builder::new(Vec::new());
    for Entry { path, mode, bytes } in entries {
        let content = bytes.as_deref().unwrap_or_default();
        let mut header = Header::new_ustar();
        header.set_entry_type(if bytes.is_some() { EntryType::Regular } else { EntryType::Directory });
        header.set_mode(*mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(source.seconds());
        header.set_size(content.len() as u64);
        builder.append_data(&mut header, path, content)?;
    }
    Ok(builder.into_inner()?)
}

fn json(document: &impl Serialize) -> Result<Vec<u8>> {
    Ok(serde_json::to_vec(document)?)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Read;

    use flate2::read::GzDecoder;
    use serde_json::Value;
    use tar::Archive;

    use super::*;

    fn image() -> Image {
        let content = [Entry::file("barelb", 0o755, vec![7; 3000]), Entry::folder("licenses/")];
        Image::assemble(&Source::example(), "amd64", &content).unwrap()
    }

    /// What is in an archive; everything is checked for owner and date.
    fn read(bytes: &[u8]) -> BTreeMap<String, (u32, Vec<u8>)> {
        let mut archive = Archive::new(bytes);
        let entries = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let header = entry.header().clone();
            assert_eq!((header.uid().unwrap(), header.gid().unwrap()), (0, 0));
            assert_eq!(header.mtime().unwrap(), 1_700_000_000);
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            (entry.path().unwrap().to_string_lossy().into_owned(), (header.mode().unwrap(), content))
        });
        entries.collect()
    }

    #[test]
    fn the_same_content_makes_the_same_bytes() {
        let (one, two) = (image(), image());
        assert!(one.archive == two.archive);
        assert_eq!(one.digest, two.digest);
        let other = [Entry::file("barelb", 0o755, vec![8; 3000]), Entry::folder("licenses/")];
        let other = Image::assemble(&Source::example(), "amd64", &other).unwrap();
        assert_ne!(one.digest, other.digest);
    }

    #[test]
    fn the_layer_is_found_by_digests_from_the_index_on() {
        let image = image();
        let files = read(&image.archive);
        let blob = |digest: &Value| {
            let hash = digest.as_str().unwrap().strip_prefix("sha256:").unwrap();
            let bytes = files[&format!("blobs/sha256/{hash}")].1.clone();
            assert_eq!(super::hash(&bytes), hash);
            bytes
        };
        let value = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap();
        let index = value(&files["index.json"].1);
        assert_eq!(index["manifests"][0]["digest"], *image.digest);
        assert_eq!(index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"], VERSION);
        let manifest = value(&blob(&index["manifests"][0]["digest"]));
        let config = value(&blob(&manifest["config"]["digest"]));
        assert_eq!(config["config"]["Entrypoint"][0], "/barelb");
        assert_eq!(config["config"]["Labels"]["org.opencontainers.image.revision"], "0123abcd");
        assert_eq!((&config["os"], &config["architecture"]), (&"linux".into(), &"amd64".into()));
        let mut layer = Vec::new();
        GzDecoder::new(&blob(&manifest["layers"][0]["digest"])[..]).read_to_end(&mut layer).unwrap();
        assert_eq!(config["rootfs"]["diff_ids"][0], digest(&layer));
        let inside = read(&layer);
        assert_eq!(inside.keys().collect::<Vec<_>>(), ["barelb", "licenses/"]);
        assert_eq!(inside["barelb"], (0o755, vec![7; 3000]));
        let docker = value(&files["manifest.json"].1);
        assert_eq!(docker[0]["Layers"][0], place(&blob(&manifest["layers"][0]["digest"])));
    }
}
