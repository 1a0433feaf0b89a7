//! `barelb inspect`, `check` and `trace` as processes, beside a running agent and without one. Needs root.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::{Duration, Instant};
use std::{fs, thread};

use lb_test::agent::{Agent, barelb};
use lb_test::link::mac;
use lb_test::namespace::Namespace;
use lb_test::rig::PassProgram;
use lb_test::standalone::{Standalone, service};
use lb_test::wire::{Endpoint, arp_request, neighbour_solicitation};
use serde_json::{Value, json};

const V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);
const V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x100);
const CLIENT_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
const CLIENT_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x10);
const CLIENT_MAC: [u8; 6] = mac(10);
/// A station that is neither the client nor the node.
const STRANGER: [u8; 6] = mac(0x99);
const LIMIT: Duration = Duration::from_secs(10);

/// An agent in `mode` that answers for [`V4`] and [`V6`].
fn agent(rooms: &Standalone, mode: &str) -> Agent {
    rooms.write("web.yaml", &service("web", &[V4.into(), V6.into()])).unwrap();
    let mut config = rooms.config().unwrap();
    mode.clone_into(&mut config.mode);
    let mut agent = Agent::start(&config).unwrap();
    agent
        .wait_until(LIMIT, "it does not answer yet", |agent| {
            entry(&report(agent), V4.into())["state"] == "answer"
        })
        .unwrap();
    agent
}

fn report(agent: &Agent) -> Value {
    agent.inspect(&["-o", "json"]).map_or(Value::Null, |text| serde_json::from_str(&text).unwrap())
}

fn entry(report: &Value, ip: IpAddr) -> Value {
    let rows = report["entries"].as_array();
    rows.into_iter().flatten().find(|row| row["ip"] == json!(ip)).cloned().unwrap_or_default()
}

#[test]
#[ignore = "needs root and the barelb binary: makes network namespaces"]
fn inspect_counts_per_address_and_names_the_last_requester() {
    let rooms = Standalone::new().unwrap();
    let agent = agent(&rooms, "native");
    let endpoint = Endpoint::open(&rooms.client).unwrap();
    let before = report(&agent);
    // The claim first: an address has one event a second, and its first request is one too.
    let frames: [(IpAddr, [Vec<u8>; 3], IpAddr); 2] = [
        (
            V4.into(),
            [
                arp_request(STRANGER, V4, V4).to_vec(),
                arp_request(CLIENT_MAC, Ipv4Addr::UNSPECIFIED, V4).to_vec(),
                arp_request(CLIENT_MAC, CLIENT_V4, V4).to_vec(),
            ],
            CLIENT_V4.into(),
        ),
        (
            V6.into(),
            [
                neighbour_solicitation(STRANGER, V6, V6).to_vec(),
                neighbour_solicitation(CLIENT_MAC, CLIENT_V6, V6).to_vec(),
                neighbour_solicitation(CLIENT_MAC, CLIENT_V6, V6).to_vec(),
            ],
            CLIENT_V6.into(),
        ),
    ];
    for frame in frames.iter().flat_map(|(_, frames, _)| frames) {
        endpoint.send(frame).unwrap();
    }
    thread::sleep(Duration::from_millis(200));
    let after = report(&agent);
    for (ip, _, requester) in &frames {
        let (old, new) = (entry(&before, *ip), entry(&after, *ip));
        let grown = |counter: &str| {
            new["counts"][counter].as_u64().unwrap() - old["counts"][counter].as_u64().unwrap()
        };
        assert_eq!((grown("requests"), grown("replies"), grown("conflicts")), (2, 2, 1), "{new:#}");
        assert_eq!(grown("probes"), u64::from(ip.is_ipv4()), "{new:#}");
        assert_eq!(
            new["counts"]["requester"],
            json!({"ip": requester, "mac": "02:00:00:00:00:0a"}),
            "{new:#}"
        );
        assert!(new["lastSeenMs"].as_u64().unwrap() < 5000, "{new:#}");
        assert_eq!(
            (&new["state"], &new["interface"], &new["vlans"]),
            (&json!("answer"), &json!("eth0"), &json!("untagged"))
        );
        assert_eq!(new["mac"], "02:00:00:00:00:0b");
        assert_eq!(after["agent"]["conflicts"][ip.to_string()]["mac"], "02:00:00:00:00:99", "{after:#}");
    }
    assert!(after["validForMs"].as_i64().unwrap() > 59_000, "{after:#}");
    assert_eq!(after["outcomes"]["arp_conflict"], 1, "{after:#}");
    assert_eq!(after["outcomes"]["nd_conflict"], 1, "{after:#}");
    let link = &after["links"][0];
    assert_eq!((&link["interface"], &link["mode"]), (&json!("eth0"), &json!("native")), "{after:#}");
    assert!(Path::new(link["pin"].as_str().unwrap()).starts_with(rooms.bpffs()), "{after:#}");
    assert_eq!(after["agent"]["synced"], true);
    assert_eq!(after["agent"]["services"][0]["name"], "default/web", "{after:#}");
    assert_eq!(after["agent"]["groups"]["joined"], 1, "{after:#}");

    let yaml = agent.inspect(&["-o", "yaml"]).unwrap();
    assert!(yaml.contains("interface: eth0\n") && yaml.contains("state: answer\n"), "{yaml}");
    let one = agent.inspect(&[&V6.to_string(), "192.0.2.177"]).unwrap();
    assert!(one.contains("1 entries to answer"), "{one}");
    assert!(one.contains("no entry for 192.0.2.177"), "{one}");
}

