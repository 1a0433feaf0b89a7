//! Who else is in a cluster of the documents: what a controller manager and kubelets do, as far as commands wait for it,
//! and the objects of MetalLB and kube-vip, by the names and labels that their own manifests have.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::stage::Stage;
use crate::cluster::ControlPlane;
use crate::cluster::services::{advertisement, legacy, plain, pool};

const PAUSE: Duration = Duration::from_millis(200);
const NAMESPACE: &str = "metallb-system";
const FOREGROUND: &str = "foregroundDeletion";

/// The address that the Service `web` has from whoever served it before, of each family's pool.
pub const HELD: &str = "192.0.2.105";

/// Does `work` while pods, DaemonSets and Deployments become what they are to be, and vanish when they are deleted.
pub fn kept<T>(plane: &ControlPlane, work: impl FnOnce() -> Result<T>) -> Result<T> {
    struct Stop<'a>(&'a AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                // Whatever fails is tried again: others change the same objects.
                drop(tidy(plane));
                thread::sleep(PAUSE);
            }
        });
        let _stop = Stop(&over);
        work()
    })
}

fn tidy(plane: &ControlPlane) -> Result<()> {
    let all = plane.get(&["daemonsets,deployments,pods", "--all-namespaces"])?;
    for object in all["items"].as_array().into_iter().flatten() {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let (kind, metadata) = (text("/kind").to_lowercase(), &object["metadata"]);
        let what = [kind.as_str(), text("/metadata/name"), "--namespace", text("/metadata/namespace")];
        let generation = &metadata["generation"];
        if metadata["deletionTimestamp"].is_string() {
            end(plane, &what, metadata)?;
        } else if let Some(status) =
            settled(object).filter(|_| object["status"]["observedGeneration"] != *generation)
        {
            plane.patch_status(&what, &status)?;
        }
    }
    Ok(())
}

fn end(plane: &ControlPlane, what: &[&str], metadata: &Value) -> Result<()> {
    let waits = metadata["finalizers"].as_array().is_some_and(|all| all.iter().any(|one| one == FOREGROUND));
    if waits {
        let nothing = json!({"metadata": {"finalizers": null}}).to_string();
        plane.kubectl(&[&["patch"], what, &["--type=merge", "--patch", &nothing]].concat())?;
    } else if what[0] == "pod" {
        plane.kubectl(&[&["delete"], what, &["--force", "--grace-period=0", "--wait=false"]].concat())?;
    }
    Ok(())
}

/// The status of one whose pods all run.
fn settled(object: &Value) -> Option<Value> {
    let generation = &object["metadata"]["generation"];
    match object["kind"].as_str()? {
        "DaemonSet" => Some(json!({
            "observedGeneration": generation, "currentNumberScheduled": 1, "desiredNumberScheduled": 1,
            "numberAvailable": 1, "numberMisscheduled": 0, "numberReady": 1, "updatedNumberScheduled": 1,
        })),
        "Deployment" => {
            let replicas = &object["spec"]["replicas"];
            Some(json!({
                "observedGeneration": generation, "replicas": replicas, "updatedReplicas": replicas,
                "readyReplicas": replicas, "availableReplicas": replicas,
            }))
        }
        _ => None,
    }
}

/// A namespace, made where it is missing.
pub fn ensure_namespace(plane: &ControlPlane, name: &str) -> Result<()> {
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    plane.apply_all(&[namespace])
}

/// A Deployment or a DaemonSet of one container.
fn workload(kind: &str, namespace: &str, name: &str, labels: &Value) -> Value {
    let mut spec = json!({
        "selector": {"matchLabels": labels},
        "template": {
            "metadata": {"labels": labels}, "spec": {"containers": [{"name": "one", "image": "example.org/one"}]},
        },
    });
    if kind == "Deployment" {
        spec["replicas"] = 1.into();
    }
    json!({
        "apiVersion": "apps/v1", "kind": kind, "spec": spec,
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
    })
}

fn controller_and_speaker() -> [Value; 2] {
    [("Deployment", "controller"), ("DaemonSet", "speaker")]
        .map(|(kind, name)| workload(kind, NAMESPACE, name, &json!({"app": "metallb", "component": name})))
}

