//! What an agent says of itself over HTTP: exactly what it was asked and answered, and whether it is ready. Needs root:
//! see the README. In a cluster: `cluster_agents.rs`; with the rights of a pod: `privileges.rs`.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking and shows figures")]

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::thread::sleep;
use std::time::{Duration, Instant};

use lb_test::agent::{Agent, AgentConfig};
use lb_test::pages::Pages;
use lb_test::process::Frozen;
use lb_test::standalone::{Standalone, service};
use lb_test::wire::{Endpoint, arp_request, neighbour_solicitation};

const V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);
const V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x100);
const CLIENT: (Ipv4Addr, Ipv6Addr) =
    (Ipv4Addr::new(192, 0, 2, 10), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x10));
const READY: Duration = Duration::from_mins(1);
/// Longer than the longest burst.
const BURST: Duration = Duration::from_secs(6);
const PORT: u16 = 7475;

/// A node with an agent that is not started yet, and what it will say of itself on this port.
fn node(rooms: &Standalone, port: u16) -> (AgentConfig, Pages) {
    let mut config = rooms.config().unwrap();
    let pages = Pages::on_loopback(&config.namespace, port);
    config.extra.extend(pages.flag());
    (config, pages)
}

fn wait_ready(agent: &mut Agent, pages: &Pages) {
    agent.wait_until(READY, "it is not ready", |_| pages.get("/readyz").is_ok()).unwrap();
}

/// Asks for an address, and waits for the answer.
fn ask(rooms: &Standalone, endpoint: &Endpoint, ip: IpAddr) {
    let mac = rooms.client.mac();
    let frame = match ip {
        IpAddr::V4(ip) => arp_request(mac, CLIENT.0, ip).to_vec(),
        IpAddr::V6(ip) => neighbour_solicitation(mac, CLIENT.1, ip).to_vec(),
    };
    let answer = endpoint.ask(&frame, Duration::from_secs(5), |frame| frame[..6] == mac).unwrap();
    assert!(answer.is_some(), "{ip} is not answered");
}

/// The samples of a counter of entries, by address.
fn of_entries(page: &str, name: &str) -> Vec<(IpAddr, u64)> {
    let samples =
        page.lines().filter_map(|line| line.strip_prefix(&format!("{name}{{ip=\""))?.split_once('"'));
    samples
        .map(|(ip, rest)| (ip.parse().unwrap(), rest.rsplit_once(' ').unwrap().1.parse().unwrap()))
        .collect()
}

