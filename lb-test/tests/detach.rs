//! Ending it: `barelb detach`, `--on-exit withdraw`, and BPF file systems that are not there or can't be written to.
//! Needs root.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::process::{Command, Output};
use std::thread::sleep;
use std::time::{Duration, Instant};

use lb_test::agent::{Agent, AgentConfig, barelb};
use lb_test::client::{ProbeClient, ProbeConfig};
use lb_test::kernel::attached;
use lb_test::scratch::Scratch;
use lb_test::standalone::{Standalone, service};

const V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);
const V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x100);
const GROUP: &str = "33:33:ff:00:01:00";
const READY: Duration = Duration::from_secs(20);

fn rooms() -> Standalone {
    let rooms = Standalone::new().unwrap();
    rooms.write("service.yaml", &service("web", &[V4.into(), V6.into()])).unwrap();
    rooms
}

/// Starts an agent and waits until it answers and has joined its group.
fn start(rooms: &Standalone, config: &AgentConfig) -> Agent {
    let mut agent = Agent::start(config).unwrap();
    agent.wait_ready(READY).unwrap();
    agent.wait_until(READY, "the group is not joined", |_| has_group(rooms)).unwrap();
    assert!(answers(rooms) > 0);
    agent
}

fn has_group(rooms: &Standalone) -> bool {
    rooms.node.namespace().ip(&["maddress", "show", "dev", "eth0"]).unwrap().contains(GROUP)
}

/// How many of some requests for both addresses are answered.
fn answers(rooms: &Standalone) -> usize {
    let targets = vec![IpAddr::from(V4), IpAddr::from(V6)];
    let probe = ProbeClient::start(&rooms.client, ProbeConfig { targets, per_second: 100 }).unwrap();
    probe.run_for(Duration::from_millis(200)).unwrap().answered
}

fn detach(rooms: &Standalone, bpffs: &Path, arguments: &[&str]) -> Output {
    let mut command = rooms.node.namespace().command(barelb().unwrap());
    command.arg("detach").arg("--bpffs").arg(bpffs).args(arguments).output().unwrap()
}

