//! A real control plane: etcd and kube-apiserver in a network namespace, kubectl, and kube-proxy on nodes.
//!
//! ```text
//!   control plane               node-a                 client
//!   192.0.2.2, 2001:db8::2      192.0.2.11 …           192.0.2.10 …
//!   kube-apiserver :6443        kube-proxy, web        fetches
//!   etcd (loopback)             eth0                   eth0
//!     |                           |                      |
//!   ───────────────────────────── br0 ─────────────────────      switch
//! ```
//!
//! [`Site`] is all of that with a controller and agents. [`ControlPlane::start`] has a namespace of its own and no
//! cable, which is enough for a controller: run it in [`ControlPlane::namespace`]. With nodes, [`Network`] is the switch
//! and the control plane is one of its machines.
//!
//! Nothing creates what a controller manager would: no endpoints from selectors, no default ServiceAccounts. That
//! is on purpose: every object there is was made by the test or by the program under test. [`PodSite`] is the other way: a
//! whole Kubernetes, whose kubelets run controller and agents in pods.
//!
//! The API server is what users run: RBAC, TLS, tokens bound to ServiceAccounts. [`Access`] is a kubeconfig for one
//! user; the audit log ([`AuditLog`]) says who wrote what.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::namespace::Namespace;
use crate::process::{END, Process, last_lines};
use crate::scratch::Scratch;

pub use self::access::Access;
pub use self::agents::{NodeAgent, NodeFiles};
pub use self::audit::{AuditLog, Request};
pub use self::certificate::Certificate;
pub use self::controller::Controller;
pub use self::image::CAPABILITIES;
pub use self::network::{Families, Network};
pub use self::pod_site::{PodSite, Running, Worker};
pub use self::programs::find as program;
pub use self::proxy::KubeProxy;
pub(crate) use self::site::order_of;
pub use self::site::{Machine, Site, SiteOptions};
pub use self::traefik::Traefik;

mod access;
mod agents;
mod audit;
mod certificate;
mod controller;
mod image;
mod kubectl;
pub mod manifests;
mod metallb;
mod network;
mod node;
mod pod_site;
mod pods;
mod programs;
mod proxy;
mod server;
pub mod services;
pub mod show;
mod site;
mod traefik;

/// Where the API server listens.
const PORT: u16 = 6443;
const POLL: Duration = Duration::from_millis(20);
/// Twenty times of what a start takes on an idle machine: tests share theirs with builds.
const READY: Duration = Duration::from_mins(2);

/// One of the two programs of a control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Component {
    /// The store.
    Etcd,
    /// kube-apiserver.
    ApiServer,
}

impl Component {
    const fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::ApiServer => "kube-apiserver",
        }
    }
}

/// How a control plane is made.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it runs, with `address` on an interface; `None` makes a namespace with the address on its loopback.
    pub namespace: Option<Namespace>,
    /// The address it is reached by; of the family of the first Service range.
    pub address: IpAddr,
    /// `--service-cluster-ip-range`.
    pub service_ranges: String,
    /// A controller manager and kubelets will come, so nothing is switched off that waits for them.
    pub kubelets: bool,
    /// Further arguments of kube-apiserver; they win over ours.
    pub arguments: Vec<String>,
}

impl Default for Options {
    /// Dual stack, in a namespace of its own.
    fn default() -> Self {
        Self {
            namespace: None,
            address: Ipv4Addr::new(192, 0, 2, 2).into(),
            service_ranges: "10.96.0.0/16,fd00:10:96::/112".to_owned(),
            kubelets: false,
            arguments: Vec::new(),
        }
    }
}

impl Options {
    /// A port of the loopback of the family that the control plane is reached by.
    fn loopback(&self, port: u16) -> SocketAddr {
        match self.address {
            IpAddr::V4(_) => (Ipv4Addr::LOCALHOST, port).into(),
            IpAddr::V6(_) => (Ipv6Addr::LOCALHOST, port).into(),
        }
    }
}

/// A running control plane; dropping it ends both programs and removes their data.
#[derive(Debug)]
pub struct ControlPlane {
    etcd: Option<Process>,
    api: Option<Process>,
    admin: Access,
    options: Options,
    namespace: Namespace,
    // Removed last: the programs write there to their end.
    folder: Scratch,
}

impl ControlPlane {
    /// A ready control plane in a namespace of its own.
    pub fn start() -> Result<Self> {
        Self::start_with(Options::default())
    }

    /// A ready control plane made as `options` say.
    pub fn start_with(options: Options) -> Result<Self> {
        // A controller, which is not root, reads what is written here, whatever mask the user has.
        // SAFETY: it changes the mask of this process and nothing else.
        unsafe { libc::umask(0o022) };
        let namespace = match &options.namespace {
            Some(namespace) => namespace.clone(),
            None => alone(options.address)?,
        };
        let folder = Scratch::new("control-plane")?;
        for name in ["certificates", "kubectl", "kubeconfig"] {
            fs::create_dir_all(folder.join(name))?;
        }
        access::write_tokens(&folder)?;
        let admin = Access::fixed(&folder, options.address, &access::ADMIN)?;
        let mut plane = Self { etcd: None, api: None, admin, options, namespace, folder };
        plane.launch(Component::Etcd)?;
        plane.launch(Component::ApiServer)?;
        plane.wait_ready()?;
        Ok(plane)
    }

