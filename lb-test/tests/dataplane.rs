//! The contract of the data plane, for the double in memory and for the kernel; and what only the kernel has: pins,
//! adoption, maps of another size, links whose device is gone, foreign programs.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use lb_core::ids::{LinkId, Mac, Vlans};
use lb_core::plan::{Changes, Entry, EntryState, Target, apply, diff};
use lb_test::link::{Interface, Veth, mac};
use lb_test::namespace::Namespace;
use lb_test::scratch::Bpffs;
use lb_userspace::dataplane::ebpf::{KernelDataplane, Pins, Settings, View};
use lb_userspace::dataplane::memory::Memory;
use lb_userspace::dataplane::{Attachment, Dataplane, LinkFacts, Mode, ModeChoice};

fn target(link: u32, ip: &str) -> Target {
    Target { link: LinkId(link), vlans: Vlans::Untagged, ip: ip.parse().unwrap() }
}

fn entry(last: u8, state: EntryState) -> Entry {
    Entry { mac: Mac([2, 0, 0, 0, 0, last]), state }
}

/// Both families and a VLAN, on `link`.
fn sample(link: u32) -> BTreeMap<Target, Entry> {
    let tagged = Target { vlans: "100.42".parse().unwrap(), ..target(link, "192.0.2.7") };
    BTreeMap::from([
        (target(link, "192.0.2.100"), entry(1, EntryState::Answer)),
        (target(link, "2001:db8::64"), entry(1, EntryState::Standby)),
        (tagged, entry(2, EntryState::Answer)),
    ])
}

/// What every data plane does.
fn contract(dataplane: &mut impl Dataplane, capacity: usize) {
    assert_eq!(dataplane.actual().unwrap(), BTreeMap::new());
    let desired = sample(1);
    let changes = diff(&desired, &dataplane.actual().unwrap());
    assert_eq!(dataplane.apply(&changes, 1).unwrap(), []);
    assert_eq!(dataplane.actual().unwrap(), desired, "what was written is read back");
    assert!(dataplane.is_untouched().unwrap());
    assert!(diff(&desired, &dataplane.actual().unwrap()).is_empty(), "a second step has nothing to do");

    let moved = BTreeMap::from([
        (target(1, "192.0.2.100"), entry(3, EntryState::Answer)),
        (target(1, "2001:db8::65"), entry(1, EntryState::Answer)),
    ]);
    let changes = diff(&moved, &dataplane.actual().unwrap());
    assert_eq!(changes.remove.len(), 2);
    dataplane.apply(&changes, 2).unwrap();
    assert_eq!(dataplane.actual().unwrap(), moved);

    let many: BTreeMap<Target, Entry> = (0..=capacity)
        .map(|i| (target(1, &format!("10.0.{}.{}", i / 256, i % 256)), entry(1, EntryState::Answer)))
        .collect();
    let changes = diff(&many, &dataplane.actual().unwrap());
    let later = 10_000_000_000;
    let left_out = dataplane.apply(&changes, later).unwrap();
    let mut expected = many;
    assert!(!left_out.is_empty(), "one more than there is room for");
    expected.retain(|target, _| !left_out.contains(target));
    assert_eq!(dataplane.actual().unwrap(), expected, "what does not fit is named, the rest is there");

    let nothing =
        Changes { remove: vec![target(9, "192.0.2.1"), target(9, "2001:db8::1")], ..Changes::default() };
    dataplane.apply(&nothing, later).unwrap();
    let mut unchanged = expected.clone();
    apply(&nothing, &mut unchanged);
    assert_eq!(dataplane.actual().unwrap(), unchanged, "removing what is not there is no error");

    dataplane.set_valid_until(42).unwrap();
    assert_eq!(dataplane.valid_until().unwrap(), 42);
}

#[test]
fn contract_in_memory() {
    contract(&mut Memory::new(64), 64);
}

const SETTINGS: Settings = Settings { max_vips: 64, mode: ModeChoice::Native };

#[test]
#[ignore = "needs root"]
fn contract_in_the_kernel() {
    let bpffs = Bpffs::new("contract").unwrap();
    contract(&mut KernelDataplane::open(bpffs.path(), SETTINGS).unwrap(), 64);
}

fn veth() -> (Namespace, Namespace, Veth) {
    let (node, client) = (Namespace::new("node").unwrap(), Namespace::new("client").unwrap());
    let veth = Veth::new((&client, "v0", mac(1)), (&node, "v1", mac(0xaa))).unwrap();
    (node, client, veth)
}

