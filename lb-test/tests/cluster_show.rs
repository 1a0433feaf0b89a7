//! L5: the cluster that stands for a person, and what it tells people to try. Needs root and the testbed.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::os::unix::fs::{PermissionsExt, chown};
use std::process::{Command, Output};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use lb_test::agent::barelb;
use lb_test::made_by;
use lb_test::process::Process;
use lb_test::scratch::Scratch;

const LIMIT: Duration = Duration::from_mins(5);
const NOBODY: u32 = 65_534;

/// The cluster as a person starts it by sudo: the binary is in a home that is closed to others, and what is made is too.
fn start(scratch: &Scratch, arguments: &[&str]) -> Process {
    let home = scratch.join("home");
    fs::create_dir(&home).unwrap();
    let binary = home.join("barelb");
    if fs::hard_link(barelb().unwrap(), &binary).is_err() {
        fs::copy(barelb().unwrap(), &binary).unwrap();
    }
    fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).unwrap();
    chown(&home, Some(NOBODY), Some(NOBODY)).unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", "umask 077; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_barelb-cluster")]);
    command.args(arguments).env("BARELB_BIN", binary);
    Process::spawn(command, &scratch.join("log")).unwrap()
}

fn ends_well(cluster: &mut Process) {
    let status = cluster.wait(LIMIT).unwrap();
    assert_eq!(status.and_then(|status| status.code()), Some(0), "{}", cluster.log());
    assert_eq!(made_by(cluster.pid()).unwrap(), Vec::<String>::new());
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_the_standing_cluster_proves_itself_over_each_family_and_leaves_nothing_behind() {
    for (families, vips) in
        [("dual", &["192.0.2.100", "[2001:db8::100]"][..]), ("ipv6", &["[2001:db8::100]"])]
    {
        let scratch = Scratch::new("cluster-once").unwrap();
        let mut cluster = start(&scratch, &["--once", "--nodes", "2", "--families", families]);
        ends_well(&mut cluster);
        let log = cluster.log();
        assert_eq!(log.matches(" serves http://").count(), vips.len(), "{log}");
        for vip in vips {
            assert!(log.contains(&format!(" serves http://{vip}/ to ")), "{log}");
        }
        assert!(log.contains("Done: each address was found"), "{log}");
    }
}

/// With kubelets and in a cluster of IPv6 only, where manifests/base has to do as well.
#[test]
#[ignore = "L5: needs root, the testbed, the image, containerd and runc"]
fn l5_the_standing_cluster_of_pods_proves_itself_and_leaves_nothing_behind() {
    let scratch = Scratch::new("cluster-of-pods").unwrap();
    let mut cluster = start(&scratch, &["--pods", "--once", "--nodes", "1", "--families", "ipv6"]);
    ends_well(&mut cluster);
    let log = cluster.log();
    assert!(log.contains("node-a serves http://[2001:db8::100]/ to 2001:db8::10\n"), "{log}");
    assert!(log.contains("Done: each address was found"), "{log}");
}

#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_every_hint_of_the_standing_cluster_works_and_ctrl_c_cleans_up() {
    let scratch = Scratch::new("cluster-hints").unwrap();
    let mut cluster = start(&scratch, &["--nodes", "2"]);
    let deadline = Instant::now() + LIMIT;
    while cluster.log().matches("kill -9").count() < 2 {
        assert!(cluster.is_running() && Instant::now() < deadline, "it does not stand: {}", cluster.log());
        thread::sleep(Duration::from_millis(50));
    }
    thread::sleep(Duration::from_millis(100));
    let log = cluster.log();
    let (_, hints) = log.split_once("Things to try").unwrap();
    let commands: Vec<&str> = hints.lines().filter_map(|line| line.strip_prefix("    ")).collect();
    let kubectl = commands.iter().find(|command| command.starts_with("k() {")).unwrap();
    let expected = [
        ("arping", "02:00:00:00:00:0"),
        ("ndisc6", "Target link-layer address: 02:00:00:00:00:0"),
        ("curl", "serves http://"),
        ("neighbour", "lladdr 02:00:00:00:00:0"),
        ("k get nodes", "service/web"),
        ("k get ipaddresspools", "servicel2status"),
        ("k get leases", "barelb-node-node-a"),
        ("k describe service web", "nodeAssigned"),
        ("inspect", "answered by"),
        ("nft", "web"),
        ("-balancers=true", "labeled"),
        ("-balancers-", "unlabeled"),
        ("create service", "service/shop created"),
        ("get service shop", "shop"),
        ("delete service", "deleted"),
        ("kill -9", ""),
        ("k() {", ""),
    ];
    for command in &commands {
        let words = expected.iter().find(|(part, _)| command.contains(part));
        let (_, words) = words.unwrap_or_else(|| panic!("nobody knows what `{command}` does"));
        let output = Command::new("sh").args(["-c", &format!("{kubectl}\n{command}")]).output().unwrap();
        let text = said(&output);
        assert!(output.status.success() && text.contains(words), "`{command}` says no {words:?}: {text}");
    }
    for (part, _) in expected {
        assert!(commands.iter().any(|command| command.contains(part)), "no hint with {part:?}");
    }
    let deadline = Instant::now() + LIMIT;
    while cluster.log().matches("has ended. Its data plane answers on").count() < 2 {
        assert!(Instant::now() < deadline, "{}", cluster.log());
        thread::sleep(Duration::from_millis(50));
    }
    cluster.signal(libc::SIGINT).unwrap();
    ends_well(&mut cluster);
}
