//! What the kernel's data plane does with links: adoption, devices that are gone, programs of others, force.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use aya::programs::xdp::XdpMode;
use lb_core::ids::LinkId;
use lb_core::plan::{EntryState, diff};
use lb_test::kernel::{Rooms, attached, entry, facts, pinned, sample, target};
use lb_test::rig::PassProgram;
use lb_test::scratch::Bpffs;
use lb_test::wire::{Endpoint, arp_request};
use lb_userspace::dataplane::ebpf::{Pins, Settings};
use lb_userspace::dataplane::{Dataplane, LinkFacts, Mode, ModeChoice};

const SETTINGS: Settings = Settings { max_vips: 64, mode: ModeChoice::Native };
const MODES: [(ModeChoice, Mode); 3] =
    [(ModeChoice::Native, Mode::Native), (ModeChoice::Generic, Mode::Generic), (ModeChoice::Tcx, Mode::Tcx)];

/// Id of the link pinned for the node's interface, and of its program, as bpftool tells.
fn link(pins: &Pins, link: LinkId) -> (u64, u64, String) {
    let output =
        Command::new("bpftool").args(["-j", "link", "show", "pinned"]).arg(pins.link(link)).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let shown: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let number = |name: &str| shown[name].as_u64().unwrap();
    (number("id"), number("prog_id"), shown.to_string())
}

#[test]
#[ignore = "needs root"]
fn a_new_agent_adopts_entries_deadline_and_link_in_every_mode() {
    for (choice, mode) in MODES {
        let rooms = Rooms::new().unwrap();
        let bpffs = Bpffs::new("adopt").unwrap();
        let settings = Settings { mode: choice, ..SETTINGS };
        let pins = Pins::new(bpffs.path());
        let entries = sample(rooms.link().0);
        let before = {
            let mut agent = rooms.open(bpffs.path(), settings).unwrap();
            agent.apply(&diff(&entries, &BTreeMap::new()), 1).unwrap();
            agent.set_valid_until(77).unwrap();
            let result = rooms.attach(&mut agent, &[&rooms.veth.b]).unwrap();
            assert_eq!(result[&rooms.link()].mode, Some(mode), "{:?}", result[&rooms.link()]);
            link(&pins, rooms.link())
        };
        assert_eq!(pinned(bpffs.path()).unwrap(), entries);

        let mut agent = rooms.open(bpffs.path(), settings).unwrap();
        assert_eq!(link(&pins, rooms.link()), before, "{mode}: link and program outlive their agent");
        assert_eq!(agent.valid_until().unwrap(), 77, "{mode}: adopting does not move the deadline");
        assert_eq!(agent.actual().unwrap(), entries);
        let result = rooms.attach(&mut agent, &[&rooms.veth.b]).unwrap();
        assert_eq!(result[&rooms.link()].mode, Some(mode));
        let after = link(&pins, rooms.link());
        assert_eq!(after.0, before.0, "{mode}: the same link");
        assert_ne!(after.1, before.1, "{mode}: another program");
        assert!(agent.is_attached());
    }
}

#[test]
#[ignore = "needs root"]
fn what_is_detached_by_force_or_unpinned_is_noticed_and_repaired() {
    for (choice, mode) in MODES {
        let rooms = Rooms::new().unwrap();
        let bpffs = Bpffs::new("force").unwrap();
        let pins = Pins::new(bpffs.path());
        let mut agent = rooms.open(bpffs.path(), Settings { mode: choice, ..SETTINGS }).unwrap();
        rooms.attach(&mut agent, &[&rooms.veth.b]).unwrap();
        assert!(agent.is_attached(), "{mode}");

        let output = Command::new("bpftool")
            .args(["link", "detach", "pinned"])
            .arg(pins.link(rooms.link()))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(pins.link(rooms.link()).exists(), "the pin is still there");
        assert!(!agent.is_attached(), "{mode}: detached by force");
        let result = rooms.attach(&mut agent, &[&rooms.veth.b]).unwrap();
        assert_eq!(result[&rooms.link()].mode, Some(mode), "{:?}", result[&rooms.link()]);
        assert!(agent.is_attached(), "{mode}: repaired");

        std::fs::remove_file(pins.link(rooms.link())).unwrap();
        assert!(!agent.is_attached(), "{mode}: unpinned");
        rooms.attach(&mut agent, &[&rooms.veth.b]).unwrap();
        assert!(agent.is_attached(), "{mode}: pinned again");
    }
}

