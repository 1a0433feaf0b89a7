//! Exchanges of pinned maps: another size, another version, and crashes between any two steps of them.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use lb_core::ids::LinkId;
use lb_core::plan::{EntryState, diff};
use lb_test::kernel::{Rooms, attached, entry, facts, pinned, sample, target};
use lb_test::later;
use lb_test::link::{Veth, mac};
use lb_test::scratch::Bpffs;
use lb_userspace::dataplane::ebpf::{Pins, Settings, View};
use lb_userspace::dataplane::{Dataplane, LinkFacts, Mode, ModeChoice};

const SETTINGS: Settings = Settings { max_vips: 64, mode: ModeChoice::Native };
const LARGER: Settings = Settings { max_vips: 128, mode: ModeChoice::Native };

fn staging(bpffs: &Path) -> PathBuf {
    bpffs.join("barelb/v1-next")
}

/// Only today's set of maps is there, of this size, and holds the sample of these links.
fn assert_settled(rooms: &Rooms, bpffs: &Path, max_vips: u32) {
    let pins = Pins::new(bpffs);
    assert_eq!(pins.sets().into_iter().collect::<Vec<_>>(), [pins.maps()]);
    assert_eq!(View::open(pins.root()).unwrap().max_vips, max_vips);
    assert_eq!(pinned(bpffs).unwrap(), sample(rooms.link().0));
}

/// An agent that attached, wrote the sample, and is gone.
fn ran(rooms: &Rooms, bpffs: &Path, settings: Settings) {
    let mut agent = rooms.open(bpffs, settings).unwrap();
    let changes = diff(&sample(rooms.link().0), &agent.actual().unwrap());
    agent.apply(&changes, 1).unwrap();
    agent.set_valid_until(88).unwrap();
    let result = rooms.attach(&mut agent, &[&rooms.veth.b]).unwrap();
    assert_eq!(result[&rooms.link()].mode, Some(Mode::Native), "{}", result[&rooms.link()]);
}

#[test]
#[ignore = "needs root"]
fn maps_of_another_size_take_over_with_their_contents() {
    let rooms = Rooms::new().unwrap();
    let bpffs = Bpffs::new("resize").unwrap();
    ran(&rooms, bpffs.path(), SETTINGS);
    for max_vips in [128, 32] {
        let mut agent = rooms.open(bpffs.path(), Settings { max_vips, ..SETTINGS }).unwrap();
        assert_eq!(agent.actual().unwrap(), sample(rooms.link().0));
        assert_eq!(agent.valid_until().unwrap(), 88);
        rooms.attach(&mut agent, &[&rooms.veth.b]).unwrap();
        drop(agent);
        assert_settled(&rooms, bpffs.path(), max_vips);
    }
}

#[test]
#[ignore = "needs root"]
fn maps_of_a_later_version_are_taken_over_from_by_their_beginnings() {
    let rooms = Rooms::new().unwrap();
    let bpffs = Bpffs::new("later").unwrap();
    let pins = Pins::new(bpffs.path());
    ran(&rooms, bpffs.path(), SETTINGS);
    for _ in 0..2 {
        later::take_over(bpffs.path()).unwrap();
        assert_eq!(pins.sets().into_iter().collect::<Vec<_>>(), [pins.root().join("v2")]);
        let theirs = attached(&rooms.veth.b).unwrap();

        let mut agent = rooms.open(bpffs.path(), SETTINGS).unwrap();
        assert_eq!(attached(&rooms.veth.b).unwrap(), theirs, "opening changes nothing that answers");
        assert_eq!(agent.actual().unwrap(), sample(rooms.link().0), "nothing is to be announced");
        assert_eq!(agent.valid_until().unwrap(), 88, "nor is anything silent for a moment");
        let result = rooms.attach(&mut agent, &[&rooms.veth.b]).unwrap();
        assert_eq!(result[&rooms.link()].mode, Some(Mode::Native), "{}", result[&rooms.link()]);
        drop(agent);
        assert_settled(&rooms, bpffs.path(), SETTINGS.max_vips);
    }
}

