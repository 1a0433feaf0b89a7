//! The objects of a cluster that BareLB looks at or writes, and no others.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use futures::StreamExt;
use futures::stream;
use serde_json::{Value, json};

use super::{Collection, redact};
use crate::k8s::agents::AskError;
use crate::k8s::raw::Raw;
use crate::k8s::words::in_a_line;

/// Objects in one answer.
const PAGE: u32 = 500;
/// Lists that are asked for at a time.
const AT_ONCE: usize = 8;
/// Beginnings of the labels of a node that say where it is and what it is.
const LABELS: [&str; 4] = ["kubernetes.io/", "node.kubernetes.io/", "topology.kubernetes.io/", "barelb.io/"];

/// A list: its file, and its path. `{}` is the namespace.
const LISTS: [(&str, &str); 21] = [
    ("services", "/api/v1/services"),
    ("endpointslices", "/apis/discovery.k8s.io/v1/endpointslices"),
    ("namespaces", "/api/v1/namespaces"),
    ("nodes", "/api/v1/nodes"),
    ("events", "/apis/events.k8s.io/v1/events"),
    ("pods", "/api/v1/namespaces/{}/pods"),
    ("daemonsets", "/apis/apps/v1/namespaces/{}/daemonsets"),
    ("deployments", "/apis/apps/v1/namespaces/{}/deployments"),
    ("leases", "/apis/coordination.k8s.io/v1/namespaces/{}/leases"),
    ("ipaddresspools", "/apis/metallb.io/v1beta1/namespaces/{}/ipaddresspools"),
    ("l2advertisements", "/apis/metallb.io/v1beta1/namespaces/{}/l2advertisements"),
    ("configurationstates", "/apis/metallb.io/v1beta1/namespaces/{}/configurationstates"),
    ("servicel2statuses", "/apis/metallb.io/v1beta1/namespaces/{}/servicel2statuses"),
    ("servicebgpstatuses", "/apis/metallb.io/v1beta1/namespaces/{}/servicebgpstatuses"),
    ("bgppeers", "/apis/metallb.io/v1beta2/namespaces/{}/bgppeers"),
    ("bgpadvertisements", "/apis/metallb.io/v1beta1/namespaces/{}/bgpadvertisements"),
    ("bfdprofiles", "/apis/metallb.io/v1beta1/namespaces/{}/bfdprofiles"),
    ("communities", "/apis/metallb.io/v1beta1/namespaces/{}/communities"),
    ("metallb-versions", "/apis/metallb.io"),
    ("metallb-v1beta1", "/apis/metallb.io/v1beta1"),
    ("configmap", "/api/v1/namespaces/{}/configmaps/"),
];

/// What was found of each list.
pub(super) struct Objects {
    found: BTreeMap<&'static str, Result<Value, AskError>>,
}

impl Objects {
    /// Asks for all lists.
    pub(super) async fn ask(raw: &Raw, namespace: &str, config_map: &str) -> Self {
        let asked = stream::iter(LISTS).map(|(name, path)| async move {
            let mut path = path.replace("{}", namespace);
            if name == "configmap" {
                path += config_map;
            }
            (name, list(raw, &path).await)
        });
        let found: Vec<_> = asked.buffer_unordered(AT_ONCE).collect().await;
        Self { found: found.into_iter().collect() }
    }

    /// The objects of a list.
    pub(super) fn items(&self, name: &str) -> &[Value] {
        let found = self.found.get(name).and_then(|found| found.as_ref().ok());
        found.and_then(|list| list["items"].as_array()).map(Vec::as_slice).unwrap_or_default()
    }

    /// Writes what matters of each list.
    pub(super) fn write(&self, collection: &mut Collection) -> Result<()> {
        let services = load_balancers(self.items("services"));
        let labels = selected_labels(self.items("l2advertisements"));
        for (name, found) in &self.found {
            let file = format!("objects/{name}.yaml");
            let mut list = match found {
                Ok(list) => list.clone(),
                // A cluster that was set up with custom resources has none.
                Err(AskError::Gone) if *name == "configmap" => continue,
                Err(error) => {
                    collection.miss(&file, &why(name, error));
                    continue;
                }
            };
            if let Some(items) = list.get_mut("items").and_then(Value::as_array_mut) {
                items.retain(|item| matters(name, item, &services));
                if *name == "nodes" {
                    for node in items.iter_mut() {
                        *node = of_node(node, &labels);
                    }
                }
            }
            redact::object(&mut list);
            let text = serde_saphyr::to_string(&list).with_context(|| format!("writing {file} as YAML"))?;
            collection.add_clean(&file, &text)?;
        }
        Ok(())
    }
}

