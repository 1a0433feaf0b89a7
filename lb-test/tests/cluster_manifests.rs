//! L5: every way of installing BareLB, on a real API server: kustomizations, and the Helm chart, which renders the same.
//! Needs root and the testbed.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;

use lb_test::cluster::manifests::{Objects, differences, helm, kustomize, objects, path, pod_of, template};
use lb_test::cluster::services::{plain, pool, service};
use lb_test::cluster::{ControlPlane, Controller, Options};
use lb_test::scratch::Scratch;
use serde_json::{Value, json};

const NAMESPACE: &str = "metallb-system";
const CONTROLLER: &str = "Deployment metallb-system barelb-controller";
const AGENT: &str = "DaemonSet metallb-system barelb-agent";

/// What the chart renders with these values, without its CRDs where the kustomization has none.
fn rendered(namespace: &str, values: &[&str], crds: bool) -> Objects {
    let set: Vec<&str> = values.iter().flat_map(|value| ["--set", value]).collect();
    let mut all = objects(&template(namespace, &set).unwrap()).unwrap();
    all.retain(|name, _| crds || !name.starts_with("CustomResourceDefinition "));
    all
}

#[test]
#[ignore = "L5: needs the testbed"]
fn l5_the_chart_renders_what_the_kustomizations_do() {
    let base = kustomize("manifests/base").unwrap();
    assert!(
        base.len() > 20 && base.contains_key(CONTROLLER) && base.contains_key(AGENT),
        "{:?}",
        base.keys()
    );
    let beside = ["lbClass=barelb.io/layer2"];
    for (folder, namespace, values) in [
        ("base", NAMESPACE, &[][..]),
        ("overlays/k3s", NAMESPACE, &[]),
        ("overlays/privileged", NAMESPACE, &["agent.privileged=true"]),
        ("overlays/seccomp", NAMESPACE, &["agent.seccomp.type=Localhost"]),
        ("overlays/talos", NAMESPACE, &["agent.seLinuxType="]),
        ("overlays/beside-metallb", "barelb-system", &beside),
    ] {
        let expected = kustomize(&format!("manifests/{folder}")).unwrap();
        let crds = expected.keys().any(|name| name.starts_with("CustomResourceDefinition "));
        assert_eq!(crds, folder != "overlays/beside-metallb");
        assert_eq!(differences(&expected, &rendered(namespace, values, crds)), [""; 0], "{folder}");
    }
    let with_policy = base.into_iter().chain(kustomize("manifests/policy").unwrap()).collect();
    let values = ["requestedAddresses.policy=true"];
    assert_eq!(differences(&with_policy, &rendered(NAMESPACE, &values, true)), [""; 0]);
}

/// Each value changes what it says, and nothing else.
#[test]
#[ignore = "L5: needs the testbed"]
fn l5_the_charts_values_change_what_they_say() {
    let base = kustomize("manifests/base").unwrap();
    for (value, expected) in [
        ("controller.replicas=3", vec![(CONTROLLER, "/spec/replicas: 2, 3")]),
        ("agent.grace=2m", vec![(AGENT, "--grace=2m")]),
        ("agent.failoverProfile=off", vec![(AGENT, "--failover-profile=off")]),
        ("agent.interfaces={eth0,eth1}", vec![(AGENT, "\"--interface=eth0\",\"--interface=eth1\"]")]),
        ("agent.resources.limits.memory=512Mi", vec![(AGENT, "limits/memory: \"256Mi\", \"512Mi\"")]),
        ("agent.metrics.port=9475", vec![(AGENT, "[$(HOST_IP)]:9475"), (AGENT, "containerPort: 7475, 9475")]),
        ("controller.metrics.address=::", vec![(CONTROLLER, "--metrics-addr=[::]:7472")]),
        ("image.tag=1.2", vec![(AGENT, "\"barelb:1.2\""), (CONTROLLER, "\"barelb:1.2\"")]),
        ("agent.seccomp.type=RuntimeDefault", vec![(AGENT, "type: \"Unconfined\", \"RuntimeDefault\"")]),
        ("controller.tolerations[0].operator=Exists", vec![(CONTROLLER, "[{\"operator\":\"Exists\"}]")]),
        ("namespace.create=false", vec![("Namespace  metallb-system", ", null")]),
        (
            "controller.podDisruptionBudget.enabled=false",
            vec![("PodDisruptionBudget metallb-system barelb-controller", ", null")],
        ),
        (
            "controller.networkPolicy.enabled=false",
            vec![("NetworkPolicy metallb-system barelb-controller", ", null")],
        ),
    ] {
        let found = differences(&base, &rendered(NAMESPACE, &[value], true));
        assert_eq!(found.len(), expected.len(), "{value}: {found:?}");
        for ((object, change), found) in expected.iter().zip(&found) {
            assert!(found.starts_with(object) && found.contains(change), "{value}: {found}");
        }
    }
}