fn text(output: &Output) -> String {
    [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat()
}

/// Nothing of ours on the node's interface.
fn assert_clean(rooms: &Standalone) {
    assert_eq!(attached(&rooms.node).unwrap(), (None, None));
    let shown = rooms.node.namespace().exec("bpftool", &["net", "show", "dev", "eth0"]).unwrap();
    assert!(!shown.contains("barelb"), "{shown}");
    let entries = rooms.node.namespace().ip(&["-6", "neighbour", "show", "proxy"]).unwrap();
    assert!(entries.trim().is_empty(), "{entries}");
    assert!(!has_group(rooms));
    assert_eq!(answers(rooms), 0);
}

#[test]
#[ignore = "needs root, the barelb binary and the rig object: makes network namespaces"]
fn detach_all_leaves_nothing() {
    for mode in ["native", "generic", "tcx"] {
        let rooms = rooms();
        let node = rooms.node.namespace();
        let config = AgentConfig { mode: mode.to_owned(), ..rooms.config().unwrap() };
        let mut agent = start(&rooms, &config);
        let output = detach(&rooms, rooms.bpffs(), &["--all"]);
        assert!(!output.status.success(), "with an agent running");
        assert!(text(&output).contains("stop it first"), "{}", text(&output));
        assert!(answers(&rooms) > 0, "and nothing was done");

        agent.process().kill().unwrap();
        assert!(answers(&rooms) > 0, "the data plane outlives its agent");
        // What an agent leaves above its limit of groups.
        node.ip(&["maddress", "add", "33:33:ff:77:77:77", "dev", "eth0"]).unwrap();
        node.ip(&["link", "set", "eth0", "allmulticast", "on"]).unwrap();
        let output = detach(&rooms, rooms.bpffs(), &["--all"]);
        assert!(output.status.success(), "{}", text(&output));
        assert!(text(&output).contains("(eth0)"), "{}", text(&output));
        assert!(!rooms.bpffs().join("barelb").exists(), "{mode}: pins or folders are left");
        assert_clean(&rooms);
        let link = node.ip(&["link", "show", "eth0"]).unwrap();
        assert!(!link.contains("ALLMULTI"), "{link}");
        let filter = node.ip(&["maddress", "show", "dev", "eth0"]).unwrap();
        assert!(!filter.contains("33:33:ff:77:77:77"), "{filter}");

        let again = detach(&rooms, rooms.bpffs(), &["--all"]);
        assert!(again.status.success() && text(&again).contains("nothing was attached"), "{}", text(&again));
        assert!(!rooms.bpffs().join("barelb").exists());
        // And it can begin anew.
        drop(start(&rooms, &config));
    }
}

/// As the pods of manifests/uninstall do it: with two capabilities, and to stay after that.
#[test]
#[ignore = "needs root, the barelb binary and the rig object: makes network namespaces"]
fn detach_with_two_capabilities_leaves_nothing_and_waits() {
    for (capabilities, enough) in [("-all,+net_admin,+bpf", true), ("-all,+bpf", false)] {
        let rooms = rooms();
        drop(start(&rooms, &rooms.config().unwrap()));
        let mut command = rooms.node.namespace().command("setpriv");
        command.args(["--no-new-privs", "--bounding-set", capabilities]).arg(barelb().unwrap());
        command.args(["detach", "--all", "--wait", "--bpffs"]).arg(rooms.bpffs());
        let log = rooms.state().join("detach.log");
        let mut process = rooms.node.namespace().spawn_command(&mut command, &log).unwrap();
        let deadline = Instant::now() + READY;
        while process.is_running() && !process.log().contains("waiting") {
            assert!(Instant::now() < deadline, "{}", process.log());
            sleep(Duration::from_millis(20));
        }
        assert_eq!(process.is_running(), enough, "{capabilities}: {}", process.log());
        if enough {
            assert!(!rooms.bpffs().join("barelb").exists());
            assert_clean(&rooms);
            process.term().unwrap();
            assert!(process.wait(READY).unwrap().unwrap().success(), "{}", process.log());
        }
    }
}

#[test]
#[ignore = "needs root, the barelb binary and the rig object: makes network namespaces"]
fn detach_leaves_the_maps_alone() {
    let rooms = rooms();
    drop(start(&rooms, &rooms.config().unwrap()));
    let output = detach(&rooms, rooms.bpffs(), &[]);
    assert!(output.status.success(), "{}", text(&output));
    assert!(text(&output).contains("--all"), "{}", text(&output));
    assert_clean(&rooms);
    assert!(rooms.bpffs().join("barelb/v1/VIPS_V4").exists());
}

#[test]
#[ignore = "needs root, the barelb binary and the rig object: makes network namespaces"]
fn detach_without_pins_leaves_the_groups() {
    for arguments in [&[][..], &["--all"]] {
        let rooms = rooms();
        drop(start(&rooms, &rooms.config().unwrap()));
        let root = rooms.bpffs().join("barelb");
        for folder in ["links", "v1"] {
            for pin in fs::read_dir(root.join(folder)).unwrap() {
                fs::remove_file(pin.unwrap().path()).unwrap();
            }
            fs::remove_dir(root.join(folder)).unwrap();
        }
        fs::remove_dir(&root).unwrap();
        assert!(has_group(&rooms), "the group is left over");
        let output = detach(&rooms, rooms.bpffs(), arguments);
        assert!(output.status.success(), "{}", text(&output));
        assert!(!has_group(&rooms), "{}", text(&output));
    }
}

#[test]
#[ignore = "needs root, the barelb binary and the rig object: makes network namespaces"]
fn an_agent_that_withdraws_is_silent_when_it_has_ended() {
    let rooms = rooms();
    let extra = vec!["--on-exit".to_owned(), "withdraw".to_owned()];
    let mut agent = start(&rooms, &AgentConfig { extra, ..rooms.config().unwrap() });
    agent.process().term().unwrap();
    let status = agent.process().wait(READY).unwrap().unwrap();
    assert!(status.success(), "{}", agent.log());
    assert_eq!(attached(&rooms.node).unwrap(), (None, None));
    assert_eq!(answers(&rooms), 0);
    assert!(!rooms.bpffs().join("barelb/v1").exists());
}

/// A link detached by force: the pin is still there, but nothing is answered until the agent notices.
#[test]
#[ignore = "needs root, the barelb binary and the rig object: makes network namespaces"]
fn a_link_detached_by_force_is_repaired_within_a_second() {
    for mode in ["native", "generic", "tcx"] {
        let rooms = rooms();
        let config = AgentConfig { mode: mode.to_owned(), ..rooms.config().unwrap() };
        let _agent = start(&rooms, &config);
        let targets = vec![IpAddr::from(V4), IpAddr::from(V6)];
        let probe = ProbeClient::start(&rooms.client, ProbeConfig { targets, per_second: 1000 }).unwrap();
        sleep(Duration::from_millis(300));
        let pin = rooms.bpffs().join(format!("barelb/links/{}", rooms.node.index()));
        let forced = Command::new("bpftool").args(["link", "detach", "pinned"]).arg(pin).output().unwrap();
        assert!(forced.status.success(), "{}", text(&forced));
        sleep(Duration::from_secs(2));
        let report = probe.stop().unwrap();
        assert!(!report.missing.is_empty(), "{mode}: it was silent for a moment");
        assert!(report.longest_gap < Duration::from_millis(1100), "{mode}: {}", report.summary());
        assert!(answers(&rooms) > 0);
    }
}

/// The log of an agent that ended by itself, in failure.
fn refusal(config: &AgentConfig) -> String {
    let mut agent = Agent::start(config).unwrap();
    let status = agent.process().wait(READY).unwrap();
    assert!(status.is_some_and(|status| !status.success()), "{}", agent.log());
    agent.log()
}

#[test]
#[ignore = "needs root, the barelb binary and the rig object: makes network namespaces"]
fn no_bpf_file_system_is_told_with_the_command_that_mounts_one() {
    let rooms = rooms();
    let folder = Scratch::new("no-bpffs").unwrap();
    for bpffs in [folder.path().to_owned(), folder.join("missing")] {
        let wanted = format!("mount -t bpf bpf {}", bpffs.display());
        let log = refusal(&AgentConfig { bpffs: bpffs.clone(), ..rooms.config().unwrap() });
        assert!(log.contains(&wanted), "{log}");
        let output = detach(&rooms, &bpffs, &["--all"]);
        assert!(!output.status.success() && text(&output).contains(&wanted), "{}", text(&output));
        assert!(!bpffs.join("barelb").exists(), "nothing was made there");
    }
}

#[test]
#[ignore = "needs root, the barelb binary and the rig object: makes network namespaces"]
fn a_read_only_bpf_file_system_is_told_with_the_command_that_changes_it() {
    let rooms = rooms();
    drop(start(&rooms, &rooms.config().unwrap()));
    // With and without the folders that an agent before has made; the whole file system, or this mount of it.
    for (options, back) in [("remount,ro", "remount,rw"), ("remount,bind,ro", "remount,bind,rw")] {
        remount(&rooms, options);
        let log_before = fs::read_to_string(rooms.state().join("agent.log")).unwrap_or_default();
        let log = refusal(&rooms.config().unwrap());
        let log = log.strip_prefix(&log_before).unwrap();
        let wanted = format!("mount -o remount,rw {}", rooms.bpffs().display());
        assert!(log.contains(&wanted), "{options}: {log}");
        assert!(!log.contains("CAP_"), "no capability is missing: {log}");
        let output = detach(&rooms, rooms.bpffs(), &["--all"]);
        assert!(!output.status.success() && text(&output).contains(&wanted), "{}", text(&output));
        assert!(answers(&rooms) > 0, "what answers goes on");
        remount(&rooms, back);
    }
    let config = rooms.config().unwrap();
    let started = Instant::now();
    drop(start(&rooms, &config));
    assert!(started.elapsed() < READY);
}

fn remount(rooms: &Standalone, options: &str) {
    let output = Command::new("mount").args(["-o", options]).arg(rooms.bpffs()).output().unwrap();
    assert!(output.status.success(), "{options}: {}", text(&output));
}