/// Facts as the agent would gather them.
fn facts(interface: &Interface, xdp: (Option<u32>, Option<u32>)) -> BTreeMap<LinkId, LinkFacts> {
    let facts = LinkFacts {
        name: interface.name().to_owned(),
        driver: "veth".to_owned(),
        strips_tags: false,
        loses_native: false,
        xdp,
    };
    BTreeMap::from([(LinkId(interface.index()), facts)])
}

fn open(node: &Namespace, bpffs: &Path, settings: Settings) -> KernelDataplane {
    node.enter(|| Ok(KernelDataplane::open(bpffs, settings)?)).unwrap()
}

fn attach(
    node: &Namespace,
    agent: &mut KernelDataplane,
    links: &BTreeMap<LinkId, LinkFacts>,
) -> BTreeMap<LinkId, Attachment> {
    node.enter(|| Ok(agent.attach(links))).unwrap()
}

/// The XDP program of the interface, by mode, as netlink tells.
fn attached(interface: &Interface) -> (Option<u32>, Option<u32>) {
    let links = interface.namespace().enter(|| Ok(lb_userspace::net::links::list()?)).unwrap();
    let xdp = links[&interface.index()].xdp;
    (xdp.native, xdp.generic)
}

/// Everything the maps say through the pins.
fn pinned(bpffs: &Path) -> BTreeMap<Target, Entry> {
    let view = View::open(Pins::new(bpffs).root()).unwrap();
    view.table.read().unwrap().rows.into_iter().map(|(target, row)| (target, row.entry)).collect()
}

#[test]
#[ignore = "needs root"]
fn a_new_agent_adopts_entries_deadline_and_link() {
    let (node, _client, veth) = veth();
    let bpffs = Bpffs::new("adopt").unwrap();
    let link = LinkId(veth.b.index());
    let entries = sample(link.0);
    let first_program = {
        let mut agent = open(&node, bpffs.path(), SETTINGS);
        agent.apply(&diff(&entries, &BTreeMap::new()), 1).unwrap();
        agent.set_valid_until(77).unwrap();
        let result = attach(&node, &mut agent, &facts(&veth.b, (None, None)));
        assert_eq!(result[&link].mode, Some(Mode::Native), "{:?}", result[&link]);
        attached(&veth.b).0.unwrap()
    };
    assert_eq!(attached(&veth.b).0, Some(first_program), "the program outlives its agent");
    assert_eq!(pinned(bpffs.path()), entries);

    let mut agent = open(&node, bpffs.path(), SETTINGS);
    assert_eq!(agent.valid_until().unwrap(), 77, "adopting does not move the deadline");
    assert_eq!(agent.actual().unwrap(), entries);
    let result = attach(&node, &mut agent, &facts(&veth.b, attached(&veth.b)));
    assert_eq!(result[&link].mode, Some(Mode::Native));
    assert_ne!(attached(&veth.b).0.unwrap(), first_program, "the program was replaced");
}

#[test]
#[ignore = "needs root"]
fn maps_of_another_size_take_over_with_their_contents() {
    let (node, _client, veth) = veth();
    let bpffs = Bpffs::new("resize").unwrap();
    let entries = sample(veth.b.index());
    {
        let mut agent = open(&node, bpffs.path(), SETTINGS);
        agent.apply(&diff(&entries, &BTreeMap::new()), 1).unwrap();
        agent.set_valid_until(88).unwrap();
        attach(&node, &mut agent, &facts(&veth.b, (None, None)));
    }
    for max_vips in [128, 32] {
        let mut agent = open(&node, bpffs.path(), Settings { max_vips, ..SETTINGS });
        assert_eq!(agent.actual().unwrap(), entries);
        assert_eq!(agent.valid_until().unwrap(), 88);
        attach(&node, &mut agent, &facts(&veth.b, attached(&veth.b)));
        drop(agent);
        let view = View::open(Pins::new(bpffs.path()).root()).unwrap();
        assert_eq!(view.max_vips, max_vips);
        assert_eq!(pinned(bpffs.path()), entries);
        assert_eq!(Pins::new(bpffs.path()).sets().len(), 1, "the maps before are unpinned");
    }
}

#[test]
#[ignore = "needs root"]
fn a_crash_between_the_steps_of_an_exchange_is_recovered() {
    let (node, _client, veth) = veth();
    let bpffs = Bpffs::new("crash").unwrap();
    let entries = sample(veth.b.index());
    let mut agent = open(&node, bpffs.path(), SETTINGS);
    agent.apply(&diff(&entries, &BTreeMap::new()), 1).unwrap();
    attach(&node, &mut agent, &facts(&veth.b, (None, None)));
    drop(agent);
    // It filled maps of another size and was killed before any link ran over them.
    drop(open(&node, bpffs.path(), Settings { max_vips: 128, ..SETTINGS }));
    assert_eq!(Pins::new(bpffs.path()).sets().len(), 2);
    let mut agent = open(&node, bpffs.path(), SETTINGS);
    assert_eq!(agent.actual().unwrap(), entries);
    assert_eq!(Pins::new(bpffs.path()).sets().len(), 1);
}

