//! Reads a directory of manifests.
//!
//! All files directly in the directory whose name ends in `.yaml`, `.yml` or `.json` and does not begin with a
//! dot, in order of name; several documents in a file, and lists. Each document is read by itself, so that what
//! is wrong with one is a [`Problem`] and nothing more. A file that has not changed is not read again.
//!
//! What stays in force while an error hides it is decided elsewhere, in `in_force`.

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

use self::object::Reader;
use super::problem::{FileError, Problem};

mod document;
pub mod legacy;
pub mod manifest;
mod object;
#[cfg(test)]
mod tests;
mod unknown;

pub(super) use object::{Content, Object, ObjectId, other};

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
    /// Namespace of objects that name none, as kubectl would put them there. Without one a Service is in `default`, and one of
    /// MetalLB's objects in MetalLB's namespace.
    pub home: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { namespace: "metallb-system".to_owned(), config_map: "config".to_owned(), home: None }
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

/// What a file says now.
#[derive(Debug, Clone, Default)]
pub(super) struct Reading {
    /// The objects that can be told, readable or not.
    pub(super) objects: Vec<Object>,
    /// There may be more in it than that.
    pub(super) hides: bool,
    /// How many documents it has.
    pub(super) documents: u32,
    /// It has no bytes, as files have that are just being written.
    pub(super) empty: bool,
    /// What is wrong with the rest of it.
    pub(super) problems: Vec<Problem>,
}

#[derive(Debug, Clone)]
struct Known {
    /// `None`: to be read again in any case.
    fingerprint: Option<Fingerprint>,
    reading: Reading,
}

/// A directory of manifests, and what was read of it.
#[derive(Debug)]
pub struct Files {
    dir: PathBuf,
    settings: Settings,
    known: BTreeMap<Arc<str>, Known>,
    unreadable: Option<Problem>,
}

impl Files {
    /// A directory of which nothing was read yet.
    pub fn new(dir: impl Into<PathBuf>, settings: Settings) -> Self {
        Self { dir: dir.into(), settings, known: BTreeMap::new(), unreadable: None }
    }

    /// Reads what has changed since the last time. Returns whether anything may differ. Blocks on the disk.
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
        differs |= self.known.len() != before;
        for name in names {
            differs |= self.refresh(&name);
        }
        differs
    }

    /// Why the directory could not be read at the last time, if it could not. What was read before is kept.
    pub fn unreadable(&self) -> Option<&Problem> {
        self.unreadable.as_ref()
    }

    /// What a file says.
    pub(super) fn reading(&self, file: &str) -> Option<&Reading> {
        self.known.get(file).map(|known| &known.reading)
    }

    /// What the files say, in order of their names.
    pub(super) fn readings(&self) -> impl Iterator<Item = (&Arc<str>, &Reading)> {
        self.known.iter().map(|(name, known)| (name, &known.reading))
    }

    /// Reads one file if it has changed; tells whether it was read.
    fn refresh(&mut self, name: &Arc<str>) -> bool {
        let path = self.dir.join(name.as_ref());
        let place = Place { file: Some(name.as_ref().to_owned()), ..Place::default() };
        let (fingerprint, reading) = match self.look(name, &path) {
            Look::Unchanged => return false,
            Look::Directory => return self.known.remove(name).is_some(),
            Look::Failed(error) => {
                let problems = vec![Problem::new(place, error)];
                let same = self.known.get(name).is_some_and(|known| known.reading.problems == problems);
                let reading = Reading { hides: true, problems, ..Reading::default() };
                self.known.insert(Arc::clone(name), Known { fingerprint: None, reading });
                return !same;
            }
            Look::Read(fingerprint, bytes) => (fingerprint, parse(&bytes, &place, &self.settings)),
        };
        self.known.insert(Arc::clone(name), Known { fingerprint, reading });
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
pub(super) fn parse(bytes: &[u8], place: &Place, settings: &Settings) -> Reading {
    let text = match str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let error = FileError::NotUtf8 { offset: error.valid_up_to() };
            let problems = vec![Problem::new(place.clone(), error)];
            return Reading { hides: true, problems, ..Reading::default() };
        }
    };
    let mut reader = Reader { settings, objects: Vec::new(), problems: Vec::new(), hides: false };
    let mut documents = 0;
    for document in document::split(text) {
        documents = document.number;
        let place = Place { document: Some(document.number), ..place.clone() };
        if document.number > MAX_DOCUMENTS {
            let error = FileError::TooManyDocuments { limit: MAX_DOCUMENTS };
            reader.hidden(Problem::new(place, error));
            break;
        }
        match document::parse(&document) {
            // Nothing but an explicit null.
            Ok(serde_json::Value::Null) => {}
            Ok(value) => reader.document(value, &place),
            Err(error) => reader.hidden(Problem::new(place, error)),
        }
    }
    let Reader { objects, problems, hides, .. } = reader;
    Reading { objects, hides, documents, empty: bytes.is_empty(), problems }
}
