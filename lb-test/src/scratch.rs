//! Folders and BPF file systems that disappear with their guard.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, io, ptr};

use anyhow::{Context, Result};

use crate::{run, sweep};

/// Leaves a script that can be run at once. It is written by another process: one that another thread starts meanwhile
/// would have it open for writing, and nothing could run it (`ETXTBSY`).
pub fn write_program(path: &Path, text: &str) -> Result<()> {
    let draft = path.with_extension("draft");
    fs::write(&draft, text).with_context(|| format!("cannot write {}", draft.display()))?;
    run::output(Command::new("install").args(["-m", "755"]).arg(&draft).arg(path)).map(drop)
}

/// A folder under the temporary directory, removed with all its content on drop.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Makes the folder; `prefix` tells people what it is for.
    pub fn new(prefix: &str) -> Result<Self> {
        let path = env::temp_dir().join(sweep::unique(prefix));
        fs::create_dir_all(&path).with_context(|| format!("cannot make the folder {}", path.display()))?;
        Ok(Self { path })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A path inside the folder; nothing is made.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        remove_folder(&self.path);
    }
}

/// A BPF file system of its own: several nodes on one kernel each need one, and `ip netns exec` hides
/// `/sys/fs/bpf`. It is mounted in the host's mount namespace under the temporary directory, so every process
/// sees it at the same path, whatever network namespace it is in, if it started after the mount.
#[derive(Debug)]
pub struct Bpffs {
    // Unmounted by the removal of the folder.
    folder: Scratch,
}

impl Bpffs {
    /// Mounts a new, empty instance.
    pub fn new(prefix: &str) -> Result<Self> {
        let folder = Scratch::new(prefix)?;
        mount("bpf", folder.path())?;
        Ok(Self { folder })
    }

    /// What to give as `--bpffs`.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Mounts a new instance of the file system `kind` on `target`.
pub(crate) fn mount(kind: &str, target: &Path) -> Result<()> {
    let (path, kind_name) = (c_path(target)?, CString::new(kind)?);
    // SAFETY: three NUL-terminated strings that outlive the call; no data.
    let done = unsafe { libc::mount(kind_name.as_ptr(), path.as_ptr(), kind_name.as_ptr(), 0, ptr::null()) };
    if done != 0 {
        return Err(io::Error::last_os_error())
            .with_context(|| format!("cannot mount {kind} on {}: this needs root", target.display()));
    }
    Ok(())
}

/// Unmounts `target` if something is mounted there; says nothing if not.
pub(crate) fn unmount(target: &Path) {
    let Ok(path) = c_path(target) else { return };
    // SAFETY: a NUL-terminated string that outlives the call.
    unsafe { libc::umount2(path.as_ptr(), libc::MNT_DETACH) };
}

/// Removes a folder after whatever is mounted on it or directly in it.
pub(crate) fn remove_folder(path: &Path) {
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        unmount(&entry.path());
    }
    unmount(path);
    drop(fs::remove_dir_all(path));
}

fn c_path(path: &Path) -> Result<CString> {
    CString::new(path.as_os_str().as_bytes()).context("a path with a NUL byte")
}
