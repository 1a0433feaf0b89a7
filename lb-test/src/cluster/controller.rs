//! `barelb controller`, under the rights of manifests/base and no others.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::image::Image;
use super::{Access, ControlPlane, POLL, READY, programs};
use crate::pages::Pages;
use crate::process::Process;
use crate::rig::workspace;
use crate::scratch::Scratch;

/// Where MetalLB's objects are.
pub(super) const NAMESPACE: &str = "metallb-system";
/// First port of `--metrics-addr`; each replica has one of its own.
const METRICS: u16 = 7472;

impl ControlPlane {
    /// Applies manifests/base, as a user does it. Nothing starts the pods of its Deployment here.
    pub fn install(&self) -> Result<()> {
        self.apply_base(&["apply", "--server-side"])
    }

    /// The same where `MetalLB`'s CRDs are, which ours replace.
    pub fn install_over_metallbs_crds(&self) -> Result<()> {
        self.apply_base(&["apply", "--server-side", "--force-conflicts"])
    }

    fn apply_base(&self, how: &[&str]) -> Result<()> {
        let base = workspace().join("manifests/base");
        let base = base.to_str().context("the workspace has no UTF-8 path")?;
        self.kubectl(&[how, &["--kustomize", base]].concat())?;
        self.wait_for_crds()
    }

    /// Applies `MetalLB`'s own CRDs, and of manifests/base all but the CRDs.
    pub fn install_with_metallbs_crds(&self) -> Result<()> {
        // kubectl takes a link for a file.
        let crds = programs::find("metallb-crds")?.canonicalize()?;
        self.kubectl(&["apply", "--filename", crds.to_str().context("the testbed has no UTF-8 path")?])?;
        self.wait_for_crds()?;
        let base = workspace().join("manifests/base");
        for part in ["namespace.yaml", "controller/serviceaccount.yaml", "controller/rbac.yaml"] {
            let file = base.join(part);
            let file = file.to_str().context("the workspace has no UTF-8 path")?;
            self.kubectl(&["apply", "--server-side", "--filename", file])?;
        }
        Ok(())
    }

    /// The account of the Deployment.
    pub fn controller_account(&self) -> Result<Access> {
        self.service_account(NAMESPACE, "barelb-controller")
    }
}

/// A replica of the controller; killed on drop.
#[derive(Debug)]
pub struct Controller {
    process: Process,
    pages: Pages,
    _folder: Scratch,
    _image: Image,
}

impl Controller {
    /// Starts the replica of this number on the machine of the control plane, with further arguments. The manifests
    /// are installed: [`ControlPlane::install`].
    pub fn start(plane: &ControlPlane, replica: u16, arguments: &[&str]) -> Result<Self> {
        Self::start_as(plane, &plane.controller_account()?, replica, arguments)
    }

    /// As [`Controller::start`], as another account.
    pub fn start_as(plane: &ControlPlane, access: &Access, replica: u16, arguments: &[&str]) -> Result<Self> {
        let folder = Scratch::new("controller")?;
        let pages = Pages::new(plane.namespace(), plane.options.loopback(METRICS + replica));
        let image = Image::new()?;
        let mut command = image.controller(plane.namespace());
        command.arg("--kubeconfig").arg(access.kubeconfig());
        command.args(pages.flag()).args(["--log", "lb_userspace=debug,info"]);
        command.args(arguments).env("POD_NAME", format!("barelb-controller-{replica}"));
        let process = plane.namespace().spawn_command(&mut command, &folder.join("controller.log"))?;
        Ok(Self { process, pages, _folder: folder, _image: image })
    }

    /// The process, to send signals to.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Ends it in order, and waits.
    pub fn stop(mut self) -> Result<()> {
        self.process.end()
    }

    /// Waits until it has listed everything.
    pub fn wait_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + READY;
        while self.page("/readyz").is_err() {
            ensure!(
                self.process.is_running() && Instant::now() < deadline,
                "the controller is not ready; its log ends:\n{}",
                self.tail()
            );
            thread::sleep(POLL);
        }
        Ok(())
    }

    /// Where it answers, inside the namespace of the control plane.
    pub fn pages(&self) -> &Pages {
        &self.pages
    }

    /// What it answers at `/metrics`, `/livez` or `/readyz`; an error if that is no success.
    pub fn page(&self, path: &str) -> Result<String> {
        self.pages.get(path)
    }

    /// The value of a metric, by its name with labels as the page has it.
    pub fn metric(&self, name: &str) -> Result<f64> {
        self.pages.metric(name)
    }

    /// Resident memory now and at most, in bytes.
    pub fn memory(&self) -> Result<[u64; 2]> {
        let file = PathBuf::from(format!("/proc/{}/status", self.process.pid()));
        let text = fs::read_to_string(&file).context("the controller has ended")?;
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|line| line.split_whitespace().next());
            anyhow::Ok(number.with_context(|| format!("no {name}"))?.parse::<u64>()? * 1024)
        };
        Ok([field("VmRSS:")?, field("VmHWM:")?])
    }

    /// The end of its log.
    pub fn tail(&self) -> String {
        self.process.tail()
    }

    /// Time it is given for anything: many times of what it needs.
    pub const PATIENCE: Duration = READY;
}