#[test]
#[ignore = "L5: needs the testbed"]
fn l5_the_chart_passes_lint_and_its_schema_refuses_bad_values() {
    let (chart, folder) = (path("charts/barelb").unwrap(), Scratch::new("values").unwrap());
    let file = folder.join("values.yaml");
    let lint = |values: &str| {
        fs::write(&file, values).unwrap();
        helm(&["lint", "--strict", &chart, "--values", file.to_str().unwrap()])
    };
    for values in ["", "agent: {failoverProfile: \"off\", grace: 1m30s}\nglobal: {any: 1}\n"] {
        assert!(lint(values).unwrap().contains("0 chart(s) failed"), "{values}");
    }
    for (values, message) in [
        ("replicas: 3", "additional properties 'replicas' not allowed"),
        ("agent: {graze: 60s}", "additional properties 'graze' not allowed"),
        ("agent: {grace: 60}", "at '/agent/grace': got number, want string"),
        ("agent: {grace: soon}", "at '/agent/grace': 'soon' does not match pattern"),
        // What YAML makes of the word without quotes.
        ("agent: {failoverProfile: off}", "at '/agent/failoverProfile': value must be one of"),
        ("agent: {privileged: \"yes\"}", "at '/agent/privileged': got string, want boolean"),
        ("agent: {seccomp: {type: Custom}}", "at '/agent/seccomp/type': value must be one of"),
        ("agent: {seccomp: {localhostProfile: ../x}}", "at '/agent/seccomp/localhostProfile'"),
        ("agent: {interfaces: eth0}", "at '/agent/interfaces': got string, want array"),
        ("agent: {tolerations: [{operator: Always}]}", "at '/agent/tolerations/0/operator'"),
        ("agent: {metrics: {port: 0}}", "at '/agent/metrics/port': minimum: got 0, want 1"),
        ("agent: {resources: {limit: {}}}", "additional properties 'limit' not allowed"),
        ("controller: {replicas: two}", "at '/controller/replicas': got string, want integer"),
        ("controller: {resources: {limits: {memory: much}}}", "at '/controller/resources/limits/memory'"),
        ("controller: {extraArgs: [metrics]}", "at '/controller/extraArgs/0'"),
        ("image: {tag: 1.2}", "at '/image/tag': got number, want string"),
        ("image: barelb", "at '/image': got string, want object"),
        ("lbClass: a b", "at '/lbClass': 'a b' does not match pattern"),
        ("namespace: {create: 1}", "at '/namespace/create': got number, want boolean"),
        ("requestedAddresses: true", "at '/requestedAddresses': got boolean, want object"),
    ] {
        let error = lint(values).unwrap_err().to_string();
        // The program says the linter's findings on its standard output, and renders nothing either.
        let rendered = template(NAMESPACE, &["--values", file.to_str().unwrap()]).unwrap_err().to_string();
        assert!(rendered.contains(message), "{values}: {rendered}");
        assert!(error.contains("1 chart(s) failed"), "{values}: {error}");
    }
}

/// Applies a kustomization, again, and finds it as it was sent.
fn is_taken(plane: &ControlPlane, folder: &str) {
    for _ in 0..2 {
        plane.apply_kustomization(folder).unwrap();
        plane.wait_for_crds().unwrap();
    }
    // Ends with 1 if the API server has something else: a field that it does not keep, or a default that it sets.
    let difference = ["diff", "--server-side", "--kustomize", &path(folder).unwrap()];
    assert_eq!(plane.kubectl(&difference).unwrap(), "", "{folder}");
}

#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_the_api_server_takes_the_base_and_what_is_beside_it() {
    let plane = ControlPlane::start().unwrap();
    plane.kubectl(&["apply", "--filename", &path("manifests/base/namespace.yaml").unwrap()]).unwrap();
    for folder in ["manifests/base", "manifests/policy", "manifests/uninstall"] {
        is_taken(&plane, folder);
    }
    let wrong = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "date": {}});
    let strict = ["apply", "--server-side", "--validate=strict", "--filename=-"];
    let error = plane.feed(plane.admin(), &strict, &wrong.to_string()).unwrap_err().to_string();
    assert!(error.contains("unknown field") || error.contains("field not declared"), "{error}");
}

