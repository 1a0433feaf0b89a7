//! A whole Kubernetes: a control plane with controller manager and scheduler, nodes whose kubelets run pods, and a client.
//!
//! ```text
//!   control-plane                  node-a .11 …                     client .10
//!   etcd, API server               kubelet, containerd, kube-proxy  asks, fetches
//!   controller manager, scheduler  pods: 10.244.11.0/24 … on cni0
//!     |                              | eth0                           |
//!   ───────────────────────────────── br0 ─────────────────────────────────      switch
//! ```
//!
//! Nothing is installed in it: `kubectl apply --server-side -k manifests/base` ([`ControlPlane::install`]) is what a user
//! would do next, and [`PodSite::deploy_web`]. The nodes have the image of `cargo xtask image` already, as manifests expect
//! it of clusters without a registry, and that of the web server.

use std::net::IpAddr;
use std::thread;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use self::managers::Managers;
use super::services::{advertisement, pool, service};
use super::site::{CLIENT, CONTROL, FIRST_NODE, POOL, VIP, WEB_PORT, control_plane};
use super::{ControlPlane, Controller, Families, Network, Options, programs};
use crate::container::Image;
use crate::link::Veth;
use crate::scratch::Scratch;

pub use self::sight::Running;
pub use self::worker::Worker;

mod archive;
mod ingress;
mod managers;
mod room;
mod sight;
mod worker;

/// The image of the web server, as runtimes name it.
const WEB_IMAGE: &str = "docker.io/library/barelb-web:1";
const PAUSE_IMAGE: &str = "docker.io/library/barelb-pause:1";

/// A Kubernetes; everything it made goes with it. The order of the fields is the order of removal.
#[derive(Debug)]
pub struct PodSite {
    /// The nodes.
    pub workers: Vec<Worker>,
    managers: Managers,
    /// The client's cable to the switch; `a` is its `eth0`.
    pub client: Veth,
    /// The control plane.
    pub plane: ControlPlane,
    /// Of everything in it.
    pub families: Families,
    _control: Veth,
    _network: Network,
}

impl PodSite {
    /// So many nodes, `node-a` and so on, all of them ready.
    pub fn start(nodes: u8, families: Families) -> Result<Self> {
        ensure!((1..=26).contains(&nodes), "a cluster of {nodes} nodes");
        let network = Network::new()?;
        let control = network.attach_with("control-plane", CONTROL, families)?;
        let options = Options { kubelets: true, ..control_plane(&control, families) };
        let plane = ControlPlane::start_with(options)?;
        let managers = Managers::start(&plane)?;
        let client = network.attach_with("client", CLIENT, families)?;
        let workers = start_workers(&network, &plane, nodes, families)?;
        connect(&workers, &control)?;
        let site = Self { workers, managers, client, plane, families, _control: control, _network: network };
        site.wait_for_nodes()?;
        Ok(site)
    }

    /// Applies what a user would beside manifests/base: a pool, its advertisement, a web server on each node, and its Service.
    pub fn deploy_web(&self) -> Result<()> {
        let objects = [
            pool("first-pool", &self.families.of(POOL)),
            advertisement("all", json!({})),
            self.web(),
            web_deployment(self.workers.len()),
        ];
        self.plane.apply_all(&objects)
    }

    /// The Service `web`. By the policy Local a page tells which node owns the address, and the client's own address.
    pub fn web(&self) -> Value {
        let mut fields = json!({
            "externalTrafficPolicy": "Local", "selector": {"app": "web"},
            "ports": [{"port": 80, "targetPort": WEB_PORT}],
        });
        if self.families == Families::Dual {
            fields["ipFamilyPolicy"] = "RequireDualStack".into();
        }
        service("web", &json!({}), &fields)
    }

    /// The addresses of the Service `web`.
    pub fn vips(&self) -> Vec<IpAddr> {
        self.families.of(Network::addresses(VIP))
    }

    /// The addresses of the client.
    pub fn client_addresses(&self) -> Vec<IpAddr> {
        self.families.of(Network::addresses(CLIENT))
    }

