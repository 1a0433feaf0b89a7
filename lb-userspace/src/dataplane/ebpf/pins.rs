//! What outlives the agent: folders and files below `<bpffs>/barelb`.
//!
//! ```text
//! links/<ifindex>      one pinned link per attached interface
//! links/<ifindex>-new  a link on its way in: pinned, then renamed over the one before
//! v1/<MAP>             the maps, v1/prog_xdp and v1/prog_tcx the programs the links run
//! v1-next/…            maps of another size or layout on their way in: filled, links updated, then renamed to v1
//! v2/…                 the same of another version of this program
//! ```
//!
//! Exactly one set of maps is live: the one whose programs the links run. A crash in the middle of an exchange leaves
//! two; the pinned programs tell which is which.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use aya::maps::MapInfo;
use aya::pin::PinError;
use aya::programs::ProgramInfo;
use lb_common::abi;
use lb_core::ids::LinkId;

use super::super::DataplaneError;
use super::object::{self, MAPS};
use super::raw_link::{self, LinkInfo};

/// Programs pinned beside the maps.
pub(super) const PROGRAMS: [&str; 2] = ["prog_xdp", "prog_tcx"];
/// How the pins of programs begin, in every version.
const PROGRAM_PREFIX: &str = "prog_";
/// How the pin of a link on its way in ends. (bpffs allows no dots in names.)
const NEW: &str = "-new";

/// The folder `<bpffs>/barelb`.
#[derive(Clone, Debug)]
pub struct Pins {
    root: PathBuf,
}

impl Pins {
    /// Of this BPF file system; nothing is touched.
    pub fn new(bpffs: &Path) -> Self {
        Self { root: bpffs.join("barelb") }
    }

    /// Makes the folders.
    pub fn create(&self) -> Result<(), DataplaneError> {
        fs::create_dir_all(self.links_dir()).map_err(failed("create", &self.links_dir()))
    }

    /// `<bpffs>/barelb`, which the agent locks.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The maps of this version.
    pub fn maps(&self) -> PathBuf {
        self.root.join(format!("v{}", abi::VERSION))
    }

    /// Where maps of another size are made.
    pub(super) fn staging(&self) -> PathBuf {
        self.root.join(format!("v{}-next", abi::VERSION))
    }

    fn links_dir(&self) -> PathBuf {
        self.root.join("links")
    }

    /// The pin of a link.
    pub fn link(&self, link: LinkId) -> PathBuf {
        self.links_dir().join(link.0.to_string())
    }

    /// The pin of a link that is to replace another.
    pub(super) fn new_link(&self, link: LinkId) -> PathBuf {
        self.links_dir().join(format!("{}{NEW}", link.0))
    }

    /// Interfaces that have a pinned link, whether or not they still exist.
    pub fn links(&self) -> BTreeSet<LinkId> {
        self.link_names().iter().filter_map(|name| name.parse().ok()).map(LinkId).collect()
    }

    /// Interfaces with a link that was pinned, but whose pin did not get its name.
    fn new_links(&self) -> BTreeSet<LinkId> {
        let names = self.link_names();
        names.iter().filter_map(|name| name.strip_suffix(NEW)?.parse().ok()).map(LinkId).collect()
    }

    fn link_names(&self) -> BTreeSet<String> {
        let Ok(entries) = fs::read_dir(self.links_dir()) else { return BTreeSet::new() };
        entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()
    }

    /// What the kernel says about the pinned link of this interface.
    pub(super) fn link_info(&self, link: LinkId) -> Option<LinkInfo> {
        raw_link::info(&self.link(link)).ok()
    }

    /// Detaches a link and removes its pin: nothing is answered there when this returns.
    pub fn remove_link(&self, link: LinkId) -> Result<(), DataplaneError> {
        let path = self.link(link);
        if let Err(error) = raw_link::detach(&path)
            && error.kind() != io::ErrorKind::NotFound
        {
            // Its pin goes all the same, and the link with it.
            tracing::debug!(%error, path = %path.display(), "can't detach");
        }
        ignore_missing(fs::remove_file(&path)).map_err(failed("remove", &path))
    }

    /// Ends what a crash interrupted: an exchange of links, and one of maps, of which the set is kept whose programs
    /// the links run.
    pub(super) fn recover(&self) -> Result<(), DataplaneError> {
        self.recover_links()?;
        if !self.staging().exists() {
            return Ok(());
        }
        if self.runs(&self.staging()) { self.promote() } else { remove_set(&self.staging()) }
    }

