//! What stands beside manifests/base, overlays, policy, removal and the chart, is complete and of one version, as far as that
//! can be seen without a cluster.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser;
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::Container;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use lb_userspace::cli::{Cli, Command};
use serde::de::DeserializeOwned;
use serde_json::Value;

const VERSION: &str = env!("CARGO_PKG_VERSION");

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read<T: DeserializeOwned>(file: &str) -> T {
    let text = fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

fn folders() -> Vec<String> {
    let overlays = fs::read_dir(root().join("manifests/overlays")).unwrap();
    let names = overlays.map(|entry| format!("overlays/{}", entry.unwrap().file_name().to_str().unwrap()));
    names.chain(["policy", "uninstall"].map(str::to_owned)).collect()
}

#[test]
fn each_kustomization_names_its_files() {
    for folder in folders() {
        let kustomization: Value = read(&format!("manifests/{folder}/kustomization.yaml"));
        let list = |key: &str| kustomization[key].as_array().cloned().unwrap_or_default();
        let patches = list("patches").into_iter().map(|patch| patch["path"].clone());
        let named: BTreeSet<_> = list("resources")
            .into_iter()
            .chain(patches)
            .filter_map(|name| Some(name.as_str()?.to_owned()))
            .collect();
        let entries = fs::read_dir(root().join("manifests").join(&folder)).unwrap();
        let mut expected: BTreeSet<_> =
            entries.map(|entry| entry.unwrap().file_name().to_str().unwrap().to_owned()).collect();
        // What is for the nodes and not for the cluster.
        for other in ["kustomization.yaml", "barelb-agent.json", "config.yaml.d"] {
            expected.remove(other);
        }
        if folder.starts_with("overlays/") {
            expected.insert("../../base".to_owned());
        }
        assert_eq!(named, expected, "{folder}");
    }
}

#[test]
fn every_manifest_and_the_chart_are_of_this_version() {
    let mut images = 0;
    for file in files(&root().join("manifests")) {
        let text = fs::read_to_string(&file).unwrap();
        for line in text.lines().filter_map(|line| line.trim().strip_prefix("image: ")) {
            assert_eq!(line, format!("barelb:{VERSION}"), "{}", file.display());
            images += 1;
        }
    }
    assert_eq!(images, 5, "controller, agent, its profile, and twice the removal");
    let chart: Value = read("charts/barelb/Chart.yaml");
    assert_eq!((&chart["version"], &chart["appVersion"]), (&VERSION.into(), &VERSION.into()));
}

/// A value without a word in the schema could be anything, one without a default is known to nobody.
#[test]
fn the_schema_knows_every_value_and_no_others() {
    let schema: Value = read("charts/barelb/values.schema.json");
    let values: Value = read("charts/barelb/values.yaml");
    known(&schema, &values, "");
}

fn known(schema: &Value, values: &Value, place: &str) {
    let Some(properties) = schema["properties"].as_object() else { return };
    assert_eq!(schema["additionalProperties"], false, "{place}");
    let mut known_ones: BTreeSet<_> = properties.keys().collect();
    if place.is_empty() {
        known_ones.remove(&"global".to_owned());
    }
    let there: BTreeSet<_> = values.as_object().unwrap().keys().collect();
    assert_eq!(known_ones, there, "{place}");
    for (key, value) in values.as_object().unwrap() {
        known(&properties[key], value, &format!("{place}/{key}"));
    }
}

/// The arguments of a container are a command line of this version.
fn command(container: &Container) -> Command {
    let arguments = container.args.clone().unwrap();
    Cli::try_parse_from(["barelb".to_owned()].into_iter().chain(arguments)).unwrap().command
}

#[test]
fn the_profile_is_written_where_the_container_asks_for_it() {
    let patch: DaemonSet = read("manifests/overlays/seccomp/agent.yaml");
    let pod = patch.spec.unwrap().template.spec.unwrap();
    let init = &pod.init_containers.unwrap()[0];
    assert!(matches!(command(init), Command::Seccomp(_)));
    let output = init.args.as_ref().unwrap().iter().find_map(|one| one.strip_prefix("--output=")).unwrap();
    let security = pod.containers[0].security_context.clone().unwrap();
    let profile = security.seccomp_profile.unwrap().localhost_profile.unwrap();
    assert_eq!(output, format!("/var/lib/kubelet/seccomp/{profile}"));
    let mount = &init.volume_mounts.as_ref().unwrap()[0];
    let volume = &pod.volumes.as_ref().unwrap()[0];
    let folder = Path::new(output).parent().unwrap().to_str().unwrap();
    assert_eq!((mount.mount_path.as_str(), &mount.name), (folder, &volume.name));
    assert_eq!(volume.host_path.as_ref().unwrap().path, folder);
    // It writes one file, and has no other power over the node.
    let capabilities = init.security_context.as_ref().unwrap().capabilities.clone().unwrap();
    assert_eq!((capabilities.drop, capabilities.add), (Some(vec!["ALL".to_owned()]), None));
    assert!(
        root().join("manifests/overlays/seccomp").join(Path::new(&profile).file_name().unwrap()).is_file()
    );
}

#[test]
fn the_removal_ends_before_its_pod_is_ready_and_asks_for_no_more_than_the_agent_had() {
    let daemon_set: DaemonSet = read("manifests/uninstall/daemonset.yaml");
    let agent: DaemonSet = read("manifests/base/agent/daemonset.yaml");
    let pods = [daemon_set, agent].map(|set| set.spec.unwrap().template.spec.unwrap());
    let init = &pods[0].init_containers.as_ref().unwrap()[0];
    for container in [init, &pods[0].containers[0]] {
        let Command::Detach(detach) = command(container) else { panic!("another verb") };
        let waits = format!("{detach:?}").contains("wait: true");
        assert_eq!(waits, container.name == "wait", "{detach:?}");
    }
    let powers = [init, &pods[1].containers[0]].map(|container| {
        let capabilities = container.security_context.clone().unwrap().capabilities.unwrap();
        assert_eq!(capabilities.drop, Some(vec!["ALL".to_owned()]));
        capabilities.add.unwrap().into_iter().collect::<BTreeSet<_>>()
    });
    assert!(powers[0].is_subset(&powers[1]) && powers[0] != powers[1], "{powers:?}");
    // On every node that an agent was on, with the same pins.
    assert_eq!(pods[0].tolerations, pods[1].tolerations);
    assert_eq!(pods[0].node_selector, pods[1].node_selector);
    assert_eq!((pods[0].host_network, pods[1].host_network), (Some(true), Some(true)));
    assert!(pods[1].volumes.as_ref().unwrap().contains(&pods[0].volumes.as_ref().unwrap()[0]));
}

#[test]
fn a_drain_takes_one_replica_and_a_single_one_holds_up_none() {
    let budget: PodDisruptionBudget = read("manifests/base/controller/poddisruptionbudget.yaml");
    let spec = budget.spec.unwrap();
    assert_eq!((spec.max_unavailable, spec.min_available), (Some(IntOrString::Int(1)), None));
    assert_eq!(spec.unhealthy_pod_eviction_policy.as_deref(), Some("AlwaysAllow"));
}

#[test]
fn the_controller_is_reached_at_its_metrics_and_reaches_api_servers() {
    let policy: NetworkPolicy = read("manifests/base/controller/networkpolicy.yaml");
    let spec = policy.spec.unwrap();
    assert_eq!(spec.policy_types.unwrap(), ["Ingress", "Egress"]);
    let (ingress, egress) = (spec.ingress.unwrap(), spec.egress.unwrap());
    assert_eq!((ingress.len(), egress.len()), (1, 1));
    let ports = |ports: Option<Vec<_>>| {
        let ports = ports.unwrap().into_iter();
        ports
            .map(|port: k8s_openapi::api::networking::v1::NetworkPolicyPort| {
                assert_eq!(port.protocol.as_deref(), Some("TCP"));
                port.port.unwrap()
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(ports(ingress[0].ports.clone()), [IntOrString::String("metrics".to_owned())]);
    let egress = ports(egress[0].ports.clone());
    assert!(egress.contains(&IntOrString::Int(443)) && egress.contains(&IntOrString::Int(6443)));
    assert!(spec.pod_selector.unwrap().match_labels.unwrap().values().any(|value| value == "controller"));
}
