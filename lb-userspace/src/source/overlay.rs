//! Objects of files laid over a cluster: what would be the case if somebody applied or deleted them.
//!
//! As with `kubectl apply` a Service keeps its status and its cluster IPs, a Node and a Namespace the labels that they have;
//! every other object is as the file has it, whatever it was before. Of an object that comes twice the last counts. What
//! can't be read is left out, and stays as it is in the cluster.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use lb_core::{ids::ServiceKey, problem::Place};

use super::{
    files::{Content, ObjectId, Reading, Settings, is_manifest, parse},
    kubernetes::{Cluster, Kind, Listed, Meta, ObjectName, Seen, SeenConfig, SeenPool, SeenSlice},
    problem::{FileError, ObjectError, Problem, Reason},
};
use crate::k8s::watch::Change;

mod delete;
mod service;

/// Name of what is read from standard input.
const STDIN: &str = "standard input";
/// Largest file that is read, in bytes: a cluster of many thousand Services fits in.
const LONGEST: u64 = 256 << 20;

/// Why files can't be read.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The operating system refuses it.
    #[error("reading {}", .path.display())]
    Unreadable {
        /// What was named.
        path: PathBuf,
        /// Its words.
        #[source]
        source: io::Error,
    },
    /// It is elsewhere.
    #[error("{url} is no file: `curl -fsSL {url} | barelb plan -f -` reads it from there")]
    Url {
        /// What was named.
        url: String,
    },
    /// There is not one object, of whatever kind.
    #[error(
        "there is no object in {}: is it the right file, and did what should have written it do so?",
        .paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
    )]
    Nothing {
        /// What was named.
        paths: Vec<PathBuf>,
    },
    /// A folder without anything in it that is read.
    #[error("{} has no file whose name ends in .yaml, .yml or .json; -R looks into its folders too", .path.display())]
    Empty {
        /// The folder.
        path: PathBuf,
    },
}

/// What files say.
#[derive(Debug, Default)]
pub struct Manifests {
    readings: Vec<Reading>,
    /// They say also what is: statuses count.
    are_state: bool,
}

impl Manifests {
    /// Reads files, folders (with `recursive` also those in them) and, for `-`, standard input.
    pub fn read(paths: &[PathBuf], recursive: bool, settings: &Settings) -> Result<Self, ManifestError> {
        let mut readings = Vec::new();
        for path in paths {
            let unreadable = |source| ManifestError::Unreadable { path: path.clone(), source };
            if let Some(url) = path.to_str().filter(|text| text.contains("://")) {
                return Err(ManifestError::Url { url: url.to_owned() });
            }
            let mut files = Vec::new();
            if path.as_os_str() == "-" {
                files.push((STDIN.to_owned(), slurp(io::stdin().lock()).map_err(unreadable)?));
            } else if path.is_dir() {
                collect(path, recursive, &mut files).map_err(unreadable)?;
                if files.is_empty() {
                    return Err(ManifestError::Empty { path: path.clone() });
                }
            } else {
                let bytes = File::open(path).and_then(slurp).map_err(unreadable)?;
                files.push((path.display().to_string(), bytes));
            }
            readings.extend(files.into_iter().map(|(name, bytes)| reading(name, &bytes, settings)));
        }
        if readings.iter().all(|reading| reading.documents == 0 && reading.problems.is_empty())
            && !paths.is_empty()
        {
            return Err(ManifestError::Nothing { paths: paths.to_vec() });
        }
        Ok(Self { readings, are_state: false })
    }

    /// Everything that is wrong with them and makes something be left out.
    pub fn problems(&self) -> Vec<Problem> {
        let of_files = |reading: &Reading| {
            let objects = reading.objects.iter().filter_map(|object| object.content.as_ref().err());
            let all: Vec<Problem> = reading.problems.iter().chain(objects.flatten()).cloned().collect();
            all
        };
        let all = self.readings.iter().flat_map(of_files);
        all.filter(|problem| ignored(problem).is_none()).collect()
    }

