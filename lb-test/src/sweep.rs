//! Names for what this process makes, and removal of what dead processes left behind.
//!
//! A name is `barelb-test-<pid>-<n>-<prefix>`, for namespaces, for folders under the temporary directory and for cgroups.
//! Whatever carries the id of a process that no longer exists is nobody's and is removed.

use std::path::{Path, PathBuf};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, process, thread};

use anyhow::{Context, Result};

use crate::scratch;

/// Where `ip netns` keeps its namespaces.
pub(crate) const NETNS: &str = "/run/netns";

const PREFIX: &str = "barelb-test-";
const CGROUPS: &str = "/sys/fs/cgroup";
/// How long a process may take to leave its cgroup when it was killed.
const CGROUP_LIMIT: Duration = Duration::from_secs(10);

/// A name no other process uses; the first call of a process sweeps.
pub(crate) fn unique(prefix: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    static SWEPT: Once = Once::new();
    SWEPT.call_once(sweep);
    format!("{PREFIX}{}-{}-{prefix}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Removes the namespaces, with their processes, the folders, with their mounts, and the cgroups of dead processes.
/// Another process may sweep at the same time, so a failed removal is no error.
fn sweep() {
    for name in leftovers(Path::new(NETNS)) {
        remove_namespace(&name);
    }
    let folders = env::temp_dir();
    for name in leftovers(&folders) {
        scratch::remove_folder(&folders.join(name));
    }
    for hierarchy in hierarchies() {
        for name in leftovers(&hierarchy) {
            remove_tree(&hierarchy.join(name));
        }
    }
}

/// Makes a cgroup of this name in each hierarchy.
pub(crate) fn make_cgroups(name: &str) -> Result<()> {
    for hierarchy in hierarchies() {
        let cgroup = hierarchy.join(name);
        fs::create_dir(&cgroup).with_context(|| format!("cannot make the cgroup {}", cgroup.display()))?;
    }
    Ok(())
}

/// Removes the cgroups of this name, and those below them, whose processes have ended or are about to.
pub(crate) fn remove_cgroups(name: &str) {
    for hierarchy in hierarchies() {
        let cgroup = hierarchy.join(name);
        let deadline = Instant::now() + CGROUP_LIMIT;
        while cgroup.exists() && Instant::now() < deadline {
            remove_tree(&cgroup);
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// From the leaves on: a cgroup is removed as an empty folder, whatever files it shows.
fn remove_tree(cgroup: &Path) {
    for entry in fs::read_dir(cgroup).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path());
        }
    }
    drop(fs::remove_dir(cgroup));
}

/// Where cgroups are: one tree (version 2), or one for each controller in folders of it.
fn hierarchies() -> Vec<PathBuf> {
    let root = PathBuf::from(CGROUPS);
    if root.join("cgroup.procs").exists() {
        return vec![root];
    }
    let entries = fs::read_dir(&root).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.filter(|path| path.join("cgroup.procs").exists() && !path.is_symlink()).collect()
}

/// Ends what runs in a namespace and removes its name; the kernel frees it when nothing uses it any more.
pub(crate) fn remove_namespace(name: &str) {
    kill_processes_in(name);
    let path = Path::new(NETNS).join(name);
    scratch::unmount(&path);
    drop(fs::remove_file(&path));
}

fn leftovers(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.filter(|name| maker(name).is_some_and(|pid| !is_alive(pid))).collect()
}

/// Namespaces, folders, cgroups and mounts with a name of this process.
pub fn made_by(pid: u32) -> std::io::Result<Vec<String>> {
    let ours = format!("{PREFIX}{pid}-");
    let entries = [NETNS.into(), env::temp_dir()]
        .into_iter()
        .chain(hierarchies())
        .flat_map(|folder| fs::read_dir(folder).into_iter().flatten().flatten());
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let names = names.filter(|name| name.starts_with(&ours));
    let mounts = fs::read_to_string("/proc/mounts")?;
    Ok(names.chain(mounts.lines().filter(|line| line.contains(&ours)).map(str::to_owned)).collect())
}

/// The process id in a name made by [`unique`].
fn maker(name: &str) -> Option<u32> {
    name.strip_prefix(PREFIX)?.split('-').next()?.parse().ok()
}

fn is_alive(pid: u32) -> bool {
    Path::new("/proc").join(pid.to_string()).exists()
}

/// Kills what still runs in a namespace that goes: children that outlived a killed test, or what a person
/// started there by hand. Threads of this process that are inside do not count: its main thread is not.
fn kill_processes_in(name: &str) {
    let Ok(pids) = crate::run::output(process::Command::new("ip").args(["netns", "pids", name])) else {
        return;
    };
    for pid in pids.split_whitespace().filter_map(|pid| pid.parse::<i32>().ok()) {
        // SAFETY: kill has no memory effects; the process lives in a namespace that was made here.
        unsafe { libc::kill(pid, libc::SIGKILL) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_with_a_process_id_have_a_maker() {
        assert_eq!(maker("barelb-test-417-3-node-a"), Some(417));
        for name in ["barelb-test-", "barelb-test-x-1-a", "barelb-417-1-a", "default"] {
            assert_eq!(maker(name), None, "{name}");
        }
        assert!(is_alive(process::id()));
    }
}
