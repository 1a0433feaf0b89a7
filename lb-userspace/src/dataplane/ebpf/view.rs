//! The pinned maps, read by somebody who is not the agent: `barelb inspect`, `detach`, metrics.

use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};

use aya::maps::{Array, Map, MapData, PerCpuArray};
use lb_common::abi;

use super::super::DataplaneError;
use super::counts::CounterMaps;
use super::object;
use super::table::Table;

/// Pinned maps of this version's layout.
pub struct View {
    /// Entries.
    pub table: Table,
    /// Counters and outcomes.
    pub counters: CounterMaps,
    agent: Array<MapData, abi::Agent>,
    memory: u64,
    /// Size of the maps.
    pub max_vips: u32,
}

impl View {
    /// Opens the maps below `<bpffs>/barelb`.
    pub fn open(root: &Path) -> Result<Self, DataplaneError> {
        let dir = root.join(format!("v{}", abi::VERSION));
        let pinned = |name| pinned(&dir, name);
        // The kernel writes as much as its maps hold: another layout would be misread, or written past the end.
        for name in object::MAPS {
            let info = pinned(name)?.info().map_err(failed(name))?;
            if !object::layout(name, 0).fits(&info) {
                return Err(DataplaneError::Layout { path: dir.join(name).display().to_string() });
            }
        }
        let (v4, v6) = (pinned(abi::VIPS_V4)?, pinned(abi::VIPS_V6)?);
        let info = v4.info().map_err(failed(abi::VIPS_V4))?;
        let memory = object::MAPS.iter().filter_map(|name| pinned(name).ok()).map(|map| memlock(&map)).sum();
        let counters =
            PerCpuArray::try_from(Map::PerCpuArray(pinned(abi::COUNTERS)?)).map_err(failed(abi::COUNTERS))?;
        let outcomes =
            PerCpuArray::try_from(Map::PerCpuArray(pinned(abi::OUTCOMES)?)).map_err(failed(abi::OUTCOMES))?;
        let agent = Array::try_from(Map::Array(pinned(abi::AGENT)?)).map_err(failed(abi::AGENT))?;
        Ok(Self {
            table: Table::new(v4, v6),
            counters: CounterMaps::new(counters, outcomes),
            agent,
            memory,
            max_vips: info.max_entries(),
        })
    }

    /// Bytes of kernel memory the maps take, by the kernel's own account (`memlock` of fdinfo).
    pub fn kernel_memory(&self) -> u64 {
        self.memory
    }

    /// What the agent last said.
    pub fn agent(&self) -> Result<abi::Agent, DataplaneError> {
        self.agent.get(&0, 0).map_err(failed(abi::AGENT))
    }
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
