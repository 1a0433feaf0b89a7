//! Every map, with typed look-ups. The loader overrides the sizes (`--max-vips`).

use aya_ebpf::btf_maps::{Array, HashMap, PerCpuArray, RingBuf};
use aya_ebpf::helpers::{bpf_ktime_get_boot_ns, generated::bpf_ktime_get_coarse_ns};
use aya_ebpf::macros::btf_map;
use lb_common::abi::{self, Agent, Counters, Entry, Event, KeyStation, KeyV4, KeyV6, Member, Reflector};
use lb_common::outcome::{self, Outcome};

use crate::stages::Job;

const MAX_VIPS: usize = abi::DEFAULT_MAX_VIPS as usize;
const MAX_REFLECTORS: usize = abi::MAX_REFLECTORS as usize;
const MAX_MEMBERS: usize = abi::MAX_MEMBERS as usize;

#[btf_map]
static VIPS_V4: HashMap<KeyV4, Entry, MAX_VIPS> = HashMap::new();
#[btf_map]
static VIPS_V6: HashMap<KeyV6, Entry, MAX_VIPS> = HashMap::new();
#[btf_map]
static COUNTERS: PerCpuArray<Counters, MAX_VIPS> = PerCpuArray::new();
#[btf_map]
static OUTCOMES: PerCpuArray<u64, { outcome::COUNT as usize }> = PerCpuArray::new();
#[btf_map]
static AGENT: Array<Agent, 1> = Array::new();
#[btf_map]
static CLOCK: PerCpuArray<Clock, 1> = PerCpuArray::new();
#[btf_map]
static EVENTS: RingBuf<Event, { abi::EVENTS_BYTES as usize }> = RingBuf::new();
#[btf_map]
static REFLECTORS: HashMap<KeyStation, Reflector, MAX_REFLECTORS> = HashMap::new();
#[btf_map]
static MEMBERS: HashMap<KeyStation, Member, MAX_MEMBERS> = HashMap::new();

/// The entry of an IPv4 address.
#[inline(always)]
pub(crate) fn v4(key: &KeyV4) -> Option<&'static Entry> {
    // SAFETY: user space replaces entries as a whole and the element's memory is not freed while the program
    // runs (RCU); an element recycled meanwhile is another valid entry.
    unsafe { VIPS_V4.get(key) }
}

/// The entry of an IPv6 address.
#[inline(always)]
pub(crate) fn v6(key: &KeyV6) -> Option<&'static Entry> {
    // SAFETY: as in `v4`.
    unsafe { VIPS_V6.get(key) }
}

/// What is reflected for an own address.
#[inline(always)]
pub(crate) fn reflector(key: &KeyStation) -> Option<&'static Reflector> {
    // SAFETY: as in `v4`.
    unsafe { REFLECTORS.get(key) }
}

/// A station that may probe, with its count.
#[inline(always)]
#[expect(clippy::mut_from_ref, reason = "memory of the map, in which programs count")]
pub(crate) fn member(key: &KeyStation) -> Option<&'static mut Member> {
    // SAFETY: as in `v4`. Another CPU may count in it at the same time: a probe of the count is lost at worst.
    MEMBERS.get_ptr_mut(key).map(|member| unsafe { &mut *member })
}

/// Beyond the agent's deadline nothing is answered and nothing defended.
#[inline(always)]
pub(crate) fn look_at_the_clock(job: &mut Job) {
    // Always there: an array has its elements from the start.
    let Some(agent) = AGENT.get(0) else { return job.set(Outcome::Expired) };
    job.now = now();
    job.trace = (agent.flags & abi::AGENT_TRACE != 0).into();
    if agent.valid_until_ns <= job.now {
        job.set(job.outcome().expired());
    }
}

/// This CPU's counters of a slot.
#[inline(always)]
#[expect(clippy::mut_from_ref, reason = "per-CPU memory; the program is not preempted by itself")]
pub(crate) fn counters(slot: u32) -> Option<&'static mut Counters> {
    // SAFETY: a per-CPU element is this CPU's alone while the program runs, and arrays are never freed under it.
    COUNTERS.get_ptr_mut(slot).map(|counters| unsafe { &mut *counters })
}

/// Counts an outcome.
#[inline(always)]
pub(crate) fn count(outcome: Outcome) {
    if let Some(counter) = OUTCOMES.get_ptr_mut(outcome.index()) {
        // SAFETY: as in `counters`.
        unsafe { *counter += 1 };
    }
}

/// Hands an event to the agent; lost when the ring is full.
#[inline(always)]
pub(crate) fn emit(event: Event) {
    if let Some(mut record) = EVENTS.reserve(0) {
        record.write(event);
        record.submit(0);
    }
}

/// This CPU's last look at the time. Not pinned, nobody else's business.
#[repr(C)]
struct Clock {
    tick_ns: u64,
    boot_ns: u64,
}

/// Nanoseconds of `CLOCK_BOOTTIME`, which goes on while the machine sleeps, so a deadline can't outlive a suspend. At
/// most a tick of the kernel old (1 to 10 ms): reading the processor's counter anew for each frame costs more than a
/// look-up. The coarse clock moves with every tick, also with the first one after a suspend.
#[inline(always)]
fn now() -> u64 {
    // SAFETY: a helper without arguments.
    let tick_ns = unsafe { bpf_ktime_get_coarse_ns() };
    let Some(clock) = CLOCK.get_ptr_mut(0) else { return boot_ns() };
    // SAFETY: a per-CPU element is this CPU's alone while the program runs, and arrays are never freed under it.
    let clock = unsafe { &mut *clock };
    if clock.tick_ns != tick_ns {
        *clock = Clock { tick_ns, boot_ns: boot_ns() };
    }
    clock.boot_ns
}

#[inline(always)]
fn boot_ns() -> u64 {
    // SAFETY: a helper without arguments.
    unsafe { bpf_ktime_get_boot_ns() }
}
