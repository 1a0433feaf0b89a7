//! Counters as people read them: per-CPU values brought together.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::AsFd;

use aya::maps::{IterableMap, Map, MapData, PerCpuArray, PerCpuValues};
use aya::util::nr_cpus;
use lb_common::abi::{self, Counters};
use lb_common::addr::Address;
use lb_common::outcome::Outcome;
use lb_core::burst::Asked;
use lb_core::ids::Mac;
use lb_core::plan::Target;
use serde::Serialize;

use super::super::DataplaneError;
use super::batch::Walk;
use super::table::{Row, read_pod};
use super::view;

/// Bytes of counters that are read in one call, unless one address has more.
const BYTES_AT_ONCE: usize = 256 << 10;

/// What one address has seen since it has its slot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// Requests and solicitations, answered or not.
    pub requests: u64,
    /// Answers sent.
    pub replies: u64,
    /// ARP probes and duplicate address detection, among the requests.
    pub probes: u64,
    /// Frames in which another station claimed the address.
    pub conflicts: u64,
    /// When it was last asked for, nanoseconds of `CLOCK_BOOTTIME`; 0 = never.
    pub last_seen_ns: u64,
    /// Who asked last.
    pub requester: Option<Requester>,
}

/// A station that asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Requester {
    /// Its hardware address.
    #[serde(serialize_with = "as_text")]
    pub mac: Mac,
    /// Its address; unspecified for a probe.
    pub ip: IpAddr,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
fn as_text<S: serde::Serializer>(mac: &Mac, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(mac)
}

/// The address in a field for both families.
pub(super) fn address(address: Address) -> IpAddr {
    Ipv6Addr::from(address.octets()).to_canonical()
}

impl Counts {
    fn add(&mut self, cpu: &Counters) {
        self.requests += cpu.requests;
        self.replies += cpu.replies;
        self.probes += cpu.probes;
        self.conflicts += cpu.conflicts;
        if cpu.last_seen_ns > self.last_seen_ns {
            self.last_seen_ns = cpu.last_seen_ns;
            self.requester = Some(Requester { mac: Mac(cpu.requester_mac), ip: address(cpu.requester) });
        }
    }
}

/// The maps `COUNTERS` and `OUTCOMES`.
pub struct CounterMaps {
    counters: PerCpuArray<MapData, Counters>,
    outcomes: PerCpuArray<MapData, u64>,
}

impl CounterMaps {
    pub(super) fn new(counters: PerCpuArray<MapData, Counters>, outcomes: PerCpuArray<MapData, u64>) -> Self {
        Self { counters, outcomes }
    }

    /// Counts of these slots, those that the map does not have left out. What lies close together is read in one call.
    pub fn of(&self, slots: &BTreeSet<u32>) -> Result<BTreeMap<u32, Counts>, DataplaneError> {
        let map = self.counters.map();
        let width = cpus()? * size_of::<Counters>();
        let at_once = u32::try_from(BYTES_AT_ONCE / width).unwrap_or(u32::MAX).max(1);
        // Behind its end the kernel would begin anew.
        let room = map.info().map_err(failed(abi::COUNTERS))?.max_entries();
        let mut walk = Walk::default();
        let mut counts = Vec::with_capacity(slots.len());
        let mut next = slots.range(..room).next().copied();
        while let Some(first) = next {
            let end = first.saturating_add(at_once).min(room);
            let last = slots.range(first..end).next_back().map_or(first, |last| *last);
            let mut part = first..=last;
            let sizes = ((last - first) as usize + 1, width);
            walk.range(map.fd().as_fd(), first, sizes, |values| {
                counts
                    .extend(part.next().filter(|slot| slots.contains(slot)).map(|slot| (slot, sum(values))));
            })
            .map_err(|source| DataplaneError::Syscall {
                action: "read",
                map: abi::COUNTERS,
                source,
            })?;
            next = slots.range(end..room).next().copied();
        }
        Ok(counts.into_iter().collect())
    }

