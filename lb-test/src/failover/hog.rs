//! Threads that leave nothing of any processor.

use std::hint;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use anyhow::Result;

use crate::bench::cpu;

/// A thread on each processor that does nothing, as fast as it can; all end with their guard.
#[derive(Debug)]
pub(crate) struct Hogs {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Hogs {
    /// Starts them, as any program.
    pub(crate) fn start() -> Result<Self> {
        let mut hogs = Self { stop: Arc::default(), threads: Vec::new() };
        for processor in 0..cpu::count() {
            let stop = Arc::clone(&hogs.stop);
            let work = move || {
                // Unbound it is as busy, on whichever processor has the time.
                drop(cpu::bind(0, processor));
                while !stop.load(Ordering::Relaxed) {
                    hint::spin_loop();
                }
            };
            hogs.threads.push(thread::Builder::new().name("hog".into()).spawn(work)?);
        }
        Ok(hogs)
    }
}

impl Drop for Hogs {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            drop(thread.join());
        }
    }
}
