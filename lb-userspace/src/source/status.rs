//! What was assigned, as files: `DIR/status/<namespace>.<name>.yaml` for each Service, in the shape of a Service
//! status, and `DIR/status/problems.yaml` with everything that is wrong.
//!
//! The files are the memory over a restart: [`StatusDir::restore`] reads the addresses back. A file is written
//! only when something in it changes, under another name first and then renamed, so that a reader sees all of it
//! or nothing new, and two agents that write the same do not disturb each other. A namespace has no dot, so no
//! two Services have the same file. Only files that begin with the line this program writes are ever removed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, Read},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use lb_core::{
    addresses::Addresses, ids::ServiceKey, plan::AddressVerdict, problem::Place, status::ServiceStatus,
};

use super::{
    decide::Decided,
    problem::{FileError, Problem},
    replace::{TEMPORARY, replace},
};

mod document;
#[cfg(test)]
mod tests;

use document::{MARKER, ProblemsDocument, StoredService};

/// Name of the file with all problems. It can't be a Service's: those have a dot before `.yaml`'s.
const PROBLEMS: &str = "problems.yaml";
/// A status is a few lines; more than this many bytes are not read.
const MAX_STATUS: u64 = 64 << 10;
/// A temporary file older than this was left behind by a process that died.
const STALE: Duration = Duration::from_mins(1);

/// The directory with the statuses.
#[derive(Debug)]
pub struct StatusDir {
    dir: PathBuf,
    /// Hash of what each file says, without times; `None`: not known, so it is read before it is written.
    written: BTreeMap<ServiceKey, Option<u64>>,
    problems: Option<u64>,
}

/// The statuses of all Services after a plan.
pub fn statuses(
    decided: &Decided,
    verdicts: &BTreeMap<ServiceKey, Vec<AddressVerdict>>,
) -> BTreeMap<ServiceKey, ServiceStatus> {
    let status = |(key, decision)| {
        let announced = verdicts.get(key).map(Vec::as_slice).unwrap_or_default();
        (ServiceKey::clone(key), ServiceStatus::new(decision, announced))
    };
    let mut statuses: BTreeMap<_, _> = decided.decisions.iter().map(status).collect();
    for (key, message) in &decided.refused {
        if let Some(status) = statuses.get_mut(key) {
            status.refuse(message.clone());
        }
    }
    statuses
}

impl StatusDir {
    /// A directory that may not exist yet: it is made when something is written. The directory it lies in is not
    /// made: where that is missing, something is wrong that an empty directory would hide.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), written: BTreeMap::new(), problems: None }
    }

    /// The addresses that were written before a restart. What can't be read is named and ignored.
    pub fn restore(&mut self) -> (BTreeMap<ServiceKey, Addresses>, Vec<Problem>) {
        let (mut restored, mut problems) = (BTreeMap::new(), Vec::new());
        let entries = match fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return (restored, problems),
            Err(error) => {
                let place = self.place(&self.dir);
                problems.push(Problem::new(place, FileError::Directory(error.kind())));
                return (restored, problems);
            }
        };
        let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        paths.sort();
        for path in paths {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            if name.starts_with(TEMPORARY) {
                remove_if_stale(&path);
            }
            if name.starts_with('.') || name == PROBLEMS || name.strip_suffix(".yaml").is_none() {
                continue;
            }
            match key_of(&name).ok_or(FileError::NotAStatus).and_then(|key| Ok((read(&path, &key)?, key))) {
                Ok((status, key)) => {
                    let ips: Vec<_> = status.load_balancer.ingress.iter().map(|entry| entry.ip).collect();
                    restored.extend(Addresses::new(&ips).map(|addresses| (key.clone(), addresses)));
                    self.written.insert(key, Some(fingerprint(&status)));
                }
                Err(error) => problems.push(Problem::new(self.place(&path), error)),
            }
        }
        (restored, problems)
    }

    /// Writes what has changed and removes the statuses of Services that are not there any more, but for those that
    /// are `uncertain`: such a Service may be missing only because its file can't be read now. `now` is the time for
    /// conditions that changed, in RFC 3339. Returns what could not be written; it is tried again at the next call.
    pub fn write(
        &mut self,
        statuses: &BTreeMap<ServiceKey, ServiceStatus>,
        problems: &[Problem],
        uncertain: &BTreeSet<ServiceKey>,
        now: &str,
    ) -> Vec<Problem> {
        if let Err(error) = self.make() {
            return vec![self.unwritable(&self.dir, &error)];
        }
        let mut failed = Vec::new();
        for (key, status) in statuses {
            let hash = fingerprint(status);
            if self.written.get(key) == Some(&Some(hash)) {
                continue;
            }
            let path = self.dir.join(file_name(key));
            match write_service(&path, key, status, now) {
                Ok(()) => {
                    self.written.insert(key.clone(), Some(hash));
                }
                Err(error) => failed.push(self.unwritable(&path, &error)),
            }
        }
        let gone = |key: &&ServiceKey| !statuses.contains_key(*key) && !uncertain.contains(*key);
        let gone: Vec<ServiceKey> = self.written.keys().filter(gone).cloned().collect();
        for key in gone {
            let path = self.dir.join(file_name(&key));
            match remove(&path) {
                Ok(()) => {
                    self.written.remove(&key);
                }
                Err(error) => {
                    failed.push(self.unwritable(&path, &error));
                }
            }
        }
        let text = document::text(&ProblemsDocument::new(problems.iter().chain(&failed)));
        let mut hasher = DefaultHasher::new();
        text.as_deref().unwrap_or_default().hash(&mut hasher);
        let hash = Some(hasher.finish());
        if self.problems != hash {
            let path = self.dir.join(PROBLEMS);
            match text.and_then(|text| replace(&path, text.as_bytes())) {
                Ok(()) => self.problems = hash,
                Err(error) => failed.push(self.unwritable(&path, &error)),
            }
        }
        failed
    }

    /// Makes the directory if it is missing; then nothing that was written is there any more.
    fn make(&mut self) -> io::Result<()> {
        if self.dir.is_dir() {
            return Ok(());
        }
        fs::create_dir(&self.dir)?;
        (self.written, self.problems) = (BTreeMap::new(), None);
        Ok(())
    }

    fn unwritable(&self, path: &Path, error: &io::Error) -> Problem {
        Problem::new(self.place(path), FileError::Unwritable(error.kind()))
    }

    fn place(&self, path: &Path) -> Place {
        let dir = self.dir.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let name = path.file_name().filter(|_| path != self.dir);
        let file = name.map_or_else(|| dir.clone(), |name| format!("{dir}/{}", name.to_string_lossy()));
        Place { file: Some(file), ..Place::default() }
    }
}

