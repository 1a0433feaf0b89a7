//! The maps of the loaded object, by name and type.

use aya::Ebpf;
use aya::maps::{Map, MapData};
use lb_common::abi;

use super::super::DataplaneError;

/// A refusal of the map `AGENT`.
pub(super) fn agent_map(source: aya::maps::MapError) -> DataplaneError {
    DataplaneError::Map { map: abi::AGENT, source: Box::new(source) }
}

/// A hash map of the loaded object.
pub(super) fn hash_map(ebpf: &mut Ebpf, name: &'static str) -> Result<MapData, DataplaneError> {
    match ebpf.take_map(name) {
        Some(Map::HashMap(data)) => Ok(data),
        _ => Err(DataplaneError::Missing { name }),
    }
}

/// Another map of the loaded object.
pub(super) fn typed<T>(ebpf: &mut Ebpf, name: &'static str) -> Result<T, DataplaneError>
where
    T: TryFrom<Map, Error = aya::maps::MapError>,
{
    let map = ebpf.take_map(name).ok_or(DataplaneError::Missing { name })?;
    T::try_from(map).map_err(|source| DataplaneError::Map { map: name, source: Box::new(source) })
}