#[test]
#[ignore = "needs root, the barelb binary and the rig object: makes network namespaces"]
fn what_is_counted_is_what_was_on_the_wire() {
    let rooms = Standalone::new().unwrap();
    let endpoint = Endpoint::open(&rooms.client).unwrap();
    rooms.write("web.yaml", &service("web", &[V4.into(), V6.into()])).unwrap();
    let (config, pages) = node(&rooms, PORT);
    let mut agent = Agent::start(&config).unwrap();
    wait_ready(&mut agent, &pages);
    agent.wait_ready(READY).unwrap();
    sleep(BURST);
    (0..7).for_each(|_| ask(&rooms, &endpoint, V4.into()));
    (0..5).for_each(|_| ask(&rooms, &endpoint, V6.into()));
    // A probe is answered to everybody.
    let probe = arp_request(rooms.client.mac(), Ipv4Addr::UNSPECIFIED, V4);
    for _ in 0..2 {
        endpoint.ask(&probe, Duration::from_secs(5), |frame| frame[12..14] == [8, 6]).unwrap().unwrap();
    }
    // Somebody claims an address, and somebody asks for none of ours.
    endpoint.send(&arp_request(rooms.client.mac(), V4, V4)).unwrap();
    endpoint.send(&arp_request(rooms.client.mac(), CLIENT.0, Ipv4Addr::new(192, 0, 2, 199))).unwrap();
    ask(&rooms, &endpoint, V4.into());

    let shown = || {
        let page = pages.get("/metrics").unwrap();
        ["requests", "replies", "probes", "conflicts", "gratuitous"]
            .map(|name| of_entries(&page, &format!("barelb_{name}_total")))
    };
    let (v4, v6) = (IpAddr::from(V4), IpAddr::from(V6));
    let counted = [vec![(v4, 10), (v6, 5)], vec![(v4, 10), (v6, 5)], vec![(v4, 2)], vec![(v4, 1)]];
    // Six rounds of ARP in two forms, three of neighbour discovery; and a word against the claim.
    let announced = vec![(v4, 13), (v6, 3)];
    let [entries @ .., gratuitous] = shown();
    assert_eq!((entries, gratuitous), (counted.clone(), announced));
    let count = |name: &str| pages.count(name).unwrap();
    for (name, expected) in [
        ("barelb_frames_total{outcome=\"arp_reply\"}", 8),
        ("barelb_frames_total{outcome=\"arp_probe_reply\"}", 2),
        ("barelb_frames_total{outcome=\"nd_advert\"}", 5),
        ("barelb_frames_total{outcome=\"arp_conflict\"}", 1),
        ("barelb_frames_total{outcome=\"arp_unknown_target\"}", 1),
        ("barelb_frames_total{outcome=\"nd_conflict\"}", 0),
        ("barelb_announced{service=\"default/web\",ip=\"192.0.2.100\",node=\"node-a\"}", 1),
        ("barelb_announced{service=\"default/web\",ip=\"2001:db8::100\",node=\"node-a\"}", 1),
        ("barelb_table_entries{state=\"answer\"}", 2),
        ("barelb_table_entries{state=\"standby\"}", 0),
        ("barelb_table_room", 4096),
        ("barelb_agent_synced", 1),
        ("barelb_agent_services", 1),
        ("barelb_agent_members", 1),
        ("barelb_agent_repairs_total", 0),
        ("barelb_agent_announcements_total{result=\"sent\"}", 16),
        ("barelb_agent_announcements_total{result=\"refused\"}", 0),
        ("barelb_agent_link_attached{interface=\"eth0\",mode=\"native\"}", 1),
        ("barelb_agent_groups{membership=\"joined\"}", 1),
        ("barelb_agent_configuration_problems", 0),
    ] {
        assert_eq!(count(name), expected, "{name}");
    }
    nobody_is_watched(&pages);
    let deadline = pages.metric("barelb_deadline_seconds").unwrap();
    assert!((55.0..=60.5).contains(&deadline), "{deadline}");

    // The maps outlive the agent, and so do the counts; a new agent that finds all as it is announces nothing.
    agent.process().kill().unwrap();
    let mut agent = Agent::start(&config).unwrap();
    wait_ready(&mut agent, &pages);
    let [entries @ .., gratuitous] = shown();
    assert_eq!((entries, gratuitous), (counted, vec![(v4, 0), (v6, 0)]));

    // A problem is counted; what is not announced any more is not there, and begins anew.
    rooms.write("web.yaml", "kind: Service\n").unwrap();
    agent.wait_until(READY, "no problem", |_| count("barelb_agent_configuration_problems") > 0).unwrap();
    rooms.remove("web.yaml").unwrap();
    agent.wait_until(READY, "still announced", |_| count("barelb_agent_services") == 0).unwrap();
    assert_eq!(shown(), [const { Vec::new() }; 5]);
    rooms.write("web.yaml", &service("web", &[V4.into()])).unwrap();
    agent.wait_until(READY, "not announced again", |_| count("barelb_agent_services") == 1).unwrap();
    let [requests, replies, probes, conflicts, _] = shown();
    assert_eq!([requests, replies], [const { (IpAddr::V4(V4), 0) }; 2].map(|zero| vec![zero]));
    assert_eq!([probes, conflicts], [const { Vec::new() }; 2]);
}

/// Without a cluster; what can be counted is there all the same.
fn nobody_is_watched(pages: &Pages) {
    for name in [
        "barelb_peer_sessions{status=\"up\"}",
        "barelb_peer_sessions{status=\"relayed\"}",
        "barelb_peer_datagrams_refused_total{reason=\"stale_reply\"}",
        "barelb_peer_datagrams_refused_total{reason=\"forged\"}",
        "barelb_peer_datagrams_refused_total{reason=\"bfd_malformed\"}",
    ] {
        assert_eq!(pages.count(name).unwrap(), 0, "{name}");
    }
}

