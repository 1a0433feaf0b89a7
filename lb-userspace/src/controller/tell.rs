use super::decide::Decided;
use crate::{
    k8s::crd::IPAddressPoolStatus,
    source::kubernetes::{Cluster, ObjectName, SeenService},
};
use lb_core::{
    addresses::Addresses,
    ids::{PoolName, ServiceKey},
};
use std::{collections::BTreeMap, sync::Arc};
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    Service(ServiceKey),
    Object(ObjectName),
}
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    Normal,
    Warning,
}
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    A,
}
impl Reason {
    pub fn name(self) -> &'static str {
        "A"
    }
}
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Telling {
    pub subject: Subject,
    pub uid: Arc<str>,
    pub severity: Severity,
    pub reason: Reason,
    pub note: String,
}
#[derive(Debug, Default)]
pub struct Told {}
impl Told {
    pub fn news(&mut self, _d: &Decided, _c: &Cluster) -> Vec<Telling> {
        vec![]
    }
}
pub fn allocated(key: &ServiceKey, uid: &Arc<str>, a: Addresses, pool: &PoolName) -> Telling {
    Telling {
        subject: Subject::Service(key.clone()),
        uid: uid.clone(),
        severity: Severity::Normal,
        reason: Reason::A,
        note: format!("{a} {pool}"),
    }
}
pub fn deprecated(_key: &ServiceKey, _seen: &SeenService) -> Option<Telling> {
    None
}
pub struct State {
    pub valid: bool,
    pub summary: String,
    pub problems: usize,
}
pub fn state(d: &Decided, _c: &Cluster) -> State {
    State { valid: d.problems.is_empty(), summary: String::new(), problems: 0 }
}
pub fn counters(d: &Decided, name: &ObjectName) -> Option<IPAddressPoolStatus> {
    let (_, u) = d.usage.iter().find(|(n, _)| n.as_str() == name.name)?;
    Some(IPAddressPoolStatus {
        assigned_ipv4: u.in_use.ipv4,
        assigned_ipv6: u.in_use.ipv6,
        available_ipv4: u.size.ipv4 - u.in_use.ipv4,
        available_ipv6: u.size.ipv6 - u.in_use.ipv6,
    })
}
pub fn waiting(_d: &Decided) -> BTreeMap<&'static str, u64> {
    BTreeMap::new()
}
