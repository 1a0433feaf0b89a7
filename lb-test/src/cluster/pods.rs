//! Pods of agents, as the DaemonSet's controller and the kubelets would show them. Their programs run all the same.

use std::net::IpAddr;

use anyhow::Result;
use serde_json::{Value, json};

use super::ControlPlane;
use super::controller::NAMESPACE;

impl ControlPlane {
    /// Has the agent of a node run in a pod of the DaemonSet in manifests/base, as far as the API server knows; returns its
    /// name. `port`: where it answers, instead of where the manifests say.
    pub fn add_agent_pod(&self, node: &str, address: IpAddr, port: Option<u16>) -> Result<String> {
        let set = self.get(&["daemonset", "barelb-agent", "--namespace", NAMESPACE])?;
        let (name, mut spec) = (format!("barelb-agent-{node}"), set["spec"]["template"]["spec"].clone());
        spec["nodeName"] = node.into();
        if let Some(port) = port {
            spec["containers"][0]["ports"] = json!([{"name": "metrics", "containerPort": port}]);
        }
        let labels: &Value = &set["spec"]["template"]["metadata"]["labels"];
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "spec": spec,
            "metadata": {"name": name, "namespace": NAMESPACE, "labels": labels},
        });
        self.apply_all(&[pod])?;
        let ips = json!([{ "ip": address }]);
        let status = json!({
            "phase": "Running", "hostIP": address, "hostIPs": ips, "podIP": address, "podIPs": ips,
        });
        self.patch_status(&["pod", &name, "--namespace", NAMESPACE], &status)?;
        Ok(name)
    }
}
