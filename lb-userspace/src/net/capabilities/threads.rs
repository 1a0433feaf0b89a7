//! Giving up capabilities in every thread.
//!
//! capset(2) changes the calling thread only, and a thread cannot change another. Blocking threads of the runtime exist
//! before the last privileged socket is open, so each thread is made to do it: a real-time signal is sent to it and the handler
//! makes the system calls (what libpsx does, and what the C library does for setuid). Threads are then looked up in
//! /proc until every one, also those started meanwhile, holds none of what was given up; so success is
//! what the kernel says, not what was asked for.

use std::io;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::{Capability, CapabilityError, Sets, named};

/// How long all threads may take together; each needs microseconds unless it sleeps in the kernel.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the handler gives up, as bits.
static GIVE_UP: AtomicU64 = AtomicU64::new(0);
/// One change at a time: the handler reads one variable.
static TURN: Mutex<()> = Mutex::new(());

/// `_LINUX_CAPABILITY_VERSION_3` of linux/capability.h: two 32-bit words per set.
const VERSION_3: u32 = 0x2008_0522;

/// `struct __user_cap_header_struct`.
#[repr(C)]
struct Header {
    version: u32,
    pid: libc::c_int,
}

/// `struct __user_cap_data_struct`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Data {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Gives up `capabilities` in the effective, permitted, inheritable and ambient sets of every thread of this process, and where
/// that is allowed (`CAP_SETPCAP`) in the bounding set.
///
/// Blocks for well under a millisecond as a rule. There is no way back. On an error the threads named still hold some;
/// nothing else has failed.
pub fn drop_from_all_threads(capabilities: &[Capability]) -> Result<(), CapabilityError> {
    let bits = capabilities.iter().fold(0, |bits, capability| bits | capability.bit());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    GIVE_UP.store(bits, Ordering::SeqCst);
    let signal = libc::SIGRTMAX() - 2;
    let previous = install(signal, handler_action()).map_err(CapabilityError::Signal)?;
    let result = signal_until_dropped(signal, bits);
    // A signal still on its way to a thread that did not react in time would end the process without a handler.
    if result.is_ok() {
        install(signal, previous).map_err(CapabilityError::Signal)?;
    }
    result
}

fn signal_until_dropped(signal: libc::c_int, bits: u64) -> Result<(), CapabilityError> {
    let deadline = Instant::now() + PATIENCE;
    let mut signalled = std::collections::BTreeSet::new();
    loop {
        let holders = holders(bits)?;
        let Some((thread, held)) = holders.first().copied() else { return Ok(()) };
        if Instant::now() >= deadline {
            return Err(CapabilityError::StillHeld { thread, held: named(held).into_iter().collect() });
        }
        for (thread, _) in holders {
            // Once is enough: a queued signal is not lost.
            if signalled.insert(thread) {
                send(thread, signal);
            }
        }
        std::thread::park_timeout(Duration::from_micros(200));
    }
}

/// The threads that hold any of `bits`, with what they hold of them.
fn holders(bits: u64) -> Result<Vec<(libc::pid_t, u64)>, CapabilityError> {
    let mut holders = Vec::new();
    for entry in std::fs::read_dir("/proc/self/task").map_err(CapabilityError::Proc)? {
        let name = entry.map_err(CapabilityError::Proc)?.file_name();
        let Some(thread) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        // A thread that has ended since holds nothing.
        let Ok(status) = std::fs::read_to_string(format!("/proc/self/task/{thread}/status")) else {
            continue;
        };
        let sets = Sets::parse(&status).ok_or(CapabilityError::Format { thread })?;
        if sets.held() & bits != 0 {
            holders.push((thread, sets.held() & bits));
        }
    }
    Ok(holders)
}

/// Sends the signal to one thread of this process; one that has ended meanwhile needs none.
fn send(thread: libc::pid_t, signal: libc::c_int) {
    let process = libc::pid_t::try_from(std::process::id()).unwrap_or_default();
    // SAFETY: tgkill takes three integers; a thread id that is not of this process is refused.
    unsafe { libc::syscall(libc::SYS_tgkill, process, thread, signal) };
}

fn handler_action() -> libc::sigaction {
    // SAFETY: sigaction is plain data; all zero means the default action, an empty mask and no flags.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    let function: extern "C" fn(libc::c_int) = handler;
    action.sa_sigaction = function as libc::sighandler_t;
    // Interrupted system calls go on by themselves.
    action.sa_flags = libc::SA_RESTART;
    action
}

fn install(signal: libc::c_int, action: libc::sigaction) -> io::Result<libc::sigaction> {
    let mut previous = action;
    // SAFETY: both point to valid structures; the handler only makes system calls and reads an atomic, which is allowed there.
    let result = unsafe { libc::sigaction(signal, &raw const action, &raw mut previous) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(previous) }
}

/// Runs in each thread. Allowed here: system calls, atomics, the stack. No allocation, no lock, no panic.
extern "C" fn handler(_signal: libc::c_int) {
    // SAFETY: the address of this thread's errno is always valid.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: see above; only this thread uses it.
    let kept = unsafe { errno.read() };
    drop_in_this_thread(GIVE_UP.load(Ordering::SeqCst));
    // SAFETY: see above; the interrupted code must find its own error number.
    unsafe { errno.write(kept) };
}

fn drop_in_this_thread(bits: u64) {
    for number in 0..64u64 {
        if bits & (1 << number) != 0 {
            // SAFETY: prctl with this operation takes integers; without CAP_SETPCAP it is refused, which is fine.
            unsafe { libc::prctl(libc::PR_CAPBSET_DROP, number, 0, 0, 0) };
        }
    }
    let mut header = Header { version: VERSION_3, pid: 0 };
    let mut data = [Data::default(); 2];
    // SAFETY: version 3 fills two entries; both structures have the kernel's layout and are writable.
    let read = unsafe { libc::syscall(libc::SYS_capget, &raw mut header, data.as_mut_ptr()) };
    if read < 0 {
        return;
    }
    let [low, high] = [bits & u64::from(u32::MAX), bits >> 32];
    for (part, word) in [low, high].into_iter().zip(&mut data) {
        let keep = !u32::try_from(part).unwrap_or(0);
        word.effective &= keep;
        word.permitted &= keep;
        word.inheritable &= keep;
    }
    // The ambient set follows: the kernel drops from it what is no longer both permitted and inheritable.
    // SAFETY: version 3 reads two entries; both structures have the kernel's layout.
    unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) };
}
