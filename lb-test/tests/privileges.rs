//! The agent with no more than it needs: four capabilities, two of which it gives up. Needs root, to give up the rest.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::chown;
use std::time::Duration;

use lb_test::agent::{Agent, AgentConfig, barelb};
use lb_test::client::{ProbeClient, ProbeConfig};
use lb_test::pages::Pages;
use lb_test::scratch::write_program;
use lb_test::standalone::{Standalone, service};

const V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);
const V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x100);
const READY: Duration = Duration::from_secs(20);
/// Names of setpriv(1), and bits of linux/capability.h.
const NEEDED: [(&str, u32); 4] = [("net_admin", 12), ("net_raw", 13), ("perfmon", 38), ("bpf", 39)];
const NOBODY: u32 = 65_534;

/// A node whose agent runs as `user` with exactly these capabilities.
fn node(user: u32, capabilities: &[&str]) -> (Standalone, AgentConfig) {
    let standalone = Standalone::new().unwrap();
    let both: Vec<IpAddr> = vec![V4.into(), V6.into()];
    standalone.write("service.yaml", &service("web", &both)).unwrap();
    let added = capabilities.iter().map(|name| format!("+{name}"));
    let sets = ["-all".to_owned()].into_iter().chain(added).collect::<Vec<_>>().join(",");
    // Root gets what its bounding set allows; others keep what is ambient.
    let identity = if user == 0 {
        format!("--bounding-set={sets}")
    } else {
        format!(
            "--reuid={user} --regid={user} --clear-groups --inh-caps={sets} --ambient-caps={sets} --bounding-set={sets}"
        )
    };
    let script = standalone.state().join("barelb");
    let text = format!("#!/bin/sh\nexec setpriv {identity} {} \"$@\"\n", barelb().unwrap().display());
    write_program(&script, &text).unwrap();
    for folder in [standalone.manifests(), standalone.state()] {
        chown(folder, Some(user), Some(user)).unwrap();
    }
    let config = AgentConfig { binary: script, ..standalone.config().unwrap() };
    (standalone, config)
}

/// The sets of every thread: inheritable, permitted, effective, ambient.
fn sets(pid: u32) -> Vec<[u64; 4]> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let sets = threads.map(|thread| {
        let status = fs::read_to_string(thread.unwrap().path().join("status")).unwrap();
        ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"].map(|name| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            u64::from_str_radix(line.trim(), 16).unwrap()
        })
    });
    sets.collect()
}

fn answers_with_four_and_keeps_two(user: u32) {
    answers_and_keeps(user, &NEEDED.map(|(name, _)| name), &[12, 39]);
}

fn answers_and_keeps(user: u32, capabilities: &[&str], kept: &[u32]) {
    let (standalone, mut config) = node(user, capabilities);
    let pages = Pages::on_loopback(&config.namespace, 7475);
    config.extra.extend(pages.flag());
    let mut agent = Agent::start(&config).unwrap();
    agent.wait_ready(READY).unwrap();
    let config = ProbeConfig { targets: vec![V4.into(), V6.into()], per_second: 200 };
    let attached = |agent: &Agent| agent.log().contains("attached");
    agent.wait_until(READY, "it is not attached", attached).unwrap();
    std::thread::sleep(Duration::from_millis(500));
    let report =
        ProbeClient::start(&standalone.client, config).unwrap().run_for(Duration::from_secs(1)).unwrap();
    report.assert_complete().unwrap();
    assert!(!agent.log().contains("ERROR") && !agent.log().contains("WARN"), "{}", agent.log());

    let uid = fs::read_to_string(format!("/proc/{}/status", agent.pid())).unwrap();
    assert!(uid.contains(&format!("Uid:\t{user}\t{user}\t")), "{uid}");
    let kept: u64 = kept.iter().map(|bit| 1_u64 << bit).sum();
    let sets = sets(agent.pid());
    assert!(!sets.is_empty());
    for [inheritable, permitted, effective, ambient] in sets {
        assert_eq!((permitted, effective), (kept, kept), "{permitted:x} {effective:x}");
        assert_eq!((inheritable & !kept, ambient & !kept), (0, 0), "{inheritable:x} {ambient:x}");
    }
    // Reading the maps for others takes none of those that were given up.
    for ip in [IpAddr::from(V4), V6.into()] {
        let name = format!("barelb_replies_total{{ip=\"{ip}\",interface=\"eth0\"}}");
        assert!(pages.count(&name).unwrap() >= 90, "{ip}");
    }
    assert!(!agent.log().contains("WARN"), "{}", agent.log());
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn root_with_four_capabilities_answers_and_keeps_two() {
    answers_with_four_and_keeps_two(0);
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn another_user_with_four_capabilities_answers_and_keeps_two() {
    answers_with_four_and_keeps_two(NOBODY);
}

/// For runtimes that know no `CAP_BPF`: manifests/overlays/privileged would be more than that takes.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn sys_admin_stands_for_bpf_and_perfmon() {
    answers_and_keeps(0, &["net_admin", "net_raw", "sys_admin"], &[12, 21]);
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn a_missing_capability_is_named() {
    for user in [0, NOBODY] {
        for (missing, _) in NEEDED {
            let rest: Vec<&str> =
                NEEDED.map(|(name, _)| name).into_iter().filter(|n| *n != missing).collect();
            let (standalone, config) = node(user, &rest);
            let mut agent = Agent::start(&config).unwrap();
            let status = agent.process().wait(READY).unwrap().unwrap();
            assert!(!status.success());
            let log = agent.log();
            let name = format!("CAP_{}", missing.to_uppercase());
            assert_eq!(log.matches("this process lacks").count(), 1, "{log}");
            assert!(log.contains(&format!("lacks {name}: run it as root, or give it")), "{log}");
            assert_eq!(log.lines().count(), 1, "one message: {log}");
            assert!(!standalone.bpffs().join("barelb").exists(), "nothing was begun");
        }
    }
}
