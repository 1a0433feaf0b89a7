//! A test bed: generator and responder, each in a namespace and on a processor of its own.
//!
//! ```text
//! namespace gen, processor 0                    namespace dut, processor 1
//! BPF_PROG_RUN ─ live frames ─▶ g ═══ veth ═══▶ d: the responder under test
//!        sink (XDP or tcx) ◀─── g ═══ veth ════ d
//! ```
//!
//! Each end has a threaded NAPI of its own. Without it, a veth receives on the processor of the sender, and
//! generator and responder would share one. The sink's thread has priority over the generator, which shares the
//! processor with it: the generator offers what is left, and no answer is lost for want of a receiver.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use std::{fs, thread};

use anyhow::{Context, Result, ensure};
use aya::maps::Array;
use aya::programs::tc::{SchedClassifier, TcAttachOptions, TcAttachType};
use aya::programs::xdp::{Xdp, XdpMode};
use aya::programs::{LinkOrder, TestRun, TestRunAttrs, TestRunOptions};
use aya::{Ebpf, EbpfLoader};

use super::Options;
use super::cpu::{self, Priority, Ticks};
use super::layout::{self, BITMAP, BITMAP_BITS, BUCKETS, Generator, LATENCY, NEIGHBOUR, Plan, STAMPS, Sink};
use super::plan::{Family, REQUESTER, RESPONDER};
use crate::link::{Interface, Offload, Veth};
use crate::namespace::Namespace;

/// Frames in one batch of the generator: what a NIC's poll may hand over at most (`NAPI_POLL_WEIGHT`).
const BATCH: u32 = 64;
/// Paced, but so fast that a batch of one could not keep up: a microsecond or two of waiting for the others.
const FAST: u32 = 16;
/// At this pace and faster, batches of [`FAST`].
const FAST_NS: u64 = 3000;
/// A tenth more runs of the generator program than should do, in thousandths.
const MARGIN_PER_MILLE: u64 = 1100;
/// Of the random numbers: every run asks for the same.
pub(super) const SEED: u64 = 0x9e37_79b9_7f4a_7c15;
/// What is on its way when the generator stops has arrived after this.
const SETTLE: Duration = Duration::from_millis(20);
/// Runs of the generator program in the first system call of a bed: some tens of milliseconds.
const FIRST_CHUNK: u32 = 1 << 16;
/// `struct xdp_md`: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
type Context32 = [u32; 6];

/// Where answers are received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SinkHook {
    /// For responders that send by XDP. Their answers only arrive where an XDP program waits.
    Xdp,
    /// For responders that send by the stack: the answers are kernel buffers already, which XDP would copy.
    Tcx,
}

/// A bed without a responder.
pub(super) struct Bed {
    rig: Ebpf,
    /// Picoseconds a run of the generator program takes, unpaced and paced; none = not known yet.
    per_run_ps: [Option<NonZeroU64>; 2],
    /// The generator's end.
    pub(super) near: Interface,
    /// The responder's end.
    pub(super) far: Interface,
}

/// What happened during a run.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Run {
    /// Frames the generator sent.
    pub(super) sent: u64,
    /// Of those, for addresses that are answered for.
    pub(super) asked: u64,
    /// Of those, by a requester that had no answer to its last one (only with latencies).
    pub(super) late: u64,
    /// Correct answers.
    pub(super) good: u64,
    /// Incorrect ones.
    pub(super) wrong: u64,
    /// Requesters answered for the first time.
    pub(super) distinct: u64,
    /// From the first frame to the last.
    pub(super) seconds: f64,
    /// Nanoseconds of processor time of the responder, its threads and the kernel's thread that receives for it.
    pub(super) busy_ns: u64,
    /// Share of the machine's time that the host took.
    pub(super) stolen: f64,
}

