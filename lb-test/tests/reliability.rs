//! Never missed, never stale: answers while the agent restarts, and their end when it is gone. Needs root.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking and shows figures")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use lb_test::agent::{Agent, AgentConfig};
use lb_test::client::{ProbeClient, ProbeConfig, Report};
use lb_test::standalone::{Standalone, service};
use lb_test::wire::{Endpoint, arp_request};

const V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);
const V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x100);
const READY: Duration = Duration::from_secs(10);
const RESTARTS: u32 = 100;

fn both() -> Vec<IpAddr> {
    vec![V4.into(), V6.into()]
}

/// A node that answers for [`V4`] and [`V6`].
fn node() -> (Standalone, AgentConfig, Agent) {
    let standalone = Standalone::new().unwrap();
    standalone.write("service.yaml", &service("web", &both())).unwrap();
    let config = standalone.config().unwrap();
    (standalone, config.clone(), start(&config))
}

/// Starts an agent and waits until it has taken over: it answers by its admin socket and its table is right.
fn start(config: &AgentConfig) -> Agent {
    let mut agent = Agent::start(config).unwrap();
    agent.wait_until(READY, "the table is not up to date", is_synced).unwrap();
    agent
}

fn is_synced(agent: &Agent) -> bool {
    let state = agent.inspect(&["-o", "json"]).unwrap_or_default();
    state.contains(&format!("\"pid\": {},", agent.pid())) && state.contains("\"synced\": true")
}

fn probe(standalone: &Standalone, per_second: u32) -> ProbeClient {
    ProbeClient::start(&standalone.client, ProbeConfig { targets: both(), per_second }).unwrap()
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn no_answer_is_missed_over_a_hundred_restarts() {
    let (standalone, config, mut agent) = node();
    let probe = probe(&standalone, 1000);
    for restart in 0..RESTARTS {
        if restart.is_multiple_of(2) { agent.process().term() } else { agent.process().kill() }.unwrap();
        agent.process().wait(READY).unwrap();
        agent = start(&config);
    }
    let report = probe.stop().unwrap();
    println!("{RESTARTS} restarts: {}", report.summary());
    report.assert_complete().unwrap();
}

/// Answers until `stop` is done at a known time; then the last answer of each family lies within the bounds.
fn ends(stop: impl Fn(&mut Agent)) {
    const GRACE: Duration = Duration::from_secs(2);
    let standalone = Standalone::new().unwrap();
    standalone.write("service.yaml", &service("web", &both())).unwrap();
    let config = AgentConfig { grace: Some("2s".to_owned()), ..standalone.config().unwrap() };
    let mut agent = start(&config);
    let probe = probe(&standalone, 1000);
    sleep(Duration::from_secs(1));
    let before = probe.elapsed();
    stop(&mut agent);
    let after = probe.elapsed();
    sleep(GRACE + Duration::from_secs(2));
    let report: Report = probe.stop().unwrap();
    for ip in both() {
        let last = report.last_answer(ip).unwrap();
        println!("{ip}: silent {:?} after the agent ended", last.saturating_sub(before));
        assert!(last >= before + GRACE, "{ip}: silent at {last:?}, ended at {before:?}: before the grace");
        assert!(
            last <= after + GRACE + Duration::from_millis(500),
            "{ip}: still answered at {last:?}, ended at {after:?}"
        );
    }
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn a_frozen_agent_is_silent_after_the_grace() {
    ends(|agent| agent.process().stop().unwrap());
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn a_killed_agent_is_silent_after_the_grace() {
    ends(|agent| {
        agent.process().kill().unwrap();
        agent.process().wait(READY).unwrap();
    });
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn nothing_is_answered_after_a_removal_is_acknowledged() {
    let (standalone, _, mut agent) = node();
    let endpoint = Endpoint::open(&standalone.client).unwrap();
    let ask = arp_request(standalone.client.mac(), Ipv4Addr::new(192, 0, 2, 10), V4);
    let wait = Duration::from_millis(200);
    // Announcements are broadcast; an answer is for the one who asked.
    let answers = || {
        let frames = endpoint.exchange(&ask, wait).unwrap();
        frames.iter().filter(|frame| frame[..6] == standalone.client.mac()).count()
    };
    assert_eq!(answers(), 1);
    standalone.remove("service.yaml").unwrap();
    agent.wait_until(READY, "the status is still there", |agent| agent.ingress().is_empty()).unwrap();
    assert_eq!(answers(), 0, "answered after the acknowledgement");
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn a_map_emptied_from_outside_is_repaired_within_a_second_and_counted() {
    let (standalone, _, agent) = node();
    let probe = probe(&standalone, 1000);
    sleep(Duration::from_millis(500));
    let map = standalone.bpffs().join("barelb/v1/VIPS_V4");
    let index = standalone.node.index().to_le_bytes();
    let key: Vec<String> =
        index.iter().chain(&[0; 4]).chain(&V4.octets()).map(|b| format!("{b:02x}")).collect();
    let started = Instant::now();
    let output = Command::new("bpftool")
        .args(["map", "delete", "pinned"])
        .arg(map)
        .args(["key", "hex"])
        .args(key)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    sleep(Duration::from_secs(2).saturating_sub(started.elapsed()));
    let report = probe.stop().unwrap();
    println!("{}", report.summary());
    assert!(!report.missing.is_empty(), "the entry was away for a moment");
    assert!(report.longest_gap <= Duration::from_secs(1), "longest gap {:?}", report.longest_gap);
    let state = agent.inspect(&["-o", "json"]).unwrap();
    assert!(state.contains("\"repairs\": 1"), "{state}");
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn a_second_agent_stands_by_and_takes_over() {
    let (standalone, config, mut first) = node();
    let probe = probe(&standalone, 200);
    let state = standalone.state().join("second");
    std::fs::create_dir_all(&state).unwrap();
    let mut second = Agent::start(&AgentConfig { state, ..config }).unwrap();
    second
        .wait_until(READY, "it does not say that it stands by", |agent| agent.log().contains("standing by"))
        .unwrap();
    first.process().kill().unwrap();
    second.wait_until(READY, "it does not take over", is_synced).unwrap();
    probe.stop().unwrap().assert_complete().unwrap();
}
