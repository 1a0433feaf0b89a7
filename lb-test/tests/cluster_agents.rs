//! L5: controller and agents in a cluster of namespaces, with kube-proxy and web servers, seen by a client. Needs root
//! and the testbed.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::thread;
use std::time::Duration;

use lb_test::client::{ProbeClient, ProbeConfig, Report};
use lb_test::cluster::services::{object, pool, service};
use lb_test::cluster::{
    Component, ControlPlane, Controller, KubeProxy, Network, NodeAgent, NodeFiles, Options,
};
use lb_test::lab::web::{WebServer, fetch, host};
use lb_test::link::Veth;
use serde_json::{Value, json};

const VIPS: [&str; 2] = ["192.0.2.100", "2001:db8::100"];
const NODES: [(&str, u8); 2] = [("node-a", 11), ("node-b", 12)];
/// Lets a Lease last 17 s.
const GRACE: &str = "2s";

fn vips() -> [IpAddr; 2] {
    VIPS.map(|vip| vip.parse().unwrap())
}

/// A node: a web server behind kube-proxy, and the agent's files.
struct Machine {
    name: &'static str,
    cable: Veth,
    files: NodeFiles,
    _web: WebServer,
    _proxy: KubeProxy,
}

/// Two nodes, a client, and a Service with an endpoint on each node.
struct Site {
    agents: Vec<Option<NodeAgent>>,
    machines: Vec<Machine>,
    controller: Controller,
    client: Veth,
    plane: ControlPlane,
    _control: Veth,
    _network: Network,
}

fn slice(family: usize, nodes: &[(&str, u8)]) -> Value {
    let endpoint = |(node, host): &(&str, u8)| json!({"addresses": [Network::addresses(*host)[family]], "nodeName": node, "conditions": {"ready": true}});
    let kind = ["IPv4", "IPv6"][family];
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": kind,
        "metadata": {
            "name": format!("web-{}", kind.to_lowercase()), "labels": {"kubernetes.io/service-name": "web"},
        },
        "ports": [{"port": 8080, "protocol": "TCP"}],
        "endpoints": nodes.iter().map(endpoint).collect::<Vec<_>>(),
    })
}

fn web(more: &Value) -> Value {
    let mut fields = json!({"ipFamilyPolicy": "RequireDualStack", "externalTrafficPolicy": "Local"});
    for (field, value) in more.as_object().unwrap() {
        fields[field] = value.clone();
    }
    service("web", &json!({}), &fields)
}

impl Site {
    fn new() -> Self {
        let network = Network::new().unwrap();
        let control = network.attach("control-plane", 2).unwrap();
        let options = Options { namespace: Some(control.a.namespace().clone()), ..Options::default() };
        let plane = ControlPlane::start_with(options).unwrap();
        plane.install().unwrap();
        let client = network.attach("client", 10).unwrap();
        let machine = |(name, host): (&'static str, u8)| {
            let cable = network.attach(name, host).unwrap();
            plane.add_nodes(&[(name, &Network::addresses(host))]).unwrap();
            Machine {
                name,
                files: NodeFiles::new().unwrap(),
                _web: WebServer::start(cable.a.namespace(), name, 8080).unwrap(),
                _proxy: KubeProxy::start(&plane, cable.a.namespace(), name).unwrap(),
                cable,
            }
        };
        let machines: Vec<Machine> = NODES.into_iter().map(machine).collect();
        plane
            .apply_all(&[
                pool("p", &["192.0.2.100/32", "2001:db8::100/128"]),
                object("metallb.io/v1beta1", "L2Advertisement", "all", json!({})),
                web(&json!({})),
                slice(0, &NODES),
                slice(1, &NODES),
            ])
            .unwrap();
        let controller = Controller::start(&plane, 0, &[]).unwrap();
        plane.becomes(&controller, "web", &VIPS).unwrap();
        let mut site = Self {
            agents: Vec::new(),
            machines,
            controller,
            client,
            plane,
            _control: control,
            _network: network,
        };
        for index in 0..site.machines.len() {
            let agent = site.agent(index);
            site.agents.push(Some(agent));
        }
        site.wait_for_members(2);
        site
    }

    /// Waits until so many agents renew their Leases, and each knows of all.
    fn wait_for_members(&self, count: usize) {
        let members = self.plane.wait_for(Controller::PATIENCE, "agents are missing", |plane| {
            let renewals = plane.renewals()?;
            anyhow::ensure!(renewals.len() == count, "{renewals:?}\n{}", self.logs());
            Ok(Some(()))
        });
        members.unwrap();
        thread::sleep(Duration::from_millis(500));
    }

    fn agent(&self, index: usize) -> NodeAgent {
        let machine = &self.machines[index];
        let namespace = machine.cable.a.namespace();
        NodeAgent::start(&self.plane, namespace, machine.name, &machine.files, &["--grace", GRACE]).unwrap()
    }

    /// Begins to ask for both addresses.
    fn probe(&self, per_second: u32) -> ProbeClient {
        let config = ProbeConfig { targets: vips().to_vec(), per_second };
        ProbeClient::start(&self.client.a, config).unwrap()
    }