/// A whole list as kubectl prints one, whose objects say what they are; or an object by itself.
async fn list(raw: &Raw, path: &str) -> Result<Value, AskError> {
    let (mut items, mut next) = (Vec::new(), String::new());
    loop {
        let answer = raw.get(&format!("{path}?limit={PAGE}&continue={next}")).await?;
        let Ok(mut page) = serde_json::from_str::<Value>(&answer) else {
            return Ok(Value::String(answer));
        };
        let Some(Value::Array(found)) = page.get_mut("items").map(Value::take) else { return Ok(page) };
        let kind = page["kind"].as_str().unwrap_or_default();
        let (kind, version) = (kind.trim_end_matches("List").to_owned(), page["apiVersion"].clone());
        items.extend(found.into_iter().map(|item| {
            let mut whole = json!({"apiVersion": version, "kind": kind});
            if let (Some(whole), Value::Object(fields)) = (whole.as_object_mut(), item) {
                whole.extend(fields);
            }
            whole
        }));
        page["metadata"]["continue"].as_str().unwrap_or_default().clone_into(&mut next);
        if next.is_empty() {
            return Ok(json!({"apiVersion": "v1", "kind": "List", "items": items}));
        }
    }
}

/// What is wrong, and what to do.
fn why(name: &str, error: &AskError) -> String {
    let said = in_a_line(error);
    match error {
        AskError::Forbidden { .. } => {
            format!("{said}; docs/operations.md has the role for whoever collects")
        }
        AskError::Stranger { .. } | AskError::Gone => {
            format!("{said}; `kubectl api-resources` says whether the API server has {name}")
        }
        AskError::Unauthorized { .. }
        | AskError::Timeout(_)
        | AskError::Unreachable(_)
        | AskError::Untrusted(_)
        | AskError::NoCredentials(_)
        | AskError::Unreadable(_)
        | AskError::NoPage
        | AskError::NotReached { .. }
        | AskError::Refused { .. } => said,
    }
}

fn key(object: &Value) -> String {
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
    format!("{}/{}", text("namespace"), text("name"))
}

/// The Services that ask for an address.
fn load_balancers(services: &[Value]) -> BTreeSet<String> {
    services.iter().filter(|service| service["spec"]["type"] == "LoadBalancer").map(key).collect()
}

/// Whether an object of a list that is not only ours has to do with us.
fn matters(list: &str, object: &Value, services: &BTreeSet<String>) -> bool {
    let of = |namespace: &Value, name: &Value| {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        services.contains(&format!("{}/{}", text(namespace), text(name)))
    };
    let meta = &object["metadata"];
    match list {
        "services" => services.contains(&key(object)),
        "endpointslices" => of(&meta["namespace"], &meta["labels"]["kubernetes.io/service-name"]),
        "namespaces" => {
            let name = format!("{}/", meta["name"].as_str().unwrap_or_default());
            services.iter().any(|service| service.starts_with(&name))
        }
        "events" => {
            let about = &object["regarding"];
            let ours = object["reportingController"].as_str().is_some_and(|by| by.starts_with("barelb.io"));
            ours || match about["kind"].as_str() {
                Some("Service") => of(&about["namespace"], &about["name"]),
                Some("Node") => true,
                Some(_) | None => {
                    object["metadata"]["name"].as_str().is_some_and(|name| name.contains("barelb"))
                }
            }
        }
        _ => true,
    }
}

/// Labels that advertisements ask nodes for.
fn selected_labels(advertisements: &[Value]) -> BTreeSet<String> {
    let mut labels = BTreeSet::new();
    let mut selector = |selector: &Value| {
        labels
            .extend(selector["matchLabels"].as_object().into_iter().flatten().map(|(name, _)| name.clone()));
        let expressions = selector["matchExpressions"].as_array().into_iter().flatten();
        labels.extend(expressions.filter_map(|one| Some(one["key"].as_str()?.to_owned())));
    };
    for spec in advertisements.iter().map(|advertisement| &advertisement["spec"]) {
        spec["nodeSelectors"].as_array().into_iter().flatten().for_each(&mut selector);
        let preferred = spec["preferredNodeSelectors"].as_array().into_iter().flatten();
        preferred.map(|one| &one["preference"]).for_each(&mut selector);
    }
    labels
}

