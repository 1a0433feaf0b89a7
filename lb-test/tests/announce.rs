//! Announcements (G01 to G07 and G12 of the conformance table), heard by a client. Needs root: see the README.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use lb_test::agent::Agent;
use lb_test::link::mac;
use lb_test::shows;
use lb_test::standalone::{Standalone, node, service};
use lb_test::wire::{Endpoint, arp_request};

const V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);
const V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x100);
const NODE_MAC: [u8; 6] = mac(11);
const READY: Duration = Duration::from_secs(10);
/// Longer than the longest pause of a burst that has just begun.
const SILENCE: Duration = Duration::from_millis(1500);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Form {
    Request,
    Reply,
    Advertisement,
}

/// An announcement: what it says and when it was heard.
#[derive(Clone, Debug)]
struct Heard {
    form: Form,
    at: SystemTime,
    bytes: Vec<u8>,
}

fn request_form(mac: [u8; 6]) -> Vec<u8> {
    arp_request(mac, V4, V4).to_vec()
}

fn reply_form(mac: [u8; 6]) -> Vec<u8> {
    let mut frame = request_form(mac);
    frame[21] = 2;
    frame[32..38].copy_from_slice(&mac);
    frame
}

/// Which form of announcement of [`V4`] or [`V6`] a frame is, by its address fields alone.
fn form(frame: &[u8]) -> Option<Form> {
    let announces_v4 = |arp: &[u8]| arp[14..18] == V4.octets() && arp[24..28] == V4.octets();
    match frame.get(12..14)? {
        [8, 6] if announces_v4(frame.get(14..42)?) => match frame[21] {
            1 => Some(Form::Request),
            2 => Some(Form::Reply),
            _ => None,
        },
        // An advertisement of the address that nobody solicited.
        [0x86, 0xdd]
            if frame.get(54)? == &136 && frame.get(62..78)? == V6.octets() && frame[58] & 0x40 == 0 =>
        {
            Some(Form::Advertisement)
        }
        _ => None,
    }
}

/// Every announcement of the test's addresses heard until `end`.
fn listen(endpoint: &Endpoint, end: Instant) -> Vec<Heard> {
    let mut heard = Vec::new();
    while let Some(frame) = endpoint.receive(end).unwrap() {
        if let Some(form) = form(&frame.bytes) {
            heard.push(Heard { form, at: frame.at, bytes: frame.bytes });
        }
    }
    heard
}

fn listen_for(endpoint: &Endpoint, time: Duration) -> Vec<Heard> {
    listen(endpoint, Instant::now() + time)
}

fn dual_stack() -> String {
    service("web", &[V4.into(), V6.into()])
}

/// A node that has announced its addresses and gone quiet.
fn settled(rooms: &Standalone, endpoint: &Endpoint) -> Agent {
    rooms.write("web.yaml", &dual_stack()).unwrap();
    let mut agent = rooms.agent().unwrap();
    agent.wait_ready(READY).unwrap();
    assert!(!listen_for(endpoint, Duration::from_secs(6)).is_empty(), "the address was announced");
    agent
}

/// Seconds from the first frame of `form` to each, and the frames in the order heard.
fn rounds(heard: &[Heard], form: Form) -> Vec<f64> {
    let of_form: Vec<_> = heard.iter().filter(|heard| heard.form == form).collect();
    of_form.iter().map(|heard| heard.at.duration_since(of_form[0].at).unwrap().as_secs_f64()).collect()
}

fn assert_rounds(heard: &[Heard], form: Form, expected: &[f64]) {
    let seen = rounds(heard, form);
    assert_eq!(seen.len(), expected.len(), "{form:?} at {seen:?}, expected at {expected:?}");
    for (seen, expected) in seen.iter().zip(expected) {
        // Never much early; late as a busy machine makes it.
        assert!(
            *seen > expected - 0.05 && *seen < expected + 0.8,
            "{form:?}: {seen} s, expected {expected} s"
        );
    }
}