/// The later version was killed before it removed today's maps, whose content is old by now.
#[test]
#[ignore = "needs root"]
fn maps_that_no_link_runs_over_are_not_adopted() {
    let rooms = Rooms::new().unwrap();
    let bpffs = Bpffs::new("stale").unwrap();
    let pins = Pins::new(bpffs.path());
    // Stale maps come from an agent that never attached; made first, put aside, put back.
    {
        let mut agent = rooms.open(bpffs.path(), SETTINGS).unwrap();
        let stale = BTreeMap::from([(target(rooms.link().0, "192.0.2.66"), entry(9, EntryState::Answer))]);
        agent.apply(&diff(&stale, &BTreeMap::new()), 1).unwrap();
        agent.set_valid_until(u64::MAX).unwrap();
        rooms.attach(&mut agent, &[]).unwrap();
    }
    let aside = bpffs.path().join("aside");
    fs::rename(pins.maps(), &aside).unwrap();
    ran(&rooms, bpffs.path(), SETTINGS);
    later::take_over(bpffs.path()).unwrap();
    fs::rename(&aside, pins.maps()).unwrap();

    let mut agent = rooms.open(bpffs.path(), SETTINGS).unwrap();
    assert_eq!(agent.actual().unwrap(), sample(rooms.link().0), "what answers now counts");
    assert_eq!(agent.valid_until().unwrap(), 88);
    rooms.attach(&mut agent, &[&rooms.veth.b]).unwrap();
    drop(agent);
    assert_settled(&rooms, bpffs.path(), SETTINGS.max_vips);
}

#[test]
#[ignore = "needs root"]
fn killed_before_any_link_ran_over_the_new_maps() {
    let rooms = Rooms::new().unwrap();
    let bpffs = Bpffs::new("crash-before").unwrap();
    ran(&rooms, bpffs.path(), SETTINGS);
    drop(rooms.open(bpffs.path(), LARGER).unwrap());
    assert!(staging(bpffs.path()).exists());
    drop(rooms.open(bpffs.path(), SETTINGS).unwrap());
    assert_settled(&rooms, bpffs.path(), SETTINGS.max_vips);
}

#[test]
#[ignore = "needs root"]
fn killed_between_removing_the_old_maps_and_naming_the_new_ones() {
    let rooms = Rooms::new().unwrap();
    let bpffs = Bpffs::new("crash-named").unwrap();
    ran(&rooms, bpffs.path(), LARGER);
    fs::rename(Pins::new(bpffs.path()).maps(), staging(bpffs.path())).unwrap();
    drop(rooms.open(bpffs.path(), LARGER).unwrap());
    assert_settled(&rooms, bpffs.path(), LARGER.max_vips);
}

/// Of two links one runs over the new maps, the other over the old ones.
#[test]
#[ignore = "needs root"]
fn killed_with_some_of_the_links_switched() {
    let rooms = Rooms::new().unwrap();
    let second = Veth::new((&rooms.client, "w0", mac(2)), (&rooms.node, "w1", mac(0xbb))).unwrap();
    let (a, b) = (rooms.link(), LinkId(second.b.index()));
    let bpffs = Bpffs::new("crash-some").unwrap();
    let pins = Pins::new(bpffs.path());
    {
        let mut agent = rooms.open(bpffs.path(), SETTINGS).unwrap();
        agent.apply(&diff(&sample(a.0), &BTreeMap::new()), 1).unwrap();
        agent.set_valid_until(88).unwrap();
        rooms.attach(&mut agent, &[&rooms.veth.b, &second.b]).unwrap();
    }
    let old = attached(&second.b).unwrap().0.unwrap();
    // The second link is out of sight while the first is switched; then the folders are as they were in between.
    let (hidden, maps) = (bpffs.path().join("hidden"), bpffs.path().join("maps"));
    fs::rename(pins.link(b), &hidden).unwrap();
    {
        let mut agent = rooms.open(bpffs.path(), LARGER).unwrap();
        rooms.attach(&mut agent, &[&rooms.veth.b]).unwrap();
    }
    fs::rename(&hidden, pins.link(b)).unwrap();
    fs::rename(pins.maps(), staging(bpffs.path())).unwrap();
    // Maps of the old size, whose programs run nowhere: as good as the old set, of which only the pins are looked at.
    drop(rooms.open(&maps_root(&maps), SETTINGS).unwrap());
    fs::rename(maps.join("barelb/v1-next"), pins.maps()).unwrap();

    let mut agent = rooms.open(bpffs.path(), LARGER).unwrap();
    assert_settled(&rooms, bpffs.path(), LARGER.max_vips);
    let switched = attached(&rooms.veth.b).unwrap().0.unwrap();
    assert_eq!(attached(&second.b).unwrap().0, Some(old), "the second link still answers by the old program");
    let result = rooms.attach(&mut agent, &[&rooms.veth.b, &second.b]).unwrap();
    assert!(result.values().all(|attachment| attachment.mode == Some(Mode::Native)), "{result:?}");
    assert!(agent.is_attached());
    let now = (attached(&rooms.veth.b).unwrap().0.unwrap(), attached(&second.b).unwrap().0.unwrap());
    assert_eq!(now.0, now.1, "both run the new agent's program");
    assert!(now.0 != switched && now.1 != old);
}

