//! Bad input: each kind is named in the log, by `barelb inspect` and in the status files, and takes nothing from
//! anybody: a control address of each family keeps its address and is answered all the time, also over a restart with
//! the bad file in place. Needs root.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::cell::Cell;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use lb_test::agent::{Agent, AgentConfig};
use lb_test::client::{ProbeClient, ProbeConfig};
use lb_test::standalone::{Standalone, service};

const V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);
const V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x100);
const READY: Duration = Duration::from_secs(10);
/// Between two looks at the agent.
const LOOK: Duration = Duration::from_millis(200);
/// Requests a second of each probe.
const RATE: u32 = 200;

/// What has to be told: file, document (0 = none), object, field (empty = none), and a piece of the reason.
type Told = (&'static str, u32, &'static str, &'static str, &'static str);

struct Case {
    what: &'static str,
    /// Files with their new texts.
    files: Vec<(&'static str, String)>,
    told: Vec<Told>,
}

fn case(what: &'static str, file: &'static str, text: impl Into<String>, told: &[Told]) -> Case {
    Case { what, files: vec![(file, text.into())], told: told.to_vec() }
}

fn pool(addresses: &str) -> String {
    format!(
        "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {{name: bad, namespace: metallb-system}}\n\
         spec: {{addresses: [{addresses}]}}\n"
    )
}

fn advertisement(interfaces: &str) -> String {
    format!(
        "apiVersion: metallb.io/v1beta1\nkind: L2Advertisement\nmetadata: {{name: bad, namespace: metallb-system}}\n\
         spec: {{interfaces: [{interfaces}]}}\n"
    )
}

fn legacy(pools: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: config, namespace: metallb-system}}\n\
         data:\n  config: |\n    {pools}\n"
    )
}

fn both() -> Vec<IpAddr> {
    vec![V4.into(), V6.into()]
}

const CONFIG: &str = "ConfigMap metallb-system/config";
const POOL: &str = "IPAddressPool metallb-system/bad";
const FIRST: &str = "spec.addresses[0]";
const SECOND: &str = "spec.addresses[1]";
const WISH: &str = "metadata.annotations[metallb.io/loadBalancerIPs]";
const LEFT_OUT: &str = "it has no effect until it is corrected";

/// What the issue lists, IPv4 and IPv6 in pairs.
fn listed() -> Vec<Case> {
    let area = |what, v4: &'static str, area4, v6: &'static str, area6| {
        let told = [("bad.yaml", 1, POOL, FIRST, area4), ("bad.yaml", 1, POOL, SECOND, area6)];
        case(what, "bad.yaml", pool(&format!("{v4}, \"{v6}\"")), &told)
    };
    let own = [
        pool("192.0.2.11/32, \"2001:db8::11/128\""),
        service("four", &[Ipv4Addr::new(192, 0, 2, 11).into()]),
        service("six", &[Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x11).into()]),
    ];
    vec![
        case("malformed", "bad.yaml", "a: 1\nkind: [\n", &[("bad.yaml", 1, "", "", LEFT_OUT)]),
        case(
            "an unknown field of the v0.9 document",
            "bad.yaml",
            legacy("address-pools: [{name: x, protocol: layer2, adresses: [203.0.113.0/24]}]"),
            &[("bad.yaml", 1, CONFIG, "address-pools[0]", "adresses")],
        ),
        area(
            "start after end",
            "203.0.113.9-203.0.113.1",
            "after its end",
            "2001:db8:9::9-2001:db8:9::1",
            "after",
        ),
        area(
            "overlap",
            "192.0.2.128/25",
            "overlaps 192.0.2.100-192.0.2.199 of pool test",
            "2001:db8:0:1::/80",
            "overlaps",
        ),
        area(
            "families mixed",
            "203.0.113.1-2001:db8:9::1",
            "of one family",
            "2001:db8:9::1-203.0.113.1",
            "of one family",
        ),
        area("loopback", "127.0.0.0/24", "127.0.0.0/8 (loopback)", "::1/128", "::1 (loopback)"),
        area("multicast", "224.0.0.0/24", "224.0.0.0/4 (multicast)", "ff02::/120", "ff00::/8 (multicast)"),
        area(
            "link-local",
            "169.254.1.0/24",
            "169.254.0.0/16 (link-local",
            "fe80::/120",
            "fe80::/10 (link-local)",
        ),
        case(
            "the node's own address",
            "bad.yaml",
            own.join("---\n"),
            &[
                ("bad.yaml", 1, POOL, FIRST, "192.0.2.11 is an address of a node"),
                ("bad.yaml", 1, POOL, SECOND, "2001:db8::11 is an address of a node"),
                ("bad.yaml", 2, "Service default/four", WISH, "192.0.2.11 is an address of a node"),
                ("bad.yaml", 3, "Service default/six", WISH, "2001:db8::11 is an address of a node"),
            ],
        ),
        case(
            "interfaces that do not exist",
            "bad.yaml",
            advertisement("eth0, eth9, eth8"),
            &[
                (
                    "bad.yaml",
                    1,
                    "L2Advertisement metallb-system/bad",
                    "spec.interfaces[1]",
                    "no interface eth9",
                ),
                (
                    "bad.yaml",
                    1,
                    "L2Advertisement metallb-system/bad",
                    "spec.interfaces[2]",
                    "no interface eth8",
                ),
            ],
        ),
        case(
            "the address of another Service",
            "bad.yaml",
            [service("four", &[V4.into()]), service("six", &[V6.into()])].join("---\n"),
            &[
                ("bad.yaml", 1, "Service default/four", WISH, "in use by Service default/web"),
                ("bad.yaml", 2, "Service default/six", WISH, "in use by Service default/web"),
            ],
        ),
    ]
}