#[test]
#[ignore = "needs root, the barelb binary and the rig object: makes network namespaces"]
fn g01_g02_g07_a_new_address_is_announced_in_both_families_and_then_no_more() {
    shows!("G01", "G02", "G07", "G12");
    let rooms = Standalone::new().unwrap();
    let endpoint = Endpoint::open(&rooms.client).unwrap();
    rooms.write("web.yaml", &dual_stack()).unwrap();
    let mut agent = rooms.agent().unwrap();
    agent.wait_ready(READY).unwrap();
    let heard = listen_for(&endpoint, Duration::from_secs(8));
    assert_rounds(&heard, Form::Request, &[0.0, 0.1, 0.3, 1.1, 2.2, 5.0]);
    assert_rounds(&heard, Form::Reply, &[0.0, 0.1, 0.3, 1.1, 2.2, 5.0]);
    assert_rounds(&heard, Form::Advertisement, &[0.0, 1.1, 2.2]);
    let apart = rounds(&heard, Form::Advertisement);
    assert!(apart.windows(2).all(|pair| pair[1] - pair[0] >= 1.0), "RFC 4861 section 7.2.6: {apart:?}");
    let arp: Vec<_> = heard.iter().filter(|heard| heard.form != Form::Advertisement).collect();
    assert!(arp.iter().step_by(2).all(|heard| heard.form == Form::Request), "the request form comes first");
    for heard in &heard {
        match heard.form {
            Form::Request => assert_eq!(heard.bytes, request_form(NODE_MAC)),
            Form::Reply => assert_eq!(heard.bytes, reply_form(NODE_MAC)),
            Form::Advertisement => assert_advertisement(&heard.bytes, NODE_MAC),
        }
    }
}

/// G02 and G12: to all nodes, S = 0, O = 1, R = 0, the target option and never the source option.
fn assert_advertisement(frame: &[u8], mac: [u8; 6]) {
    assert_eq!(frame.len(), 86);
    assert_eq!((&frame[..6], &frame[6..12]), (&[0x33, 0x33, 0, 0, 0, 1][..], &mac[..]));
    assert_eq!(frame[14..22], [0x60, 0, 0, 0, 0, 32, 58, 255]);
    let all_nodes = "ff02::1".parse::<Ipv6Addr>().unwrap();
    assert_eq!(frame[38..54], all_nodes.octets());
    assert_eq!((frame[54], frame[55], frame[58]), (136, 0, 0x20));
    assert_eq!((&frame[78..80], &frame[80..86]), (&[2, 1][..], &mac[..]));
    // A message with its checksum in place adds up to all ones (RFC 1071).
    let words = frame[22..].chunks_exact(2).map(|word| u64::from(u16::from_be_bytes([word[0], word[1]])));
    let sum = words.sum::<u64>() + 32 + 58;
    assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff, "checksum");
}

#[test]
#[ignore = "needs root, the barelb binary and the rig object: makes network namespaces"]
fn g03_a_node_that_does_not_own_the_address_says_nothing() {
    shows!("G03");
    let rooms = Standalone::new().unwrap();
    let endpoint = Endpoint::open(&rooms.client).unwrap();
    // The election gives 192.0.2.100 to node-b; the agent is node-a.
    rooms.write("node-a.yaml", &node("node-a", "192.0.2.11".parse().unwrap())).unwrap();
    rooms.write("node-b.yaml", &node("node-b", "192.0.2.12".parse().unwrap())).unwrap();
    rooms.write("web.yaml", &dual_stack()).unwrap();
    let mut agent = rooms.agent().unwrap();
    agent.wait_ready(READY).unwrap();
    let heard = listen_for(&endpoint, SILENCE);
    assert!(heard.is_empty(), "{heard:?}");
    let request = arp_request(rooms.client.mac(), "192.0.2.10".parse().unwrap(), V4);
    assert_eq!(endpoint.exchange(&request, Duration::from_millis(100)).unwrap(), Vec::<Vec<u8>>::new());

    // It becomes the owner when the other node goes: only now it speaks.
    rooms.remove("node-b.yaml").unwrap();
    let heard = listen_for(&endpoint, SILENCE);
    assert!(heard.iter().any(|heard| heard.form == Form::Request), "announced after the election");
    assert!(heard.iter().any(|heard| heard.form == Form::Advertisement), "announced after the election");
}

