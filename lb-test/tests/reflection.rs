//! Level 4: a node reflects the liveness probes of others while it has an agent, and after that up to its deadline; and what
//! becomes of the maps for it. Case S47.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::thread::sleep;
use std::time::{Duration, Instant};

use lb_common::addr::Address;
use lb_common::packet::bfd::State;
use lb_common::packet::bfd::initiator::{
    FRAME_V4, FRAME_V6, Question, Reply, parse_reply, write_probe_v4, write_probe_v6,
};
use lb_core::ids::{LinkId, Mac};
use lb_core::plan::diff;
use lb_test::kernel::{Rooms, sample};
use lb_test::link::mac;
use lb_test::rig::PassProgram;
use lb_test::scratch::Bpffs;
use lb_test::wire::Endpoint;
use lb_userspace::dataplane::ebpf::{KernelDataplane, Pins, Settings, View};
use lb_userspace::dataplane::{Dataplane, Mode, ModeChoice, Reflecting, Reflection};
use lb_userspace::net::clock::boot_time_ns;

const SETTINGS: Settings = Settings { max_vips: 64, mode: ModeChoice::Native };
const DISCRIMINATOR: u32 = 0x0a0b_0c0d;
const NODE: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1))];
const PEER: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(192, 0, 2, 10)), IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x10))];
/// How long a reply may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long silence is listened to.
const SILENCE: Duration = Duration::from_millis(200);
/// How long the node answers without its agent.
const GRACE: Duration = Duration::from_secs(4);

/// Both addresses of the node, for the client.
fn reflection(link: LinkId, up: bool) -> Reflection {
    let said = Reflecting { discriminator: DISCRIMINATOR, up };
    Reflection {
        own: NODE.into_iter().map(|ip| ((link, ip), said)).collect(),
        members: PEER.into_iter().map(|ip| ((link, ip), Mac(mac(1)))).collect(),
    }
}

/// A probe of the client, and its frame.
fn probe(from: IpAddr, to: IpAddr, nonce: u32) -> Vec<u8> {
    let question = Question {
        from: mac(1),
        to: mac(0xaa),
        port: 49_200,
        nonce,
        discriminator: DISCRIMINATOR,
        state: State::Up,
        multiplier: 3,
        interval_us: 10_000,
    };
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let mut frame = [0; FRAME_V4];
            write_probe_v4(&mut frame, &from.octets(), &to.octets(), &question);
            frame.to_vec()
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let mut frame = [0; FRAME_V6];
            write_probe_v6(&mut frame, &from.octets(), &to.octets(), &question);
            frame.to_vec()
        }
        _ => panic!("{from} can't reach {to}"),
    }
}

/// The reply to the client's probe of this family, if one comes in time.
fn ask(client: &Endpoint, family: usize, nonce: u32, wait: Duration) -> Option<Reply> {
    let frame = probe(PEER[family], NODE[family], nonce);
    let is_reply = |frame: &[u8]| parse_reply(frame).is_ok_and(|reply| reply.nonce == nonce);
    client.ask(&frame, wait, is_reply).unwrap().map(|frame| parse_reply(&frame).unwrap())
}

fn expected(family: usize, nonce: u32, state: State) -> Reply {
    let address = |ip| match ip {
        IpAddr::V4(ip) => Address::v4(&ip.octets()),
        IpAddr::V6(ip) => Address::v6(&ip.octets()),
    };
    Reply {
        nonce,
        discriminator: DISCRIMINATOR,
        state,
        source: address(NODE[family]),
        destination: address(PEER[family]),
        port: 49_200,
        mac: mac(0xaa),
    }
}

fn attached(rooms: &Rooms, agent: &mut KernelDataplane, mode: Mode) {
    let result = rooms.attach(agent, &[&rooms.veth.b]).unwrap();
    assert_eq!(result[&rooms.link()].mode, Some(mode), "{:?}", result[&rooms.link()]);
}

/// Nothing of the agent is left but its pins: no process, no socket.
#[test]
#[ignore = "needs root"]
fn without_its_agent_a_node_reflects_on_up_to_its_deadline() {
    lb_test::shows!("S47");
    for (choice, mode) in [
        (ModeChoice::Native, Mode::Native),
        (ModeChoice::Generic, Mode::Generic),
        (ModeChoice::Tcx, Mode::Tcx),
    ] {
        let rooms = Rooms::new().unwrap();
        let bpffs = Bpffs::new("reflect").unwrap();
        let _pass = (mode == Mode::Native).then(|| PassProgram::attach(&rooms.veth.a).unwrap());
        let client = Endpoint::open(&rooms.veth.a).unwrap();
        let mut agent = rooms.open(bpffs.path(), Settings { mode: choice, ..SETTINGS }).unwrap();
        attached(&rooms, &mut agent, mode);
        agent.reflect(&reflection(rooms.link(), true)).unwrap();
        agent.set_valid_until(boot_time_ns() + u64::try_from(PATIENCE.as_nanos()).unwrap() * 4).unwrap();
        for family in [0, 1] {
            let reply = ask(&client, family, 7, PATIENCE);
            assert_eq!(reply, Some(expected(family, 7, State::Up)), "{mode}");
        }
        agent.reflect(&reflection(rooms.link(), false)).unwrap();
        for family in [0, 1] {
            let reply = ask(&client, family, 8, PATIENCE);
            assert_eq!(reply, Some(expected(family, 8, State::AdminDown)), "{mode}");
        }
        agent.reflect(&reflection(rooms.link(), true)).unwrap();
        agent.set_valid_until(boot_time_ns() + u64::try_from(GRACE.as_nanos()).unwrap()).unwrap();
        let gone = Instant::now();
        drop(agent);

        let mut nonce = 100;
        while gone.elapsed() < GRACE / 2 {
            for family in [0, 1] {
                nonce += 1;
                let reply = ask(&client, family, nonce, PATIENCE);
                assert_eq!(reply, Some(expected(family, nonce, State::Up)), "{mode}");
            }
            // Below what a member may ask.
            sleep(Duration::from_millis(5));
        }
        sleep((GRACE + Duration::from_millis(100)).saturating_sub(gone.elapsed()));
        for family in [0, 1] {
            assert_eq!(ask(&client, family, 9, SILENCE), None, "{mode}: the deadline has passed");
        }
        let outcomes = View::open(Pins::new(bpffs.path()).root()).unwrap().counters.outcomes().unwrap();
        assert_eq!(outcomes.get("expired"), Some(&2), "{mode}: {outcomes:?}");
    }
}

