//! What the controller says beside addresses: events, its `ConfigurationState`, counters of pools.
//!
//! Events have MetalLB's reasons. An event is told when what it says becomes the case, not in every pass: [`Told`]
//! compares what is the case now with what was in the last pass.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use lb_core::{
    addresses::Addresses,
    allocator::Decision,
    ids::{PoolName, ServiceKey},
    request::AllocError,
};

use super::{
    decide::Decided,
    outcome::{OLD_FROM_POOL, OLD_PREFIX},
};
use crate::{
    k8s::{crd::IPAddressPoolStatus, event::readable},
    source::kubernetes::{Cluster, Kind, ObjectName, SeenService},
};

mod objects;
mod services;
#[cfg(test)]
mod tests;

pub use objects::{State, state};

/// What an event is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// A Service.
    Service(ServiceKey),
    /// An object of the configuration.
    Object(ObjectName),
}

/// Whether somebody has to do something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// No.
    Normal,
    /// Yes.
    Warning,
}

/// What an event is for. Those on Services have MetalLB's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// An address was given.
    IpAllocated,
    /// An address was taken away, because it is not permitted any more.
    ClearAssignment,
    /// The second family can't be had.
    AdditionalAssignFailed,
    /// There is no address.
    AllocationFailed,
    /// A wish can't be fulfilled; the Service keeps what it has.
    LoadBalancerFailed,
    /// `RequireDualStack` with one cluster IP.
    NotEnoughClusterIps,
    /// The addresses in the status make no sense.
    NoLbIpsIpFamily,
    /// The cluster IPs make no sense.
    NoClusterIpsIpFamily,
    /// Annotations with the old prefix.
    DeprecatedAnnotation,
    /// A part of the configuration is not in force.
    ConfigurationError,
    /// A part of the configuration may not be meant as it is.
    ConfigurationWarning,
    /// An object of a kind that has no effect.
    NotServed,
}

impl Reason {
    /// As the event has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::IpAllocated => "IPAllocated",
            Self::ClearAssignment => "ClearAssignment",
            Self::AdditionalAssignFailed => "AdditionalAssignFailed",
            Self::AllocationFailed => "AllocationFailed",
            Self::LoadBalancerFailed => "LoadBalancerFailed",
            Self::NotEnoughClusterIps => "not enough clusterips",
            Self::NoLbIpsIpFamily => "nolbIPsIPFamily",
            Self::NoClusterIpsIpFamily => "noclusterIPsIPFamily",
            Self::DeprecatedAnnotation => "deprecatedAnnotation",
            Self::ConfigurationError => "ConfigurationError",
            Self::ConfigurationWarning => "ConfigurationWarning",
            Self::NotServed => "NotServed",
        }
    }

    /// Whether somebody has to do something.
    pub fn severity(self) -> Severity {
        match self {
            Self::IpAllocated | Self::ClearAssignment | Self::AdditionalAssignFailed => Severity::Normal,
            Self::AllocationFailed
            | Self::LoadBalancerFailed
            | Self::NotEnoughClusterIps
            | Self::NoLbIpsIpFamily
            | Self::NoClusterIpsIpFamily
            | Self::DeprecatedAnnotation
            | Self::ConfigurationError
            | Self::ConfigurationWarning
            | Self::NotServed => Severity::Warning,
        }
    }
}

/// An event that is to be recorded.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Telling {
    /// What it is about.
    pub subject: Subject,
    /// Its `metadata.uid`, by which `kubectl describe` finds the event.
    pub uid: Arc<str>,
    /// The word.
    pub reason: Reason,
    /// The sentence, 1 kB at most, without control characters.
    pub note: String,
}

impl Telling {
    fn of_service(key: &ServiceKey, uid: &Arc<str>, reason: Reason, note: &str) -> Self {
        Self { subject: Subject::Service(key.clone()), uid: Arc::clone(uid), reason, note: readable(note) }
    }
}

/// What was the case in the last pass.
#[derive(Debug, Default)]
pub struct Told(BTreeSet<Telling>);

impl Told {
    /// What is the case now and was not in the last pass.
    pub fn news(&mut self, decided: &Decided, cluster: &Cluster) -> Vec<Telling> {
        let mut now = BTreeSet::new();
        services::collect(decided, cluster, &mut now);
        objects::collect(decided, cluster, &mut now);
        let news = now.difference(&self.0).cloned().collect();
        self.0 = now;
        news
    }
}

/// That addresses were given, once they are written.
pub fn allocated(key: &ServiceKey, uid: &Arc<str>, addresses: Addresses, pool: &PoolName) -> Telling {
    let note = format!("Assigned {addresses} from address pool {pool}");
    Telling::of_service(key, uid, Reason::IpAllocated, &note)
}

/// That a Service has annotations with the old prefix.
pub fn deprecated(key: &ServiceKey, seen: &SeenService) -> Option<Telling> {
    let names = seen.spec.annotations.keys().map(String::as_str);
    let old: Vec<&str> =
        names.filter(|name| name.starts_with(OLD_PREFIX) && *name != OLD_FROM_POOL).collect();
    if old.is_empty() {
        return None;
    }
    let note = format!("write metallb.io/ for {OLD_PREFIX} in these annotations: {}", old.join(", "));
    Some(Telling::of_service(key, &seen.meta.uid, Reason::DeprecatedAnnotation, &note))
}

/// How full a pool is, if it is in force.
pub fn counters(decided: &Decided, name: &ObjectName) -> Option<IPAddressPoolStatus> {
    if name.kind != Kind::Pool || !decided.pools.contains(name) {
        return None;
    }
    let (_, usage) = decided.usage.iter().find(|(pool, _)| pool.as_str() == name.name)?;
    let (size, used) = (usage.size, usage.in_use);
    Some(IPAddressPoolStatus {
        assigned_ipv4: used.ipv4,
        assigned_ipv6: used.ipv6,
        available_ipv4: size.ipv4.saturating_sub(used.ipv4),
        available_ipv6: size.ipv6.saturating_sub(used.ipv6),
    })
}

/// Services without an address, by why.
pub fn waiting(decided: &Decided) -> BTreeMap<&'static str, u64> {
    let mut counts = BTreeMap::new();
    for decision in decided.decisions.values() {
        if let Decision { allocation: None, error: Some(error), .. } = decision {
            *counts.entry(AllocError::reason(error)).or_default() += 1;
        }
    }
    counts
}
