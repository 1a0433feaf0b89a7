//! From Kubernetes objects to values of lb-core.
//!
//! The functions read what they are given and judge no more than its form: a word that the API does not have, a
//! port that is no port, a name that is none. Everything that depends on other objects is lb-core's to judge.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use k8s_openapi::{
    api::{core::v1 as core, discovery::v1 as discovery},
    apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta},
};
use lb_core::{
    config::{RawAdvertisement, RawPool, RawPreference, RawServiceAllocation},
    eligibility::{DRAIN_ANNOTATION, Endpoint, Leaving, Node},
    ids::{NameError, NodeName, ServiceKey},
    pool::Family,
    problem::Place,
    request::{ServiceSpec, ServiceType},
    selector::{RawExpression, RawSelector},
    sharing::{Port, Protocol, WordError},
};

use super::crd;

#[cfg(test)]
mod tests;

/// Label of an `EndpointSlice` that names its Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// Beginnings of the annotations that are read.
const PREFIXES: [&str; 3] = ["metallb.io/", "metallb.universe.tf/", "barelb.io/"];

/// Namespace of an object that names none.
pub const DEFAULT_NAMESPACE: &str = "default";

/// A field that an API server would have refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// Path of the field.
    pub field: String,
    /// What is wrong with it.
    pub error: ConvertError,
}

/// What is wrong with a field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConvertError {
    /// A name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A word that the API does not have there.
    #[error("{text:?} is not permitted there: {expected}")]
    Word {
        /// What was written, cut to a readable length.
        text: String,
        /// What can be written.
        expected: WordError,
    },
    /// A number that is no port.
    #[error("port {0} is outside 1-65535")]
    Port(i32),
    /// An `EndpointSlice` that belongs to no Service.
    #[error("the label kubernetes.io/service-name is missing: the slice belongs to no Service")]
    NoServiceName,
}

fn field(field: impl Into<String>, error: impl Into<ConvertError>) -> FieldError {
    FieldError { field: field.into(), error: error.into() }
}

/// Reads a word that has a set of permitted values.
fn word<T>(
    path: impl Into<String>,
    text: &str,
    parse: impl Fn(&str) -> Result<T, WordError>,
) -> Result<T, FieldError> {
    let quoted = || text.chars().take(40).collect();
    parse(text).map_err(|expected| field(path, ConvertError::Word { text: quoted(), expected }))
}

/// Namespace and name of a Service.
pub fn service_key(metadata: &ObjectMeta) -> Result<ServiceKey, FieldError> {
    let namespace = metadata.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE);
    let name = metadata.name.as_deref().unwrap_or_default();
    // The parts are judged one by one, so that the message names the right field.
    ServiceKey::new(namespace, "x").map_err(|error| field("metadata.namespace", error))?;
    ServiceKey::new(namespace, name).map_err(|error| field("metadata.name", error))
}

/// What allocation and announcement look at in a Service. The labels of its namespace are left empty.
pub fn service(service: core::Service) -> Result<(ServiceKey, ServiceSpec), FieldError> {
    let key = service_key(&service.metadata)?;
    let spec = service.spec.unwrap_or_default();
    let family = |(index, text): (usize, &String)| {
        word(format!("spec.ipFamilies[{index}]"), text, |text| match text {
            "IPv4" => Ok(Family::Ipv4),
            "IPv6" => Ok(Family::Ipv6),
            _ => Err(WordError { expected: "IPv4 or IPv6" }),
        })
    };
    let ip_families =
        spec.ip_families.unwrap_or_default().iter().enumerate().map(family).collect::<Result<_, _>>()?;
    let policy = spec.external_traffic_policy.as_deref().filter(|text| !text.is_empty());
    let policy = policy.map(|text| word("spec.externalTrafficPolicy", text, str::parse)).transpose()?;
    let families = spec.ip_family_policy.as_deref().filter(|text| !text.is_empty());
    let families = families.map(|text| word("spec.ipFamilyPolicy", text, str::parse)).transpose()?;
    let ports = spec.ports.unwrap_or_default();
    let ports =
        ports.iter().enumerate().map(|(index, written)| port(index, written)).collect::<Result<_, _>>()?;
    let single = spec.cluster_ip.filter(|text| !text.is_empty());
    let cluster_ips =
        spec.cluster_ips.filter(|list| !list.is_empty()).unwrap_or_else(|| single.into_iter().collect());
    let ingress =
        service.status.and_then(|status| status.load_balancer).and_then(|balancer| balancer.ingress);
    let service_type = spec.type_.as_deref().map(ServiceType::from).unwrap_or_default();
    // Of others nobody asks these; they can be many and large.
    let asked = service_type == ServiceType::LoadBalancer;
    let spec = ServiceSpec {
        service_type,
        load_balancer_class: spec.load_balancer_class,
        load_balancer_ip: spec.load_balancer_ip,
        annotations: service.metadata.annotations.map(ours).unwrap_or_default(),
        labels: service.metadata.labels.filter(|_| asked).unwrap_or_default(),
        namespace_labels: BTreeMap::new(),
        cluster_ips,
        ip_families,
        ip_family_policy: families.unwrap_or_default(),
        ports,
        external_traffic_policy: policy.unwrap_or_default(),
        selector: spec.selector.filter(|_| asked).unwrap_or_default(),
        ingress: ingress.unwrap_or_default().into_iter().filter_map(|entry| entry.ip).collect(),
    };
    Ok((key, spec))
}

/// The annotations that mean something here. The others may be large, and change when nothing is asked for.
fn ours(mut annotations: BTreeMap<String, String>) -> BTreeMap<String, String> {
    annotations.retain(|name, _| PREFIXES.iter().any(|prefix| name.starts_with(prefix)));
    annotations
}

