//! The manifests in manifests/base mean what they are to mean, as far as that can be seen without a cluster.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Parser;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::core::v1::{Container, EnvVar, Namespace, PodSpec, Probe, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use lb_userspace::cli::{Cli, Command};
use lb_userspace::controller::leader::LEASE_NAME;
use lb_userspace::source::kubernetes::Kind;
use lb_userspace::telemetry::endpoint;
use serde::de::DeserializeOwned;
use serde_json::Value;

const NAMESPACE: &str = "metallb-system";
const COMPONENTS: [&str; 2] = ["controller", "agent"];

fn name(component: &str) -> String {
    format!("barelb-{component}")
}

fn rbac(component: &str) -> String {
    format!("{component}/rbac.yaml")
}

fn base() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../manifests/base")
}

fn text(path: &str) -> String {
    fs::read_to_string(base().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The documents of a file.
fn documents(path: &str) -> Vec<Value> {
    text(path).split("\n---\n").map(|document| serde_saphyr::from_str(document).unwrap()).collect()
}

/// The one object of a kind in a file. A field that the type does not have is an error, as it is to `kubectl apply`.
fn object<T: DeserializeOwned>(path: &str, kind: &str) -> T {
    let mut of_kind = documents(path).into_iter().filter(|document| document["kind"] == kind);
    let (document, more) = (of_kind.next().unwrap(), of_kind.next());
    assert!(more.is_none(), "{path} has two of kind {kind}");
    let mut unknown = Vec::new();
    let object = serde_ignored::deserialize(document, |field| unknown.push(field.to_string()));
    // Of every object both are read before its type is known.
    unknown.retain(|field| field != "apiVersion" && field != "kind");
    assert_eq!(unknown, [""; 0], "unknown fields of {kind} in {path}");
    object.unwrap_or_else(|error| panic!("{kind} in {path}: {error}"))
}

fn only<T>(items: Vec<T>) -> T {
    assert_eq!(items.len(), 1);
    items.into_iter().next().unwrap()
}

/// A rule in one line: group, resource, names that it is limited to, verbs.
fn lines(rules: &[PolicyRule]) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for rule in rules {
        assert_eq!(rule.non_resource_urls, None);
        let names = rule.resource_names.clone().unwrap_or_default().join(",");
        for group in rule.api_groups.iter().flatten() {
            for resource in rule.resources.iter().flatten() {
                let line = format!("{group}/{resource} [{names}] {}", rule.verbs.join(","));
                assert!(lines.insert(line.clone()), "{line} is there twice");
            }
        }
    }
    lines
}

fn cluster_rules(component: &str) -> Vec<PolicyRule> {
    let role: ClusterRole = object(&rbac(component), "ClusterRole");
    assert_eq!((role.metadata.name, role.aggregation_rule), (Some(name(component)), None));
    role.rules.unwrap()
}

fn rules(component: &str) -> Vec<PolicyRule> {
    let role: Role = object(&rbac(component), "Role");
    let place = (role.metadata.name, role.metadata.namespace.as_deref());
    assert_eq!(place, (Some(name(component)), Some(NAMESPACE)));
    role.rules.unwrap()
}

fn all_rules(component: &str) -> Vec<PolicyRule> {
    [cluster_rules(component), rules(component)].concat()
}

#[test]
fn the_controller_may_do_this_and_nothing_else() {
    let in_the_cluster = [
        "/services [] list,watch",
        "/services/status [] patch",
        "/namespaces [] list,watch",
        "/nodes [] list,watch",
        "events.k8s.io/events [] create",
    ];
    let in_its_namespace = [
        "metallb.io/ipaddresspools [] list,watch",
        "metallb.io/l2advertisements [] list,watch",
        "metallb.io/bgppeers [] list,watch",
        "metallb.io/bgpadvertisements [] list,watch",
        "metallb.io/bfdprofiles [] list,watch",
        "metallb.io/communities [] list,watch",
        "metallb.io/ipaddresspools/status [] patch",
        "metallb.io/configurationstates [] create",
        "metallb.io/configurationstates [controller] get,list,watch,patch",
        "metallb.io/configurationstates/status [controller] patch",
        "/configmaps [config] list,watch",
        "/secrets [] create",
        "/secrets [memberlist] get",
        "coordination.k8s.io/leases [] create",
        "coordination.k8s.io/leases [barelb-controller] get,update",
    ];
    assert_eq!(lines(&cluster_rules("controller")), BTreeSet::from(in_the_cluster.map(str::to_owned)));
    assert_eq!(lines(&rules("controller")), BTreeSet::from(in_its_namespace.map(str::to_owned)));
    assert!(in_its_namespace.iter().any(|line| line.contains(&format!("leases [{LEASE_NAME}]"))));
}

#[test]
fn an_agent_may_do_this_and_nothing_else() {
    let in_the_cluster = [
        "/services [] list,watch",
        "/nodes [] list,watch",
        "discovery.k8s.io/endpointslices [] list,watch",
        "events.k8s.io/events [] create",
    ];
    let in_its_namespace = [
        "metallb.io/ipaddresspools [] list,watch",
        "metallb.io/l2advertisements [] list,watch",
        "metallb.io/servicel2statuses [] list,watch,create,delete",
        "metallb.io/servicel2statuses/status [] patch",
        "/configmaps [config] list,watch",
        "coordination.k8s.io/leases [] list,watch,create,patch",
    ];
    assert_eq!(lines(&cluster_rules("agent")), BTreeSet::from(in_the_cluster.map(str::to_owned)));
    assert_eq!(lines(&rules("agent")), BTreeSet::from(in_its_namespace.map(str::to_owned)));
}

/// A kind that can't be watched keeps a component from doing anything.
#[test]
fn every_kind_that_is_watched_may_be() {
    let of_controller = Kind::OF_CONTROLLER.map(|kind| ("controller", kind));
    let of_agent = Kind::OF_AGENT.map(|kind| ("agent", kind));
    for (component, kind) in of_controller.into_iter().chain(of_agent) {
        let rules = all_rules(component);
        let plural = format!("{}s", kind.name().to_lowercase()).replace("communitys", "communities");
        let rule = rules.iter().find(|rule| {
            rule.resources.iter().flatten().any(|resource| *resource == plural)
                && ["list", "watch"].iter().all(|verb| rule.verbs.iter().any(|granted| granted == verb))
        });
        assert!(rule.is_some(), "no rule lets the {component} list and watch {plural}");
    }
}

#[test]
fn no_rule_reaches_further_than_it_says() {
    for rule in COMPONENTS.into_iter().flat_map(all_rules) {
        let groups = rule.api_groups.iter().flatten();
        let words: Vec<_> = groups.chain(rule.resources.iter().flatten()).chain(&rule.verbs).collect();
        for word in words {
            assert!(!word.contains('*'), "a wildcard: {rule:?}");
            // The controller makes the one of the agents and sees whether it is there.
            let made = rule.verbs == ["create"];
            let named =
                rule.verbs == ["get"] && rule.resource_names.as_deref() == Some(&["memberlist".to_owned()]);
            assert!(!word.starts_with("secrets") || made || named, "Secrets: {rule:?}");
            // What the agent of a dead node has said is taken away by another one.
            let own = rule.resources.as_deref() == Some(&["servicel2statuses".to_owned()]);
            assert!(!["escalate", "bind", "impersonate"].contains(&word.as_str()), "{rule:?}");
            assert!(word != "delete" || own, "{rule:?}");
        }
    }
}

#[test]
fn each_rule_says_why_it_needs_each_verb() {
    for component in COMPONENTS {
        each_rule_of(component);
    }
}

fn each_rule_of(component: &str) {
    let text = text(&rbac(component));
    let lines: Vec<_> = text.lines().collect();
    let mut rules = 0;
    for (number, line) in lines.iter().enumerate().filter(|(_, line)| line.starts_with("- apiGroups:")) {
        let comment = lines[..number].iter().rev().take_while(|line| line.starts_with("# "));
        let said: BTreeSet<_> = comment.flat_map(|line| line.split(['#', ' ', ',', ':'])).collect();
        let verbs = lines[number..].iter().find_map(|line| line.trim().strip_prefix("verbs: [")).unwrap();
        for verb in verbs.trim_end_matches(']').split(", ") {
            assert!(said.contains(verb), "line {}: {line} has no word on {verb}", number + 1);
        }
        rules += 1;
    }
    assert_eq!(rules, all_rules(component).len());
}

#[test]
fn the_rules_are_those_of_the_service_account_of_the_pods() {
    for component in COMPONENTS {
        let name = name(component);
        let account: ServiceAccount = object(&format!("{component}/serviceaccount.yaml"), "ServiceAccount");
        let place = (account.metadata.name.as_ref(), account.metadata.namespace.as_deref());
        assert_eq!(place, (Some(&name), Some(NAMESPACE)));
        let cluster: ClusterRoleBinding = object(&rbac(component), "ClusterRoleBinding");
        let own: RoleBinding = object(&rbac(component), "RoleBinding");
        assert_eq!(own.metadata.namespace.as_deref(), Some(NAMESPACE));
        for (role, subjects, kind) in
            [(cluster.role_ref, cluster.subjects, "ClusterRole"), (own.role_ref, own.subjects, "Role")]
        {
            assert_eq!((role.kind.as_str(), role.name.as_str()), (kind, name.as_str()));
            let subject = only(subjects.unwrap());
            let found = (subject.kind.as_str(), subject.name.as_str(), subject.namespace.as_deref());
            assert_eq!(found, ("ServiceAccount", name.as_str(), Some(NAMESPACE)));
        }
        assert_eq!(documents(&rbac(component)).len(), 4);
    }
    assert_eq!(pod().service_account_name, Some(name("controller")));
    assert_eq!(agent_pod().service_account_name, Some(name("agent")));
}

#[test]
fn the_namespace_is_that_of_metallb() {
    let namespace: Namespace = object("namespace.yaml", "Namespace");
    assert_eq!(namespace.metadata.name.as_deref(), Some(NAMESPACE));
}

/// Every YAML file below a folder, by its path from there.
fn files(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap() {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name())).unwrap();
        let name = name.to_str().unwrap();
        if path.is_dir() {
            found.extend(files(&path).iter().map(|below| format!("{name}/{below}")));
        } else {
            found.insert(name.to_owned());
        }
    }
    found
}

