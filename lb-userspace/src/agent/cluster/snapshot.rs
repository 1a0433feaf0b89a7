//! What was decided last, kept below the state directory for an agent that starts while the API server is away.
//!
//! It is no second opinion: an agent goes by it only while its table still answers, so only to keep what is announced,
//! and the API server's word replaces it. It is also where an agent knows from which form of an object was in force
//! before its restart.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use lb_core::config::in_force::Piece;
use lb_core::config::{LegacyConfig, RawAdvertisement, RawPool};
use lb_core::eligibility::Node;
use lb_core::ids::{NodeName, ServiceKey};
use lb_core::plan::AnnouncedService;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::k8s::time::rfc3339;
use crate::source::decide::Decided;
use crate::source::kubernetes::{Configuration, InForce, Kind, ObjectName};
use crate::source::replace::replace;

#[cfg(test)]
mod tests;

/// The form of the file; another one is ignored.
const VERSION: u32 = 1;
/// Its name below the state directory.
const FILE: &str = "cluster.json";
/// Between two writes.
const PACE: Duration = Duration::from_secs(1);
/// After a write that failed.
const RETRY: Duration = Duration::from_secs(30);

/// The file.
#[derive(Clone, Debug)]
pub(super) struct SnapshotFile {
    path: PathBuf,
    node: NodeName,
    namespace: String,
}

/// What it says.
#[derive(Clone, Debug, Default)]
pub(super) struct Saved {
    /// When it was written.
    pub(super) at: String,
    /// The configuration in force.
    pub(super) objects: Vec<InForce>,
    /// All nodes, and whether their agents were there.
    pub(super) nodes: BTreeMap<NodeName, Node>,
    /// Services with addresses.
    pub(super) services: Arc<BTreeMap<ServiceKey, AnnouncedService>>,
    /// `metadata.uid` of these.
    pub(super) uids: Arc<BTreeMap<ServiceKey, Arc<str>>>,
}

/// Why there is nothing to go by.
#[derive(Debug, thiserror::Error)]
pub(super) enum SnapshotError {
    #[error("can't read {path}")]
    Read {
        path: String,
        #[source]
        source: io::Error,
    },
    #[error("{path} is no snapshot of a cluster; it is written anew when the API server answers")]
    Content {
        path: String,
        #[source]
        source: serde_json::Error,
    },
    #[error(
        "{path} is of another version, node or namespace; it is written anew when the API server answers"
    )]
    Foreign { path: String },
}

#[derive(Serialize, Deserialize)]
struct Stored<'a> {
    version: u32,
    node: Cow<'a, NodeName>,
    namespace: Cow<'a, str>,
    at: String,
    objects: Vec<StoredObject<'a>>,
    nodes: Cow<'a, BTreeMap<NodeName, Node>>,
    services: Cow<'a, BTreeMap<ServiceKey, AnnouncedService>>,
    uids: BTreeMap<ServiceKey, Cow<'a, str>>,
}

#[derive(Serialize, Deserialize)]
struct StoredObject<'a> {
    namespace: Cow<'a, str>,
    name: Cow<'a, str>,
    #[serde(flatten)]
    piece: StoredPiece<'a>,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", content = "content")]
