//! What users install: the kustomizations in manifests and the chart in charts, as kubectl and Helm render them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{ControlPlane, programs};
use crate::rig::workspace;
use crate::run;

/// Labels and annotations that Helm sets, or that are for Helm only.
const OF_HELM: [(&str, &str); 3] = [
    ("labels", "app.kubernetes.io/managed-by"),
    ("labels", "helm.sh/chart"),
    ("annotations", "helm.sh/resource-policy"),
];

/// Objects by kind, namespace and name.
pub type Objects = BTreeMap<String, Value>;

/// A path below the root of the checkout.
pub fn path(name: &str) -> Result<String> {
    let path = workspace().join(name);
    path.into_os_string().into_string().ok().context("the workspace has no UTF-8 path")
}

/// `kubectl kustomize`.
pub fn kustomize(folder: &str) -> Result<Objects> {
    objects(&run::output(Command::new(programs::find("kubectl")?).arg("kustomize").arg(path(folder)?))?)
}

/// `helm ARGUMENTS`, with no cluster; its standard output.
pub fn helm(arguments: &[&str]) -> Result<String> {
    run::output(with_own_folders(Command::new(programs::find("helm")?)).args(arguments))
}

/// `helm template` of the chart with its CRDs, for a namespace.
pub fn template(namespace: &str, further: &[&str]) -> Result<String> {
    let arguments =
        ["template", "barelb", &path("charts/barelb")?, "--include-crds", "--namespace", namespace];
    helm(&[&arguments[..], further].concat())
}

/// Helm's caches stay out of the user's home.
fn with_own_folders(mut command: Command) -> Command {
    let folder: PathBuf = workspace().join("target/helm");
    for name in ["CACHE", "CONFIG", "DATA"] {
        command.env(format!("HELM_{name}_HOME"), folder.join(name.to_lowercase()));
    }
    command
}

/// The documents of a text, without what is Helm's own.
pub fn objects(yaml: &str) -> Result<Objects> {
    let mut found = Objects::new();
    for mut object in serde_saphyr::from_multiple::<Value>(yaml)? {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let name = [text("/kind"), text("/metadata/namespace"), text("/metadata/name")].join(" ");
        ensure!(name.split(' ').filter(|word| !word.is_empty()).count() >= 2, "no object: {object}");
        for (map, key) in OF_HELM {
            let metadata = &mut object["metadata"];
            let Some(entries) = metadata[map].as_object_mut() else { continue };
            entries.remove(key);
        }
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.retain(|_, value| !value.is_null() && *value != json!({}));
        }
        ensure!(found.insert(name.clone(), object).is_none(), "{name} is there twice");
    }
    Ok(found)
}

/// Where two sets of objects differ, as `object /path: left, right`.
pub fn differences(left: &Objects, right: &Objects) -> Vec<String> {
    let mut found = Vec::new();
    for name in left.keys().chain(right.keys()).collect::<BTreeSet<_>>() {
        let of = |objects: &Objects| objects.get(name).cloned().unwrap_or_default();
        compare(&format!("{name} "), &of(left), &of(right), &mut found);
    }
    found
}

fn compare(place: &str, left: &Value, right: &Value, found: &mut Vec<String>) {
    match (left, right) {
        (Value::Object(ours), Value::Object(theirs)) => {
            for key in ours.keys().chain(theirs.keys()).collect::<BTreeSet<_>>() {
                compare(&format!("{place}/{key}"), &left[key], &right[key], found);
            }
        }
        (Value::Array(ours), Value::Array(theirs)) if ours.len() == theirs.len() => {
            for (index, (one, other)) in ours.iter().zip(theirs).enumerate() {
                compare(&format!("{place}/{index}"), one, other, found);
            }
        }
        // kubectl writes 255 where a file has 255.0.
        (Value::Number(one), Value::Number(other)) if one.as_f64() == other.as_f64() => {}
        _ if left != right => found.push(format!("{place}: {left}, {right}")),
        _ => {}
    }
}

/// The pod that a DaemonSet or a Deployment would make in a namespace, without what a kubelet or a scheduler adds.
pub fn pod_of(object: &Value, namespace: &str) -> Value {
    let template = &object["spec"]["template"];
    json!({
        "apiVersion": "v1", "kind": "Pod", "spec": template["spec"],
        "metadata": {"name": "one", "namespace": namespace, "labels": template["metadata"]["labels"]},
    })
}

impl ControlPlane {
    /// `kubectl apply --server-side` of a kustomization, with every unknown field an error.
    pub fn apply_kustomization(&self, folder: &str) -> Result<String> {
        self.kubectl(&["apply", "--server-side", "--validate=strict", "--kustomize", &path(folder)?])
    }

    /// `helm ARGUMENTS` as admin.
    pub fn helm(&self, arguments: &[&str]) -> Result<String> {
        let mut command = with_own_folders(self.namespace.command(programs::find("helm")?));
        command.arg("--kubeconfig").arg(self.admin().kubeconfig()).args(arguments);
        run::output(&mut command)
    }

    /// Waits until the API server serves the kinds of the CRDs.
    pub fn wait_for_crds(&self) -> Result<()> {
        self.kubectl(&["wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"]).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str =
        "kind: A\nmetadata:\n  name: x\n  labels: {helm.sh/chart: c, own: mine}\nspec: {list: [1, 2]}\n";

    #[test]
    fn what_is_helms_own_counts_for_nothing_and_the_rest_does() {
        let one = objects(ONE).unwrap();
        assert_eq!(one["A  x"]["metadata"]["labels"], json!({"own": "mine"}));
        let same =
            objects(&ONE.replace("helm.sh/chart: c, ", "app.kubernetes.io/managed-by: Helm, ")).unwrap();
        assert_eq!(differences(&one, &same), [""; 0]);
        for (changed, path) in [
            (ONE.replace("2]", "3]"), "/spec/list/1: 2, 3"),
            (ONE.replace("own: mine", "own: yours"), "/metadata/labels/own: \"mine\", \"yours\""),
            (ONE.replace(", 2]", "]"), "/spec/list: [1,2], [1]"),
            (ONE.replace("spec: {list: [1, 2]}\n", ""), "/spec: {\"list\":[1,2]}, null"),
        ] {
            assert_eq!(differences(&one, &objects(&changed).unwrap()), [format!("A  x {path}")]);
        }
        assert_eq!(differences(&one, &Objects::new()).len(), 1);
    }

    #[test]
    fn the_same_object_twice_is_an_error() {
        let error = objects(&[ONE, "---\n", ONE].concat()).unwrap_err().to_string();
        assert_eq!(error, "A  x is there twice");
        assert!(objects("kind: A\n").is_err());
    }
}