/// Not before the table is in step: not while nothing could be read, and not behind another agent.
#[test]
#[ignore = "needs root, the barelb binary and the rig object: makes network namespaces"]
fn an_agent_is_ready_when_its_table_is_in_step() {
    let rooms = Standalone::new().unwrap();
    rooms.write("web.yaml", &service("web", &[V4.into(), V6.into()])).unwrap();
    let (mut config, pages) = node(&rooms, PORT);
    config.manifests = rooms.state().join("later");
    let mut agent = Agent::start(&config).unwrap();
    agent.wait_until(READY, "nothing answers", |_| pages.ask("/readyz").is_ok()).unwrap();
    sleep(Duration::from_secs(2));
    let (status, text) = pages.ask("/readyz").unwrap();
    assert!(status == 503 && text.starts_with("starting: the table is not in step yet"), "{status}: {text}");
    assert_eq!(pages.get("/livez").unwrap(), "ok\n");
    assert_eq!(pages.count("barelb_agent_synced").unwrap(), 0);
    fs::rename(rooms.manifests(), &config.manifests).unwrap();
    wait_ready(&mut agent, &pages);
    assert_eq!(pages.count("barelb_agent_services").unwrap(), 1);

    // Another one, once on a port of its own and once on the same.
    let other = Pages::on_loopback(&config.namespace, PORT + 1);
    let mut follows = 0;
    for pages in [&other, &pages, &pages] {
        let config = AgentConfig { extra: pages.flag().to_vec(), ..config.clone() };
        let mut next = Agent::start(&config).unwrap();
        // All of them write to one log.
        follows += 1;
        let stands_by = |next: &Agent| next.log().matches("standing by").count() == follows;
        next.wait_until(READY, "it does not stand by", stands_by).unwrap();
        if follows == 1 {
            let (status, text) = pages.ask("/readyz").unwrap();
            assert!(status == 503 && text.starts_with("standing by: another agent"), "{status}: {text}");
            assert_eq!(pages.get("/livez").unwrap(), "ok\n");
        }
        agent.process().end().unwrap();
        wait_ready(&mut next, pages);
        agent = next;
    }

    // A directory that goes away takes nothing from what is in force.
    fs::rename(&config.manifests, rooms.manifests()).unwrap();
    agent
        .wait_until(READY, "not told", |_| pages.count("barelb_agent_configuration_problems").unwrap() > 0)
        .unwrap();
    assert_eq!(pages.get("/readyz").unwrap(), "ok\n");
}

#[test]
#[ignore = "needs root, the barelb binary and the rig object: makes network namespaces"]
fn a_port_that_is_taken_is_told() {
    let rooms = Standalone::new().unwrap();
    let (config, pages) = node(&rooms, PORT);
    let address = pages.flag()[1].clone();
    let listener = config.namespace.enter(|| Ok(std::net::TcpListener::bind(&address)?)).unwrap();
    let mut agent = Agent::start(&config).unwrap();
    let status = agent.process().wait(READY).unwrap().unwrap();
    assert!(!status.success());
    let told =
        format!("the port of {address} is taken: end what listens there (`ss -ltnp` names it), or give");
    assert!(agent.log().contains(&told), "{}", agent.log());
    drop(listener);
}

/// Only the thread that keeps the table is frozen, as if a system call of it did not come back: whoever asks is told.
#[test]
#[ignore = "needs root, the barelb binary and the rig object: makes network namespaces; takes a minute"]
fn a_loop_that_hangs_is_told() {
    let rooms = Standalone::new().unwrap();
    rooms.write("web.yaml", &service("web", &[V4.into(), V6.into()])).unwrap();
    let (config, pages) = node(&rooms, PORT);
    let mut agent = Agent::start(&config).unwrap();
    wait_ready(&mut agent, &pages);
    let frozen = Frozen::main_thread(agent.pid()).unwrap();
    sleep(Duration::from_secs(50));
    assert_eq!(pages.get("/livez").unwrap(), "ok\n", "slow is not dead");
    sleep(Duration::from_secs(12));
    for path in ["/livez", "/readyz"] {
        let (status, text) = pages.ask(path).unwrap();
        assert!(
            status == 503 && text.starts_with("the main loop hangs: its last round was 6"),
            "{status}: {text}"
        );
    }
    // The maps are read all the same, and tell that nothing is answered any more.
    assert!(pages.metric("barelb_deadline_seconds").unwrap() < 0.0);
    assert_eq!(pages.count("barelb_table_entries{state=\"answer\"}").unwrap(), 2);
    assert!(!pages.get("/metrics").unwrap().contains("barelb_announced"));
    drop(frozen);
    wait_ready(&mut agent, &pages);
    assert_eq!(pages.get("/livez").unwrap(), "ok\n");
    assert!(pages.metric("barelb_deadline_seconds").unwrap() > 50.0);
}

