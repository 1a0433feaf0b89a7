//! Leases (`coordination.k8s.io/v1`): read, create, replace, and nothing else.
//!
//! A lease is only ever replaced with the version that was read, so that of two writers that read the same version
//! one fails ([`LeaseError::Conflict`]): the API server is the arbiter, no clock is. What those who compete make of
//! the content is decided elsewhere, in values that know nothing of Kubernetes.
//!
//! [`KubeLeases`] asks an API server. [`Memory`] is the double for tests.

use std::fmt;
use std::future::Future;
use std::time::{Duration, SystemTime};

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, PostParams};
use kube::core::Status;

use super::client::{self, ClientError};

mod memory;
#[cfg(test)]
mod tests;

pub use memory::{Fault, Loss, Memory, Verb};

/// Where a lease is kept.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LeaseKey {
    /// Namespace of the object.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
}

impl fmt::Display for LeaseKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A time by somebody's wall clock: microseconds since 1970 in UTC, as exact as `metav1.MicroTime`.
///
/// It is written for people to read. Nothing is decided by it, except that another one is a sign of life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct WallTime(pub i64);

impl WallTime {
    /// By the clock of this machine; times the API can't write become 1970.
    pub fn now() -> Self {
        Self::from(SystemTime::now())
    }

    /// One microsecond later.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl From<SystemTime> for WallTime {
    fn from(time: SystemTime) -> Self {
        let micros = |span: Duration| i64::try_from(span.as_micros()).unwrap_or(0);
        match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(after) => Self(micros(after)),
            Err(before) => Self(-micros(before.duration())),
        }
    }
}

/// What a lease says: its `spec`, in the form that client-go compares too.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record {
    /// Identity of the holder; empty if nobody holds the lease.
    pub holder: String,
    /// For how long others leave the lease to its holder after its last change, in seconds.
    pub duration_seconds: Option<i32>,
    /// When the holder got it, by its wall clock.
    pub acquired: Option<WallTime>,
    /// When the holder last wrote, by its wall clock.
    pub renewed: Option<WallTime>,
    /// How often the holder has changed.
    pub transitions: i32,
    /// Used by coordinated leader election only; never written here.
    pub preferred_holder: Option<String>,
    /// Used by coordinated leader election only; never written here.
    pub strategy: Option<String>,
}

impl Record {
    /// From the object. A missing object field is as good as an empty one, as for client-go.
    fn read(spec: Option<LeaseSpec>) -> Self {
        let spec = spec.unwrap_or_default();
        let wall = |time: MicroTime| WallTime(time.0.as_microsecond());
        Self {
            holder: spec.holder_identity.unwrap_or_default(),
            duration_seconds: spec.lease_duration_seconds,
            acquired: spec.acquire_time.map(wall),
            renewed: spec.renew_time.map(wall),
            transitions: spec.lease_transitions.unwrap_or_default(),
            preferred_holder: spec.preferred_holder,
            strategy: spec.strategy,
        }
    }

    /// Into the object. client-go, too, writes an empty holder as an empty text, not as a missing field.
    fn write(&self) -> LeaseSpec {
        let micro = |time: WallTime| MicroTime(Timestamp::from_microsecond(time.0).unwrap_or_default());
        LeaseSpec {
            holder_identity: Some(self.holder.clone()),
            lease_duration_seconds: self.duration_seconds,
            acquire_time: self.acquired.map(micro),
            renew_time: self.renewed.map(micro),
            lease_transitions: Some(self.transitions),
            preferred_holder: self.preferred_holder.clone(),
            strategy: self.strategy.clone(),
        }
    }
}

/// Which version of a lease was read. A replacement names it, and fails if there is another one by then.
///
/// It is all of the metadata, for a replacement replaces that as well: the labels and annotations of others stay, and
/// an object that was deleted and made anew has another uid.
#[derive(Clone, PartialEq)]
pub struct Revision(Box<ObjectMeta>);

impl fmt::Debug for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Revision({})", self.0.resource_version.as_deref().unwrap_or_default())
    }
}

/// A lease as it was read, or as it is after writing.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    /// What it says.
    pub record: Record,
    /// Which version says so.
    pub revision: Revision,
}

impl From<Lease> for Stored {
    fn from(lease: Lease) -> Self {
        Self { record: Record::read(lease.spec), revision: Revision(Box::new(lease.metadata)) }
    }
}

/// Why a lease can't be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// Somebody else wrote, created or deleted it first: nothing is wrong, it must be read again.
    #[error("somebody else wrote the lease first")]
    Conflict,
    /// No answer in time. The request may still be carried out.
    #[error(
        "no answer within {} ms: check that the API server is up and reachable from this node",
        .waited.as_millis()
    )]
    Timeout {
        /// How long was waited.
        waited: Duration,
    },
    /// The rights are missing.
    #[error(
        "the API server does not permit it ({code}): the ServiceAccount needs get, create and update on \
         leases.coordination.k8s.io in this namespace"
    )]
    Forbidden {
        /// HTTP status: 401 or 403.
        code: u16,
        /// The words of the API server.
        #[source]
        source: Box<Status>,
    },
    /// There is no such namespace.
    #[error("the namespace does not exist: create it or name another one")]
    NoNamespace,
    /// The API server answers with an error.
    #[error("the API server refuses it ({code}): see its log")]
    Refused {
        /// HTTP status.
        code: u16,
        /// The words of the API server.
        #[source]
        source: Box<Status>,
    },
    /// The request or the answer did not get through.
    #[error("the API server can't be asked: check its address and certificates, and the network to it")]
    Unreachable(#[source] kube::Error),
}

