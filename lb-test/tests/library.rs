//! The guards and probes themselves, between namespaces made here. Needs root: see the README of this crate.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;
use std::{fs, panic, thread};

use lb_test::client::{ProbeClient, ProbeConfig};
use lb_test::link::{Bridge, Interface, Offload, Veth, mac};
use lb_test::namespace::Namespace;
use lb_test::rig::{PassProgram, PushVlan, VlanTag};
use lb_test::scratch::{Bpffs, Scratch};
use lb_test::standalone::{Standalone, service};
use lb_test::wire::{Endpoint, arp_request, neighbour_solicitation};

const V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
const CLIENT_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
const CLIENT_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x10);
const QUIET: Duration = Duration::from_millis(100);
const LONG: Duration = Duration::from_secs(5);

/// A client and a node whose kernel owns [`V4`] and [`V6`], one cable between them.
struct Cable {
    client: Interface,
    node: Interface,
}

impl Cable {
    fn new() -> Self {
        let (client, node) = (Namespace::new("client").unwrap(), Namespace::new("node").unwrap());
        let veth = Veth::new((&client, "eth0", mac(1)), (&node, "eth0", mac(0xaa))).unwrap();
        veth.b.add_address(&format!("{V4}/24")).unwrap();
        veth.b.add_address(&format!("{V6}/64")).unwrap();
        Self { client: veth.a, node: veth.b }
    }
}

