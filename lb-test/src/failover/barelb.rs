//! BareLB in a cluster: a real control plane, the controller, an agent and kube-proxy on each node.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result};
use lb_core::plan::EntryState;
use lb_userspace::dataplane::ebpf::{Pins, View};
use serde_json::json;

use super::connections::{ConnectionServer, Connections};
use super::echo::EchoServer;
use super::{NODES, PORT, Purpose, System, Table, crowd};
use crate::agent::barelb;
use crate::cluster::services::{service, slice};
use crate::cluster::{Component, Network, Site, SiteOptions, order_of};
use crate::link::{Interface, Veth};
use crate::process::Process;
use crate::rig::LossyPort;
use crate::run;

/// The argument of the agents that says how fast others take over.
const PROFILE: &str = "--failover-profile";
/// What the clusters of tests have otherwise.
const AS_USERS_HAVE_IT: [&str; 2] = ["--failback-after", "10s"];
/// The profile without probes: addresses move by the Leases.
pub(super) const OFF: &str = "off";
/// The Service that is asked for.
const SERVICE: &str = "echo";
/// What it is asked by.
const PROTOCOLS: [&str; 2] = ["UDP", "TCP"];
/// Where its endpoints listen.
const ENDPOINT_PORT: u16 = 7007;
/// Of what the pool of a [`Site`] holds, that no other Service has.
const FREE: std::ops::Range<u8> = 101..110;

/// The cluster; everything goes with it. The order of the fields is the order of removal.
pub struct Barelb {
    ports: Vec<LossyPort>,
    _servers: Vec<(EchoServer, ConnectionServer)>,
    site: Site,
    vips: [IpAddr; 2],
    order: Vec<usize>,
    crowd: Vec<IpAddr>,
}

impl Barelb {
    /// Three nodes with agents of this profile, and what the purpose wants beside.
    pub fn start(profile: &str, purpose: Purpose) -> Result<Self> {
        Self::start_with(profile, NODES, purpose)
    }

    /// The same with another number of nodes.
    pub fn start_with(profile: &str, nodes: u8, purpose: Purpose) -> Result<Self> {
        let own: &[&str] = match purpose {
            Purpose::Faults => &[],
            Purpose::Crowd => &crowd::ROOM,
            Purpose::Soak => &AS_USERS_HAVE_IT,
        };
        let arguments = [PROFILE, profile].into_iter().chain(own.iter().copied());
        let arguments = arguments.map(ToOwned::to_owned).collect();
        let options = SiteOptions { nodes, arguments, ..SiteOptions::default() };
        let mut site = Site::without_agents(options)?;
        // Before the agents, which use native XDP where the other end has a program too.
        let ports = site.machines.iter().map(|machine| LossyPort::attach(&machine.cable.b));
        let ports = ports.collect::<Result<Vec<_>>>()?;
        let servers = site.machines.iter().map(|machine| {
            let addresses = machine.addresses().map(|address| SocketAddr::from((address, ENDPOINT_PORT)));
            let node = &machine.cable.a;
            node.namespace().sysctl("net.ipv6.conf.eth0.keep_addr_on_down", "1")?;
            let echo = EchoServer::start(node.namespace(), node.mac(), &addresses)?;
            Ok((echo, ConnectionServer::start(node.namespace(), &addresses)?))
        });
        let servers = servers.collect::<Result<Vec<_>>>()?;
        let (vips, order) = addresses(&site)?;
        add_service(&site, vips)?;
        for node in 0..site.machines.len() {
            site.start_agent(node)?;
        }
        site.wait_for_members(site.machines.len())?;
        let mut system = Self { ports, _servers: servers, site, vips, order, crowd: Vec::new() };
        (&system as &dyn System).settle()?;
        if purpose == Purpose::Crowd {
            system.add_crowd()?;
        }
        Ok(system)
    }

    /// Has every node serve by any endpoint, or only nodes with an endpoint, each by its own.
    pub(crate) fn set_policy(&self, policy: &str) -> Result<()> {
        let patch = json!({"spec": {"externalTrafficPolicy": policy}}).to_string();
        self.site.plane.kubectl(&["patch", "service", SERVICE, "--patch", &patch]).map(drop)
    }

    /// Makes connections to an address.
    pub(crate) fn connect(&self, vip: IpAddr, count: usize) -> Result<Connections> {
        Connections::start(self.client().namespace(), (vip, PORT), count)
    }

    fn add_crowd(&mut self) -> Result<()> {
        // Three of them take minutes for so many Services.
        self.freeze_proxies()?;
        let names = self.site.names()?;
        let pairs = crowd::pairs_of(&names, &names[self.order[0]])?;
        crowd::add_services(&self.site, &pairs)?;
        self.crowd = pairs.concat();
        (self as &dyn System).settle()
    }

