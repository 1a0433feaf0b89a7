//! Addresses bound to a VLAN (`barelb.io/vlan`), by whole agents: V06, tags beside the frame, announcements. Needs root.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use lb_test::agent::{Agent, AgentConfig};
use lb_test::client::{ProbeClient, ProbeConfig};
use lb_test::link::{Offload, mac};
use lb_test::rig::{PushVlan, VlanTag};
use lb_test::shows;
use lb_test::standalone::{Standalone, service};
use lb_test::wire::{Endpoint, arp_request, neighbour_solicitation};

const V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);
const V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x100);
const CLIENT: [u8; 6] = mac(10);
const NODE: [u8; 6] = mac(11);
const CLIENT_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
const CLIENT_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 10);
const READY: Duration = Duration::from_secs(20);
const WAIT: Duration = Duration::from_millis(200);

const BOUND: &str = "\
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: test, namespace: metallb-system}
spec:
  addresses: [192.0.2.100-192.0.2.199, '2001:db8::100-2001:db8::1ff']
---
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata: {name: test, namespace: metallb-system, annotations: {barelb.io/vlan: \"42\"}}
";

/// A node, its agent in `mode` with both addresses, bound to VLAN 42 or to none.
fn node(bound: bool, strips: bool, mode: &str) -> (Standalone, Endpoint, Agent) {
    let rooms = Standalone::new().unwrap();
    rooms.node.offload(Offload::RxVlan, strips).unwrap();
    if bound {
        rooms.write("pools.yaml", BOUND).unwrap();
    }
    rooms.write("service.yaml", &service("web", &[V4.into(), V6.into()])).unwrap();
    let endpoint = Endpoint::open(&rooms.client).unwrap();
    let config = AgentConfig { mode: mode.to_owned(), ..rooms.config().unwrap() };
    let mut agent = Agent::start(&config).unwrap();
    agent.wait_until(READY, "the table is not up to date", |agent| state(agent)["synced"] == true).unwrap();
    (rooms, endpoint, agent)
}

fn state(agent: &Agent) -> serde_json::Value {
    let report = agent.inspect(&["-o", "json"]).unwrap_or_default();
    let mut report: serde_json::Value = serde_json::from_str(&report).unwrap_or_default();
    report["agent"].take()
}

fn mode(agent: &Agent) -> serde_json::Value {
    state(agent)["links"][0]["mode"].take()
}

/// With these tags behind the hardware addresses, outermost first.
fn tagged(frame: &[u8], vlans: &[u16]) -> Vec<u8> {
    let tags = vlans.iter().flat_map(|vlan| [[0x81, 0x00], vlan.to_be_bytes()].concat());
    frame[..12].iter().copied().chain(tags).chain(frame[12..].iter().copied()).collect()
}

fn arp_reply() -> Vec<u8> {
    let mut frame = arp_request(NODE, V4, CLIENT_V4);
    frame[..6].copy_from_slice(&CLIENT);
    frame[21] = 2;
    frame[32..38].copy_from_slice(&CLIENT);
    frame.to_vec()
}

/// An advertisement of [`V6`] (RFC 4861 section 4.4) from its own address.
fn advertisement(to: [u8; 6], to_ip: Ipv6Addr, flags: u8) -> Vec<u8> {
    let mut frame = neighbour_solicitation(NODE, V6, V6).to_vec();
    frame[..6].copy_from_slice(&to);
    frame[38..54].copy_from_slice(&to_ip.octets());
    (frame[54], frame[58], frame[78]) = (136, flags, 2);
    frame[56..58].fill(0);
    let words = frame[22..].chunks_exact(2).map(|word| u64::from(u16::from_be_bytes([word[0], word[1]])));
    let mut sum = words.sum::<u64>() + 32 + 58;
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    frame[56..58].copy_from_slice(&(!u16::try_from(sum).unwrap()).to_be_bytes());
    frame
}

/// What is asked, and what is answered, untagged.
fn questions() -> [(Vec<u8>, Vec<u8>); 2] {
    [
        (arp_request(CLIENT, CLIENT_V4, V4).to_vec(), arp_reply()),
        (neighbour_solicitation(CLIENT, CLIENT_V6, V6).to_vec(), advertisement(CLIENT, CLIENT_V6, 0x60)),
    ]
}

/// What comes back for the client alone: announcements are for all.
fn answers(endpoint: &Endpoint, frame: &[u8]) -> Vec<Vec<u8>> {
    let mut frames = endpoint.exchange(frame, WAIT).unwrap();
    frames.retain(|frame| frame[..6] == CLIENT);
    frames
}

/// Asked and answered on VLAN 42 only, the tag being in the frame.
fn assert_answers_in_band(endpoint: &Endpoint) {
    for (ask, reply) in questions() {
        assert_eq!(answers(endpoint, &tagged(&ask, &[42])), [tagged(&reply, &[42])]);
        for wrong in [&[][..], &[43], &[42, 43], &[43, 42], &[0, 42]] {
            assert_eq!(answers(endpoint, &tagged(&ask, wrong)), Vec::<Vec<u8>>::new(), "tags {wrong:?}");
        }
    }
}

#[test]
#[ignore = "needs root, the barelb binary and the rig object: makes network namespaces"]
fn v06_a_link_that_strips_tags_uses_tcx_and_answers_on_its_vlan_only() {
    shows!("V06");
    for asked_for in ["auto", "native", "generic"] {
        let (rooms, endpoint, agent) = node(true, true, asked_for);
        assert_eq!(mode(&agent), "tcx", "asked for {asked_for}");
        assert_answers_in_band(&endpoint);
        // Beside the frame, as a NIC hands it over that took it out.
        for (vlan, is_answered) in [(42, true), (43, false)] {
            let _beside = PushVlan::attach(&rooms.client, VlanTag { protocol: 0x8100, tci: vlan }).unwrap();
            for (ask, reply) in questions() {
                let wanted = if is_answered { vec![tagged(&reply, &[vlan])] } else { vec![] };
                assert_eq!(answers(&endpoint, &ask), wanted, "VLAN {vlan}");
            }
        }
    }
}

/// The other way round: what is bound to no VLAN is answered on none.
#[test]
#[ignore = "needs root, the barelb binary and the rig object: makes network namespaces"]
fn v06_a_stripped_tag_never_leads_to_an_answer_for_an_untagged_address() {
    shows!("V06");
    let (rooms, endpoint, agent) = node(false, true, "native");
    assert_eq!(mode(&agent), "tcx");
    for (ask, reply) in questions() {
        assert_eq!(answers(&endpoint, &ask), [reply]);
    }
    let _beside = PushVlan::attach(&rooms.client, VlanTag { protocol: 0x8100, tci: 42 }).unwrap();
    for (ask, _) in questions() {
        assert_eq!(answers(&endpoint, &ask), Vec::<Vec<u8>>::new());
    }
}

#[test]
#[ignore = "needs root, the barelb binary and the rig object: makes network namespaces"]
fn a_link_that_leaves_tags_alone_answers_on_its_vlan_in_every_mode() {
    for asked_for in ["native", "generic", "tcx"] {
        let (_rooms, endpoint, agent) = node(true, false, asked_for);
        assert_eq!(mode(&agent), asked_for);
        assert_answers_in_band(&endpoint);
    }
}

#[test]
#[ignore = "needs root, the barelb binary and the rig object: makes network namespaces"]
fn announcements_carry_the_vlan() {
    let (_rooms, endpoint, _agent) = node(true, true, "auto");
    let request = arp_request(NODE, V4, V4).to_vec();
    let mut reply = request.clone();
    reply[21] = 2;
    reply[32..38].copy_from_slice(&NODE);
    let all_nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    let wanted = [request, reply, advertisement([0x33, 0x33, 0, 0, 0, 1], all_nodes, 0x20)];
    let (mut heard, end) = (Vec::new(), Instant::now() + Duration::from_secs(3));
    while let Some(frame) = endpoint.receive(end).unwrap() {
        if frame.bytes[6..12] == NODE && !lb_test::wire::is_chatter(&frame.bytes) {
            heard.push(frame.bytes);
        }
    }
    for wanted in wanted {
        assert!(heard.contains(&tagged(&wanted, &[42])), "{heard:02x?}");
        assert!(!heard.contains(&wanted), "untagged");
    }
    assert!(heard.iter().all(|frame| frame[12..16] == [0x81, 0, 0, 42]), "{heard:02x?}");
}

/// Offloads can change at any time, and the mode with them, without a gap.
#[test]
#[ignore = "needs root, the barelb binary and the rig object: makes network namespaces"]
fn a_link_that_begins_to_strip_tags_goes_to_tcx_without_a_missed_answer() {
    let (rooms, _endpoint, mut agent) = node(false, false, "native");
    assert_eq!(mode(&agent), "native");
    // Merging keeps the driver's queue in place when the program goes, which would otherwise lose what is in it.
    rooms.node.offload(Offload::Gro, true).unwrap();
    let config = ProbeConfig { targets: vec![IpAddr::from(V4), IpAddr::from(V6)], per_second: 2000 };
    let probe = ProbeClient::start(&rooms.client, config).unwrap();
    for _ in 0..3 {
        for (strips, expected) in [(true, "tcx"), (false, "native")] {
            rooms.node.offload(Offload::RxVlan, strips).unwrap();
            agent.wait_until(READY, "another mode is expected", |agent| mode(agent) == expected).unwrap();
            std::thread::sleep(Duration::from_millis(200));
        }
    }
    probe.stop().unwrap().assert_complete().unwrap();
}
