//! What is in force, kept over a restart: `in-force/` below the state directory, one file of JSON for each manifest,
//! and `addresses.json` with the addresses of all Services.
//!
//! An agent that starts while a manifest, or all of them, can't be read goes on with what is here. It holds nothing
//! that is not in the manifests and the statuses while these can be read, so losing it harms only then.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use lb_core::{
    addresses::Addresses,
    config::{LegacyConfig, RawAdvertisement, RawPool},
    eligibility::{Endpoint, Node},
    ids::{NodeName, ServiceKey},
    problem::Place,
    request::ServiceSpec,
    selector::Labels,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    files::{Content, ObjectId, other},
    in_force::{Held, InForce},
    problem::{FileError, Problem},
    replace::{TEMPORARY, replace},
};

#[cfg(test)]
mod tests;

/// The form of the files; another one is ignored.
const VERSION: u32 = 1;
/// Folder below the state directory.
const FOLDER: &str = "in-force";
/// Addresses of Services. No manifest's memory has this name: those end in `.yaml.json` and the like.
const ADDRESSES: &str = "addresses.json";

/// The files of the memory.
#[derive(Debug)]
pub struct Memory {
    dir: PathBuf,
    /// The directory of the manifests, so that nothing is taken for another one's.
    source: PathBuf,
    /// Manifests whose memory is to be written.
    stale: BTreeSet<Arc<str>>,
    /// What was written.
    in_force: InForce,
    addresses: BTreeMap<ServiceKey, Addresses>,
}

