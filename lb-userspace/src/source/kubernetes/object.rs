//! From objects of the API to values of lb-core.

use std::{net::IpAddr, sync::Arc};

use k8s_openapi::{
    api::{coordination::v1 as coordination, core::v1 as core, discovery::v1 as discovery},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::core::PartialObjectMeta;
use lb_core::{
    addresses::Addresses,
    config::{LegacyConfig, RawAdvertisement, RawPool},
    eligibility::{Endpoint, Node},
    ids::{NodeName, ServiceKey},
    membership::Heartbeat,
    problem::Place,
    request::ServiceSpec,
    selector::Labels,
};

use super::{Kind, ObjectName};
use crate::{
    k8s::{convert, crd, member, watch::Guarded},
    source::{
        files::legacy,
        problem::{ObjectError, Problem},
    },
};

/// What tells one version of an object from another.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Meta {
    /// `metadata.uid`.
    pub uid: Arc<str>,
    /// `metadata.resourceVersion`.
    pub version: Arc<str>,
}

impl Meta {
    fn of(meta: &ObjectMeta) -> Self {
        Self {
            uid: meta.uid.as_deref().unwrap_or_default().into(),
            version: meta.resource_version.as_deref().unwrap_or_default().into(),
        }
    }

    /// Whether this is a later version of the same object. Versions of one API server are numbers that grow
    /// (KEP-5504); what is no number counts as later.
    pub fn is_later_than(&self, other: &Self) -> bool {
        let number = |version: &str| version.parse::<u64>().ok();
        match (number(&self.version), number(&other.version)) {
            (Some(ours), Some(others)) if self.uid == other.uid => ours > others,
            _ => true,
        }
    }
}

/// An entry of `status.loadBalancer.ingress`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenIngress {
    /// The address, if it is one.
    pub ip: Option<IpAddr>,
    /// Nothing else is in it, and its mode is `VIP`, which an API server also makes of none.
    pub plain: bool,
}

/// A Service, and what its status says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenService {
    /// Which version.
    pub meta: Meta,
    /// What it asks for.
    pub spec: ServiceSpec,
    /// Its `status.loadBalancer.ingress`.
    pub ingress: Vec<SeenIngress>,
    /// Why it can't be read. `spec` then has its addresses only.
    pub unreadable: Option<Problem>,
    /// It is being deleted and waits for a finalizer.
    pub deleting: bool,
}

impl SeenService {
    /// The addresses in its status, if it has some that can be read.
    pub fn held(&self) -> Option<Addresses> {
        self.spec.held().ok().flatten()
    }
}

impl AsRef<ServiceSpec> for SeenService {
    fn as_ref(&self) -> &ServiceSpec {
        &self.spec
    }
}

/// A pool with its status.
#[derive(Debug, Clone, PartialEq)]
pub struct SeenPool {
    /// Which version.
    pub meta: Meta,
    /// Seconds since 1970 when it was made.
    pub created: i64,
    /// What is written, or why it can't be read.
    pub content: Result<Arc<RawPool>, Problem>,
    /// What its status says.
    pub status: Option<crd::IPAddressPoolStatus>,
}

/// An advertisement or a v0.9 document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenConfig<T> {
    /// Which version.
    pub meta: Meta,
    /// Seconds since 1970 when it was made.
    pub created: i64,
    /// What is written, or why it can't be read.
    pub content: Result<Arc<T>, Vec<Problem>>,
}

/// Some of the endpoints of a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenSlice {
    /// Whose they are.
    pub service: ServiceKey,
    /// The endpoints.
    pub endpoints: Vec<Endpoint>,
}

/// An object of a kind that is accepted and has no effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unserved {
    /// Which version.
    pub meta: Meta,
}

/// What the controller said last.
#[derive(Debug, Clone, PartialEq)]
pub struct SeenState {
    /// Which version.
    pub meta: Meta,
    /// Its status.
    pub status: Option<crd::configuration_state::ConfigurationStateStatus>,
}

/// What an object became, and its key; `None` if it has no usable name.
pub type Item<K, V> = Option<(K, V)>;

fn name_of(kind: Kind, meta: &ObjectMeta) -> ObjectName {
    ObjectName {
        kind,
        namespace: meta.namespace.clone().unwrap_or_default(),
        name: meta.name.clone().unwrap_or_default(),
    }
}

fn place_of(kind: Kind, meta: &ObjectMeta) -> Place {
    Place { object: name_of(kind, meta).to_string(), ..Place::default() }
}

fn created(meta: &ObjectMeta) -> i64 {
    meta.creation_timestamp.as_ref().map_or(0, |time| time.0.as_second())
}

/// The object, or its metadata and why it can't be read.
#[expect(clippy::result_large_err, reason = "it is taken apart at once")]
fn opened<K>(kind: Kind, object: Guarded<K>) -> Result<K, (ObjectMeta, Problem)> {
    object.0.map_err(|invalid| {
        let problem =
            Problem::new(place_of(kind, &invalid.metadata), ObjectError::Type { message: invalid.error });
        (invalid.metadata, problem)
    })
}