impl Bed {
    /// Both namespaces, the wire and the sink; `name` tells people what it is for.
    pub(super) fn new(options: &Options, name: &str, hook: SinkHook) -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let (near, far) = (Namespace::new(&format!("{name}-gen"))?, Namespace::new(&format!("{name}-dut"))?);
        let (g, d) = (format!("g{number}"), format!("d{number}"));
        let Veth { a: near, b: far } = Veth::new((&near, &g, REQUESTER), (&far, &d, RESPONDER))?;
        for end in [&near, &far] {
            // GRO makes a veth receive by NAPI, for responders without XDP too; ARP and ND are never merged.
            end.offload(Offload::Gro, true)?;
            let path = format!("/sys/class/net/{}/threaded", end.name());
            let threaded = end.namespace().enter(|| {
                fs::write(&path, "1")
                    .with_context(|| format!("cannot write {path}: no threaded NAPI, kernel 5.12"))
            });
            threaded?;
        }
        let mut rig = EbpfLoader::new().load_file(&options.rig).with_context(|| {
            format!("cannot load {}; `cargo xtask build` makes it", options.rig.display())
        })?;
        xdp(&mut rig, "rig_generator")?;
        match hook {
            SinkHook::Xdp => attach_xdp(xdp(&mut rig, "rig_sink")?, &near, XdpMode::Driver)?,
            SinkHook::Tcx => attach_tcx(tcx(&mut rig, "rig_sink_tcx")?, &near)?,
        }
        let bed = Self { rig, per_run_ps: [None; 2], near, far };
        bed.settle(Priority::High)?;
        Ok(bed)
    }

    /// The rig's programs and maps of this bed.
    pub(super) fn rig(&mut self) -> &mut Ebpf {
        &mut self.rig
    }

    /// Binds the receiving threads to their processors. Again after each change of programs, which may replace
    /// the threads; `responder` is the priority of the thread that receives for the responder.
    pub(super) fn settle(&self, responder: Priority) -> Result<()> {
        for (end, processor, priority) in
            [(&self.near, cpu::GENERATOR, Priority::Interrupt), (&self.far, cpu::RESPONDER, responder)]
        {
            let found = receivers(end)?;
            ensure!(!found.is_empty(), "{} has no NAPI thread", end.name());
            for thread in found {
                cpu::bind(thread, processor)?;
                cpu::prioritise(thread, priority)?;
            }
        }
        Ok(())
    }

    /// Sends requests for `time`; with [`BITMAP`] on until every requester has asked, five times as long at most.
    /// `threads` are the responder's own, whose time counts with that of the receiving thread.
    pub(super) fn run(&mut self, plan: &Plan, time: Duration, threads: &dyn Fn() -> Vec<i32>) -> Result<Run> {
        // All shall ask, and a slow generator shall not be the reason when some do not.
        let limit = if plan.flags & BITMAP == 0 { time } else { time * 5 };
        self.reset(plan)?;
        let kernel = receivers(&self.far)?;
        let times = || -> BTreeMap<i32, u64> {
            let all = kernel.iter().copied().chain(threads());
            // A thread that ends in between takes its time with it.
            all.filter_map(|thread| Some((thread, cpu::run_time(thread).ok()?))).collect()
        };
        let (ticks, before) = (Ticks::now()?, times());
        self.generate(plan, limit)?;
        thread::sleep(SETTLE);
        let stolen = Ticks::now()?.stolen_since(ticks);
        let since = |(thread, now): (&i32, &u64)| now - before.get(thread).copied().unwrap_or(0);
        let busy_ns = times().iter().map(since).sum();
        let Generator { sent, good: asked, unanswered: late, first_ns, last_ns, .. } = self.generator()?;
        let seconds = Duration::from_nanos(last_ns.saturating_sub(first_ns).max(1)).as_secs_f64();
        let Sink { good, wrong, distinct, .. } = self.array("SINK")?.get(&0, 0)?;
        Ok(Run { sent, asked, late, good, wrong, distinct, seconds, busy_ns, stolen })
    }

    /// With [`BITMAP`], counts the requesters answered from none again; without it, those of earlier runs are known.
    pub(super) fn forget_answered(&mut self) -> Result<()> {
        self.clear("ANSWERED", BITMAP_BITS / 64)
    }

    fn generator(&self) -> Result<Generator> {
        let map = self.rig.map("GENERATOR").context("the rig has no map GENERATOR")?;
        Ok(Array::try_from(map)?.get(&0, 0)?)
    }

    /// The latencies of the last run: nanoseconds at the middle of each bucket, and how many.
    pub(super) fn latencies(&mut self) -> Result<Vec<(u64, u64)>> {
        let counts: Array<_, u64> = self.array("LATENCIES")?;
        let mut found = Vec::new();
        for bucket in 0..BUCKETS {
            match counts.get(&bucket, 0)? {
                0 => {}
                count => found.push((middle(bucket), count)),
            }
        }
        Ok(found)
    }

    fn reset(&mut self, plan: &Plan) -> Result<()> {
        self.array::<Plan>("PLAN")?.set(0, plan, 0)?;
        self.array("SINK")?.set(0, Sink::default(), 0)?;
        if plan.flags & LATENCY != 0 {
            self.clear("ASKED_NS", STAMPS)?;
            self.clear("LATENCIES", BUCKETS)?;
        }
        Ok(())
    }

    fn clear(&mut self, map: &str, entries: u32) -> Result<()> {
        let mut map: Array<_, u64> = self.array(map)?;
        (0..entries).try_for_each(|index| Ok(map.set(index, 0, 0)?))
    }

    fn array<V: aya::Pod>(&mut self, name: &str) -> Result<Array<&mut aya::maps::MapData, V>> {
        let map = self.rig.map_mut(name).with_context(|| format!("the rig has no map {name}"))?;
        Ok(Array::try_from(map)?)
    }

    /// Runs the generator in its namespace, on its processor, until `time` is over or all have asked.
    ///
    /// In one system call if it can be foreseen how many runs of the program that takes: each begins and ends with
    /// some ten milliseconds of waiting for the kernel, in which a responder has nothing to do. What is too much
    /// makes no frame.
    fn generate(&mut self, plan: &Plan, time: Duration) -> Result<()> {
        let paced = usize::from(plan.interval_ns != 0);
        let everybody = if plan.flags & BITMAP == 0 { u64::MAX } else { plan.requesters.into() };
        let start = cpu::monotonic_ns();
        let until_ns = start + u64::try_from(time.as_nanos())?;
        let state = Generator { random: SEED, until_ns, ..Generator::default() };
        self.array("GENERATOR")?.set(0, state, 0)?;
        loop {
            let now = cpu::monotonic_ns();
            if now >= until_ns || self.generator()?.good >= everybody {
                return Ok(());
            }
            let repeat = match self.per_run_ps[paced] {
                None => FIRST_CHUNK,
                Some(ps) => u32::try_from((until_ns - now) * MARGIN_PER_MILLE / ps).unwrap_or(u32::MAX),
            };
            let before = self.generator()?;
            self.call(plan, repeat.max(BATCH))?;
            let after = self.generator()?;
            // Unpaced, every run makes a frame; paced, nearly every one waits, all the time.
            let (took_ns, runs) = if paced == 0 {
                (after.last_ns - before.last_ns.max(after.first_ns), after.sent - before.sent)
            } else {
                (cpu::monotonic_ns() - now, repeat.into())
            };
            self.per_run_ps[paced] = (1000 * took_ns).checked_div(runs).and_then(NonZeroU64::new);
        }
    }

    /// So many runs of the generator program.
    fn call(&self, plan: &Plan, repeat: u32) -> Result<()> {
        let program: &Xdp = self.rig.program("rig_generator").context("no rig_generator")?.try_into()?;
        let family = if plan.flags & NEIGHBOUR == 0 { Family::Arp } else { Family::Neighbour };
        let frame = vec![0; family.len()];
        let length = u32::try_from(frame.len())?;
        let context: Context32 = [0, length, 0, self.near.index(), 0, 0];
        let context: Vec<u8> = context.iter().flat_map(|word| word.to_ne_bytes()).collect();
        // Paced, most runs make no frame: one at a time, so that each leaves when it is due.
        let batch = match plan.interval_ns {
            0 => BATCH,
            1..=FAST_NS => FAST,
            _ => 1,
        };
        self.near.namespace().enter(|| {
            cpu::bind(0, cpu::GENERATOR)?;
            // Paced, it waits most of the time; as a real-time thread it would make the scheduler let others in
            // before the sink.
            cpu::prioritise(0, if plan.interval_ns == 0 { Priority::Ahead } else { Priority::High })?;
            let ran = program.test_run(TestRunOptions {
                data_in: Some(&frame),
                ctx_in: Some(&context),
                repeat,
                attrs: TestRunAttrs::new().xdp_live_frames(batch),
                ..TestRunOptions::new()
            });
            ran.context("BPF_PROG_RUN with live frames failed: kernel 5.18 or later is needed")?;
            Ok(())
        })
    }
}