    /// Kinds that mean nothing here, and how many objects there are of each.
    pub fn ignored(&self) -> BTreeMap<String, usize> {
        let mut kinds = BTreeMap::new();
        for problem in self.readings.iter().flat_map(|reading| &reading.problems) {
            if let Some(kind) = ignored(problem) {
                *kinds.entry(kind).or_default() += 1;
            }
        }
        kinds
    }

    /// A cluster in which there is what the files say, statuses included, and nothing else.
    pub fn cluster(self) -> Cluster {
        let mut cluster = empty();
        Self { are_state: true, ..self }.apply(&mut cluster);
        // A Service is there, so its namespace is; and every cluster has this one.
        let mut named: BTreeSet<Arc<str>> = BTreeSet::from(["default".into()]);
        named.extend(cluster.services().keys().map(|key| Arc::from(key.namespace())));
        named.retain(|name| cluster.namespace_labels(name).is_none());
        for namespace in named {
            cluster.apply(Seen::Namespace(Change::Applied(Some((namespace, Arc::default())))));
        }
        service::complete(&mut cluster);
        cluster
    }

    /// Lays all objects over the cluster. Returns the Services of which it can't be known which nodes can serve them.
    pub fn apply(&self, cluster: &mut Cluster) -> BTreeSet<ServiceKey> {
        let mut unknown = BTreeSet::new();
        for (number, (id, content)) in self.objects().enumerate() {
            if let (ObjectId::Service(key), Content::Service(spec)) = (id, content) {
                let before = service::put(cluster, key, spec, self.are_state);
                if before.is_none_or(|before| service::selects_others(&before, spec)) {
                    unknown.insert(key.clone());
                }
            } else {
                let order = if self.are_state { i64::try_from(number).unwrap_or(i64::MAX) } else { i64::MAX };
                put(cluster, id, content, order);
            }
        }
        let served: BTreeSet<ServiceKey> =
            self.objects().filter_map(|(_, content)| slice_of(content)).collect();
        unknown.retain(|key| !served.contains(key));
        unknown
    }

    /// The objects that can be read.
    fn objects(&self) -> impl Iterator<Item = (&ObjectId, &Content)> {
        let all = self.readings.iter().flat_map(|reading| &reading.objects);
        all.filter_map(|object| Some((&object.id, object.content.as_ref().ok()?)))
    }
}

fn slice_of(content: &Content) -> Option<ServiceKey> {
    if let Content::Endpoints(service, _) = content { Some(service.clone()) } else { None }
}

fn ignored(problem: &Problem) -> Option<String> {
    if let Reason::Object(ObjectError::IgnoredKind { api_version, kind }) = &problem.reason {
        Some(format!("{api_version} {kind}"))
    } else {
        None
    }
}

