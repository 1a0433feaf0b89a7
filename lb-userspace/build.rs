//! Puts the BPF object where the crate embeds it from: `OUT_DIR/barelb.o`.
//!
//! `cargo xtask build` compiles the object, because its compiler and linker are not the ones of this crate. Without
//! an object an empty file takes its place, so that `cargo check`, clippy and the tests work on any machine; the
//! agent then refuses to start and says why.

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

/// Names an object from elsewhere.
const OBJECT_VARIABLE: &str = "BARELB_BPF_OBJECT";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed={OBJECT_VARIABLE}");
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("..");
    let target = PathBuf::from(env::var("OUT_DIR")?).join("barelb.o");
    let bytes = match env::var_os(OBJECT_VARIABLE) {
        Some(object) => chosen(Path::new(&object))?,
        None => built(&root)?,
    };
    fs::write(&target, bytes).map_err(|error| format!("can't write {}: {error}", target.display()))?;
    Ok(())
}

/// The object that the caller names must be there.
fn chosen(object: &Path) -> Result<Vec<u8>, String> {
    println!("cargo:rerun-if-changed={}", object.display());
    fs::read(object).map_err(|error| format!("can't read {} ({OBJECT_VARIABLE}): {error}", object.display()))
}

/// The object that xtask left in the checkout, or nothing.
fn built(root: &Path) -> Result<Vec<u8>, String> {
    let frame_log = env::var_os("CARGO_FEATURE_FRAME_LOG").is_some();
    let (name, command) = if frame_log {
        ("barelb-frame-log.o", "cargo xtask build --frame-log")
    } else {
        ("barelb.o", "cargo xtask build")
    };
    let folder = root.join("target/bpf");
    let object = folder.join(name);
    if object.is_file() {
        println!("cargo:rerun-if-changed={}", object.display());
        return fs::read(&object).map_err(|error| format!("can't read {}: {error}", object.display()));
    }
    // Cargo would run this script, and compile the crate, in every build while a watched file is missing; so it
    // watches the folder that the object will appear in.
    if root.join("xtask").is_dir() {
        fs::create_dir_all(&folder).map_err(|error| format!("can't make {}: {error}", folder.display()))?;
        println!("cargo:rerun-if-changed={}", folder.display());
    }
    println!("cargo:warning=no BPF program inside this barelb: `{command}` makes one with it");
    Ok(Vec::new())
}