/// The threads that receive for an interface.
pub(super) fn receivers(end: &Interface) -> Result<Vec<i32>> {
    cpu::kernel_threads(&format!("napi/{}-", end.name()))
}

/// Loads an XDP program of `object`.
pub(super) fn xdp<'a>(object: &'a mut Ebpf, name: &str) -> Result<&'a mut Xdp> {
    let program: &mut Xdp =
        object.program_mut(name).with_context(|| format!("no program {name}"))?.try_into()?;
    program.load().with_context(|| format!("the kernel refused {name}"))?;
    Ok(program)
}

/// Loads a classifier of `object`.
pub(super) fn tcx<'a>(object: &'a mut Ebpf, name: &str) -> Result<&'a mut SchedClassifier> {
    let program: &mut SchedClassifier =
        object.program_mut(name).with_context(|| format!("no program {name}"))?.try_into()?;
    program.load().with_context(|| format!("the kernel refused {name}"))?;
    Ok(program)
}

/// Attaches to what comes in by `end`; detached with the object.
pub(super) fn attach_xdp(program: &mut Xdp, end: &Interface, mode: XdpMode) -> Result<()> {
    let attached =
        end.namespace().enter(|| program.attach_to_if_index(end.index(), mode).map_err(anyhow::Error::new));
    attached.map(drop).with_context(|| format!("cannot attach XDP to {}", end.name()))
}

