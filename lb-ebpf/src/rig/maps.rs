//! Every map of the rig, with typed access.

use aya_ebpf::btf_maps::{Array, HashMap, PerCpuArray, ProgramArray};
use aya_ebpf::macros::btf_map;
use lb_common::abi::{Entry, KeyV4, KeyV6};

use crate::layout::{BITMAP_BITS, BUCKETS, Generator, Loss, Plan, STAMPS, Sink};

#[btf_map]
static PLAN: Array<Plan, 1> = Array::new();
#[btf_map]
static GENERATOR: Array<Generator, 1> = Array::new();
#[btf_map]
static SINK: Array<Sink, 1> = Array::new();
#[btf_map]
static ANSWERED: Array<u64, { BITMAP_BITS as usize / 64 }> = Array::new();
#[btf_map]
static ASKED_NS: Array<u64, { STAMPS as usize }> = Array::new();
#[btf_map]
static LATENCIES: Array<u64, { BUCKETS as usize }> = Array::new();
#[btf_map]
static TARGETS: ProgramArray<1> = ProgramArray::new();
#[btf_map]
static LOOKUP_V4: HashMap<KeyV4, Entry, 1> = HashMap::new();
#[btf_map]
static LOOKUP_V6: HashMap<KeyV6, Entry, 1> = HashMap::new();
#[btf_map]
static LOSS: Array<Loss, 1> = Array::new();
#[btf_map]
static LOST: PerCpuArray<u64, 2> = PerCpuArray::new();
#[btf_map]
static PROBES: PerCpuArray<u64, 2> = PerCpuArray::new();

/// What to make and to accept.
#[inline(always)]
pub(crate) fn plan() -> Option<&'static Plan> {
    PLAN.get(0)
}

/// The generator's memory; there is one generator.
#[inline(always)]
pub(crate) fn generator() -> Option<&'static mut Generator> {
    // SAFETY: arrays are never freed under a program, and the one generator runs on one CPU at a time.
    GENERATOR.get_ptr_mut(0).map(|state| unsafe { &mut *state })
}

/// The sink's counters; there is one sink, with one queue.
#[inline(always)]
pub(crate) fn sink() -> Option<&'static mut Sink> {
    // SAFETY: as in `generator`.
    SINK.get_ptr_mut(0).map(|sink| unsafe { &mut *sink })
}

/// Marks a requester; true when it was not marked before.
#[inline(always)]
pub(crate) fn mark_answered(requester: u32) -> bool {
    let Some(word) = ANSWERED.get_ptr_mut(requester / 64) else { return false };
    let bit = 1 << (requester % 64);
    // SAFETY: as in `generator`.
    let word = unsafe { &mut *word };
    let new = *word & bit == 0;
    *word |= bit;
    new
}

/// When a requester asked; 0 = it has its answer.
#[inline(always)]
pub(crate) fn asked_ns(requester: u32) -> Option<&'static mut u64> {
    // SAFETY: arrays are never freed under a program. Generator and sink share it, on one CPU; a race would at
    // worst lose one sample.
    ASKED_NS.get_ptr_mut(requester).map(|time| unsafe { &mut *time })
}

/// Counts a latency.
#[inline(always)]
pub(crate) fn count_latency(bucket: u32) {
    if let Some(count) = LATENCIES.get_ptr_mut(bucket) {
        // SAFETY: as in `generator`.
        unsafe { *count += 1 };
    }
}

/// What a port loses.
#[inline(always)]
pub(crate) fn loss() -> Option<&'static Loss> {
    LOSS.get(0)
}

/// Counts a frame that was lost from the node (0) or on the way to it (1).
#[inline(always)]
pub(crate) fn count_lost(way: u32) {
    count(&LOST, way);
}

/// Counts a probe from the node (0) or to it (1).
#[inline(always)]
pub(crate) fn count_probe(way: u32) {
    count(&PROBES, way);
}

#[inline(always)]
fn count(counts: &PerCpuArray<u64, 2>, way: u32) {
    if let Some(count) = counts.get_ptr_mut(way) {
        // SAFETY: the value of this processor, and a program is not interrupted by itself.
        unsafe { *count += 1 };
    }
}

/// The program behind `rig_replay`.
pub(crate) fn targets() -> &'static ProgramArray<1> {
    &TARGETS
}

/// Whether the table of the look-up programs has the key.
#[inline(always)]
pub(crate) fn has_v4(key: &KeyV4) -> bool {
    // SAFETY: only compared with null.
    unsafe { LOOKUP_V4.get(key) }.is_some()
}

/// Whether the table of the look-up programs has the key.
#[inline(always)]
pub(crate) fn has_v6(key: &KeyV6) -> bool {
    // SAFETY: only compared with null.
    unsafe { LOOKUP_V6.get(key) }.is_some()
}
