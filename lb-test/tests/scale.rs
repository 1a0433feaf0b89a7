//! Many addresses: all of them are there, a removal in the middle of their announcements stops them, and nothing is
//! written twice. Needs root: see the README. What it costs is measured by the benchmark.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking and shows figures")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use lb_test::agent::{Agent, AgentConfig, barelb};
use lb_test::bench::agent::measure;
use lb_test::client::{ProbeClient, ProbeConfig};
use lb_test::shows;
use lb_test::standalone::{Standalone, service};
use lb_test::wire::Endpoint;

const MANY: u32 = 2_500;
const READY: Duration = Duration::from_mins(2);

fn ips(number: u32) -> [IpAddr; 2] {
    let v4 = [198, 18, (number >> 8) as u8, number as u8];
    let mut v6 = "2001:db8:0:1::".parse::<std::net::Ipv6Addr>().unwrap().octets();
    v6[12..].copy_from_slice(&(number + 1).to_be_bytes());
    [v4.into(), v6.into()]
}

/// A node with [`MANY`] dual-stack Services in one file.
fn many(rate: &str) -> (Standalone, Agent) {
    let rooms = Standalone::new().unwrap();
    let services: Vec<_> = (0..MANY).map(|n| service(&format!("s{n}"), &ips(n))).collect();
    rooms.write("many.yaml", &services.join("---\n")).unwrap();
    let extra = ["--max-vips", "8192", "--announce-rate", rate].map(str::to_owned).to_vec();
    let mut agent = Agent::start(&AgentConfig { extra, ..rooms.config().unwrap() }).unwrap();
    agent
        .wait_until(READY, "not every Service has its addresses", |agent| {
            statuses(agent).len() == MANY as usize
        })
        .unwrap();
    (rooms, agent)
}

/// When each status was written.
fn statuses(agent: &Agent) -> BTreeMap<PathBuf, SystemTime> {
    let files = fs::read_dir(agent.status_dir()).into_iter().flatten().flatten();
    let files = files.filter(|file| file.file_name().to_string_lossy().starts_with("default."));
    files.filter_map(|file| Some((file.path(), file.metadata().ok()?.modified().ok()?))).collect()
}

#[test]
#[ignore = "needs root, the barelb binary and the rig object: makes network namespaces"]
fn thousands_are_answered_and_written_once() {
    let (rooms, mut agent) = many("100000");
    let targets = (0..MANY).step_by(50).flat_map(ips).collect();
    let report = ProbeClient::start(&rooms.client, ProbeConfig { targets, per_second: 500 }).unwrap();
    report.run_for(Duration::from_secs(1)).unwrap().assert_complete().unwrap();
    let before = statuses(&agent);
    // A link event and an unrelated change of the objects: all is planned again.
    rooms.node.add_address("192.0.2.77/24").unwrap();
    rooms.write("one.yaml", &service("another", &["192.0.2.150".parse().unwrap()])).unwrap();
    agent
        .wait_until(READY, "the new one is missing", |agent| statuses(agent).len() == MANY as usize + 1)
        .unwrap();
    let after = statuses(&agent);
    assert!(before.iter().all(|(path, time)| after.get(path) == Some(time)), "statuses were written again");
}

/// G08: 5,000 addresses are taken over. Each is announced, and no faster than configured: 2,500 in two forms of ARP and
/// 2,500 in one of neighbour discovery, at 5,000 frames a second.
#[test]
#[ignore = "needs root, the barelb binary and the rig object: makes network namespaces"]
fn g08_a_takeover_of_thousands_is_announced_at_the_configured_rate() {
    const RATE: u32 = 5_000;
    shows!("G08");
    let rooms = Standalone::new().unwrap();
    let endpoint = Endpoint::open(&rooms.client).unwrap();
    let services: Vec<_> = (0..MANY).map(|n| service(&format!("s{n}"), &ips(n))).collect();
    rooms.write("many.yaml", &services.join("---\n")).unwrap();
    let extra = ["--max-vips", "8192", "--announce-rate", &RATE.to_string()].map(str::to_owned).to_vec();
    let _agent = Agent::start(&AgentConfig { extra, ..rooms.config().unwrap() }).unwrap();
    let wanted: BTreeSet<IpAddr> = (0..MANY).flat_map(ips).collect();
    let (mut announced, mut times) = (BTreeSet::new(), Vec::new());
    let deadline = Instant::now() + READY;
    while announced.len() < wanted.len() {
        let frame = endpoint.receive(deadline).unwrap().expect("not every address was announced");
        let ip = match frame.bytes.get(12..14) {
            Some([8, 6]) if frame.bytes[28..32] == frame.bytes[38..42] => {
                IpAddr::from(<[u8; 4]>::try_from(&frame.bytes[28..32]).unwrap())
            }
            Some([0x86, 0xdd]) if frame.bytes.get(54) == Some(&136) => {
                IpAddr::from(<[u8; 16]>::try_from(&frame.bytes[62..78]).unwrap())
            }
            _ => continue,
        };
        if wanted.contains(&ip) {
            announced.insert(ip);
            times.push(frame.at);
        }
    }
    let span = times[times.len() - 1].duration_since(times[0]).unwrap().as_secs_f64();
    println!("{} frames for {} addresses in {span:.3} s", times.len(), wanted.len());
    let frames = f64::from(u32::try_from(times.len()).unwrap());
    assert!(f64::from(RATE) * span * 1.1 > frames - 1000.0, "faster than {RATE} frames a second");
}

/// G04: in the middle of a burst of 5,000 addresses at a rate that takes seconds for one round.
#[test]
#[ignore = "needs root, the barelb binary and the rig object: makes network namespaces"]
fn g04_a_removal_stops_a_large_burst_at_once() {
    shows!("G04");
    let (rooms, mut agent) = many("1000");
    let endpoint = Endpoint::open(&rooms.client).unwrap();
    let announced = |time: Duration| {
        let deadline = Instant::now() + time;
        let mut frames = 0_u32;
        while let Some(frame) = endpoint.receive(deadline).unwrap() {
            let arp = frame.bytes.get(12..14) == Some(&[8, 6]) && frame.bytes[28..32] == frame.bytes[38..42];
            let advertisement =
                frame.bytes.get(12..14) == Some(&[0x86, 0xdd]) && frame.bytes.get(54) == Some(&136);
            frames += u32::from(arp || advertisement);
        }
        frames
    };
    assert!(announced(Duration::from_millis(500)) > 100, "the burst is under way");
    rooms.remove("many.yaml").unwrap();
    agent.wait_until(READY, "statuses are still there", |agent| statuses(agent).is_empty()).unwrap();
    sleep(Duration::from_millis(20));
    endpoint.drain().unwrap();
    assert_eq!(announced(Duration::from_secs(3)), 0, "still announced after the acknowledgement");
}

#[test]
#[ignore = "needs root: makes network namespaces; takes a minute"]
fn the_cost_of_an_agent_can_be_measured() {
    let addresses = std::env::var("BARELB_ADDRESSES").map_or(10, |number| number.parse().unwrap());
    let cost = measure(&barelb().unwrap(), addresses).unwrap();
    println!("{cost:#?}");
    assert!(cost.resident > 0 && cost.resident <= cost.resident_peak);
    assert!(cost.idle >= 0.0 && cost.idle < 1.0);
}
