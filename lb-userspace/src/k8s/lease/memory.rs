//! Leases in memory, with the semantics of an API server: one counter of versions for all objects, a replacement only
//! of the version it names, a new uid for an object made anew, no new version when nothing changes. For tests.
//!
//! Several handles see the same leases ([`Memory::handle`]), each over a connection of its own that can be made slow,
//! lossy or mute. A request that its sender gave up on is carried out all the same when its time has come.

use std::collections::{BTreeMap, VecDeque};
use std::future::pending;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::Status;
use tokio::task::AbortHandle;
use tokio::time::sleep;

use super::{LeaseError, LeaseKey, LeaseStore, Record, Revision, Stored};

/// What is asked of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    /// [`LeaseStore::read`].
    Read,
    /// [`LeaseStore::create`].
    Create,
    /// [`LeaseStore::replace`].
    Replace,
}

/// What is lost of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Loss {
    /// Nothing.
    #[default]
    Nothing,
    /// The request: it is not carried out, and there is no answer.
    Request,
    /// The answer: it is carried out, but its sender does not learn it.
    Answer,
}

/// What happens to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fault {
    /// From the call until it is carried out.
    pub before: Duration,
    /// From then until the answer is there.
    pub after: Duration,
    /// What is lost.
    pub loss: Loss,
    /// The HTTP status of a refusal, instead of carrying it out.
    pub refuse: Option<u16>,
}

/// A handle to leases in memory. A clone shares the connection as well as the leases.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    leases: Arc<Mutex<Leases>>,
    connection: Arc<Mutex<Connection>>,
}

#[derive(Debug, Default)]
struct Connection {
    coming: VecDeque<Fault>,
    always: Fault,
    asked: Vec<Verb>,
    on_their_way: Vec<AbortHandle>,
}

#[derive(Debug, Default)]
struct Leases {
    objects: BTreeMap<LeaseKey, Lease>,
    version: u64,
    uids: u64,
}

impl Memory {
    /// No leases, and a connection without faults.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same leases over another connection, which has no faults.
    #[must_use]
    pub fn handle(&self) -> Self {
        Self { leases: Arc::clone(&self.leases), connection: Arc::default() }
    }

    /// What happens to the next requests of this handle, one each; then [`Memory::always`] again.
    pub fn next(&self, faults: impl IntoIterator<Item = Fault>) {
        lock(&self.connection).coming.extend(faults);
    }

    /// Breaks the connection: what is on its way fails now, and is not carried out any more. The connection that
    /// follows has no faults.
    pub fn cut(&self) {
        let mut connection = lock(&self.connection);
        connection.on_their_way.drain(..).for_each(|request| request.abort());
        connection.coming.clear();
        connection.always = Fault::default();
    }

    /// What happens to every request of this handle from now on.
    pub fn always(&self, fault: Fault) {
        lock(&self.connection).always = fault;
    }

    /// What was asked over this handle since the last call of this.
    pub fn asked(&self) -> Vec<Verb> {
        std::mem::take(&mut lock(&self.connection).asked)
    }

    /// What a lease says, at once and whatever the connection does.
    pub fn get(&self, key: &LeaseKey) -> Option<Stored> {
        lock(&self.leases).objects.get(key).cloned().map(Stored::from)
    }

    /// Somebody else writes what a lease says, whatever it said before.
    pub fn set(&self, key: &LeaseKey, record: &Record) -> Stored {
        lock(&self.leases).store(key, None, record)
    }

    /// Somebody else changes an annotation: a new version that says the same.
    pub fn touch(&self, key: &LeaseKey) {
        let mut leases = lock(&self.leases);
        leases.version += 1;
        let version = leases.version.to_string();
        if let Some(lease) = leases.objects.get_mut(key) {
            let annotations = lease.metadata.annotations.get_or_insert_default();
            annotations.insert("example.com/touched".to_owned(), version.clone());
            lease.metadata.resource_version = Some(version);
        }
    }

    /// Somebody deletes a lease.
    pub fn delete(&self, key: &LeaseKey) {
        lock(&self.leases).objects.remove(key);
    }

