//! The maps, read by somebody who does not write them: through the pins by `barelb inspect` and `detach`, and for
//! metrics by the agent beside its task.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};

use aya::maps::{Array, IterableMap, Map, MapData, PerCpuArray};
use lb_common::abi;
use lb_core::plan::Target;

use super::super::{DataplaneError, Reflection};
use super::counts::{CounterMaps, Counts};
use super::object;
use super::reflection::ReflectionMaps;
use super::table::{Row, Table};

/// Maps of this version's layout.
pub struct View {
    /// Entries.
    pub table: Table,
    /// Counters and outcomes.
    pub counters: CounterMaps,
    /// Nothing: an agent from before there was any has made the maps, and still runs.
    reflection: Option<ReflectionMaps>,
    agent: Array<MapData, abi::Agent>,
    /// Size of the maps.
    pub max_vips: u32,
}

impl View {
    /// Opens the maps below `<bpffs>/barelb`.
    pub fn open(root: &Path) -> Result<Self, DataplaneError> {
        let dir = root.join(format!("v{}", abi::VERSION));
        let pinned = |name| pinned(&dir, name);
        // The kernel writes as much as its maps hold: another layout would be misread, or written past the end.
        let reflects = [abi::REFLECTORS, abi::MEMBERS].iter().any(|name| dir.join(name).exists());
        let is_there = |name: &&str| reflects || ![abi::REFLECTORS, abi::MEMBERS].contains(name);
        for name in object::MAPS.into_iter().filter(is_there) {
            let info = pinned(name)?.info().map_err(failed(name))?;
            if !object::layout(name, 0).fits(&info) {
                return Err(DataplaneError::Layout { path: dir.join(name).display().to_string() });
            }
        }
        let (v4, v6) = (pinned(abi::VIPS_V4)?, pinned(abi::VIPS_V6)?);
        let info = v4.info().map_err(failed(abi::VIPS_V4))?;
        let counters =
            PerCpuArray::try_from(Map::PerCpuArray(pinned(abi::COUNTERS)?)).map_err(failed(abi::COUNTERS))?;
        let outcomes =
            PerCpuArray::try_from(Map::PerCpuArray(pinned(abi::OUTCOMES)?)).map_err(failed(abi::OUTCOMES))?;
        let maps = || Ok(ReflectionMaps::new(pinned(abi::REFLECTORS)?, pinned(abi::MEMBERS)?));
        let reflection = reflects.then(maps).transpose()?;
        let agent = Array::try_from(Map::Array(pinned(abi::AGENT)?)).map_err(failed(abi::AGENT))?;
        Ok(Self {
            table: Table::new(v4, v6),
            counters: CounterMaps::new(counters, outcomes),
            reflection,
            agent,
            max_vips: info.max_entries(),
        })
    }

    /// The maps that somebody has open, whatever becomes of their pins.
    pub(super) fn again(
        table: &Table,
        counters: &CounterMaps,
        reflection: &ReflectionMaps,
        (agent, max_vips): (&Array<MapData, abi::Agent>, u32),
    ) -> Result<Self, DataplaneError> {
        let agent = Map::Array(again(agent.map(), abi::AGENT)?);
        Ok(Self {
            table: table.again()?,
            counters: counters.again()?,
            reflection: Some(reflection.again()?),
            agent: Array::try_from(agent).map_err(failed(abi::AGENT))?,
            max_vips,
        })
    }

    /// Every entry with its counts, those left at zero that are not `wanted`. One that is being taken away or has only just come may be missing, and none has the
    /// counts of another: a slot that changed hands while the counts were read does not count.
    pub fn counted(
        &self,
        wanted: impl Fn(&Row) -> bool,
    ) -> Result<BTreeMap<Target, (Row, Counts)>, DataplaneError> {
        let before = self.table.read()?;
        let slots = before.rows.values().filter(|row| wanted(row)).map(|row| row.slot).collect();
        let counts = self.counters.of(&slots)?;
        let after = if self.table.digest()? == before.digest { None } else { Some(self.table.read()?.rows) };
        let kept = |target: &Target, row: &Row| {
            after.as_ref().is_none_or(|after| after.get(target).is_some_and(|now| now.slot == row.slot))
        };
        let rows = before.rows.into_iter().filter(|(target, row)| kept(target, row));
        let counts = |row: &Row| counts.get(&row.slot).cloned().unwrap_or_default();
        Ok(rows.map(|(target, row)| (target, (row, counts(&row)))).collect())
    }

    /// What is reflected, and to whom.
    pub fn reflection(&self) -> Result<Reflection, DataplaneError> {
        self.reflection.as_ref().map_or_else(|| Ok(Reflection::default()), ReflectionMaps::read)
    }

    /// What the agent last said.
    pub fn agent(&self) -> Result<abi::Agent, DataplaneError> {
        self.agent.get(&0, 0).map_err(failed(abi::AGENT))
    }
}

/// Bytes of kernel memory that the maps below `<bpffs>/barelb` take, by the kernel's own account (`memlock` of fdinfo).
pub fn kernel_memory(root: &Path) -> u64 {
    let dir = root.join(format!("v{}", abi::VERSION));
    object::MAPS.iter().filter_map(|name| pinned(&dir, name).ok()).map(|map| memlock(&map)).sum()
}

/// A map that is open, opened once more.
pub(super) fn again(map: &MapData, name: &'static str) -> Result<MapData, DataplaneError> {
    let opened = map.fd().as_fd().try_clone_to_owned();
    let opened =
        opened.map_err(|source| DataplaneError::Syscall { action: "open once more", map: name, source })?;
    MapData::from_fd(opened).map_err(failed(name))
}

fn pinned(dir: &Path, name: &'static str) -> Result<MapData, DataplaneError> {
    let path: PathBuf = dir.join(name);
    MapData::from_pin(&path).map_err(failed(name))
}

fn memlock(map: &MapData) -> u64 {
    let path = format!("/proc/self/fdinfo/{}", map.fd().as_fd().as_raw_fd());
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let value = text.lines().find_map(|line| line.strip_prefix("memlock:"));
    value.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}

fn failed(map: &'static str) -> impl Fn(aya::maps::MapError) -> DataplaneError {
    move |source| DataplaneError::Map { map, source: Box::new(source) }
}
