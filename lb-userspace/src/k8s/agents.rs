//! The agents of a cluster as their pods, and what each answers over HTTP, by way of the API server: whoever asks need not
//! reach the nodes.

use std::time::Duration;

use http::Request;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, api::ListParams};
use tokio::time::timeout;

mod error;

pub use error::AskError;

/// Finds the pods, as manifests/base labels them.
pub const SELECTOR: &str = "app.kubernetes.io/name=barelb,app.kubernetes.io/component=agent";
/// The port of a pod that answers, by its name.
pub const PORT: &str = "metrics";
/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// An agent's pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentPod {
    /// Its name.
    pub name: String,
    /// The node it runs on; empty while it waits for one.
    pub node: String,
    /// The number of its port [`PORT`].
    pub port: Option<u16>,
    /// It has an address, and so may be asked.
    pub has_address: bool,
    /// It is being deleted.
    pub ends: bool,
}

/// Finds and asks them.
#[derive(Clone)]
pub struct Agents {
    client: Client,
    namespace: String,
}

impl std::fmt::Debug for Agents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Agents").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

impl Agents {
    /// By a client that asks once; `namespace` has the pods.
    pub fn new(client: Client, namespace: &str) -> Self {
        Self { client, namespace: namespace.to_owned() }
    }

    /// The pods that have not ended, by node. Of a node that has several, as while one takes the place of another, it is the
    /// one that may be asked and stays: all of them are reached by the node's address, and would say the same.
    pub async fn list(&self) -> Result<Vec<AgentPod>, AskError> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &self.namespace);
        let params = ListParams::default().labels(SELECTOR);
        Ok(one_of_each_node(in_time(pods.list(&params)).await?.into_iter().filter_map(agent).collect()))
    }

    /// What an agent answers on this path.
    pub async fn ask(&self, pod: &str, port: u16, path: &str) -> Result<String, AskError> {
        let uri = format!("/api/v1/namespaces/{}/pods/{pod}:{port}/proxy{path}", self.namespace);
        let request = Request::get(uri).body(Vec::new()).map_err(kube::Error::HttpError)?;
        in_time(self.client.request_text(request)).await.map_err(AskError::behind_proxy)
    }
}

pub(super) async fn in_time<T>(answer: impl Future<Output = Result<T, kube::Error>>) -> Result<T, AskError> {
    match timeout(PATIENCE, answer).await {
        Ok(answer) => Ok(answer?),
        Err(_late) => Err(AskError::Timeout(PATIENCE)),
    }
}

fn one_of_each_node(mut pods: Vec<AgentPod>) -> Vec<AgentPod> {
    let order = |pod: &AgentPod| (pod.node.clone(), !pod.has_address, pod.ends, pod.name.clone());
    pods.sort_by_key(order);
    // Those that wait for a node are several.
    pods.dedup_by(|next, first| !next.node.is_empty() && next.node == first.node);
    pods
}

/// What a pod says; `None` of one that has ended.
fn agent(pod: Pod) -> Option<AgentPod> {
    let (spec, status) = (pod.spec.unwrap_or_default(), pod.status.unwrap_or_default());
    let ended = matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
    let ports = spec.containers.iter().flat_map(|container| container.ports.iter().flatten());
    let mut ours = ports.filter(|port| port.name.as_deref() == Some(PORT)).map(|port| port.container_port);
    (!ended).then_some(AgentPod {
        name: pod.metadata.name?,
        node: spec.node_name.unwrap_or_default(),
        port: ours.find_map(|port| u16::try_from(port).ok()),
        has_address: status.pod_ip.is_some_and(|ip| !ip.is_empty()),
        ends: pod.metadata.deletion_timestamp.is_some(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(ports: &Value, status: &Value) -> Pod {
        let spec = json!({"nodeName": "node-a", "containers": [{"name": "agent", "ports": ports}]});
        serde_json::from_value(json!({"metadata": {"name": "agent-1"}, "spec": spec, "status": status}))
            .unwrap()
    }

    #[test]
    fn a_pod_says_where_its_agent_answers() {
        let ports =
            json!([{"name": "other", "containerPort": 1}, {"name": "metrics", "containerPort": 7475}]);
        let running = json!({"phase": "Running", "podIP": "2001:db8::11"});
        let expected = AgentPod {
            name: "agent-1".to_owned(),
            node: "node-a".to_owned(),
            port: Some(7475),
            has_address: true,
            ends: false,
        };
        assert_eq!(agent(pod(&ports, &running)), Some(expected.clone()));
        assert_eq!(agent(pod(&json!([]), &running)), Some(AgentPod { port: None, ..expected.clone() }));
        let waiting = AgentPod { has_address: false, ..expected };
        assert_eq!(agent(pod(&ports, &json!({"phase": "Pending"}))), Some(waiting));
        for phase in ["Succeeded", "Failed"] {
            assert_eq!(agent(pod(&ports, &json!({"phase": phase, "podIP": "192.0.2.11"}))), None);
        }
    }

    #[test]
    fn of_a_node_with_several_pods_the_one_that_stays_is_asked() {
        let pod = |node: &str, name: &str, has_address: bool, ends: bool| AgentPod {
            name: name.to_owned(),
            node: node.to_owned(),
            port: Some(7475),
            has_address,
            ends,
        };
        let pods = vec![
            pod("b", "waits", false, false),
            pod("b", "ends", true, true),
            pod("a", "1-ends", true, true),
            pod("a", "2-stays", true, false),
            pod("", "first", false, false),
            pod("", "second", false, false),
        ];
        let names: Vec<String> = one_of_each_node(pods).into_iter().map(|pod| pod.name).collect();
        assert_eq!(names, ["first", "second", "2-stays", "ends"]);
    }

    /// What the manifests say is what is asked for.
    #[test]
    fn labels_and_port_are_those_of_the_manifests() {
        let manifest = include_str!("../../../manifests/base/agent/daemonset.yaml");
        let (_, template) = manifest.split_once("template:").unwrap();
        for label in SELECTOR.split(',') {
            assert!(template.contains(&label.replace('=', ": ")), "{label}");
        }
        assert!(template.contains(&format!("- name: {PORT}\n          containerPort: 7475")));
    }
}