#[test]
fn the_kustomizations_name_every_file() {
    for (folder, others) in [("../manifests/base", vec!["../crds"]), ("../manifests/crds", vec![])] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let kustomization = fs::read_to_string(folder.join("kustomization.yaml")).unwrap();
        let kustomization: Value = serde_saphyr::from_str(&kustomization).unwrap();
        let resources = kustomization["resources"].as_array().unwrap();
        let listed: BTreeSet<_> = resources.iter().map(|path| path.as_str().unwrap().to_owned()).collect();
        let mut expected = files(&folder);
        assert!(expected.remove("kustomization.yaml"));
        expected.extend(others.into_iter().map(str::to_owned));
        assert_eq!(listed, expected, "{}", folder.display());
    }
}

fn deployment() -> Deployment {
    object("controller/deployment.yaml", "Deployment")
}

fn pod() -> PodSpec {
    deployment().spec.unwrap().template.spec.unwrap()
}

fn container() -> Container {
    only(pod().containers)
}

#[test]
fn two_replicas_stand_on_different_nodes() {
    let spec = deployment().spec.unwrap();
    assert_eq!(spec.replicas, Some(2));
    let labels = spec.template.metadata.unwrap().labels;
    assert_eq!(spec.selector.match_labels, labels);
    let pod = spec.template.spec.unwrap();
    assert_eq!(pod.priority_class_name.as_deref(), Some("system-cluster-critical"));
    // The lease is given back within 5 s, after the last write has ended.
    assert!(pod.termination_grace_period_seconds.unwrap() > 10);
    let spread = only(pod.topology_spread_constraints.unwrap());
    assert_eq!(spread.topology_key, "kubernetes.io/hostname");
    assert_eq!(spread.label_selector.unwrap().match_labels, labels);
    assert_eq!((spread.max_skew, spread.when_unsatisfiable.as_str()), (1, "DoNotSchedule"));
    // Else the second one waits while no other node can take it, or beside one that is about to go.
    assert_eq!(spread.node_taints_policy.as_deref(), Some("Honor"));
    assert_eq!(spread.match_label_keys.unwrap(), ["pod-template-hash"]);
}

