//! The container image as `cargo xtask image` makes it: what is in it, and that it runs as the manifests say. Needs root
//! and runc.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use lb_test::client::{ProbeClient, ProbeConfig};
use lb_test::cluster::Certificate;
use lb_test::container::{Container, Image, Pod, Rooms};
use lb_test::namespace::Namespace;
use lb_test::pages::Pages;
use lb_test::scratch::Scratch;
use lb_test::standalone::{Standalone, service};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

const V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);
const V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x100);
const NODE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 11);
const READY: Duration = Duration::from_secs(30);
const AGENT: &str = "base/agent/daemonset.yaml";
const CONTROLLER: &str = "base/controller/deployment.yaml";
const SECCOMP: &str = "overlays/seccomp/agent.yaml";
/// Where the agent finds what this test gives it beside what the manifest does.
const MANIFESTS: &str = "/manifests";

fn image() -> Image {
    Image::read(&Image::find().unwrap()).unwrap()
}

#[test]
#[ignore = "needs the image: `cargo xtask image`"]
fn runtimes_find_the_image_by_the_name_in_the_manifests() {
    let image = image();
    for file in [AGENT, CONTROLLER] {
        let (name, tag) = Pod::of(file).unwrap().container.image.split_once(':').map(own).unwrap();
        // What a name without a registry and a folder stands for.
        let full = format!("docker.io/library/{name}:{tag}");
        assert_eq!(image.annotations["io.containerd.image.name"], full);
        assert_eq!(image.annotations["org.opencontainers.image.ref.name"], tag);
        assert_eq!(image.docker[0]["RepoTags"], json!([full]));
        assert_eq!(image.content().config.labels["org.opencontainers.image.version"], tag);
    }
}

fn own((name, tag): (&str, &str)) -> (String, String) {
    (name.to_owned(), tag.to_owned())
}

#[test]
#[ignore = "needs the image: `cargo xtask image`"]
fn the_image_holds_one_program_for_this_machine() {
    let image = image();
    let content = image.content();
    let architecture = if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" };
    assert_eq!((content.os.as_str(), content.architecture.as_str()), ("linux", architecture));
    assert_eq!(
        (content.config.entrypoint.as_slice(), content.config.user.as_str()),
        (&["/barelb".to_owned()][..], "65532:65532")
    );
    let files = image.files().unwrap();
    let names: Vec<_> = files.keys().map(String::as_str).collect();
    let licences = ["licenses/", "licenses/LICENSE-APACHE", "licenses/LICENSE-MIT"];
    assert_eq!(names, [&["barelb", "barelb.cdx.json"], &licences[..]].concat());
}

/// What the CycloneDX schema (1.6) requires, and that the list is of this binary.
#[test]
#[ignore = "needs the image: `cargo xtask image`"]
fn the_list_of_parts_is_of_this_binary() {
    let files = image().files().unwrap();
    let beside = fs::read(Image::find().unwrap().with_file_name("barelb.cdx.json")).unwrap();
    assert!(beside == files["barelb.cdx.json"]);
    let list: Value = serde_json::from_slice(&beside).unwrap();
    assert_eq!(
        (&list["bomFormat"], &list["specVersion"], &list["version"]),
        (&json!("CycloneDX"), &json!("1.6"), &json!(1))
    );
    let program = &list["metadata"]["component"];
    assert_eq!(program["hashes"][0]["content"], format!("{:x}", Sha256::digest(&files["barelb"])));
    let components = list["components"].as_array().unwrap();
    let mut references = BTreeSet::new();
    for component in components.iter().chain([program]) {
        for field in ["type", "name", "version", "bom-ref"] {
            assert!(component[field].as_str().is_some_and(|text| !text.is_empty()), "{field}: {component}");
        }
        assert!(component["licenses"][0]["expression"].is_string(), "{component}");
        assert!(references.insert(component["bom-ref"].as_str().unwrap()), "twice: {component}");
    }
    let dependencies = list["dependencies"].as_array().unwrap();
    let known: BTreeSet<_> = dependencies.iter().map(|entry| entry["ref"].as_str().unwrap()).collect();
    assert_eq!(known, references);
    // Nothing stands there that the program does not need.
    let needs: BTreeMap<_, _> =
        dependencies.iter().map(|entry| (entry["ref"].as_str().unwrap(), &entry["dependsOn"])).collect();
    let (mut reached, mut next) = (BTreeSet::new(), vec![program["bom-ref"].as_str().unwrap()]);
    while let Some(reference) = next.pop() {
        if reached.insert(reference) {
            next.extend(needs[reference].as_array().unwrap().iter().map(|needed| needed.as_str().unwrap()));
        }
    }
    assert_eq!(reached, references);
    for part in ["lb-core", "kube-client", "lb-ebpf", "aya-ebpf", "rust-std"] {
        assert!(components.iter().any(|component| component["name"] == part), "{part}");
    }
}

