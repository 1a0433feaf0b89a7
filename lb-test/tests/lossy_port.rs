//! A port that loses frames, as the failover cases use it: one way or both, all or some. Needs root and the rig object.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use lb_test::cluster::Network;
use lb_test::link::Veth;
use lb_test::rig::{LossyPort, Way};
use lb_test::wire::{Endpoint, arp_request, is_chatter, neighbour_solicitation};

const CLIENT: u8 = 10;
const NODE: u8 = 11;
/// Nobody answers for these.
const V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 200);
const V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x200);
/// For what was sent to arrive.
const ARRIVAL: Duration = Duration::from_millis(200);

/// A client and a node on a switch, the node's port being lossy.
struct Bed {
    client: Veth,
    node: Veth,
    port: LossyPort,
    _network: Network,
}

impl Bed {
    fn new() -> Self {
        let network = Network::new().unwrap();
        let [client, node] = [CLIENT, NODE].map(|host| network.attach("machine", host).unwrap());
        Self { port: LossyPort::attach(&node.b).unwrap(), client, node, _network: network }
    }

    /// How many of `count` ARP requests and as many solicitations reach the other machine, by family.
    fn arrive(from: &Veth, to: &Veth, count: usize) -> [usize; 2] {
        let (sender, receiver) = (Endpoint::open(&from.a).unwrap(), Endpoint::open(&to.a).unwrap());
        let mac = from.a.mac();
        for number in 0..count {
            sender.send(&arp_request(mac, V4, V4)).unwrap();
            sender.send(&neighbour_solicitation(mac, V6, V6)).unwrap();
            if number % 100 == 0 {
                thread::sleep(Duration::from_millis(1));
            }
        }
        let mut arrived = [0; 2];
        while let Some(frame) = receiver.receive(Instant::now() + ARRIVAL).unwrap() {
            if frame.bytes[6..12] == mac && !is_chatter(&frame.bytes) {
                arrived[usize::from(frame.bytes[12] == 0x86)] += 1;
            }
        }
        assert_eq!(receiver.dropped().unwrap(), 0);
        arrived
    }

    /// From the node, then to the node.
    fn both_ways(&self, count: usize) -> [[usize; 2]; 2] {
        [Self::arrive(&self.node, &self.client, count), Self::arrive(&self.client, &self.node, count)]
    }
}

#[test]
#[ignore = "needs root and the rig object: makes network namespaces"]
fn a_cut_concerns_the_ways_it_names_and_no_other() {
    let mut bed = Bed::new();
    assert_eq!(bed.both_ways(5), [[5, 5], [5, 5]]);
    bed.port.cut(Way::FromNode).unwrap();
    assert_eq!(bed.both_ways(5), [[0, 0], [5, 5]]);
    bed.port.cut(Way::ToNode).unwrap();
    assert_eq!(bed.both_ways(5), [[5, 5], [0, 0]]);
    bed.port.cut(Way::Both).unwrap();
    assert_eq!(bed.both_ways(5), [[0, 0], [0, 0]]);
    let lost = bed.port.lost().unwrap();
    assert!(lost.iter().all(|lost| *lost >= 20), "{lost:?}");
    bed.port.heal().unwrap();
    assert_eq!(bed.both_ways(5), [[5, 5], [5, 5]]);
}

#[test]
#[ignore = "needs root and the rig object: makes network namespaces"]
fn about_as_many_are_lost_as_was_said_each_way() {
    const COUNT: usize = 10_000;
    let mut bed = Bed::new();
    for per_mille in [50, 200] {
        bed.port.lose(Way::Both, per_mille).unwrap();
        let expected = COUNT - COUNT * usize::try_from(per_mille).unwrap() / 1000;
        // Five standard deviations of the worse of both are 200.
        for arrived in bed.both_ways(COUNT).concat() {
            assert!(arrived.abs_diff(expected) <= 200, "{arrived} of {COUNT} at {per_mille} of a thousand");
        }
    }
    bed.port.lose(Way::FromNode, 200).unwrap();
    let [from, to] = bed.both_ways(COUNT);
    assert!(from.iter().all(|arrived| *arrived < COUNT), "{from:?}");
    assert_eq!(to, [COUNT, COUNT]);
}

#[test]
#[ignore = "needs root and the rig object: makes network namespaces"]
fn probes_are_counted_each_way_and_nothing_else_is() {
    let bed = Bed::new();
    let send = |from: &Veth, to: SocketAddr| {
        let everywhere = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        from.a.namespace().enter(|| Ok(UdpSocket::bind(everywhere)?.send_to(&[0; 24], to)?)).unwrap();
    };
    for (client, node) in Network::addresses(CLIENT).into_iter().zip(Network::addresses(NODE)) {
        for port in [7784, 7785] {
            send(&bed.client, SocketAddr::from((node, port)));
            send(&bed.node, SocketAddr::from((client, port)));
            send(&bed.node, SocketAddr::from((client, port)));
        }
    }
    thread::sleep(ARRIVAL);
    assert_eq!(bed.port.probes().unwrap(), [4, 2]);
}
