//! The agent between the kernel and the wire: what it does when a link, an address, the machine or somebody else
//! changes something under its hands. Needs root: see the README.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking and shows figures")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use lb_test::agent::{Agent, AgentConfig};
use lb_test::standalone::{Standalone, service};
use lb_test::wire::{Endpoint, arp_request};

const V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);
const V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x100);
const READY: Duration = Duration::from_secs(20);
/// Longer than the longest burst.
const BURST: Duration = Duration::from_secs(6);

fn web() -> String {
    service("web", &[V4.into(), V6.into()])
}

/// The address a frame announces, if it is an announcement.
fn announced(frame: &[u8]) -> Option<IpAddr> {
    match frame.get(12..14)? {
        [8, 6] if frame.get(28..32)? == frame.get(38..42)? => {
            Some(IpAddr::from(<[u8; 4]>::try_from(&frame[28..32]).ok()?))
        }
        [0x86, 0xdd] if frame.get(54)? == &136 && frame.get(58)? & 0x40 == 0 => {
            Some(IpAddr::from(<[u8; 16]>::try_from(frame.get(62..78)?).ok()?))
        }
        _ => None,
    }
}

/// Waits for announcements of both addresses; the time of the first.
fn both_announced(endpoint: &Endpoint, limit: Duration) -> Option<SystemTime> {
    let deadline = Instant::now() + limit;
    let (mut first, mut missing) = (None, vec![IpAddr::from(V4), V6.into()]);
    while !missing.is_empty() {
        let frame = endpoint.receive(deadline).unwrap()?;
        if let Some(ip) = announced(&frame.bytes).filter(|ip| missing.contains(ip)) {
            missing.retain(|other| *other != ip);
            first = first.or(Some(frame.at));
        }
    }
    first
}

fn is_announced(endpoint: &Endpoint, ip: IpAddr, time: Duration) -> bool {
    let deadline = Instant::now() + time;
    while let Some(frame) = endpoint.receive(deadline).unwrap() {
        if announced(&frame.bytes) == Some(ip) {
            return true;
        }
    }
    false
}

fn is_answered(rooms: &Standalone, endpoint: &Endpoint) -> bool {
    let ask = arp_request(rooms.client.mac(), Ipv4Addr::new(192, 0, 2, 10), V4);
    let mine = |frame: &[u8]| frame[..6] == rooms.client.mac() && frame[20..22] == [0, 2];
    endpoint.ask(&ask, Duration::from_millis(200), mine).unwrap().is_some()
}

fn start(config: &AgentConfig) -> Agent {
    let mut agent = Agent::start(config).unwrap();
    agent.wait_ready(READY).unwrap();
    agent
}

/// G06: as soon as the link is up again. The figure is shown; the test only tells it from the pause in which changes of
/// files are collected.
#[test]
#[ignore = "needs root, the barelb binary and the rig object: makes network namespaces"]
fn g06_a_link_that_comes_up_is_announced_without_delay() {
    let rooms = Standalone::new().unwrap();
    let endpoint = Endpoint::open(&rooms.client).unwrap();
    rooms.write("web.yaml", &web()).unwrap();
    let _agent = start(&rooms.config().unwrap());
    sleep(BURST);
    let (mut delays, mut beyond) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        rooms.node.down().unwrap();
        sleep(Duration::from_millis(300));
        endpoint.drain().unwrap();
        let before = SystemTime::now();
        rooms.node.up().unwrap();
        let up = SystemTime::now();
        let first = both_announced(&endpoint, READY).expect("announced after link up");
        delays.push(first.duration_since(before).unwrap_or_default());
        beyond.push(first.duration_since(up).unwrap_or_default());
        sleep(BURST);
    }
    delays.sort_unstable();
    println!("link up to the first announcement: {delays:?}; beyond the end of `ip link`: {beyond:?}");
    assert!(delays[0] < Duration::from_millis(80), "{delays:?}");
}