#[test]
#[ignore = "needs root and the barelb binary: makes network namespaces"]
fn inspect_tells_the_mode_without_an_agent() {
    for (mode, remark) in [("native", ""), ("tcx", ""), ("generic", "last resort")] {
        let rooms = Standalone::new().unwrap();
        let mut agent = agent(&rooms, mode);
        agent.process().kill().unwrap();
        let report = report(&agent);
        assert_eq!(report["agent"], Value::Null);
        assert_eq!(report["links"][0]["mode"], mode, "{report:#}");
        let text = agent.inspect(&[]).unwrap();
        let line = text.lines().find(|line| line.starts_with("eth0")).unwrap();
        assert!(line.contains(mode) && line.contains(remark), "{text}");
        assert!(text.contains("NO AGENT"), "{text}");
        assert!(text.contains(&V4.to_string()) && text.contains(&V6.to_string()), "{text}");
    }
}

#[test]
#[ignore = "needs root and the barelb binary: makes network namespaces"]
fn inspect_without_maps_says_what_to_look_at() {
    let rooms = Standalone::new().unwrap();
    let mut command = rooms.node.namespace().command(barelb().unwrap());
    let output = command.arg("inspect").arg("--bpffs").arg(rooms.bpffs()).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(error.contains(rooms.bpffs().to_str().unwrap()) && error.contains("--bpffs"), "{error}");
}

/// Sends both frames until `seen` holds: the program samples requests, so the first may come too early to be traced.
fn ask_until(endpoint: &Endpoint, frames: [&[u8]; 2], what: &str, seen: impl Fn() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !seen() {
        assert!(Instant::now() < deadline, "{what}");
        for frame in frames {
            endpoint.send(frame).unwrap();
        }
        thread::sleep(Duration::from_millis(100));
    }
}