/// As [`attach_xdp`].
pub(super) fn attach_tcx(program: &mut SchedClassifier, end: &Interface) -> Result<()> {
    let options = TcAttachOptions::TcxOrder(LinkOrder::default());
    let attached = end.namespace().enter(|| {
        program.attach_with_options(end.name(), TcAttachType::Ingress, options).map_err(anyhow::Error::new)
    });
    attached.map(drop).with_context(|| format!("cannot attach to tcx of {}", end.name()))
}

/// The middle of a bucket, for a bucket that exists.
fn middle(bucket: u32) -> u64 {
    first(bucket).midpoint(first(bucket + 1))
}

/// The shortest duration in this bucket or a later one.
fn first(bucket: u32) -> u64 {
    let (mut low, mut high) = (0_u64, 1 << 62);
    while low < high {
        let middle = low.midpoint(high);
        if layout::bucket(middle) < bucket { low = middle + 1 } else { high = middle }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::super::layout::bucket;
    use super::middle;

    #[test]
    fn a_bucket_is_three_percent_wide() {
        for ns in [0, 1, 63, 64, 65, 100, 127, 128, 1000, 12_345, 1_000_000, 999_999_999] {
            let middle = middle(bucket(ns));
            assert!(middle.abs_diff(ns) <= ns / 32, "{ns} became {middle}");
        }
        assert!((0..100_000).all(|ns| bucket(ns) <= bucket(ns + 1)));
    }
}
