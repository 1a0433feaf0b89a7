//! What a Service asks for, and what came of it.

use anyhow::{Result, bail};
use lb_core::allocator::Decision;
use lb_core::ids::ServiceKey;
use lb_core::request::ServiceType;
use lb_core::sharing::TrafficPolicy;
use serde::Serialize;

use crate::source::kubernetes::Cluster;

/// A Service.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Explained {
    /// `namespace/name`.
    pub(super) service: String,
    /// Its class, if it has one.
    pub(super) class: Option<String>,
    /// `Cluster` or `Local`.
    pub(super) external_traffic_policy: &'static str,
    /// The addresses in its status, and the pool that they are from.
    pub(super) addresses: Vec<String>,
    pub(super) pool: Option<String>,
    /// Why it has none, or none of those that it asks for; and what keeps it from being ours.
    pub(super) errors: Vec<String>,
}

/// What is known of the Service; an error where there is none.
pub(super) fn explained(
    cluster: &Cluster,
    key: &ServiceKey,
    decision: Option<&Decision>,
    class: Option<&str>,
) -> Result<Explained> {
    let seen = cluster.services().get(key).or_else(|| cluster.unreadable().get(key));
    let Some(seen) = seen else {
        bail!("there is no Service {key}: `kubectl get services --all-namespaces` lists those that exist")
    };
    let spec = &seen.spec;
    let mut errors: Vec<String> = seen.unreadable.iter().map(ToString::to_string).collect();
    if spec.service_type != ServiceType::LoadBalancer {
        errors.push("it is not of type LoadBalancer, and gets no address".to_owned());
    } else if !spec.has_class(class) {
        errors.push(other_class(spec.load_balancer_class.as_deref(), class));
    }
    errors.extend(decision.and_then(|decision| decision.error.as_ref()).map(ToString::to_string));
    let held = seen.held();
    let waits = held.is_none() && errors.is_empty();
    if waits {
        errors.push(
            "its status has no address yet, though it can have one: is a controller running? `kubectl get pods \
             --all-namespaces --selector app.kubernetes.io/component=controller`"
                .to_owned(),
        );
    }
    let pool = decision.and_then(|decision| decision.allocation.as_ref()).map(|held| held.pool.to_string());
    Ok(Explained {
        service: key.to_string(),
        class: spec.load_balancer_class.clone(),
        external_traffic_policy: match spec.external_traffic_policy {
            TrafficPolicy::Local => "Local",
            TrafficPolicy::Cluster => "Cluster",
        },
        addresses: held.iter().flat_map(|held| held.iter()).map(|ip| ip.to_string()).collect(),
        pool: pool.filter(|_| held.is_some()),
        errors,
    })
}

fn other_class(its: Option<&str>, ours: Option<&str>) -> String {
    let ours = match ours {
        Some(class) => format!("the class {class} (--lb-class)"),
        None => "no class (--lb-class names one)".to_owned(),
    };
    match its {
        Some(its) => format!("it is of the class {its}, and ours are those of {ours}"),
        None => format!("it has no class, and ours are those of {ours}"),
    }
}