#[test]
#[ignore = "needs root"]
fn a_link_whose_device_is_gone_is_attached_anew() {
    let (node, client, veth) = veth();
    let bpffs = Bpffs::new("gone").unwrap();
    let mut agent = open(&node, bpffs.path(), SETTINGS);
    let index = veth.b.index();
    attach(&node, &mut agent, &facts(&veth.b, (None, None)));
    client.ip(&["link", "del", "v0"]).unwrap();
    // The same index again: the pin of the old link is a corpse under the name of the new one.
    let index_text = index.to_string();
    node.ip(&[
        "link",
        "add",
        "v1",
        "index",
        &index_text,
        "type",
        "veth",
        "peer",
        "name",
        "v0",
        "netns",
        client.name(),
    ])
    .unwrap();
    client.ip(&["link", "set", "v0", "up"]).unwrap();
    node.ip(&["link", "set", "v1", "up"]).unwrap();
    drop(agent);
    let mut agent = open(&node, bpffs.path(), SETTINGS);
    let facts = BTreeMap::from([(
        LinkId(index),
        LinkFacts {
            name: "v1".into(),
            driver: "veth".into(),
            strips_tags: false,
            loses_native: false,
            xdp: (None, None),
        },
    )]);
    let result = attach(&node, &mut agent, &facts);
    assert_eq!(result[&LinkId(index)].mode, Some(Mode::Native), "{:?}", result[&LinkId(index)]);
}

#[test]
#[ignore = "needs root"]
fn a_foreign_program_is_named_and_never_displaced() {
    let (node, _client, veth) = veth();
    let _foreign = lb_test::rig::PassProgram::attach(&veth.b).unwrap();
    let foreign = attached(&veth.b).0.unwrap();
    let link = LinkId(veth.b.index());
    for (mode, expected) in
        [(ModeChoice::Native, None), (ModeChoice::Generic, None), (ModeChoice::Tcx, Some(Mode::Tcx))]
    {
        let bpffs = Bpffs::new("foreign").unwrap();
        let mut agent = open(&node, bpffs.path(), Settings { mode, ..SETTINGS });
        let result = attach(&node, &mut agent, &facts(&veth.b, attached(&veth.b)));
        assert_eq!(result[&link].mode, expected, "{:?}", result[&link]);
        if expected.is_none() {
            let text = result[&link].to_string();
            assert!(text.contains(&format!("bpftool prog show id {foreign}")), "{text}");
        }
        assert_eq!(attached(&veth.b).0, Some(foreign), "still there");
    }
}

#[test]
#[ignore = "needs root"]
fn entries_from_outside_are_seen_and_removed() {
    let bpffs = Bpffs::new("outside").unwrap();
    let mut agent = KernelDataplane::open(bpffs.path(), SETTINGS).unwrap();
    let entries = sample(1);
    agent.apply(&diff(&entries, &BTreeMap::new()), 1).unwrap();
    agent.attach(&BTreeMap::new());
    assert!(agent.is_untouched().unwrap());
    let map = Pins::new(bpffs.path()).maps().join("VIPS_V4");
    let map = map.to_str().unwrap();
    // ifindex 1, untagged, 192.0.2.100: emptied from outside.
    let run = |args: &[&str]| {
        let output = std::process::Command::new("bpftool").args(args).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let key = ["key", "hex", "01", "00", "00", "00", "00", "00", "00", "00", "c0", "00", "02", "64"];
    run(&[&["map", "delete", "pinned", map][..], &key].concat());
    assert!(!agent.is_untouched().unwrap());
    let gone: IpAddr = "192.0.2.100".parse().unwrap();
    assert!(agent.actual().unwrap().keys().all(|target| target.ip != gone));
    let changes = diff(&entries, &agent.actual().unwrap());
    agent.apply(&changes, 2).unwrap();
    assert_eq!(agent.actual().unwrap(), entries, "repaired");

    let dump = run(&["map", "dump", "pinned", map]);
    for field in ["\"ifindex\"", "\"addr\"", "\"mac\"", "\"state\"", "\"slot\""] {
        assert!(dump.contains(field), "bpftool names {field}: {dump}");
    }
}