/// By the command in docs/operations.md: the configuration stays, and nothing of the programs does.
#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_the_documented_removal_leaves_the_configuration_only() {
    let plane = ControlPlane::installed().unwrap();
    plane.apply_all(&[pool("p", &["192.0.2.0/28", "2001:db8:1::/124"])]).unwrap();
    let document = fs::read_to_string(path("docs/operations.md").unwrap()).unwrap();
    let kinds = document.lines().find_map(|line| line.strip_prefix("kubectl delete deployment,")).unwrap();
    let kinds = format!("deployment,daemonset,{}", kinds.trim_end_matches([' ', '\\']));
    let label = ["--namespace", NAMESPACE, "--selector", "app.kubernetes.io/name=barelb"];
    plane.kubectl(&[&["delete", &kinds], &label[..]].concat()).unwrap();
    let kept: Vec<_> = kustomize("manifests/base")
        .unwrap()
        .into_keys()
        .filter(|name| {
            let words: Vec<&str> = name.split(' ').collect();
            let place = if words[1].is_empty() { "default" } else { words[1] };
            plane.get(&[words[0], words[2], "--namespace", place]).is_ok()
        })
        .collect();
    let stays =
        |name: &String| name.starts_with("Namespace ") || name.starts_with("CustomResourceDefinition ");
    assert!(kept.len() > 5 && kept.iter().all(stays), "{kept:?}");
    plane.get(&["ipaddresspool", "p", "--namespace", NAMESPACE]).unwrap();
}

#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_the_api_server_takes_each_overlay() {
    for overlay in ["privileged", "seccomp", "k3s"] {
        let plane = ControlPlane::start().unwrap();
        is_taken(&plane, &format!("manifests/overlays/{overlay}"));
        let agent = plane.get(&["daemonset", "barelb-agent", "--namespace", NAMESPACE]).unwrap();
        plane.feed(plane.admin(), &DRY, &pod_of(&agent, NAMESPACE).to_string()).unwrap();
    }
}

/// Makes nothing, and is judged as if it did.
const DRY: [&str; 4] = ["create", "--dry-run=server", "--validate=strict", "--filename=-"];

/// With the levels of Pod Security that Talos configures, the labels of the namespace let the pods start.
#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_the_pods_start_where_talos_enforces_the_level_baseline() {
    let folder = Scratch::new("pod-security").unwrap();
    let file = folder.join("admission.json");
    let levels = json!({
        "apiVersion": "pod-security.admission.config.k8s.io/v1", "kind": "PodSecurityConfiguration",
        "defaults": {"enforce": "baseline", "enforce-version": "latest", "audit": "restricted", "warn": "restricted"},
        "exemptions": {"namespaces": ["kube-system"]},
    });
    let configuration = json!({
        "apiVersion": "apiserver.config.k8s.io/v1", "kind": "AdmissionConfiguration",
        "plugins": [{"name": "PodSecurity", "configuration": levels}],
    });
    fs::write(&file, configuration.to_string()).unwrap();
    let arguments = vec![format!("--admission-control-config-file={}", file.display())];
    let plane = ControlPlane::start_with(Options { arguments, ..Options::default() }).unwrap();
    is_taken(&plane, "manifests/overlays/talos");
    is_taken(&plane, "manifests/uninstall");
    for (kind, name) in
        [("daemonset", "barelb-agent"), ("deployment", "barelb-controller"), ("daemonset", "barelb-detach")]
    {
        let object = plane.get(&[kind, name, "--namespace", NAMESPACE]).unwrap();
        let create =
            |namespace: &str| plane.feed(plane.admin(), &DRY, &pod_of(&object, namespace).to_string());
        create(NAMESPACE).unwrap();
        let elsewhere = create("default").map_err(|error| error.to_string());
        if kind == "daemonset" {
            assert!(elsewhere.unwrap_err().contains("violates PodSecurity \"baseline:latest\""), "{name}");
        } else {
            elsewhere.unwrap();
        }
    }
}