    /// The last request for each target, as far as it has a row and somebody asked.
    pub(super) fn asked(
        &self,
        rows: &BTreeMap<Target, Row>,
        targets: &BTreeSet<Target>,
    ) -> Result<BTreeMap<Target, Asked>, DataplaneError> {
        let slots: Vec<(Target, u32)> =
            targets.iter().filter_map(|target| Some((*target, rows.get(target)?.slot))).collect();
        let counts = self.of(&slots.iter().map(|(_, slot)| *slot).collect())?;
        let asked = |(target, slot): (Target, u32)| {
            let Counts { last_seen_ns: at_ns, requester, .. } = counts.get(&slot)?;
            let Requester { mac, ip } = requester.as_ref()?;
            Some((target, Asked { at_ns: *at_ns, mac: *mac, ip: *ip }))
        };
        Ok(slots.into_iter().filter_map(asked).collect())
    }

    /// The maps, opened once more.
    pub(super) fn again(&self) -> Result<Self, DataplaneError> {
        let counters = Map::PerCpuArray(view::again(self.counters.map(), abi::COUNTERS)?);
        let outcomes = Map::PerCpuArray(view::again(self.outcomes.map(), abi::OUTCOMES)?);
        Ok(Self {
            counters: PerCpuArray::try_from(counters).map_err(failed(abi::COUNTERS))?,
            outcomes: PerCpuArray::try_from(outcomes).map_err(failed(abi::OUTCOMES))?,
        })
    }

    /// How often each outcome happened, those that never did left out.
    pub fn outcomes(&self) -> Result<BTreeMap<&'static str, u64>, DataplaneError> {
        let mut result = BTreeMap::new();
        // A version that knew fewer names has made a smaller map.
        for outcome in Outcome::ALL.into_iter().filter(|outcome| outcome.index() < self.outcomes.len()) {
            let values = self.outcomes.get(&outcome.index(), 0).map_err(failed(abi::OUTCOMES))?;
            let sum: u64 = values.iter().sum();
            if sum > 0 {
                result.insert(outcome.name(), sum);
            }
        }
        Ok(result)
    }

    /// Sets slots to zero, before an entry gets them.
    pub(super) fn clear(&mut self, slots: &[u32]) -> Result<(), DataplaneError> {
        let cpus = cpus()?;
        for slot in slots {
            let zero = PerCpuValues::try_from(vec![Counters::default(); cpus])
                .map_err(|source| DataplaneError::Syscall { action: "clear", map: abi::COUNTERS, source })?;
            self.counters.set(*slot, zero, 0).map_err(failed(abi::COUNTERS))?;
        }
        Ok(())
    }

    /// Slot by slot, the values of all CPUs as they are, from maps of another size. One that can't be read stays zero.
    pub(super) fn copy_from(&mut self, other: &PerCpuArray<MapData, Counters>, slots: &BTreeMap<u32, u32>) {
        for (from, to) in slots {
            if let Ok(values) = other.get(from, 0) {
                drop(self.counters.set(*to, values, 0));
            }
        }
    }
}

/// Bytes of kernel memory of the counters: the map is per possible CPU.
pub fn counters_bytes(max_vips: u32, cpus: usize) -> u64 {
    u64::from(max_vips) * cpus as u64 * size_of::<Counters>() as u64
}

/// What the values of all CPUs are together.
fn sum(values: &[u8]) -> Counts {
    let mut counts = Counts::default();
    let cpus = values.chunks_exact(size_of::<Counters>()).filter_map(read_pod::<Counters>);
    cpus.for_each(|cpu| counts.add(&cpu));
    counts
}

/// Values of a per-CPU map: one for each CPU that the machine may have.
fn cpus() -> Result<usize, DataplaneError> {
    nr_cpus().map_err(|(_, source)| DataplaneError::Syscall {
        action: "count the CPUs for",
        map: abi::COUNTERS,
        source,
    })
}

fn failed(map: &'static str) -> impl Fn(aya::maps::MapError) -> DataplaneError {
    move |source| DataplaneError::Map { map, source: Box::new(source) }
}
