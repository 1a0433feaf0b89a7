//! Our own programs, loaded from their object without an agent.

use std::path::PathBuf;

use anyhow::{Context, Result};
use aya::maps::{Array, HashMap, MapData};
use aya::{Ebpf, EbpfLoader};
use lb_common::abi::{self, Agent, Entry, KeyV4, KeyV6, State, Vlans};

use super::plan::{self, RESPONDER};
use super::{Options, cpu};

/// Names of the programs in the object.
pub(super) const PROGRAMS: [&str; 3] = [NATIVE, "barelb_xdp_plain", TCX];
/// The XDP program.
pub(super) const NATIVE: &str = "barelb_xdp";
/// Its twin.
pub(super) const TCX: &str = "barelb_tcx";

/// Answering does not end while the benchmark runs.
const FOREVER_NS: u64 = 1 << 60;

/// The object beside the rig's.
pub(super) fn object(options: &Options) -> PathBuf {
    options.rig.with_file_name("barelb.o")
}

/// The object with `vips` addresses of each family that are answered for on `ifindex`.
pub(super) fn load(options: &Options, ifindex: u32, vips: u32) -> Result<Ebpf> {
    let path = object(options);
    let size = vips.max(16);
    let mut loader = EbpfLoader::new();
    loader.map_max_entries(abi::VIPS_V4, size).map_max_entries(abi::VIPS_V6, size);
    loader.map_max_entries(abi::COUNTERS, 2 * size);
    let loaded = loader.load_file(&path);
    let mut object =
        loaded.with_context(|| format!("cannot load {}; `cargo xtask build` makes it", path.display()))?;
    let agent = Agent { valid_until_ns: cpu::boottime_ns() + FOREVER_NS, ..Agent::default() };
    Array::try_from(map(&mut object, abi::AGENT)?)?.set(0, agent, 0)?;
    fill_v4(map(&mut object, abi::VIPS_V4)?, ifindex, vips, 0)?;
    fill_v6(map(&mut object, abi::VIPS_V6)?, ifindex, vips, vips)?;
    Ok(object)
}

/// Puts VIPs into a map of [`KeyV4`]; their slots start at `slot`.
pub(super) fn fill_v4(map: &mut aya::maps::Map, ifindex: u32, vips: u32, slot: u32) -> Result<()> {
    let mut map: HashMap<&mut MapData, KeyV4, Entry> = HashMap::try_from(map)?;
    (0..vips).try_for_each(|index| {
        let key = KeyV4::new(ifindex, Vlans::UNTAGGED, plan::vip_v4(index).octets());
        Ok(map.insert(key, Entry::new(RESPONDER, State::Answer, slot + index), 0)?)
    })
}

/// As [`fill_v4`] for [`KeyV6`].
pub(super) fn fill_v6(map: &mut aya::maps::Map, ifindex: u32, vips: u32, slot: u32) -> Result<()> {
    let mut map: HashMap<&mut MapData, KeyV6, Entry> = HashMap::try_from(map)?;
    (0..vips).try_for_each(|index| {
        let key = KeyV6::new(ifindex, Vlans::UNTAGGED, plan::vip_v6(index).octets());
        Ok(map.insert(key, Entry::new(RESPONDER, State::Answer, slot + index), 0)?)
    })
}

/// A map of an object.
pub(super) fn map<'a>(object: &'a mut Ebpf, name: &str) -> Result<&'a mut aya::maps::Map> {
    object.map_mut(name).with_context(|| format!("no map {name} in the object"))
}
