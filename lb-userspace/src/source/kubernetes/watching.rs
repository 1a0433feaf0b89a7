//! What the log is told of watches: that one fails, once, and that it works again.

use std::collections::BTreeSet;
use std::error::Error;

use super::{Kind, Seen, State};

/// See the module.
#[derive(Debug, Default)]
pub struct Watching {
    failing: BTreeSet<Kind>,
    absent: BTreeSet<Kind>,
    updates: u64,
}

impl Watching {
    /// How many kinds can't be listed or watched now.
    pub fn failing(&self) -> usize {
        self.failing.len()
    }

    /// How many changes of objects were shown since the last call.
    pub fn take_updates(&mut self) -> u64 {
        std::mem::take(&mut self.updates)
    }

    /// Takes note of what a watch shows.
    pub fn see(&mut self, seen: &Seen) {
        let kind = seen.kind();
        match seen.state() {
            State::Fails(error) => {
                let what = error as &dyn Error;
                if self.failing.insert(kind) {
                    tracing::warn!(
                        kind = kind.name(),
                        error = what,
                        "can't list or watch objects, trying again: check that the API server is reachable and that \
                         the ServiceAccount may list and watch them"
                    );
                } else {
                    tracing::debug!(kind = kind.name(), error = what, "still can't list or watch objects");
                }
            }
            State::Absent => {
                self.failing.remove(&kind);
                if self.absent.insert(kind) {
                    tracing::info!(
                        kind = kind.name(),
                        "the API server does not have this kind; it is used once it is installed"
                    );
                }
            }
            State::Begins => {}
            State::Works => {
                self.updates += 1;
                self.absent.remove(&kind);
                if self.failing.remove(&kind) {
                    tracing::info!(kind = kind.name(), "objects can be listed and watched again");
                }
            }
        }
    }
}