fn maps_root(folder: &Path) -> PathBuf {
    fs::create_dir(folder).unwrap();
    folder.to_owned()
}

/// The link was pinned under its first name only: it is ours, goes on answering, and is adopted.
#[test]
#[ignore = "needs root"]
fn killed_between_pin_and_rename_of_the_only_link() {
    let rooms = Rooms::new().unwrap();
    let bpffs = Bpffs::new("crash-pin").unwrap();
    let pins = Pins::new(bpffs.path());
    ran(&rooms, bpffs.path(), SETTINGS);
    let new = pins.link(rooms.link()).with_file_name(format!("{}-new", rooms.link().0));
    fs::rename(pins.link(rooms.link()), &new).unwrap();
    let before = attached(&rooms.veth.b).unwrap();

    let mut agent = rooms.open(bpffs.path(), SETTINGS).unwrap();
    assert_eq!(attached(&rooms.veth.b).unwrap(), before, "it answers on");
    let result = rooms.attach(&mut agent, &[&rooms.veth.b]).unwrap();
    assert_eq!(result[&rooms.link()].mode, Some(Mode::Native), "{}", result[&rooms.link()]);
    assert!(!new.exists() && agent.is_attached());
}

/// A link in another mode was pinned beside the one before.
#[test]
#[ignore = "needs root"]
fn killed_between_pin_and_rename_of_a_second_link() {
    let rooms = Rooms::new().unwrap();
    let bpffs = Bpffs::new("crash-beside").unwrap();
    let pins = Pins::new(bpffs.path());
    ran(&rooms, bpffs.path(), SETTINGS);
    let (path, hidden) = (pins.link(rooms.link()), bpffs.path().join("hidden"));
    fs::rename(&path, &hidden).unwrap();
    {
        let tcx = LinkFacts { strips_tags: true, ..facts(&rooms.veth.b).unwrap() };
        let mut agent = rooms.open(bpffs.path(), SETTINGS).unwrap();
        let result = rooms.attach_with(&mut agent, &BTreeMap::from([(rooms.link(), tcx)])).unwrap();
        assert_eq!(result[&rooms.link()].mode, Some(Mode::Tcx), "{}", result[&rooms.link()]);
    }
    let new = path.with_file_name(format!("{}-new", rooms.link().0));
    fs::rename(&path, &new).unwrap();
    fs::rename(&hidden, &path).unwrap();

    let mut agent = rooms.open(bpffs.path(), SETTINGS).unwrap();
    assert!(!new.exists(), "only one of them stays");
    let result = rooms.attach(&mut agent, &[&rooms.veth.b]).unwrap();
    assert_eq!(result[&rooms.link()].mode, Some(Mode::Native), "{}", result[&rooms.link()]);
    let shown = rooms.node.exec("bpftool", &["net", "show", "dev", "v1"]).unwrap();
    assert!(!shown.contains("tcx"), "{shown}");
}

#[test]
#[ignore = "needs root"]
fn removing_all_takes_half_made_links_too() {
    let rooms = Rooms::new().unwrap();
    let bpffs = Bpffs::new("remove-all").unwrap();
    let pins = Pins::new(bpffs.path());
    ran(&rooms, bpffs.path(), SETTINGS);
    let new = pins.link(rooms.link()).with_file_name(format!("{}-new", rooms.link().0));
    fs::rename(pins.link(rooms.link()), new).unwrap();
    pins.remove_all().unwrap();
    pins.remove_folders().unwrap();
    assert!(!pins.root().exists());
    assert_eq!(attached(&rooms.veth.b).unwrap(), (None, None));
}