/// What refuses every change of a pool while MetalLB's controller is away.
fn webhook() -> Value {
    let service = json!({"name": "metallb-webhook-service", "namespace": NAMESPACE, "path": "/validate"});
    let rule = json!({
        "apiGroups": ["metallb.io"], "apiVersions": ["v1beta1"], "operations": ["CREATE", "UPDATE"],
        "resources": ["ipaddresspools"],
    });
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "metallb-webhook-configuration"},
        "webhooks": [{
            "name": "ipaddresspoolvalidationwebhook.metallb.io", "admissionReviewVersions": ["v1"],
            "clientConfig": {"service": service}, "rules": [rule], "failurePolicy": "Fail", "sideEffects": "None",
        }],
    })
}

/// Has the Service `web` hold [`HELD`].
fn hold(plane: &ControlPlane) -> Result<()> {
    let ingress = json!({"loadBalancer": {"ingress": [{"ip": HELD, "ipMode": "VIP"}]}});
    plane.patch_status(&["service", "web"], &ingress)
}

/// MetalLB with custom resources, by its manifests; its CRDs are there.
pub fn metallb(plane: &ControlPlane, stage: &Stage) -> Result<()> {
    plane.apply_all(&[
        pool("p", &["192.0.2.100-192.0.2.119"]),
        advertisement("all", json!({})),
        plain("web"),
        // What Helm remembers of a release.
        json!({
            "apiVersion": "v1", "kind": "Secret", "type": "helm.sh/release.v1",
            "metadata": {
                "name": "sh.helm.release.v1.metallb.v1", "namespace": NAMESPACE,
                "labels": {"owner": "helm", "name": "metallb", "status": "deployed", "version": "1"},
            },
        }),
    ])?;
    hold(plane)?;
    plane.announce_as_metallb("web", "node-a")?;
    let [controller, speaker] = controller_and_speaker();
    let manifest = json!({"apiVersion": "v1", "kind": "List", "items": [controller, speaker, webhook()]});
    stage.write("metallb-native.yaml", &manifest.to_string())?;
    plane.apply(&manifest.to_string()).map(drop)
}

/// MetalLB with the `ConfigMap`.
pub fn metallb_with_config_map(plane: &ControlPlane) -> Result<()> {
    ensure_namespace(plane, NAMESPACE)?;
    let document =
        "address-pools:\n- name: default\n  protocol: layer2\n  addresses: [192.0.2.100-192.0.2.119]\n";
    plane.apply_all(&controller_and_speaker())?;
    plane.apply_all(&[legacy(document), plain("web")])?;
    hold(plane)
}

/// kube-vip, and its cloud provider, which has marked the Service.
pub fn kube_vip(plane: &ControlPlane) -> Result<()> {
    let provider = json!({"app": "kube-vip", "component": "kube-vip-cloud-provider"});
    let speaker = json!({"app.kubernetes.io/name": "kube-vip-ds"});
    let data = json!({"range-global": "192.0.2.100-192.0.2.119", "cidr-shop": "192.0.2.128/28"});
    let mut web = plain("web");
    web["spec"]["loadBalancerIP"] = HELD.into();
    web["metadata"]["annotations"]["kube-vip.io/loadbalancerIPs"] = HELD.into();
    web["metadata"]["finalizers"] = json!(["service.kubernetes.io/load-balancer-cleanup"]);
    plane.apply_all(&[
        json!({
            "apiVersion": "v1", "kind": "ConfigMap", "data": data,
            "metadata": {"name": "kubevip", "namespace": "kube-system"},
        }),
        workload("Deployment", "kube-system", "kube-vip-cloud-provider", &provider),
        workload("DaemonSet", "kube-system", "kube-vip-ds", &speaker),
        web,
    ])?;
    hold(plane)
}

/// The objects of a document: its blocks of YAML with this kind.
pub fn apply_documented(plane: &ControlPlane, document: &str, kind: &str) -> Result<()> {
    let blocks = super::blocks(&super::text(document)?, "yaml");
    let block = blocks.iter().find(|block| block.contains(&format!("kind: {kind}\n")));
    plane.apply(block.with_context(|| format!("{document} has no {kind}"))?).map(drop)
}