fn write_service(path: &Path, key: &ServiceKey, status: &ServiceStatus, now: &str) -> io::Result<()> {
    let previous = read(path, key).ok();
    if previous.as_ref().is_some_and(|previous| !status.differs(previous)) {
        return Ok(());
    }
    let mut status = status.clone();
    status.carry_times(previous.as_ref(), now);
    let text = document::text(&StoredService::new(key, &status))?;
    replace(path, text.as_bytes())
}

fn file_name(key: &ServiceKey) -> String {
    format!("{}.{}.yaml", key.namespace(), key.name())
}

fn key_of(file: &str) -> Option<ServiceKey> {
    let (namespace, name) = file.strip_suffix(".yaml")?.split_once('.')?;
    ServiceKey::new(namespace, name).ok()
}

/// Hash of a status without its times.
fn fingerprint(status: &ServiceStatus) -> u64 {
    let mut hasher = DefaultHasher::new();
    for entry in &status.load_balancer.ingress {
        entry.ip.hash(&mut hasher);
    }
    for condition in &status.conditions {
        let truth = condition.status == lb_core::status::Truth::True;
        (&condition.kind, truth, &condition.reason, &condition.message).hash(&mut hasher);
    }
    hasher.finish()
}

/// The status in a file, if it is one of this Service.
fn read(path: &Path, key: &ServiceKey) -> Result<ServiceStatus, FileError> {
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(|error| FileError::Unreadable(error.kind()))?;
    file.take(MAX_STATUS).read_to_end(&mut bytes).map_err(|error| FileError::Unreadable(error.kind()))?;
    let text = str::from_utf8(&bytes).map_err(|error| FileError::NotUtf8 { offset: error.valid_up_to() })?;
    document::read(text, key).ok_or(FileError::NotAStatus)
}

/// Removes a file of ours; one that is gone or somebody else's is left alone.
fn remove(path: &Path) -> io::Result<()> {
    let mut beginning = [0; MARKER.len()];
    let ours = fs::File::open(path).and_then(|mut file| file.read_exact(&mut beginning));
    match ours {
        Ok(()) if beginning == *MARKER.as_bytes() => {}
        Ok(()) => return Ok(()),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof) => {
            return Ok(());
        }
        Err(error) => return Err(error),
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn remove_if_stale(path: &Path) {
    let age = fs::metadata(path).and_then(|meta| meta.modified()).ok();
    let age = age.and_then(|modified| SystemTime::now().duration_since(modified).ok());
    if age.is_some_and(|age| age > STALE) {
        // Another agent may have removed it.
        drop(fs::remove_file(path));
    }
}
