//! The BPF objects: compiled with a toolchain of their own, then copied to `target/bpf`.
//!
//! A file there is only rewritten when its bytes change, so that cargo does not rebuild what embeds it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest as _, Sha256};

use crate::elsewhere::{self, Elsewhere};
use crate::process::run;
use crate::remap;
use crate::toolchain::Toolchain;
use crate::workspace::Workspace;

const TARGET: &str = "bpfel-unknown-none";
const PROFILE: &str = "bpf";

/// Binary of lb-ebpf → file in `target/bpf`.
const PROGRAMS: [(&str, &str); 2] = [("barelb-bpf", "barelb.o"), ("rig-bpf", "rig.o")];
const FRAME_LOG_OBJECT: &str = "barelb-frame-log.o";

/// Where the objects are: the build script of lb-userspace reads them here.
fn folder(workspace: &Workspace) -> PathBuf {
    workspace.target().join("bpf")
}

/// The object of test and benchmark programs.
pub(crate) fn rig(workspace: &Workspace) -> PathBuf {
    folder(workspace).join("rig.o")
}

/// Builds all objects; the one that names each frame's outcome only on demand.
pub(crate) fn build(workspace: &Workspace, toolchain: &Toolchain, frame_log: bool) -> Result<()> {
    compile(workspace, toolchain, &PROGRAMS, false)?;
    if frame_log {
        compile(workspace, toolchain, &[(PROGRAMS[0].0, FRAME_LOG_OBJECT)], true)?;
    }
    Ok(())
}

/// Builds the objects that are shipped from a copy in another folder as well: the same bytes, or an error.
pub(crate) fn compare(workspace: &Workspace, toolchain: &Toolchain) -> Result<()> {
    build(workspace, toolchain, false)?;
    let elsewhere = Elsewhere::new(workspace)?;
    build(elsewhere.workspace(), toolchain, false)?;
    for (_, object) in PROGRAMS {
        let read = |workspace: &Workspace| {
            let file = folder(workspace).join(object);
            fs::read(&file).with_context(|| format!("can't read {}", file.display()))
        };
        let bytes = read(workspace)?;
        elsewhere::ensure_same(object, &bytes, &read(elsewhere.workspace())?)?;
        println!("{object} is the same from another folder: SHA-256 {:x}", Sha256::digest(&bytes));
    }
    Ok(())
}

fn compile(
    workspace: &Workspace,
    toolchain: &Toolchain,
    programs: &[(&str, &str)],
    frame_log: bool,
) -> Result<()> {
    let target_folder = workspace.target().join("bpf-build");
    let mut command = toolchain.cargo(workspace);
    command.args(["build", "--package", "lb-ebpf", "--profile", PROFILE, "--target", TARGET]);
    command.args(toolchain.build_arguments()).arg("--target-dir").arg(&target_folder);
    for (binary, _) in programs {
        command.args(["--bin", binary]);
    }
    if frame_log {
        command.args(["--features", "frame-log"]);
    }
    command.env(
        "CARGO_ENCODED_RUSTFLAGS",
        rust_flags(toolchain.linker(), std::env::consts::ARCH, remap::flags(workspace)),
    );
    run(&mut command)?;

    for (binary, object) in programs {
        let made = target_folder.join(TARGET).join(PROFILE).join(binary);
        let bytes =
            fs::read(&made).with_context(|| format!("can't read the linked object {}", made.display()))?;
        write_if_changed(&folder(workspace).join(object), &bytes)?;
    }
    Ok(())
}

/// Flags of the compiler, in cargo's encoding. They apply to the BPF target only, not to build scripts.
///
/// Paths appear in the object's debug information, and the object in the binary.
fn rust_flags(linker: &Path, arch: &str, paths: Vec<String>) -> String {
    let flags = [
        format!("-Clinker={}", linker.display()),
        // aya and bpftool read types from BTF, which bpf-linker makes from DWARF.
        "-Clink-arg=--btf".to_owned(),
        // Every machine that BPF is compiled for loads words from any address of a packet. LLVM would load bytes.
        "-Clink-arg=--cpu-features=+allows-misaligned-mem-access".to_owned(),
        "-Cdebuginfo=2".to_owned(),
        // 32-bit registers and jumps: fewer instructions; known to every kernel from 5.1 on.
        "-Ctarget-cpu=v3".to_owned(),
        // aya-ebpf picks the layout of kernel structures by the machine the program will run on.
        format!("--cfg=bpf_target_arch=\"{arch}\""),
    ];
    flags.into_iter().chain(paths).collect::<Vec<_>>().join("\x1f")
}

/// Returns whether the file was written. Readers see the old or the new bytes, never a part.
fn write_if_changed(file: &Path, bytes: &[u8]) -> Result<bool> {
    if fs::read(file).is_ok_and(|old| old == bytes) {
        return Ok(false);
    }
    let context = || format!("can't write {}", file.display());
    let folder = file.parent().with_context(context)?;
    fs::create_dir_all(folder).with_context(context)?;
    let fresh = file.with_extension("o.new");
    fs::write(&fresh, bytes).and_then(|()| fs::rename(&fresh, file)).with_context(context)?;
    println!("wrote {} ({} bytes)", file.display(), bytes.len());
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_encoded_for_cargo() {
        let flags = rust_flags(Path::new("/a b/bpf-linker"), "aarch64", vec!["--remap".to_owned()]);
        let flags: Vec<_> = flags.split('\x1f').collect();
        assert_eq!(flags[0], "-Clinker=/a b/bpf-linker");
        assert!(flags.contains(&"-Clink-arg=--btf") && flags.contains(&"--remap"));
        assert!(flags.contains(&"--cfg=bpf_target_arch=\"aarch64\""));
    }

    #[test]
    fn an_object_is_only_rewritten_when_it_changes() {
        let folder = std::env::temp_dir().join(format!("xtask-objects-{}", std::process::id()));
        let file = folder.join("deep/barelb.o");
        assert!(write_if_changed(&file, b"one").unwrap());
        let written = fs::metadata(&file).unwrap().modified().unwrap();
        assert!(!write_if_changed(&file, b"one").unwrap());
        assert_eq!(fs::metadata(&file).unwrap().modified().unwrap(), written);
        assert!(write_if_changed(&file, b"two").unwrap());
        assert_eq!(fs::read(&file).unwrap(), b"two");
        fs::remove_dir_all(folder).unwrap();
    }
}