fn port(index: usize, written: &core::ServicePort) -> Result<Port, FieldError> {
    let protocol = written.protocol.as_deref().filter(|text| !text.is_empty());
    let protocol =
        protocol.map(|text| word(format!("spec.ports[{index}].protocol"), text, str::parse)).transpose()?;
    let number = u16::try_from(written.port).ok().filter(|port| *port != 0);
    let wrong = || field(format!("spec.ports[{index}].port"), ConvertError::Port(written.port));
    Ok(Port { protocol: protocol.unwrap_or(Protocol::Tcp), port: number.ok_or_else(wrong)? })
}

/// A pool as it was written.
pub fn pool(place: Place, object: crd::IPAddressPool) -> RawPool {
    let spec = object.spec;
    RawPool {
        place,
        name: object.metadata.name.unwrap_or_default(),
        addresses: spec.addresses,
        auto_assign: spec.auto_assign,
        avoid_buggy_ips: spec.avoid_buggy_ips,
        labels: object.metadata.labels.unwrap_or_default(),
        service_allocation: spec.service_allocation.map(|rule| RawServiceAllocation {
            priority: rule.priority,
            namespaces: rule.namespaces,
            namespace_selectors: selectors(rule.namespace_selectors),
            service_selectors: selectors(rule.service_selectors),
        }),
    }
}

/// An advertisement as it was written.
pub fn advertisement(place: Place, object: crd::L2Advertisement) -> RawAdvertisement {
    let spec = object.spec;
    let preference = |written: crd::NodePreference| RawPreference {
        weight: written.weight,
        preference: selector(written.preference),
    };
    let annotations = object.metadata.annotations.unwrap_or_default();
    RawAdvertisement {
        place,
        name: object.metadata.name.unwrap_or_default(),
        pools: spec.ip_address_pools,
        pool_selectors: selectors(spec.ip_address_pool_selectors),
        node_selectors: selectors(spec.node_selectors),
        interfaces: spec.interfaces,
        service_selectors: selectors(spec.service_selectors),
        preferred_node_selectors: spec.preferred_node_selectors.into_iter().map(preference).collect(),
        vlan: annotations.get(crd::VLAN_ANNOTATION).cloned(),
        interface_regex: annotations.get(crd::INTERFACE_REGEX_ANNOTATION).cloned(),
    }
}

fn selectors(written: Vec<LabelSelector>) -> Vec<RawSelector> {
    written.into_iter().map(selector).collect()
}

/// A label selector as it was written.
pub fn selector(written: LabelSelector) -> RawSelector {
    let expressions = written.match_expressions.unwrap_or_default().into_iter().map(|e| RawExpression {
        key: e.key,
        operator: e.operator,
        values: e.values.unwrap_or_default(),
    });
    RawSelector {
        match_labels: written.match_labels.unwrap_or_default(),
        match_expressions: expressions.collect(),
    }
}

/// A node as the election sees it. It is taken to be alive: whether its agent is there is not in the object.
pub fn node(object: core::Node) -> Result<(NodeName, Node), FieldError> {
    let name = NodeName::new(object.metadata.name.as_deref().unwrap_or_default());
    let name = name.map_err(|error| field("metadata.name", error))?;
    let status = object.status.unwrap_or_default();
    let conditions = status.conditions.unwrap_or_default();
    let unavailable = |c: &core::NodeCondition| c.type_ == "NetworkUnavailable" && c.status == "True";
    let addresses: BTreeSet<IpAddr> =
        status.addresses.unwrap_or_default().iter().filter_map(|a| a.address.parse().ok()).collect();
    let annotations = object.metadata.annotations.unwrap_or_default();
    let cordoned = object.spec.is_some_and(|spec| spec.unschedulable == Some(true));
    let leaving = [
        (conditions.iter().any(shuts_down), Leaving::ShuttingDown),
        (annotations.contains_key(DRAIN_ANNOTATION), Leaving::Drained),
        (cordoned, Leaving::Cordoned),
    ];
    let node = Node {
        labels: object.metadata.labels.unwrap_or_default(),
        network_unavailable: conditions.iter().any(unavailable),
        addresses: addresses.into_iter().collect(),
        leaving: leaving.into_iter().find(|(is, _)| *is).map(|(_, leaving)| leaving),
        ..Node::default()
    };
    Ok((name, node))
}

/// The words of the kubelet's shutdown manager (`pkg/kubelet/nodeshutdown`), which has none for programs.
fn shuts_down(condition: &core::NodeCondition) -> bool {
    let message = condition.message.as_deref().unwrap_or_default();
    condition.type_ == "Ready" && condition.status == "False" && message.contains("node is shutting down")
}

/// The Service of an `EndpointSlice`, and the slice's endpoints. An endpoint on a node whose name is none counts
/// as one outside the cluster.
pub fn endpoint_slice(slice: discovery::EndpointSlice) -> Result<(ServiceKey, Vec<Endpoint>), FieldError> {
    const LABEL: &str = "metadata.labels[kubernetes.io/service-name]";
    let labels = slice.metadata.labels.unwrap_or_default();
    let name = labels.get(SERVICE_NAME).ok_or_else(|| field(LABEL, ConvertError::NoServiceName))?;
    let namespace = slice.metadata.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE);
    let key = ServiceKey::new(namespace, name).map_err(|error| field(LABEL, error))?;
    let endpoint = |written: discovery::Endpoint| {
        let conditions = written.conditions.unwrap_or_default();
        Endpoint {
            node: written.node_name.and_then(|name| NodeName::new(name).ok()),
            ready: conditions.ready,
            serving: conditions.serving,
        }
    };
    Ok((key, slice.endpoints.into_iter().map(endpoint).collect()))
}