/// The kinds of [`LeaseError`], to tell a new one from one that goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// See [`LeaseError::Conflict`].
    Conflict,
    /// See [`LeaseError::Timeout`].
    Timeout,
    /// An answer that is an error, with its HTTP status.
    Status(u16),
    /// See [`LeaseError::Unreachable`].
    Unreachable,
}

impl LeaseError {
    /// The kind of this error.
    pub fn cause(&self) -> Cause {
        match self {
            Self::Conflict => Cause::Conflict,
            Self::Timeout { .. } => Cause::Timeout,
            Self::NoNamespace => Cause::Status(404),
            Self::Forbidden { code, .. } | Self::Refused { code, .. } => Cause::Status(*code),
            Self::Unreachable(_) => Cause::Unreachable,
        }
    }

    fn of(verb: Verb, error: kube::Error) -> Self {
        let kube::Error::Api(status) = error else { return Self::Unreachable(error) };
        match (verb, status.code) {
            // A lease that is gone when it is replaced was deleted after it was read.
            (Verb::Create | Verb::Replace, 409) | (Verb::Replace, 404) => Self::Conflict,
            (Verb::Create, 404) => Self::NoNamespace,
            (_, code @ (401 | 403)) => Self::Forbidden { code, source: status },
            (_, code) => Self::Refused { code, source: status },
        }
    }
}

/// Where leases are kept.
///
/// No method limits its time: the caller does, because only it knows until when an answer is of use. A call that is
/// given up may still be carried out, at any later time.
pub trait LeaseStore: Send + Sync + 'static {
    /// What the lease says now; `None` if there is none. Never an older state than that of the last write that was
    /// answered, to whomever.
    fn read(&self, key: &LeaseKey) -> impl Future<Output = Result<Option<Stored>, LeaseError>> + Send;

    /// Makes a lease that does not exist.
    fn create(
        &self,
        key: &LeaseKey,
        record: &Record,
    ) -> impl Future<Output = Result<Stored, LeaseError>> + Send;

    /// Replaces what a lease says, if it is still the version that was read.
    fn replace(
        &self,
        key: &LeaseKey,
        revision: &Revision,
        record: &Record,
    ) -> impl Future<Output = Result<Stored, LeaseError>> + Send;
}

/// The leases of an API server.
#[derive(Clone)]
pub struct KubeLeases {
    client: kube::Client,
    params: PostParams,
}

impl fmt::Debug for KubeLeases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KubeLeases").field("params", &self.params).finish_non_exhaustive()
    }
}

impl KubeLeases {
    /// Asks the API server of `config`, and writes under this name (`metadata.managedFields[].manager`).
    ///
    /// It has a client of its own, so that no queue of other writes is before a renewal.
    pub fn new(config: &kube::Config, field_manager: impl Into<String>) -> Result<Self, ClientError> {
        let client = client::writing(config)?;
        Ok(Self { client, params: PostParams { field_manager: Some(field_manager.into()), dry_run: false } })
    }

    fn api(&self, key: &LeaseKey) -> Api<Lease> {
        Api::namespaced(self.client.clone(), &key.namespace)
    }
}

impl LeaseStore for KubeLeases {
    async fn read(&self, key: &LeaseKey) -> Result<Option<Stored>, LeaseError> {
        // Without a resourceVersion in the request the answer is the newest state, not that of a cache.
        let lease = self.api(key).get_opt(&key.name).await;
        lease.map(|lease| lease.map(Stored::from)).map_err(|error| LeaseError::of(Verb::Read, error))
    }

    async fn create(&self, key: &LeaseKey, record: &Record) -> Result<Stored, LeaseError> {
        let metadata = ObjectMeta {
            namespace: Some(key.namespace.clone()),
            name: Some(key.name.clone()),
            ..ObjectMeta::default()
        };
        let lease = Lease { metadata, spec: Some(record.write()) };
        let created = self.api(key).create(&self.params, &lease).await;
        created.map(Stored::from).map_err(|error| LeaseError::of(Verb::Create, error))
    }

    async fn replace(
        &self,
        key: &LeaseKey,
        revision: &Revision,
        record: &Record,
    ) -> Result<Stored, LeaseError> {
        let lease = Lease { metadata: (*revision.0).clone(), spec: Some(record.write()) };
        let replaced = self.api(key).replace(&key.name, &self.params, &lease).await;
        replaced.map(Stored::from).map_err(|error| LeaseError::of(Verb::Replace, error))
    }
}