    /// A link that was pinned but not renamed: it takes the place that is free, or goes, since the one before is
    /// still attached.
    fn recover_links(&self) -> Result<(), DataplaneError> {
        for link in self.new_links() {
            let (new, path) = (self.new_link(link), self.link(link));
            if path.exists() {
                ignore_missing(fs::remove_file(&new)).map_err(failed("remove", &new))?;
            } else {
                fs::rename(&new, &path).map_err(failed("rename", &new))?;
            }
        }
        Ok(())
    }

    /// The set whose programs the links run: exactly one, or none when nothing is attached or the programs' pins are
    /// gone.
    pub(super) fn live(&self) -> Option<PathBuf> {
        self.sets().into_iter().find(|set| self.runs(set))
    }

    /// Removes every other set and gives the staged one its name.
    pub(super) fn promote(&self) -> Result<(), DataplaneError> {
        remove_set(&self.maps())?;
        fs::rename(self.staging(), self.maps()).map_err(failed("rename", &self.staging()))
    }

    /// Removes the sets of other versions. Their programs are no longer attached when this is called.
    pub(super) fn remove_other_versions(&self) -> Result<(), DataplaneError> {
        for set in self.sets() {
            if set != self.maps() && set != self.staging() {
                remove_set(&set)?;
            }
        }
        Ok(())
    }

    /// Removes every link, and with it its program from the interface; says which interfaces had one.
    pub fn remove_links(&self) -> Result<BTreeSet<LinkId>, DataplaneError> {
        self.recover_links()?;
        let links = self.links();
        links.iter().try_for_each(|link| self.remove_link(*link))?;
        Ok(links)
    }

    /// Removes links and maps; the programs go with the last reference. The folders stay, because the agent's lock
    /// is on one of them and another agent may wait for it.
    pub fn remove_all(&self) -> Result<(), DataplaneError> {
        self.remove_links()?;
        self.sets().iter().try_for_each(|set| remove_set(set))
    }

    /// Removes the folders that [`Pins::create`] made. Nothing must be left in them.
    pub fn remove_folders(&self) -> Result<(), DataplaneError> {
        for folder in [&self.links_dir(), &self.root] {
            ignore_missing(fs::remove_dir(folder)).map_err(failed("remove", folder))?;
        }
        Ok(())
    }

    /// Folders of map sets, of any version.
    pub fn sets(&self) -> BTreeSet<PathBuf> {
        let Ok(entries) = fs::read_dir(&self.root) else { return BTreeSet::new() };
        let is_set = |entry: &fs::DirEntry| {
            let name = entry.file_name();
            name.to_str()
                .and_then(|name| name.strip_prefix('v'))
                .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
        };
        entries.filter_map(Result::ok).filter(is_set).map(|entry| entry.path()).collect()
    }

    /// One of the pinned links runs a program of this set.
    fn runs(&self, set: &Path) -> bool {
        let Ok(entries) = fs::read_dir(set) else { return false };
        let programs: BTreeSet<u32> = entries
            .filter_map(Result::ok)
            .filter(|entry| entry.file_name().to_str().is_some_and(|name| name.starts_with(PROGRAM_PREFIX)))
            .filter_map(|entry| ProgramInfo::from_pin(entry.path()).ok())
            .map(|info| info.id())
            .collect();
        self.links()
            .into_iter()
            .any(|link| self.link_info(link).is_some_and(|info| programs.contains(&info.program)))
    }
}

/// `bpffs` is a mounted BPF file system that can be written to. Without this check a `mkdir` in an ordinary folder
/// would succeed, and the first pin fail with a riddle.
pub fn check_bpffs(bpffs: &Path) -> Result<(), DataplaneError> {
    let wanted = bpffs.canonicalize().unwrap_or_else(|_error| bpffs.to_path_buf());
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    match covering(&mounts, &wanted) {
        Some(Mount { kind: "bpf", read_only: false, .. }) => Ok(()),
        Some(Mount { kind: "bpf", point, .. }) => Err(DataplaneError::ReadOnly { path: point.to_owned() }),
        _ => Err(DataplaneError::NoBpffs { path: bpffs.display().to_string() }),
    }
}

/// A line of `/proc/self/mountinfo` (proc_pid_mountinfo(5)).
#[derive(Debug, PartialEq, Eq)]
struct Mount<'a> {
    point: &'a str,
    kind: &'a str,
    /// The mount or the file system is; either is enough.
    read_only: bool,
}