/// What there was.
#[derive(Debug, Default)]
pub struct Remembered {
    /// Objects in force.
    pub in_force: InForce,
    /// Addresses of Services.
    pub addresses: BTreeMap<ServiceKey, Addresses>,
    /// Files that are no memory.
    pub problems: Vec<Problem>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Stored<'a, T> {
    version: u32,
    source: Cow<'a, Path>,
    #[serde(flatten)]
    content: T,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredFile<'a> {
    file: Cow<'a, str>,
    objects: Vec<StoredObject<'a>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredAddresses {
    addresses: BTreeMap<ServiceKey, Vec<IpAddr>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredObject<'a> {
    namespace: Cow<'a, str>,
    name: Cow<'a, str>,
    document: u32,
    #[serde(flatten)]
    content: StoredContent<'a>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind", content = "content")]
enum StoredContent<'a> {
    Service(Cow<'a, ServiceSpec>),
    Pool(Cow<'a, RawPool>),
    Advertisement(Cow<'a, RawAdvertisement>),
    Legacy(Cow<'a, LegacyConfig>),
    Node(Cow<'a, Node>),
    Endpoints(ServiceKey, Cow<'a, [Endpoint]>),
    Namespace(Cow<'a, Labels>),
}

impl Memory {
    /// The memory below `state`, and what it holds about the manifests of `source`.
    pub fn open(state: &Path, source: &Path) -> (Self, Remembered) {
        let source = std::path::absolute(source).unwrap_or_else(|_unknown| source.to_owned());
        let mut memory = Self {
            dir: state.join(FOLDER),
            source,
            stale: BTreeSet::new(),
            in_force: InForce::default(),
            addresses: BTreeMap::new(),
        };
        let remembered = memory.load();
        memory.in_force = remembered.in_force.clone();
        memory.addresses.clone_from(&remembered.addresses);
        (memory, remembered)
    }

    /// Writes what differs from what was written. Returns what could not be written; it is tried again at the next
    /// call.
    pub fn save(&mut self, in_force: &InForce, addresses: &BTreeMap<ServiceKey, Addresses>) -> Vec<Problem> {
        self.stale.extend(self.in_force.differing(in_force));
        self.in_force = in_force.clone();
        let mut failed = Vec::new();
        if self.stale.is_empty() && self.addresses == *addresses {
            return failed;
        }
        if let Err(error) = fs::create_dir_all(&self.dir) {
            return vec![unwritable(&self.dir, &error)];
        }
        for (file, objects) in by_file(in_force, &self.stale) {
            let path = self.dir.join(format!("{file}.json"));
            let content = StoredFile { file: Cow::Borrowed(&file), objects };
            let written = if content.objects.is_empty() { remove(&path) } else { self.write(&path, content) };
            match written {
                Ok(()) => {
                    self.stale.remove(&file);
                }
                Err(error) => failed.push(unwritable(&path, &error)),
            }
        }
        if self.addresses != *addresses {
            let all = addresses.iter().map(|(key, ips)| (key.clone(), ips.iter().collect())).collect();
            let path = self.dir.join(ADDRESSES);
            match self.write(&path, StoredAddresses { addresses: all }) {
                Ok(()) => self.addresses.clone_from(addresses),
                Err(error) => failed.push(unwritable(&path, &error)),
            }
        }
        failed
    }

    fn write<T: Serialize>(&self, path: &Path, content: T) -> io::Result<()> {
        let stored = Stored { version: VERSION, source: Cow::Borrowed(&self.source), content };
        replace(path, &serde_json::to_vec(&stored)?)
    }

    fn load(&self) -> Remembered {
        let mut remembered = Remembered::default();
        let mut held = BTreeMap::new();
        let entries = match fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return remembered,
            Err(error) => {
                remembered.problems.push(Problem::new(place(&self.dir), FileError::Directory(error.kind())));
                return remembered;
            }
        };
        let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        paths.sort();
        for path in paths {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let read = if name.starts_with(TEMPORARY) {
                // One process has this directory, so it was left behind by one that died.
                drop(fs::remove_file(&path));
                Some(())
            } else if name == ADDRESSES {
                self.read(&path).map(|stored: StoredAddresses| {
                    let known = |(key, ips): (ServiceKey, Vec<IpAddr>)| Some((key, Addresses::new(&ips)?));
                    remembered.addresses = stored.addresses.into_iter().filter_map(known).collect();
                })
            } else {
                self.read(&path).map(|stored: StoredFile<'static>| {
                    let file: Arc<str> = stored.file.as_ref().into();
                    held.extend(stored.objects.into_iter().filter_map(|object| object.into_held(&file)));
                })
            };
            if read.is_none() {
                remembered.problems.push(Problem::new(place(&path), FileError::NotAMemory));
            }
        }
        remembered.in_force = InForce::new(held);
        remembered
    }

    fn read<T: DeserializeOwned>(&self, path: &Path) -> Option<T> {
        let stored: Stored<'static, T> = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
        (stored.version == VERSION && stored.source == self.source).then_some(stored.content)
    }
}

/// The objects of these files; a file without objects has an empty list.
fn by_file<'a>(
    in_force: &'a InForce,
    files: &BTreeSet<Arc<str>>,
) -> BTreeMap<Arc<str>, Vec<StoredObject<'a>>> {
    let mut all: BTreeMap<Arc<str>, Vec<_>> = files.iter().map(|file| (Arc::clone(file), vec![])).collect();
    for (id, held) in in_force.objects() {
        if let Some(objects) = all.get_mut(&held.file) {
            objects.push(StoredObject::new(id, held));
        }
    }
    all
}

impl<'a> StoredObject<'a> {
    fn new(id: &'a ObjectId, held: &'a Held) -> Self {
        let (namespace, name) = match id {
            ObjectId::Service(key) => (key.namespace(), key.name()),
            ObjectId::Other { namespace, name, .. } => (namespace.as_str(), name.as_str()),
        };
        let content = match &held.content {
            Content::Service(spec) => StoredContent::Service(Cow::Borrowed(spec)),
            Content::Pool(pool) => StoredContent::Pool(Cow::Borrowed(pool)),
            Content::Advertisement(ad) => StoredContent::Advertisement(Cow::Borrowed(ad)),
            Content::Legacy(legacy) => StoredContent::Legacy(Cow::Borrowed(legacy)),
            Content::Node(_, node) => StoredContent::Node(Cow::Borrowed(node)),
            Content::Endpoints(service, list) => {
                StoredContent::Endpoints(service.clone(), Cow::Borrowed(list))
            }
            Content::Namespace(labels) => StoredContent::Namespace(Cow::Borrowed(labels)),
        };
        Self { namespace: namespace.into(), name: name.into(), document: held.document, content }
    }

    /// `None`: a name that can't be one.
    fn into_held(self, file: &Arc<str>) -> Option<(ObjectId, Held)> {
        let id = |kind| other(kind, &self.namespace, &self.name);
        let (id, content) = match self.content {
            StoredContent::Service(spec) => {
                let key = ServiceKey::new(&self.namespace, &self.name).ok()?;
                (ObjectId::Service(key), Content::Service(Arc::new(spec.into_owned())))
            }
            StoredContent::Pool(pool) => (id("IPAddressPool"), Content::Pool(Arc::new(pool.into_owned()))),
            StoredContent::Advertisement(ad) => {
                (id("L2Advertisement"), Content::Advertisement(Arc::new(ad.into_owned())))
            }
            StoredContent::Legacy(legacy) => {
                (id("ConfigMap"), Content::Legacy(Arc::new(legacy.into_owned())))
            }
            StoredContent::Node(node) => {
                let name = NodeName::new(&self.name).ok()?;
                (id("Node"), Content::Node(name, Arc::new(node.into_owned())))
            }
            StoredContent::Endpoints(service, list) => {
                (id("EndpointSlice"), Content::Endpoints(service, list.into_owned().into()))
            }
            StoredContent::Namespace(labels) => {
                (id("Namespace"), Content::Namespace(Arc::new(labels.into_owned())))
            }
        };
        Some((id, Held { file: Arc::clone(file), document: self.document, content }))
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn place(path: &Path) -> Place {
    Place { file: Some(path.display().to_string()), ..Place::default() }
}

fn unwritable(path: &Path, error: &io::Error) -> Problem {
    Problem::new(place(path), FileError::Unwritable(error.kind()))
}