#[test]
fn the_process_has_no_power_over_its_node() {
    let pod = pod();
    assert_eq!((pod.host_network, pod.host_pid, pod.host_ipc, pod.volumes), (None, None, None, None));
    let context = pod.security_context.unwrap();
    assert_eq!(context.run_as_non_root, Some(true));
    assert!(context.run_as_user.unwrap() > 0 && context.run_as_group.unwrap() > 0);
    assert_eq!(context.seccomp_profile.unwrap().type_, "RuntimeDefault");

    let container = container();
    let context = container.security_context.unwrap();
    assert_eq!(context.read_only_root_filesystem, Some(true));
    assert_eq!(context.allow_privilege_escalation, Some(false));
    assert_eq!(context.privileged, None);
    let capabilities = context.capabilities.unwrap();
    assert_eq!((capabilities.drop, capabilities.add), (Some(vec!["ALL".to_owned()]), None));
    let resources = container.resources.unwrap();
    assert!(resources.requests.unwrap().contains_key("cpu"));
    assert!(resources.limits.unwrap().contains_key("memory"));
}

#[test]
fn the_container_runs_this_version_of_the_controller() {
    let container = container();
    assert_eq!(container.image, Some(format!("barelb:{}", env!("CARGO_PKG_VERSION"))));
    let args = container.args.unwrap();
    assert_eq!(args.first().map(String::as_str), Some("controller"));
    let filled = args.iter().map(|argument| argument.replace("$(POD_IP)", "fd00:10:244:11::2"));
    let cli = Cli::try_parse_from(["barelb".to_owned()].into_iter().chain(filled)).unwrap();
    assert!(matches!(cli.command, Command::Controller(_)));
    assert_eq!(field(&container.env.unwrap(), "POD_NAME"), "metadata.name");
}

