//! The documents of an image, as the OCI image specification (v1.1) and `docker load` want them.
//!
//! Structures, not maps of values: the order of their fields is that of the bytes, and the bytes have digests.

use std::collections::BTreeMap;

use serde::Serialize;

/// The media type of a configuration.
pub(super) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// The media type of the layer.
pub(super) const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// The media type of the manifest.
pub(super) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// The media type of the index.
pub(super) const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// Text by name.
pub(super) type Labels = BTreeMap<&'static str, String>;

/// Refers to a blob.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    /// What it is.
    pub(super) media_type: &'static str,
    /// Its SHA-256, with the name of that.
    pub(super) digest: String,
    /// Its bytes.
    pub(super) size: usize,
    /// The platform it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) platform: Option<Platform>,
    /// What importers read from an index.
    #[serde(skip_serializing_if = "Labels::is_empty")]
    pub(super) annotations: Labels,
}

/// What an image runs on.
#[derive(Clone, Serialize)]
pub(super) struct Platform {
    /// `amd64` or `arm64`.
    pub(super) architecture: &'static str,
    /// `linux`.
    pub(super) os: &'static str,
}

/// How the image is run, and what it is.
#[derive(Serialize)]
pub(super) struct Configuration {
    /// The date of the source.
    pub(super) created: String,
    /// The platform.
    #[serde(flatten)]
    pub(super) platform: Platform,
    /// How it is run.
    pub(super) config: Execution,
    /// What it consists of.
    pub(super) rootfs: RootFs,
    /// Where it comes from, layer by layer.
    pub(super) history: [History; 1],
}

/// How the image is run.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Execution {
    /// User and group, by number: there is no /etc/passwd.
    pub(super) user: &'static str,
    /// The program, to which the manifests add arguments.
    pub(super) entrypoint: [&'static str; 1],
    /// Where it starts.
    pub(super) working_dir: &'static str,
    /// What it is.
    pub(super) labels: Labels,
}

/// What the image consists of.
#[derive(Serialize)]
pub(super) struct RootFs {
    /// `layers`.
    pub(super) r#type: &'static str,
    /// Digests of the layers before compression.
    pub(super) diff_ids: [String; 1],
}

/// Where a layer comes from.
#[derive(Serialize)]
pub(super) struct History {
    /// The date of the source.
    pub(super) created: String,
    /// The command that made it.
    pub(super) created_by: &'static str,
}

/// The image: its configuration and its layer.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Manifest {
    /// 2.
    pub(super) schema_version: u8,
    /// [`MANIFEST`].
    pub(super) media_type: &'static str,
    /// The configuration.
    pub(super) config: Descriptor,
    /// The layer.
    pub(super) layers: [Descriptor; 1],
    /// The same labels again, for who does not read the configuration.
    pub(super) annotations: Labels,
}

/// The entry of the archive.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Index {
    /// 2.
    pub(super) schema_version: u8,
    /// [`INDEX`].
    pub(super) media_type: &'static str,
    /// The image.
    pub(super) manifests: [Descriptor; 1],
}

/// Says that the archive is an OCI layout.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Layout {
    /// `1.0.0`.
    pub(super) image_layout_version: &'static str,
}

/// What `docker load` before version 25 reads instead of the index.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DockerManifest {
    /// The configuration's place in the archive.
    pub(super) config: String,
    /// The image's names.
    pub(super) repo_tags: [String; 1],
    /// The layer's place in the archive.
    pub(super) layers: [String; 1],
}
