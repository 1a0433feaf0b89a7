//! Reads a directory of manifests.
//!
//! All files directly in the directory whose name ends in `.yaml`, `.yml` or `.json` and does not begin with a
//! dot, in order of name; several documents in a file, and lists. Each document is read by itself, so that what
//! is wrong with one is a [`Problem`] and nothing more. A file that has not changed is not read again.
//!
//! What a file said stays in force while an error hides it; `last_good` has the rule.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use lb_core::problem::Place;

use self::{
    last_good::{LastGoodFiles, Reading},
    object::Reader,
};
use super::problem::{FileError, Problem};

mod document;
mod last_good;
pub mod legacy;
pub mod manifest;
mod object;
mod objects;
#[cfg(test)]
mod tests;
mod unknown;

pub use objects::{Objects, SourcedService};

/// Largest file that is read, in bytes.
pub const MAX_FILE: u64 = 16 << 20;
/// Most documents of one file that are read.
pub const MAX_DOCUMENTS: u32 = 100_000;
/// A file that changed less than this before it was read is read again: its next change might carry the same
/// time stamp, because the kernel's file times advance with its tick (at most 10 ms).
const RACY: Duration = Duration::from_millis(50);

/// Which objects of a directory are ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Namespace of MetalLB's objects and of the v0.9 `ConfigMap`.
    pub namespace: String,
    /// Name of the v0.9 `ConfigMap`.
    pub config_map: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self { namespace: "metallb-system".to_owned(), config_map: "config".to_owned() }
    }
}

/// What tells that a file has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fingerprint {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Fingerprint {
    pub(super) fn new(meta: &fs::Metadata) -> Self {
        Self {
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }
}

#[derive(Debug, Clone)]
struct Known {
    /// `None`: to be read again in any case.
    fingerprint: Option<Fingerprint>,
    problems: Vec<Problem>,
}

/// A directory of manifests, and what was read of it.
#[derive(Debug)]
pub struct Files {
    dir: PathBuf,
    settings: Settings,
    known: BTreeMap<Arc<str>, Known>,
    in_force: LastGoodFiles,
    unreadable: Option<Problem>,
}

/// Reads a directory once.
pub fn read_directory(dir: &Path, settings: Settings) -> Objects {
    let mut files = Files::new(dir, settings);
    files.read();
    files.objects()
}

impl Files {
    /// A directory of which nothing was read yet.
    pub fn new(dir: impl Into<PathBuf>, settings: Settings) -> Self {
        Self {
            dir: dir.into(),
            settings,
            known: BTreeMap::new(),
            in_force: LastGoodFiles::default(),
            unreadable: None,
        }
    }

    /// Reads what has changed since the last time. Returns whether anything may differ; then
    /// [`Files::objects`] is worth calling. Blocks on the disk.
    pub fn read(&mut self) -> bool {
        let names = match list(&self.dir) {
            Ok(names) => names,
            Err(error) => {
                let file = Some(self.dir.display().to_string());
                let place = Place { file, ..Place::default() };
                let problem = Some(Problem::new(place, FileError::Directory(error.kind())));
                return std::mem::replace(&mut self.unreadable, problem.clone()) != problem;
            }
        };
        let mut differs = self.unreadable.take().is_some();
        let before = self.known.len();
        self.known.retain(|name, _| names.contains(name));
        self.in_force.retain(|name| names.contains(name));
        differs |= self.known.len() != before;
        for name in names {
            differs |= self.refresh(&name);
        }
        differs
    }

    /// Everything in force, with all problems.
    pub fn objects(&self) -> Objects {
        let mut all = Objects::collect(self.in_force.objects());
        let found = self.unreadable.iter().chain(self.known.values().flat_map(|known| &known.problems));
        all.complete = found.clone().all(Problem::is_warning);
        let duplicates = std::mem::replace(&mut all.problems, found.cloned().collect());
        all.problems.extend(duplicates);
        all.problems.sort_by(|a, b| {
            let order = |p: &Problem| (p.place.file.clone(), p.place.document);
            order(a).cmp(&order(b))
        });
        all
    }

