//! Traefik on a node, as a DaemonSet in the host's network runs it: behind an address, with TLS, and with rights of its
//! own.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::{ControlPlane, POLL, READY, programs};
use crate::namespace::Namespace;
use crate::process::Process;
use crate::scratch::Scratch;

/// The ClusterRole that its documentation gives, and the binding.
pub(super) const RIGHTS: &str = include_str!("traefik/rights.yaml");
pub(super) const NAMESPACE: &str = "traefik";
pub(super) const ACCOUNT: &str = "traefik-ingress-controller";

/// A running Traefik; killed on drop.
#[derive(Debug)]
pub struct Traefik {
    process: Process,
    folder: Scratch,
}

impl ControlPlane {
    /// Applies the CRDs and the rights of Traefik.
    pub fn install_traefik(&self) -> Result<()> {
        let crds = programs::find("traefik-crds.yaml")?;
        let crds = crds.to_str().context("the testbed has no UTF-8 path")?;
        self.kubectl(&["apply", "--server-side", "--filename", crds])?;
        self.kubectl(&["wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"])?;
        self.apply(RIGHTS).map(drop)
    }
}

impl Traefik {
    /// The port for HTTP on every address of the node.
    pub const HTTP: u16 = 8000;
    /// The port for HTTPS.
    pub const HTTPS: u16 = 8443;

    /// Starts it on a node, and waits until it listens. It is installed: [`ControlPlane::install_traefik`].
    pub fn start(plane: &ControlPlane, machine: &Namespace) -> Result<Self> {
        let access = plane.service_account(NAMESPACE, ACCOUNT)?;
        let folder = Scratch::new("traefik")?;
        let mut command = machine.command(programs::find("traefik")?);
        command.arg(format!("--entrypoints.web.address=:{}", Self::HTTP));
        command.arg(format!("--entrypoints.websecure.address=:{}", Self::HTTPS));
        command.args(["--entrypoints.websecure.http.tls=true", "--providers.kubernetesingress=true"]);
        command.args(["--providers.kubernetescrd=true", "--accesslog=true", "--log.level=INFO"]);
        command.arg(format!("--accesslog.filepath={}", folder.join("access.log").display()));
        command.args(["--global.checknewversion=false", "--global.sendanonymoususage=false"]);
        command.env("KUBECONFIG", access.kubeconfig());
        let process = machine.spawn_command(&mut command, &folder.join("traefik.log"))?;
        let mut traefik = Self { process, folder };
        traefik.wait_until_it_listens(machine)?;
        Ok(traefik)
    }

    /// The process, to send signals to.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// The end of its log.
    pub fn tail(&self) -> String {
        self.process.tail()
    }

    /// A line for each request that it has answered; it begins with the address of who asked.
    pub fn access_log(&self) -> String {
        fs::read_to_string(self.folder.join("access.log")).unwrap_or_default()
    }

    fn wait_until_it_listens(&mut self, machine: &Namespace) -> Result<()> {
        let deadline = Instant::now() + READY;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, Self::HTTPS));
        let accepts =
            || machine.enter(|| Ok(TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()));
        while !accepts()? {
            let is_waiting = self.process.is_running() && Instant::now() < deadline;
            ensure!(is_waiting, "Traefik does not listen; its log ends:\n{}", self.tail());
            thread::sleep(POLL);
        }
        Ok(())
    }
}