/// On the pod's address, of either family.
#[test]
fn the_probes_ask_where_the_controller_listens() {
    for pod in ["10.244.11.2", "fd00:10:244:11::2"] {
        let container = container();
        assert_eq!(field(container.env.as_ref().unwrap(), "POD_IP"), "status.podIP");
        let args = container.args.as_ref().unwrap();
        let address = args.iter().find_map(|arg| arg.strip_prefix("--metrics-addr=")).unwrap();
        let address = endpoint::address(&address.replace("$(POD_IP)", pod)).unwrap();
        assert_eq!(address.ip().to_string(), pod);
        probes_ask(container, address);
    }
}

/// The field of a pod that a variable has its value from.
fn field(env: &[EnvVar], name: &str) -> String {
    let variable = env.iter().find(|variable| variable.name == name).unwrap();
    variable.value_from.clone().unwrap().field_ref.unwrap().field_path
}

fn probes_ask(container: Container, address: SocketAddr) {
    let port = only(container.ports.unwrap());
    assert_eq!(port.container_port, i32::from(address.port()));
    let asked = |probe: Option<Probe>| {
        let probe = probe.unwrap().http_get.unwrap();
        assert_eq!(probe.port, IntOrString::String(port.name.clone().unwrap()));
        assert_eq!(probe.scheme, None);
        probe.path.unwrap()
    };
    assert_eq!(asked(container.liveness_probe), "/livez");
    assert_eq!(asked(container.readiness_probe), "/readyz");
}

