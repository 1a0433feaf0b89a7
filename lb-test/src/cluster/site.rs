//! A cluster as users have one: a control plane, nodes with kube-proxy, a web server and an agent each, the controller,
//! and a client that finds the Service `web` by its addresses.
//!
//! ```text
//!   control-plane    node-a .11         node-b .12 …       client .10
//!   API server       kube-proxy, web    kube-proxy, web    asks, fetches
//!   controller       agent              agent
//!     |                |                  |                  |
//!   ──────────────────────────── br0 ────────────────────────────      switch
//! ```
//!
//! Controller and agents run under their own ServiceAccounts, as the users and with the capabilities that the manifests
//! give them and no others. The Service has an endpoint on each node and the policy Local, so a page tells who serves it and to whom.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lb_core::election::{RankKey, order};
use lb_core::ids::NodeName;
use serde_json::{Value, json};

use super::services::{advertisement, pool, service, slice};
use super::{ControlPlane, Controller, Families, KubeProxy, Network, NodeAgent, NodeFiles, Options};
use crate::lab::web::WebServer;
use crate::link::Veth;
use crate::run;

mod sight;

/// The port of the web server on each node; the Service says 80.
pub(super) const WEB_PORT: u16 = 8080;
/// Host parts of addresses.
pub(super) const CONTROL: u8 = 2;
pub(super) const CLIENT: u8 = 10;
pub(super) const FIRST_NODE: u8 = 11;
/// Added for the second cable of a node.
const SECOND: u8 = 40;
/// How soon an agent that has started takes what it is the first for; in the clusters of users 10 s.
const FAILBACK_AFTER: &str = "--failback-after";
const SOON: &str = "100ms";
/// What the pool holds; the Service gets the first of each family.
pub(super) const POOL: [&str; 2] = ["192.0.2.100-192.0.2.109", "2001:db8::100-2001:db8::109"];
pub(super) const VIP: u8 = 100;

/// How a cluster is made.
#[derive(Clone, Debug)]
pub struct SiteOptions {
    /// How many nodes: `node-a`, `node-b` and so on, at most 26.
    pub nodes: u8,
    /// Of control plane, nodes, client and Service.
    pub families: Families,
    /// `--grace` of the agents. Their Leases last 15 s longer.
    pub grace: String,
    /// Further arguments of the agents.
    pub arguments: Vec<String>,
}

impl Default for SiteOptions {
    /// Two nodes, both families, and Leases of 17 s.
    fn default() -> Self {
        Self { nodes: 2, families: Families::Dual, grace: "2s".to_owned(), arguments: Vec::new() }
    }
}

/// A node without its agent.
#[derive(Debug)]
pub struct Machine {
    /// The name of its Node.
    pub name: String,
    /// Its cable to the switch; `a` is its `eth0`.
    pub cable: Veth,
    /// What its agents leave to each other.
    pub files: NodeFiles,
    /// Its kube-proxy.
    pub proxy: KubeProxy,
    host: u8,
    _web: WebServer,
}

/// A cluster; everything it made goes with it. The order of the fields is the order of removal.
#[derive(Debug)]
pub struct Site {
    /// The agent of each machine; `None` takes it away as SIGKILL does.
    pub agents: Vec<Option<NodeAgent>>,
    /// The nodes.
    pub machines: Vec<Machine>,
    /// The controller.
    pub controller: Controller,
    /// The client's cable to the switch; `a` is its `eth0`.
    pub client: Veth,
    /// The control plane.
    pub plane: ControlPlane,
    options: SiteOptions,
    _control: Veth,
    network: Network,
}

impl Site {
    /// Two nodes of both families, ready: the Service has its addresses, and the agents know each other.
    pub fn start() -> Result<Self> {
        Self::start_with(SiteOptions::default())
    }

    /// A ready cluster made as `options` say.
    pub fn start_with(options: SiteOptions) -> Result<Self> {
        let mut site = Self::without_agents(options)?;
        for index in 0..site.machines.len() {
            site.start_agent(index)?;
        }
        site.wait_for_members(site.machines.len())?;
        site.is_owned_by(site.preferred()?)?;
        Ok(site)
    }

    /// The first of all nodes in the order for the Service `web`.
    fn preferred(&self) -> Result<usize> {
        let vip = *self.vips().first().context("a Service without addresses")?;
        order_of(&self.names()?, vip).first().copied().context("a cluster without nodes")
    }

    /// The names of all nodes.
    pub(crate) fn names(&self) -> Result<Vec<NodeName>> {
        let names = self.machines.iter().map(|machine| NodeName::new(&machine.name));
        Ok(names.collect::<Result<_, _>>()?)
    }

