//! The text of status files.

use std::{io, net::IpAddr};

use lb_core::{
    ids::ServiceKey,
    status::{Condition, Ingress, IpMode, LoadBalancerStatus, ServiceStatus, Truth},
};
use serde::{Deserialize, Serialize};

use crate::source::problem::Problem;

/// First line of every file; a file without it is not ours.
pub(super) const MARKER: &str = "# Written by barelb; changes are overwritten.\n";

/// A Service with nothing but its status.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StoredService<'a> {
    api_version: &'static str,
    kind: &'static str,
    metadata: Metadata<&'a str>,
    status: &'a ServiceStatus,
}

#[derive(Debug, Serialize, Deserialize)]
struct Metadata<T> {
    name: T,
    namespace: T,
}

impl<'a> StoredService<'a> {
    pub(super) fn new(key: &'a ServiceKey, status: &'a ServiceStatus) -> Self {
        let metadata = Metadata { name: key.name(), namespace: key.namespace() };
        Self { api_version: "v1", kind: "Service", metadata, status }
    }
}

/// Everything that is wrong.
#[derive(Debug, Serialize)]
pub(super) struct ProblemsDocument {
    problems: Vec<ProblemEntry>,
}

#[derive(Debug, Serialize)]
struct ProblemEntry {
    severity: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<u32>,
    #[serde(skip_serializing_if = "String::is_empty")]
    object: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    field: String,
    reason: String,
}

impl ProblemsDocument {
    pub(super) fn new<'a>(problems: impl Iterator<Item = &'a Problem>) -> Self {
        let entry = |problem: &Problem| ProblemEntry {
            severity: if problem.is_warning() { "warning" } else { "error" },
            file: problem.place.file.clone(),
            document: problem.place.document,
            object: problem.place.object.clone(),
            field: problem.place.field.clone(),
            reason: problem.reason.to_string(),
        };
        Self { problems: problems.map(entry).collect() }
    }
}

/// A document as text, with the marker.
pub(super) fn text(document: &impl Serialize) -> io::Result<String> {
    let text = serde_saphyr::to_string(document).map_err(io::Error::other)?;
    Ok(format!("{MARKER}{text}"))
}

#[derive(Debug, Deserialize)]
struct ReadService {
    kind: String,
    metadata: Metadata<String>,
    status: ReadStatus,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReadStatus {
    load_balancer: ReadBalancer,
    #[serde(default)]
    conditions: Vec<ReadCondition>,
}

#[derive(Debug, Deserialize)]
struct ReadBalancer {
    #[serde(default)]
    ingress: Vec<ReadIngress>,
}

#[derive(Debug, Deserialize)]
struct ReadIngress {
    ip: IpAddr,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReadCondition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
    reason: String,
    message: String,
    last_transition_time: Option<String>,
}

/// The status in a text that this program wrote for this Service.
pub(super) fn read(text: &str, key: &ServiceKey) -> Option<ServiceStatus> {
    let options = serde_saphyr::options! { with_snippet: false };
    let read: ReadService = serde_saphyr::from_str_with_options(text, options).ok()?;
    let named = read.metadata.name == key.name() && read.metadata.namespace == key.namespace();
    if read.kind != "Service" || !named {
        return None;
    }
    let condition = |read: ReadCondition| Condition {
        kind: read.kind,
        status: if read.status == "True" { Truth::True } else { Truth::False },
        reason: read.reason,
        message: read.message,
        last_transition_time: read.last_transition_time,
    };
    let ingress = read.status.load_balancer.ingress.into_iter();
    Some(ServiceStatus {
        load_balancer: LoadBalancerStatus {
            ingress: ingress.map(|entry| Ingress { ip: entry.ip, ip_mode: IpMode::Vip }).collect(),
        },
        conditions: read.status.conditions.into_iter().map(condition).collect(),
    })
}
