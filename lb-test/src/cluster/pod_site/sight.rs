//! What the client and the nodes show of a Kubernetes with pods.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lb_core::ids::NodeName;
use serde_json::Value;

use super::PodSite;
use crate::client::{ProbeClient, ProbeConfig};
use crate::cluster::controller::NAMESPACE;
use crate::cluster::{Controller, order_of};
use crate::lab::web::{fetch, host};
use crate::run;

const GLANCE: Duration = Duration::from_millis(300);

/// A container that runs, as its node sees it.
#[derive(Debug)]
pub struct Running {
    /// The name of its pod.
    pub pod: String,
    /// The place of its node among the workers.
    pub node: usize,
    /// Lines of `/proc/PID/status` of its first process by name.
    pub status: BTreeMap<String, String>,
}

impl PodSite {
    /// Begins to ask for the addresses of the Service `web`.
    pub fn probe(&self, per_second: u32) -> Result<ProbeClient> {
        ProbeClient::start(&self.client.a, ProbeConfig { targets: self.vips(), per_second })
    }

    /// Waits until exactly one node answers for all addresses of the Service `web`; which one.
    pub fn owner(&self) -> Result<usize> {
        let owner = self.plane.wait_for(Controller::PATIENCE, "no single owner", |_| {
            let report = self.probe(200)?.run_for(GLANCE)?;
            let by: BTreeSet<_> = report.by_mac.keys().copied().collect();
            let index = self.workers.iter().position(|one| by == BTreeSet::from([one.cable.a.mac()]));
            ensure!(index.is_some() && report.missing.is_empty(), "{}", report.summary());
            Ok(index)
        });
        owner.with_context(|| self.logs())
    }

    /// Waits until the node answers alone that is the first of all in the order for the Service `web`; which one. While
    /// agents start, it may be another one for some seconds.
    pub fn preferred_owner(&self) -> Result<usize> {
        let names: Vec<_> =
            self.workers.iter().map(|one| NodeName::new(&one.name)).collect::<Result<_, _>>()?;
        let vip = *self.vips().first().context("a Service without addresses")?;
        let first = *order_of(&names, vip).first().context("a cluster without nodes")?;
        self.plane.wait_for(Controller::PATIENCE, "the first in order does not answer", |_| {
            Ok((self.owner()? == first).then_some(first))
        })
    }

    /// Waits until another node than this one answers alone; which one.
    pub fn owner_after(&self, node: usize) -> Result<usize> {
        self.plane.wait_for(Controller::PATIENCE, "the addresses do not move", |_| {
            Ok(Some(self.owner()?).filter(|owner| *owner != node))
        })
    }

    /// Waits until the page that the client gets by each address of the Service `web` comes from the pod of this node,
    /// which was asked by the client's own address; the pages.
    pub fn serves(&self, node: usize) -> Result<Vec<String>> {
        let pages = self.vips().into_iter().zip(self.client_addresses()).map(|(vip, peer)| {
            let expected = format!("{} serves http://{}/ to {peer}", self.workers[node].name, host(vip));
            let page = self.plane.wait_for(Controller::PATIENCE, "no page", |_| {
                let page = fetch(self.client.a.namespace(), vip)?;
                ensure!(page == expected, "{page}, not {expected}");
                Ok(Some(page))
            });
            page.with_context(|| self.logs())
        });
        pages.collect()
    }

    /// Waits until DaemonSet and Deployment of manifests/base are as they were applied last.
    pub fn is_rolled_out(&self) -> Result<()> {
        for what in ["daemonset/barelb-agent", "deployment/barelb-controller"] {
            let wait = ["rollout", "status", what, "--namespace", NAMESPACE, "--timeout=120s"];
            // Without its own limit: this is a watch.
            let mut command = self.plane.kubectl_command(self.plane.admin())?;
            run::output(command.args(wait)).with_context(|| self.logs())?;
        }
        Ok(())
    }

    /// The pods of a component of manifests/base (`agent` or `controller`).
    pub fn pods(&self, component: &str) -> Result<Vec<Value>> {
        let selector = format!("app.kubernetes.io/component={component}");
        let mut list = self.plane.get(&["pods", "--namespace", NAMESPACE, "--selector", &selector])?;
        Ok(list["items"].as_array_mut().map(std::mem::take).unwrap_or_default())
    }

    /// The containers of a component, as they are in force on their nodes.
    pub fn running(&self, component: &str) -> Result<Vec<Running>> {
        self.pods(component)?.iter().map(|pod| self.look_at(pod)).collect()
    }

    fn look_at(&self, pod: &Value) -> Result<Running> {
        let text = |pointer: &str| {
            pod.pointer(pointer).and_then(Value::as_str).with_context(|| format!("no {pointer}: {pod}"))
        };
        let name = text("/metadata/name")?;
        let (at, id) = (text("/spec/nodeName")?, text("/status/containerStatuses/0/containerID")?);
        let id = id.strip_prefix("containerd://").with_context(|| format!("{id} is none of containerd's"))?;
        let node = self.workers.iter().position(|worker| worker.name == at);
        let node = node.with_context(|| format!("{name} is on {at}"))?;
        let status = self.workers[node].status_of(id)?;
        Ok(Running { pod: name.to_owned(), node, status })
    }

    /// What the pods of manifests/base have said, by pod.
    pub fn said(&self) -> Result<BTreeMap<String, String>> {
        let mut said = BTreeMap::new();
        for pod in self.pods("agent")?.into_iter().chain(self.pods("controller")?) {
            let name = pod["metadata"]["name"].as_str().unwrap_or_default();
            said.insert(name.to_owned(), self.plane.kubectl(&["logs", name, "--namespace", NAMESPACE])?);
        }
        Ok(said)
    }
}

/// Lines `NAME: VALUE`.
pub(super) fn lines(text: &str) -> BTreeMap<String, String> {
    let pairs = text.lines().filter_map(|line| line.split_once(':'));
    pairs.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect()
}