/// Bad edits of the files that the control address comes from, and objects that would displace its own.
fn displacing(pools: &str) -> Vec<Case> {
    const KEPT: &str = "what it said before stays in force";
    const TEST: &str = "IPAddressPool metallb-system/test";
    let web = service("web", &both());
    let renamed = pool("192.0.2.0/24, \"2001:db8::/64\"").replace("name: bad", "name: before");
    vec![
        case("the Service is malformed", "service.yaml", "kind: [", &[("service.yaml", 1, "", "", KEPT)]),
        case(
            "the Service has a bad word",
            "service.yaml",
            web.replace("RequireDualStack", "Both"),
            &[("service.yaml", 1, "Service default/web", "spec.ipFamilyPolicy", KEPT)],
        ),
        case(
            "the Service's file is empty",
            "service.yaml",
            "",
            &[("service.yaml", 0, "", "", "the file is empty")],
        ),
        case("the pools are malformed", "pools.yaml", "kind: [", &[("pools.yaml", 1, "", "", KEPT)]),
        case(
            "the pool has a bad entry",
            "pools.yaml",
            pools.replace("192.0.2.100-192.0.2.199", "192.0.2.199-192.0.2.100"),
            &[("pools.yaml", 1, TEST, FIRST, KEPT)],
        ),
        case(
            "the pool has another field",
            "pools.yaml",
            pools.replace("  addresses:", "  autoasign: true\n  addresses:"),
            &[("pools.yaml", 1, TEST, "spec.autoasign", KEPT)],
        ),
        case(
            "a pool before it takes its addresses",
            "a.yaml",
            renamed,
            &[("a.yaml", 1, "IPAddressPool metallb-system/before", FIRST, "of pool test")],
        ),
        case(
            "a Service of its name before it",
            "a.yaml",
            service("web", &[Ipv4Addr::new(192, 0, 2, 150).into()]),
            &[("a.yaml", 1, "Service default/web", "", "already defined in service.yaml, document 1")],
        ),
        case(
            "a pool of its name before it",
            "a.yaml",
            pool("203.0.113.0/24").replace("name: bad", "name: test"),
            &[("a.yaml", 1, TEST, "", "already defined in pools.yaml, document 1")],
        ),
        Case {
            what: "everything at once",
            files: vec![("service.yaml", "kind: [".to_owned()), ("pools.yaml", "- x".to_owned())],
            told: vec![("service.yaml", 1, "", "", KEPT), ("pools.yaml", 1, "", "", KEPT)],
        },
    ]
}

fn start(config: &AgentConfig) -> Agent {
    let mut agent = Agent::start(config).unwrap();
    wait(&mut agent, "the table is not up to date", is_synced).unwrap();
    agent
}

fn is_synced(agent: &Agent) -> bool {
    let state = agent.inspect(&["-o", "json"]).unwrap_or_default();
    state.contains(&format!("\"pid\": {},", agent.pid())) && state.contains("\"synced\": true")
}

/// Waits until `ready` holds. Looks seldom: the agent is not to be kept busy with questions.
fn wait(agent: &mut Agent, missing: &str, ready: impl Fn(&Agent) -> bool) -> anyhow::Result<()> {
    let last = Cell::new(None::<Instant>);
    agent.wait_until(READY, missing, |agent| {
        let looked = last.get().is_some_and(|at| at.elapsed() < LOOK);
        !looked && {
            let is_ready = ready(agent);
            last.set(Some(Instant::now()));
            is_ready
        }
    })
}

fn problems(agent: &Agent) -> Vec<String> {
    let text = agent.inspect(&["-o", "json"]).unwrap_or_default();
    let report: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    let problems = report["agent"]["problems"].as_array().cloned().unwrap_or_default();
    problems.iter().filter_map(|problem| problem.as_str().map(str::to_owned)).collect()
}

