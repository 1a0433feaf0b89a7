//! kube-proxy on a node.

use std::thread;
use std::time::Instant;

use anyhow::{Result, ensure};

use super::{Access, ControlPlane, POLL, READY, access, programs};
use crate::namespace::Namespace;
use crate::process::Process;
use crate::scratch::Scratch;

/// A running kube-proxy in nftables mode; killed on drop, its table goes with the node's namespace.
#[derive(Debug)]
pub struct KubeProxy {
    process: Process,
    _folder: Scratch,
}

impl KubeProxy {
    /// Starts it in the namespace of a node that reaches the API server, and waits for its first rules.
    pub fn start(plane: &ControlPlane, namespace: &Namespace, node: &str) -> Result<Self> {
        let access = Access::fixed(&plane.folder, plane.options.address, &access::KUBE_PROXY)?;
        // Nodes forward; kube-proxy leaves that to others in this mode.
        namespace.sysctl("net.ipv4.ip_forward", "1")?;
        namespace.sysctl("net.ipv6.conf.all.forwarding", "1")?;
        let folder = Scratch::new("kube-proxy")?;
        let mut command = namespace.command(programs::find("kube-proxy")?);
        command.arg("--kubeconfig").arg(access.kubeconfig());
        command.args(["--hostname-override", node, "--proxy-mode=nftables"]);
        // Zero leaves the kernel's values, which a namespace may not set.
        command.args([
            "--conntrack-max-per-core=0",
            "--conntrack-tcp-timeout-established=0s",
            "--conntrack-tcp-timeout-close-wait=0s",
        ]);
        let process = namespace.spawn_command(&mut command, &folder.join("kube-proxy.log"))?;
        let mut proxy = Self { process, _folder: folder };
        proxy.wait_for_rules(namespace)?;
        Ok(proxy)
    }

    /// The process, to send signals to.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        self.process.log()
    }

    fn wait_for_rules(&mut self, namespace: &Namespace) -> Result<()> {
        let deadline = Instant::now() + READY;
        let has_rules = || {
            let tables = namespace.exec("nft", &["list", "tables"])?;
            Ok::<_, anyhow::Error>(
                ["ip", "ip6"].iter().all(|family| tables.contains(&format!("table {family} kube-proxy"))),
            )
        };
        while !has_rules()? {
            let is_waiting = self.process.is_running() && Instant::now() < deadline;
            ensure!(is_waiting, "kube-proxy has made no rules; its log ends:\n{}", self.tail());
            thread::sleep(POLL);
        }
        Ok(())
    }

    fn tail(&self) -> String {
        self.process.tail()
    }
}