/// What is mounted at `path`: of the mounts at or above it the deepest, and of those at one place the last.
fn covering<'a>(mounts: &'a str, path: &Path) -> Option<Mount<'a>> {
    let at_or_above = mounts.lines().filter_map(mount).filter(|mount| path.starts_with(mount.point));
    at_or_above.max_by_key(|mount| mount.point.len())
}

fn mount(line: &str) -> Option<Mount<'_>> {
    let (left, right) = line.split_once(" - ")?;
    let mut left = left.split(' ').skip(4);
    let (point, options) = (left.next()?, left.next()?);
    let mut right = right.split(' ');
    let (kind, of_file_system) = (right.next()?, right.nth(1)?);
    let read_only = options.split(',').chain(of_file_system.split(',')).any(|option| option == "ro");
    Some(Mount { point, kind, read_only })
}

/// Every map is there and has the layout of this version and size.
pub(super) fn is_complete(dir: &Path, max_vips: u32) -> bool {
    MAPS.iter().all(|map| {
        let wanted = object::layout(map, max_vips);
        MapInfo::from_pin(dir.join(map))
            .is_ok_and(|info| wanted.fits(&info) && info.max_entries() == wanted.entries)
    })
}

/// Removes a folder of pins; it holds no folders.
pub(super) fn remove_set(dir: &Path) -> Result<(), DataplaneError> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("read", dir)(error)),
    };
    for entry in entries.filter_map(Result::ok) {
        ignore_missing(fs::remove_file(entry.path())).map_err(failed("remove", &entry.path()))?;
    }
    fs::remove_dir(dir).map_err(failed("remove", dir))
}

pub(super) fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DataplaneError {
    let path = path.display().to_string();
    move |source| DataplaneError::Pin { action, path, source }
}

/// The refusal behind aya's error.
pub(super) fn refusal(error: PinError) -> io::Error {
    match error {
        PinError::SyscallError(error) => error.io_error,
        other @ (PinError::NoFd { .. } | PinError::InvalidPinPath { .. }) => io::Error::other(other),
    }
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
        22 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n\
        30 22 0:27 / /sys rw,nosuid shared:5 - sysfs sysfs rw\n\
        31 30 0:28 / /sys/fs/bpf rw,nosuid shared:6 master:2 - bpf bpf rw,mode=700\n\
        32 22 0:29 / /mnt/ro ro,relatime - bpf none rw\n\
        33 22 0:30 / /mnt/super rw - bpf none ro\n\
        34 22 0:31 / /mnt/hidden rw - bpf none rw\n\
        35 34 0:32 / /mnt/hidden rw - tmpfs none rw\n";

    #[test]
    fn the_mount_that_covers_a_path() {
        for (path, expected) in [
            ("/sys/fs/bpf", ("/sys/fs/bpf", "bpf", false)),
            ("/sys/fs/bpf/node-1", ("/sys/fs/bpf", "bpf", false)),
            ("/sys/fs/bpfx", ("/sys", "sysfs", false)),
            ("/mnt/ro", ("/mnt/ro", "bpf", true)),
            ("/mnt/super", ("/mnt/super", "bpf", true)),
            ("/mnt/hidden", ("/mnt/hidden", "tmpfs", false)),
            ("/home", ("/", "ext4", false)),
        ] {
            let found = covering(MOUNTS, Path::new(path)).unwrap();
            assert_eq!((found.point, found.kind, found.read_only), expected, "{path}");
        }
    }

    #[test]
    fn a_folder_on_another_file_system_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let error = check_bpffs(folder.path()).unwrap_err();
        assert!(error.to_string().contains("mount -t bpf bpf"), "{error}");
    }

    #[test]
    fn links_that_did_not_get_their_name() {
        let folder = tempfile::tempdir().unwrap();
        let pins = Pins::new(folder.path());
        pins.create().unwrap();
        for name in ["7", "7-new", "8-new", "x-new", "x"] {
            fs::write(pins.links_dir().join(name), name).unwrap();
        }
        pins.recover_links().unwrap();
        assert_eq!(pins.links(), BTreeSet::from([LinkId(7), LinkId(8)]));
        assert_eq!(pins.new_links(), BTreeSet::new());
        assert_eq!(fs::read_to_string(pins.link(LinkId(7))).unwrap(), "7", "the one before stays");
        assert_eq!(fs::read_to_string(pins.link(LinkId(8))).unwrap(), "8-new", "the only one is kept");
    }
}
