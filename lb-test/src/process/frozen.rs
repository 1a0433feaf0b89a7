//! One thread of a child that does not go on, as if a system call of it did not come back.

use std::io;
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result};

/// The frozen thread; goes on when this is dropped. The child must not be waited for meanwhile.
#[derive(Debug)]
pub struct Frozen {
    thaw: Option<Sender<()>>,
    tracer: Option<JoinHandle<()>>,
}

impl Frozen {
    /// Freezes the first thread of a child of this process.
    pub fn main_thread(pid: u32) -> Result<Self> {
        let pid = libc::pid_t::try_from(pid)?;
        let (thaw, thawed) = channel::<()>();
        let (tell, told) = channel();
        // All requests about a thread have to come from the one that has begun to trace it.
        let tracer = thread::spawn(move || {
            let froze = freeze(pid);
            let is_frozen = froze.is_ok();
            drop(tell.send(froze));
            if is_frozen {
                // Always an error: nothing is ever sent.
                let _thawed = thawed.recv();
                drop(request(libc::PTRACE_DETACH, pid));
            }
        });
        told.recv().context("the tracer has ended")?.context("cannot freeze the thread")?;
        Ok(Self { thaw: Some(thaw), tracer: Some(tracer) })
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        drop(self.thaw.take());
        if let Some(tracer) = self.tracer.take() {
            drop(tracer.join());
        }
    }
}

fn freeze(thread: libc::pid_t) -> io::Result<()> {
    request(libc::PTRACE_SEIZE, thread)?;
    request(libc::PTRACE_INTERRUPT, thread)?;
    let mut status = 0;
    // SAFETY: `status` is writable for the whole call.
    let stopped = unsafe { libc::waitpid(thread, &raw mut status, libc::__WALL) };
    if stopped == thread && libc::WIFSTOPPED(status) { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn request(request: libc::c_uint, thread: libc::pid_t) -> io::Result<()> {
    // SAFETY: none of the requests used here reads or writes memory of this process.
    let done = unsafe { libc::ptrace(request, thread, 0, 0) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