    /// Carries something out over the connection. It goes on when the caller does not wait for it any more.
    async fn ask<T: Send + 'static>(
        &self,
        verb: Verb,
        job: impl FnOnce(&mut Leases) -> Result<T, LeaseError> + Send + 'static,
    ) -> Result<T, LeaseError> {
        let fault = lock(&self.connection).ask(verb);
        let leases = Arc::clone(&self.leases);
        let carried_out = tokio::spawn(async move {
            sleep(fault.before).await;
            let result = match (fault.loss, fault.refuse) {
                (Loss::Request, _) => pending().await,
                (_, Some(code)) => Err(LeaseError::of(verb, refusal(code))),
                (_, None) => job(&mut lock(&leases)),
            };
            if fault.loss == Loss::Answer {
                return pending().await;
            }
            sleep(fault.after).await;
            result
        });
        lock(&self.connection).sent(carried_out.abort_handle());
        carried_out.await.unwrap_or_else(|_cut| Err(LeaseError::of(verb, broken())))
    }
}

impl LeaseStore for Memory {
    async fn read(&self, key: &LeaseKey) -> Result<Option<Stored>, LeaseError> {
        let key = key.clone();
        self.ask(Verb::Read, move |leases| Ok(leases.objects.get(&key).cloned().map(Stored::from))).await
    }

    async fn create(&self, key: &LeaseKey, record: &Record) -> Result<Stored, LeaseError> {
        let (key, record) = (key.clone(), record.clone());
        let job = move |leases: &mut Leases| match leases.objects.get(&key) {
            Some(_) => Err(LeaseError::Conflict),
            None => Ok(leases.store(&key, None, &record)),
        };
        self.ask(Verb::Create, job).await
    }

    async fn replace(
        &self,
        key: &LeaseKey,
        revision: &Revision,
        record: &Record,
    ) -> Result<Stored, LeaseError> {
        let (key, revision, record) = (key.clone(), revision.clone(), record.clone());
        let job = move |leases: &mut Leases| match leases.objects.get(&key) {
            Some(lease) if is_same(&lease.metadata, &revision.0) => {
                Ok(leases.store(&key, Some(*revision.0), &record))
            }
            Some(_) | None => Err(LeaseError::Conflict),
        };
        self.ask(Verb::Replace, job).await
    }
}

impl Connection {
    fn ask(&mut self, verb: Verb) -> Fault {
        self.asked.push(verb);
        self.coming.pop_front().unwrap_or(self.always)
    }

    fn sent(&mut self, request: AbortHandle) {
        self.on_their_way.retain(|request| !request.is_finished());
        self.on_their_way.push(request);
    }
}

impl Leases {
    /// Writes an object; `metadata` is what the writer sent along, if it replaces one.
    fn store(&mut self, key: &LeaseKey, metadata: Option<ObjectMeta>, record: &Record) -> Stored {
        let before = self.objects.get(key);
        let mut metadata = metadata.or_else(|| before.map(|lease| lease.metadata.clone()));
        let metadata = metadata.get_or_insert_with(|| {
            self.uids += 1;
            ObjectMeta {
                namespace: Some(key.namespace.clone()),
                name: Some(key.name.clone()),
                uid: Some(format!("uid-{}", self.uids)),
                ..ObjectMeta::default()
            }
        });
        let mut lease = Lease { metadata: metadata.clone(), spec: Some(record.write()) };
        if before != Some(&lease) {
            self.version += 1;
            lease.metadata.resource_version = Some(self.version.to_string());
            self.objects.insert(key.clone(), lease.clone());
        }
        Stored::from(lease)
    }
}

fn is_same(now: &ObjectMeta, read: &ObjectMeta) -> bool {
    now.resource_version == read.resource_version && now.uid == read.uid
}

fn refusal(code: u16) -> kube::Error {
    kube::Error::Api(Status::failure("refused by the test", "Test").with_code(code).boxed())
}

fn broken() -> kube::Error {
    kube::Error::Service(io::Error::from(io::ErrorKind::ConnectionReset).into())
}

/// A test that panicked elsewhere leaves the leases as whole as they were.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