    /// Where both programs run.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// The address of the API server.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((self.options.address, PORT))
    }

    /// A kubeconfig for the group `system:masters`.
    pub fn admin(&self) -> &Access {
        &self.admin
    }

    /// Sends SIGTERM and waits for its end.
    pub fn terminate(&mut self, component: Component) -> Result<()> {
        let process = self.running(component)?;
        process.term()?;
        ensure!(process.wait(END)?.is_some(), "{} ignores SIGTERM for {END:?}", component.name());
        *self.slot(component) = None;
        Ok(())
    }

    /// Sends SIGKILL and waits for its end.
    pub fn kill(&mut self, component: Component) -> Result<()> {
        self.running(component)?.kill()?;
        *self.slot(component) = None;
        Ok(())
    }

    /// Freezes it: connections stay, nothing is answered.
    pub fn freeze(&mut self, component: Component) -> Result<()> {
        self.running(component)?.stop()
    }

    /// Lets a frozen one go on.
    pub fn thaw(&mut self, component: Component) -> Result<()> {
        self.running(component)?.cont()
    }

    /// Starts again what was ended, on the same data, and waits until the API server is ready, unless the other
    /// component is still away.
    pub fn restart(&mut self, component: Component) -> Result<()> {
        self.launch(component)?;
        if self.etcd.is_some() && self.api.is_some() { self.wait_ready() } else { Ok(()) }
    }

    /// Process id, for memory and CPU time in `/proc`.
    pub fn pid(&mut self, component: Component) -> Result<u32> {
        Ok(self.running(component)?.pid())
    }

    /// What it has logged.
    pub fn log(&self, component: Component) -> String {
        fs::read_to_string(self.log_file(component)).unwrap_or_default()
    }

    /// Waits until `/readyz` is well, which includes the connection to etcd.
    pub fn wait_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + READY;
        while !(self.accepts()? && self.kubectl(&["get", "--raw=/readyz", "--request-timeout=5s"]).is_ok()) {
            for component in [Component::Etcd, Component::ApiServer] {
                if let Some(status) = self.running(component)?.wait(Duration::ZERO)? {
                    bail!(
                        "{} ended with {status}; its log ends:\n{}",
                        component.name(),
                        self.tail(component)
                    );
                }
            }
            ensure!(
                Instant::now() < deadline,
                "the API server is not ready after {READY:?}; its log ends:\n{}",
                self.tail(Component::ApiServer)
            );
            thread::sleep(POLL);
        }
        Ok(())
    }

    /// Waits until `look` finds something; the error says what was `missing` and the last failure of `look`.
    pub fn wait_for<T>(
        &self,
        limit: Duration,
        missing: &str,
        mut look: impl FnMut(&Self) -> Result<Option<T>>,
    ) -> Result<T> {
        let deadline = Instant::now() + limit;
        loop {
            let seen = look(self);
            if let Ok(Some(found)) = seen {
                return Ok(found);
            }
            if Instant::now() >= deadline {
                let why = seen.err().map_or_else(String::new, |error| format!(": {error:#}"));
                bail!("{missing} after {limit:?}{why}");
            }
            thread::sleep(POLL);
        }
    }

    fn launch(&mut self, component: Component) -> Result<()> {
        ensure!(self.slot(component).is_none(), "{} runs already", component.name());
        let program = programs::find(component.name())?;
        let mut command = self.namespace.command(program);
        match component {
            Component::Etcd => command.args(server::etcd(&self.folder, &self.options)),
            Component::ApiServer => command.args(server::api(&self.folder, &self.options)),
        };
        let process = self.namespace.spawn_command(&mut command, &self.log_file(component))?;
        *self.slot(component) = Some(process);
        Ok(())
    }

    fn slot(&mut self, component: Component) -> &mut Option<Process> {
        match component {
            Component::Etcd => &mut self.etcd,
            Component::ApiServer => &mut self.api,
        }
    }

    fn running(&mut self, component: Component) -> Result<&mut Process> {
        self.slot(component).as_mut().with_context(|| format!("{} was ended by this test", component.name()))
    }

    /// Cheaper than to start kubectl.
    fn accepts(&self) -> Result<bool> {
        let address = self.address();
        self.namespace.enter(|| Ok(TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()))
    }

    fn log_file(&self, component: Component) -> PathBuf {
        self.folder.join(format!("{}.log", component.name()))
    }

    fn tail(&self, component: Component) -> String {
        last_lines(&self.log(component))
    }
}

/// The API server refuses to be advertised by a loopback address, so the loopback gets one that is none.
fn alone(address: IpAddr) -> Result<Namespace> {
    let namespace = Namespace::new("control-plane")?;
    namespace.ip(&["address", "add", &address.to_string(), "dev", "lo"])?;
    Ok(namespace)
}
