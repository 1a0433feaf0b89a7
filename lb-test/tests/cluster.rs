//! L5, the control plane itself: what the tests of the controller and the agents stand on. Needs root and the
//! programs of the testbed: see the README of this crate.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::IpAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use lb_test::cluster::{Component, ControlPlane, KubeProxy, Network, Options};
use lb_test::lab::web::{WebServer, fetch, host};
use lb_test::link::Veth;
use lb_test::scratch::Scratch;
use serde_json::json;

const LONG: Duration = Duration::from_mins(1);

fn config_map(name: &str) -> String {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name } }).to_string()
}

fn service(name: &str, fields: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\nspec:\n  type: LoadBalancer\n\
         \x20 ipFamilyPolicy: RequireDualStack\n  ports:\n  - name: http\n    port: 80\n{fields}"
    )
}

#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_a_service_is_applied_and_read_back() {
    let plane = ControlPlane::start().unwrap();
    assert_eq!(plane.apply(&service("web", "")).unwrap(), "service/web created\n");
    let web = plane.get(&["service", "web"]).unwrap();
    let addresses: Vec<IpAddr> = serde_json::from_value(web["spec"]["clusterIPs"].clone()).unwrap();
    assert!(addresses[0].to_string().starts_with("10.96."), "{addresses:?}");
    assert!(addresses[1].to_string().starts_with("fd00:10:96::"), "{addresses:?}");
    let error = plane.apply(&service("Web", "")).unwrap_err().to_string();
    assert!(error.contains("metadata.name: Invalid value: \"Web\""), "{error}");
    let versions = plane.kubectl(&["version"]).unwrap();
    assert!(!versions.contains("v0.0.0"), "{versions}");
}

#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_a_control_plane_of_ipv6_only() {
    let options = Options {
        address: "2001:db8::2".parse().unwrap(),
        service_ranges: "fd00:10:96::/112".to_owned(),
        ..Options::default()
    };
    let plane = ControlPlane::start_with(options).unwrap();
    plane.apply(&service("web", "").replace("RequireDualStack", "SingleStack")).unwrap();
    assert_eq!(plane.get(&["service", "web"]).unwrap()["spec"]["ipFamilies"], json!(["IPv6"]));
}

#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_a_service_account_may_do_what_its_role_says_and_is_audited() {
    let plane = ControlPlane::start().unwrap();
    let account = plane.service_account("metallb-system", "controller").unwrap();
    let refused = plane.kubectl_as(&account, &["get", "services"]).unwrap_err().to_string();
    let user = "system:serviceaccount:metallb-system:controller";
    assert!(refused.contains(&format!("User \"{user}\" cannot list resource \"services\"")), "{refused}");
    plane.kubectl(&["create", "clusterrole", "reader", "--verb=get,list", "--resource=services"]).unwrap();
    let subject = ["--clusterrole=reader", "--serviceaccount=metallb-system:controller"];
    plane.kubectl(&[&["create", "clusterrolebinding", "reader"], &subject[..]].concat()).unwrap();
    // The authorizer follows the API with a watch of its own.
    let granted = plane.wait_for(LONG, "the role is not in force", |plane| {
        Ok(plane.kubectl_as(&account, &["get", "services", "--output=name"]).ok())
    });
    assert_eq!(granted.unwrap(), "service/kubernetes\n");

    let mut log = plane.audit_from_now().unwrap();
    let refused = plane.apply_as(&account, &service("web", "")).unwrap_err().to_string();
    assert!(refused.contains("cannot create resource \"services\""), "{refused}");
    plane.apply(&service("web", "")).unwrap();
    plane.patch_status(&["service", "web"], &json!({ "loadBalancer": {} })).unwrap();
    let mut seen = Vec::new();
    let seen = plane.wait_for(LONG, "the last write is not in the audit log", |_| {
        seen.extend(log.read()?);
        Ok(seen.iter().any(|request| request.subresource == "status").then(|| seen.clone()))
    });
    let writes = |name: &str| {
        let of = seen.as_ref().unwrap().iter().filter(|one| one.user == name && one.is_write());
        of.map(|one| (one.verb.as_str(), one.resource.as_str(), one.code)).collect::<Vec<_>>()
    };
    assert_eq!(account.user(), user);
    assert_eq!(writes(user), [("create", "services", 403)]);
    assert_eq!(writes(plane.admin().user()), [("create", "services", 201), ("patch", "services", 200)]);
    assert_eq!(log.writes_of(user).unwrap(), [], "what was read is not read again");
}

