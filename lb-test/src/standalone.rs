//! One node with a standalone agent, one client, a cable or a bridge between them.
//!
//! ```text
//!   client                    node
//!   192.0.2.10                192.0.2.11
//!   2001:db8::10              2001:db8::11
//!   eth0 (pass) ───────────── eth0 (the agent's program)
//! ```

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::agent::{Agent, AgentConfig};
use crate::link::{Bridge, Interface, Veth, mac};
use crate::namespace::Namespace;
use crate::rig::PassProgram;
use crate::scratch::{Bpffs, Scratch};

const CLIENT: u8 = 10;
const NODE: u8 = 11;

/// The pools and the advertisement every such node starts with: room for 65,536 addresses of each family.
const POOLS: &str = "\
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: test, namespace: metallb-system}
spec:
  addresses: [192.0.2.100-192.0.2.199, 198.18.0.0/16, '2001:db8::100-2001:db8::1ff', '2001:db8:0:1::/64']
---
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata: {name: test, namespace: metallb-system}
";

/// The rooms of one standalone agent; the agent itself is started by [`Standalone::agent`].
#[derive(Debug)]
pub struct Standalone {
    /// The client's end.
    pub client: Interface,
    /// The node's end.
    pub node: Interface,
    pass: Option<PassProgram>,
    bridge: Option<Bridge>,
    bpffs: Bpffs,
    folder: Scratch,
}

impl Standalone {
    /// Client and node on one cable; the client's end runs the pass program, so every mode works on the node.
    pub fn new() -> Result<Self> {
        let (client, node) = (Namespace::new("client")?, Namespace::new("node")?);
        let cable = Veth::new((&client, "eth0", mac(CLIENT)), (&node, "eth0", mac(NODE)))?;
        let pass = PassProgram::attach(&cable.a)?;
        Self::furnish(cable.a, cable.b, pass, None)
    }

    /// Client and node on a bridge, which snoops multicast reports and asks for them.
    pub fn on_snooping_bridge() -> Result<Self> {
        let (client, node, switch) =
            (Namespace::new("client")?, Namespace::new("node")?, Namespace::new("switch")?);
        let bridge = Bridge::new(&switch, "br0")?;
        // A querier needs an address to ask from.
        bridge.interface().add_address("fe80::1/64")?;
        bridge.set_snooping(true, true)?;
        let to_client = Veth::new((&client, "eth0", mac(CLIENT)), (&switch, "client", mac(0x80 + CLIENT)))?;
        let to_node = Veth::new((&node, "eth0", mac(NODE)), (&switch, "node", mac(0x80 + NODE)))?;
        bridge.add_port(&to_client.b)?;
        bridge.add_port(&to_node.b)?;
        let pass = PassProgram::attach(&to_node.b)?;
        Self::furnish(to_client.a, to_node.a, pass, Some(bridge))
    }

    fn furnish(
        client: Interface,
        node: Interface,
        pass: PassProgram,
        bridge: Option<Bridge>,
    ) -> Result<Self> {
        for (interface, host) in [(&client, CLIENT), (&node, NODE)] {
            interface.add_address(&format!("192.0.2.{host}/24"))?;
            interface.add_address(&format!("2001:db8::{host}/64"))?;
            interface.add_address(&format!("fe80::{host}/64"))?;
        }
        let folder = Scratch::new("node")?;
        fs::create_dir_all(folder.join("manifests"))?;
        fs::create_dir_all(folder.join("state"))?;
        let bpffs = Bpffs::new("node-bpffs")?;
        let standalone = Self { client, node, pass: Some(pass), bridge, bpffs, folder };
        standalone.write("pools.yaml", POOLS)?;
        Ok(standalone)
    }

    /// The bridge of [`Standalone::on_snooping_bridge`].
    pub fn bridge(&self) -> Option<&Bridge> {
        self.bridge.as_ref()
    }

    /// Takes the pass program from the node's peer: native `XDP_TX` is lost from now on.
    pub fn remove_pass_program(&mut self) {
        self.pass = None;
    }

    /// The folder for `--standalone`.
    pub fn manifests(&self) -> PathBuf {
        self.folder.join("manifests")
    }

    /// The folder for `--state-dir`.
    pub fn state(&self) -> PathBuf {
        self.folder.join("state")
    }

    /// What to give as `--bpffs`.
    pub fn bpffs(&self) -> &Path {
        self.bpffs.path()
    }

    /// Writes or replaces the manifest `file` in one step, as careful editors do.
    pub fn write(&self, file: &str, text: &str) -> Result<()> {
        let (path, new) = (self.manifests().join(file), self.folder.join("new"));
        fs::write(&new, text)?;
        fs::rename(&new, &path).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Removes a manifest.
    pub fn remove(&self, file: &str) -> Result<()> {
        let path = self.manifests().join(file);
        fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))
    }

    /// An agent on the node's interface as `node-a`, native mode.
    pub fn config(&self) -> Result<AgentConfig> {
        let namespace = self.node.namespace();
        AgentConfig::new(
            namespace,
            self.node.name(),
            "node-a",
            &self.manifests(),
            self.bpffs(),
            &self.state(),
        )
    }

    /// Starts [`Standalone::config`].
    pub fn agent(&self) -> Result<Agent> {
        Agent::start(&self.config()?)
    }
}

/// A Service manifest that asks for `addresses`, one or one of each family.
pub fn service(name: &str, addresses: &[IpAddr]) -> String {
    let families: Vec<_> = addresses.iter().map(|ip| if ip.is_ipv4() { "IPv4" } else { "IPv6" }).collect();
    let policy = if addresses.len() > 1 { "RequireDualStack" } else { "SingleStack" };
    let wish: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    format!(
        "apiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\n  namespace: default\n  annotations:\n    \
         metallb.io/loadBalancerIPs: \"{}\"\nspec:\n  type: LoadBalancer\n  ipFamilyPolicy: {policy}\n  \
         ipFamilies: [{}]\n  ports:\n  - {{name: http, protocol: TCP, port: 80}}\n",
        wish.join(","),
        families.join(", ")
    )
}

/// The manifest of a Node.
pub fn node(name: &str, address: IpAddr) -> String {
    format!(
        "apiVersion: v1\nkind: Node\nmetadata:\n  name: {name}\n  labels: {{kubernetes.io/hostname: {name}}}\n\
         status:\n  addresses:\n  - {{type: InternalIP, address: \"{address}\"}}\n"
    )
}
