//! The binary of the image: linked with the C library inside, because nothing else is in the image.
//!
//! It is a build of its own. On a host the dynamic `target/release/barelb` is the better one: a static glibc that is to
//! look a name up loads the host's modules for that (nsswitch.conf), and those want the very same version of it. In the
//! image there are none, and files and DNS are built in; in a pod the API server has an address anyway.

use std::env::consts::ARCH;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use crate::workspace::Workspace;
use crate::{process, remap};

/// The target by the name of compilers.
pub(super) fn triple() -> String {
    format!("{ARCH}-unknown-linux-gnu")
}

/// Builds it; its bytes.
pub(super) fn build(workspace: &Workspace, debug: bool) -> Result<Vec<u8>> {
    let file = build_static(workspace, "lb-userspace", "barelb", debug)?;
    fs::read(&file).with_context(|| format!("cannot read {}", file.display()))
}

/// Builds a program of a package that needs no dynamic loader.
pub(super) fn build_static(workspace: &Workspace, package: &str, name: &str, debug: bool) -> Result<PathBuf> {
    let triple = triple();
    let mut command = workspace.cargo();
    command.args(["build", "--locked", "--package", package, "--bin", name]);
    // With a target the flags are for what runs on it, not for build scripts and macros, which can't be static.
    command.args(["--target", &triple]);
    if debug {
        // Half of the bytes, which each test would unpack.
        command.args(["--config", "profile.dev.strip='symbols'"]);
    } else {
        command.arg("--release");
    }
    command.env("CARGO_ENCODED_RUSTFLAGS", flags(workspace)).env_remove("BARELB_BPF_OBJECT");
    process::run(&mut command)?;
    let file = workspace.target().join(triple).join(if debug { "debug" } else { "release" }).join(name);
    let bytes = fs::read(&file).with_context(|| format!("cargo left no {}", file.display()))?;
    ensure!(is_static(&bytes)?, "{} wants a dynamic loader, and an image has none", file.display());
    remap::ensure_anonymous(workspace, &bytes)?;
    Ok(file)
}

/// Flags of the compiler, in cargo's encoding.
fn flags(workspace: &Workspace) -> String {
    let link = "-Ctarget-feature=+crt-static".to_owned();
    std::iter::once(link).chain(remap::flags(workspace)).collect::<Vec<_>>().join("\x1f")
}

/// True for a program without an interpreter (elf(5)): the kernel starts it, and nobody else.
fn is_static(elf: &[u8]) -> Result<bool> {
    const INTERPRETER: u32 = 3;
    let word = |at: usize| Some(u16::from_le_bytes(elf.get(at..at + 2)?.try_into().ok()?));
    let header = || {
        let start = usize::try_from(u64::from_le_bytes(elf.get(32..40)?.try_into().ok()?)).ok()?;
        Some((start, usize::from(word(54)?), usize::from(word(56)?)))
    };
    ensure!(elf.starts_with(b"\x7fELF\x02\x01"), "it is no 64-bit little-endian program");
    let (start, size, count) = header().context("its header is cut off")?;
    let kinds = (0..count).map(|n| {
        let at = start + n * size;
        Some(u32::from_le_bytes(elf.get(at..at + 4)?.try_into().ok()?))
    });
    let kinds: Option<Vec<_>> = kinds.collect();
    Ok(!kinds.context("its program headers are cut off")?.contains(&INTERPRETER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interpreter_is_seen() {
        // Header, then program headers of the given kinds.
        let elf = |kinds: &[u32]| {
            let mut elf = vec![0; 64];
            elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
            elf[32] = 64;
            elf[54] = 56;
            elf[56] = u8::try_from(kinds.len()).unwrap();
            for kind in kinds {
                elf.extend(kind.to_le_bytes());
                elf.extend([0; 52]);
            }
            elf
        };
        assert!(is_static(&elf(&[1, 2])).unwrap());
        assert!(!is_static(&elf(&[1, 3, 2])).unwrap());
        assert!(is_static(&elf(&[1, 2])[..100]).is_err());
        assert!(is_static(b"#!/bin/sh").is_err());
        // The tests themselves are ordinary programs.
        assert!(!is_static(&fs::read("/proc/self/exe").unwrap()).unwrap());
    }
}
