//! What the pods of the namespace say: their logs, and the pages of those that are ours.

use anyhow::Result;
use futures::StreamExt;
use futures::stream;
use serde_json::Value;

use super::Collection;
use crate::k8s::agents::{Agents, AskError, PORT};
use crate::k8s::raw::Raw;

/// Answers that are waited for, and in memory, at a time.
const AT_ONCE: usize = 4;
/// Most bytes of one log.
const LOG_BYTES: u32 = 10 << 20;
/// Pages, and the files that they are written to.
const PAGES: [(&str, &str); 5] = [
    ("/metrics", "metrics.txt"),
    ("/addresses", "addresses.json"),
    ("/peers", "peers.json"),
    ("/readyz", "readyz.txt"),
    ("/livez", "livez.txt"),
];
/// Those that only agents have.
const OF_AGENTS: [&str; 2] = ["/addresses", "/peers"];

/// A pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pod {
    name: String,
    /// It is of BareLB.
    pub(super) is_ours: bool,
    /// It is an agent, which has pages about its addresses and its peers.
    is_agent: bool,
    /// Where it answers.
    port: Option<u16>,
    /// Its containers, and whether each was started before.
    containers: Vec<(String, bool)>,
}

/// What the objects say.
pub(super) fn of(pods: &[Value]) -> Vec<Pod> {
    pods.iter().filter_map(pod).collect()
}

fn pod(object: &Value) -> Option<Pod> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let (meta, spec, status) = (&object["metadata"], &object["spec"], &object["status"]);
    let label = |name: &str| meta["labels"][name].as_str();
    let ports = list(&spec["containers"]).into_iter().flat_map(|container| list(&container["ports"]));
    let port = ports.filter(|port| port["name"] == PORT).find_map(|port| port["containerPort"].as_u64());
    let statuses =
        [&status["initContainerStatuses"], &status["containerStatuses"]].into_iter().flat_map(list);
    let containers = statuses.filter_map(|container| {
        let again = container["restartCount"].as_u64().unwrap_or_default() > 0;
        Some((container["name"].as_str()?.to_owned(), again))
    });
    Some(Pod {
        name: meta["name"].as_str()?.to_owned(),
        is_ours: label("app.kubernetes.io/name") == Some("barelb"),
        is_agent: label("app.kubernetes.io/component") == Some("agent"),
        port: port.and_then(|port| u16::try_from(port).ok()),
        containers: containers.collect(),
    })
}

/// Adds the logs of all containers, and of those before them.
pub(super) async fn logs(
    raw: &Raw,
    namespace: &str,
    pods: &[Pod],
    lines: u32,
    collection: &mut Collection,
) -> Result<()> {
    let all = pods.iter().flat_map(|pod| {
        pod.containers.iter().flat_map(move |(container, again)| {
            let previous = [false, true].into_iter().filter(|previous| *again || !previous);
            previous.map(move |previous| (&pod.name, container, previous))
        })
    });
    let mut asked = stream::iter(all)
        .map(|(pod, container, previous)| async move {
            let path = format!(
                "/api/v1/namespaces/{namespace}/pods/{pod}/log?container={container}&previous={previous}\
                 &timestamps=true&tailLines={lines}&limitBytes={LOG_BYTES}"
            );
            let which = if previous { ".previous" } else { "" };
            (format!("logs/{pod}/{container}{which}.log"), raw.get(&path).await)
        })
        .buffered(AT_ONCE);
    while let Some((file, answer)) = asked.next().await {
        take(&file, answer, collection)?;
    }
    Ok(())
}

/// Adds what our programs answer over HTTP.
pub(super) async fn pages(agents: &Agents, pods: &[Pod], collection: &mut Collection) -> Result<()> {
    let all = pods.iter().filter(|pod| pod.is_ours).filter_map(|pod| Some((pod, pod.port?)));
    let all = all.flat_map(|(pod, port)| {
        let pages = PAGES.into_iter().filter(|(path, _)| pod.is_agent || !OF_AGENTS.contains(path));
        pages.map(move |(path, file)| (&pod.name, port, path, file))
    });
    let mut asked = stream::iter(all)
        .map(|(pod, port, path, file)| async move {
            (format!("pages/{pod}/{file}"), agents.ask(pod, port, path).await)
        })
        .buffered(AT_ONCE);
    while let Some((file, answer)) = asked.next().await {
        // Not ready is an answer too, in words of its own.
        let answer = match answer {
            Err(AskError::NotReached { status }) if file.ends_with("z.txt") => Ok(status.message),
            answer => answer,
        };
        take(&file, answer, collection)?;
    }
    Ok(())
}

fn take(file: &str, answer: Result<String, AskError>, collection: &mut Collection) -> Result<()> {
    match answer {
        Ok(text) => collection.add(file, &text),
        Err(error) => {
            collection.miss(file, &error.to_string());
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_says_what_can_be_asked_of_it() {
        let ports =
            json!([{"name": "other", "containerPort": 1}, {"name": "metrics", "containerPort": 7475}]);
        let labels = json!({"app.kubernetes.io/name": "barelb", "app.kubernetes.io/component": "agent"});
        let object = json!({
            "metadata": {"name": "barelb-agent-x", "labels": labels},
            "spec": {"containers": [{"name": "agent", "ports": ports}]},
            "status": {"containerStatuses": [{"name": "agent", "restartCount": 2}],
                       "initContainerStatuses": [{"name": "init", "restartCount": 0}]},
        });
        let expected = Pod {
            name: "barelb-agent-x".to_owned(),
            is_ours: true,
            is_agent: true,
            port: Some(7475),
            containers: vec![("init".to_owned(), false), ("agent".to_owned(), true)],
        };
        assert_eq!(of(&[object]), [expected]);
        let other = json!({"metadata": {"name": "speaker-x"}});
        let found = of(&[other]);
        assert!(!found[0].is_ours && found[0].containers.is_empty());
    }
}
