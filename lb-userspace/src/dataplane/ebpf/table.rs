//! The two hash maps as one table of lb-core's targets and entries.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, BorrowedFd};

use aya::Pod;
use aya::maps::MapData;
use lb_common::abi::{self, KeyV4, KeyV6, State};
use lb_core::ids::{LinkId, Mac, Vlans};
use lb_core::plan::{Entry, EntryState, Target};

use super::super::{Audit, DataplaneError};
use super::batch::{self, Walk};
use super::digest::{Digest, Scan, mix};
use super::view;

/// The maps `VIPS_V4` and `VIPS_V6`.
#[derive(Debug)]
pub struct Table {
    v4: MapData,
    v6: MapData,
}

/// An entry with its slot of `COUNTERS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// What it says.
    pub entry: Entry,
    /// Where it counts.
    pub slot: u32,
}

/// What a read found: rows of ours, and keys whose entry no version of ours would have written.
#[derive(Debug, Default)]
pub struct Rows {
    /// Entries this version understands.
    pub rows: BTreeMap<Target, Row>,
    /// Keys of entries that make no sense: they are removed.
    pub odd_v4: Vec<KeyV4>,
    /// As `odd_v4`, IPv6.
    pub odd_v6: Vec<KeyV6>,
    /// Digest of the raw contents.
    pub(super) digest: Digest,
}

impl Table {
    pub(super) fn new(v4: MapData, v6: MapData) -> Self {
        Self { v4, v6 }
    }

    /// The maps, opened once more.
    pub(super) fn again(&self) -> Result<Self, DataplaneError> {
        Ok(Self { v4: view::again(&self.v4, abi::VIPS_V4)?, v6: view::again(&self.v6, abi::VIPS_V6)? })
    }

    /// Reads everything.
    pub fn read(&self) -> Result<Rows, DataplaneError> {
        let mut rows = Rows::default();
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        let mut digest = Digest::default();
        self.each::<KeyV4>(&mut digest, |key, entry| {
            match row(key.ifindex(), key.vlans(), Ipv4Addr::from(key.addr()).into(), entry) {
                Some(row) => v4.push(row),
                None => rows.odd_v4.push(*key),
            }
        })?;
        self.each::<KeyV6>(&mut digest, |key, entry| {
            match row(key.ifindex(), key.vlans(), Ipv6Addr::from(key.addr()).into(), entry) {
                Some(row) => v6.push(row),
                None => rows.odd_v6.push(*key),
            }
        })?;
        // Collected at once, a map is built without gaps.
        rows.rows = v4.into_iter().chain(v6).collect();
        rows.digest = digest;
        Ok(rows)
    }

    /// What changes when any entry does, without building anything.
    pub(super) fn digest(&self) -> Result<Digest, DataplaneError> {
        let mut digest = Digest::default();
        self.each::<KeyV4>(&mut digest, |_, _| {})?;
        self.each::<KeyV6>(&mut digest, |_, _| {})?;
        Ok(digest)
    }

    /// Looks at the next part of the table.
    pub(super) fn audit(&self, scan: &mut Scan, digest: &Digest) -> Result<Audit, DataplaneError> {
        let mut part = 0_u64;
        let more = match scan.map {
            0 => self.part::<KeyV4>(&mut scan.walk, |key, entry| part = part.wrapping_add(mix(key, entry))),
            _ => self.part::<KeyV6>(&mut scan.walk, |key, entry| part = part.wrapping_add(mix(key, entry))),
        }?;
        let last = !more && scan.map > 0;
        scan.map += usize::from(!more);
        Ok(match (scan.compare(digest, part, last), last) {
            (false, _) => Audit::Changed,
            (true, true) => Audit::Whole,
            (true, false) => Audit::Part,
        })
    }

    /// Inserts or replaces.
    pub(super) fn write(&self, rows: &[(Target, Row)]) -> Result<(), DataplaneError> {
        let (v4, v6) = keys(rows.iter().map(|(target, _)| target));
        let value = |(_, row): &(Target, Row)| value(row);
        let (mut values_v4, mut values_v6) = (Vec::new(), Vec::new());
        for row in rows {
            if row.0.ip.is_ipv4() { values_v4.push(value(row)) } else { values_v6.push(value(row)) }
        }
        batch::update(self.v4.fd().as_fd(), &v4, &values_v4).map_err(failed("write to", abi::VIPS_V4))?;
        batch::update(self.v6.fd().as_fd(), &v6, &values_v6).map_err(failed("write to", abi::VIPS_V6))
    }

