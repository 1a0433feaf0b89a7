//! The agent under its seccomp profile, as far as strace(1) can stand in for one: a call that the profile does not name
//! fails as it would under it. Needs root and strace.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use lb_test::agent::{Agent, AgentConfig, barelb};
use lb_test::client::{ProbeClient, ProbeConfig};
use lb_test::scratch::write_program;
use lb_test::standalone::{Standalone, service};
use serde_json::Value;

const V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);
const V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x100);
const READY: Duration = Duration::from_secs(20);

/// The names in the profile, of whatever arguments.
fn permitted() -> BTreeSet<String> {
    let output = Command::new(barelb().unwrap()).arg("seccomp").output().unwrap();
    let profile: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(profile["defaultAction"], "SCMP_ACT_ERRNO");
    let rules = profile["syscalls"].as_array().unwrap().iter();
    let names = rules.flat_map(|rule| rule["names"].as_array().unwrap());
    names.map(|name| name.as_str().unwrap().to_owned()).collect()
}

/// A node whose agent can make only these calls; all that it makes go to the file.
fn node(calls: &BTreeSet<String>) -> (Standalone, AgentConfig, PathBuf) {
    let standalone = Standalone::new().unwrap();
    standalone.write("service.yaml", &service("web", &[V4.into(), V6.into()])).unwrap();
    let (script, trace) = (standalone.state().join("barelb"), standalone.state().join("trace"));
    // Names of other architectures are none here.
    let names: Vec<_> = calls.iter().map(|name| format!("?{name}")).collect();
    // The agent is the child of its parent, and strace that of the agent. A call that is not traced is not made to fail.
    let text = format!(
        "#!/bin/sh\nexec strace -D -f -qq -o {} -e inject='!{}':error=ENOSYS {} \"$@\"\n",
        trace.display(),
        names.join(","),
        barelb().unwrap().display()
    );
    write_program(&script, &text).unwrap();
    let config = AgentConfig { binary: script, ..standalone.config().unwrap() };
    (standalone, config, trace)
}

#[test]
#[ignore = "needs root and strace: makes network namespaces"]
fn the_agent_answers_with_the_calls_of_its_profile() {
    let (standalone, config, trace) = node(&permitted());
    let mut agent = Agent::start(&config).unwrap();
    agent.wait_ready(READY).unwrap();
    agent.wait_until(READY, "it is not attached", |agent| agent.log().contains("attached")).unwrap();
    let config = ProbeConfig { targets: vec![IpAddr::from(V4), V6.into()], per_second: 200 };
    let probe = ProbeClient::start(&standalone.client, config).unwrap();
    probe.run_for(Duration::from_secs(1)).unwrap().assert_complete().unwrap();
    agent.process().term().unwrap();
    assert!(agent.process().wait(READY).unwrap().unwrap().success(), "{}", agent.log());
    assert!(!agent.log().contains("ERROR") && !agent.log().contains("WARN"), "{}", agent.log());

    // Of calls that the profile permits with some arguments only.
    let trace = fs::read_to_string(trace).unwrap();
    let families = trace.lines().filter_map(|line| line.split_once("socket(AF_")?.1.split(',').next());
    let families: BTreeSet<_> = families.collect();
    let permitted = BTreeSet::from(["UNIX", "INET", "INET6", "NETLINK", "PACKET"]);
    assert!(families.is_subset(&permitted) && families.contains("PACKET"), "{families:?}");
    let threads: Vec<_> = trace.lines().filter(|line| line.contains(" clone(")).collect();
    assert!(!threads.is_empty() && !threads.iter().any(|line| line.contains("CLONE_NEW")), "{threads:?}");
}

#[test]
#[ignore = "needs root and strace: makes network namespaces"]
fn without_bpf_in_the_profile_it_does_not_begin() {
    let mut calls = permitted();
    assert!(calls.remove("bpf"));
    let (_standalone, config, _) = node(&calls);
    let mut agent = Agent::start(&config).unwrap();
    let status = agent.process().wait(READY).unwrap().unwrap();
    assert!(!status.success(), "{}", agent.log());
}
