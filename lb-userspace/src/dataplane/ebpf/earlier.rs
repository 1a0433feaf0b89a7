//! Taking over from maps of another size, or of another version of this program.
//!
//! Layouts change with the version ([`abi::VERSION`]), but some of them are kept by every version, so that whichever
//! comes next finds out what is answered, and until when, and the network hears nothing of the exchange:
//! * `AGENT[0]` begins with the deadline, flags and epoch;
//! * the keys of `VIPS_V4` and `VIPS_V6`, as long as they have the same size;
//! * an entry begins with hardware address, state, flags and slot; what has flags set is left to the version that
//!   knows them: the agent's first step writes its entry anew;
//! * `COUNTERS` are carried over when their size is the same, and begin at zero otherwise;
//! * `REFLECTORS` and `MEMBERS`, where they are and have the same layout: other nodes hear no pause either.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;
use std::path::Path;

use aya::Pod;
use aya::maps::{Map, MapData, MapInfo, MapType, PerCpuArray};
use lb_common::abi::{self, Counters, KeyV4, KeyV6, State};
use lb_core::plan::Target;

use super::super::Reflection;
use super::batch;
use super::object;
use super::reflection::ReflectionMaps;
use super::table::{self, Row};

/// What every version's entry begins with.
const ENTRY: usize = 12;
/// What every version's `AGENT[0]` begins with: deadline, flags, epoch.
const AGENT: usize = 16;
/// Where the epoch is.
const EPOCH: usize = 12;

/// What was found.
#[derive(Default)]
pub(super) struct Earlier {
    pub(super) rows: Vec<(Target, Row)>,
    /// Nanoseconds of `CLOCK_BOOTTIME`; 0 = nothing is answered.
    pub(super) valid_until: u64,
    pub(super) epoch: u32,
    pub(super) reflection: Reflection,
    /// Only if their layout is this version's.
    pub(super) counters: Option<PerCpuArray<MapData, Counters>>,
}

/// Reads the set of maps pinned in `set`, as far as it can be understood.
pub(super) fn read(set: &Path) -> io::Result<Earlier> {
    let (reflection, counters) = (reflection(set), counters(set));
    let mut earlier = Earlier { reflection, counters, ..Earlier::default() };
    if let Some((agent, width)) = open(set, abi::AGENT, MapType::Array, 4, AGENT) {
        batch::read(agent.fd().as_fd(), 4, width, |_, value| {
            earlier.valid_until = value.first_chunk().map_or(0, |bytes| u64::from_ne_bytes(*bytes));
            let epoch = value.get(EPOCH..).and_then(|rest| rest.first_chunk());
            earlier.epoch = epoch.map_or(0, |bytes| u32::from_ne_bytes(*bytes));
        })?;
    }
    each::<KeyV4>(set, abi::VIPS_V4, |key, entry| {
        let ip = Ipv4Addr::from(key.addr()).into();
        earlier.rows.extend(table::row(key.ifindex(), key.vlans(), ip, entry));
    })?;
    each::<KeyV6>(set, abi::VIPS_V6, |key, entry| {
        let ip = Ipv6Addr::from(key.addr()).into();
        earlier.rows.extend(table::row(key.ifindex(), key.vlans(), ip, entry));
    })?;
    Ok(earlier)
}

fn each<K: Pod>(set: &Path, name: &'static str, mut each: impl FnMut(&K, &abi::Entry)) -> io::Result<()> {
    let Some((map, width)) = open(set, name, MapType::Hash, size_of::<K>(), ENTRY) else { return Ok(()) };
    batch::read(map.fd().as_fd(), size_of::<K>(), width, |key, value| {
        if let (Some(key), Some(entry)) = (table::read_pod::<K>(key), entry(value)) {
            each(&key, &entry);
        }
    })
}

/// The entry that begins so, if it means the same to this version.
fn entry(value: &[u8]) -> Option<abi::Entry> {
    let begin: &[u8; ENTRY] = value.first_chunk()?;
    let [m0, m1, m2, m3, m4, m5, state, flags, slot @ ..] = *begin;
    let state = [State::Answer, State::Standby].into_iter().find(|known| *known as u8 == state)?;
    (flags == 0).then(|| abi::Entry::new([m0, m1, m2, m3, m4, m5], state, u32::from_ne_bytes(slot)))
}

/// A map of the kind and key expected and with a value of at least so many bytes, and their number.
fn open(set: &Path, name: &str, kind: MapType, key: usize, value: usize) -> Option<(MapData, usize)> {
    let map = MapData::from_pin(set.join(name)).ok()?;
    let info = map.info().ok()?;
    let width = info.value_size() as usize;
    let fits = info.map_type().ok()? == kind && info.key_size() as usize == key && width >= value;
    fits.then_some((map, width))
}

fn counters(set: &Path) -> Option<PerCpuArray<MapData, Counters>> {
    let pin = set.join(abi::COUNTERS);
    if !object::layout(abi::COUNTERS, 0).fits(&MapInfo::from_pin(&pin).ok()?) {
        return None;
    }
    PerCpuArray::try_from(Map::PerCpuArray(MapData::from_pin(&pin).ok()?)).ok()
}

/// Nothing where a map is missing, of another layout, or can't be read: then it is the agent's first step that says it.
fn reflection(set: &Path) -> Reflection {
    let open = |name| {
        let pin = set.join(name);
        let fits = object::layout(name, 0).fits(&MapInfo::from_pin(&pin).ok()?);
        fits.then(|| MapData::from_pin(&pin).ok())?
    };
    let maps = open(abi::REFLECTORS).zip(open(abi::MEMBERS));
    maps.and_then(|(own, members)| ReflectionMaps::new(own, members).read().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_of_any_length_begins_alike() {
        let known = abi::Entry::new([2, 0, 0, 0, 0, 1], State::Answer, 0x0102_0304);
        let mut bytes = vec![2, 0, 0, 0, 0, 1, State::Answer as u8, 0];
        bytes.extend(0x0102_0304_u32.to_ne_bytes());
        assert_eq!(entry(&bytes), Some(known));
        bytes.extend([9; 30]);
        assert_eq!(entry(&bytes), Some(known), "what follows is another version's");
        assert_eq!(entry(&bytes[..11]), None);
        bytes[7] = 1;
        assert_eq!(entry(&bytes), None, "a flag that this version does not know");
        (bytes[6], bytes[7]) = (9, 0);
        assert_eq!(entry(&bytes), None, "a state that this version does not know");
    }
}
