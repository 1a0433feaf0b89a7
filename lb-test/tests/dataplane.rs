//! The contract of the data plane, for the double in memory and for the kernel; and what somebody else does to the
//! kernel's maps. Its links are in `dataplane_links.rs`, exchanges of maps in `dataplane_exchange.rs`.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;
use std::process::Command;

use lb_common::abi;
use lb_core::ids::{LinkId, Mac};
use lb_core::plan::{Changes, Entry, EntryState, Target, apply, diff};
use lb_test::kernel::{entry, sample, target};
use lb_test::link::mac;
use lb_test::scratch::Bpffs;
use lb_userspace::dataplane::ebpf::{KernelDataplane, Pins, Settings, View};
use lb_userspace::dataplane::memory::Memory;
use lb_userspace::dataplane::{Dataplane, ModeChoice, Reflecting, Reflection};

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

    assert_eq!(dataplane.epoch().unwrap(), 0);
    dataplane.set_epoch(7).unwrap();
    dataplane.set_valid_until(42).unwrap();
    assert_eq!(
        (dataplane.valid_until().unwrap(), dataplane.epoch().unwrap()),
        (42, 7),
        "neither moves the other"
    );
    dataplane.set_epoch(u32::MAX).unwrap();
    assert_eq!((dataplane.valid_until().unwrap(), dataplane.epoch().unwrap()), (42, u32::MAX));

    dataplane.reflect(&members(16)).unwrap();
    let error = dataplane.reflect(&members(abi::MAX_MEMBERS + 1)).unwrap_err().to_string();
    assert!(error.contains("MEMBERS has room for 4096 of 4097"), "{error}");
    dataplane.reflect(&members(abi::MAX_MEMBERS)).unwrap();
    dataplane.reflect(&Reflection::default()).unwrap();
}

