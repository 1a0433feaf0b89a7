//! What outlives the agent: folders and files below `<bpffs>/barelb`.
//!
//! ```text
//! links/<ifindex>    one pinned link per attached interface
//! v1/<MAP>           the maps, v1/prog_xdp and v1/prog_tcx the programs the links run
//! v1-next/…          maps of another size on their way in: filled, links updated, then renamed to v1
//! ```
//!
//! Exactly one set of maps is live: the one whose programs the links run. A crash in the middle of an exchange leaves
//! two; the pinned programs tell which is which.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use aya::maps::MapInfo;
use aya::programs::ProgramInfo;
use aya::programs::links::PinnedLink;
use lb_common::abi;
use lb_core::ids::LinkId;

use super::super::DataplaneError;
use super::object::{self, MAPS};

/// Programs pinned beside the maps.
pub(super) const PROGRAMS: [&str; 2] = ["prog_xdp", "prog_tcx"];

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

    /// The pin of a link that is to replace another. (bpffs allows no dots in names.)
    pub(super) fn new_link(&self, link: LinkId) -> PathBuf {
        self.links_dir().join(format!("{}-new", link.0))
    }

    /// Interfaces that have a pinned link, whether or not they still exist.
    pub fn links(&self) -> BTreeSet<LinkId> {
        let Ok(entries) = fs::read_dir(self.links_dir()) else { return BTreeSet::new() };
        let index = |entry: fs::DirEntry| entry.file_name().to_str()?.parse().ok().map(LinkId);
        entries.filter_map(Result::ok).filter_map(index).collect()
    }

    /// Removes the pin of a link, and with it the link.
    pub fn remove_link(&self, link: LinkId) -> Result<(), DataplaneError> {
        let path = self.link(link);
        ignore_missing(fs::remove_file(&path)).map_err(failed("remove", &path))
    }

    /// Ends an exchange that a crash interrupted: keeps the set whose programs the links run.
    pub(super) fn recover(&self) -> Result<(), DataplaneError> {
        if !self.staging().exists() {
            return Ok(());
        }
        if self.runs(&self.staging()) { self.promote() } else { remove_set(&self.staging()) }
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

    /// Removes links and maps; the programs go with the last reference.
    pub fn remove_all(&self) -> Result<(), DataplaneError> {
        for link in self.links() {
            self.remove_link(link)?;
        }
        for set in self.sets() {
            remove_set(&set)?;
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
        let programs: BTreeSet<u32> = PROGRAMS
            .iter()
            .filter_map(|name| ProgramInfo::from_pin(set.join(name)).ok())
            .map(|info| info.id())
            .collect();
        self.links().into_iter().any(|link| {
            let link = PinnedLink::from_pin(self.link(link)).map(aya::programs::links::FdLink::from);
            link.ok()
                .and_then(|link| link.info().ok())
                .is_some_and(|info| programs.contains(&info.program_id()))
        })
    }
}

/// `bpffs` is a mounted BPF file system. Without this check a `mkdir` in an ordinary folder would succeed, and the
/// first pin fail with a riddle.
pub fn check_bpffs(bpffs: &Path) -> Result<(), DataplaneError> {
    let wanted = bpffs.canonicalize().unwrap_or_else(|_error| bpffs.to_path_buf());
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let is_bpffs =
        mounts.lines().filter_map(mount).any(|(point, kind)| kind == "bpf" && wanted.starts_with(point));
    if is_bpffs { Ok(()) } else { Err(DataplaneError::NoBpffs { path: bpffs.display().to_string() }) }
}

/// Mount point and type of a line of `/proc/self/mountinfo` (proc_pid_mountinfo(5)).
fn mount(line: &str) -> Option<(&str, &str)> {
    let (left, right) = line.split_once(" - ")?;
    Some((left.split(' ').nth(4)?, right.split(' ').next()?))
}

/// Every map is there and has the layout of this version and size.
pub(super) fn is_complete(dir: &Path, max_vips: u32) -> bool {
    MAPS.iter().all(|map| {
        let wanted = object::layout(map, max_vips);
        MapInfo::from_pin(dir.join(map)).is_ok_and(|info| {
            (info.key_size(), info.value_size(), info.max_entries())
                == (wanted.key, wanted.value, wanted.entries)
        })
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

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