    /// Has every kube-proxy do nothing any more: its work is not what is measured.
    pub(crate) fn freeze_proxies(&mut self) -> Result<()> {
        self.site.machines.iter_mut().try_for_each(|machine| machine.proxy.process().stop())
    }

    /// The agent of a node.
    pub(crate) fn agent(&mut self, node: usize) -> Result<&mut Process> {
        Ok(self.site.agent(node)?.process())
    }

    fn drain(&self, node: usize, more: &[&str]) -> Result<()> {
        let plane = &self.site.plane;
        let mut command = plane.namespace().command(barelb()?);
        command
            .args(["drain", &self.site.machines[node].name, "--kubeconfig"])
            .arg(plane.admin().kubeconfig());
        run::output(command.args(more)).map(drop)
    }
}

/// An address of each family with the same order of nodes, and that order: one node owns both, and the same one is next.
/// Of more than the usual nodes the first is the same.
fn addresses(site: &Site) -> Result<([IpAddr; 2], Vec<usize>)> {
    let names = site.names()?;
    let order_of = |ip| order_of(&names, ip);
    let pairs =
        FREE.flat_map(|v4| FREE.map(move |v6| [Network::addresses(v4)[0], Network::addresses(v6)[1]]));
    let places = if names.len() > usize::from(NODES) { 1 } else { names.len() };
    let same = pairs.into_iter().find(|[v4, v6]| order_of(*v4)[..places] == order_of(*v6)[..places]);
    let vips = same.context("no two addresses of the pool have the same order of nodes")?;
    Ok((vips, order_of(vips[0])))
}

fn add_service(site: &Site, vips: [IpAddr; 2]) -> Result<()> {
    let wish = vips.map(|vip| vip.to_string());
    let annotations = json!({"metallb.io/loadBalancerIPs": wish.join(",")});
    let spec = json!({
        "externalTrafficPolicy": "Local", "ipFamilyPolicy": "RequireDualStack",
        "ports": PROTOCOLS.map(|protocol| json!({"name": protocol.to_lowercase(), "port": PORT, "protocol": protocol})),
    });
    let mut objects = vec![service(SERVICE, &annotations, &spec)];
    for (place, family) in ["IPv4", "IPv6"].into_iter().enumerate() {
        let endpoints: Vec<_> =
            site.machines.iter().map(|one| (one.name.as_str(), one.addresses()[place])).collect();
        let mut slice = slice(SERVICE, family, ENDPOINT_PORT, &endpoints);
        let port = |protocol: &str| json!({"name": protocol.to_lowercase(), "port": ENDPOINT_PORT, "protocol": protocol});
        slice["ports"] = PROTOCOLS.map(port).as_slice().into();
        objects.push(slice);
    }
    site.plane.apply_all(&objects)?;
    site.plane.becomes(&site.controller, SERVICE, &[&wish[0], &wish[1]])
}

impl System for Barelb {
    fn cables(&self) -> Vec<Veth> {
        self.site.machines.iter().map(|machine| machine.cable.clone()).collect()
    }

    fn client(&self) -> &Interface {
        &self.site.client.a
    }

    fn vips(&self) -> [IpAddr; 2] {
        self.vips
    }

    fn crowd(&self) -> &[IpAddr] {
        &self.crowd
    }

    fn rest(&self) -> Result<()> {
        crowd::rest(&self.site)
    }

    fn order(&self) -> Vec<usize> {
        self.order.clone()
    }

    fn port(&mut self, node: usize) -> Result<&mut LossyPort> {
        self.ports.get_mut(node).context("no such node")
    }

    fn kill(&mut self, node: usize) -> Result<()> {
        self.agent(node)?.kill()
    }

    fn start(&mut self, node: usize) -> Result<()> {
        self.site.start_agent(node)
    }

    fn freeze(&mut self, node: usize) -> Result<()> {
        self.agent(node)?.signal(libc::SIGSTOP)
    }

    fn thaw(&mut self, node: usize) -> Result<()> {
        self.agent(node)?.cont()
    }

    fn hand_over(&mut self, node: usize) -> Result<()> {
        self.drain(node, &[])
    }

    fn table(&self, node: usize) -> Result<Option<Table>> {
        let machine = self.site.machines.get(node).context("no such node")?;
        let view = View::open(Pins::new(machine.files.bpffs()).root())?;
        let answers = move || {
            let rows = view.table.read()?.rows;
            Ok(rows.values().any(|row| row.entry.state == EntryState::Answer))
        };
        Ok(Some(Box::new(answers)))
    }

    fn take_back(&mut self, node: usize) -> Result<()> {
        self.drain(node, &["--undo"])
    }

    fn set_api(&mut self, is_there: bool) -> Result<bool> {
        if is_there {
            self.site.plane.restart(Component::ApiServer)?;
        } else {
            self.site.plane.kill(Component::ApiServer)?;
        }
        Ok(true)
    }

    fn logs(&self) -> String {
        self.site.logs()
    }
}