    /// Asks for both addresses for a while.
    fn ask(&self, long: Duration) -> Report {
        self.probe(200).run_for(long).unwrap()
    }

    /// Waits until exactly one node answers for both addresses; which one.
    fn owner(&self) -> usize {
        let found = self.plane.wait_for(Controller::PATIENCE, "no single owner", |_| {
            let report = self.ask(Duration::from_millis(300));
            let by: BTreeSet<_> = report.by_mac.keys().collect();
            let index = self.machines.iter().position(|one| by == BTreeSet::from([&one.cable.a.mac()]));
            anyhow::ensure!(
                index.is_some() && report.missing.is_empty(),
                "{}\n{}",
                report.summary(),
                self.logs()
            );
            Ok(index)
        });
        found.unwrap()
    }

    /// Waits until this node answers alone.
    fn is_owned_by(&self, index: usize) {
        let moved = self
            .plane
            .wait_for(Controller::PATIENCE, "another owner", |_| Ok((self.owner() == index).then_some(())));
        moved.unwrap();
    }

    /// Waits until exactly this node, or none, says that it announces the Service.
    fn is_said_to_be_of(&self, node: Option<&str>) {
        let said = self.plane.wait_for(Controller::PATIENCE, "it is not said", |plane| {
            let statuses = plane.get(&["servicel2statuses", "--namespace", "metallb-system"])?;
            let items = statuses["items"].as_array().into_iter().flatten();
            let found: Vec<Value> = items.map(|item| item["status"].clone()).collect();
            let one = |node| {
                json!({"node": node, "serviceName": "web", "serviceNamespace": "default", "interfaces": [{"name": "eth0"}]})
            };
            let expected: Vec<Value> = node.into_iter().map(one).collect();
            anyhow::ensure!(found == expected, "{found:?}\n{}", self.logs());
            Ok(Some(()))
        });
        said.unwrap();
    }

    /// How often it was told that a node announces the Service.
    fn times_assigned(&self, node: &str) -> usize {
        let events = self.plane.get(&["events.events.k8s.io"]).unwrap();
        let notes =
            events["items"].as_array().unwrap().iter().filter(|event| event["reason"] == "nodeAssigned");
        let note = format!("announcing from node {node:?} with protocol \"layer2\"");
        notes.filter(|event| event["note"] == note.as_str()).count()
    }

    /// The page that the client gets by each address comes from one of these nodes, with the client's own address.
    fn serves(&self, nodes: &[&str]) {
        for (vip, peer) in vips().into_iter().zip(Network::addresses(10)) {
            let page = self.plane.wait_for(Controller::PATIENCE, "no page", |_| {
                let page = fetch(self.client.a.namespace(), vip)?;
                let expected = |node: &&str| page == format!("{node} serves http://{}/ to {peer}", host(vip));
                anyhow::ensure!(nodes.iter().any(expected), "{page}");
                Ok(Some(()))
            });
            page.unwrap();
        }
    }

    fn logs(&self) -> String {
        let agents = self.agents.iter().flatten();
        agents.map(|agent| format!("{}\n", agent.tail())).collect::<Vec<_>>().concat()
            + &self.controller.tail()
    }
}

#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_one_node_owns_the_addresses_and_the_page_comes_through_them() {
    let mut site = Site::new();
    let owner = site.owner();
    let [first, second] = [owner, 1 - owner].map(|index| NODES[index].0);
    // With the policy Local the owner serves by itself, and sees the client's address.
    site.serves(&[first]);
    site.is_said_to_be_of(Some(first));
    let told = site.times_assigned(first);
    assert!(told >= 1);

    // An agent that is killed and started again: not one answer is missing, and nobody else answers.
    let probe = site.probe(500);
    site.agents[owner].as_mut().unwrap().process().kill().unwrap();
    thread::sleep(Duration::from_millis(300));
    site.agents[owner] = Some(site.agent(owner));
    thread::sleep(Duration::from_secs(4));
    let report = probe.stop().unwrap();
    report.assert_complete().unwrap();
    assert_eq!(report.by_mac.len(), 1, "{}", report.summary());
    assert_eq!(site.owner(), owner);
    site.is_said_to_be_of(Some(first));
    assert_eq!(site.times_assigned(first), told, "a restart is no news");

    // Without an endpoint on the owner's node it is no candidate any more; without any nobody answers.
    let left: Vec<(&str, u8)> = NODES.into_iter().filter(|(name, _)| *name == second).collect();
    site.plane.apply_all(&[slice(0, &left), slice(1, &left)]).unwrap();
    site.is_owned_by(1 - owner);
    site.serves(&[second]);
    site.is_said_to_be_of(Some(second));
    site.plane.apply_all(&[slice(0, &[]), slice(1, &[])]).unwrap();
    site.plane
        .wait_for(Controller::PATIENCE, "somebody answers", |_| {
            Ok((site.ask(Duration::from_millis(300)).answered == 0).then_some(()))
        })
        .unwrap();
    site.is_said_to_be_of(None);
    site.plane.apply_all(&[slice(0, &NODES), slice(1, &NODES)]).unwrap();
    site.is_owned_by(owner);
    site.is_said_to_be_of(Some(first));
    assert_eq!(site.times_assigned(first), told + 1);

    // In peace each agent renews its Lease and writes nothing else.
    thread::sleep(Duration::from_secs(6));
    let mut log = site.plane.audit_from_now().unwrap();
    thread::sleep(Duration::from_secs(30));
    let writes = log.writes_of("system:serviceaccount:metallb-system:barelb-agent").unwrap();
    assert!(writes.iter().all(|write| write.resource == "leases"), "{writes:?}");
    // A Lease of 17 s is renewed every 3.4 s.
    assert!((16..=20).contains(&writes.len()), "{} renewals of two agents in 30 s", writes.len());
}