fn matches(told: &Told, problem: &str) -> bool {
    let (file, document, object, field, reason) = *told;
    let document = if document == 0 { String::new() } else { format!("document {document}") };
    let parts = [file, &document, object, field].map(str::to_owned);
    let place = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ");
    problem.starts_with(&place) && problem.contains(reason)
}

/// Everything that has to be told is told by inspect, and then in the log and in problems.yaml.
fn assert_told(agent: &mut Agent, case: &Case) {
    let all = |agent: &Agent| {
        let problems = problems(agent);
        case.told.iter().all(|told| problems.iter().any(|problem| matches(told, problem)))
    };
    if let Err(error) = wait(agent, "inspect does not tell", all) {
        panic!("{}: inspect tells {:#?}; {error}", case.what, problems(agent));
    }
    let (log, status) = (agent.log(), fs::read_to_string(agent.status_dir().join("problems.yaml")).unwrap());
    for told in &case.told {
        let (file, document, object, field, _) = told;
        let problem = problems(agent).into_iter().find(|problem| matches(told, problem)).unwrap();
        // The log quotes texts.
        let quoted = format!("{problem:?}");
        assert!(log.contains(quoted.trim_matches('"')), "{}: not in the log: {problem}", case.what);
        let document = if *document == 0 { String::new() } else { format!("document: {document}\n") };
        for part in [&format!("file: {file}\n"), &document, *object, *field] {
            assert!(status.contains(part), "{}: no {part:?} in problems.yaml:\n{status}", case.what);
        }
    }
}

fn assert_kept(agent: &Agent, what: &str) {
    assert_eq!(agent.ingress().get("default.web"), Some(&both()), "{what}");
}

