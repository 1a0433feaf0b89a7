//! A node that runs pods: containerd and a kubelet in a [`Room`], and kube-proxy.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::room::{self, Room};
use super::sight;
use crate::cluster::{Access, ControlPlane, Families, KubeProxy, Network, access, programs};
use crate::link::{Interface, Veth};
use crate::process::Process;
use crate::run;

const CONTAINERD: &str = include_str!("containerd.toml");
const KUBELET: &str = include_str!("kubelet.yaml");
/// The host part of a machine that is not there.
const GATEWAY: u8 = 1;
const LIMIT: Duration = Duration::from_mins(1);
const POLL: Duration = Duration::from_millis(20);

/// A node; everything on it goes with it. The order of the fields is the order of removal.
#[derive(Debug)]
pub struct Worker {
    /// The name of its Node.
    pub name: String,
    _proxy: KubeProxy,
    kubelet: Process,
    containerd: Process,
    room: Room,
    /// Its cable to the switch; `a` is its `eth0`.
    pub cable: Veth,
    host: u8,
    families: Families,
}

impl Worker {
    /// A node with the images of these archives; its kubelet registers it.
    pub(super) fn start(
        plane: &ControlPlane,
        cable: Veth,
        (name, host): (&str, u8),
        families: Families,
        archives: &[&Path],
    ) -> Result<Self> {
        prepare(&cable.a, families)?;
        let room = Room::new(cable.a.namespace(), name)?;
        let networks = room.lib("cni/net.d");
        fs::create_dir_all(&networks)?;
        fs::write(networks.join("pods.conflist"), pod_network(host, families).to_string())?;
        let containerd = start_containerd(&room)?;
        for archive in archives {
            import(&room, archive)?;
        }
        let kubelet = start_kubelet(plane, &room, name, &families.of(Network::addresses(host)))?;
        let proxy = KubeProxy::start(plane, cable.a.namespace(), name)?;
        Ok(Self { name: name.to_owned(), _proxy: proxy, kubelet, containerd, room, cable, host, families })
    }

    /// Its addresses.
    pub fn addresses(&self) -> Vec<IpAddr> {
        self.families.of(Network::addresses(self.host))
    }

    /// The ranges that its pods have addresses of, each with the address of the node that leads there.
    pub(super) fn routes(&self) -> Vec<(String, IpAddr)> {
        let [v4, v6] = Network::addresses(self.host);
        let [range_v4, range_v6] = pod_ranges(self.host);
        self.families.of([(range_v4, v4), (range_v6, v6)])
    }

    /// Brings it the images of an archive.
    pub(super) fn import(&self, archive: &Path) -> Result<()> {
        import(&self.room, archive)
    }

    /// Gives an image that it has another name.
    pub fn tag(&self, image: &str, other: &str) -> Result<()> {
        run::output(ctr(&self.room).args(["images", "tag", image, other])).map(drop)
    }

    /// `/proc/PID/status` of the first process of a container.
    pub(super) fn status_of(&self, container: &str) -> Result<BTreeMap<String, String>> {
        let tasks = run::output(ctr(&self.room).args(["tasks", "list"]))?;
        let mut columns = tasks.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let task = columns.find(|task| task.first() == Some(&container));
        let pid = task
            .and_then(|task| task.get(1).copied())
            .with_context(|| format!("no {container} in {tasks}"))?;
        let status = run::output(self.room.command("cat").arg(format!("/proc/{pid}/status")))?;
        Ok(sight::lines(&status))
    }

    /// A command as it runs on the node, with its mounts.
    pub fn command(&self, program: &str) -> Command {
        self.room.command(program)
    }

    /// The same as a person would type it.
    pub fn line(&self, program: &str) -> String {
        run::command_line(&self.command(program))
    }

    /// What stands on the node at `/var/lib/NAME`.
    pub fn lib(&self, name: &str) -> PathBuf {
        self.room.lib(name)
    }