/// One byte more than is permitted, so that a longer one is told.
fn slurp(from: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(LONGEST + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The files of a folder in order of their names, those of the folders in it where they come. As kubectl it does not follow a
/// link to a folder, which could lead round in a circle.
fn collect(folder: &Path, recursive: bool, files: &mut Vec<(String, Vec<u8>)>) -> io::Result<()> {
    let mut entries = folder.read_dir()?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        if path.is_dir() {
            if recursive && !entry.file_type()?.is_symlink() {
                collect(&path, recursive, files)?;
            }
        } else if path.file_name().is_some_and(|name| is_manifest(&name.to_string_lossy())) {
            files.push((path.display().to_string(), slurp(File::open(&path)?)?));
        }
    }
    Ok(())
}

fn reading(name: String, bytes: &[u8], settings: &Settings) -> Reading {
    let place = Place { file: Some(name), ..Place::default() };
    if bytes.len() as u64 > LONGEST {
        let error = FileError::TooLarge { bytes: bytes.len() as u64, limit: LONGEST };
        return Reading { hides: true, problems: vec![Problem::new(place, error)], ..Reading::default() };
    }
    parse(bytes, &place, settings)
}

/// A cluster that is known to have no objects.
fn empty() -> Cluster {
    let mut cluster = Cluster::default();
    let kinds: [fn() -> [Seen; 2]; 8] = [
        || [Seen::Service(Change::Listing), Seen::Service(Change::Complete)],
        || [Seen::Namespace(Change::Listing), Seen::Namespace(Change::Complete)],
        || [Seen::Node(Change::Listing), Seen::Node(Change::Complete)],
        || [Seen::EndpointSlice(Change::Listing), Seen::EndpointSlice(Change::Complete)],
        || [Seen::Lease(Change::Listing), Seen::Lease(Change::Complete)],
        pools,
        advertisements,
        || [Seen::ConfigMap(Change::Listing), Seen::ConfigMap(Change::Complete)],
    ];
    for seen in kinds.into_iter().flat_map(|kind| kind()) {
        cluster.apply(seen);
    }
    cluster
}

fn pools() -> [Seen; 2] {
    [Seen::Pool(Change::Listing), Seen::Pool(Change::Complete)]
}

fn advertisements() -> [Seen; 2] {
    [Seen::Advertisement(Change::Listing), Seen::Advertisement(Change::Complete)]
}

/// Enters an object that is no Service; one that is new is younger than all others.
fn put(cluster: &mut Cluster, id: &ObjectId, content: &Content, order: i64) {
    let ObjectId::Other { namespace, name, .. } = id else { return };
    let called = |kind| ObjectName { kind, namespace: namespace.clone(), name: name.clone() };
    let seen = match content {
        Content::Pool(raw) => {
            // A server without the kind is taken to have it by then.
            if cluster.listed(Kind::Pool) != Listed::Yes {
                for seen in pools() {
                    cluster.apply(seen);
                }
            }
            let name = called(Kind::Pool);
            let known = cluster.pools().get(&name);
            let (meta, created) =
                known.map_or((Meta::default(), order), |known| (known.meta.clone(), known.created));
            let status = known.and_then(|known| known.status.clone());
            Seen::Pool(applied(name, SeenPool { meta, created, content: Ok(Arc::clone(raw)), status }))
        }
        Content::Advertisement(raw) => {
            if cluster.listed(Kind::Advertisement) != Listed::Yes {
                for seen in advertisements() {
                    cluster.apply(seen);
                }
            }
            let name = called(Kind::Advertisement);
            let seen = written(cluster.advertisements().get(&name), raw, order);
            Seen::Advertisement(applied(name, seen))
        }
        Content::Legacy(raw) => {
            let name = called(Kind::ConfigMap);
            let seen = written(cluster.config_maps().get(&name), raw, order);
            Seen::ConfigMap(applied(name, seen))
        }
        Content::Node(name, node) => {
            let mut node = (**node).clone();
            if let Some(known) = cluster.nodes().get(name) {
                let labels = known.labels.clone().into_iter().chain(node.labels);
                node.labels = labels.collect();
                // What the kubelet writes, a file hardly ever has.
                node.addresses.clone_from(&known.addresses);
                node.network_unavailable = known.network_unavailable;
                node.leaving = node.leaving.or(known.leaving);
            }
            Seen::Node(applied(name.clone(), node))
        }
        Content::Endpoints(service, endpoints) => {
            let slice = SeenSlice { service: service.clone(), endpoints: endpoints.to_vec() };
            Seen::EndpointSlice(applied(called(Kind::EndpointSlice), slice))
        }
        Content::Namespace(labels) => {
            let name: Arc<str> = name.as_str().into();
            let known = cluster.namespace_labels(&name).cloned().unwrap_or_default();
            let labels = known.into_iter().chain((**labels).clone()).collect();
            Seen::Namespace(applied(name, Arc::new(labels)))
        }
        Content::Service(_) => return,
    };
    cluster.apply(seen);
}

fn applied<K, V>(key: K, value: V) -> Change<Option<(K, V)>> {
    Change::Applied(Some((key, value)))
}

/// The object with what is written now, as old as it was.
fn written<T>(known: Option<&SeenConfig<T>>, raw: &Arc<T>, order: i64) -> SeenConfig<T> {
    let (meta, created) = known.map_or((Meta::default(), order), |known| (known.meta.clone(), known.created));
    SeenConfig { meta, created, content: Ok(Arc::clone(raw)) }
}

#[cfg(test)]
mod tests;