#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_the_lease_of_a_dead_agent_runs_out_and_the_next_node_takes_over() {
    let mut site = Site::new();
    let owner = site.owner();
    site.agents[owner] = None;
    // The table of the dead agent falls silent after its grace, and before the other node answers.
    let report = site.ask(Duration::from_secs(25));
    let mac = |index: usize| site.machines[index].cable.a.mac();
    let by = |index: usize| {
        let answers = report.requests.iter().filter_map(|request| request.answer.as_ref());
        answers.filter(|answer| answer.mac == mac(index)).map(|answer| answer.at).collect::<Vec<_>>()
    };
    let (last, first) = (by(owner).into_iter().max().unwrap(), by(1 - owner).into_iter().min().unwrap());
    assert!(last < first, "two owners: {last:?}, {first:?}");
    assert!(last < Duration::from_secs(4) && first > Duration::from_secs(6), "{last:?}, {first:?}");
    assert_eq!(site.owner(), 1 - owner);
    site.is_said_to_be_of(Some(NODES[1 - owner].0));

    site.agents[owner] = Some(site.agent(owner));
    site.is_owned_by(owner);
}

/// What it knew before counts no more: when it goes on, another node owns the addresses, and it looks first.
#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_an_agent_that_was_frozen_for_long_looks_at_everything_before_it_answers() {
    let mut site = Site::new();
    let owner = site.owner();
    site.agents[owner].as_mut().unwrap().process().stop().unwrap();
    site.is_owned_by(1 - owner);
    // Meanwhile its node has lost its endpoint.
    let left: Vec<(&str, u8)> = NODES.into_iter().filter(|(name, _)| *name != NODES[owner].0).collect();
    site.plane.apply_all(&[slice(0, &left), slice(1, &left)]).unwrap();
    let probe = site.probe(500);
    site.agents[owner].as_mut().unwrap().process().cont().unwrap();
    thread::sleep(Duration::from_secs(8));
    let report = probe.stop().unwrap();
    report.assert_complete().unwrap();
    assert_eq!(report.by_mac.len(), 1, "{}", report.summary());
    site.plane.apply_all(&[slice(0, &NODES), slice(1, &NODES)]).unwrap();
    site.is_owned_by(owner);
}

/// `--on-exit withdraw`: the successor answers before the former owner is silent.
#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_an_agent_that_withdraws_hands_over_without_a_gap() {
    let mut site = Site::new();
    let owner = site.owner();
    let machine = &site.machines[owner];
    site.agents[owner].take().unwrap().stop().unwrap();
    let namespace = machine.cable.a.namespace();
    let arguments = ["--grace", GRACE, "--on-exit", "withdraw"];
    let agent = NodeAgent::start(&site.plane, namespace, machine.name, &machine.files, &arguments).unwrap();
    site.is_owned_by(owner);
    let probe = site.probe(500);
    thread::sleep(Duration::from_millis(500));
    agent.stop().unwrap();
    thread::sleep(Duration::from_millis(500));
    let report = probe.stop().unwrap();
    assert!(report.missing.is_empty() && report.by_mac.len() == 2, "{}", report.summary());
    site.is_owned_by(1 - owner);
    site.is_said_to_be_of(Some(NODES[1 - owner].0));
}

#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_an_api_server_that_is_away_changes_nothing() {
    let mut site = Site::new();
    let owner = site.owner();
    site.plane.kill(Component::ApiServer).unwrap();
    // Longer than a Lease.
    let report = site.ask(Duration::from_secs(25));
    report.assert_complete().unwrap();
    assert_eq!(report.by_mac.len(), 1, "{}", report.summary());
    site.plane.restart(Component::ApiServer).unwrap();
    let report = site.ask(Duration::from_secs(25));
    report.assert_complete().unwrap();
    assert_eq!(report.by_mac.len(), 1, "{}", report.summary());
    assert_eq!(site.owner(), owner);
    site.plane.apply_all(&[web(&json!({"externalTrafficPolicy": "Cluster"}))]).unwrap();
    site.serves(&[NODES[0].0, NODES[1].0]);
}
