//! kubectl, as users run it.

use std::io::Write;
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::{Access, ControlPlane, programs};
use crate::run;

impl ControlPlane {
    /// Runs kubectl as admin to its end; its standard output. The error ends with what it wrote to standard error.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.kubectl_as(&self.admin, arguments)
    }

    /// As [`ControlPlane::kubectl`], as another user.
    pub fn kubectl_as(&self, access: &Access, arguments: &[&str]) -> Result<String> {
        run::output(self.kubectl_command(access)?.arg("--request-timeout=30s").args(arguments))
    }

    /// The command without arguments, to be run in the control plane's namespace, for example a watch in the
    /// background. Discovery is cached per control plane, because all of them have the same address.
    pub fn kubectl_command(&self, access: &Access) -> Result<Command> {
        let mut command = self.namespace.command(programs::find("kubectl")?);
        command.arg("--kubeconfig").arg(access.kubeconfig());
        command.arg("--cache-dir").arg(self.folder.join("kubectl"));
        command.env_remove("KUBECONFIG");
        Ok(command)
    }

    /// `kubectl apply` of YAML or JSON, as admin; what it says.
    pub fn apply(&self, manifests: &str) -> Result<String> {
        self.apply_as(&self.admin, manifests)
    }

    /// As [`ControlPlane::apply`], as another user.
    pub fn apply_as(&self, access: &Access, manifests: &str) -> Result<String> {
        self.feed(access, &["apply", "--filename=-"], manifests)
    }

    /// `kubectl ARGUMENTS` with `input` on its standard input.
    pub fn feed(&self, access: &Access, arguments: &[&str], input: &str) -> Result<String> {
        let mut command = self.kubectl_command(access)?;
        command.arg("--request-timeout=30s").args(arguments);
        let line = run::command_line(&command);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("cannot start `{line}`"))?;
        let mut stdin = child.stdin.take().with_context(|| format!("`{line}` has no standard input"))?;
        let output = thread::scope(|scope| {
            // A kubectl that fails early does not read everything; its own message is the better one.
            scope.spawn(move || drop(stdin.write_all(input.as_bytes())));
            child.wait_with_output()
        })?;
        if !output.status.success() {
            bail!(
                "`{line}` ended with {}: {}",
                output.status,
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// `kubectl get ARGUMENTS --output=json`.
    pub fn get(&self, arguments: &[&str]) -> Result<Value> {
        let text = self.kubectl(&[&["get", "--output=json"], arguments].concat())?;
        serde_json::from_str(&text)
            .with_context(|| format!("`kubectl get {}` printed no JSON", arguments.join(" ")))
    }

    /// A merge patch of the status: what a controller or a kubelet would report. `what` names the object, for
    /// example `["service", "web"]`.
    pub fn patch_status(&self, what: &[&str], status: &Value) -> Result<()> {
        let patch = serde_json::json!({ "status": status }).to_string();
        let how = ["--subresource=status", "--type=merge", "--patch", &patch];
        self.kubectl(&[&["patch"], what, &how].concat()).map(drop)
    }
}