    /// Reads one file if it has changed; tells whether it was read.
    fn refresh(&mut self, name: &Arc<str>) -> bool {
        let path = self.dir.join(name.as_ref());
        let place = Place { file: Some(name.as_ref().to_owned()), ..Place::default() };
        let (fingerprint, bytes) = match self.look(name, &path) {
            Look::Unchanged => return false,
            Look::Directory => {
                self.in_force.settle(name, Reading::Whole(Vec::new()));
                return self.known.remove(name).is_some();
            }
            Look::Failed(error) => {
                let problems = vec![Problem::new(place, error)];
                let same = self.known.get(name).is_some_and(|known| known.problems == problems);
                self.known.insert(Arc::clone(name), Known { fingerprint: None, problems });
                self.in_force.settle(name, Reading::Nothing);
                return !same;
            }
            Look::Read(fingerprint, bytes) => (fingerprint, bytes),
        };
        let (reading, problems) = if bytes.is_empty() && self.in_force.has_objects(name) {
            (Reading::Nothing, vec![Problem::new(place, FileError::Emptied)])
        } else {
            parse(&bytes, &place, &self.settings)
        };
        self.in_force.settle(name, reading);
        self.known.insert(Arc::clone(name), Known { fingerprint, problems });
        true
    }

    fn look(&self, name: &Arc<str>, path: &Path) -> Look {
        let meta = match fs::metadata(path) {
            Ok(meta) if meta.is_dir() => return Look::Directory,
            Ok(meta) if !meta.is_file() => return Look::Failed(FileError::NotRegular),
            Ok(meta) => meta,
            Err(error) => return Look::Failed(FileError::Unreadable(error.kind())),
        };
        let fingerprint = Fingerprint::new(&meta);
        if self.known.get(name).is_some_and(|known| known.fingerprint == Some(fingerprint)) {
            return Look::Unchanged;
        }
        if meta.len() > MAX_FILE {
            return Look::Failed(FileError::TooLarge { bytes: meta.len(), limit: MAX_FILE });
        }
        match slurp(path) {
            Ok(bytes) if bytes.len() as u64 > MAX_FILE => {
                Look::Failed(FileError::TooLarge { bytes: bytes.len() as u64, limit: MAX_FILE })
            }
            Ok(bytes) => Look::Read(is_settled(&meta).then_some(fingerprint), bytes),
            Err(error) => Look::Failed(FileError::Unreadable(error.kind())),
        }
    }
}

enum Look {
    Unchanged,
    Directory,
    Failed(FileError),
    Read(Option<Fingerprint>, Vec<u8>),
}

/// Whether a later change is sure to have another time stamp.
fn is_settled(meta: &fs::Metadata) -> bool {
    let changed = Duration::new(
        u64::try_from(meta.ctime()).unwrap_or(0),
        u32::try_from(meta.ctime_nsec()).unwrap_or(0),
    );
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    now > changed + RACY
}

fn slurp(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Names of the files that are read, in order.
fn list(dir: &Path) -> io::Result<BTreeSet<Arc<str>>> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        if is_manifest(&name) {
            names.insert(name.as_ref().into());
        }
    }
    Ok(names)
}

/// Whether a file of this name is read.
pub(super) fn is_manifest(name: &str) -> bool {
    let extension = Path::new(name).extension().and_then(|extension| extension.to_str());
    !name.starts_with('.') && matches!(extension, Some("yaml" | "yml" | "json"))
}

/// Reads the text of a file. `place` names the file.
fn parse(bytes: &[u8], place: &Place, settings: &Settings) -> (Reading, Vec<Problem>) {
    let text = match str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let error = FileError::NotUtf8 { offset: error.valid_up_to() };
            return (Reading::Nothing, vec![Problem::new(place.clone(), error)]);
        }
    };
    let mut reader = Reader { settings, objects: Vec::new(), problems: Vec::new() };
    for document in document::split(text) {
        let place = Place { document: Some(document.number), ..place.clone() };
        if document.number > MAX_DOCUMENTS {
            let error = FileError::TooManyDocuments { limit: MAX_DOCUMENTS };
            reader.problems.push(Problem::new(place, error));
            break;
        }
        match document::parse(&document) {
            // Nothing but an explicit null.
            Ok(serde_json::Value::Null) => {}
            Ok(value) => reader.document(value, &place),
            Err(error) => reader.problems.push(Problem::new(place, error)),
        }
    }
    let Reader { objects, problems, .. } = reader;
    let whole = problems.iter().all(Problem::is_warning);
    (if whole { Reading::Whole(objects) } else { Reading::Part(objects) }, problems)
}