/// A Service. One that can't be read keeps the addresses in its status, if these can be.
pub fn service(object: Guarded<core::Service>) -> Item<ServiceKey, SeenService> {
    let unreadable = |meta: &ObjectMeta, ingress: Vec<SeenIngress>, problem: Problem| {
        let texts = ingress.iter().filter_map(|entry| entry.ip).map(|ip| ip.to_string()).collect();
        SeenService {
            meta: Meta::of(meta),
            spec: ServiceSpec { ingress: texts, ..ServiceSpec::default() },
            ingress,
            unreadable: Some(problem),
            deleting: meta.deletion_timestamp.is_some(),
        }
    };
    let object = match opened(Kind::Service, object) {
        Ok(object) => object,
        Err((meta, problem)) => {
            let key = convert::service_key(&meta).ok()?;
            return Some((key, unreadable(&meta, Vec::new(), problem)));
        }
    };
    let meta = object.metadata.clone();
    let key = convert::service_key(&meta).ok()?;
    let written = object.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let written = written.and_then(|balancer| balancer.ingress.as_ref()).into_iter().flatten();
    let ingress: Vec<SeenIngress> = written.map(ingress).collect();
    let seen = match convert::service(object) {
        Ok((_, spec)) => SeenService {
            meta: Meta::of(&meta),
            spec,
            ingress,
            unreadable: None,
            deleting: meta.deletion_timestamp.is_some(),
        },
        Err(error) => {
            let problem = Problem::at_field(&Place::service(&key), error);
            unreadable(&meta, ingress, problem)
        }
    };
    Some((key, seen))
}

/// What announcing a Service depends on.
pub(super) fn announced_service(object: Guarded<core::Service>) -> Item<ServiceKey, SeenService> {
    let (key, seen) = service(object)?;
    Some((key, SeenService { spec: seen.spec.announced(), ingress: Vec::new(), ..seen }))
}

fn ingress(entry: &core::LoadBalancerIngress) -> SeenIngress {
    let ip = entry.ip.as_deref().and_then(|text| text.parse().ok());
    let plain = entry.hostname.as_deref().is_none_or(str::is_empty)
        && entry.ip_mode.as_deref().is_none_or(|mode| mode == "VIP")
        && entry.ports.as_ref().is_none_or(Vec::is_empty);
    SeenIngress { ip, plain }
}

/// The labels of a namespace.
pub fn namespace(object: Guarded<PartialObjectMeta<core::Namespace>>) -> Item<Arc<str>, Arc<Labels>> {
    let meta = object.0.ok()?.metadata;
    Some((meta.name?.into(), Arc::new(meta.labels.unwrap_or_default())))
}

/// A node.
pub fn node(object: Guarded<core::Node>) -> Item<NodeName, Node> {
    convert::node(object.0.ok()?).ok()
}

/// A slice of the endpoints of a Service; `None` for one that is of no Service.
pub fn endpoint_slice(object: Guarded<discovery::EndpointSlice>) -> Item<ObjectName, SeenSlice> {
    let slice = object.0.ok()?;
    let name = name_of(Kind::EndpointSlice, &slice.metadata);
    let (service, endpoints) = convert::endpoint_slice(slice).ok()?;
    Some((name, SeenSlice { service, endpoints }))
}

/// The Lease of an agent.
pub fn lease(object: Guarded<coordination::Lease>) -> Item<NodeName, Heartbeat> {
    member::read(object.0.ok()?)
}

/// A pool.
pub fn pool(object: Guarded<crd::IPAddressPool>) -> Item<ObjectName, SeenPool> {
    let (meta, content, status) = match opened(Kind::Pool, object) {
        Ok(mut object) => {
            let (meta, status) = (object.metadata.clone(), object.status.take());
            (meta, Ok(Arc::new(convert::pool(place_of(Kind::Pool, &object.metadata), object))), status)
        }
        Err((meta, problem)) => (meta, Err(problem), None),
    };
    let seen = SeenPool { meta: Meta::of(&meta), created: created(&meta), content, status };
    Some((name_of(Kind::Pool, &meta), seen))
}

/// An advertisement.
pub fn advertisement(
    object: Guarded<crd::L2Advertisement>,
) -> Item<ObjectName, SeenConfig<RawAdvertisement>> {
    let kind = Kind::Advertisement;
    let (meta, content) = match opened(kind, object) {
        Ok(object) => {
            let meta = object.metadata.clone();
            let place = place_of(kind, &meta);
            (meta, Ok(Arc::new(convert::advertisement(place, object))))
        }
        Err((meta, problem)) => (meta, Err(vec![problem])),
    };
    let seen = SeenConfig { meta: Meta::of(&meta), created: created(&meta), content };
    Some((name_of(kind, &meta), seen))
}

/// A v0.9 document.
pub fn config_map(object: Guarded<core::ConfigMap>) -> Item<ObjectName, SeenConfig<LegacyConfig>> {
    let kind = Kind::ConfigMap;
    let (meta, content) = match opened(kind, object) {
        Ok(object) => {
            let place = place_of(kind, &object.metadata);
            let content = legacy::from_config_map(&object, &place).map(Arc::new);
            (object.metadata, content)
        }
        Err((meta, problem)) => (meta, Err(vec![problem])),
    };
    let seen = SeenConfig { meta: Meta::of(&meta), created: created(&meta), content };
    Some((name_of(kind, &meta), seen))
}

#[expect(clippy::unnecessary_wraps, reason = "one shape for all kinds")]
pub(super) fn unserved<K>(kind: Kind, object: Guarded<PartialObjectMeta<K>>) -> Item<ObjectName, Unserved> {
    let meta = object.0.map_or_else(|invalid| invalid.metadata, |object| object.metadata);
    Some((name_of(kind, &meta), Unserved { meta: Meta::of(&meta) }))
}

/// What the controller said of itself.
pub fn state(object: Guarded<crd::ConfigurationState>) -> Item<ObjectName, SeenState> {
    let (meta, status) = match object.0 {
        Ok(object) => (object.metadata, object.status),
        Err(invalid) => (invalid.metadata, None),
    };
    Some((name_of(Kind::State, &meta), SeenState { meta: Meta::of(&meta), status }))
}
