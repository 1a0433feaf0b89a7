//! L5: manifests/base in a whole Kubernetes, whose kubelets run controller and agents in pods from the image. Needs root,
//! the testbed, the image, containerd and runc.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "`--nocapture` shows what was measured")]

use std::time::{Duration, Instant};

use lb_test::cluster::manifests::pod_of;
use lb_test::cluster::{Families, PodSite};

const NAMESPACE: &str = "metallb-system";
/// Requests a second.
const PACE: u32 = 200;
/// From `kubectl apply -k` to the first answer; 5 s on a machine of two cores that does nothing else.
const INSTALLED: Duration = Duration::from_secs(15);
const IMAGE: &str = "docker.io/library/barelb:0.1.0";
const NEXT: &str = "docker.io/library/barelb:next";

/// Capabilities as bits.
const NET_ADMIN: u64 = 1 << 12;
const NET_RAW: u64 = 1 << 13;
const PERFMON: u64 = 1 << 38;
const BPF: u64 = 1 << 39;

#[test]
#[ignore = "L5: needs root, the testbed, the image, containerd and runc"]
fn l5_a_whole_kubernetes_installs_updates_drains_and_loses_no_answer() {
    let mut site = PodSite::start(3, Families::Dual).unwrap();
    installs(&site);
    runs_with_the_rights_of_the_manifests(&site);
    is_admitted_by_the_right_level(&site);
    site.deploy_ingress(0).unwrap();
    is_updated(&site);
    site.serves_by_name().unwrap();
    is_drained(&site);
    nobody_warned(&site);
    loses_a_node(&mut site);
    nothing_was_forbidden(&site);
}

/// As a user would: the manifests, then a pool and a Service, and pages come.
fn installs(site: &PodSite) {
    let started = Instant::now();
    let asked = site.probe(PACE).unwrap();
    site.plane.install().unwrap();
    site.deploy_web().unwrap();
    site.is_rolled_out().unwrap();
    let owner = site.preferred_owner().unwrap();
    site.serves(owner).unwrap();
    println!("served after {:?}", started.elapsed());
    let report = asked.stop().unwrap();
    for vip in site.vips() {
        let first = report.first_answer(vip).unwrap();
        println!("{vip} was answered {first:?} after `kubectl apply -k` began");
        assert!(first < INSTALLED, "{}", report.summary());
    }
    // An agent on each node, and the replicas of the controller on two of them.
    let nodes = |component| {
        let mut nodes: Vec<_> = site.running(component).unwrap().iter().map(|one| one.node).collect();
        nodes.sort_unstable();
        nodes
    };
    assert_eq!(nodes("agent"), [0, 1, 2]);
    let controllers = nodes("controller");
    assert!(controllers.len() == 2 && controllers[0] != controllers[1], "{controllers:?}");
}

/// What kubelet, runtime and kernel have made of the security contexts.
fn runs_with_the_rights_of_the_manifests(site: &PodSite) {
    let bits = |text: &str| u64::from_str_radix(text, 16).unwrap();
    for agent in site.running("agent").unwrap() {
        let status = |name: &str| agent.status[name].as_str();
        assert_eq!(bits(status("CapBnd")), NET_ADMIN | NET_RAW | PERFMON | BPF, "{agent:?}");
        // It has given up the others.
        assert_eq!(bits(status("CapEff")), NET_ADMIN | BPF, "{agent:?}");
        assert_eq!((status("Uid"), status("NoNewPrivs"), status("Seccomp")), ("0\t0\t0\t0", "1", "0"));
    }
    for controller in site.running("controller").unwrap() {
        let status = |name: &str| controller.status[name].as_str();
        for set in ["CapBnd", "CapPrm", "CapEff", "CapAmb"] {
            assert_eq!(bits(status(set)), 0, "{controller:?}");
        }
        let user = "65532\t65532\t65532\t65532";
        assert_eq!((status("Uid"), status("Gid")), (user, user));
        // 2 is a filter, the runtime's own.
        assert_eq!((status("NoNewPrivs"), status("Seccomp")), ("1", "2"));
    }
}