#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_nodes_are_registered_ready() {
    let plane = ControlPlane::start().unwrap();
    let [a, b] = [Network::addresses(11), Network::addresses(12)];
    plane.add_nodes(&[("node-a", &a), ("node-b", &b)]).unwrap();
    plane.set_node_condition("node-b", "NetworkUnavailable", "True").unwrap();
    let columns = "--output=custom-columns=A:.status.addresses[*].address,C:.status.conditions[*].status,T:.spec.taints";
    let shown = plane.kubectl(&["get", "nodes", "--no-headers", columns]).unwrap();
    let rows: Vec<Vec<_>> = shown.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["192.0.2.11,2001:db8::11,node-a", "True,False", "<none>"]);
    assert_eq!(rows[1][1], "True,True", "{shown}");
}

/// Every way in which an API server can be away, with a watch open.
#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_a_watch_goes_on_over_frozen_and_restarted_servers() {
    let (mut plane, folder) = (ControlPlane::start().unwrap(), Scratch::new("watch").unwrap());
    let log = folder.join("watch.log");
    let mut command = plane.kubectl_command(plane.admin()).unwrap();
    command.args(["get", "configmaps", "--watch", "--output=name"]);
    let mut watch = plane.namespace().spawn_command(&mut command, &log).unwrap();
    let sees = |plane: &ControlPlane, name: &str| {
        let line = format!("configmap/{name}");
        plane.wait_for(LONG, &format!("the watch has not seen {name}"), |_| {
            Ok(fs::read_to_string(&log)?.lines().any(|one| one == line).then_some(()))
        })
    };
    let one_second = ["get", "configmaps", "--request-timeout=1s"];

    plane.apply(&config_map("before")).unwrap();
    sees(&plane, "before").unwrap();
    for component in [Component::ApiServer, Component::Etcd] {
        plane.freeze(component).unwrap();
        assert!(
            plane.kubectl(&["create", "configmap", "frozen", "--request-timeout=1s"]).is_err(),
            "{component:?} is frozen"
        );
        plane.thaw(component).unwrap();
        plane.wait_ready().unwrap();
        let name = format!("thawed-{component:?}").to_lowercase();
        plane.apply(&config_map(&name)).unwrap();
        sees(&plane, &name).unwrap();
    }
    plane.kill(Component::Etcd).unwrap();
    assert!(plane.restart(Component::ApiServer).is_err(), "it runs");
    plane.restart(Component::Etcd).unwrap();
    plane.apply(&config_map("after-etcd")).unwrap();
    sees(&plane, "after-etcd").unwrap();
    assert!(watch.is_running(), "{}", watch.log());

    plane.kill(Component::ApiServer).unwrap();
    assert!(plane.kubectl(&one_second).is_err());
    let started = Instant::now();
    plane.restart(Component::ApiServer).unwrap();
    assert!(started.elapsed() < LONG, "{:?}", started.elapsed());
    let kept = plane.kubectl(&["get", "configmaps", "--output=name"]).unwrap();
    assert!(kept.contains("configmap/after-etcd"), "{kept}");
    assert!(watch.wait(LONG).unwrap().is_some(), "kubectl ends with the connection");

    plane.terminate(Component::ApiServer).unwrap();
    plane.terminate(Component::Etcd).unwrap();
    plane.restart(Component::Etcd).unwrap();
    plane.restart(Component::ApiServer).unwrap();
    assert_eq!(plane.kubectl(&["get", "configmaps", "--output=name"]).unwrap(), kept);
}

/// How the program under test is shown "410 Gone": watches of versions from before a restart are refused.
#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_a_restarted_api_server_refuses_old_versions() {
    let mut plane = ControlPlane::start().unwrap();
    plane.apply(&config_map("old")).unwrap();
    let old = plane.get(&["configmap", "old"]).unwrap();
    let version = old["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    let path = format!(
        "--raw=/api/v1/namespaces/default/configmaps?watch=1&timeoutSeconds=2&resourceVersion={version}"
    );
    plane.apply(&config_map("new")).unwrap();
    let seen = plane.kubectl(&["get", &path]).unwrap();
    assert!(seen.contains("\"type\":\"ADDED\"") && seen.contains("\"name\":\"new\""), "{seen}");
    plane.kill(Component::ApiServer).unwrap();
    plane.restart(Component::ApiServer).unwrap();
    let refused = plane.kubectl(&["get", &path]).unwrap();
    assert!(refused.contains("\"reason\":\"Expired\",\"code\":410"), "{refused}");
}

/// A node with two web servers behind kube-proxy, and a client that finds the address without any ARP.
struct Proxied {
    _proxy: KubeProxy,
    _webs: [WebServer; 2],
    _node: Veth,
    client: Veth,
    plane: ControlPlane,
    _machine: Veth,
    _network: Network,
}

const VIPS: [&str; 2] = ["192.0.2.100", "2001:db8::100"];

