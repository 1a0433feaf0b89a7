//! Solicited-node groups (N44 to N46): the NIC's filter and the listener reports, with and without the agent.
//! Needs root: see the README.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::{IpAddr, Ipv6Addr};
use std::thread;
use std::time::{Duration, Instant};

use lb_test::agent::Agent;
use lb_test::client::{ProbeClient, ProbeConfig};
use lb_test::shows;
use lb_test::standalone::{Standalone, service};
use lb_test::wire::Endpoint;

const READY: Duration = Duration::from_secs(10);
const MANY: u16 = 5_000;
const MANY_READY: Duration = Duration::from_mins(1);

/// An address whose last 24 bits, and so whose group, are 01:`low`.
fn address(high: u16, low: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0, 1, high, 0, 1, low)
}

/// The line of `ip maddress` for the Ethernet group of [`address`].
fn group_line(low: u16) -> String {
    let [a, b] = low.to_be_bytes();
    format!("33:33:ff:01:{a:02x}:{b:02x}")
}

fn filter(rooms: &Standalone) -> String {
    rooms.node.namespace().ip(&["maddress", "show", "dev", "eth0"]).unwrap()
}

/// Waits until the filter of the node's interface holds the group, or does not.
fn wait_filter(rooms: &Standalone, low: u16, present: bool) {
    let deadline = Instant::now() + READY;
    while filter(rooms).contains(&group_line(low)) != present {
        assert!(Instant::now() < deadline, "{} present: {}; {}", group_line(low), !present, filter(rooms));
        thread::sleep(Duration::from_millis(20));
    }
}

fn start(rooms: &Standalone) -> Agent {
    let mut agent = rooms.agent().unwrap();
    agent.wait_ready(READY).unwrap();
    agent
}

/// True for an `MLDv2` report that names the solicited-node group of [`address`] (RFC 3810 section 5.2).
fn reports(frame: &[u8], low: u16) -> bool {
    let [a, b] = low.to_be_bytes();
    let group = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 1, a, b];
    frame.get(62) == Some(&143)
        && frame.get(66..).is_some_and(|records| records.windows(16).any(|at| at == group))
}

#[test]
#[ignore = "needs root, the barelb binary and the rig object: makes network namespaces"]
fn n44_a_new_address_joins_its_group_and_reports_it() {
    shows!("N44");
    let rooms = Standalone::new().unwrap();
    let endpoint = Endpoint::open(&rooms.client).unwrap();
    rooms.write("web.yaml", &service("web", &[address(0, 7).into()])).unwrap();
    let _agent = start(&rooms);
    wait_filter(&rooms, 7, true);
    let deadline = Instant::now() + READY;
    let mut reported = false;
    while !reported {
        let frame = endpoint.receive(deadline).unwrap().expect("no listener report for the group");
        reported = reports(&frame.bytes, 7);
    }
}

#[test]
#[ignore = "needs root, the barelb binary and the rig object: makes network namespaces"]
fn n44_the_group_outlives_the_agent() {
    shows!("N44");
    for orderly in [true, false] {
        let rooms = Standalone::new().unwrap();
        rooms.write("web.yaml", &service("web", &[address(0, 7).into()])).unwrap();
        let mut agent = start(&rooms);
        wait_filter(&rooms, 7, true);
        if orderly {
            agent.process().term().unwrap();
            agent.process().wait(READY).unwrap().unwrap();
        } else {
            agent.process().kill().unwrap();
        }
        thread::sleep(Duration::from_millis(500));
        assert!(filter(&rooms).contains(&group_line(7)), "SIGTERM {orderly}: {}", filter(&rooms));
    }
}

