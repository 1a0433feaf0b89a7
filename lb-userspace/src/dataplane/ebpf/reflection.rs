//! The maps `REFLECTORS` and `MEMBERS`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::os::fd::AsFd;

use aya::Pod;
use aya::maps::MapData;
use lb_common::abi::{self, KeyStation, Member, Reflector};
use lb_core::ids::{LinkId, Mac};

use super::super::reflection::room;
use super::super::{DataplaneError, Reflecting, Reflection};
use super::counts::address;
use super::table::read_pod;
use super::{batch, view};

/// Both maps. On the heap: whoever holds a data plane is moved about, and parts of it are large.
#[derive(Debug)]
pub(super) struct ReflectionMaps {
    own: Box<MapData>,
    members: Box<MapData>,
}

impl ReflectionMaps {
    pub(super) fn new(own: MapData, members: MapData) -> Self {
        Self { own: Box::new(own), members: Box::new(members) }
    }

    /// The maps, opened once more.
    pub(super) fn again(&self) -> Result<Self, DataplaneError> {
        let own = view::again(&self.own, abi::REFLECTORS)?;
        Ok(Self::new(own, view::again(&self.members, abi::MEMBERS)?))
    }

    /// What they say.
    pub(super) fn read(&self) -> Result<Reflection, DataplaneError> {
        let own = read::<Reflector>(&self.own, abi::REFLECTORS)?;
        let members = read::<Member>(&self.members, abi::MEMBERS)?;
        Ok(Reflection {
            own: own.iter().map(|(key, value)| (station(key), reflecting(*value))).collect(),
            members: members.iter().map(|(key, value)| (station(key), Mac(*value.mac()))).collect(),
        })
    }

    /// Makes them say this: removals first, and nothing written that is there already, so that what the program counts
    /// stays. As many as there is room for, in order.
    pub(super) fn write(&self, reflection: &Reflection) -> Result<(), DataplaneError> {
        let own = reflection.own.iter();
        let own: Vec<_> =
            own.map(|(at, said)| (key(at), Reflector::new(said.discriminator, said.up))).collect();
        let members = reflection.members.iter();
        let members: Vec<_> = members.map(|(at, mac)| (key(at), Member::new(mac.0))).collect();
        let (own_room, members_room) = (abi::MAX_REFLECTORS as usize, abi::MAX_MEMBERS as usize);
        bring(&self.own, abi::REFLECTORS, fitting(&own, own_room), |is, wanted| is == wanted)?;
        bring(&self.members, abi::MEMBERS, fitting(&members, members_room), |is, wanted| {
            is.is_canonical() && is.mac() == wanted.mac()
        })?;
        room(abi::REFLECTORS, own.len(), own_room)?;
        room(abi::MEMBERS, members.len(), members_room)
    }
}

fn fitting<V>(wanted: &[(KeyStation, V)], room: usize) -> &[(KeyStation, V)] {
    wanted.get(..room).unwrap_or(wanted)
}

/// Makes a map hold what is wanted.
fn bring<V: Pod>(
    map: &MapData,
    name: &'static str,
    wanted: &[(KeyStation, V)],
    same: impl Fn(&V, &V) -> bool,
) -> Result<(), DataplaneError> {
    let actual = read::<V>(map, name)?;
    let keep: BTreeSet<KeyStation> = wanted.iter().map(|(key, _)| *key).collect();
    let gone: Vec<KeyStation> = actual.keys().filter(|key| !keep.contains(key)).copied().collect();
    let differs = |(key, value): &&(KeyStation, V)| actual.get(key).is_none_or(|is| !same(is, value));
    let (keys, values): (Vec<KeyStation>, Vec<V>) = wanted.iter().filter(differs).copied().unzip();
    let failed = |action| move |source| DataplaneError::Syscall { action, map: name, source };
    batch::delete(map.fd().as_fd(), &gone).map_err(failed("remove from"))?;
    batch::update(map.fd().as_fd(), &keys, &values).map_err(failed("write to"))
}

fn read<V: Pod>(map: &MapData, name: &'static str) -> Result<BTreeMap<KeyStation, V>, DataplaneError> {
    let mut found = BTreeMap::new();
    batch::read(map.fd().as_fd(), size_of::<KeyStation>(), size_of::<V>(), |key, value| {
        if let (Some(key), Some(value)) = (read_pod(key), read_pod(value)) {
            found.insert(key, value);
        }
    })
    .map_err(|source| DataplaneError::Syscall { action: "read", map: name, source })?;
    Ok(found)
}

fn station(key: &KeyStation) -> (LinkId, IpAddr) {
    (LinkId(key.ifindex()), address(key.addr()))
}

fn key((link, ip): &(LinkId, IpAddr)) -> KeyStation {
    KeyStation::at(link.0, *ip)
}

fn reflecting(value: Reflector) -> Reflecting {
    Reflecting { discriminator: u32::from_be_bytes(*value.discriminator()), up: value.is_up() }
}