fn agent_pod() -> PodSpec {
    let agents: DaemonSet = object("agent/daemonset.yaml", "DaemonSet");
    agents.spec.unwrap().template.spec.unwrap()
}

/// The arguments of an agent on a node with this address, as a kubelet fills them in.
fn agent_arguments(host: &str) -> Vec<String> {
    let container = only(agent_pod().containers);
    let env = container.env.unwrap();
    assert_eq!(
        (field(&env, "LB_NODE_NAME"), field(&env, "HOST_IP")),
        ("spec.nodeName".to_owned(), "status.hostIP".to_owned())
    );
    container.args.unwrap().iter().map(|argument| argument.replace("$(HOST_IP)", host)).collect()
}

#[test]
fn the_agents_arguments_are_those_of_the_verb() {
    for host in ["192.0.2.11", "2001:db8::11"] {
        let arguments = [vec!["barelb".to_owned()], agent_arguments(host)].concat();
        assert!(matches!(Cli::try_parse_from(arguments).unwrap().command, Command::Agent(_)));
    }
}

/// On the node's address, of either family, and on a port that neither the controller nor MetalLB's speaker has.
#[test]
fn the_probes_ask_where_the_agent_listens() {
    let taken = [7472, 7473, 7946, 9120, 17472];
    for host in ["192.0.2.11", "2001:db8::11"] {
        let arguments = agent_arguments(host);
        let address = arguments.iter().find_map(|arg| arg.strip_prefix("--metrics-addr=")).unwrap();
        let address = endpoint::address(address).unwrap();
        assert_eq!(address.ip().to_string(), host);
        assert!(!taken.contains(&address.port()));
        probes_ask(only(agent_pod().containers), address);
    }
}

/// One node after the other, each when the agent before has its table in step.
#[test]
fn agents_are_replaced_one_at_a_time() {
    let agents: DaemonSet = object("agent/daemonset.yaml", "DaemonSet");
    let spec = agents.spec.unwrap();
    assert!(spec.min_ready_seconds.unwrap() >= 1);
    let strategy = spec.update_strategy.unwrap();
    let rolling = strategy.rolling_update.unwrap();
    assert_eq!(strategy.type_.as_deref(), Some("RollingUpdate"));
    // Two agents of one node can't have one port.
    assert_eq!((rolling.max_unavailable, rolling.max_surge), (Some(IntOrString::Int(1)), None));
}

#[test]
fn an_agent_has_these_rights_on_its_node_and_no_others() {
    let pod = agent_pod();
    assert_eq!((pod.host_network, pod.host_pid, pod.host_ipc), (Some(true), None, None));
    let container = only(pod.containers);
    let security = container.security_context.unwrap();
    assert_eq!((security.privileged, security.allow_privilege_escalation), (None, Some(false)));
    assert_eq!(security.read_only_root_filesystem, Some(true));
    let capabilities = security.capabilities.unwrap();
    assert_eq!(capabilities.drop, Some(vec!["ALL".to_owned()]));
    let expected = ["BPF", "NET_ADMIN", "PERFMON", "NET_RAW"].map(str::to_owned);
    assert_eq!(capabilities.add.unwrap().into_iter().collect::<BTreeSet<_>>(), BTreeSet::from(expected));
    let paths: BTreeSet<String> =
        pod.volumes.unwrap().into_iter().filter_map(|volume| Some(volume.host_path?.path)).collect();
    assert_eq!(paths, BTreeSet::from(["/sys/fs/bpf".to_owned(), "/var/lib/barelb".to_owned()]));
}