#[test]
#[ignore = "needs root and the barelb binary: makes network namespaces"]
fn trace_shows_requests_and_conflicts_of_its_address() {
    let rooms = Standalone::new().unwrap();
    let mut agent = agent(&rooms, "native");
    let endpoint = Endpoint::open(&rooms.client).unwrap();
    let trace = |ip: IpAddr, output: &str| {
        let log = rooms.state().join(format!("trace-{output}-{}", if ip.is_ipv4() { 4 } else { 6 }));
        let mut command = rooms.node.namespace().command(barelb().unwrap());
        command.args(["trace", &ip.to_string(), "-o", output]).arg("--state-dir").arg(rooms.state());
        rooms.node.namespace().spawn_command(&mut command, &log).unwrap()
    };
    let mut v4 = trace(V4.into(), "json");
    let v6 = trace(V6.into(), "json");
    let others = ["table", "wide", "yaml"].map(|output| trace(V4.into(), output));
    let request =
        [&arp_request(CLIENT_MAC, CLIENT_V4, V4)[..], &neighbour_solicitation(CLIENT_MAC, CLIENT_V6, V6)];
    let conflict = [&arp_request(STRANGER, V4, V4)[..], &neighbour_solicitation(STRANGER, V6, V6)];
    for (frames, kind, outcomes) in [
        (request, "request", ["arp_reply", "nd_advert"]),
        (conflict, "conflict", ["arp_conflict", "nd_conflict"]),
    ] {
        let both = || {
            let has = |log: String, outcome| {
                log.contains(&format!("\"kind\":\"{kind}\",\"outcome\":\"{outcome}\""))
            };
            has(v4.log(), outcomes[0]) && has(v6.log(), outcomes[1])
        };
        ask_until(&endpoint, frames, &format!("no {kind} of each family was traced"), both);
    }
    for (log, ip, peers) in [
        (v4.log(), IpAddr::from(V4), [json!(CLIENT_V4), json!(V4)]),
        (v6.log(), V6.into(), [json!(CLIENT_V6), json!(V6)]),
    ] {
        for line in log.lines() {
            let event: Value = serde_json::from_str(line).unwrap();
            assert_eq!(
                (&event["ip"], &event["vlans"], &event["link"]),
                (&json!(ip), &json!("untagged"), &json!(rooms.node.index()))
            );
            let conflict = event["kind"] == "conflict";
            let mac = if conflict { "02:00:00:00:00:99" } else { "02:00:00:00:00:0a" };
            assert_eq!(
                (&event["peerMac"], &event["peer"]),
                (&json!(mac), &peers[usize::from(conflict)]),
                "{event:#}"
            );
        }
    }
    let [table, wide, yaml] = others.map(|trace| trace.log());
    let line =
        |text: &str| text.lines().find(|line| line.contains("arp_conflict")).unwrap_or_default().to_owned();
    assert!(table.starts_with("TIME ") && line(&table).contains("192.0.2.100"), "{table}");
    assert!(wide.contains("IFINDEX") && line(&wide).contains("untagged"), "{wide}");
    assert!(yaml.starts_with("---\n") && yaml.contains("outcome: arp_conflict\n"), "{yaml}");

    agent.process().kill().unwrap();
    let status = v4.wait(LIMIT).unwrap().unwrap();
    assert_eq!(status.code(), Some(1));
    assert!(v4.log().contains("the agent has ended"), "{}", v4.log());
}

/// `barelb check -o json` in a namespace: its exit code, and the rows by interface and check.
fn check(namespace: &Namespace, arguments: &[&str]) -> (Option<i32>, Vec<Value>) {
    let mut command = namespace.command(barelb().unwrap());
    let output = command.args(["check", "-o", "json"]).args(arguments).output().unwrap();
    let rows = serde_json::from_slice(&output.stdout);
    (
        output.status.code(),
        rows.unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr))),
    )
}

/// Level and finding of one row.
fn row(rows: &[Value], name: &str) -> (String, String) {
    let found: Vec<_> = rows.iter().filter(|row| row["check"] == name).collect();
    assert_eq!(found.len(), 1, "{name}: {rows:#?}");
    let text = |field: &str| found[0][field].as_str().unwrap().to_owned();
    (text("level"), text("finding"))
}

#[test]
#[ignore = "needs root and the barelb binary: makes network namespaces"]
fn check_of_a_fit_node_and_of_faults_made_on_it() {
    let rooms = Standalone::new().unwrap();
    let namespace = rooms.node.namespace();
    let bpffs = rooms.bpffs().to_str().unwrap();
    let quick = ["--listen", "0", "--bpffs", bpffs];
    let (code, rows) = check(namespace, &quick);
    assert_eq!(code, Some(0), "{rows:#?}");
    for name in ["kernel", "BPF object", "bpffs", "capabilities", "link", "mode"] {
        assert_eq!(row(&rows, name).0, "OK", "{rows:#?}");
    }
    assert!(
        rows.iter().all(|row| row["interface"] == Value::Null || row["interface"] == "eth0"),
        "{rows:#?}"
    );
    assert!(row(&rows, "mode").1.contains("veth"), "{rows:#?}");

    namespace.sysctl("net.ipv4.conf.all.rp_filter", "1").unwrap();
    namespace.sysctl("net.ipv6.conf.eth0.disable_ipv6", "1").unwrap();
    namespace.ip(&["link", "add", "kube-ipvs0", "type", "bridge"]).unwrap();
    namespace.exec("tc", &["qdisc", "add", "dev", "eth0", "clsact"]).unwrap();
    let filter =
        ["filter", "add", "dev", "eth0", "ingress", "protocol", "ip", "u32", "match", "u32", "0", "0"];
    namespace.exec("tc", &filter).unwrap();
    let pass = PassProgram::attach(&rooms.node).unwrap();
    let (code, rows) = check(namespace, &quick);
    assert_eq!(code, Some(0), "warnings are no failures: {rows:#?}");
    for (name, level, words) in [
        ("rp_filter", "WARN", "net.ipv4.conf.eth0.rp_filter=2"),
        ("IPv6", "WARN", "disable_ipv6=0"),
        ("strictARP", "WARN", "ipvs.strictARP"),
        ("tc", "INFO", "u32"),
        ("XDP", "WARN", "(rig_pass)"),
    ] {
        let (found, finding) = row(&rows, name);
        assert_eq!(found, level, "{name}: {finding}");
        assert!(finding.contains(words), "{name}: {finding}");
    }
    namespace.sysctl("net.ipv4.conf.all.arp_ignore", "1").unwrap();
    assert_eq!(row(&check(namespace, &quick).1, "strictARP").0, "OK");
    drop(pass);

    for (arguments, name, words) in [
        (&["--interface", "eth7", "--bpffs", bpffs][..], "link", "no such interface"),
        (&["--interface", "eth0", "--bpffs", "/"], "bpffs", "mount -t bpf"),
        (&["--interface", "kube-ipvs0", "--bpffs", bpffs], "link", "is down"),
        (&["--interface", "lo", "--bpffs", bpffs], "link", "not Ethernet"),
    ] {
        let (code, rows) = check(namespace, &[&quick[..2], arguments].concat());
        let (level, finding) = row(&rows, name);
        assert_eq!((code, &level[..]), (Some(1), "FAIL"), "{rows:#?}");
        assert!(finding.contains(words), "{finding}");
    }
}