/// What is written already is not written again, so what was counted of a member stays; what is not wanted goes.
#[test]
#[ignore = "needs root"]
fn the_maps_are_brought_to_what_is_wanted() {
    let rooms = Rooms::new().unwrap();
    let bpffs = Bpffs::new("reflect-maps").unwrap();
    let mut agent = rooms.open(bpffs.path(), SETTINGS).unwrap();
    attached(&rooms, &mut agent, Mode::Native);
    let shown = || View::open(Pins::new(bpffs.path()).root()).unwrap().reflection().unwrap();
    assert_eq!(shown(), Reflection::default());
    let wanted = reflection(rooms.link(), true);
    agent.reflect(&wanted).unwrap();
    assert_eq!(shown(), wanted);

    agent.set_valid_until(u64::MAX).unwrap();
    let client = Endpoint::open(&rooms.veth.a).unwrap();
    let _pass = PassProgram::attach(&rooms.veth.a).unwrap();
    assert!(ask(&client, 0, 1, PATIENCE).is_some());
    let dump = || {
        let pin = Pins::new(bpffs.path()).maps().join("MEMBERS");
        let output =
            std::process::Command::new("bpftool").args(["map", "dump", "pinned"]).arg(pin).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let before = dump();
    assert!(before.contains("\"count\": 1"), "{before}");
    agent.reflect(&wanted).unwrap();
    assert_eq!(dump(), before);

    let mut fewer = wanted;
    fewer.own.retain(|(_, ip), _| ip.is_ipv6());
    fewer.members.retain(|(_, ip), _| ip.is_ipv4());
    agent.reflect(&fewer).unwrap();
    assert_eq!(shown(), fewer);
    agent.reflect(&Reflection::default()).unwrap();
    assert_eq!(shown(), Reflection::default());
}

/// An agent with maps of another size, and one that finds pins from before there were maps for probes, or with fewer
/// outcomes: what answers and reflects goes on, and the epoch is kept.
#[test]
#[ignore = "needs root"]
fn an_exchange_of_maps_takes_what_is_reflected_along() {
    let rooms = Rooms::new().unwrap();
    let bpffs = Bpffs::new("reflect-resize").unwrap();
    let _pass = PassProgram::attach(&rooms.veth.a).unwrap();
    let client = Endpoint::open(&rooms.veth.a).unwrap();
    let wanted = reflection(rooms.link(), true);
    let entries = sample(rooms.link().0);
    {
        let mut agent = rooms.open(bpffs.path(), SETTINGS).unwrap();
        agent.apply(&diff(&entries, &BTreeMap::new()), 1).unwrap();
        agent.set_epoch(42).unwrap();
        agent.set_valid_until(u64::MAX).unwrap();
        assert_eq!((agent.epoch().unwrap(), agent.valid_until().unwrap()), (42, u64::MAX));
        attached(&rooms, &mut agent, Mode::Native);
        agent.reflect(&wanted).unwrap();
    }
    assert!(ask(&client, 0, 1, PATIENCE).is_some());
    {
        let mut agent = rooms.open(bpffs.path(), Settings { max_vips: 128, ..SETTINGS }).unwrap();
        assert!(ask(&client, 1, 2, PATIENCE).is_some(), "the maps before reflect on");
        attached(&rooms, &mut agent, Mode::Native);
        assert!(ask(&client, 0, 3, PATIENCE).is_some(), "and so do the new ones");
        assert_eq!(agent.epoch().unwrap(), 42);
    }
    let pins = Pins::new(bpffs.path());
    for map in ["REFLECTORS", "MEMBERS"] {
        std::fs::remove_file(pins.maps().join(map)).unwrap();
    }
    let view = View::open(pins.root()).unwrap();
    assert_eq!(view.reflection().unwrap(), Reflection::default(), "maps from before can be looked at");
    let mut agent = rooms.open(bpffs.path(), Settings { max_vips: 128, ..SETTINGS }).unwrap();
    assert_eq!(agent.actual().unwrap(), entries, "nothing is to be announced");
    assert_eq!((agent.epoch().unwrap(), agent.valid_until().unwrap()), (42, u64::MAX));
    attached(&rooms, &mut agent, Mode::Native);
    assert_eq!(pins.sets().into_iter().collect::<Vec<_>>(), [pins.maps()]);
    agent.reflect(&wanted).unwrap();
    assert!(ask(&client, 1, 4, PATIENCE).is_some());
}