fn is_arp_reply(frame: &[u8]) -> bool {
    frame.get(12..14) == Some(&[8, 6]) && frame.get(21) == Some(&2)
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn a_panic_leaves_nothing_behind() {
    let seen = Mutex::new(None);
    let panicked = panic::catch_unwind(|| {
        let (namespace, bpffs) = (Namespace::new("panic").unwrap(), Bpffs::new("panic").unwrap());
        let scratch = Scratch::new("panic").unwrap();
        let sleep = namespace.spawn("sleep", &["1000"], &scratch.join("log")).unwrap();
        *seen.lock().unwrap() = Some((namespace.name().to_owned(), bpffs.path().to_owned(), sleep.pid()));
        assert!(Path::new("/run/netns").join(namespace.name()).exists());
        assert!(fs::read_to_string("/proc/mounts").unwrap().contains(bpffs.path().to_str().unwrap()));
        assert!(Path::new("/proc").join(sleep.pid().to_string()).exists());
        panic!("as a failing test does");
    });
    assert!(panicked.is_err());
    let (name, bpffs, pid) = seen.into_inner().unwrap().unwrap();
    assert!(!Path::new("/run/netns").join(&name).exists(), "the namespace");
    assert!(!bpffs.exists(), "the folder of the bpffs");
    assert!(!fs::read_to_string("/proc/mounts").unwrap().contains(bpffs.to_str().unwrap()), "the bpffs");
    assert!(!Path::new("/proc").join(pid.to_string()).exists(), "the process");
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn a_closure_and_a_command_see_the_namespace_and_the_bpffs() {
    let (cable, bpffs) = (Cable::new(), Bpffs::new("seen").unwrap());
    let namespace = cable.node.namespace();
    let devices = namespace.enter(|| Ok(fs::read_dir("/sys/class/net")?.count())).unwrap();
    assert_eq!(devices, 2, "lo and eth0");
    let kind = namespace.exec("stat", &["-f", "-c", "%t", bpffs.path().to_str().unwrap()]).unwrap();
    assert_eq!(kind.trim(), "cafe4a11", "BPF_FS_MAGIC");
    let host = fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap().trim().to_owned();
    namespace.sysctl("net.ipv4.ip_forward", "1").unwrap();
    assert_eq!(namespace.exec("cat", &["/proc/sys/net/ipv4/ip_forward"]).unwrap().trim(), "1");
    assert_eq!(fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap().trim(), host, "only inside");
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn a_process_is_frozen_and_ended_by_signals() {
    let (namespace, scratch) = (Namespace::new("process").unwrap(), Scratch::new("process").unwrap());
    let log = scratch.join("log");
    let mut echo = namespace.spawn("sh", &["-c", "echo out; echo err >&2; exit 3"], &log).unwrap();
    assert_eq!(echo.wait(LONG).unwrap().unwrap().code(), Some(3));
    assert_eq!(echo.log(), "out\nerr\n");
    let mut sleep = namespace.spawn("sleep", &["1000"], &log).unwrap();
    sleep.stop().unwrap();
    assert!(sleep.is_running());
    sleep.term().unwrap();
    assert_eq!(sleep.wait(QUIET).unwrap(), None, "a frozen process ends only when it goes on");
    sleep.cont().unwrap();
    assert!(sleep.wait(LONG).unwrap().is_some());
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn the_kernel_of_the_other_end_answers_both_families() {
    let cable = Cable::new();
    let endpoint = Endpoint::open(&cable.client).unwrap();
    let request = arp_request(mac(1), CLIENT_V4, V4);
    let answers = endpoint.exchange(&request, QUIET).unwrap();
    assert_eq!(answers.len(), 1, "{answers:02x?}");
    assert!(is_arp_reply(&answers[0]));
    assert_eq!(answers[0][6..12], mac(0xaa));
    let solicitation = neighbour_solicitation(mac(1), CLIENT_V6, V6);
    let answers = endpoint.exchange(&solicitation, QUIET).unwrap();
    assert_eq!(answers.len(), 1, "{answers:02x?}");
    assert_eq!((answers[0][54], &answers[0][62..78]), (136, &V6.octets()[..]));
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn silence_is_proved_by_a_fence_and_by_waiting() {
    let cable = Cable::new();
    let endpoint = Endpoint::open(&cable.client).unwrap();
    let unknown = arp_request(mac(1), CLIENT_V4, "192.0.2.77".parse().unwrap());
    let fence = arp_request(mac(1), CLIENT_V4, V4);
    assert_eq!(
        endpoint.exchange_fenced(&unknown, &fence, is_arp_reply, LONG).unwrap(),
        Vec::<Vec<u8>>::new()
    );
    assert_eq!(endpoint.exchange(&unknown, QUIET).unwrap(), Vec::<Vec<u8>>::new());
    assert!(
        endpoint.exchange_fenced(&fence, &unknown, |_| false, QUIET).is_err(),
        "an unanswered fence proves nothing"
    );
    let answered = endpoint.ask(&fence, LONG, is_arp_reply).unwrap();
    assert!(answered.is_some());
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn tags_are_received_as_they_were_sent() {
    let cable = Cable::new();
    let (client, node) = (Endpoint::open(&cable.client).unwrap(), Endpoint::open(&cable.node).unwrap());
    let plain = arp_request(mac(1), CLIENT_V4, "192.0.2.77".parse().unwrap()).to_vec();
    let single = [&plain[..12], &[0x81, 0, 0x60, 42], &plain[12..]].concat();
    let double = [&plain[..12], &[0x88, 0xa8, 0, 100, 0x81, 0, 0, 42], &plain[12..]].concat();
    for in_hardware in [false, true] {
        for end in [&cable.client, &cable.node] {
            end.offload(Offload::TxVlan, in_hardware).unwrap();
            end.offload(Offload::RxVlan, in_hardware).unwrap();
        }
        for frame in [&plain, &single, &double] {
            let came = node
                .drain()
                .and_then(|_| client.send(frame))
                .and_then(|()| node.receive(std::time::Instant::now() + LONG));
            assert_eq!(came.unwrap().unwrap().bytes, *frame, "offload {in_hardware}");
        }
    }
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn offloads_are_switched_one_by_one() {
    let cable = Cable::new();
    let tags = || {
        let read = || Ok(lb_userspace::net::ethtool::features("eth0")?);
        let features = cable.node.namespace().enter(read).unwrap();
        (features.rx_vlan_offload, features.rx_svlan_offload)
    };
    assert_eq!(tags(), (false, false), "a new cable has none");
    cable.node.offload(Offload::RxServiceVlan, true).unwrap();
    assert_eq!(tags(), (false, true));
    cable.node.offload(Offload::RxVlan, true).unwrap();
    cable.node.offload(Offload::RxServiceVlan, false).unwrap();
    assert_eq!(tags(), (true, false));
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn a_quiet_namespace_says_nothing_unasked() {
    let (client, node) = (Namespace::new("client").unwrap(), Namespace::new("node").unwrap());
    let veth = Veth::new((&client, "eth0", mac(1)), (&node, "eth0", mac(0xaa))).unwrap();
    let endpoint = Endpoint::open(&veth.a).unwrap();
    veth.b.down().unwrap();
    veth.b.up().unwrap();
    let heard = endpoint.receive(std::time::Instant::now() + Duration::from_secs(2)).unwrap();
    assert_eq!(heard, None);
    assert_eq!(veth.b.namespace().ip(&["-6", "address", "show", "dev", "eth0"]).unwrap(), "");
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn the_probe_sees_every_answer_and_every_gap() {
    let cable = Cable::new();
    let targets: Vec<IpAddr> = vec![V4.into(), V6.into()];
    // The kernel stops learning requesters near its gc_thresh3 of 1024 (A46): stay below it.
    let config = ProbeConfig { targets, per_second: 400 };
    let report =
        ProbeClient::start(&cable.client, config.clone()).unwrap().run_for(Duration::from_secs(1)).unwrap();
    report.assert_complete().unwrap();
    assert!((300..=450).contains(&report.sent), "{}", report.summary());
    assert_eq!(report.by_mac.keys().copied().collect::<Vec<_>>(), [mac(0xaa)]);

    let probe = ProbeClient::start(&cable.client, config).unwrap();
    thread::sleep(Duration::from_millis(300));
    cable.node.del_address(&format!("{V4}/24")).unwrap();
    let removed = probe.elapsed();
    thread::sleep(Duration::from_millis(300));
    let report = probe.stop().unwrap();
    assert!(report.assert_complete().is_err());
    assert!(report.missing.iter().all(|(target, _)| *target == IpAddr::from(V4)), "{}", report.summary());
    assert!(report.last_answer(V4.into()).unwrap() <= removed + Duration::from_millis(5));
    assert!(report.last_answer(V6.into()).unwrap() > removed, "IPv6 is answered to the end");
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn a_bridge_joins_its_ports() {
    let switch = Namespace::new("switch").unwrap();
    let bridge = Bridge::new(&switch, "br0").unwrap();
    let hosts: Vec<_> = [1, 2].map(|n| (n, Namespace::new("host").unwrap())).into_iter().collect();
    let ends: Vec<_> = hosts
        .iter()
        .map(|(n, host)| {
            let veth =
                Veth::new((host, "eth0", mac(*n)), (&switch, &format!("port{n}"), mac(0x10 + n))).unwrap();
            bridge.add_port(&veth.b).unwrap();
            veth.a.add_address(&format!("192.0.2.{n}/24")).unwrap();
            veth.a
        })
        .collect();
    let endpoint = Endpoint::open(&ends[1]).unwrap();
    let request = arp_request(mac(2), "192.0.2.2".parse().unwrap(), V4);
    let answer = endpoint.ask(&request, LONG, is_arp_reply).unwrap().unwrap();
    assert_eq!(answer[6..12], mac(1));
    ends[1].add_neighbour(V4.into(), mac(7)).unwrap();
    assert!(ends[1].neighbours().unwrap().contains("02:00:00:00:00:07 PERMANENT"));
}

#[test]
#[ignore = "needs root and the rig object: makes network namespaces"]
fn the_pass_program_is_native_and_goes_with_its_guard() {
    let cable = Cable::new();
    let shown = || cable.client.namespace().ip(&["link", "show", "dev", "eth0"]).unwrap();
    let pass = PassProgram::attach(&cable.client).unwrap();
    assert!(shown().contains(" xdp "), "{}", shown());
    let endpoint = Endpoint::open(&cable.client).unwrap();
    assert!(endpoint.ask(&arp_request(mac(1), CLIENT_V4, V4), LONG, is_arp_reply).unwrap().is_some());
    drop(pass);
    assert!(!shown().contains("xdp"), "{}", shown());
}

#[test]
#[ignore = "needs root and the rig object: makes network namespaces"]
fn a_tag_pushed_out_of_band_is_not_in_the_frame() {
    let cable = Cable::new();
    let (client, node) = (Endpoint::open(&cable.client).unwrap(), Endpoint::open(&cable.node).unwrap());
    let push = PushVlan::attach(&cable.client, VlanTag { protocol: 0x8100, tci: 0x602a }).unwrap();
    // The endpoint puts the tag back, whichever way it travelled.
    let frame = arp_request(mac(1), CLIENT_V4, V4).to_vec();
    let tagged = [&frame[..12], &[0x81, 0, 0x60, 0x2a], &frame[12..]].concat();
    client.send(&frame).unwrap();
    let came = node.receive(std::time::Instant::now() + LONG).unwrap().unwrap();
    assert_eq!(came.bytes, tagged);
    // In band it would make the frame longer on the wire: the byte counter tells.
    let received = |end: &Interface| {
        let read =
            || Ok(fs::read_to_string("/sys/class/net/eth0/statistics/rx_bytes")?.trim().parse::<usize>()?);
        end.namespace().enter(read).unwrap()
    };
    let before = received(&cable.node);
    client.send(&frame).unwrap();
    node.receive(std::time::Instant::now() + LONG).unwrap().unwrap();
    assert_eq!(received(&cable.node) - before, frame.len());
    drop(push);
    // The kernel takes the program away soon, not at once.
    let deadline = std::time::Instant::now() + LONG;
    let came = loop {
        client.send(&frame).unwrap();
        let came = node.receive(std::time::Instant::now() + LONG).unwrap().unwrap().bytes;
        if came == frame || std::time::Instant::now() > deadline {
            break came;
        }
    };
    assert_eq!(came, frame);
}

#[test]
#[ignore = "needs root and the rig object: makes network namespaces"]
fn the_rooms_of_a_standalone_agent_are_connected() {
    for rooms in [Standalone::new().unwrap(), Standalone::on_snooping_bridge().unwrap()] {
        let endpoint = Endpoint::open(&rooms.client).unwrap();
        let request = arp_request(rooms.client.mac(), CLIENT_V4, "192.0.2.11".parse().unwrap());
        let answer = endpoint.ask(&request, LONG, is_arp_reply).unwrap().unwrap();
        assert_eq!(answer[6..12], rooms.node.mac());
        rooms.write("web.yaml", &service("web", &[V4.into(), V6.into()])).unwrap();
        let manifest = fs::read_to_string(rooms.manifests().join("web.yaml")).unwrap();
        assert!(manifest.contains("metallb.io/loadBalancerIPs: \"192.0.2.1,2001:db8::1\""), "{manifest}");
        rooms.remove("web.yaml").unwrap();
        assert!(rooms.remove("web.yaml").is_err());
    }
}