/// A node with the volumes of the agent's manifest.
struct Node {
    standalone: Standalone,
    secret: Scratch,
}

impl Node {
    fn new() -> Self {
        let standalone = Standalone::new().unwrap();
        standalone.write("service.yaml", &service("web", &[V4.into(), V6.into()])).unwrap();
        let secret = Scratch::new("memberlist").unwrap();
        fs::write(secret.join("secretkey"), "0123456789abcdef0123456789abcdef").unwrap();
        Self { standalone, secret }
    }

    fn rooms(&self) -> Rooms {
        Rooms {
            network: self.standalone.node.namespace().clone(),
            volumes: BTreeMap::from([
                ("bpffs", self.standalone.bpffs().to_owned()),
                ("state", self.standalone.state()),
                ("memberlist", self.secret.path().to_owned()),
            ]),
            fields: BTreeMap::from([
                ("spec.nodeName", "node-a".to_owned()),
                ("status.hostIP", NODE.to_string()),
            ]),
            beside: BTreeMap::from([(MANIFESTS, self.standalone.manifests())]),
            variables: BTreeMap::new(),
        }
    }

    /// The agent of the manifest, ready.
    fn agent(&self, image: &Image) -> Container {
        self.run(image, Pod::of(AGENT).unwrap())
    }

    /// An agent that reads a folder in place of a cluster, ready.
    fn run(&self, image: &Image, pod: Pod) -> Container {
        assert!(pod.host_network);
        let pod = pod.and_args(&[
            "--standalone=/manifests",
            "--status-dir=/var/lib/barelb/status",
            "--interface=eth0",
            "--xdp-mode=native",
        ]);
        let mut agent = Container::start("agent", image, &pod, &self.rooms()).unwrap();
        let deadline = Instant::now() + READY;
        while !self.is_ready() {
            agent.ensure_running().unwrap();
            assert!(Instant::now() < deadline, "not ready: {}", agent.log());
            sleep(Duration::from_millis(100));
        }
        agent
    }

    /// As the kubelet asks.
    fn is_ready(&self) -> bool {
        let address = SocketAddr::from((NODE, 7475));
        Pages::new(self.standalone.node.namespace(), address).get("/readyz").is_ok()
    }

    fn client(&self) -> ProbeClient {
        let config = ProbeConfig { targets: vec![V4.into(), V6.into()], per_second: 200 };
        ProbeClient::start(&self.standalone.client, config).unwrap()
    }
}

