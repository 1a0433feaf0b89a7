//! Never missed while pinned maps, programs and links are exchanged: other sizes, other layouts, every mode, and agents
//! killed at any point of it. Requests come at 1,000 a second for each family. Needs root.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking and shows figures")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use lb_test::agent::{Agent, AgentConfig};
use lb_test::client::{ProbeClient, ProbeConfig};
use lb_test::later;
use lb_test::link::{Interface, Veth, mac};
use lb_test::rig::PassProgram;
use lb_test::standalone::{Standalone, service};
use lb_userspace::dataplane::ebpf::{Pins, View};

const V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);
const V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x100);
const READY: Duration = Duration::from_secs(20);
/// Of both families together.
const RATE: u32 = 2000;

fn node() -> Standalone {
    let standalone = Standalone::new().unwrap();
    let both: Vec<IpAddr> = vec![V4.into(), V6.into()];
    standalone.write("service.yaml", &service("web", &both)).unwrap();
    standalone
}

fn start(config: &AgentConfig) -> Agent {
    let mut agent = Agent::start(config).unwrap();
    agent.wait_until(READY, "the table is not up to date", is_synced).unwrap();
    agent
}

/// What the agent says of itself.
fn state(agent: &Agent) -> serde_json::Value {
    let report = agent.inspect(&["-o", "json"]).unwrap_or_default();
    let mut report: serde_json::Value = serde_json::from_str(&report).unwrap_or_default();
    report["agent"].take()
}

fn is_synced(agent: &Agent) -> bool {
    let state = state(agent);
    state["pid"] == agent.pid() && state["synced"] == true
}

/// In order, or not.
fn end(agent: &mut Agent, orderly: bool) {
    if orderly { agent.process().term() } else { agent.process().kill() }.unwrap();
    agent.process().wait(READY).unwrap().unwrap();
}

fn probe(client: &Interface) -> ProbeClient {
    let config = ProbeConfig { targets: vec![V4.into(), V6.into()], per_second: RATE };
    ProbeClient::start(client, config).unwrap()
}

fn sets(bpffs: &Path) -> Vec<String> {
    let names = Pins::new(bpffs).sets();
    names.iter().map(|set| set.file_name().unwrap().to_string_lossy().into_owned()).collect()
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn no_answer_is_missed_while_maps_of_another_size_take_over() {
    let standalone = node();
    let of_size = |max_vips: u32| {
        let extra = vec!["--max-vips".to_owned(), max_vips.to_string()];
        AgentConfig { extra, ..standalone.config().unwrap() }
    };
    let mut agent = start(&of_size(64));
    let probe = probe(&standalone.client);
    let sizes = [4096, 16, 65_536, 64];
    for (round, size) in sizes.into_iter().cycle().take(12).enumerate() {
        end(&mut agent, round.is_multiple_of(2));
        agent = start(&of_size(size));
        assert_eq!(sets(standalone.bpffs()), ["v1"]);
        let view = View::open(Pins::new(standalone.bpffs()).root()).unwrap();
        assert_eq!(view.max_vips, size);
    }
    let report = probe.stop().unwrap();
    println!("12 exchanges of size: {}", report.summary());
    report.assert_complete().unwrap();
}

/// The other layout is a later version's, whose part the test plays (`lb_test::later`): it takes over from the agent's
/// maps, and a new agent from its.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn no_answer_is_missed_from_v1_to_v2_to_v1() {
    let standalone = node();
    let config = standalone.config().unwrap();
    let mut agent = start(&config);
    let probe = probe(&standalone.client);
    for round in 0..6_u32 {
        end(&mut agent, round.is_multiple_of(2));
        later::take_over(standalone.bpffs()).unwrap();
        assert_eq!(sets(standalone.bpffs()), ["v2"]);
        sleep(Duration::from_millis(200));
        agent = start(&config);
        assert_eq!(sets(standalone.bpffs()), ["v1"]);
        assert_eq!(state(&agent)["announced"], 0, "who answers did not change");
    }
    let report = probe.stop().unwrap();
    println!("6 times v1 to v2 to v1: {}", report.summary());
    report.assert_complete().unwrap();
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn no_answer_is_missed_over_restarts_in_generic_and_tcx_mode() {
    for mode in ["generic", "tcx"] {
        let standalone = node();
        let config = AgentConfig { mode: mode.to_owned(), ..standalone.config().unwrap() };
        let mut agent = start(&config);
        let probe = probe(&standalone.client);
        for restart in 0..30_u32 {
            end(&mut agent, restart.is_multiple_of(2));
            agent = start(&config);
            assert_eq!(state(&agent)["links"][0]["mode"], mode);
        }
        let report = probe.stop().unwrap();
        println!("{mode}, 30 restarts: {}", report.summary());
        report.assert_complete().unwrap();
    }
}

/// Two links, and agents of alternating size that are killed later and later after their start: before, in and behind
/// every step of an exchange.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn no_answer_is_missed_wherever_an_agent_is_killed() {
    let standalone = node();
    let (client, node) = (standalone.client.namespace(), standalone.node.namespace());
    let second = Veth::new((client, "eth1", mac(0x20)), (node, "eth1", mac(0x21))).unwrap();
    let _pass = PassProgram::attach(&second.a).unwrap();
    let of_size = |max_vips: &str| {
        let extra = ["--interface", "eth1", "--max-vips", max_vips].map(str::to_owned).to_vec();
        AgentConfig { extra, ..standalone.config().unwrap() }
    };
    drop(start(&of_size("64")));
    let probes = [probe(&standalone.client), probe(&second.a)];
    let (mut exchanges, mut cut_short) = (0, 0);
    for step in 0..80_u64 {
        let config = of_size(if step.is_multiple_of(2) { "128" } else { "64" });
        let agent = Agent::start(&config).unwrap();
        sleep(Duration::from_millis(step * 3));
        // Kills it.
        drop(agent);
        let sets = sets(standalone.bpffs());
        exchanges += u32::from(sets == ["v1"]);
        cut_short += u32::from(sets != ["v1"]);
    }
    let agent = start(&of_size("64"));
    println!("{cut_short} agents died amid an exchange, {exchanges} before or after");
    assert_eq!(sets(standalone.bpffs()), ["v1"]);
    let links = state(&agent)["links"].as_array().unwrap().clone();
    assert_eq!(links.iter().filter(|link| link["mode"] == "native").count(), 2, "{links:?}");
    assert_eq!(Pins::new(standalone.bpffs()).links().len(), 2);
    for probe in probes {
        let report = probe.stop().unwrap();
        println!("80 kills: {}", report.summary());
        report.assert_complete().unwrap();
    }
}