    /// The same before the first agent is started: nobody answers.
    pub fn without_agents(options: SiteOptions) -> Result<Self> {
        ensure!((1..=26).contains(&options.nodes), "a cluster of {} nodes", options.nodes);
        let families = options.families;
        let network = Network::new()?;
        let control = network.attach_with("control-plane", CONTROL, families)?;
        let plane = ControlPlane::start_with(control_plane(&control, families))?;
        plane.install()?;
        let client = network.attach_with("client", CLIENT, families)?;
        let hosts = FIRST_NODE..FIRST_NODE + options.nodes;
        let machines = hosts.map(|host| Machine::new(&network, &plane, host, families));
        let machines = machines.collect::<Result<Vec<_>>>()?;
        let controller = Controller::start(&plane, 0, &[])?;
        let site = Self {
            agents: machines.iter().map(|_| None).collect(),
            machines,
            controller,
            client,
            plane,
            options,
            _control: control,
            network,
        };
        let all: Vec<usize> = (0..site.machines.len()).collect();
        let objects =
            [pool("first-pool", &families.of(POOL)), site.web(&json!({})), advertisement("all", json!({}))];
        site.plane.apply_all(&[&objects[..], &site.slices("web", WEB_PORT, &all)].concat())?;
        let vips: Vec<String> = site.vips().iter().map(ToString::to_string).collect();
        site.plane.becomes(&site.controller, "web", &vips.iter().map(String::as_str).collect::<Vec<_>>())?;
        Ok(site)
    }

    /// Gives a node a second way to the API server, `eth1`, over which it announces nothing: so it is no dead node when
    /// its `eth0` fails. The cable goes with the namespace of the node.
    pub fn add_way_to_api(&self, index: usize) -> Result<()> {
        let machine = &self.machines[index];
        let way = self.network.plug(machine.cable.a.namespace(), "eth1", SECOND + machine.host)?;
        // Its own address, which eth0 does not answer for: those of eth0 vanish with it.
        let ignore = "net.ipv4.conf.all.arp_ignore=1";
        machine.cable.a.namespace().exec("sysctl", &["--quiet", "--write", ignore])?;
        way.a.add_address(&format!("{}/32", Network::addresses(SECOND + machine.host)[0]))?;
        self.restore_way_to_api(index)
    }

    /// Routes to the API server by `eth1` again, after whatever was done to it.
    pub fn restore_way_to_api(&self, index: usize) -> Result<()> {
        let machine = &self.machines[index];
        let [server, source] =
            [CONTROL, SECOND + machine.host].map(|host| Network::addresses(host)[0].to_string());
        let route = ["route", "replace", &server, "dev", "eth1", "src", &source];
        machine.cable.a.namespace().ip(&route).map(drop)
    }

    /// Takes the `eth0` of a node away and puts another one in its place, as a driver does that starts again.
    pub fn replace_link(&mut self, index: usize, pause: Duration) -> Result<()> {
        let machine = &mut self.machines[index];
        let namespace = machine.cable.a.namespace().clone();
        namespace.ip(&["link", "delete", "eth0"])?;
        thread::sleep(pause);
        machine.cable = self.network.plug(&namespace, "eth0", machine.host)?;
        Ok(())
    }

    /// The addresses of the Service.
    pub fn vips(&self) -> Vec<IpAddr> {
        self.options.families.of(Network::addresses(VIP))
    }

    /// The addresses of the client.
    pub fn client_addresses(&self) -> Vec<IpAddr> {
        self.options.families.of(Network::addresses(CLIENT))
    }

    /// The Service `web`; `more` is merged into its spec.
    pub fn web(&self, more: &Value) -> Value {
        let mut fields = json!({"externalTrafficPolicy": "Local"});
        if self.options.families == Families::Dual {
            fields["ipFamilyPolicy"] = "RequireDualStack".into();
        }
        for (field, value) in more.as_object().into_iter().flatten() {
            fields[field] = value.clone();
        }
        service("web", &json!({}), &fields)
    }

    /// The `EndpointSlice`s of a Service with ready endpoints at this port of these nodes: one of each family.
    pub fn slices(&self, service: &str, port: u16, nodes: &[usize]) -> Vec<Value> {
        let of_family = |family: usize| {
            let machines = nodes.iter().map(|node| &self.machines[*node]);
            let endpoints: Vec<_> =
                machines.map(|one| (one.name.as_str(), Network::addresses(one.host)[family])).collect();
            slice(service, ["IPv4", "IPv6"][family], port, &endpoints)
        };
        self.options.families.of([0, 1]).into_iter().map(of_family).collect()
    }

    /// Lets exactly these nodes have an endpoint of the Service `web`.
    pub fn place_endpoints(&self, nodes: &[usize]) -> Result<()> {
        self.plane.apply_all(&self.slices("web", WEB_PORT, nodes))
    }

    /// Starts the agent of a node as all of them are, after whichever it had.
    pub fn start_agent(&mut self, index: usize) -> Result<()> {
        self.start_agent_with(index, &[])
    }

    /// As [`Site::start_agent`], with further arguments.
    pub fn start_agent_with(&mut self, index: usize, more: &[&str]) -> Result<()> {
        self.start_agent_in(index, more, &[])
    }