/// What `barelb inspect` says, asked in the container.
fn inspect(agent: &Container) -> Value {
    let output = agent.exec(&["inspect", "-o", "json"]).unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
#[ignore = "needs root, runc and the image: makes network namespaces"]
fn the_agent_answers_out_of_its_container_and_beyond_its_end() {
    let (node, image) = (Node::new(), image());
    let mut agent = node.agent(&image);
    node.client().run_for(Duration::from_secs(1)).unwrap().assert_complete().unwrap();

    let report = inspect(&agent);
    assert_eq!(
        (&report["agent"]["synced"], &report["links"][0]["mode"]),
        (&json!(true), &json!("native")),
        "{report:#}"
    );
    let addresses: BTreeSet<IpAddr> = report["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["ip"].as_str().unwrap().parse().unwrap())
        .collect();
    assert_eq!(addresses, BTreeSet::from([V4.into(), V6.into()]));
    let check = agent.exec(&["check", "--interface=eth0", "--listen=0"]).unwrap();
    let text = String::from_utf8_lossy(&check.stdout);
    assert!(check.status.success() && text.contains("OK") && !text.contains("FAIL"), "{text}");
    assert!(!agent.log().contains("WARN") && !agent.log().contains("ERROR"), "{}", agent.log());

    // A request every 5 ms, the moment of its end among them.
    let client = node.client();
    sleep(Duration::from_secs(1));
    agent.kill().unwrap();
    drop(agent);
    sleep(Duration::from_secs(1));
    client.stop().unwrap().assert_complete().unwrap();

    // Another one goes on with the pins.
    let client = node.client();
    let agent = node.agent(&image);
    client.run_for(Duration::from_secs(1)).unwrap().assert_complete().unwrap();
    assert_eq!(inspect(&agent)["agent"]["synced"], true);
}

#[test]
#[ignore = "needs root, runc and the image: makes network namespaces"]
fn the_agent_has_what_the_manifest_gives_and_no_more() {
    let (node, image) = (Node::new(), image());
    let agent = node.agent(&image);
    let named = Pod::of(AGENT).unwrap().security.capabilities.unwrap().add;
    // linux/capability.h
    let bit = |name: &str| match name {
        "NET_ADMIN" => 12,
        "NET_RAW" => 13,
        "PERFMON" => 38,
        "BPF" => 39,
        other => panic!("{other}"),
    };
    let given: u64 = named.iter().map(|name| 1_u64 << bit(name)).sum();
    assert_eq!(agent.status("CapBnd").unwrap(), format!("{given:016x}"));
    assert_eq!(agent.status("NoNewPrivs").unwrap(), "1");
    assert_eq!(agent.status("Seccomp").unwrap(), "0");
    // It gives two up by itself.
    let kept = 1_u64 << bit("BPF") | 1_u64 << bit("NET_ADMIN");
    assert_eq!(agent.status("CapEff").unwrap(), format!("{kept:016x}"));
    // Beside what every container has below /proc and /dev. Neither the root nor the secret.
    let mut writable = agent.writable().unwrap();
    writable.retain(|target| !["/proc", "/dev"].iter().any(|of_all| Path::new(target).starts_with(of_all)));
    assert_eq!(writable, BTreeSet::from(["/sys/fs/bpf", "/var/lib/barelb"].map(str::to_owned)));
}

#[test]
#[ignore = "needs root, runc and the image: makes network namespaces"]
fn the_agent_answers_under_the_seccomp_profile_of_the_overlay() {
    let (node, image) = (Node::new(), image());
    let agent = node.run(&image, Pod::of(AGENT).unwrap().secured_by(SECCOMP).unwrap());
    // 2: a filter.
    assert_eq!(agent.status("Seccomp").unwrap(), "2");
    node.client().run_for(Duration::from_secs(1)).unwrap().assert_complete().unwrap();
    assert_eq!(inspect(&agent)["agent"]["synced"], true);
    assert!(!agent.log().contains("WARN") && !agent.log().contains("ERROR"), "{}", agent.log());
}

/// What the controller's pod has, where no API server listens.
fn pod_of_its_own() -> Rooms {
    Rooms {
        network: Namespace::new("pod").unwrap(),
        volumes: BTreeMap::new(),
        fields: BTreeMap::from([
            ("metadata.name", "barelb-controller-0".to_owned()),
            ("status.podIP", "127.0.0.1".to_owned()),
        ]),
        variables: BTreeMap::from([
            ("KUBERNETES_SERVICE_HOST", "127.0.0.1"),
            ("KUBERNETES_SERVICE_PORT", "1"),
        ]),
        beside: BTreeMap::new(),
    }
}

#[test]
#[ignore = "needs root, runc and the image: makes network namespaces"]
fn the_controller_runs_as_a_user_without_rights_and_ends_when_told_to() {
    let (account, authority) = (Scratch::new("account").unwrap(), Certificate::new(&["nobody"]).unwrap());
    fs::copy(authority.authority(), account.join("ca.crt")).unwrap();
    fs::write(account.join("token"), "a token").unwrap();
    fs::write(account.join("namespace"), "metallb-system").unwrap();
    let mut rooms = pod_of_its_own();
    rooms.beside.insert("/var/run/secrets/kubernetes.io/serviceaccount", account.path().to_owned());
    let pod = Pod::of(CONTROLLER).unwrap();
    assert!(!pod.host_network);
    let mut container = Container::start("controller", &image(), &pod, &rooms).unwrap();
    let pages = Pages::on_loopback(&rooms.network, 7472);
    let deadline = Instant::now() + READY;
    while pages.ask("/livez").is_err() {
        container.ensure_running().unwrap();
        assert!(Instant::now() < deadline, "nothing answers: {}", container.log());
        sleep(Duration::from_millis(100));
    }
    // It goes on trying, and is well.
    assert_eq!(["/livez", "/readyz"].map(|path| pages.ask(path).unwrap().0), [200, 503]);
    assert_eq!(container.status("Uid").unwrap(), ["65532"; 4].join("\t"));
    assert_eq!(container.status("Gid").unwrap(), ["65532"; 4].join("\t"));
    for set in ["CapBnd", "CapPrm", "CapEff", "CapInh", "CapAmb"] {
        assert_eq!(container.status(set).unwrap(), "0".repeat(16), "{set}");
    }
    assert_eq!(container.status("NoNewPrivs").unwrap(), "1");
    assert!(!container.writable().unwrap().contains("/"));
    container.term().unwrap();
    assert!(container.wait().unwrap(), "{}", container.log());
}

#[test]
#[ignore = "needs root, runc and the image: makes network namespaces"]
fn commands_that_need_no_cluster_run_in_the_image() {
    let image = image();
    let run = |arguments: &[&str]| {
        let pod = Pod::of(CONTROLLER).unwrap().with_args(arguments);
        let mut container = Container::start("command", &image, &pod, &pod_of_its_own()).unwrap();
        assert!(container.wait().unwrap(), "{}", container.log());
        container.log()
    };
    let help = run(&["controller", "--help"]);
    assert!(help.contains("--metrics-addr") && help.contains("--kubeconfig"), "{help}");
    assert_eq!(run(&["crds"]).matches("\nkind: CustomResourceDefinition\n").count(), 9);
}
