//! Another version of this program, as far as its pins go: other layouts in a folder of their own.
//!
//! A later version is what today's will meet when somebody goes back to it, so it is made by hand from what every
//! version keeps (`dataplane/ebpf/earlier.rs`): entries are longer, counters are longer, what the agent says is longer.
//! The program in the kernel is today's, which reads the beginning of an entry and does not care what follows.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use aya::EbpfLoader;
use aya::maps::{Array, HashMap, Map, MapData};
use aya::programs::Xdp;
use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::xdp::XdpLink;
use lb_common::abi;

use crate::conformance::responder::bpf_object;
use crate::run;

/// Version of the layouts made here.
pub const VERSION: u32 = abi::VERSION + 1;
/// Bytes of an entry, sixteen more than today's.
const ENTRY: usize = size_of::<abi::Entry>() + 16;
/// Bytes of what the agent says.
const AGENT: usize = size_of::<abi::Agent>() + 8;
/// Bytes of the counters of an address.
const COUNTERS: usize = size_of::<abi::Counters>() + 24;
/// Size of the maps.
const MAX_VIPS: usize = 1024;
/// What this version does not know the meaning of.
const UNKNOWN: u8 = 0xa5;

/// Does what an agent of that version does when it finds today's pins: fills maps of its own, updates the links in one
/// step each, and removes the pins of today's maps. No agent must be running.
pub fn take_over(bpffs: &Path) -> Result<()> {
    let root = bpffs.join("barelb");
    let (before, own) = (root.join(format!("v{}", abi::VERSION)), root.join(format!("v{VERSION}")));
    fs::create_dir_all(&own)?;
    create(&own, abi::VIPS_V4, "hash", (size_of::<abi::KeyV4>(), ENTRY), MAX_VIPS)?;
    create(&own, abi::VIPS_V6, "hash", (size_of::<abi::KeyV6>(), ENTRY), MAX_VIPS)?;
    create(&own, abi::COUNTERS, "percpu_array", (4, COUNTERS), MAX_VIPS)?;
    create(&own, abi::AGENT, "array", (4, AGENT), 1)?;
    let mut loader = EbpfLoader::new();
    let maps = [abi::VIPS_V4, abi::VIPS_V6, abi::COUNTERS, abi::OUTCOMES, abi::AGENT, abi::EVENTS];
    for map in maps.into_iter().chain([abi::REFLECTORS, abi::MEMBERS]) {
        loader.map_pin_path(map, own.join(map));
    }
    let mut object = loader.load_file(bpf_object()).context("loading the object over longer maps")?;
    let program: &mut Xdp = object.program_mut("barelb_xdp").context("no barelb_xdp")?.try_into()?;
    program.load()?;
    program.pin(own.join("prog_xdp"))?;

    copy::<{ size_of::<abi::KeyV4>() }>(&before, &own, abi::VIPS_V4)?;
    copy::<{ size_of::<abi::KeyV6>() }>(&before, &own, abi::VIPS_V6)?;
    let old: Array<MapData, [u8; size_of::<abi::Agent>()]> =
        Array::try_from(Map::Array(MapData::from_pin(before.join(abi::AGENT))?))?;
    let mut new: Array<MapData, [u8; AGENT]> =
        Array::try_from(Map::Array(MapData::from_pin(own.join(abi::AGENT))?))?;
    let mut said = [UNKNOWN; AGENT];
    said[..size_of::<abi::Agent>()].copy_from_slice(&old.get(&0, 0)?);
    new.set(0, said, 0)?;

    for link in fs::read_dir(root.join("links"))? {
        let link = XdpLink::try_from(FdLink::from(PinnedLink::from_pin(link?.path())?))?;
        let attached = program.attach_to_link(link)?;
        // Its pin holds it.
        drop(program.take_link(attached)?);
    }
    for pin in fs::read_dir(&before)? {
        fs::remove_file(pin?.path())?;
    }
    fs::remove_dir(&before).context("removing the folder of today's maps")
}

fn create(folder: &Path, name: &str, kind: &str, (key, value): (usize, usize), entries: usize) -> Result<()> {
    let mut command = Command::new("bpftool");
    command.args(["map", "create"]).arg(folder.join(name)).args(["type", kind, "name", name]);
    for (what, bytes) in [("key", key), ("value", value), ("entries", entries)] {
        command.args([what, &bytes.to_string()]);
    }
    run::output(&mut command).map(drop)
}

/// Entry by entry, the new bytes set to something today's version can't know.
fn copy<const KEY: usize>(before: &Path, own: &Path, name: &str) -> Result<()> {
    let open = |folder: &Path| Ok::<_, anyhow::Error>(Map::HashMap(MapData::from_pin(folder.join(name))?));
    let old: HashMap<MapData, [u8; KEY], [u8; size_of::<abi::Entry>()]> = HashMap::try_from(open(before)?)?;
    let mut new: HashMap<MapData, [u8; KEY], [u8; ENTRY]> = HashMap::try_from(open(own)?)?;
    for item in &old {
        let (key, short) = item?;
        let mut long = [UNKNOWN; ENTRY];
        long[..short.len()].copy_from_slice(&short);
        new.insert(key, long, 0)?;
    }
    Ok(())
}
