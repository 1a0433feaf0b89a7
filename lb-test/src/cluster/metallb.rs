//! `MetalLB`'s speaker, as far as the API server shows it.

use anyhow::Result;
use serde_json::json;

use super::ControlPlane;
use super::controller::NAMESPACE;
use super::services::object;

/// Its `ServiceL2Status`.
const STATUS: &str = "l2-speaker";

impl ControlPlane {
    /// Has a speaker say that it announces a Service of the namespace `default`: a pod owns what it says.
    pub fn announce_as_metallb(&self, service: &str, node: &str) -> Result<()> {
        let mut said = object("metallb.io/v1beta1", "ServiceL2Status", STATUS, json!({}));
        said["metadata"]["ownerReferences"] =
            json!([{"apiVersion": "v1", "kind": "Pod", "name": "speaker-x7gkp", "uid": "5d2d2f6a"}]);
        self.apply_all(&[said])?;
        let interfaces = json!([{"name": "eth0"}]);
        let status = json!({
            "node": node, "serviceName": service, "serviceNamespace": "default", "interfaces": interfaces,
        });
        self.patch_status(&["servicel2status", STATUS, "--namespace", NAMESPACE], &status)
    }

    /// What the garbage collector does when the speaker's pod is gone.
    pub fn end_metallb(&self) -> Result<()> {
        self.kubectl(&["delete", "servicel2status", STATUS, "--namespace", NAMESPACE]).map(drop)
    }
}