/// Every case: the error appears, the agent restarts with it, the error is taken back; the control address is answered
/// all the time.
fn run(cases: impl FnOnce(&str) -> Vec<Case>) {
    let standalone = Standalone::new().unwrap();
    standalone.write("service.yaml", &service("web", &both())).unwrap();
    let read = |file: &str| fs::read_to_string(standalone.manifests().join(file)).ok();
    let config = standalone.config().unwrap();
    let mut agent = start(&config);
    assert_eq!(problems(&agent), Vec::<String>::new());
    for (number, case) in cases(&read("pools.yaml").unwrap()).iter().enumerate() {
        let before: Vec<_> = case.files.iter().map(|(file, _)| (*file, read(file))).collect();
        let probe = ProbeConfig { targets: both(), per_second: RATE };
        let probe = ProbeClient::start(&standalone.client, probe).unwrap();
        for (file, text) in &case.files {
            standalone.write(file, text).unwrap();
        }
        assert_told(&mut agent, case);
        assert_kept(&agent, case.what);
        if number.is_multiple_of(2) { agent.process().term() } else { agent.process().kill() }.unwrap();
        agent.process().wait(READY).unwrap();
        agent = start(&config);
        assert_told(&mut agent, case);
        assert_kept(&agent, case.what);
        for (file, text) in before {
            match text {
                Some(text) => standalone.write(file, &text).unwrap(),
                None => standalone.remove(file).unwrap(),
            }
        }
        let healed = |agent: &Agent| problems(agent).is_empty() && is_synced(agent);
        if let Err(error) = wait(&mut agent, "the error is still told", healed) {
            panic!("{}: inspect tells {:#?}; {error}", case.what, problems(&agent));
        }
        assert_kept(&agent, case.what);
        let report = probe.stop().unwrap();
        assert!(report.sent > 20, "{}: {}", case.what, report.summary());
        if let Err(error) = report.assert_complete() {
            panic!("{}: {error}; {}", case.what, report.summary());
        }
    }
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn each_kind_of_bad_input_is_told_and_disturbs_nothing() {
    run(|_| listed());
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn a_bad_edit_or_a_duplicate_takes_nothing_from_what_is_in_force() {
    run(displacing);
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn a_directory_that_is_away_takes_nothing_with_it() {
    let standalone = Standalone::new().unwrap();
    standalone.write("service.yaml", &service("web", &both())).unwrap();
    let config = AgentConfig { grace: Some("2s".to_owned()), ..standalone.config().unwrap() };
    let mut agent = start(&config);
    let probe = ProbeConfig { targets: both(), per_second: RATE };
    let probe = ProbeClient::start(&standalone.client, probe).unwrap();
    let (dir, away) = (standalone.manifests(), standalone.manifests().with_extension("away"));
    fs::rename(&dir, &away).unwrap();
    for restart in [false, true] {
        if restart {
            agent.process().kill().unwrap();
            agent.process().wait(READY).unwrap();
            agent = start(&config);
        }
        let told =
            |agent: &Agent| problems(agent).iter().any(|text| text.contains("the directory can't be read"));
        wait(&mut agent, "inspect does not tell", told).unwrap();
        assert!(!dir.exists(), "a directory was made in its place");
        // Longer than the grace: whoever answers then is alive and has not given up.
        std::thread::sleep(Duration::from_secs(3));
    }
    fs::rename(&away, &dir).unwrap();
    wait(&mut agent, "it is still told", |agent| problems(agent).is_empty()).unwrap();
    assert_kept(&agent, "the directory is back");
    let report = probe.stop().unwrap();
    report.assert_complete().unwrap_or_else(|error| panic!("{error}; {}", report.summary()));
}

/// An agent that knows nothing yet, and a directory that is not there: nothing is made, nothing withdrawn, it is told
/// (by the admin socket: there are no maps to inspect yet).
#[test]
#[ignore = "needs root: makes network namespaces"]
fn a_mistyped_directory_is_told_and_not_made() {
    let standalone = Standalone::new().unwrap();
    let config = standalone.config().unwrap();
    let manifests = standalone.manifests().with_extension("mistyped");
    let mut agent = Agent::start(&AgentConfig { manifests: manifests.clone(), ..config }).unwrap();
    let told = |agent: &Agent| state(agent).contains("the directory can't be read");
    wait(&mut agent, "the agent does not tell", told).unwrap();
    assert!(agent.log().contains("the directory can't be read"));
    assert!(!manifests.exists() && state(&agent).contains("\"synced\":false"));
}

/// What the agent says of itself; nothing while it does not listen.
fn state(agent: &Agent) -> String {
    let Ok(mut stream) = UnixStream::connect(agent.config().state.join("admin.sock")) else {
        return String::new();
    };
    stream.write_all(b"state\n").unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    line
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn an_interface_of_the_command_line_that_does_not_exist_is_told() {
    let standalone = Standalone::new().unwrap();
    standalone.write("service.yaml", &service("web", &both())).unwrap();
    let extra = vec!["--interface".to_owned(), "eth9".to_owned()];
    let mut agent = start(&AgentConfig { extra, ..standalone.config().unwrap() });
    let expected = "command line, --interface: there is no interface eth9";
    let told = |agent: &Agent| problems(agent).iter().any(|text| text.starts_with(expected));
    wait(&mut agent, "inspect does not tell", told).unwrap();
    assert!(agent.log().contains(expected));
    assert_kept(&agent, "the other interface serves");
}

/// The example of the project's beginning, unchanged, and edits of its v0.9 document: a bad one and one without the
/// address in use leave the last good one in force and say so; a good one takes effect.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn the_seed_example_and_its_reload() {
    let standalone = Standalone::new().unwrap();
    standalone.remove("pools.yaml").unwrap();
    let seed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../manifests/examples/seed");
    for file in ["config.yaml", "service.yaml"] {
        standalone.write(file, &fs::read_to_string(seed.join(file)).unwrap()).unwrap();
    }
    let text = fs::read_to_string(seed.join("config.yaml")).unwrap();
    let mut agent = start(&standalone.config().unwrap());
    let address: IpAddr = Ipv4Addr::new(192, 168, 34, 0).into();
    let kept = |agent: &Agent| agent.ingress().get("default.nginx") == Some(&vec![address]);
    wait(&mut agent, "no address", kept).unwrap();
    assert_eq!(problems(&agent), Vec::<String>::new());
    let probe = ProbeConfig { targets: vec![address], per_second: RATE };
    let probe = ProbeClient::start(&standalone.client, probe).unwrap();
    for (text, told) in [
        (
            text.replace("layer2", "layer3"),
            ("config.yaml", 1, CONFIG, "address-pools[0].protocol", "stays in force"),
        ),
        (
            text.replace("protocol:", "protokol:"),
            ("config.yaml", 1, CONFIG, "address-pools[0]", "stays in force"),
        ),
        (
            text.replace(".34.", ".35."),
            ("config.yaml", 1, CONFIG, "address-pools", "no pool has 192.168.34.0 any more"),
        ),
    ] {
        let case = case("the v0.9 document", "config.yaml", text, &[told]);
        standalone.write("config.yaml", &case.files[0].1).unwrap();
        assert_told(&mut agent, &case);
        assert!(kept(&agent));
    }
    standalone.write("config.yaml", &text.replace("192.168.34.255", "192.168.35.255")).unwrap();
    wait(&mut agent, "it is still told", |agent| problems(agent).is_empty()).unwrap();
    assert!(kept(&agent));
    probe.stop().unwrap().assert_complete().unwrap();
}
