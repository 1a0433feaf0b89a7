//! Of many addresses that a node takes over, those go first that were asked for while it stood by. Needs root.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::thread;
use std::time::{Duration, Instant};

use lb_core::election::{RankKey, order};
use lb_core::ids::NodeName;
use lb_test::link::mac;
use lb_test::standalone::{Standalone, node, service};
use lb_test::wire::{Endpoint, arp_request, neighbour_advertisement_to, neighbour_solicitation};

const READY: Duration = Duration::from_secs(10);
const NODE: [u8; 6] = mac(11);
const CLIENT: [u8; 6] = mac(10);
const ROUTER: [u8; 6] = mac(0xfe);
/// For the clock of the program to have moved on.
const APART: Duration = Duration::from_millis(50);
const SERVICES: u8 = 60;

/// The addresses of a Service.
fn vips(number: u8) -> (Ipv4Addr, Ipv6Addr) {
    let host = 110 + number;
    (Ipv4Addr::new(192, 0, 2, host), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x100 + u16::from(host)))
}

/// Services of which another node is first in line.
fn of_the_other_node() -> Vec<u8> {
    let names = ["node-a", "node-b"].map(|name| NodeName::new(name).unwrap());
    let is_theirs = |number: &u8| {
        let key = RankKey::new(vips(*number).0.into());
        order(names.iter().map(|name| (name, 0)), &key)[0].as_str() == "node-b"
    };
    (0..SERVICES).filter(is_theirs).collect()
}

/// The address that a frame of the node announces to all.
fn announced(frame: &[u8]) -> Option<IpAddr> {
    if frame.get(6..12)? != NODE || frame.first()? & 1 == 0 {
        return None;
    }
    match frame.get(12..14)? {
        [8, 6] if frame.get(28..32)? == frame.get(38..42)? => {
            Some(Ipv4Addr::from(*frame.get(28..32)?.first_chunk::<4>()?).into())
        }
        [0x86, 0xdd] if frame.get(54) == Some(&136) => {
            Some(Ipv6Addr::from(*frame.get(62..78)?.first_chunk::<16>()?).into())
        }
        _ => None,
    }
}

#[test]
#[ignore = "needs root, the barelb binary and the rig object: makes network namespaces"]
fn what_was_asked_for_lately_is_announced_first() {
    let rooms = Standalone::new().unwrap();
    let endpoint = Endpoint::open(&rooms.client).unwrap();
    rooms.node.add_route("default", "192.0.2.254".parse().unwrap()).unwrap();
    rooms.node.add_route("default", "fe80::fe".parse().unwrap()).unwrap();
    for (name, host) in [("node-a", 11), ("node-b", 12)] {
        let address = Ipv4Addr::new(192, 0, 2, host);
        rooms.write(&format!("{name}.yaml"), &node(name, address.into())).unwrap();
    }
    for number in 0..SERVICES {
        let (v4, v6) = vips(number);
        let name = format!("s{number:02}");
        rooms.write(&format!("{name}.yaml"), &service(&name, &[v4.into(), v6.into()])).unwrap();
    }
    let mut agent = rooms.agent().unwrap();
    agent.wait_ready(READY).unwrap();

    // The last ones by their numbers, which would come last.
    let standby = of_the_other_node();
    let [.., by_router, second, first] = standby[..] else { panic!("{standby:?}") };
    let router = (Ipv4Addr::new(192, 0, 2, 254), "fe80::fe".parse().unwrap(), ROUTER);
    let client = (Ipv4Addr::new(192, 0, 2, 10), "2001:db8::10".parse().unwrap(), CLIENT);
    for (number, (from_v4, from_v6, mac)) in [(by_router, router), (second, client), (first, client)] {
        let (v4, v6) = vips(number);
        endpoint.send(&arp_request(mac, from_v4, v4)).unwrap();
        thread::sleep(APART);
        endpoint.send(&neighbour_solicitation(mac, from_v6, v6)).unwrap();
        thread::sleep(APART);
    }
    // What this node owned from the beginning is announced no more.
    thread::sleep(Duration::from_secs(6));
    endpoint.drain().unwrap();

    rooms.remove("node-b.yaml").unwrap();
    let (mut heard, mut direct) = (Vec::new(), Vec::new());
    let end = Instant::now() + Duration::from_secs(5);
    while let Some(frame) = endpoint.receive(end).unwrap() {
        heard.extend(announced(&frame.bytes).filter(|ip| !heard.contains(ip)));
        if [CLIENT, ROUTER].iter().any(|mac| frame.bytes[..6] == *mac) && frame.bytes[6..12] == NODE {
            direct.push(frame.bytes);
        }
        if heard.len() == standby.len() * 2 {
            break;
        }
    }
    let asked: Vec<IpAddr> = [by_router, first, second]
        .into_iter()
        .map(vips)
        .flat_map(|(v4, v6)| [IpAddr::from(v6), v4.into()])
        .collect();
    let all = standby.iter().map(|number| vips(*number)).flat_map(|(v4, v6)| [IpAddr::from(v4), v6.into()]);
    let rest: BTreeSet<IpAddr> = all.filter(|ip| !asked.contains(ip)).collect();
    assert_eq!(heard, asked.into_iter().chain(rest).collect::<Vec<_>>());

    // Who asked is told directly, too: asked for its own address, from the one that it asked for.
    let told = [(by_router, router), (first, client), (second, client)];
    let expected = told.map(|(number, (v4, v6, mac))| {
        let (vip_v4, vip_v6) = vips(number);
        let mut request = arp_request(NODE, vip_v4, v4).to_vec();
        request[..6].copy_from_slice(&mac);
        [neighbour_advertisement_to((mac, v6), NODE, vip_v6).to_vec(), request]
    });
    assert_eq!(direct, expected.concat());
}