#[test]
#[ignore = "needs root, the barelb binary and the rig object: makes network namespaces"]
fn n45_the_last_user_of_a_group_leaves_it() {
    shows!("N45");
    let rooms = Standalone::new().unwrap();
    // Two addresses of one group, and one of another.
    rooms.write("one.yaml", &service("one", &[address(1, 7).into()])).unwrap();
    rooms.write("two.yaml", &service("two", &[address(2, 7).into()])).unwrap();
    rooms.write("other.yaml", &service("other", &[address(1, 8).into()])).unwrap();
    let mut agent = start(&rooms);
    wait_filter(&rooms, 7, true);
    wait_filter(&rooms, 8, true);
    rooms.remove("one.yaml").unwrap();
    let left = |count: usize| {
        move |agent: &Agent| agent.ingress().values().filter(|ips| !ips.is_empty()).count() == count
    };
    agent.wait_until(READY, "one Service too many", left(2)).unwrap();
    thread::sleep(Duration::from_millis(500));
    assert!(filter(&rooms).contains(&group_line(7)), "the second user keeps it: {}", filter(&rooms));
    rooms.remove("two.yaml").unwrap();
    wait_filter(&rooms, 7, false);
    assert!(filter(&rooms).contains(&group_line(8)));
}

#[test]
#[ignore = "needs root, the barelb binary and the rig object: makes network namespaces"]
fn n44_a_snooping_bridge_keeps_forwarding_with_the_agent_dead() {
    shows!("N44");
    let rooms = Standalone::on_snooping_bridge().unwrap();
    let vip = address(0, 7);
    rooms.write("web.yaml", &service("web", &[vip.into()])).unwrap();
    let mut agent = start(&rooms);
    wait_filter(&rooms, 7, true);
    let bridge = rooms.bridge().unwrap().interface().namespace();
    let group = "ff02::1:ff01:7";
    let deadline = Instant::now() + READY;
    let known = || run_mdb(bridge).contains(group);
    while !known() {
        assert!(Instant::now() < deadline, "the bridge has not learned {group}: {}", run_mdb(bridge));
        thread::sleep(Duration::from_millis(50));
    }
    agent.process().kill().unwrap();
    // Shorter than the grace: the data plane answers on, if the bridge lets the solicitations through.
    let config = ProbeConfig { targets: vec![IpAddr::from(vip)], per_second: 100 };
    let report = ProbeClient::start(&rooms.client, config).unwrap().run_for(Duration::from_secs(3)).unwrap();
    report.assert_complete().unwrap();
    assert!(known(), "{}", run_mdb(bridge));
}

fn run_mdb(switch: &lb_test::namespace::Namespace) -> String {
    switch.exec("bridge", &["mdb", "show"]).unwrap()
}

#[test]
#[ignore = "needs root, the barelb binary and the rig object: makes network namespaces"]
fn n46_five_thousand_groups_are_joined() {
    shows!("N46");
    let rooms = Standalone::new().unwrap();
    let services: Vec<_> = (0..MANY).map(|n| service(&format!("s{n}"), &[address(n, n).into()])).collect();
    rooms.write("many.yaml", &services.join("---\n")).unwrap();
    let mut config = rooms.config().unwrap();
    config.extra = vec!["--max-vips".to_owned(), "8192".to_owned()];
    let mut agent = Agent::start(&config).unwrap();
    let all =
        |agent: &Agent| agent.ingress().values().filter(|ips| !ips.is_empty()).count() == usize::from(MANY);
    agent.wait_until(MANY_READY, "not every Service has its address", all).unwrap();
    wait_filter(&rooms, MANY - 1, true);
    let joined = filter(&rooms);
    let missing: Vec<_> = (0..MANY).filter(|n| !joined.contains(&group_line(*n))).collect();
    assert!(missing.is_empty(), "{} groups are not joined, the first: {:?}", missing.len(), missing.first());
    // A sample of them is asked for and answered.
    let targets = (0..MANY).step_by(50).map(|n| IpAddr::from(address(n, n))).collect();
    let report = ProbeClient::start(&rooms.client, ProbeConfig { targets, per_second: 500 }).unwrap();
    report.run_for(Duration::from_secs(1)).unwrap().assert_complete().unwrap();
}
