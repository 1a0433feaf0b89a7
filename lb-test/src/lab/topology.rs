//! The machines of the lab and their cables.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::web::WebServer;
use crate::link::{Bridge, Interface, Veth, mac};
use crate::namespace::Namespace;
use crate::rig::PassProgram;
use crate::scratch::{Bpffs, Scratch};

/// The port of the web server on each node; the Services say 80.
const WEB_PORT: u16 = 8080;

/// Host parts of the addresses, in 192.0.2.0/24, `2001:db8::/64` and `fe80::/64`.
const CLIENT: u8 = 10;
const NODES: [(&str, &str, u8); 2] = [("node-a", "port-a", 11), ("node-b", "port-b", 12)];

/// Everything but the agents. The order of the fields is the order of removal.
#[derive(Debug)]
pub(super) struct Topology {
    nodes: Vec<Node>,
    client: Interface,
    _switch: Namespace,
}

/// One node.
#[derive(Debug)]
pub(super) struct Node {
    name: &'static str,
    interface: Interface,
    host: u8,
    bpffs: Bpffs,
    folder: Scratch,
    _web: WebServer,
    _pass: PassProgram,
}

impl Topology {
    pub(super) fn new(rig: &Path) -> Result<Self> {
        let switch = Namespace::new("switch")?;
        let bridge = Bridge::new(&switch, "br0")?;
        let mut nodes = Vec::new();
        for (name, port, host) in NODES {
            nodes.push(Node::new(name, port, host, &bridge, rig)?);
        }
        let client = Namespace::new("client")?;
        let cable = Veth::new((&client, "eth0", mac(CLIENT)), (&switch, "port-c", mac(0x80 + CLIENT)))?;
        bridge.add_port(&cable.b)?;
        addresses(&cable.a, CLIENT)?;
        Ok(Self { nodes, client: cable.a, _switch: switch })
    }

    pub(super) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The client's interface.
    pub(super) fn client(&self) -> &Interface {
        &self.client
    }

    /// The node whose interface has this Ethernet address.
    pub(super) fn node_of(&self, mac: [u8; 6]) -> Option<&Node> {
        self.nodes.iter().find(|node| node.interface.mac() == mac)
    }
}

impl Node {
    fn new(name: &'static str, port: &str, host: u8, bridge: &Bridge, rig: &Path) -> Result<Self> {
        let namespace = Namespace::new(name)?;
        let switch = bridge.interface().namespace();
        let cable = Veth::new((&namespace, "eth0", mac(host)), (switch, port, mac(0x80 + host)))?;
        bridge.add_port(&cable.b)?;
        addresses(&cable.a, host)?;
        let folder = Scratch::new(name)?;
        fs::create_dir_all(folder.join("state"))?;
        Ok(Self {
            name,
            host,
            bpffs: Bpffs::new(&format!("{name}-bpffs"))?,
            folder,
            _web: WebServer::start(&namespace, name, WEB_PORT)?,
            _pass: PassProgram::attach_from(rig, &cable.b)?,
            interface: cable.a,
        })
    }

    pub(super) fn name(&self) -> &str {
        self.name
    }

    pub(super) fn interface(&self) -> &Interface {
        &self.interface
    }

    pub(super) fn namespace(&self) -> &Namespace {
        self.interface.namespace()
    }

    pub(super) fn bpffs(&self) -> &Path {
        self.bpffs.path()
    }

    /// The folder for `--standalone`.
    pub(super) fn manifests(&self) -> PathBuf {
        self.folder.join("manifests")
    }

    /// The folder for `--state-dir`.
    pub(super) fn state(&self) -> PathBuf {
        self.folder.join("state")
    }

    /// What kube-proxy does for a Service with one endpoint: port 80 of each address goes to the local server.
    pub(super) fn forward_to_web(&self, vips: &[IpAddr]) -> Result<()> {
        let rules: Vec<_> = vips.iter().map(|vip| self.rule(*vip)).collect();
        let table = format!(
            "table inet barelb-lab {{\n  chain prerouting {{\n    type nat hook prerouting priority dstnat;\n{}\n  }}\n}}\n",
            rules.join("\n")
        );
        let file = self.folder.join("lab.nft");
        fs::write(&file, table)?;
        self.namespace().exec("nft", &["-f", &file.to_string_lossy()]).map(drop)
    }

    fn rule(&self, vip: IpAddr) -> String {
        let host = self.host;
        match vip {
            IpAddr::V4(vip) => {
                format!("    ip daddr {vip} tcp dport 80 dnat ip to 192.0.2.{host}:{WEB_PORT}")
            }
            IpAddr::V6(vip) => {
                format!("    ip6 daddr {vip} tcp dport 80 dnat ip6 to [2001:db8::{host}]:{WEB_PORT}")
            }
        }
    }
}

/// One address of each family and a link-local one; the host part reads the same in all of them.
fn addresses(interface: &Interface, host: u8) -> Result<()> {
    for cidr in [format!("192.0.2.{host}/24"), format!("2001:db8::{host}/64"), format!("fe80::{host}/64")] {
        interface.add_address(&cidr)?;
    }
    Ok(())
}
