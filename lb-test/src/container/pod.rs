//! What a manifest says about the pods it makes, as far as a runtime is concerned.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use crate::rig::workspace;

/// The pods of a DaemonSet or a Deployment, which have one container.
#[derive(Clone, Debug)]
pub struct Pod {
    /// What the container runs with.
    pub container: Container,
    /// Its security context, the pod's where it says nothing itself.
    pub security: Security,
    /// The network is the node's.
    pub host_network: bool,
    pub(super) volumes: Vec<Volume>,
    /// Where a profile of the node's is: beside the manifest that names it.
    pub(super) folder: PathBuf,
}

/// A container of a pod.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Container {
    name: String,
    /// The image by its short name; a patch has none.
    #[serde(default)]
    pub image: String,
    /// What the image's program gets.
    #[serde(default)]
    pub args: Vec<String>,
    #[serde(default)]
    pub(super) env: Vec<Variable>,
    #[serde(default)]
    pub(super) resources: Resources,
    #[serde(default)]
    security_context: Security,
    #[serde(default)]
    pub(super) volume_mounts: Vec<Mount>,
}

/// An environment variable, with a value or with the place of one.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Variable {
    pub(super) name: String,
    #[serde(default)]
    pub(super) value: String,
    pub(super) value_from: Option<ValueFrom>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ValueFrom {
    pub(super) field_ref: FieldRef,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct FieldRef {
    pub(super) field_path: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Resources {
    #[serde(default)]
    pub(super) limits: Limits,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    pub(super) memory: Option<String>,
}

/// A security context, of a pod or a container.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Security {
    pub(super) run_as_non_root: Option<bool>,
    pub(super) run_as_user: Option<u32>,
    pub(super) run_as_group: Option<u32>,
    pub(super) allow_privilege_escalation: Option<bool>,
    pub(super) read_only_root_filesystem: Option<bool>,
    /// What system calls it may make.
    pub seccomp_profile: Option<Profile>,
    // Neither is on in the kernels that the tests run on.
    #[serde(rename = "appArmorProfile")]
    _app_armor: Option<Profile>,
    #[serde(rename = "seLinuxOptions")]
    _se_linux: Option<serde::de::IgnoredAny>,
    /// What it may do.
    pub capabilities: Option<Capabilities>,
}

/// A profile of seccomp or AppArmor.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Profile {
    /// Where it is from.
    pub r#type: Origin,
    /// Below the kubelet's folder.
    pub(super) localhost_profile: Option<PathBuf>,
}

/// Where a profile is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Origin {
    /// There is none.
    Unconfined,
    /// The runtime brings it.
    RuntimeDefault,
    /// A file of the node.
    Localhost,
}

/// Capabilities without `CAP_`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Capabilities {
    pub(super) drop: Vec<String>,
    /// Beyond none.
    #[serde(default)]
    pub add: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Mount {
    pub(super) name: String,
    #[serde(rename = "mountPath")]
    pub(super) target: String,
    #[serde(default)]
    pub(super) read_only: bool,
    #[serde(rename = "mountPropagation")]
    pub(super) propagation: Option<Propagation>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) enum Propagation {
    HostToContainer,
    Bidirectional,
    None,
}

/// A volume, whatever it is made of: the test says what stands for it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Volume {
    pub(super) name: String,
}

#[derive(Deserialize)]
struct Manifest {
    spec: ManifestSpec,
}

#[derive(Deserialize)]
struct ManifestSpec {
    template: Template,
}

#[derive(Deserialize)]
struct Template {
    spec: PodSpec,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodSpec {
    containers: Vec<Container>,
    #[serde(default)]
    volumes: Vec<Volume>,
    #[serde(default)]
    host_network: bool,
    #[serde(default)]
    security_context: Security,
}

impl Pod {
    /// What `file` below manifests says.
    pub fn of(file: &str) -> Result<Self> {
        let path = workspace().join("manifests").join(file);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let manifest: Manifest =
            serde_saphyr::from_str(&text).with_context(|| format!("cannot understand {}", path.display()))?;
        let PodSpec { mut containers, volumes, host_network, security_context } = manifest.spec.template.spec;
        let (Some(container), true) = (containers.pop(), containers.is_empty()) else {
            bail!("{} has not one container", path.display())
        };
        let security = container.security_context.clone().or(security_context);
        let folder = path.parent().map(PathBuf::from).unwrap_or_default();
        Ok(Self { container, security, host_network, volumes, folder })
    }

    /// The same with the security context that an overlay's `file` changes.
    pub fn secured_by(mut self, file: &str) -> Result<Self> {
        let patch = Self::of(file)?;
        ensure!(patch.container.name == self.container.name, "{file} is of {}", patch.container.name);
        self.security = patch.security.or(self.security);
        self.folder = patch.folder;
        Ok(self)
    }

    /// The same with other arguments.
    #[must_use]
    pub fn with_args(mut self, args: &[&str]) -> Self {
        self.container.args = args.iter().map(ToString::to_string).collect();
        self
    }

    /// The same with further arguments.
    #[must_use]
    pub fn and_args(mut self, args: &[&str]) -> Self {
        self.container.args.extend(args.iter().map(ToString::to_string));
        self
    }
}

impl Security {
    /// What a pod says counts where its container says nothing.
    fn or(self, pod: Self) -> Self {
        Self {
            run_as_non_root: self.run_as_non_root.or(pod.run_as_non_root),
            run_as_user: self.run_as_user.or(pod.run_as_user),
            run_as_group: self.run_as_group.or(pod.run_as_group),
            allow_privilege_escalation: self.allow_privilege_escalation.or(pod.allow_privilege_escalation),
            read_only_root_filesystem: self.read_only_root_filesystem.or(pod.read_only_root_filesystem),
            seccomp_profile: self.seccomp_profile.or(pod.seccomp_profile),
            capabilities: self.capabilities.or(pod.capabilities),
            ..self
        }
    }
}
