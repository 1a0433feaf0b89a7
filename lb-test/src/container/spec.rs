//! What a pod and an image make together for runc: `config.json` (OCI runtime specification), as containerd's CRI plugin
//! writes it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::image::Content;
use super::pod::{Mount, Origin, Pod, Propagation, Security};
use crate::namespace::Namespace;

/// What a node has for a pod.
#[derive(Debug)]
pub struct Rooms {
    /// The network of the pod: the node's, when the manifest says so, or else its own. One with a name, by which a later
    /// test finds the container when this one is killed.
    pub network: Namespace,
    /// What stands for each volume.
    pub volumes: BTreeMap<&'static str, PathBuf>,
    /// What each field of a pod is that an environment variable takes its value from.
    pub fields: BTreeMap<&'static str, String>,
    /// Variables that a kubelet sets, whatever the manifest says.
    pub variables: BTreeMap<&'static str, &'static str>,
    /// Folders that are mounted beside the volumes, read-only: by a kubelet, or by the test.
    pub beside: BTreeMap<&'static str, PathBuf>,
}

/// `config.json` of the container `id`.
pub(super) fn config(id: &str, image: &Content, pod: &Pod, rooms: &Rooms) -> Result<Value> {
    let security = &pod.security;
    let mut linux = json!({
        "cgroupsPath": format!("/{id}"),
        "namespaces": namespaces(rooms),
        "resources": {"devices": [{"allow": false, "access": "rwm"}], "memory": memory(pod)?},
        "maskedPaths": [
            "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
            "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware",
        ],
        "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
    });
    if let Some(profile) = seccomp(pod)? {
        linux["seccomp"] = profile;
    }
    Ok(json!({
        "ociVersion": "1.0.2",
        "root": {"path": "rootfs", "readonly": security.read_only_root_filesystem == Some(true)},
        "process": process(image, pod, rooms)?,
        "hostname": "container",
        "mounts": mounts(pod, rooms)?,
        "linux": linux,
    }))
}

fn process(image: &Content, pod: &Pod, rooms: &Rooms) -> Result<Value> {
    let security = &pod.security;
    let (user, group) = identity(image, security)?;
    let capabilities = capabilities(security)?;
    let environment = environment(pod, rooms)?;
    let arguments = pod.container.args.iter().map(|text| expand(text, &environment));
    Ok(json!({
        "user": {"uid": user, "gid": group},
        "args": image.config.entrypoint.iter().cloned().chain(arguments).collect::<Vec<_>>(),
        "env": environment.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>(),
        "cwd": image.config.working_dir,
        // Nothing is ambient, so that only root has the effective ones.
        "capabilities": {"bounding": capabilities, "effective": capabilities, "permitted": capabilities},
        "noNewPrivileges": security.allow_privilege_escalation == Some(false),
    }))
}

fn identity(image: &Content, security: &Security) -> Result<(u32, u32)> {
    let own = image.config.user.split_once(':').context("the image names no user and group")?;
    let (user, group) = match security.run_as_user {
        // The image has no /etc/passwd that could say more.
        Some(user) => (user, security.run_as_group.unwrap_or(0)),
        None => (own.0.parse()?, own.1.parse()?),
    };
    ensure!(security.run_as_non_root != Some(true) || user != 0, "a kubelet refuses root here");
    Ok((user, group))
}

fn capabilities(security: &Security) -> Result<Vec<String>> {
    let named =
        security.capabilities.as_ref().context("no capabilities are named: the runtime's would be added")?;
    ensure!(named.drop == ["ALL"], "only `drop: [ALL]` is understood, not {:?}", named.drop);
    Ok(named.add.iter().map(|name| format!("CAP_{name}")).collect())
}

fn environment(pod: &Pod, rooms: &Rooms) -> Result<BTreeMap<String, String>> {
    let variables = pod.container.env.iter().map(|variable| {
        let value = match &variable.value_from {
            Some(from) => {
                let field = from.field_ref.field_path.as_str();
                rooms.fields.get(field).with_context(|| format!("nothing stands for {field}"))?
            }
            None => &variable.value,
        };
        Ok((variable.name.clone(), value.clone()))
    });
    let own = rooms.variables.iter().map(|(name, value)| Ok(((*name).to_owned(), (*value).to_owned())));
    own.chain(variables).collect()
}

/// `$(NAME)` as a kubelet replaces it.
fn expand(text: &str, environment: &BTreeMap<String, String>) -> String {
    environment.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("$({name})"), value))
}

fn namespaces(rooms: &Rooms) -> Vec<Value> {
    let network = json!({"type": "network", "path": format!("/run/netns/{}", rooms.network.name())});
    let own = ["pid", "ipc", "uts", "mount"].map(|kind| json!({"type": kind}));
    own.into_iter().chain([network]).collect()
}

fn memory(pod: &Pod) -> Result<Value> {
    let Some(limit) = &pod.container.resources.limits.memory else { return Ok(json!({})) };
    let mebibytes = limit.strip_suffix("Mi").with_context(|| format!("a memory limit of {limit}"))?;
    Ok(json!({"limit": mebibytes.parse::<u64>()? << 20}))
}

/// A profile of the node's, where the manifests have it. The runtime's default is not runc's to know, so without
/// containerd there is none in its place.
fn seccomp(pod: &Pod) -> Result<Option<Value>> {
    let profile = pod.security.seccomp_profile.as_ref().context("no seccomp profile is named")?;
    match profile.r#type {
        Origin::RuntimeDefault | Origin::Unconfined => return Ok(None),
        Origin::Localhost => {}
    }
    let name = profile.localhost_profile.as_deref().and_then(Path::file_name).context("no profile's name")?;
    let file = pod.folder.join(name);
    let text = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(Some(serde_json::from_slice(&text).with_context(|| format!("cannot read {}", file.display()))?))
}

fn mounts(pod: &Pod, rooms: &Rooms) -> Result<Vec<Value>> {
    let of_system = [
        ("/proc", "proc", &["nosuid", "noexec", "nodev"][..]),
        ("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        ("/dev/pts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
        ("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        ("/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
        ("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
    ];
    let mut mounts: Vec<_> = of_system
        .iter()
        .map(|(target, kind, options)| {
            json!({"destination": target, "type": kind, "source": kind, "options": options})
        })
        .collect();
    for mount in &pod.container.volume_mounts {
        ensure!(pod.volumes.iter().any(|volume| volume.name == mount.name), "no volume {}", mount.name);
        let source = rooms.volumes.get(mount.name.as_str());
        let source = source.with_context(|| format!("nothing stands for the volume {}", mount.name))?;
        mounts.push(bind(source, &mount.target, &options(mount)));
    }
    mounts.extend(rooms.beside.iter().map(|(target, source)| bind(source, target, &["ro", "rprivate"])));
    Ok(mounts)
}

fn options(mount: &Mount) -> [&'static str; 2] {
    let propagation = match mount.propagation {
        Some(Propagation::HostToContainer) => "rslave",
        Some(Propagation::Bidirectional) => "rshared",
        Some(Propagation::None) | None => "rprivate",
    };
    [if mount.read_only { "ro" } else { "rw" }, propagation]
}

fn bind(source: &Path, target: &str, options: &[&str]) -> Value {
    let options: Vec<_> = ["rbind"].iter().chain(options).collect();
    json!({"destination": target, "type": "bind", "source": source, "options": options})
}