/// What of a node has to do with us.
fn of_node(node: &Value, selected: &BTreeSet<String>) -> Value {
    let kept = |fields: &Value, keep: &dyn Fn(&str) -> bool| -> Value {
        let fields = fields.as_object().into_iter().flatten().filter(|(name, _)| keep(name));
        fields.map(|(name, value)| (name.clone(), value.clone())).collect::<serde_json::Map<_, _>>().into()
    };
    let is_known = |name: &str| LABELS.iter().any(|label| name.starts_with(label));
    let meta = &node["metadata"];
    json!({
        "apiVersion": node["apiVersion"], "kind": node["kind"],
        "metadata": {
            "name": meta["name"], "uid": meta["uid"], "creationTimestamp": meta["creationTimestamp"],
            "labels": kept(&meta["labels"], &|name| is_known(name) || selected.contains(name)),
            "annotations": kept(&meta["annotations"], &|name| name.starts_with("barelb.io/")),
        },
        "spec": kept(&node["spec"], &|name| matches!(name, "unschedulable" | "taints" | "podCIDRs")),
        "status": kept(&node["status"], &|name| matches!(name, "addresses" | "conditions" | "nodeInfo")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(name: &str, kind: &str) -> Value {
        json!({"metadata": {"namespace": "web", "name": name}, "spec": {"type": kind}})
    }

    #[test]
    fn only_what_has_to_do_with_addresses_is_kept() {
        let services = load_balancers(&[service("a", "LoadBalancer"), service("b", "ClusterIP")]);
        assert!(matters("services", &service("a", "LoadBalancer"), &services));
        assert!(!matters("services", &service("b", "ClusterIP"), &services));
        let slice = |of: &str| json!({"metadata": {"namespace": "web", "labels": {"kubernetes.io/service-name": of}}});
        assert!(matters("endpointslices", &slice("a"), &services));
        assert!(!matters("endpointslices", &slice("b"), &services));
        for (name, expected) in [("web", true), ("we", false), ("other", false)] {
            assert_eq!(matters("namespaces", &json!({"metadata": {"name": name}}), &services), expected);
        }
        let event = |kind: &str, name: &str, by: &str| json!({"regarding": {"kind": kind, "namespace": "web", "name": name}, "reportingController": by});
        assert!(matters("events", &event("Service", "a", "x"), &services));
        assert!(!matters("events", &event("Service", "b", "x"), &services));
        assert!(matters("events", &event("Service", "b", "barelb.io/agent"), &services));
        assert!(matters("events", &event("Node", "n", "kubelet"), &services));
        assert!(!matters("events", &event("Pod", "p", "kubelet"), &services));
    }

    #[test]
    fn a_node_keeps_the_labels_that_are_looked_at() {
        let labels = json!({"kubernetes.io/hostname": "a", "rack": "1", "zone": "x", "owner": "somebody"});
        let node = json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": "a", "labels": labels, "annotations": {"barelb.io/drain": "now", "x": "y"}},
            "spec": {"podCIDR": "10.0.0.0/24", "unschedulable": true, "providerID": "secret-cloud"},
            "status": {"addresses": [], "images": [1, 2, 3]},
        });
        let selectors = json!({"nodeSelectors": [{"matchLabels": {"rack": "1"}}], "preferredNodeSelectors": [
            {"weight": 1, "preference": {"matchExpressions": [{"key": "zone", "operator": "Exists"}]}}]});
        let kept = of_node(&node, &selected_labels(&[json!({"spec": selectors})]));
        let expected = json!({"kubernetes.io/hostname": "a", "rack": "1", "zone": "x"});
        assert_eq!(kept["metadata"]["labels"], expected);
        assert_eq!(kept["metadata"]["annotations"], json!({"barelb.io/drain": "now"}));
        assert_eq!(
            (kept["spec"].clone(), kept["status"].clone()),
            (json!({"unschedulable": true}), json!({"addresses": []}))
        );
    }

    #[test]
    fn each_list_has_a_file_of_its_own_and_none_is_of_secrets() {
        let names: BTreeSet<&str> = LISTS.iter().map(|(name, _)| *name).collect();
        assert_eq!(names.len(), LISTS.len());
        assert!(LISTS.iter().all(|(_, path)| !path.contains("secrets")));
    }
}
