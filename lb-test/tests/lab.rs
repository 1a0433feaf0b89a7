//! The whole path: manifests, two agents, a client, a page, and what the lab tells people to try. Needs root: see the
//! README of this crate.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};
use std::{env, thread};

use lb_test::agent::barelb;
use lb_test::lab::{self, Options};
use lb_test::made_by;
use lb_test::process::Process;
use lb_test::rig::rig_object;
use lb_test::scratch::Scratch;

const LIMIT: Duration = Duration::from_secs(30);

/// The lab as a person starts it.
fn start(scratch: &Scratch, name: &str, once: bool) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_barelb-lab"));
    command.arg("--barelb").arg(barelb().unwrap()).arg("--rig").arg(rig_object());
    command.args(once.then_some("--once"));
    Process::spawn(command, &scratch.join(name)).unwrap()
}

/// Waits until it has printed its last hint.
fn wait_until_up(lab: &mut Process) {
    let deadline = Instant::now() + LIMIT;
    while !lab.log().contains("On both nodes:") {
        assert!(lab.is_running() && Instant::now() < deadline, "the lab is not up: {}", lab.log());
        thread::sleep(Duration::from_millis(50));
    }
    thread::sleep(Duration::from_millis(100));
}

fn sh(line: &str) -> Output {
    Command::new("sh").args(["-c", line]).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

/// The commands in what the lab printed that contain `part`.
fn hints(lab: &Process, part: &str) -> Vec<String> {
    let log = lab.log();
    let (_, hints) = log.split_once("Things to try").unwrap();
    let commands = hints.lines().filter_map(|line| line.strip_prefix("    "));
    commands.filter(|command| command.contains(part)).map(str::to_owned).collect()
}

/// Runs every hint with `part`, which must work and say `expected`.
fn follow(lab: &Process, part: &str, count: usize, expected: &[&str]) {
    let commands = hints(lab, part);
    assert_eq!(commands.len(), count, "hints with {part:?}: {commands:?}");
    for command in commands {
        let output = sh(&command);
        let text = said(&output);
        assert!(output.status.success(), "`{command}`: {text}");
        assert!(
            expected.iter().any(|words| text.contains(words)),
            "`{command}` says none of {expected:?}: {text}"
        );
    }
}

#[test]
#[ignore = "needs root, the barelb binary and the rig object: makes network namespaces"]
fn the_lab_proves_itself_and_leaves_nothing_behind() {
    let scratch = Scratch::new("lab-once").unwrap();
    let mut lab = start(&scratch, "log", true);
    let status = lab.wait(LIMIT).unwrap();
    assert_eq!(status.and_then(|status| status.code()), Some(0), "{}", lab.log());
    assert!(lab.log().contains("Done: every address was found and served"), "{}", lab.log());
    assert_eq!(made_by(lab.pid()).unwrap(), Vec::<String>::new());
}

#[test]
#[ignore = "needs root, the barelb binary and the rig object: makes network namespaces"]
fn every_hint_works_and_ctrl_c_cleans_up() {
    let scratch = Scratch::new("lab-hints").unwrap();
    let mut lab = start(&scratch, "log", false);
    wait_until_up(&mut lab);
    let (arping, gone) = {
        let asked = hints(&lab, "arping");
        assert_eq!(asked.len(), 2, "{asked:?}");
        (asked[0].clone(), asked[1].clone())
    };
    let answered = |command: &str, expected: bool| {
        let output = sh(command);
        assert_eq!(output.status.success(), expected, "`{command}`: {}", said(&output));
    };
    answered(&arping, true);
    follow(&lab, "ndisc6", 1, &["Target link-layer address: 02:00:00:00:00:0"]);
    follow(&lab, "neighbour flush", 1, &[""]);
    follow(&lab, "curl", 4, &["node-a serves", "node-b serves"]);
    follow(&lab, "client neighbour", 2, &["REACHABLE", ""]);
    follow(&lab, " inspect ", 2, &["2 entries to answer, 2 on standby"]);
    follow(&lab, " check ", 2, &["attached: native"]);
    follow(&lab, "bpftool", 4, &["\"mac\":"]);
    for trace in hints(&lab, " trace ") {
        let traced = thread::scope(|scope| {
            let traced = scope.spawn(|| sh(&trace));
            while !traced.is_finished() {
                answered(&arping, true);
            }
            traced.join().unwrap()
        });
        assert!(traced.status.success() && said(&traced).contains("request"), "{trace}: {}", said(&traced));
    }
    follow(&lab, "sed ", 1, &[""]);
    let deadline = Instant::now() + LIMIT;
    while sh(&gone).status.success() {
        assert!(Instant::now() < deadline, "still answered: {gone}");
    }
    follow(&lab, "kill -9", 2, &[""]);
    answered(&arping, true);
    follow(&lab, "curl", 4, &["node-a serves", "node-b serves"]);

    lab.signal(libc::SIGINT).unwrap();
    let status = lab.wait(LIMIT).unwrap();
    assert_eq!(status.and_then(|status| status.code()), Some(0), "{}", lab.log());
    assert_eq!(made_by(lab.pid()).unwrap(), Vec::<String>::new());
    assert!(lab.log().contains("The agent of node-a has ended"), "{}", lab.log());
}

#[test]
#[ignore = "needs root, the barelb binary and the rig object: makes network namespaces"]
fn the_next_lab_removes_what_a_killed_one_left() {
    let scratch = Scratch::new("lab-killed").unwrap();
    let mut killed = start(&scratch, "killed", false);
    wait_until_up(&mut killed);
    let agents: Vec<String> =
        hints(&killed, "kill -9").iter().map(|line| line.replace("kill -9 ", "")).collect();
    killed.kill().unwrap();
    let left = made_by(killed.pid()).unwrap();
    assert!(left.iter().any(|name| name.ends_with("-node-a")), "{left:?}");
    let mut next = start(&scratch, "next", true);
    let status = next.wait(LIMIT).unwrap();
    assert_eq!(status.and_then(|status| status.code()), Some(0), "{}", next.log());
    for pid in [killed.pid(), next.pid()] {
        assert_eq!(made_by(pid).unwrap(), Vec::<String>::new());
    }
    for agent in agents {
        assert!(!Path::new("/proc").join(&agent).exists(), "agent {agent} of the killed lab runs");
    }
}

#[test]
#[ignore = "needs root: starts the lab"]
fn a_lab_without_its_binary_says_what_to_build() {
    let error =
        lab::run(&Options { once: true, barelb: Some("/no/such/barelb".into()), ..Options::default() })
            .map_or_else(|error| format!("{error:#}"), |()| panic!("it ran without a binary"));
    assert!(error.contains("/no/such/barelb") && error.contains("cargo xtask build"), "{error}");
}