fn slices(port: u16) -> String {
    let slice = |(family, address): (&str, IpAddr)| {
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": family,
            "metadata": {
                "name": format!("web-{}", family.to_lowercase()),
                "labels": { "kubernetes.io/service-name": "web" },
            },
            "ports": [{ "name": "http", "port": port, "protocol": "TCP" }],
            "endpoints": [{ "addresses": [address], "nodeName": "node-a", "conditions": { "ready": true } }],
        })
    };
    let [v4, v6] = Network::addresses(11);
    let items = [("IPv4", v4), ("IPv6", v6)].map(slice);
    json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string()
}

impl Proxied {
    fn new() -> Self {
        let network = Network::new().unwrap();
        let machine = network.attach("control-plane", 2).unwrap();
        let options = Options { namespace: Some(machine.a.namespace().clone()), ..Options::default() };
        let plane = ControlPlane::start_with(options).unwrap();
        let (node, client) = (network.attach("node-a", 11).unwrap(), network.attach("client", 10).unwrap());
        for vip in VIPS {
            client.a.add_neighbour(vip.parse().unwrap(), node.a.mac()).unwrap();
        }
        plane.add_nodes(&[("node-a", &Network::addresses(11))]).unwrap();
        plane.apply(&service("web", "  externalTrafficPolicy: Local\n")).unwrap();
        plane.apply(&slices(8080)).unwrap();
        let ingress = VIPS.map(|ip| json!({ "ip": ip, "ipMode": "VIP" }));
        plane.patch_status(&["service", "web"], &json!({ "loadBalancer": { "ingress": ingress } })).unwrap();
        let webs = [("one", 8080), ("two", 8081)]
            .map(|(name, port)| WebServer::start(node.a.namespace(), name, port).unwrap());
        let proxy = KubeProxy::start(&plane, node.a.namespace(), "node-a").unwrap();
        Self { _proxy: proxy, _webs: webs, _node: node, client, plane, _machine: machine, _network: network }
    }

    /// Waits until the page of the server `name` comes through both addresses, with the client's own address.
    fn serves(&self, name: &str) {
        for (vip, peer) in VIPS.into_iter().zip(Network::addresses(10)) {
            let vip: IpAddr = vip.parse().unwrap();
            let expected = format!("{name} serves http://{}/ to {peer}", host(vip));
            let page = self.plane.wait_for(LONG, &format!("no page `{expected}`"), |_| {
                Ok(Some(fetch(self.client.a.namespace(), vip)?).filter(|page| *page == expected))
            });
            page.unwrap();
        }
    }
}

#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_kube_proxy_serves_a_load_balancer_address_and_follows_over_a_restart() {
    let mut proxied = Proxied::new();
    proxied.serves("one");
    proxied.plane.kill(Component::ApiServer).unwrap();
    proxied.serves("one");
    proxied.plane.restart(Component::ApiServer).unwrap();
    proxied.plane.apply(&slices(8081)).unwrap();
    proxied.serves("two");
    let requests = proxied.plane.audit_log().read().unwrap();
    let watches = requests.iter().filter(|one| {
        (one.user.as_str(), one.verb.as_str(), one.code) == ("system:kube-proxy", "watch", 200)
            && one.resource == "endpointslices"
    });
    assert!(watches.count() >= 2, "one before the restart, one after");
}

/// Another process of these tests that runs only `test`.
fn run_apart(test: &str) -> Child {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", test, "--ignored"]).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

/// Programs that were started with a path of that process.
fn programs_of(pid: u32) -> usize {
    let prefix = format!("barelb-test-{pid}-");
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
    lines.filter(|line| String::from_utf8_lossy(line).contains(&prefix)).count()
}

#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_a_killed_test_leaves_its_control_plane_to_the_next() {
    let mut killed = run_apart("l5_a_service_is_applied_and_read_back");
    let deadline = Instant::now() + LONG;
    while programs_of(killed.id()) < 2 {
        assert!(
            Instant::now() < deadline && killed.try_wait().unwrap().is_none(),
            "etcd and the API server run"
        );
        thread::sleep(Duration::from_millis(5));
    }
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert!(run_apart("l5_a_service_is_applied_and_read_back").wait().unwrap().success());
    assert_eq!(lb_test::made_by(killed.id()).unwrap(), Vec::<String>::new());
    assert_eq!(programs_of(killed.id()), 0);
}

#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_a_panic_leaves_nothing_behind() {
    let seen = std::sync::Mutex::new(None);
    let panicked = std::panic::catch_unwind(|| {
        let mut plane = ControlPlane::start().unwrap();
        let pids = [Component::Etcd, Component::ApiServer].map(|component| plane.pid(component).unwrap());
        *seen.lock().unwrap() = Some((plane.namespace().name().to_owned(), pids));
        panic!("as a failing test does");
    });
    assert!(panicked.is_err());
    let (namespace, pids) = seen.into_inner().unwrap().unwrap();
    assert!(!Path::new("/run/netns").join(namespace).exists());
    assert!(pids.iter().all(|pid| !Path::new("/proc").join(pid.to_string()).exists()));
}