#[test]
#[ignore = "needs root and the barelb binary: makes network namespaces"]
fn check_knows_its_own_program_and_hears_broadcast() {
    let rooms = Standalone::new().unwrap();
    let _agent = agent(&rooms, "native");
    let bpffs = rooms.bpffs().to_str().unwrap();
    let (code, rows) =
        check(rooms.node.namespace(), &["--bpffs", bpffs, "--interface", "eth0", "--listen", "1"]);
    assert_eq!(code, Some(0), "{rows:#?}");
    assert!(row(&rows, "mode").1.contains("attached: native"), "{rows:#?}");
    assert!(rows.iter().all(|row| row["check"] != "XDP"), "{rows:#?}");
    let (level, finding) = row(&rows, "broadcast");
    assert_eq!(level, "WARN", "{finding}");
    assert!(finding.contains("none heard in 1 s"), "{finding}");

    let endpoint = Endpoint::open(&rooms.client).unwrap();
    let shout = arp_request(CLIENT_MAC, CLIENT_V4, "192.0.2.177".parse().unwrap());
    let (_, rows) = thread::scope(|scope| {
        let check = scope.spawn(|| check(rooms.node.namespace(), &["--bpffs", bpffs, "--listen", "10"]));
        while !check.is_finished() {
            endpoint.send(&shout).unwrap();
            thread::sleep(Duration::from_millis(50));
        }
        check.join().unwrap()
    });
    assert_eq!(row(&rows, "broadcast"), ("OK".to_owned(), "a frame was heard".to_owned()));
}

#[test]
#[ignore = "needs root and the barelb binary: makes network namespaces"]
fn check_names_vlans_without_an_interface() {
    let rooms = Standalone::new().unwrap();
    let pools = fs::read_to_string(rooms.manifests().join("pools.yaml")).unwrap();
    let bound = "metadata: {name: test, namespace: metallb-system, annotations: {barelb.io/vlan: \"42\"}}\n";
    let (pool, advertisement) = pools.split_once("---\n").unwrap();
    let advertisement = advertisement.replace("metadata: {name: test, namespace: metallb-system}\n", bound);
    rooms.write("pools.yaml", &format!("{pool}---\n{advertisement}")).unwrap();
    let _agent = agent(&rooms, "tcx");
    let arguments = ["--bpffs", rooms.bpffs().to_str().unwrap(), "--listen", "0"];
    let (level, finding) = row(&check(rooms.node.namespace(), &arguments).1, "VLAN");
    assert_eq!(level, "WARN");
    assert!(finding.contains("ip link add link eth0 name eth0.42 type vlan id 42"), "{finding}");
}

#[test]
#[ignore = "needs root and the barelb binary: makes network namespaces"]
fn check_names_missing_capabilities() {
    let rooms = Standalone::new().unwrap();
    let mut command = rooms.node.namespace().command("setpriv");
    command.args(["--bounding-set", "-sys_admin,-bpf,-net_raw"]).arg(barelb().unwrap());
    command.args(["check", "--listen", "0", "-o", "yaml", "--bpffs"]).arg(rooms.bpffs());
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("check: capabilities\n"), "{text}");
    assert!(text.contains("missing: CAP_BPF, CAP_NET_RAW;"), "{text}");
}
