//! The writes a controller makes, as values, and who carries them out.

use std::{net::IpAddr, sync::Arc, time::SystemTime};

use lb_core::{addresses::Addresses, ids::ServiceKey};

use super::{
    metrics::WriteKind,
    outcome::{Change, FROM_POOL, OLD_FROM_POOL},
    tell::{Severity, Subject, Telling},
};
use crate::{
    k8s::{
        crd::{IPAddressPoolStatus, configuration_state::ConfigurationStateStatus},
        event::{Regarding, Reporter, Said},
        watch,
        write::{At, WriteError, Writer},
    },
    source::kubernetes::{Kind, ObjectName, Seen, read},
};

/// Name of the controller's `ConfigurationState`, and value of its label.
pub const STATE_NAME: &str = "controller";

/// What a write is about; there is one at a time for each.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// A Service.
    Service(ServiceKey),
    /// The counters of a pool.
    Pool(ObjectName),
    /// The controller's state.
    State,
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Service(key) => write!(f, "Service {key}"),
            Self::Pool(name) => write!(f, "{name}"),
            Self::State => write!(f, "ConfigurationState {STATE_NAME}"),
        }
    }
}

impl Target {
    /// What is counted.
    pub fn kind(&self) -> WriteKind {
        match self {
            Self::Service(_) => WriteKind::ServiceStatus,
            Self::Pool(_) => WriteKind::PoolStatus,
            Self::State => WriteKind::ConfigurationState,
        }
    }
}

/// A write.
#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    /// To a Service.
    Service {
        /// Which one.
        key: ServiceKey,
        /// The version that was looked at: another one is not written.
        version: Arc<str>,
        /// The addresses its status shows.
        before: Vec<IpAddr>,
        /// What becomes of it.
        change: Change,
    },
    /// Of a pool's counters.
    Pool {
        /// Which one.
        name: ObjectName,
        /// What they are.
        status: IPAddressPoolStatus,
    },
    /// Of the controller's state.
    State {
        /// What it is to say.
        status: ConfigurationStateStatus,
        /// Whether the object is there.
        exists: bool,
    },
}

impl Write {
    /// What it is about.
    pub fn target(&self) -> Target {
        match self {
            Self::Service { key, .. } => Target::Service(key.clone()),
            Self::Pool { name, .. } => Target::Pool(name.clone()),
            Self::State { .. } => Target::State,
        }
    }

    /// The version of the object that was looked at.
    pub fn version(&self) -> &str {
        match self {
            Self::Service { version, .. } => version,
            Self::Pool { .. } | Self::State { .. } => "",
        }
    }

    /// The addresses that the status shows before.
    pub fn before(&self) -> &[IpAddr] {
        match self {
            Self::Service { before, .. } => before,
            Self::Pool { .. } | Self::State { .. } => &[],
        }
    }

    /// Whether the status shows the address after it.
    pub fn shows_after(&self, ip: IpAddr) -> bool {
        match self {
            Self::Service { change: Change::Set { addresses, .. }, .. } => addresses.contains(ip),
            Self::Service { change: Change::DropOldAnnotation, before, .. } => before.contains(&ip),
            Self::Service { change: Change::Clear, .. } | Self::Pool { .. } | Self::State { .. } => false,
        }
    }

    /// The addresses it gives.
    pub fn gives(&self) -> Option<Addresses> {
        match self {
            Self::Service { change: Change::Set { addresses, .. }, .. } => Some(*addresses),
            Self::Service { change: Change::DropOldAnnotation | Change::Clear, .. }
            | Self::Pool { .. }
            | Self::State { .. } => None,
        }
    }

    /// Whether the other one makes the same of the same Service, in whichever version. What is said of pools and of the
    /// own state is always different, and yet the same kind of news.
    pub fn does_the_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Service { key, change, .. }, Self::Service { key: other, change: to, .. }) => {
                key == other && change == to
            }
            (Self::Pool { name, .. }, Self::Pool { name: other, .. }) => name == other,
            (Self::State { .. }, Self::State { .. }) => true,
            (Self::Service { .. } | Self::Pool { .. } | Self::State { .. }, _) => false,
        }
    }

    /// The same Service, with nothing left: the first half of an exchange.
    #[must_use]
    pub fn cleared(&self) -> Self {
        let mut cleared = self.clone();
        if let Self::Service { change, .. } = &mut cleared {
            *change = Change::Clear;
        }
        cleared
    }
}

/// Where writes go. No method limits its time: the caller does.
pub trait Api: Clone + Send + Sync + 'static {
    /// Carries a write out; returns the object as it is now.
    fn carry_out(&self, write: &Write) -> impl Future<Output = Result<Seen, WriteError>> + Send;

    /// Records an event.
    fn record(&self, telling: &Telling) -> impl Future<Output = Result<(), WriteError>> + Send;
}

/// An API server.
#[derive(Debug, Clone)]
pub struct Server {
    writer: Writer,
    /// Namespace of MetalLB's objects.
    namespace: Arc<str>,
    reporter: Reporter,
}

impl Server {
    /// Writes as `writer` does, and reports events as `instance`.
    pub fn new(writer: Writer, namespace: &str, instance: String) -> Self {
        let reporter = Reporter { controller: "barelb.io/controller", instance };
        Self { writer, namespace: namespace.into(), reporter }
    }

    async fn service(&self, key: &ServiceKey, version: &str, change: &Change) -> Result<Seen, WriteError> {
        let at = At { namespace: key.namespace(), name: key.name(), version };
        let both = [FROM_POOL, OLD_FROM_POOL];
        let written = match change {
            Change::Set { addresses, pool } => {
                let annotations = [(FROM_POOL, pool.as_str())];
                self.writer.set_addresses(at, addresses.iter(), &annotations).await?
            }
            Change::DropOldAnnotation => self.writer.take_away(at, &[OLD_FROM_POOL], false).await?,
            Change::Clear => self.writer.take_away(at, &both, true).await?,
        };
        Ok(Seen::Service(watch::Change::Applied(read::service(written))))
    }
}

impl Api for Server {
    async fn carry_out(&self, write: &Write) -> Result<Seen, WriteError> {
        match write {
            Write::Service { key, version, change, .. } => self.service(key, version, change).await,
            Write::Pool { name, status } => {
                let pool = self.writer.pool_status(&name.namespace, &name.name, status).await?;
                Ok(Seen::Pool(watch::Change::Applied(read::pool(pool))))
            }
            Write::State { status, exists } => {
                let (namespace, name) = (&self.namespace, STATE_NAME);
                let state = self.writer.configuration_state(namespace, name, name, status, *exists).await?;
                Ok(Seen::State(watch::Change::Applied(read::state(state))))
            }
        }
    }

    async fn record(&self, telling: &Telling) -> Result<(), WriteError> {
        let regarding = match &telling.subject {
            Subject::Service(key) => Regarding {
                api_version: Kind::Service.api_version(),
                kind: Kind::Service.name(),
                namespace: key.namespace(),
                name: key.name(),
                uid: &telling.uid,
            },
            Subject::Object(object) => Regarding {
                api_version: object.kind.api_version(),
                kind: object.kind.name(),
                namespace: &object.namespace,
                name: &object.name,
                uid: &telling.uid,
            },
        };
        let warning = telling.reason.severity() == Severity::Warning;
        let said = Said { warning, reason: telling.reason.name(), note: &telling.note };
        self.writer.record(&self.reporter, regarding, said, SystemTime::now()).await
    }
}
