//! Where the agent's objects come from: a directory, or the API server of a cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use lb_core::ids::{LinkId, LinkName, ServiceKey};
use lb_core::membership::LinkReport;
use lb_core::plan::Plan;
use tokio::sync::mpsc;

use super::cluster::{Claimed, Cluster, Farewell};
use super::standalone::Standalone;
use crate::source::decide::Decided;
use crate::source::watch::DirectoryWatch;

/// Where objects come from.
pub enum Source {
    /// A directory of manifests.
    Directory(Box<Standalone>),
    /// An API server.
    Cluster(Box<Cluster>),
}

impl Source {
    /// Begins to follow the objects; what is received calls for [`Source::read`].
    pub(super) fn follow(&mut self) -> mpsc::Receiver<()> {
        match self {
            Self::Directory(standalone) => follow(DirectoryWatch::new(standalone.directory())),
            Self::Cluster(cluster) => cluster.follow(),
        }
    }

    /// Reads what has changed and decides anew. With `anew` nothing that was seen before counts any more.
    pub(super) async fn read(&mut self, own_addresses: BTreeSet<IpAddr>, anew: bool) {
        match self {
            // A directory is read as it is each time.
            Self::Directory(standalone) => standalone.read(own_addresses).await,
            Self::Cluster(cluster) => cluster.read(anew).await,
        }
    }

    /// Goes by what was decided before a restart, as far as the table has `answered` all the while.
    pub(super) fn resume(&mut self, answered: BTreeSet<IpAddr>) {
        match self {
            // It is there to be read.
            Self::Directory(_) => {}
            Self::Cluster(cluster) => cluster.resume(answered),
        }
    }

    /// What was decided last; nothing before everything was read once.
    pub(super) fn decided(&self) -> Option<Arc<Decided>> {
        match self {
            Self::Directory(standalone) => standalone.decided(),
            Self::Cluster(cluster) => cluster.decided(),
        }
    }

    /// Says what follows from a plan. False: it has to be tried again.
    pub(super) fn write_status(&mut self, plan: &Plan, links: &BTreeMap<LinkId, LinkName>) -> bool {
        match self {
            Self::Directory(standalone) => standalone.write_status(plan),
            Self::Cluster(cluster) => cluster.write_status(plan, links),
        }
    }

    /// Everything that is wrong with the objects.
    pub(super) fn problems(&self) -> Vec<String> {
        match self {
            Self::Directory(standalone) => standalone.problems().collect(),
            Self::Cluster(cluster) => cluster.problems(),
        }
    }

    /// Whether all objects are in force as they are written.
    pub(super) fn is_valid(&self) -> bool {
        match self {
            Self::Directory(standalone) => standalone.is_valid(),
            Self::Cluster(cluster) => cluster.is_valid(),
        }
    }

    /// Why Services have no address, or not the one they ask for; in a cluster the controller knows.
    pub(super) fn allocation_errors(&self) -> BTreeMap<ServiceKey, String> {
        match self {
            Self::Directory(standalone) => standalone.allocation_errors(),
            Self::Cluster(_) => BTreeMap::new(),
        }
    }

    /// The way to leave the cluster in order, once.
    pub(super) fn farewell(&mut self) -> Option<Farewell> {
        match self {
            Self::Directory(_) => None,
            Self::Cluster(cluster) => cluster.farewell(),
        }
    }

    /// Whom to tell what the links can do; nobody without a cluster.
    pub(super) fn reports(&self) -> Option<tokio::sync::watch::Sender<Option<Vec<LinkReport>>>> {
        match self {
            Self::Directory(_) => None,
            Self::Cluster(cluster) => Some(cluster.reports()),
        }
    }

    /// Whom to tell of strangers that claim addresses; nobody without a cluster.
    pub(super) fn alarms(&self) -> Option<mpsc::Sender<Claimed>> {
        match self {
            Self::Directory(_) => None,
            Self::Cluster(cluster) => Some(cluster.alarms()),
        }
    }
}

/// Tells about changes of the folder from a thread of its own: looking at a folder may take as long as its file system
/// likes.
fn follow(mut watch: DirectoryWatch) -> mpsc::Receiver<()> {
    let (sender, changes) = mpsc::channel(1);
    let runtime = tokio::runtime::Handle::current();
    tokio::task::spawn_blocking(move || {
        runtime.block_on(async move {
            loop {
                tokio::select! {
                    () = watch.changed() => if sender.send(()).await.is_err() { return },
                    () = sender.closed() => return,
                }
            }
        });
    });
    changes
}