/// The pods ask for what they need and no more: the namespace has to be privileged for the agents, and the controller's pods
/// would be admitted by the strictest level.
fn is_admitted_by_the_right_level(site: &PodSite) {
    let admit = |level: &str, kind: &str, name: &str| {
        let object = site.plane.get(&[kind, name, "--namespace", NAMESPACE]).unwrap();
        let mut pod = pod_of(&object, level);
        pod["spec"]["serviceAccountName"] = "default".into();
        let dry = ["create", "--filename=-", "--dry-run=server"];
        site.plane.feed(site.plane.admin(), &dry, &pod.to_string()).map_err(|error| format!("{error:#}"))
    };
    for level in ["baseline", "restricted"] {
        site.plane.kubectl(&["create", "namespace", level]).unwrap();
        let label = format!("pod-security.kubernetes.io/enforce={level}");
        site.plane.kubectl(&["label", "namespace", level, &label]).unwrap();
        let account = ["wait", "--for=create", "serviceaccount/default", "--namespace", level];
        site.plane.kubectl(&account).unwrap();
        let refused = admit(level, "daemonset", "barelb-agent").unwrap_err();
        for why in [
            &*format!("violates PodSecurity \"{level}:latest\""),
            "hostNetwork=true",
            "\"BPF\", \"NET_ADMIN\"",
        ] {
            assert!(refused.contains(why), "{refused}");
        }
        admit(level, "deployment", "barelb-controller").unwrap();
    }
}

/// Another image, node by node: the data plane answers while its agent is replaced.
fn is_updated(site: &PodSite) {
    for worker in &site.workers {
        worker.tag(IMAGE, NEXT).unwrap();
    }
    let owner = site.owner().unwrap();
    let asked = site.probe(PACE).unwrap();
    for what in ["daemonset/barelb-agent", "deployment/barelb-controller"] {
        site.plane.kubectl(&["set", "image", what, &format!("*={NEXT}"), "--namespace", NAMESPACE]).unwrap();
    }
    site.is_rolled_out().unwrap();
    let report = asked.stop().unwrap();
    report.assert_complete().unwrap();
    println!("rolling update: {}", report.summary());
    for component in ["agent", "controller"] {
        for pod in site.pods(component).unwrap() {
            assert_eq!(pod["spec"]["containers"][0]["image"], NEXT, "{pod}");
        }
    }
    assert_eq!(site.owner().unwrap(), owner, "nobody else took over meanwhile");
    site.serves(owner).unwrap();
}

/// `kubectl drain` takes the web server and a controller away from the owner: the addresses move, and no answer is missed.
fn is_drained(site: &PodSite) {
    let owner = site.owner().unwrap();
    let name = &site.workers[owner].name;
    let asked = site.probe(PACE).unwrap();
    site.plane.kubectl(&["drain", name, "--ignore-daemonsets", "--timeout=60s"]).unwrap();
    let other = site.owner_after(owner).unwrap();
    site.serves(other).unwrap();
    let report = asked.stop().unwrap();
    assert_eq!((report.missing.len(), report.late, report.socket_drops), (0, 0, 0), "{}", report.summary());
    println!("drain: {}", report.summary());
    site.plane.kubectl(&["uncordon", name]).unwrap();
    site.is_rolled_out().unwrap();
}

/// A node whose kubelet is dead and whose Node is deleted: its agent is there and answers nothing.
fn loses_a_node(site: &mut PodSite) {
    let owner = site.owner().unwrap();
    site.workers[owner].kill_kubelet().unwrap();
    let asked = site.probe(PACE).unwrap();
    let name = site.workers[owner].name.clone();
    site.plane.kubectl(&["delete", "node", &name]).unwrap();
    let other = site.owner_after(owner).unwrap();
    site.serves(other).unwrap();
    let report = asked.stop().unwrap();
    println!("deleted node: {}", report.summary());
    assert_eq!(report.missing.len(), 0, "{}", report.summary());
}

/// Nothing went wrong so far in the eyes of controller and agents, the pods of the update. In a new cluster the first ones warn
/// of watches that the API server begins anew for CRDs that it has just taken in.
fn nobody_warned(site: &PodSite) {
    for (pod, said) in site.said().unwrap() {
        let is_bad = |line: &&str| [" WARN ", " ERROR "].iter().any(|level| line.contains(level));
        let warnings: Vec<_> = said.lines().filter(is_bad).collect();
        assert!(said.contains(" INFO ") && warnings.is_empty(), "{pod}: {warnings:?}");
    }
}

/// The roles of the manifests are enough: nothing that controller or agents wanted was refused.
fn nothing_was_forbidden(site: &PodSite) {
    let mut requests = site.plane.audit_log().read().unwrap();
    requests.retain(|one| one.user.starts_with("system:serviceaccount:metallb-system:"));
    let refused: Vec<_> = requests.iter().filter(|one| matches!(one.code, 401 | 403)).collect();
    assert!(requests.len() > 100 && refused.is_empty(), "{} requests, refused: {refused:?}", requests.len());
}
