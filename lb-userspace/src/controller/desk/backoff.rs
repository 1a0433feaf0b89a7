//! How long a write waits after one that failed.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

use super::super::write::{Target, Write};
use crate::k8s::write::WriteError;

/// First and longest wait of an object that somebody else wrote.
const CONFLICT: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));
/// First and longest wait of an object that is refused: somebody has to change something.
const REFUSED: (Duration, Duration) = (Duration::from_secs(5), Duration::from_mins(5));
/// First and longest wait of all when the API server can't answer.
const AWAY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));
/// Between two writes of a pool's counters: they change with every address.
const COUNTERS: Duration = Duration::from_secs(1);

fn wait((first, longest): (Duration, Duration), failures: u32) -> Duration {
    first.saturating_mul(1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX)).min(longest)
}

/// An object that waits.
#[derive(Debug)]
struct Hold {
    until: Instant,
    failures: u32,
    /// What was in conflict: anything else, such as a later version, need not wait.
    conflicted: Option<Write>,
}

/// Objects that wait.
#[derive(Debug, Default)]
pub(super) struct Holds(BTreeMap<Target, Hold>);

impl Holds {
    /// Until when this write has to wait, if it has.
    pub(super) fn until(&self, target: &Target, write: &Write, now: Instant) -> Option<Instant> {
        let hold = self.0.get(target).filter(|hold| hold.until > now)?;
        hold.conflicted.as_ref().is_none_or(|conflicted| conflicted == write).then_some(hold.until)
    }

    pub(super) fn failed(&mut self, write: &Write, error: &WriteError, now: Instant) {
        let target = write.target();
        let failures = self.0.get(&target).map_or(0, |hold| hold.failures).saturating_add(1);
        let conflict = matches!(error, WriteError::Conflict | WriteError::Gone);
        let until = now + wait(if conflict { CONFLICT } else { REFUSED }, failures);
        let conflicted = conflict.then(|| write.clone());
        self.0.insert(target, Hold { until, failures, conflicted });
    }

    pub(super) fn succeeded(&mut self, target: &Target, now: Instant) {
        match target {
            Target::Pool(_) => {
                let hold = Hold { until: now + COUNTERS, failures: 0, conflicted: None };
                self.0.insert(target.clone(), hold);
            }
            Target::Service(_) | Target::State => {
                self.0.remove(target);
            }
        }
    }

    /// Forgets objects that neither wait nor are to be written.
    pub(super) fn retain(&mut self, wanted: &BTreeMap<Target, Write>, now: Instant) {
        self.0.retain(|target, hold| hold.until > now || wanted.contains_key(target));
    }
}

/// The wait of all.
#[derive(Debug, Default)]
pub(super) struct Pause {
    until: Option<Instant>,
    failures: u32,
}

impl Pause {
    pub(super) fn until(&self) -> Option<Instant> {
        self.until
    }

    /// Many writes fail together: that counts as one failure.
    pub(super) fn begin(&mut self, now: Instant) {
        if self.until.is_none_or(|until| until <= now) {
            self.failures = self.failures.saturating_add(1);
            self.until = Some(now + wait(AWAY, self.failures));
        }
    }

    pub(super) fn end(&mut self) {
        *self = Self::default();
    }
}