    /// Removes; what is not there is no error.
    pub(super) fn remove(&self, targets: &[Target]) -> Result<(), DataplaneError> {
        let (v4, v6) = keys(targets.iter());
        self.remove_keys(&v4, &v6)
    }

    pub(super) fn remove_keys(&self, v4: &[KeyV4], v6: &[KeyV6]) -> Result<(), DataplaneError> {
        batch::delete(self.v4.fd().as_fd(), v4).map_err(failed("remove from", abi::VIPS_V4))?;
        batch::delete(self.v6.fd().as_fd(), v6).map_err(failed("remove from", abi::VIPS_V6))
    }

    /// Calls `each` with every entry, and adds the digest of each part.
    fn each<K: Key>(
        &self,
        digest: &mut Digest,
        mut each: impl FnMut(&K, &abi::Entry),
    ) -> Result<(), DataplaneError> {
        let mut walk = Walk::default();
        loop {
            let mut part = 0_u64;
            let more = self.part::<K>(&mut walk, |key, entry| {
                part = part.wrapping_add(mix(key, entry));
                if let (Some(k), Some(e)) = (read_pod::<K>(key), read_pod::<abi::Entry>(entry)) {
                    each(&k, &e);
                }
            })?;
            digest.push(part);
            if !more {
                return Ok(());
            }
        }
    }

    fn part<K: Key>(&self, walk: &mut Walk, each: impl FnMut(&[u8], &[u8])) -> Result<bool, DataplaneError> {
        let (map, name) = K::map(self);
        walk.part(map, (size_of::<K>(), size_of::<abi::Entry>()), each).map_err(failed("read", name))
    }
}

/// A key type knows its map.
trait Key: Pod {
    fn map(table: &Table) -> (BorrowedFd<'_>, &'static str);
}

impl Key for KeyV4 {
    fn map(table: &Table) -> (BorrowedFd<'_>, &'static str) {
        (table.v4.fd().as_fd(), abi::VIPS_V4)
    }
}

impl Key for KeyV6 {
    fn map(table: &Table) -> (BorrowedFd<'_>, &'static str) {
        (table.v6.fd().as_fd(), abi::VIPS_V6)
    }
}

/// The value whose bytes these are, if the length fits.
#[expect(unsafe_code, reason = "raw map bytes become a Pod value")]
pub(super) fn read_pod<T: Pod>(bytes: &[u8]) -> Option<T> {
    if bytes.len() != size_of::<T>() {
        return None;
    }
    // SAFETY: the length is that of T, and any bytes are a valid Pod; the read may be unaligned.
    Some(unsafe { std::ptr::read_unaligned(bytes.as_ptr().cast::<T>()) })
}

/// The row of an entry, unless no version of ours would have written it.
pub(super) fn row(ifindex: u32, vlans: abi::Vlans, ip: IpAddr, entry: &abi::Entry) -> Option<(Target, Row)> {
    let vlans = Vlans::from_ids(vlans.outer(), vlans.inner()).ok()?;
    if !entry.is_canonical() {
        return None;
    }
    let state = match entry.state() {
        State::Answer => EntryState::Answer,
        State::Standby => EntryState::Standby,
    };
    let target = Target { link: LinkId(ifindex), vlans, ip };
    Some((target, Row { entry: Entry { mac: Mac(*entry.mac()), state }, slot: entry.slot() }))
}

fn value(row: &Row) -> abi::Entry {
    let state = match row.entry.state {
        EntryState::Answer => State::Answer,
        EntryState::Standby => State::Standby,
    };
    abi::Entry::new(row.entry.mac.0, state, row.slot)
}

fn keys<'a>(targets: impl Iterator<Item = &'a Target>) -> (Vec<KeyV4>, Vec<KeyV6>) {
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    for target in targets {
        let (outer, inner) = target.vlans.ids();
        let vlans = abi::Vlans::new(outer, inner);
        match target.ip {
            IpAddr::V4(ip) => v4.push(KeyV4::new(target.link.0, vlans, ip.octets())),
            IpAddr::V6(ip) => v6.push(KeyV6::new(target.link.0, vlans, ip.octets())),
        }
    }
    (v4, v6)
}

fn failed(action: &'static str, map: &'static str) -> impl FnOnce(std::io::Error) -> DataplaneError {
    move |source| DataplaneError::Syscall { action, map, source }
}
