//! kube-controller-manager and kube-scheduler, on the machine of the control plane.

use anyhow::Result;

use crate::cluster::access::{self, Fixed};
use crate::cluster::{Access, ControlPlane, programs};
use crate::process::Process;
use crate::scratch::Scratch;

/// Both of them; killed on drop.
#[derive(Debug)]
pub(super) struct Managers {
    manager: Process,
    scheduler: Process,
    _folder: Scratch,
}

impl Managers {
    pub(super) fn start(plane: &ControlPlane) -> Result<Self> {
        let folder = Scratch::new("managers")?;
        let certificates = plane.folder.join("certificates");
        let file = |option: &str, name: &str| format!("--{option}={}", certificates.join(name).display());
        let of_manager = [
            // Those of the API server: tokens by the one, and the authority that pods trust by the other.
            file("service-account-private-key-file", "apiserver.key"),
            file("root-ca-file", "apiserver.crt"),
        ];
        let manager =
            start(plane, &folder, "kube-controller-manager", &access::CONTROLLER_MANAGER, &of_manager)?;
        let scheduler = start(plane, &folder, "kube-scheduler", &access::SCHEDULER, &[])?;
        Ok(Self { manager, scheduler, _folder: folder })
    }

    /// The ends of their logs.
    pub(super) fn tail(&self) -> String {
        format!(
            "kube-controller-manager:\n{}\nkube-scheduler:\n{}",
            self.manager.tail(),
            self.scheduler.tail()
        )
    }
}

fn start(
    plane: &ControlPlane,
    folder: &Scratch,
    name: &str,
    who: &Fixed,
    more: &[String],
) -> Result<Process> {
    let access = Access::fixed(&plane.folder, plane.options.address, who)?;
    let mut command = plane.namespace().command(programs::find(name)?);
    command.arg("--kubeconfig").arg(access.kubeconfig()).arg("--leader-elect=false").args(more);
    plane.namespace().spawn_command(&mut command, &folder.join(format!("{name}.log")))
}