const MANY: u32 = 5_000;

fn ips(number: u32) -> [IpAddr; 2] {
    let v4 = [198, 18, (number >> 8) as u8, number as u8];
    let mut v6 = "2001:db8:0:1::".parse::<Ipv6Addr>().unwrap().octets();
    v6[12..].copy_from_slice(&(number + 1).to_be_bytes());
    [v4.into(), v6.into()]
}

/// Each address has the counts of its own slot, all of them come in one answer, and the deadline is moved meanwhile.
#[test]
#[ignore = "needs root, the barelb binary and the rig object: makes network namespaces"]
fn ten_thousand_addresses_are_scraped() {
    let rooms = Standalone::new().unwrap();
    let endpoint = Endpoint::open(&rooms.client).unwrap();
    let services: Vec<_> = (0..MANY).map(|n| service(&format!("s{n}"), &ips(n))).collect();
    rooms.write("many.yaml", &services.join("---\n")).unwrap();
    let (mut config, pages) = node(&rooms, PORT);
    config.extra.extend(["--max-vips", "16384", "--announce-rate", "100000"].map(str::to_owned));
    let mut agent = Agent::start(&config).unwrap();
    let all = |_: &Agent| pages.count("barelb_agent_services").unwrap_or_default() == u64::from(MANY);
    agent.wait_until(Duration::from_mins(3), "not all are announced", all).unwrap();
    sleep(BURST);
    // Slots are given out in the order of the table: of both ends, and of the borders of what is read at once.
    let asked: Vec<u32> = [0, 1, 818, 819, 820, 1637, 1638, 1639, 3276, MANY - 1].to_vec();
    for (number, times) in asked.iter().zip(1..) {
        for ip in ips(*number) {
            (0..times).for_each(|_| ask(&rooms, &endpoint, ip));
        }
    }
    let expected = |ip: IpAddr| {
        let times = asked.iter().zip(1..).find(|(number, _)| ips(**number).contains(&ip));
        times.map_or(0, |(_, times)| times)
    };
    let (mut page, mut took, mut least) = (String::new(), Vec::new(), f64::MAX);
    for _ in 0..20 {
        let start = Instant::now();
        page = pages.get("/metrics").unwrap();
        took.push(start.elapsed());
        let deadline = page.lines().find_map(|line| line.strip_prefix("barelb_deadline_seconds ")).unwrap();
        least = least.min(deadline.parse().unwrap());
    }
    took.sort_unstable();
    println!(
        "{} bytes; with curl {:?} at least, {:?} in the middle; deadline at least {least} s ahead",
        page.len(),
        took[0],
        took[10]
    );
    assert!(page.len() <= 5_000_000, "{}", page.len());
    assert!(page.ends_with("# EOF\n"));
    for name in ["requests", "replies"] {
        let counts = of_entries(&page, &format!("barelb_{name}_total"));
        assert_eq!(counts.len(), 2 * MANY as usize, "{name}");
        let wrong: Vec<_> = counts.iter().filter(|(ip, count)| *count != expected(*ip)).collect();
        assert!(wrong.is_empty(), "{name}: {wrong:?}");
    }
    let announced = of_entries(&page, "barelb_gratuitous_total");
    let wrong: Vec<_> = announced.iter().filter(|(ip, n)| *n != if ip.is_ipv4() { 12 } else { 3 }).collect();
    assert!(announced.len() == 2 * MANY as usize && wrong.is_empty(), "{wrong:?}");
    assert_eq!(page.matches("\nbarelb_announced{").count(), 2 * MANY as usize);
    assert!(least > 58.0, "a scrape holds up the deadline: {least}");
}
