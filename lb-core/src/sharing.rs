//! When two Services may have one address (MetalLB `internal/allocator/allocator.go`, `checkSharing`).
//!
//! Both must carry the same sharing key, send traffic to the same place, and have no port in common.

use std::{collections::BTreeMap, fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

#[cfg(test)]
mod tests;

/// Transport protocol of a Service port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Protocol {
    /// TCP, the default of Kubernetes.
    #[serde(rename = "TCP")]
    Tcp,
    /// UDP.
    #[serde(rename = "UDP")]
    Udp,
    /// SCTP.
    #[serde(rename = "SCTP")]
    Sctp,
}

/// A word that an enumeration of the Kubernetes API does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}")]
pub struct WordError {
    /// The words it has.
    pub expected: &'static str,
}

impl FromStr for Protocol {
    type Err = WordError;
    fn from_str(text: &str) -> Result<Self, WordError> {
        match text {
            "TCP" => Ok(Self::Tcp),
            "UDP" => Ok(Self::Udp),
            "SCTP" => Ok(Self::Sctp),
            _ => Err(WordError { expected: "TCP, UDP or SCTP" }),
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        })
    }
}

/// A port of a Service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Port {
    /// Transport protocol.
    pub protocol: Protocol,
    /// Port number on the load balancer's address.
    pub port: u16,
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.protocol, self.port)
    }
}

/// `spec.externalTrafficPolicy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub enum TrafficPolicy {
    /// Any node forwards to any endpoint.
    #[default]
    Cluster,
    /// A node forwards to its own endpoints only.
    Local,
}

impl FromStr for TrafficPolicy {
    type Err = WordError;
    fn from_str(text: &str) -> Result<Self, WordError> {
        match text {
            "Cluster" => Ok(Self::Cluster),
            "Local" => Ok(Self::Local),
            _ => Err(WordError { expected: "Cluster or Local" }),
        }
    }
}

/// Why two Services may not have one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SharingConflict {
    /// At least one of them has no sharing key.
    #[error("both need the annotation metallb.io/allow-shared-ip with one value")]
    NoKey,
    /// Both have a key, and they differ.
    #[error("their values of metallb.io/allow-shared-ip differ")]
    DifferentKey,
    /// One is Local and the other Cluster, or both are Local and select different pods.
    #[error("their external traffic policies differ, or they are Local and select different pods")]
    DifferentBackend,
    /// Both serve this port.
    #[error("both serve {0}")]
    SamePort(Port),
}

/// What decides whether a Service may share an address. Without a key nothing else counts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sharing(Option<Arc<Claim>>);

#[derive(Debug, PartialEq, Eq)]
struct Claim {
    key: Arc<str>,
    backend: String,
    /// In order.
    ports: Vec<Port>,
}

impl Sharing {
    /// The claim of a Service with this sharing key (empty = none), policy, selector and ports.
    pub fn new(
        key: Option<&str>,
        policy: TrafficPolicy,
        selector: &BTreeMap<String, String>,
        ports: impl IntoIterator<Item = Port>,
    ) -> Self {
        let Some(key) = key.filter(|key| !key.is_empty()) else { return Self::default() };
        let backend = match policy {
            TrafficPolicy::Cluster => String::new(),
            // NUL can't occur in a label, so different selectors give different texts.
            TrafficPolicy::Local => selector.iter().flat_map(|(k, v)| [k.as_str(), "\0", v, "\0"]).collect(),
        };
        let mut ports: Vec<Port> = ports.into_iter().collect();
        ports.sort_unstable();
        Self(Some(Arc::new(Claim { key: key.into(), backend, ports })))
    }

    /// The sharing key, if there is one.
    pub fn key(&self) -> Option<&Arc<str>> {
        self.0.as_deref().map(|claim| &claim.key)
    }

    /// Why a Service with this claim can't join one with the other, or `None` if it can. Symmetric.
    pub fn conflict(&self, other: &Self) -> Option<SharingConflict> {
        let (Some(claim), Some(other)) = (&self.0, &other.0) else {
            return Some(SharingConflict::NoKey);
        };
        if claim.key != other.key {
            return Some(SharingConflict::DifferentKey);
        }
        if claim.backend != other.backend {
            return Some(SharingConflict::DifferentBackend);
        }
        let common = claim.ports.iter().find(|port| other.ports.binary_search(port).is_ok());
        common.map(|port| SharingConflict::SamePort(*port))
    }
}