/// A carrier that goes and comes back faster than anybody looks.
#[test]
#[ignore = "needs root, the barelb binary and the rig object: makes network namespaces"]
fn g06_a_carrier_that_flaps_is_announced_again() {
    let rooms = Standalone::new().unwrap();
    let endpoint = Endpoint::open(&rooms.client).unwrap();
    rooms.write("web.yaml", &web()).unwrap();
    let agent = start(&rooms.config().unwrap());
    sleep(BURST);
    // The agent sees nothing of it but what is the case when it wakes up.
    agent.process_ref().stop().unwrap();
    rooms.client.down().unwrap();
    rooms.client.up().unwrap();
    agent.process_ref().cont().unwrap();
    assert!(both_announced(&endpoint, READY).is_some());
}

/// G07: exact to a hundredth, and still off for everybody else (`announce.rs`).
#[test]
#[ignore = "needs root, the barelb binary and the rig object: makes network namespaces"]
fn g07_addresses_are_announced_again_at_the_interval() {
    let rooms = Standalone::new().unwrap();
    let endpoint = Endpoint::open(&rooms.client).unwrap();
    rooms.write("web.yaml", &web()).unwrap();
    let extra = ["--announce-interval", "3s"].map(str::to_owned).to_vec();
    let _agent = start(&AgentConfig { extra, ..rooms.config().unwrap() });
    let deadline = Instant::now() + Duration::from_secs(21);
    let mut heard: Vec<(IpAddr, SystemTime)> = Vec::new();
    while let Some(frame) = endpoint.receive(deadline).unwrap() {
        heard.extend(announced(&frame.bytes).map(|ip| (ip, frame.at)));
    }
    for (ip, burst, forms) in [(IpAddr::from(V4), 12, 2), (V6.into(), 3, 1)] {
        let times: Vec<SystemTime> =
            heard.iter().filter(|(other, _)| *other == ip).map(|(_, at)| *at).collect();
        let rounds: Vec<SystemTime> = times.into_iter().skip(burst).step_by(forms).collect();
        assert!(rounds.len() >= 4, "{ip}: {rounds:?}");
        let gaps: Vec<f64> =
            rounds.windows(2).map(|pair| pair[1].duration_since(pair[0]).unwrap().as_secs_f64()).collect();
        let mean = gaps.iter().sum::<f64>() / f64::from(u32::try_from(gaps.len()).unwrap());
        println!("{ip}: every {gaps:?} s");
        // What is late once does not add up; the machine of a test is late by more than the hundredth in single rounds.
        assert!((mean - 3.0).abs() < 0.1, "{ip}: {gaps:?}");
    }
}

/// The grace ends while the agent is frozen: what it knew may be wrong, and everybody has to hear of it anew.
#[test]
#[ignore = "needs root, the barelb binary and the rig object: makes network namespaces"]
fn an_agent_that_thaws_after_its_deadline_looks_first_and_announces_again() {
    let rooms = Standalone::new().unwrap();
    let endpoint = Endpoint::open(&rooms.client).unwrap();
    rooms.write("web.yaml", &web()).unwrap();
    let gone = Ipv4Addr::new(192, 0, 2, 101);
    rooms.write("gone.yaml", &service("gone", &[gone.into()])).unwrap();
    let agent = start(&AgentConfig { grace: Some("1s".to_owned()), ..rooms.config().unwrap() });
    sleep(BURST);
    agent.process_ref().stop().unwrap();
    sleep(Duration::from_secs(2));
    assert!(!is_answered(&rooms, &endpoint), "silent after the grace");
    rooms.remove("gone.yaml").unwrap();
    endpoint.drain().unwrap();
    agent.process_ref().cont().unwrap();
    let ask = arp_request(rooms.client.mac(), Ipv4Addr::new(192, 0, 2, 10), gone);
    for _ in 0..20 {
        let answers = endpoint.exchange(&ask, Duration::from_millis(10)).unwrap();
        // The sender's protocol address, of answers and announcements.
        assert!(answers.iter().all(|frame| frame[28..32] != gone.octets()), "answered from the old table");
    }
    assert!(is_announced(&endpoint, V4.into(), Duration::from_secs(3)), "{}", agent.log());
    assert!(is_answered(&rooms, &endpoint));
}