/// Both have pools, and each gives addresses to Services of its own class only.
#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_beside_metallb_only_services_of_the_class_are_served_from_pools_of_the_own_namespace() {
    const OURS: &str = "barelb-system";
    let plane = ControlPlane::start().unwrap();
    plane.install_with_metallbs_crds().unwrap();
    is_taken(&plane, "manifests/overlays/beside-metallb");
    let mut own = pool("own", &["192.0.2.0/28", "2001:db8:1::/124"]);
    own["metadata"]["namespace"] = json!(OURS);
    let class = json!({"loadBalancerClass": "barelb.io/layer2", "ipFamilyPolicy": "RequireDualStack"});
    plane
        .apply_all(&[
            pool("metallbs", &["198.51.100.0/28", "2001:db8:2::/124"]),
            own,
            plain("theirs"),
            service("ours", &json!({}), &class),
        ])
        .unwrap();
    let deployment = plane.get(&["deployment", "barelb-controller", "--namespace", OURS]).unwrap();
    let arguments = &deployment["spec"]["template"]["spec"]["containers"][0]["args"];
    let arguments: Vec<String> = serde_json::from_value(arguments.clone()).unwrap();
    let further: Vec<&str> = arguments[2..].iter().map(String::as_str).collect();
    assert_eq!(further, ["--namespace=barelb-system", "--lb-class=barelb.io/layer2"]);
    // The account that the overlay made, with the rights that the overlay gave it.
    let account = plane.service_account(OURS, "barelb-controller").unwrap();
    let mut controller = Controller::start_as(&plane, &account, 0, &further).unwrap();
    controller.wait_ready().unwrap();
    plane.becomes(&controller, "ours", &["192.0.2.0", "2001:db8:1::"]).unwrap();
    assert_eq!(plane.addresses("theirs").unwrap(), Vec::<String>::new());
    controller.stop().unwrap();
}

#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_what_helm_renders_is_taken_and_its_rights_are_enough_for_the_controller() {
    let plane = ControlPlane::start().unwrap();
    let strict = ["apply", "--server-side", "--validate=strict", "--filename=-"];
    let said = plane.feed(plane.admin(), &strict, &template(NAMESPACE, &[]).unwrap()).unwrap();
    assert!(said.contains("daemonset.apps/barelb-agent serverside-applied"), "{said}");
    plane.wait_for_crds().unwrap();
    gives_addresses(&plane);
}

fn gives_addresses(plane: &ControlPlane) {
    let both = json!({"ipFamilyPolicy": "RequireDualStack"});
    let pool = pool("p", &["192.0.2.0/28", "2001:db8:1::/124"]);
    plane.apply_all(&[pool, service("web", &json!({}), &both)]).unwrap();
    let mut controller = Controller::start(plane, 0, &[]).unwrap();
    controller.wait_ready().unwrap();
    plane.becomes(&controller, "web", &["192.0.2.0", "2001:db8:1::"]).unwrap();
    controller.stop().unwrap();
}

/// As a user of Helm does it. The pools outlive the release, as namespace and CRDs do.
#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_helm_installs_upgrades_and_uninstalls() {
    let (plane, chart) = (ControlPlane::start().unwrap(), path("charts/barelb").unwrap());
    let place = ["--namespace", NAMESPACE];
    plane.helm(&[&["install", "barelb", &chart, "--create-namespace"], &place[..]].concat()).unwrap();
    plane.wait_for_crds().unwrap();
    let namespace = plane.get(&["namespace", NAMESPACE]).unwrap();
    assert_eq!(namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"], "privileged");
    gives_addresses(&plane);

    let upgrade = ["upgrade", "barelb", &chart, "--set", "agent.grace=2m"];
    plane.helm(&[&upgrade, &place[..]].concat()).unwrap();
    let agent = |plane: &ControlPlane| plane.get(&[&["daemonset", "barelb-agent"], &place[..]].concat());
    let arguments = agent(&plane).unwrap()["spec"]["template"]["spec"]["containers"][0]["args"].to_string();
    assert!(arguments.contains("\"--grace=2m\""), "{arguments}");

    plane.helm(&[&["uninstall", "barelb"], &place[..]].concat()).unwrap();
    assert!(agent(&plane).is_err());
    plane.get(&[&["ipaddresspool", "p"], &place[..]].concat()).unwrap();
    let left = plane.get(&["namespace", NAMESPACE]).unwrap();
    assert_eq!(left["metadata"]["deletionTimestamp"], Value::Null);

    // Where the namespace is there already, as MetalLB's is.
    let again = ["install", "barelb", &chart, "--set", "namespace.create=false"];
    plane.helm(&[&again, &place[..]].concat()).unwrap();
    agent(&plane).unwrap();
}