    /// As [`Site::start_agent`], by a clock of its own: the file says by how many seconds it differs, for example `+3600`.
    /// Only the time of day is another one.
    pub fn start_agent_by_clock(&mut self, index: usize, file: &Path) -> Result<()> {
        let environment = [
            ("LD_PRELOAD", faketime()?),
            ("FAKETIME_TIMESTAMP_FILE", file.to_owned()),
            ("FAKETIME_NO_CACHE", "1".into()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
        ];
        self.start_agent_in(index, &[], &environment)
    }

    fn start_agent_in(&mut self, index: usize, more: &[&str], environment: &[(&str, PathBuf)]) -> Result<()> {
        self.agents[index] = None;
        let machine = &self.machines[index];
        let mut arguments = vec!["--grace", &self.options.grace];
        arguments.extend(self.options.arguments.iter().map(String::as_str).chain(more.iter().copied()));
        if !arguments.contains(&FAILBACK_AFTER) {
            arguments.extend([FAILBACK_AFTER, SOON]);
        }
        let namespace = machine.cable.a.namespace();
        let (name, files) = (&machine.name, &machine.files);
        let agent = NodeAgent::start_in(&self.plane, namespace, name, files, &arguments, environment)?;
        self.agents[index] = Some(agent);
        Ok(())
    }

    /// The agent of a node; an error when it has none.
    pub fn agent(&mut self, index: usize) -> Result<&mut NodeAgent> {
        self.agents[index].as_mut().with_context(|| format!("no agent runs on {}", self.machines[index].name))
    }

    /// Waits until so many agents renew their Leases, and gives each the time to see them all.
    pub fn wait_for_members(&self, count: usize) -> Result<()> {
        self.plane.wait_for(Controller::PATIENCE, "agents are missing", |plane| {
            let renewals = plane.renewals()?;
            ensure!(renewals.len() == count, "{renewals:?}\n{}", self.logs());
            Ok(Some(()))
        })?;
        thread::sleep(Duration::from_millis(500));
        Ok(())
    }

    /// The ends of the logs of all agents and of the controller.
    pub fn logs(&self) -> String {
        let agents = self.agents.iter().flatten().map(NodeAgent::tail);
        agents.chain([self.controller.tail()]).collect::<Vec<_>>().join("\n")
    }
}

/// The places of these nodes, in their order for an address.
pub(crate) fn order_of(names: &[NodeName], ip: IpAddr) -> Vec<usize> {
    let in_order = order(names.iter().map(|name| (name, 0)), &RankKey::new(ip));
    in_order.into_iter().filter_map(|name| names.iter().position(|one| one == name)).collect()
}

impl Machine {
    fn new(network: &Network, plane: &ControlPlane, host: u8, families: Families) -> Result<Self> {
        let name = format!("node-{}", char::from(b'a' + (host - FIRST_NODE)));
        let cable = network.attach_with(&name, host, families)?;
        plane.add_nodes(&[(&name, &families.of(Network::addresses(host)))])?;
        let namespace = cable.a.namespace();
        Ok(Self {
            files: NodeFiles::new()?,
            _web: WebServer::start(namespace, &name, WEB_PORT)?,
            proxy: KubeProxy::start(plane, namespace, &name)?,
            name,
            host,
            cable,
        })
    }

    /// `barelb inspect` of it, with further arguments; what it prints.
    pub fn inspect(&self, arguments: &[&str]) -> Result<String> {
        run::output(&mut self.inspection(arguments))
    }

    /// The same as a person would type it.
    pub fn inspect_line(&self, arguments: &[&str]) -> String {
        run::command_line(&self.inspection(arguments))
    }

    fn inspection(&self, arguments: &[&str]) -> Command {
        let mut command = self.cable.a.namespace().command(self.files.binary());
        command.arg("inspect").arg("--bpffs").arg(self.files.bpffs());
        command.arg("--state-dir").arg(self.files.state()).args(arguments);
        command
    }

    /// Its addresses, IPv4 first; a cluster of one family uses one of them.
    pub fn addresses(&self) -> [IpAddr; 2] {
        Network::addresses(self.host)
    }
}

/// The library of Debian's package `faketime` for programs with threads.
fn faketime() -> Result<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib").context("looking for libfaketime")?;
    let libraries = folders.flatten().map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"));
    libraries.into_iter().find(|library| library.exists()).context("libfaketime is missing: install faketime")
}

pub(super) fn control_plane(cable: &Veth, families: Families) -> Options {
    let [v4, v6] = Network::addresses(CONTROL);
    Options {
        namespace: Some(cable.a.namespace().clone()),
        address: if families == Families::V6 { v6 } else { v4 },
        service_ranges: families.of(["10.96.0.0/16", "fd00:10:96::/112"]).join(","),
        ..Options::default()
    }
}
