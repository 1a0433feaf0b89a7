//! Pools and Services as users write them, and what the controller makes of them.

use std::fmt::Write;
use std::net::IpAddr;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::controller::NAMESPACE;
use super::{AuditLog, ControlPlane, Controller, Request};

/// The annotation by which the controller says of which pool the addresses are.
pub const FROM_POOL: &str = "metallb.io/ip-allocated-from-pool";
/// Its deprecated twin.
pub const OLD_FROM_POOL: &str = "metallb.universe.tf/ip-allocated-from-pool";
/// The controller, as the audit log names it.
const USER: &str = "system:serviceaccount:metallb-system:barelb-controller";

/// An `IPAddressPool` without any options.
pub fn pool(name: &str, addresses: &[&str]) -> Value {
    pool_with(name, addresses, &json!({}))
}

/// An `IPAddressPool`; `more` is merged into its spec.
pub fn pool_with(name: &str, addresses: &[&str], more: &Value) -> Value {
    let spec = merged(json!({"addresses": addresses}), more);
    object("metallb.io/v1beta1", "IPAddressPool", name, spec)
}

/// An `L2Advertisement`; without anything in its spec it is for all pools, nodes and interfaces.
pub fn advertisement(name: &str, spec: Value) -> Value {
    object("metallb.io/v1beta1", "L2Advertisement", name, spec)
}

/// An object of MetalLB's API in its namespace.
#[expect(clippy::needless_pass_by_value, reason = "callers write it in place")]
pub fn object(version: &str, kind: &str, name: &str, spec: Value) -> Value {
    let metadata = json!({"name": name, "namespace": NAMESPACE});
    json!({"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec})
}

/// The v0.9 `ConfigMap` with this document.
pub fn legacy(document: &str) -> Value {
    let metadata = json!({"name": "config", "namespace": NAMESPACE});
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"config": document}})
}

/// A Service of one port in the namespace `default`; `more` is merged into its spec.
pub fn service(name: &str, annotations: &Value, more: &Value) -> Value {
    let spec = merged(json!({"type": "LoadBalancer", "ports": [{"port": 80}]}), more);
    let metadata = json!({"name": name, "annotations": annotations});
    json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec})
}

/// A Service of one port that asks for nothing.
pub fn plain(name: &str) -> Value {
    service(name, &json!({}), &json!({}))
}

/// A Service that needs an address of each family, with annotations.
pub fn dual(name: &str, annotations: &Value) -> Value {
    service(name, annotations, &json!({"ipFamilyPolicy": "RequireDualStack"}))
}

/// An `EndpointSlice` of a Service: ready endpoints on nodes, all at this port. `family` is `IPv4` or `IPv6`.
pub fn slice(service: &str, family: &str, port: u16, endpoints: &[(&str, IpAddr)]) -> Value {
    let endpoint = |(node, address): &(&str, IpAddr)| json!({"addresses": [address], "nodeName": node, "conditions": {"ready": true}});
    let name = format!("{service}-{}", family.to_lowercase());
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": family,
        "metadata": {"name": name, "labels": {"kubernetes.io/service-name": service}},
        "ports": [{"port": port, "protocol": "TCP"}],
        "endpoints": endpoints.iter().map(endpoint).collect::<Vec<_>>(),
    })
}

fn merged(mut object: Value, more: &Value) -> Value {
    for (field, value) in more.as_object().into_iter().flatten() {
        object[field] = value.clone();
    }
    object
}

/// The addresses in the status of a Service, in their order.
pub fn ingress(service: &Value) -> Vec<String> {
    let list = service["status"]["loadBalancer"]["ingress"].as_array();
    list.into_iter().flatten().filter_map(|entry| entry["ip"].as_str()).map(ToOwned::to_owned).collect()
}

impl ControlPlane {
    /// A control plane with manifests/base installed.
    pub fn installed() -> Result<Self> {
        let plane = Self::start()?;
        plane.install()?;
        Ok(plane)
    }

