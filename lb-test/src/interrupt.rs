//! Ctrl-C and SIGTERM as something to look for, so that every guard is dropped in order.

use std::io;
use std::mem::MaybeUninit;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::ptr;
use std::time::Duration;

use anyhow::{Result, bail};

/// Both signals, blocked in this thread and in every thread it starts from now on. A child process inherits that,
/// and would not end by SIGTERM: see [`hear_signals`].
pub(crate) struct Interrupt {
    set: libc::sigset_t,
}

impl Interrupt {
    /// Call it before the first thread is started.
    pub(crate) fn block() -> Result<Self> {
        let mut set = empty();
        for signal in [libc::SIGINT, libc::SIGTERM] {
            // SAFETY: a live, initialised set and a valid signal.
            unsafe { libc::sigaddset(&raw mut set, signal) };
        }
        change(libc::SIG_BLOCK, &set)?;
        Ok(Self { set })
    }

    /// True when one of the signals came within `limit`.
    pub(crate) fn wait(&self, limit: Duration) -> bool {
        let time = libc::timespec {
            tv_sec: libc::time_t::try_from(limit.as_secs()).unwrap_or(libc::time_t::MAX),
            tv_nsec: i64::from(limit.subsec_nanos()),
        };
        // SAFETY: live set and time; no information about the signal is asked for.
        let signal = unsafe { libc::sigtimedwait(&raw const self.set, ptr::null_mut(), &raw const time) };
        signal > 0
    }

    /// An error when one of the signals has come.
    pub(crate) fn check(&self) -> Result<()> {
        if self.wait(Duration::ZERO) {
            bail!("interrupted");
        }
        Ok(())
    }
}

/// Lets the child start with no signal blocked, whatever its maker has blocked.
pub(crate) fn hear_signals(command: &mut Command) {
    let set = empty();
    // SAFETY: between fork and exec it only changes the mask, which is async-signal-safe, and allocates nothing.
    unsafe { command.pre_exec(move || change(libc::SIG_SETMASK, &set)) };
}

fn empty() -> libc::sigset_t {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the pointer is to a sigset_t to be initialised.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: sigemptyset has initialised it.
    unsafe { set.assume_init() }
}

/// Changes the mask of this thread.
fn change(how: i32, set: &libc::sigset_t) -> io::Result<()> {
    // SAFETY: a live set; the old mask is not asked for.
    let error = unsafe { libc::pthread_sigmask(how, &raw const *set, ptr::null_mut()) };
    if error == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(error)) }
}