/// The node gets an address of the pool itself: it is not given out any more, and comes back when the node lets it go.
#[test]
#[ignore = "needs root, the barelb binary and the rig object: makes network namespaces"]
fn an_address_of_the_node_itself_is_not_announced() {
    let rooms = Standalone::new().unwrap();
    rooms.write("web.yaml", &web()).unwrap();
    let mut agent = start(&rooms.config().unwrap());
    for (ip, cidr) in [(IpAddr::from(V4), "192.0.2.100/24"), (V6.into(), "2001:db8::100/64")] {
        rooms.node.add_address(cidr).unwrap();
        let says = |agent: &Agent| agent.inspect(&["-o", "json"]).unwrap_or_default();
        let entries = |agent: &Agent| says(agent).matches(&format!("\"ip\": \"{ip}\"")).count();
        agent.wait_until(READY, "still in the table", |agent| entries(agent) == 0).unwrap();
        rooms.node.del_address(cidr).unwrap();
        agent.wait_until(READY, "not in the table again", |agent| entries(agent) > 0).unwrap();
    }
}

#[test]
#[ignore = "needs root, the barelb binary and the rig object: makes network namespaces"]
fn what_withdraws_leaves_no_group_behind() {
    let rooms = Standalone::new().unwrap();
    let endpoint = Endpoint::open(&rooms.client).unwrap();
    rooms.write("web.yaml", &web()).unwrap();
    let extra = ["--on-exit", "withdraw"].map(str::to_owned).to_vec();
    let mut agent = start(&AgentConfig { extra, ..rooms.config().unwrap() });
    let groups = || rooms.node.namespace().ip(&["maddress", "show", "dev", "eth0"]).unwrap();
    agent.wait_until(READY, "the group is not joined", |_| groups().contains("33:33:ff:00:01:00")).unwrap();
    agent.process().term().unwrap();
    assert!(agent.process().wait(READY).unwrap().unwrap().success(), "{}", agent.log());
    assert!(!groups().contains("33:33:ff:00:01:00"), "{}", groups());
    assert_eq!(rooms.node.namespace().ip(&["-6", "neigh", "show", "proxy"]).unwrap(), "");
    assert!(!is_answered(&rooms, &endpoint));
}

/// Without an interface for the VLAN no report carries its tag: told, and the NIC lets the group through all the same.
/// (Where there is one: `agent::membership`.)
#[test]
#[ignore = "needs root, the barelb binary and the rig object: makes network namespaces"]
fn a_vlan_without_an_interface_is_told() {
    let rooms = Standalone::new().unwrap();
    let advertisement = "apiVersion: metallb.io/v1beta1\nkind: L2Advertisement\nmetadata:\n  name: test\n  \
                         namespace: metallb-system\n  annotations: {barelb.io/vlan: '42'}\n";
    let pools = std::fs::read_to_string(rooms.manifests().join("pools.yaml")).unwrap();
    let pool = pools.split("---").next().unwrap();
    rooms.write("pools.yaml", &format!("{pool}---\n{advertisement}")).unwrap();
    rooms.write("web.yaml", &web()).unwrap();
    let mut agent = start(&AgentConfig { mode: "tcx".to_owned(), ..rooms.config().unwrap() });
    let told = |agent: &Agent| {
        agent.inspect(&["-o", "json"]).unwrap_or_default().contains("eth0 has no interface for VLAN 42")
    };
    agent.wait_until(READY, "the gap is not told", told).unwrap();
    let proxies = || rooms.node.namespace().ip(&["-6", "neigh", "show", "proxy", "dev", "eth0"]).unwrap();
    agent.wait_until(READY, "not joined", |_| proxies().contains("ff02::1:ff00:100")).unwrap();
}