#[test]
#[ignore = "needs root, the barelb binary and the rig object: makes network namespaces"]
fn g04_a_burst_stops_when_the_address_is_lost() {
    shows!("G04");
    let rooms = Standalone::new().unwrap();
    let endpoint = Endpoint::open(&rooms.client).unwrap();
    rooms.write("web.yaml", &dual_stack()).unwrap();
    let mut agent = rooms.agent().unwrap();
    agent.wait_ready(READY).unwrap();
    assert!(!listen_for(&endpoint, Duration::from_millis(500)).is_empty(), "the burst has begun");
    rooms.remove("web.yaml").unwrap();
    let gone = |agent: &Agent| agent.ingress().values().all(Vec::is_empty);
    agent.wait_until(READY, "the address is still in the status", gone).unwrap();
    // Taken back before it was acknowledged: what was in flight has arrived by now.
    thread::sleep(Duration::from_millis(20));
    endpoint.drain().unwrap();
    let heard = listen_for(&endpoint, Duration::from_secs(6));
    assert!(heard.is_empty(), "{heard:?}");
}

#[test]
#[ignore = "needs root, the barelb binary and the rig object: makes network namespaces"]
fn g05_a_restart_without_a_change_announces_nothing() {
    shows!("G05");
    let rooms = Standalone::new().unwrap();
    let endpoint = Endpoint::open(&rooms.client).unwrap();
    let mut agent = settled(&rooms, &endpoint);
    for orderly in [true, false] {
        if orderly {
            agent.process().term().unwrap();
            agent.process().wait(READY).unwrap().unwrap();
        } else {
            agent.process().kill().unwrap();
        }
        agent = rooms.agent().unwrap();
        let heard = listen_for(&endpoint, Duration::from_secs(3));
        assert!(heard.is_empty(), "SIGTERM {orderly}: {heard:?}");
        assert!(agent.process().is_running());
    }
}

#[test]
#[ignore = "needs root, the barelb binary and the rig object: makes network namespaces"]
fn g06_a_link_that_comes_up_announces_again() {
    shows!("G06");
    let rooms = Standalone::new().unwrap();
    let endpoint = Endpoint::open(&rooms.client).unwrap();
    let _agent = settled(&rooms, &endpoint);
    rooms.node.down().unwrap();
    thread::sleep(Duration::from_millis(200));
    endpoint.drain().unwrap();
    rooms.node.up().unwrap();
    let heard = listen_for(&endpoint, SILENCE);
    for form in [Form::Request, Form::Reply, Form::Advertisement] {
        assert!(heard.iter().any(|heard| heard.form == form), "{form:?} after link up: {heard:?}");
    }
}

#[test]
#[ignore = "needs root, the barelb binary and the rig object: makes network namespaces"]
fn g06_a_new_hardware_address_is_announced_and_answered_with() {
    shows!("G06");
    let mut rooms = Standalone::new().unwrap();
    let endpoint = Endpoint::open(&rooms.client).unwrap();
    let _agent = settled(&rooms, &endpoint);
    endpoint.drain().unwrap();
    rooms.node.set_mac(mac(0x77)).unwrap();
    let heard = listen_for(&endpoint, SILENCE);
    for (form, bytes) in [(Form::Request, request_form(mac(0x77))), (Form::Reply, reply_form(mac(0x77)))] {
        assert!(heard.iter().any(|heard| heard.bytes == bytes), "{form:?} with the new address: {heard:?}");
    }
    let advertised = heard.iter().find(|heard| heard.form == Form::Advertisement).unwrap();
    assert_advertisement(&advertised.bytes, mac(0x77));
    let request = arp_request(rooms.client.mac(), "192.0.2.10".parse().unwrap(), V4);
    let answers = endpoint.exchange(&request, Duration::from_millis(200)).unwrap();
    let answers: Vec<_> = answers.iter().filter(|frame| form(frame).is_none()).collect();
    assert_eq!(answers.len(), 1, "{answers:02x?}");
    assert_eq!(answers[0][22..28], mac(0x77));
    assert_eq!(IpAddr::from(<[u8; 4]>::try_from(&answers[0][28..32]).unwrap()), IpAddr::from(V4));
}