    /// `kubectl apply` of all the objects in one call.
    pub fn apply_all(&self, objects: &[Value]) -> Result<()> {
        let mut text = String::new();
        for object in objects {
            writeln!(text, "---\n{object}")?;
        }
        self.apply(&text).map(drop)
    }

    /// The Service; `name` may have a namespace before a slash.
    pub fn service(&self, name: &str) -> Result<Value> {
        let (namespace, name) = name.split_once('/').unwrap_or(("default", name));
        self.get(&["service", name, "--namespace", namespace])
    }

    /// The addresses of a Service, as its status has them.
    pub fn addresses(&self, service: &str) -> Result<Vec<String>> {
        Ok(ingress(&self.service(service)?))
    }

    /// Waits until a Service has these addresses, and says of which pool they are or of none.
    pub fn becomes(&self, controller: &Controller, name: &str, expected: &[&str]) -> Result<()> {
        let done = self.wait_for(Controller::PATIENCE, "not the addresses", |plane| {
            let service = plane.service(name)?;
            let (found, pool) = (ingress(&service), &service["metadata"]["annotations"][FROM_POOL]);
            ensure!(
                found == expected && pool.is_null() == expected.is_empty(),
                "{name} has {found:?} of {pool}, not {expected:?}"
            );
            Ok(Some(()))
        });
        done.with_context(|| format!("the controller's log ends:\n{}", controller.tail()))
    }

    /// The events of all namespaces.
    pub fn events(&self) -> Result<Vec<Value>> {
        let list = self.get(&["events.events.k8s.io", "--all-namespaces"])?;
        Ok(list["items"].as_array().cloned().unwrap_or_default())
    }

    /// Waits for an event on an object, and returns its text.
    pub fn event(&self, kind: &str, name: &str, reason: &str) -> Result<String> {
        let missing = format!("no event {reason} on {kind} {name}");
        self.wait_for(Controller::PATIENCE, &missing, |plane| {
            let events = plane.events()?;
            let found = events.iter().find(|event| {
                let (object, said) = (&event["regarding"], &event["reason"]);
                object["kind"] == kind && object["name"] == name && *said == reason
            });
            Ok(found.and_then(|event| Some(event["note"].as_str()?.to_owned())))
        })
    }

    /// Waits until the controller's state has this result (`Valid`, `Invalid`), and returns what it sums up.
    pub fn controller_state(&self, result: &str) -> Result<String> {
        self.wait_for(Controller::PATIENCE, "another state", |plane| {
            let state = plane.get(&["configurationstate", "controller", "--namespace", NAMESPACE])?;
            ensure!(state["status"]["result"] == result, "{state}");
            Ok(Some(state["status"]["errorSummary"].as_str().unwrap_or_default().to_owned()))
        })
    }

    /// Waits until this replica leads.
    pub fn leads(&self, controller: &Controller) -> Result<()> {
        let led = self.wait_for(Controller::PATIENCE, "it does not lead", |_| {
            Ok((controller.metric("barelb_controller_leader")? > 0.5).then_some(()))
        });
        led.with_context(|| format!("the controller's log ends:\n{}", controller.tail()))
    }

    /// Waits until the controller has written nothing but its lease for so long.
    pub fn quiet(&self, long: Duration) -> Result<()> {
        let mut log = self.audit_from_now()?;
        loop {
            thread::sleep(long);
            if log.controller_writes()?.is_empty() {
                return Ok(());
            }
        }
    }
}

impl AuditLog {
    /// The controller's writes since the last call, those of its lease left out.
    pub fn controller_writes(&mut self) -> Result<Vec<Request>> {
        let mut writes = self.writes_of(USER)?;
        writes.retain(|write| write.resource != "leases");
        Ok(writes)
    }

    /// The names of the Services that the controller has written or tried to since the last call.
    pub fn services_written(&mut self) -> Result<Vec<String>> {
        let writes = self.controller_writes()?.into_iter().filter(|write| write.resource == "services");
        Ok(writes.map(|write| write.name).collect())
    }
}
