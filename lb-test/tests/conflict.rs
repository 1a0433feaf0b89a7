//! A stranger claims an address that a node answers for (RFC 5227 section 2.4, G11 of the conformance table), seen on the
//! wire. Needs root.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::{Ipv4Addr, Ipv6Addr};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use lb_test::link::mac;
use lb_test::shows;
use lb_test::standalone::{Standalone, service};
use lb_test::wire::{Endpoint, arp_request, neighbour_advertisement};

const V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);
const V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x100);
const NODE: [u8; 6] = mac(11);
const STRANGER: [u8; 6] = mac(0x99);
const READY: Duration = Duration::from_secs(10);
/// Longer than a burst.
const BURST: Duration = Duration::from_secs(6);
/// Between two claims: the program reports one a second.
const PACE: Duration = Duration::from_millis(1200);
/// `DEFEND_INTERVAL` of RFC 5227.
const INTERVAL: Duration = Duration::from_secs(10);

/// When each of these frames was heard until `end`, and how many other frames the node has sent meanwhile.
fn heard(endpoint: &Endpoint, defences: [&[u8]; 2], end: Instant) -> ([Vec<SystemTime>; 2], usize) {
    let (mut times, mut others) = ([const { Vec::new() }; 2], 0);
    while let Some(frame) = endpoint.receive(end).unwrap() {
        if frame.bytes.get(6..12) != Some(&NODE[..]) {
            continue;
        }
        match defences.iter().position(|defence| frame.bytes == *defence) {
            Some(family) => times[family].push(frame.at),
            None => others += usize::from(claims(&frame.bytes)),
        }
    }
    (times, others)
}

/// Whether a frame is about one of the addresses at all.
fn claims(frame: &[u8]) -> bool {
    frame.get(28..32) == Some(&V4.octets()[..]) || frame.get(62..78) == Some(&V6.octets()[..])
}

#[test]
#[ignore = "needs root, the barelb binary and the rig object: makes network namespaces"]
fn an_address_that_a_stranger_claims_is_defended_once_in_ten_seconds() {
    shows!("G11");
    let rooms = Standalone::new().unwrap();
    let endpoint = Endpoint::open(&rooms.client).unwrap();
    rooms.write("web.yaml", &service("web", &[V4.into(), V6.into()])).unwrap();
    let mut agent = rooms.agent().unwrap();
    agent.wait_ready(READY).unwrap();
    thread::sleep(BURST);
    endpoint.drain().unwrap();

    let claims = [arp_request(STRANGER, V4, V4).to_vec(), neighbour_advertisement(STRANGER, V6).to_vec()];
    let defences = [arp_request(NODE, V4, V4).to_vec(), neighbour_advertisement(NODE, V6).to_vec()];
    let defences = [&defences[0][..], &defences[1][..]];
    let began = SystemTime::now();
    let end = Instant::now() + INTERVAL + 2 * PACE;
    let mut all: [Vec<SystemTime>; 2] = [const { Vec::new() }; 2];
    while Instant::now() < end {
        for claim in &claims {
            endpoint.send(claim).unwrap();
        }
        let (times, others) = heard(&endpoint, defences, Instant::now() + PACE);
        assert_eq!(others, 0, "nothing but the defence is said of the addresses");
        all.iter_mut().zip(times).for_each(|(all, times)| all.extend(times));
    }
    for times in all {
        assert_eq!(times.len(), 2, "{times:?} from {began:?}");
        assert!(times[0].duration_since(began).unwrap() < Duration::from_secs(1), "at once");
        // The interval is from claim to claim; between a claim and its defence lies what a busy machine takes.
        let apart = times[1].duration_since(times[0]).unwrap();
        assert!(apart + Duration::from_millis(500) > INTERVAL, "{apart:?}");
    }
}
