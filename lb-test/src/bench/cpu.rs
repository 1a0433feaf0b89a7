//! Processor time, by thread, and what this machine is.

use std::fs;
use std::io;
use std::mem::size_of;
use std::path::Path;

use anyhow::{Context, Result};

/// The processor of the generator and the sink.
pub(super) const GENERATOR: usize = 0;
/// The processor of the responder.
pub(super) const RESPONDER: usize = 1;

/// Binds a thread (0 = the calling one) to a processor.
pub(crate) fn bind(thread: i32, cpu: usize) -> Result<()> {
    // SAFETY: all zeroes is a valid, empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the number is far below the size of the set.
    unsafe { libc::CPU_SET(cpu, &mut set) };
    // SAFETY: a live set and its size.
    check(unsafe { libc::sched_setaffinity(thread, size_of::<libc::cpu_set_t>(), &raw const set) })
        .with_context(|| format!("cannot bind a thread to processor {cpu}"))
}

/// How the scheduler treats a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Priority {
    /// As any program.
    Normal,
    /// Niceness −20: other programs of the machine get next to nothing beside it. For threads of the kernel; what
    /// it is worth to a process depends on its session and its control group.
    High,
    /// Before all of the above.
    Ahead,
    /// Before all of the above, as an interrupt would be.
    Interrupt,
}

/// Sets it for a thread (0 = the calling one).
pub(crate) fn prioritise(thread: i32, priority: Priority) -> Result<()> {
    let (policy, level, nice) = match priority {
        Priority::Normal => (libc::SCHED_OTHER, 0, 0),
        Priority::High => (libc::SCHED_OTHER, 0, -20),
        Priority::Ahead => (libc::SCHED_FIFO, 1, 0),
        Priority::Interrupt => (libc::SCHED_FIFO, 2, 0),
    };
    let parameter = libc::sched_param { sched_priority: level };
    // SAFETY: a live parameter.
    check(unsafe { libc::sched_setscheduler(thread, policy, &raw const parameter) })?;
    // SAFETY: no pointers.
    check(unsafe { libc::setpriority(libc::PRIO_PROCESS, thread.cast_unsigned(), nice) })
        .context("cannot set the priority of a thread")
}

/// The calling thread's id.
pub(super) fn this_thread() -> i32 {
    // SAFETY: no arguments.
    unsafe { libc::gettid() }
}

/// `CLOCK_MONOTONIC`, the clock of `bpf_ktime_get_ns`.
pub(crate) fn monotonic_ns() -> u64 {
    clock_ns(libc::CLOCK_MONOTONIC)
}

/// `CLOCK_BOOTTIME`, the clock of the agent's deadline.
pub(super) fn boottime_ns() -> u64 {
    clock_ns(libc::CLOCK_BOOTTIME)
}

fn clock_ns(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a live timespec; the clocks exist on every Linux.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
}

/// Nanoseconds the thread has run.
pub(crate) fn run_time(thread: i32) -> Result<u64> {
    let path = format!("/proc/{thread}/schedstat");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let first = text.split_whitespace().next().with_context(|| format!("{path} is empty"))?;
    first.parse().with_context(|| format!("{path} says {first}"))
}

/// Nanoseconds the calling thread has run.
pub(super) fn own_ns() -> u64 {
    clock_ns(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// The threads of a process, and those of its descendants.
pub(crate) fn threads(process: u32) -> Vec<i32> {
    let mut found = Vec::new();
    let Ok(tasks) = fs::read_dir(format!("/proc/{process}/task")) else { return found };
    for task in tasks.flatten() {
        found.extend(task.file_name().to_string_lossy().parse::<i32>());
        let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        found.extend(children.split_whitespace().flat_map(str::parse).flat_map(threads));
    }
    found
}

/// Threads of the kernel whose name starts with `prefix`.
pub(super) fn kernel_threads(prefix: &str) -> Result<Vec<i32>> {
    let mut found = Vec::new();
    for process in fs::read_dir("/proc")?.flatten() {
        let Ok(id) = process.file_name().to_string_lossy().parse() else { continue };
        let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
        if name.starts_with(prefix) {
            found.push(id);
        }
    }
    Ok(found)
}

/// Processors of the machine.
pub(crate) fn count() -> usize {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    text.lines().filter(|line| line.starts_with("processor")).count()
}

/// Ticks of the whole machine.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ticks {
    /// All of them.
    pub(super) total: u64,
    /// Taken by the host for other guests.
    pub(super) steal: u64,
}

impl Ticks {
    /// Now.
    pub(super) fn now() -> Result<Self> {
        let text = fs::read_to_string("/proc/stat")?;
        let line = text.lines().next().unwrap_or_default();
        let fields: Vec<u64> = line.split_whitespace().skip(1).flat_map(str::parse).collect();
        // user nice system idle iowait irq softirq steal; guest time is part of user time.
        Ok(Self { total: fields.iter().take(8).sum(), steal: fields.get(7).copied().unwrap_or(0) })
    }

    /// Share of the time since `before` that was stolen.
    #[expect(clippy::cast_precision_loss, reason = "tick counts are far below 2^52")]
    pub(super) fn stolen_since(self, before: Self) -> f64 {
        (self.steal - before.steal) as f64 / (self.total - before.total).max(1) as f64
    }
}

/// What a reader must know to judge the numbers: label and value.
pub(super) fn facts() -> Vec<(String, String)> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let info = read("/proc/cpuinfo");
    let field = |name: &str| {
        let line = info.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_once(':').map_or_else(|| "unknown".to_owned(), |(_, value)| value.trim().to_owned())
    };
    let processors = count();
    let mut facts = vec![
        (
            "processor".to_owned(),
            format!("{} × {} ({} MHz)", processors, field("model name"), field("cpu MHz")),
        ),
        ("kernel".to_owned(), read("/proc/sys/kernel/osrelease")),
        (
            "hypervisor".to_owned(),
            if info.contains(" hypervisor") { "yes, a virtual machine" } else { "no" }.to_owned(),
        ),
        (
            "BPF JIT / hardening".to_owned(),
            format!(
                "{} / {}",
                read("/proc/sys/net/core/bpf_jit_enable"),
                read("/proc/sys/net/core/bpf_jit_harden")
            ),
        ),
    ];
    let statistics = read("/proc/sys/kernel/bpf_stats_enabled");
    facts.push((
        "BPF statistics (cost time when on)".to_owned(),
        if statistics == "1" { "on" } else { "off" }.to_owned(),
    ));
    for name in names("/sys/devices/system/cpu/vulnerabilities") {
        let state = read(&format!("/sys/devices/system/cpu/vulnerabilities/{name}"));
        if state != "Not affected" {
            facts.push((format!("mitigation: {name}"), state));
        }
    }
    facts
}

fn names(folder: impl AsRef<Path>) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn check(done: i32) -> io::Result<()> {
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
