//! The embedded BPF object: loading it over pinned or new maps, and its programs.

use std::collections::BTreeSet;
use std::path::Path;

use aya::maps::{MapError, MapInfo, MapType};
use aya::programs::{SchedClassifier, Xdp};
use aya::util::KernelVersion;
use aya::{Ebpf, EbpfError, EbpfLoader};
use lb_common::abi;

use super::super::DataplaneError;
use super::pins;

/// Built by `cargo xtask build`; empty in a build without it.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/barelb.o"));

/// XDP program for kernels that know multi-buffer frames.
pub const XDP_FRAGS: &str = "barelb_xdp";
/// XDP program for kernels before 5.18.
pub const XDP_PLAIN: &str = "barelb_xdp_plain";
/// Program for the tcx ingress hook.
pub const TCX: &str = "barelb_tcx";

/// Maps that `--max-vips` sizes.
const SIZED: [&str; 3] = [abi::VIPS_V4, abi::VIPS_V6, abi::COUNTERS];
/// Every map of the object.
pub(super) const MAPS: [&str; 8] = [
    abi::VIPS_V4,
    abi::VIPS_V6,
    abi::COUNTERS,
    abi::OUTCOMES,
    abi::AGENT,
    abi::EVENTS,
    abi::REFLECTORS,
    abi::MEMBERS,
];

/// True when this binary holds the BPF object.
pub fn is_embedded() -> bool {
    !OBJECT.is_empty()
}

/// The kernel has the tcx hook.
pub fn kernel_has_tcx() -> bool {
    kernel_is(6, 6)
}

fn kernel_is(major: u8, minor: u8) -> bool {
    KernelVersion::current().is_ok_and(|kernel| kernel >= KernelVersion::new(major, minor, 0))
}

/// The XDP program for this kernel.
pub(super) fn xdp_name() -> &'static str {
    if kernel_is(5, 18) { XDP_FRAGS } else { XDP_PLAIN }
}

/// Loads the object with its maps pinned in `dir`: those that are there are used, the others made.
pub(super) fn load(dir: &Path, max_vips: u32) -> Result<Ebpf, DataplaneError> {
    if !is_embedded() {
        return Err(DataplaneError::NoObject);
    }
    let mut loader = EbpfLoader::new();
    for map in SIZED {
        loader.map_max_entries(map, max_vips);
    }
    for map in MAPS {
        loader.map_pin_path(map, dir.join(map));
    }
    let mut ebpf = loader.load(OBJECT).map_err(|error| not_loaded(error, dir))?;
    xdp(&mut ebpf)?.load().map_err(refused(xdp_name()))?;
    if kernel_has_tcx() {
        tcx(&mut ebpf)?.load().map_err(refused(TCX))?;
    }
    Ok(ebpf)
}

/// The XDP program.
pub(super) fn xdp(ebpf: &mut Ebpf) -> Result<&mut Xdp, DataplaneError> {
    let name = xdp_name();
    let missing = || DataplaneError::Missing { name };
    ebpf.program_mut(name).ok_or_else(missing)?.try_into().map_err(refused(name))
}

/// The tcx program.
pub(super) fn tcx(ebpf: &mut Ebpf) -> Result<&mut SchedClassifier, DataplaneError> {
    let missing = || DataplaneError::Missing { name: TCX };
    ebpf.program_mut(TCX).ok_or_else(missing)?.try_into().map_err(refused(TCX))
}

/// Ids of the loaded programs.
pub(super) fn program_ids(ebpf: &mut Ebpf) -> Result<BTreeSet<u32>, DataplaneError> {
    let mut ids = BTreeSet::from([xdp(ebpf)?.info().map_err(refused(xdp_name()))?.id()]);
    if kernel_has_tcx() {
        ids.insert(tcx(ebpf)?.info().map_err(refused(TCX))?.id());
    }
    Ok(ids)
}

/// A pin that can't be made is no lack of a capability.
fn not_loaded(error: EbpfError, dir: &Path) -> DataplaneError {
    if let EbpfError::MapError(MapError::PinError { name, error }) = error {
        let path = dir.join(name.unwrap_or_default());
        return pins::failed("pin a map to", &path)(pins::refusal(error));
    }
    DataplaneError::Load(Box::new(error))
}

fn refused(program: &'static str) -> impl Fn(aya::programs::ProgramError) -> DataplaneError {
    move |source| DataplaneError::Program { program, source: Box::new(source) }
}

/// What a map must look like to be used by this version.
pub(super) struct Layout {
    kind: MapType,
    key: u32,
    value: u32,
    pub(super) entries: u32,
}

impl Layout {
    /// The map has this layout, whatever its size: what is read from it means what this version takes it for.
    pub(super) fn fits(&self, info: &MapInfo) -> bool {
        info.map_type().is_ok_and(|kind| kind == self.kind)
            && (info.key_size(), info.value_size()) == (self.key, self.value)
    }
}

/// The layout of `map` for `--max-vips`.
pub(super) fn layout(map: &str, max_vips: u32) -> Layout {
    let size = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
    let layout = |kind, key: usize, value: usize, entries| Layout {
        kind,
        key: size(key),
        value: size(value),
        entries,
    };
    match map {
        abi::VIPS_V4 => layout(MapType::Hash, size_of::<abi::KeyV4>(), size_of::<abi::Entry>(), max_vips),
        abi::VIPS_V6 => layout(MapType::Hash, size_of::<abi::KeyV6>(), size_of::<abi::Entry>(), max_vips),
        abi::COUNTERS => layout(MapType::PerCpuArray, 4, size_of::<abi::Counters>(), max_vips),
        abi::OUTCOMES => layout(MapType::PerCpuArray, 4, 8, lb_common::outcome::COUNT),
        abi::AGENT => layout(MapType::Array, 4, size_of::<abi::Agent>(), 1),
        abi::REFLECTORS => layout(
            MapType::Hash,
            size_of::<abi::KeyStation>(),
            size_of::<abi::Reflector>(),
            abi::MAX_REFLECTORS,
        ),
        abi::MEMBERS => {
            layout(MapType::Hash, size_of::<abi::KeyStation>(), size_of::<abi::Member>(), abi::MAX_MEMBERS)
        }
        _ => layout(MapType::RingBuf, 0, 0, abi::EVENTS_BYTES),
    }
}
