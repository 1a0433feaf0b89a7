//! Images of one static program, in the archive that `docker save` writes.

use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tar::{Builder, Header};

/// An image: its name, and the arguments that its program gets.
pub(super) type Named<'a> = (&'a str, &'a [&'a str]);

/// Writes an archive of images that share a program, `/NAME` in each of them.
pub(super) fn write(archive: &Path, program: &Path, images: &[Named<'_>]) -> Result<()> {
    let name = program.file_name().context("a program without a name")?.to_string_lossy().into_owned();
    let bytes = fs::read(program).with_context(|| format!("cannot read {}", program.display()))?;
    let mut layer = Builder::new(Vec::new());
    append(&mut layer, &name, 0o755, &bytes)?;
    let layer = layer.into_inner()?;
    let digest = format!("sha256:{:x}", Sha256::digest(&layer));
    let mut out = Builder::new(File::create(archive)?);
    append(&mut out, "layer.tar", 0o644, &layer)?;
    let mut entries = Vec::new();
    for (number, (image, arguments)) in images.iter().enumerate() {
        let file = format!("{number}.json");
        append(&mut out, &file, 0o644, configuration(&name, arguments, &digest).to_string().as_bytes())?;
        entries.push(json!({"Config": file, "RepoTags": [image], "Layers": ["layer.tar"]}));
    }
    append(&mut out, "manifest.json", 0o644, Value::from(entries).to_string().as_bytes())?;
    out.finish().with_context(|| format!("cannot write {}", archive.display()))
}

fn configuration(program: &str, arguments: &[&str], layer: &str) -> Value {
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let entrypoint: Vec<_> =
        [format!("/{program}")].into_iter().chain(arguments.iter().map(ToString::to_string)).collect();
    json!({
        "architecture": architecture, "os": "linux",
        "config": {"Entrypoint": entrypoint, "User": "65532:65532"},
        "rootfs": {"type": "layers", "diff_ids": [layer]},
    })
}

fn append<W: std::io::Write>(archive: &mut Builder<W>, name: &str, mode: u32, bytes: &[u8]) -> Result<()> {
    let mut header = Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(mode);
    Ok(archive.append_data(&mut header, name, bytes)?)
}