    /// Ends its kubelet, as a crash does; its pods go on.
    pub fn kill_kubelet(&mut self) -> Result<()> {
        // What is ours is nsenter, which waits for the kubelet.
        let kubelet = i32::try_from(room::child_of(self.kubelet.pid())?)?;
        // SAFETY: kill has no memory effects; nsenter reaps its child, so the number is still the kubelet's.
        unsafe { libc::kill(kubelet, libc::SIGKILL) };
        ensure!(self.kubelet.wait(LIMIT)?.is_some(), "the kubelet of {} goes on", self.name);
        Ok(())
    }

    /// The ends of the logs of its kubelet and of containerd.
    pub fn tail(&self) -> String {
        format!("kubelet of {}:\n{}\ncontainerd:\n{}", self.name, self.kubelet.tail(), self.containerd.tail())
    }

    /// What its kubelet has logged.
    pub fn kubelet_log(&self) -> String {
        self.kubelet.log()
    }
}

/// What a machine in a network has, and the machines of other tests have not.
fn prepare(link: &Interface, families: Families) -> Result<()> {
    // Neighbours of the pods' bridge are asked for from its link-local address.
    link.namespace().sysctl("net.ipv6.conf.default.addr_gen_mode", "0")?;
    // The address of a Service is nobody's, and a packet to it needs some route before kube-proxy sees it.
    for gateway in families.of(Network::addresses(GATEWAY)) {
        link.add_route("default", gateway)?;
    }
    Ok(())
}

/// What containerd has for kubelets.
fn ctr(room: &Room) -> Command {
    let mut command = room.command("ctr");
    command.args(["--namespace", "k8s.io"]);
    command
}

fn import(room: &Room, archive: &Path) -> Result<()> {
    run::output(ctr(room).args(["images", "import"]).arg(archive)).map(drop)
}

fn start_containerd(room: &Room) -> Result<Process> {
    let config = room.lib("containerd.toml");
    fs::write(&config, CONTAINERD)?;
    let mut command = room.command("containerd");
    // Its temporary files: the node has no other place.
    command.args(["--config", "/var/lib/containerd.toml"]).env("TMPDIR", "/run");
    let mut containerd = room.spawn(&mut command, "containerd.log")?;
    let deadline = Instant::now() + LIMIT;
    while !ctr(room).arg("version").output()?.status.success() {
        let is_waiting = containerd.is_running() && Instant::now() < deadline;
        ensure!(is_waiting, "containerd does not answer; its log ends:\n{}", containerd.tail());
        thread::sleep(POLL);
    }
    Ok(containerd)
}

fn start_kubelet(plane: &ControlPlane, room: &Room, name: &str, addresses: &[IpAddr]) -> Result<Process> {
    let access = Access::fixed(&plane.folder, plane.options.address, &access::kubelet(name))?;
    fs::write(room.lib("kubelet.yaml"), format!("{KUBELET}cgroupRoot: {}\n", room.cgroup()))?;
    let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    let mut command = room.command(programs::find("kubelet")?);
    command.args(["--config=/var/lib/kubelet.yaml", "--root-dir=/var/lib/kubelet"]);
    command.arg("--kubeconfig").arg(access.kubeconfig());
    command.args(["--hostname-override", name, "--node-ip", &addresses.join(",")]);
    room.spawn(command.env("TMPDIR", "/run"), "kubelet.log")
}

/// A bridge on each node; the other nodes know by routes what lies behind it.
fn pod_network(host: u8, families: Families) -> Value {
    let ranges = families.of(pod_ranges(host)).into_iter().map(|range| json!([{"subnet": range}]));
    let routes = families.of(["0.0.0.0/0", "::/0"]).into_iter().map(|all| json!({"dst": all}));
    let addresses = json!({
        "type": "host-local", "ranges": ranges.collect::<Vec<_>>(), "routes": routes.collect::<Vec<_>>(),
    });
    let bridge = json!({
        "type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true, "ipam": addresses,
    });
    json!({"cniVersion": "1.0.0", "name": "pods", "plugins": [bridge]})
}

fn pod_ranges(host: u8) -> [String; 2] {
    [format!("10.244.{host}.0/24"), format!("fd00:10:244:{host}::/64")]
}