#[test]
#[ignore = "needs root"]
fn a_link_whose_device_is_gone_is_attached_anew() {
    for (choice, mode) in MODES {
        let rooms = Rooms::new().unwrap();
        let bpffs = Bpffs::new("gone").unwrap();
        let settings = Settings { mode: choice, ..SETTINGS };
        let mut agent = rooms.open(bpffs.path(), settings).unwrap();
        rooms.attach(&mut agent, &[&rooms.veth.b]).unwrap();
        rooms.client.ip(&["link", "del", "v0"]).unwrap();
        assert!(!agent.is_attached(), "{mode}: the device is gone");
        // The same index again: the pin of the old link is a corpse under the name of the new one.
        let index = rooms.link().0.to_string();
        let add = ["link", "add", "v1", "index", &index, "type", "veth", "peer", "name", "v0", "netns"];
        rooms.node.ip(&[&add[..], &[rooms.client.name()]].concat()).unwrap();
        rooms.client.ip(&["link", "set", "v0", "up"]).unwrap();
        rooms.node.ip(&["link", "set", "v1", "up"]).unwrap();
        drop(agent);
        let mut agent = rooms.open(bpffs.path(), settings).unwrap();
        let result = rooms.attach(&mut agent, &[&rooms.veth.b]).unwrap();
        assert_eq!(result[&rooms.link()].mode, Some(mode), "{:?}", result[&rooms.link()]);
        assert!(agent.is_attached());
    }
}

#[test]
#[ignore = "needs root"]
fn a_link_that_is_gone_leaves_no_pin() {
    let rooms = Rooms::new().unwrap();
    let bpffs = Bpffs::new("left").unwrap();
    let mut agent = rooms.open(bpffs.path(), SETTINGS).unwrap();
    rooms.attach(&mut agent, &[&rooms.veth.b]).unwrap();
    rooms.client.ip(&["link", "del", "v0"]).unwrap();
    assert_eq!(rooms.attach(&mut agent, &[]).unwrap(), BTreeMap::new());
    assert!(Pins::new(bpffs.path()).links().is_empty());
    assert!(agent.is_attached(), "to all of none");
}

#[test]
#[ignore = "needs root"]
fn a_foreign_program_is_named_and_never_displaced() {
    for foreign_mode in [XdpMode::Driver, XdpMode::Skb] {
        let rooms = Rooms::new().unwrap();
        let _foreign = PassProgram::attach_in(&rooms.veth.b, foreign_mode).unwrap();
        let before = attached(&rooms.veth.b).unwrap();
        let (id, named) = match before {
            (Some(id), None) => (id, "native mode"),
            (None, Some(id)) => (id, "generic mode"),
            other => panic!("{other:?}"),
        };
        for (choice, expected) in [
            (ModeChoice::Native, None),
            (ModeChoice::Generic, None),
            (ModeChoice::Auto, Some(Mode::Tcx)),
            (ModeChoice::Tcx, Some(Mode::Tcx)),
        ] {
            let bpffs = Bpffs::new("foreign").unwrap();
            let mut agent = rooms.open(bpffs.path(), Settings { mode: choice, ..SETTINGS }).unwrap();
            let result = rooms.attach(&mut agent, &[&rooms.veth.b]).unwrap();
            let result = &result[&rooms.link()];
            assert_eq!(result.mode, expected, "{result}");
            if expected.is_none() {
                let text = result.to_string();
                assert!(text.contains(&format!("bpftool prog show id {id}")), "{text}");
                assert!(text.contains(named), "{text}");
                assert!(Pins::new(bpffs.path()).links().is_empty());
            }
            assert_eq!(attached(&rooms.veth.b).unwrap(), before, "still there");
        }
    }
}

