//! Node objects, as kubelets would register them.

use std::net::IpAddr;

use anyhow::Result;
use serde_json::{Value, json};

use super::ControlPlane;

impl ControlPlane {
    /// Registers ready nodes with their addresses, in one call.
    pub fn add_nodes(&self, nodes: &[(&str, &[IpAddr])]) -> Result<()> {
        let items: Vec<_> = nodes.iter().map(|(name, addresses)| node(name, addresses)).collect();
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string();
        self.feed(&self.admin, &["create", "--filename=-"], &list).map(drop)
    }

    /// Sets a condition of a node, for example `Ready` to `False` or `NetworkUnavailable` to `True`.
    pub fn set_node_condition(&self, name: &str, condition: &str, status: &str) -> Result<()> {
        self.put_node_condition(name, &self::condition(condition, status))
    }

    /// Has a node say that it shuts down, in the words of the kubelet.
    pub fn shut_node_down(&self, name: &str) -> Result<()> {
        let ready = json!({
            "type": "Ready", "status": "False", "reason": "KubeletNotReady", "message": "node is shutting down",
        });
        self.put_node_condition(name, &ready)
    }

    fn put_node_condition(&self, name: &str, condition: &Value) -> Result<()> {
        let patch = json!({ "status": { "conditions": [condition] } }).to_string();
        // Strategic: other conditions stay.
        self.kubectl(&["patch", "node", name, "--subresource=status", "--type=strategic", "--patch", &patch])
            .map(drop)
    }
}

/// A new Node keeps the status it is created with; only later writes need the subresource.
fn node(name: &str, addresses: &[IpAddr]) -> Value {
    let internal =
        addresses.iter().map(|address| json!({ "type": "InternalIP", "address": address.to_string() }));
    let host = json!({ "type": "Hostname", "address": name });
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": { "name": name, "labels": { "kubernetes.io/hostname": name, "kubernetes.io/os": "linux" } },
        "status": {
            "addresses": internal.chain([host]).collect::<Vec<_>>(),
            "conditions": [condition("Ready", "True"), condition("NetworkUnavailable", "False")],
        },
    })
}

fn condition(kind: &str, status: &str) -> Value {
    json!({ "type": kind, "status": status, "reason": "Test", "message": "set by a test" })
}