/// So many stations of both families that may probe two addresses.
fn members(count: u32) -> Reflection {
    let ip = |n: u32| match n % 2 {
        0 => IpAddr::from(n.to_be_bytes()),
        _ => IpAddr::from(u128::from(n).to_be_bytes()),
    };
    let said = Reflecting { discriminator: 1, up: true };
    Reflection {
        own: [1, 2].map(|n| ((LinkId(1), ip(n)), said)).into(),
        members: (0..count).map(|n| ((LinkId(1), ip(n)), Mac(mac(1)))).collect(),
    }
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

fn bpftool(args: &[&str]) -> String {
    let output = Command::new("bpftool").args(args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A data plane that holds [`sample`] on link 1.
fn filled(bpffs: &Path) -> (KernelDataplane, BTreeMap<Target, Entry>) {
    let mut agent = KernelDataplane::open(bpffs, SETTINGS).unwrap();
    let entries = sample(1);
    agent.apply(&diff(&entries, &BTreeMap::new()), 1).unwrap();
    agent.attach(&BTreeMap::new());
    assert!(agent.is_untouched().unwrap());
    (agent, entries)
}

/// Untagged 192.0.2.`last` on link 1, as bpftool wants it.
fn key(last: u8) -> Vec<String> {
    [1, 0, 0, 0, 0, 0, 0, 0, 192, 0, 2, last].iter().map(|byte: &u8| format!("{byte:#04x}")).collect()
}

/// Writes the entry of 192.0.2.`last` from outside: 02:00:00:00:00:01, answer, this slot, and a last byte.
fn write(bpffs: &Path, last: u8, slot: u32, last_byte: u8) {
    let map = Pins::new(bpffs).maps().join("VIPS_V4");
    let mut value = vec![2, 0, 0, 0, 0, 1, 1, 0];
    value.extend(slot.to_ne_bytes());
    value.resize(23, 0);
    value.push(last_byte);
    let value = value.iter().map(|byte| format!("{byte:#04x}"));
    let words: Vec<String> = key(last).into_iter().chain(["value".to_owned()]).chain(value).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    bpftool(&[&["map", "update", "pinned", map.to_str().unwrap(), "key"], &words[..]].concat());
}

fn slots(bpffs: &Path) -> BTreeMap<IpAddr, u32> {
    let view = View::open(Pins::new(bpffs).root()).unwrap();
    view.table.read().unwrap().rows.iter().map(|(target, row)| (target.ip, row.slot)).collect()
}

#[test]
#[ignore = "needs root"]
fn entries_from_outside_are_seen_and_removed() {
    let bpffs = Bpffs::new("outside").unwrap();
    let (mut agent, entries) = filled(bpffs.path());
    let map = Pins::new(bpffs.path()).maps().join("VIPS_V4");
    let map = map.to_str().unwrap();
    let key = key(100);
    let key: Vec<&str> = key.iter().map(String::as_str).collect();
    bpftool(&[&["map", "delete", "pinned", map, "key"], &key[..]].concat());
    assert!(!agent.is_untouched().unwrap());
    let gone: IpAddr = "192.0.2.100".parse().unwrap();
    assert!(agent.actual().unwrap().keys().all(|target| target.ip != gone));
    let changes = diff(&entries, &agent.actual().unwrap());
    agent.apply(&changes, 2).unwrap();
    assert_eq!(agent.actual().unwrap(), entries, "repaired");

    let dump = bpftool(&["map", "dump", "pinned", map]);
    for field in ["\"ifindex\"", "\"addr\"", "\"mac\"", "\"state\"", "\"slot\""] {
        assert!(dump.contains(field), "bpftool names {field}: {dump}");
    }
}

#[test]
#[ignore = "needs root"]
fn slots_from_outside_are_put_back() {
    let bpffs = Bpffs::new("slots").unwrap();
    let (mut agent, entries) = filled(bpffs.path());
    let before = slots(bpffs.path());
    for slot in [1, 63, 64, u32::MAX] {
        write(bpffs.path(), 100, slot, 0);
        if slots(bpffs.path()) == before {
            continue;
        }
        assert!(!agent.is_untouched().unwrap(), "slot {slot}");
        assert_eq!(agent.actual().unwrap(), entries, "nothing else has changed");
        assert_eq!(slots(bpffs.path()), before, "slot {slot} was put back");
        assert!(agent.is_untouched().unwrap());
    }
}

#[test]
#[ignore = "needs root"]
fn no_two_addresses_count_in_one_slot_and_garbage_goes() {
    let bpffs = Bpffs::new("garbage").unwrap();
    let (agent, entries) = filled(bpffs.path());
    drop(agent);
    // Somebody else's entries, met by an agent that starts: a slot in use, one out of range, and no entry of ours at all.
    write(bpffs.path(), 101, slots(bpffs.path())[&"192.0.2.100".parse::<IpAddr>().unwrap()], 0);
    write(bpffs.path(), 102, u32::MAX, 0);
    write(bpffs.path(), 103, 5, 9);
    let mut agent = KernelDataplane::open(bpffs.path(), SETTINGS).unwrap();
    let mut expected = entries;
    for last in ["192.0.2.101", "192.0.2.102"] {
        expected.insert(target(1, last), entry(1, EntryState::Answer));
    }
    assert_eq!(agent.actual().unwrap(), expected);
    assert!(agent.is_untouched().unwrap());
    let slots: Vec<u32> = slots(bpffs.path()).into_values().collect();
    assert_eq!(slots.iter().collect::<BTreeSet<_>>().len(), expected.len(), "{slots:?}");
    assert!(slots.iter().all(|slot| *slot < SETTINGS.max_vips), "{slots:?}");
}

#[test]
#[ignore = "needs root"]
fn maps_of_another_layout_are_not_read() {
    let bpffs = Bpffs::new("layout").unwrap();
    drop(filled(bpffs.path()));
    let pins = Pins::new(bpffs.path());
    for (name, kind, key, value) in [
        ("VIPS_V6", "hash", "24", "32"),
        ("VIPS_V4", "hash", "16", "24"),
        ("AGENT", "array", "4", "32"),
        ("COUNTERS", "percpu_array", "4", "8"),
        ("OUTCOMES", "array", "4", "8"),
        ("REFLECTORS", "hash", "24", "16"),
        ("MEMBERS", "hash", "20", "24"),
    ] {
        let pin = pins.maps().join(name);
        let aside = pins.root().join("aside");
        std::fs::rename(&pin, &aside).unwrap();
        let create = ["map", "create", pin.to_str().unwrap(), "type", kind, "name", name];
        bpftool(&[&create[..], &["key", key, "value", value, "entries", "64"]].concat());
        let error = View::open(pins.root()).err().unwrap().to_string();
        assert!(error.contains(name) && error.contains("another layout"), "{name}: {error}");
        std::fs::remove_file(&pin).unwrap();
        std::fs::rename(&aside, &pin).unwrap();
    }
    assert!(View::open(pins.root()).is_ok());
}
