//! Which test runs a command of the documents, or why none can.
//!
//! A command that is new in a document fails `tests/documents.rs` until it has a row here, and a row that no document needs
//! any more does too.

use super::Snippet;

/// A cluster in which blocks are run, each as a whole and in the order of the documents (`tests/cluster_documents.rs`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setup {
    /// Nothing is there.
    Bare,
    /// Nothing but the namespace, for Helm.
    Helm,
    /// MetalLB with custom resources, its webhook, and a Service that has an address from it.
    Metallb,
    /// MetalLB with the `ConfigMap`.
    ConfigMap,
    /// kube-vip and its cloud provider.
    KubeVip,
}

/// Where a command is run in the cluster that serves, beside three nodes with their agents (`tests/cluster_documents.rs`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Where the API server is reached, with an administrator's kubeconfig.
    Admin,
    /// On the node that owns.
    Node,
    /// On a client of the same segment.
    Client,
}

/// What shows that a command does what the documents say.
#[derive(Clone, Copy, Debug)]
pub enum Proof {
    /// It is run there, ends well, and prints this among other things.
    Run(Place, &'static str),
    /// This test runs it: file and name.
    Test(&'static str, &'static str),
    /// Nothing runs it, for this reason. Its flags are looked at where that is possible.
    Never(&'static str),
}

use Place::{Admin, Client, Node};
use Proof::{Never, Run, Test};

/// Blocks that are run as a whole: document, how the first line begins, and where.
pub const BLOCKS: &[(&str, &str, Setup)] = &[
    ("README.md", "kubectl apply -f manifests/base/namespace.yaml", Setup::Bare),
    ("README.md", "kubectl scale deployment -n metallb-system", Setup::Metallb),
    ("docs/migration.md", "kubectl get ipaddresspools,l2advertisements", Setup::Metallb),
    ("docs/migration.md", "kubectl delete secret -n metallb-system -l owner=helm", Setup::Metallb),
    ("docs/migration.md", "kubectl get configmap config", Setup::ConfigMap),
    ("docs/migration.md", "barelb migrate metallb-config.yaml", Setup::ConfigMap),
    ("docs/migration.md", "kubectl get configmap kubevip", Setup::KubeVip),
    // Two, the second of which takes the DaemonSet away.
    ("docs/migration.md", "kubectl scale deployment kube-vip-cloud-provider", Setup::KubeVip),
    ("docs/migration.md", "kubectl apply --server-side -k manifests/crds", Setup::KubeVip),
    ("docs/migration.md", "kubectl patch service web", Setup::KubeVip),
    ("docs/migration.md", "kubectl apply --server-side --force-conflicts -f metallb-native", Setup::Metallb),
    ("docs/operations.md", "kubectl apply -f manifests/base/namespace.yaml", Setup::Bare),
    ("docs/operations.md", "kubectl apply --server-side -k manifests/base", Setup::Bare),
    ("docs/operations.md", "kubectl kustomize manifests/base", Setup::Bare),
    ("docs/operations.md", "helm install barelb", Setup::Helm),
    ("docs/operations.md", "kubectl apply -f manifests/examples/seed/config.yaml", Setup::Bare),
    ("docs/operations.md", "kubectl annotate namespace web", Setup::Bare),
    ("docs/operations.md", "ns=metallb-system", Setup::Bare),
    ("docs/operations.md", "kubectl create rolebinding barelb-status", Setup::Bare),
    ("docs/operations.md", "kubectl create secret generic memberlist", Setup::Bare),
    ("docs/operations.md", "ns=metallb-system; new=", Setup::Bare),
];

/// In which cluster a block is run as a whole.
pub fn setup_of(snippet: &Snippet) -> Option<Setup> {
    let begins = |(document, start, setup): &(&str, &str, Setup)| {
        let whole = snippet.document == *document && snippet.text.starts_with(start);
        // Of two the longer one.
        whole.then_some((start.len(), *setup))
    };
    let found = BLOCKS.iter().filter(|_| snippet.is_block).filter_map(begins);
    found.max_by_key(|(length, _)| *length).map(|(_, setup)| setup)
}

const CLI: &str = "xtask/src/cli.rs";
const DOCUMENTED: &str = "what_the_documents_say_is_understood";
const RUNTIME: &str = "the tests have containerd, by `ctr`, and no other runtime";
const FLAGS: &str = "it is run above with other flags, and these are read by its own parser";
const LONG: &str = "it measures for hours; its flags are read by the program's own parser";
const KUBELET: &str = "the kubelet answers it, and there is none in the testbed";
const TESTS: &str = "it is what runs the tests";

/// All other commands, as a shell hands them over. Those that are run are run in this order.
#[rustfmt::skip]
pub const COMMANDS: &[(&str, Proof)] = &[
    // Where the API server is reached.
    ("kubectl describe service web", Run(Admin, "nodeAssigned")),
    ("kubectl describe service NAME", Run(Admin, "nodeAssigned")),
    ("kubectl get l2status -n metallb-system", Run(Admin, "web")),
    ("kubectl get configurationstate -n metallb-system", Run(Admin, "controller")),
    ("kubectl get configurationstates -n metallb-system -o yaml", Run(Admin, "result: Valid")),
    ("kubectl -n metallb-system get configurationstate controller -o yaml", Run(Admin, "result: Valid")),
    ("kubectl get services -A", Run(Admin, "192.0.2.100")),
    ("kubectl get leases -n metallb-system", Run(Admin, "barelb-node-node-a")),
    ("kubectl -n metallb-system get leases -l barelb.io/member", Run(Admin, "barelb-node-node-a")),
    ("kubectl -n metallb-system get leases -l barelb.io/member -o yaml", Run(Admin, "barelb.io/links")),
    ("kubectl -n metallb-system get lease barelb-node-NODE -o yaml", Run(Admin, "renewTime")),
    ("kubectl -n metallb-system get lease barelb-controller -o yaml", Run(Admin, "holderIdentity")),
    ("kubectl get pods -n metallb-system", Run(Admin, "barelb-agent-node-a")),
    ("kubectl -n metallb-system get pods -o wide", Run(Admin, "barelb-agent-node-a")),
    ("kubectl -n metallb-system get pods -o wide --field-selector spec.nodeName=NODE", Run(Admin, "barelb-agent-")),
    ("kubectl -n metallb-system get pods -l app.kubernetes.io/component=controller", Run(Admin, "")),
    ("kubectl -n metallb-system describe pod POD", Run(Admin, "barelb:")),
    ("kubectl describe node NODE", Run(Admin, "InternalIP")),
    ("kubectl -n metallb-system get ipaddresspool POOL -o yaml", Run(Admin, "availableIPv4")),
    ("kubectl get events -A --field-selector reason=AllocationFailed", Run(Admin, "too-late")),
    ("kubectl get events -A --field-selector reason=addressConflict", Run(Admin, "")),
    ("kubectl auth can-i list ipaddresspools --as=system:serviceaccount:metallb-system:barelb-controller -n metallb-system", Run(Admin, "yes")),
    ("kubectl auth can-i patch services --subresource=status --as=system:serviceaccount:metallb-system:barelb-controller", Run(Admin, "yes")),
    ("kubectl -n metallb-system get secret memberlist --show-managed-fields -o jsonpath={.metadata.managedFields[*].time}", Run(Admin, "T")),
    ("kubectl -n metallb-system rollout status daemonset/barelb-agent", Run(Admin, "successfully rolled out")),
    ("kubectl -n metallb-system edit ipaddresspool POOL", Run(Admin, "no changes made")),
    ("kubectl -n metallb-system edit daemonset barelb-agent", Run(Admin, "no changes made")),
    ("kubectl apply --server-side -k manifests/policy", Run(Admin, "barelb-requested-addresses")),
    ("kubectl delete -k manifests/policy", Run(Admin, "deleted")),
    ("barelb explain svc default/web", Run(Admin, "says so")),
    ("barelb explain ip 192.0.2.100", Run(Admin, "owner")),
    ("barelb explain ip ADDRESS", Run(Admin, "owner")),
    ("barelb status --peers", Run(Admin, "ROUND TRIP")),
    ("barelb status --peers --context other", Run(Admin, "ROUND TRIP")),
    ("barelb status", Run(Admin, "192.0.2.100")),
    ("barelb status -o wide", Run(Admin, "192.0.2.100")),
    ("barelb status --context other", Run(Admin, "192.0.2.100")),
    ("kubectl get -A -o yaml services,endpointslices,nodes,namespaces,ipaddresspools,l2advertisements", Run(Admin, "kind: EndpointSlice")),
    ("barelb agent --help", Run(Admin, "--failover-profile")),
    ("barelb --version", Run(Admin, "barelb 0.1.0")),
    // On the node that owns.
    ("barelb inspect", Run(Node, "answered by")),
    ("barelb inspect ADDRESS", Run(Node, "192.0.2.100")),
    ("barelb inspect ADDRESS -o json", Run(Node, "\"state\": \"answer\"")),
    ("barelb check -o json", Run(Node, "\"check\": \"capabilities\"")),
    ("barelb check --interface INTERFACE", Run(Node, "eth0")),
    ("target/release/barelb check --interface eth0", Run(Node, "eth0")),
    ("bpftool map dump pinned /sys/fs/bpf/barelb/v1/VIPS_V4", Run(Node, "key")),
    ("bpftool map show pinned /sys/fs/bpf/barelb/v1/VIPS_V4", Run(Node, "VIPS_V4")),
    ("mount -t bpf bpf /sys/fs/bpf", Run(Node, "")),
    ("ip -brief address show to 192.0.2.96/27", Run(Node, "")),
    ("ip neighbour show dev eth0", Run(Node, "lladdr")),
    // On a client.
    ("arping -c 3 -I eth0 ADDRESS", Run(Client, "02:00:00:00:00:0")),
    ("ndisc6 ADDRESS eth0", Run(Client, "Target link-layer address")),
    // What changes something comes last.
    ("barelb drain NODE", Run(Admin, "drained")),
    ("barelb drain node-a", Run(Admin, "drained")),
    ("barelb drain node-a --undo", Run(Admin, "undrained")),
    ("kubectl -n metallb-system delete pod POD", Run(Admin, "deleted")),
    ("kubectl delete node NODE", Run(Admin, "deleted")),
    // Run by tests of their own.
    ("barelb trace ADDRESS", Test("lb-test/tests/commands.rs", "trace_shows_requests_and_conflicts_of_its_address")),
    ("barelb detach", Test("lb-test/tests/detach.rs", "detach_leaves_the_maps_alone")),
    ("barelb detach --all", Test("lb-test/tests/detach.rs", "detach_all_leaves_nothing")),
    ("target/release/barelb agent --standalone manifests/examples/seed --interface eth0", Test("lb-test/tests/commands.rs", "inspect_counts_per_address_and_names_the_last_requester")),
    ("promtool test rules manifests/monitoring/rules.test.yaml", Test("lb-test/tests/monitoring.rs", "the_rules_do_what_their_tests_say")),
    ("kubectl apply --server-side -k manifests/monitoring", Test("lb-userspace/tests/monitoring.rs", "the_kustomization_has_everything_that_is_for_the_operator")),
    ("kubectl apply --server-side -k manifests/crds", Test("lb-test/tests/cluster_documents.rs", "l5_from_kube_vip")),
    ("kubectl apply --server-side -k manifests/overlays/NAME", Test("lb-test/tests/cluster_manifests.rs", "l5_the_api_server_takes_each_overlay")),
    ("kubectl apply --server-side -k manifests/overlays/beside-metallb", Test("lb-test/tests/cluster_manifests.rs", "l5_beside_metallb_only_services_of_the_class_are_served_from_pools_of_the_own_namespace")),
    ("helm uninstall barelb -n metallb-system", Test("lb-test/tests/cluster_manifests.rs", "l5_helm_installs_upgrades_and_uninstalls")),
    ("cargo xtask build-and-load", Test("lb-test/tests/lab.rs", "every_hint_works_and_ctrl_c_cleans_up")),
    ("cargo xtask build-and-load --iface eth0 --config manifests/examples/seed", Test(CLI, DOCUMENTED)),
    ("cargo test -p lb-test --test library -- --ignored", Test(CLI, DOCUMENTED)),
    ("cargo test -p lb-test --test lab -- --ignored", Test(CLI, DOCUMENTED)),
    ("cargo test -p lb-test --test commands -- --ignored", Test(CLI, DOCUMENTED)),
    ("cargo test -p lb-test --test frame_log -- --ignored", Test(CLI, DOCUMENTED)),
    ("barelb status -n shop -l app=web", Test("lb-test/tests/cluster_status.rs", "which_services")),
    ("barelb top", Test("lb-test/tests/cluster_tools.rs", "a_terminal_has_its_rows_and_is_given_back")),
    ("barelb plan -f new.yaml", Test("lb-test/tests/cluster_plan.rs", "l5_what_is_planned_happens")),
    ("barelb plan -f FILE", Test("lb-test/tests/cluster_plan.rs", "l5_what_is_planned_happens")),
    ("barelb plan -f new.yaml --delete", Test("lb-test/tests/cluster_plan.rs", "l5_what_is_planned_happens")),
    ("barelb plan -f folder -R -o wide", Never(FLAGS)),
    ("barelb plan -f - -o json", Never(FLAGS)),
    ("barelb plan -f new.yaml --without old.yaml", Test("lb-userspace/src/cli/plan/tests.rs", "one_service_takes_over_from_another_in_one_step")),
    ("barelb plan --from objects -f new.yaml", Test("lb-test/tests/cluster_tools.rs", "the_archive_can_be_planned_with")),
    ("barelb bundle", Test("lb-test/tests/cluster_tools.rs", "l5_an_archive_a_plugin_and_a_terminal")),
    ("barelb bundle --output -", Test("lb-test/tests/cluster_tools.rs", "what_cannot_be_asked_is_no_archive")),
    ("kubectl -n metallb-system exec POD -- /barelb bundle --node --output -", Never(KUBELET)),
    ("barelb bundle --node", Never("it packs what inspect and check say, which are run above")),
    ("ln -s  /usr/local/bin/kubectl-barelb", Test("lb-test/tests/cluster_tools.rs", "kubectl_has_a_plugin")),
    ("ln -s  /usr/local/bin/kubectl_complete-barelb", Test("lb-test/tests/cluster_tools.rs", "kubectl_has_a_plugin")),
    ("barelb completion bash", Test("lb-userspace/src/cli/completion.rs", "each_shell_has_a_script_that_knows_the_verbs")),
    ("barelb man plan", Test("lb-userspace/src/cli/man.rs", "the_page_of_a_verb_is_found_by_its_words")),
    ("cargo xtask cluster up --pods", Test("lb-test/tests/cluster_show.rs", "l5_the_standing_cluster_of_pods_proves_itself_and_leaves_nothing_behind")),
    ("cargo xtask image --debug", Never("the level build of the tests is it")),
    ("cargo xtask image --twice", Never("it builds for minutes; the level reproducible does the same for the BPF objects")),
    ("ctr -n k8s.io images import barelb.tar", Test("lb-test/tests/pods.rs", "l5_a_whole_kubernetes_installs_updates_drains_and_loses_no_answer")),
    ("cargo test -p lb-test --test image -- --ignored", Test(CLI, DOCUMENTED)),
    // Not run.
    ("k3s ctr images import barelb.tar", Never(RUNTIME)),
    ("kind load image-archive barelb.tar", Never(RUNTIME)),
    ("podman load -i barelb.tar", Never(RUNTIME)),
    ("docker load -i barelb.tar", Never(RUNTIME)),
    ("skopeo copy oci-archive:barelb.tar docker://REGISTRY/barelb:0.1.0", Never("it needs a registry")),
    ("kustomize build .", Never("it stands for whatever prints objects")),
    ("kubectl apply --dry-run=server", Never("half a command; what it is called with is the reader's")),
    ("man -l -", Never("it shows a page on a terminal")),
    ("cargo xtask test", Never(TESTS)),
    ("cargo xtask test --level unit", Never(TESTS)),
    ("cargo xtask build", Never("the level build of the tests is it")),
    ("cargo xtask build --frame-log", Never("the level build of the tests is it")),
    ("cargo xtask build --auditable", Never("the workflow of releases does; it checks by itself that the list is there")),
    ("cargo audit bin barelb", Never("a tool of others, of a file that the workflow of releases makes")),
    ("cargo xtask bench --agent", Never(LONG)),
    ("cargo xtask bench --controller", Never(LONG)),
    ("cargo xtask bench --only agent", Never(LONG)),
    ("cargo xtask bench --trouble", Never(LONG)),
    ("cargo check --workspace", Never("the level crates of the tests is it")),
    ("cargo test -p lb-test -- --ignored", Never(TESTS)),
    ("cargo test -p lb-test --tests -- --ignored l5_", Never(TESTS)),
    ("go list -mod=mod -deps github.com/traefik/traefik/v3/cmd/traefik", Never("it fetches modules and changes the testbed")),
    ("kubectl -n metallb-system logs POD", Never(KUBELET)),
    ("kubectl -n metallb-system logs POD --previous", Never(KUBELET)),
    ("kubectl -n metallb-system logs -l app.kubernetes.io/component=controller", Never(KUBELET)),
    ("kubectl -n metallb-system exec POD -- /barelb inspect", Never(KUBELET)),
    ("grep can't list or watch", Never("it reads what a kubelet answers")),
    ("kubectl delete -k manifests/base", Never("it is what not to do: it takes MetalLB's objects too")),
    ("ip address del 192.0.2.100/32 dev eth0", Never("kube-vip has put no address there")),
    ("ethtool -S INTERFACE", Never("what a driver counts is for a person to read")),
    ("ethtool -K INTERFACE rxvlan off rx-vlan-stag-hw-parse off", Never("it needs a NIC that takes tags off")),
    ("ethtool -K INTERFACE rxvlan off", Never("it needs a NIC that takes tags off")),
    ("barelb agent --standalone DIR", Test("lb-test/tests/commands.rs", "inspect_counts_per_address_and_names_the_last_requester")),
];