/// Native XDP on a veth loses its answers as long as the peer has no program, and the driver counts them: this is the
/// sign on which the agent goes to the next mode.
#[test]
#[ignore = "needs root"]
fn a_driver_that_loses_answers_is_left_for_the_next_mode() {
    let rooms = Rooms::new().unwrap();
    let bpffs = Bpffs::new("losing").unwrap();
    let mut agent = rooms.open(bpffs.path(), Settings { mode: ModeChoice::Auto, ..SETTINGS }).unwrap();
    let answered = (target(rooms.link().0, "192.0.2.100"), entry(0xaa, EntryState::Answer));
    agent.apply(&diff(&BTreeMap::from([answered]), &BTreeMap::new()), 1).unwrap();
    agent.set_valid_until(u64::MAX).unwrap();
    let link = rooms.link();
    // The rule that leaves out native on a veth goes by the name of the driver.
    let unknown = LinkFacts { driver: "unknown".into(), ..facts(&rooms.veth.b).unwrap() };
    let result = rooms.attach_with(&mut agent, &BTreeMap::from([(link, unknown.clone())])).unwrap();
    assert_eq!(result[&link].mode, Some(Mode::Native));

    let losses = || {
        let stats = rooms.node.enter(|| Ok(lb_userspace::net::ethtool::stats("v1")?)).unwrap();
        let named = |name: &str| name.contains("xdp_tx") && name.contains("err");
        stats.iter().filter(|(name, _)| named(name)).map(|(_, value)| value).sum::<u64>()
    };
    let before = losses();
    let endpoint = Endpoint::open(&rooms.veth.a).unwrap();
    let ask = arp_request(rooms.veth.a.mac(), [192, 0, 2, 10].into(), [192, 0, 2, 100].into());
    let wait = Duration::from_millis(100);
    assert_eq!(endpoint.exchange(&ask, wait).unwrap(), Vec::<Vec<u8>>::new());
    assert!(losses() > before, "the driver counts what it loses");

    let lost = LinkFacts { loses_native: true, xdp: attached(&rooms.veth.b).unwrap(), ..unknown };
    let result = rooms.attach_with(&mut agent, &BTreeMap::from([(link, lost)])).unwrap();
    assert_eq!(result[&link].mode, Some(Mode::Tcx), "{}", result[&link]);
    assert!(result[&link].to_string().contains("transmit errors"), "{}", result[&link]);
    // The kernel ends the link before a little later.
    let deadline = Instant::now() + Duration::from_secs(5);
    while attached(&rooms.veth.b).unwrap() != (None, None) {
        assert!(Instant::now() < deadline, "native is still attached");
        sleep(Duration::from_millis(5));
    }
    assert_eq!(endpoint.exchange(&ask, wait).unwrap().len(), 1, "answered");
}

/// The two modes of XDP exclude each other: one must be gone before the other can come.
#[test]
#[ignore = "needs root"]
fn every_mode_gives_way_to_every_other() {
    let rooms = Rooms::new().unwrap();
    let bpffs = Bpffs::new("modes").unwrap();
    for round in 0..3 {
        for (choice, mode) in MODES {
            let mut agent = rooms.open(bpffs.path(), Settings { mode: choice, ..SETTINGS }).unwrap();
            let result = rooms.attach(&mut agent, &[&rooms.veth.b]).unwrap();
            let result = &result[&rooms.link()];
            assert_eq!(result.mode, Some(mode), "round {round}: {result}");
            assert!(agent.is_attached());
        }
        // And back again, generic to native.
        let mut agent = rooms.open(bpffs.path(), SETTINGS).unwrap();
        rooms.attach(&mut agent, &[&rooms.veth.b]).unwrap();
        let generic = Settings { mode: ModeChoice::Generic, ..SETTINGS };
        let mut agent = rooms.open(bpffs.path(), generic).unwrap();
        let result = rooms.attach(&mut agent, &[&rooms.veth.b]).unwrap();
        assert_eq!(result[&rooms.link()].mode, Some(Mode::Generic), "{}", result[&rooms.link()]);
    }
    Pins::new(bpffs.path()).remove_links().unwrap();
    assert_eq!(attached(&rooms.veth.b).unwrap(), (None, None), "detached when it returns");
}
