//! keepalived on each node: VRRP version 3, an instance for each family, the daemon of Debian's package.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result};

use super::echo::EchoServer;
use super::{CLIENT, FIRST_NODE, NODES, PORT, System, Table};
use crate::cluster::Network;
use crate::link::{Interface, Veth};
use crate::process::Process;
use crate::rig::LossyPort;
use crate::scratch::Scratch;

/// Host part of the addresses it is about.
const VIP: u8 = 100;
/// Of the first node; each next one has ten less.
const PRIORITY: u16 = 150;
/// For a daemon that was killed to be gone.
const GONE: Duration = Duration::from_secs(5);

/// The nodes with keepalived; everything goes with it. The order of the fields is the order of removal.
pub struct Keepalived {
    nodes: Vec<Node>,
    client: Veth,
    _network: Network,
}

struct Node {
    daemon: Option<Process>,
    port: LossyPort,
    _echo: EchoServer,
    cable: Veth,
    folder: Scratch,
}

impl Keepalived {
    /// Three nodes that advertise at this interval, in seconds.
    pub fn start(interval: &str) -> Result<Self> {
        let network = Network::new()?;
        let client = network.attach("client", CLIENT)?;
        let nodes = (0..NODES).map(|number| Node::new(&network, number, &configuration(interval, number)));
        let nodes = nodes.collect::<Result<_>>()?;
        let mut system = Self { nodes, client, _network: network };
        for node in 0..system.nodes.len() {
            system.start(node)?;
        }
        let system_ref: &dyn System = &system;
        system_ref.settle()?;
        Ok(system)
    }

    fn daemon(&mut self, node: usize) -> Result<&mut Process> {
        self.nodes[node].daemon.as_mut().with_context(|| format!("no keepalived runs on node {node}"))
    }
}

impl Node {
    fn new(network: &Network, number: u8, configuration: &str) -> Result<Self> {
        let host = FIRST_NODE + number;
        let cable = network.attach(&format!("keepalived-{number}"), host)?;
        // As the tools of a distribution set them anew when the link comes back.
        cable.a.namespace().sysctl("net.ipv6.conf.eth0.keep_addr_on_down", "1")?;
        let addresses = Network::addresses(VIP).map(|vip| SocketAddr::from((vip, PORT)));
        let folder = Scratch::new("keepalived")?;
        fs::write(folder.join("keepalived.conf"), configuration)?;
        Ok(Self {
            daemon: None,
            port: LossyPort::attach(&cable.b)?,
            _echo: EchoServer::start(cable.a.namespace(), cable.a.mac(), &addresses)?,
            cable,
            folder,
        })
    }
}

/// All but the interval, the priorities and the addresses is as the daemon has it by itself.
fn configuration(interval: &str, number: u8) -> String {
    let priority = PRIORITY - 10 * u16::from(number);
    let [v4, v6] = Network::addresses(VIP);
    let instance = |name: &str, address: &str| {
        format!(
            "vrrp_instance {name} {{\n  state BACKUP\n  interface eth0\n  virtual_router_id 51\n  \
             priority {priority}\n  advert_int {interval}\n  virtual_ipaddress {{\n    {address} dev eth0\n  }}\n}}\n"
        )
    };
    let instances = [instance("v4", &format!("{v4}/24")), instance("v6", &format!("{v6}/64"))];
    format!("global_defs {{\n  vrrp_version 3\n}}\n{}", instances.concat())
}

impl System for Keepalived {
    fn cables(&self) -> Vec<Veth> {
        self.nodes.iter().map(|node| node.cable.clone()).collect()
    }

    fn client(&self) -> &Interface {
        &self.client.a
    }

    fn vips(&self) -> [IpAddr; 2] {
        Network::addresses(VIP)
    }

    fn crowd(&self) -> &[IpAddr] {
        &[]
    }

    fn rest(&self) -> Result<()> {
        Ok(())
    }

    fn order(&self) -> Vec<usize> {
        (0..self.nodes.len()).collect()
    }

    fn port(&mut self, node: usize) -> Result<&mut LossyPort> {
        Ok(&mut self.nodes.get_mut(node).context("no such node")?.port)
    }

    fn kill(&mut self, node: usize) -> Result<()> {
        let daemon = self.daemon(node)?;
        daemon.signal_all(libc::SIGKILL)?;
        daemon.wait(GONE)?;
        self.nodes[node].daemon = None;
        Ok(())
    }

    fn start(&mut self, node: usize) -> Result<()> {
        let Node { daemon, cable, folder, .. } = &mut self.nodes[node];
        let mut command = cable.a.namespace().command("keepalived");
        command.args(["--dont-fork", "--log-console", "--log-detail", "--vrrp"]);
        for (flag, file) in
            [("--use-file", "keepalived.conf"), ("--pid", "keepalived.pid"), ("--vrrp_pid", "vrrp.pid")]
        {
            command.arg(flag).arg(folder.join(file));
        }
        // Of one that was killed: a daemon that finds them may take it for alive.
        for file in ["keepalived.pid", "vrrp.pid"] {
            drop(fs::remove_file(folder.join(file)));
        }
        *daemon = Some(cable.a.namespace().spawn_command(&mut command, &folder.join("keepalived.log"))?);
        Ok(())
    }

    fn freeze(&mut self, node: usize) -> Result<()> {
        self.daemon(node)?.signal_all(libc::SIGSTOP)
    }

    fn thaw(&mut self, node: usize) -> Result<()> {
        self.daemon(node)?.signal_all(libc::SIGCONT)
    }

    fn hand_over(&mut self, node: usize) -> Result<()> {
        self.daemon(node)?.end()?;
        self.nodes[node].daemon = None;
        Ok(())
    }

    fn table(&self, _node: usize) -> Result<Option<Table>> {
        Ok(None)
    }

    fn take_back(&mut self, node: usize) -> Result<()> {
        self.start(node)
    }

    fn set_api(&mut self, _is_there: bool) -> Result<bool> {
        Ok(false)
    }

    fn logs(&self) -> String {
        let tails = self.nodes.iter().filter_map(|node| Some(node.daemon.as_ref()?.tail()));
        tails.collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_differ_in_their_priority_and_families_in_their_address() {
        let text = configuration("0.01", 1);
        let (v4, v6) = text.split_once("vrrp_instance v6").unwrap();
        assert!(
            v4.contains("    192.0.2.100/24 dev eth0\n") && v6.contains("    2001:db8::100/64 dev eth0\n")
        );
        for instance in [v4, v6] {
            assert!(
                instance.contains("  priority 140\n") && instance.contains("  advert_int 0.01\n"),
                "{text}"
            );
        }
        assert!(configuration("1", 0).contains("  priority 150\n"));
    }
}
