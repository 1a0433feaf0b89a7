//! `barelb agent --frame-log`: the outcome of each frame in the log of a build for it, and nothing of it in the
//! normal one. Needs root, and `cargo xtask build --frame-log --debug`.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use lb_common::outcome::Outcome;
use lb_test::agent::{Agent, AgentConfig, barelb};
use lb_test::link::mac;
use lb_test::standalone::{Standalone, service};
use lb_test::wire::{Endpoint, arp_request, neighbour_solicitation};

const V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);
const V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x100);
const CLIENT_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
const CLIENT_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x10);
const LIMIT: Duration = Duration::from_secs(10);

fn target() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target")
}

fn frame_log_binary() -> PathBuf {
    let candidates = ["release", "debug"].map(|profile| target().join(profile).join("barelb-frame-log"));
    let missing = || panic!("no barelb-frame-log: run `cargo xtask build --frame-log --debug`");
    candidates.into_iter().find(|path| path.is_file()).unwrap_or_else(missing)
}

/// `frame` with the byte at `place` changed.
fn with<const N: usize>(mut frame: [u8; N], place: usize, byte: u8) -> Vec<u8> {
    frame[place] = byte;
    frame.to_vec()
}

/// Frames and what becomes of them, ARP and neighbour discovery in pairs.
fn frames() -> Vec<(Vec<u8>, Outcome)> {
    let client = mac(10);
    let arp = |sender, target| arp_request(client, sender, target);
    let solicitation = |source, target| neighbour_solicitation(client, source, target);
    vec![
        (arp(CLIENT_V4, V4).to_vec(), Outcome::ArpReply),
        (solicitation(CLIENT_V6, V6).to_vec(), Outcome::NdAdvert),
        (arp(CLIENT_V4, Ipv4Addr::new(192, 0, 2, 177)).to_vec(), Outcome::ArpUnknownTarget),
        (solicitation(CLIENT_V6, "2001:db8::177".parse().unwrap()).to_vec(), Outcome::NdUnknownTarget),
        (arp(V4, V4).to_vec(), Outcome::ArpConflict),
        (solicitation(V6, V6).to_vec(), Outcome::NdConflict),
        (with(arp(CLIENT_V4, V4), 21, 3), Outcome::ArpOperation),
        (with(solicitation(CLIENT_V6, V6), 55, 1), Outcome::NdCode),
        (with(arp(CLIENT_V4, V4), 15, 7), Outcome::ArpHardwareType),
        (with(solicitation(CLIENT_V6, V6), 21, 254), Outcome::NdHopLimit),
        (arp(Ipv4Addr::UNSPECIFIED, V4).to_vec(), Outcome::ArpProbeReply),
        (with(solicitation(CLIENT_V6, V6), 85, 0x99), Outcome::NdChecksum),
    ]
}

/// How often the log names each outcome.
fn logged(agent: &Agent) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for line in agent.log().lines() {
        for name in line.split_whitespace().filter(|word| Outcome::ALL.iter().any(|o| o.name() == *word)) {
            *counts.entry(name.to_owned()).or_default() += 1;
        }
    }
    counts
}

fn counted(agent: &Agent) -> BTreeMap<String, u64> {
    let report: serde_json::Value = serde_json::from_str(&agent.inspect(&["-o", "json"]).unwrap()).unwrap();
    serde_json::from_value(report["outcomes"].clone()).unwrap()
}

#[test]
#[ignore = "needs root and barelb-frame-log: makes network namespaces"]
fn the_log_names_the_outcome_of_each_frame() {
    for mode in ["native", "tcx"] {
        let rooms = Standalone::new().unwrap();
        rooms.write("web.yaml", &service("web", &[V4.into(), V6.into()])).unwrap();
        let config = AgentConfig {
            binary: frame_log_binary(),
            mode: mode.to_owned(),
            extra: vec!["--frame-log".to_owned()],
            ..rooms.config().unwrap()
        };
        let mut agent = Agent::start(&config).unwrap();
        agent.wait_ready(LIMIT).unwrap();
        let endpoint = Endpoint::open(&rooms.client).unwrap();
        for (frame, outcome) in frames() {
            let seen = |agent: &Agent| logged(agent).get(outcome.name()).copied().unwrap_or(0);
            let before = seen(&agent);
            endpoint.send(&frame).unwrap();
            let missing = format!("{mode}: {outcome:?} is not in the log");
            agent.wait_until(LIMIT, &missing, |agent| seen(agent) > before).unwrap();
        }
        // Whatever else the kernels of both ends said: the log has each frame that was counted, once.
        let missing = format!("{mode}: the log differs from {:?}", counted(&agent));
        agent.wait_until(LIMIT, &missing, |agent| logged(agent) == counted(agent)).unwrap();
    }
}

#[test]
#[ignore = "needs root and the barelb binary: makes network namespaces"]
fn a_normal_build_says_how_to_get_one_that_logs() {
    let rooms = Standalone::new().unwrap();
    let config = AgentConfig { extra: vec!["--frame-log".to_owned()], ..rooms.config().unwrap() };
    let mut agent = Agent::start(&config).unwrap();
    let status = agent.process().wait(LIMIT).unwrap().unwrap();
    assert!(!status.success());
    assert!(agent.log().contains("cargo xtask build --frame-log"), "{}", agent.log());
}

#[test]
#[ignore = "needs the BPF objects and both binaries"]
fn the_normal_object_and_binary_carry_none_of_it() {
    let holds = |file: &Path, text: &str| {
        let bytes = fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    };
    let (normal, logging) = (target().join("bpf/barelb.o"), target().join("bpf/barelb-frame-log.o"));
    for map in ["AYA_LOGS", "AYA_LOG_LEVEL"] {
        assert!(holds(&logging, map), "the search for {map} finds nothing even where it must be");
        assert!(!holds(&normal, map), "{map} is in {}", normal.display());
    }
    // With its NUL, as a symbol of the object that is embedded as it is.
    assert!(holds(&frame_log_binary(), "AYA_LOGS\0"));
    assert!(!holds(&barelb().unwrap(), "AYA_LOGS\0"));
}