enum StoredPiece<'a> {
    Pool(Cow<'a, RawPool>),
    Advertisement(Cow<'a, RawAdvertisement>),
    Legacy(Cow<'a, LegacyConfig>),
}

impl SnapshotFile {
    /// Of this node, and of the objects in this namespace.
    pub(super) fn new(state_dir: &Path, node: NodeName, namespace: &str) -> Self {
        Self { path: state_dir.join(FILE), node, namespace: namespace.to_owned() }
    }

    /// What it says; `None`: there is no file.
    pub(super) fn load(&self) -> Result<Option<Saved>, SnapshotError> {
        let path = || self.path.display().to_string();
        let text = match std::fs::read(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(SnapshotError::Read { path: path(), source }),
        };
        let stored: Stored<'_> = serde_json::from_slice(&text)
            .map_err(|source| SnapshotError::Content { path: path(), source })?;
        let ours = (VERSION, &self.node, self.namespace.as_str());
        if (stored.version, &*stored.node, &*stored.namespace) != ours {
            return Err(SnapshotError::Foreign { path: path() });
        }
        let uids = stored.uids.into_iter().map(|(key, uid)| (key, Arc::from(uid.as_ref())));
        Ok(Some(Saved {
            at: stored.at,
            objects: stored.objects.into_iter().map(StoredObject::read).collect(),
            nodes: stored.nodes.into_owned(),
            services: Arc::new(stored.services.into_owned()),
            uids: Arc::new(uids.collect()),
        }))
    }

    /// Puts what was decided in the place of what it said.
    pub(super) fn save(&self, decided: &Decided, now: SystemTime) -> io::Result<()> {
        let uid = |(key, uid): (&ServiceKey, &Arc<str>)| (key.clone(), Cow::Owned(uid.to_string()));
        let stored = Stored {
            version: VERSION,
            node: Cow::Borrowed(&self.node),
            namespace: Cow::Borrowed(&self.namespace),
            at: rfc3339(now),
            objects: decided.objects.iter().map(StoredObject::write).collect(),
            nodes: Cow::Borrowed(&decided.nodes),
            services: Cow::Borrowed(&decided.services),
            uids: decided.uids.iter().map(uid).collect(),
        };
        replace(&self.path, &serde_json::to_vec(&stored)?)
    }

    fn save_or_remove(&self, decided: &Decided, now: SystemTime) -> io::Result<()> {
        self.save(decided, now).inspect_err(|_told_by_the_caller| {
            // It may not exist.
            drop(std::fs::remove_file(&self.path));
        })
    }

    /// Saves for ever what was decided and is in the table. What could not be saved is tried again, and meanwhile there is
    /// nothing rather than something older.
    pub(super) async fn follow(self, mut stepped: watch::Receiver<Option<Arc<Decided>>>) {
        let mut failing = false;
        let mut saved: Option<Arc<Decided>> = None;
        loop {
            let changed =
                if failing { timeout(RETRY, stepped.changed()).await } else { Ok(stepped.changed().await) };
            if let Ok(Err(_)) = changed {
                return;
            }
            let Some(decided) = stepped.borrow_and_update().clone() else { continue };
            if saved.as_ref().is_some_and(|saved| Arc::ptr_eq(saved, &decided)) {
                continue;
            }
            let (file, content) = (self.clone(), Arc::clone(&decided));
            let done =
                tokio::task::spawn_blocking(move || file.save_or_remove(&content, SystemTime::now())).await;
            match done.unwrap_or_else(|error| Err(error.into())) {
                Ok(()) => (failing, saved) = (false, Some(decided)),
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        let (path, error) = (self.path.display(), &error as &dyn std::error::Error);
                        tracing::warn!(
                            %path,
                            error,
                            "can't save what is announced, trying again: an agent that starts while the API server is \
                             away falls silent after its grace, or goes by an older file that can't be removed; make \
                             room in the state directory, or make it writable"
                        );
                    }
                }
            }
            tokio::time::sleep(PACE).await;
        }
    }
}

impl Saved {
    /// The configuration that was in force.
    pub(super) fn configuration(&self) -> Configuration {
        let foreign: Vec<IpAddr> =
            self.nodes.values().flat_map(|node| node.addresses.iter().copied()).collect();
        let held = |(key, service): (&ServiceKey, &AnnouncedService)| {
            service.ingress.iter().map(|ip| (*ip, key.clone())).collect::<Vec<_>>()
        };
        let in_use: Vec<(IpAddr, ServiceKey)> = self.services.iter().flat_map(held).collect();
        Configuration::resumed(self.objects.clone(), &foreign, in_use.iter().map(|(ip, key)| (*ip, key)))
    }

    /// What is to be announced by it: of what is `answered`, nothing else, since somebody else may own that by now.
    pub(super) fn decided(&self, answered: BTreeSet<IpAddr>) -> Decided {
        let (config, services) = (Arc::clone(self.configuration().config()), Arc::clone(&self.services));
        let mut decided = Decided::of_cluster(config, services, self.nodes.clone(), Vec::new());
        decided.only = Some(Arc::new(answered));
        (decided.uids, decided.objects) = (Arc::clone(&self.uids), Arc::new(self.objects.clone()));
        decided
    }
}

impl<'a> StoredObject<'a> {
    fn write((name, piece): &'a InForce) -> Self {
        Self {
            namespace: Cow::Borrowed(&name.namespace),
            name: Cow::Borrowed(&name.name),
            piece: match piece {
                Piece::Pool(pool) => StoredPiece::Pool(Cow::Borrowed(pool)),
                Piece::Advertisement(ad) => StoredPiece::Advertisement(Cow::Borrowed(ad)),
                Piece::Legacy(legacy) => StoredPiece::Legacy(Cow::Borrowed(legacy)),
            },
        }
    }

    fn read(self) -> InForce {
        let (kind, piece) = match self.piece {
            StoredPiece::Pool(pool) => (Kind::Pool, Piece::Pool(Arc::new(pool.into_owned()))),
            StoredPiece::Advertisement(ad) => {
                (Kind::Advertisement, Piece::Advertisement(Arc::new(ad.into_owned())))
            }
            StoredPiece::Legacy(legacy) => (Kind::ConfigMap, Piece::Legacy(Arc::new(legacy.into_owned()))),
        };
        let (namespace, name) = (self.namespace.into_owned(), self.name.into_owned());
        (ObjectName { kind, namespace, name }, piece)
    }
}