    /// The ends of the logs of all programs, and what is not as it should be by the API server.
    pub fn logs(&self) -> String {
        let look = ["get", "pods,nodes,daemonsets,deployments,services", "--all-namespaces", "--output=wide"];
        let seen = self.plane.kubectl(&look).unwrap_or_else(|error| format!("{error:#}"));
        let events = self.plane.kubectl(&["get", "events", "--all-namespaces", "--sort-by=.lastTimestamp"]);
        let events = events.unwrap_or_else(|error| format!("{error:#}"));
        let workers = self.workers.iter().map(Worker::tail).collect::<Vec<_>>().join("\n");
        format!("{seen}\n{events}\n{}\n{workers}", self.managers.tail())
    }

    fn wait_for_nodes(&self) -> Result<()> {
        let ready = self.plane.wait_for(Controller::PATIENCE, "nodes are not ready", |plane| {
            let nodes = plane.get(&["nodes"])?;
            let ready = nodes["items"].as_array().into_iter().flatten().filter(|node| is_ready(node)).count();
            Ok((ready == self.workers.len()).then_some(()))
        });
        ready.with_context(|| self.logs())
    }
}

/// Ready, and with no taint left that keeps pods away until it is.
fn is_ready(node: &Value) -> bool {
    let mut conditions = node["status"]["conditions"].as_array().into_iter().flatten();
    conditions.any(|one| one["type"] == "Ready" && one["status"] == "True")
        && node["spec"]["taints"].is_null()
}

/// All at a time: each waits for its containerd for most of the time.
fn start_workers(
    network: &Network,
    plane: &ControlPlane,
    nodes: u8,
    families: Families,
) -> Result<Vec<Worker>> {
    let folder = Scratch::new("images")?;
    let program = programs::find("barelb-pod")?;
    let images = [(PAUSE_IMAGE, &["pause"][..]), (WEB_IMAGE, &["web"])];
    archive::write(&folder.join("pods.tar"), &program, &images)?;
    let archives = [&*Image::find()?, &*folder.join("pods.tar")];
    let start = |host: u8| {
        let name = format!("node-{}", char::from(b'a' + (host - FIRST_NODE)));
        let cable = network.attach_with(&name, host, families)?;
        Worker::start(plane, cable, (&name, host), families, &archives)
    };
    thread::scope(|scope| {
        let hosts = FIRST_NODE..FIRST_NODE + nodes;
        let starting: Vec<_> = hosts.map(|host| scope.spawn(move || start(host))).collect();
        let started = starting.into_iter().map(|one| match one.join() {
            Ok(worker) => worker,
            Err(_panic) => bail!("a node's start panicked"),
        });
        started.collect()
    })
}

/// Every machine that talks to pods knows on which node they are.
fn connect(workers: &[Worker], control: &Veth) -> Result<()> {
    for to in workers {
        let others = workers.iter().filter(|one| one.name != to.name).map(|one| &one.cable);
        for cable in others.chain([control]) {
            for (range, via) in to.routes() {
                cable.a.add_route(&range, via)?;
            }
        }
    }
    Ok(())
}

/// A web server on each node, ready while its page comes.
fn web_deployment(nodes: usize) -> Value {
    let labels = json!({"app": "web"});
    let container = json!({
        "name": "web", "image": WEB_IMAGE, "imagePullPolicy": "IfNotPresent",
        "env": [{"name": "NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}],
        "ports": [{"containerPort": WEB_PORT}],
        "readinessProbe": {"httpGet": {"path": "/", "port": WEB_PORT}, "periodSeconds": 1},
    });
    let spread = json!({
        "maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule",
        "nodeTaintsPolicy": "Honor", "labelSelector": {"matchLabels": labels},
    });
    // It serves as long as it is there, and for two seconds nobody new comes.
    let pod = json!({
        "terminationGracePeriodSeconds": 2, "containers": [container], "topologySpreadConstraints": [spread],
    });
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "replicas": nodes, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    })
}
