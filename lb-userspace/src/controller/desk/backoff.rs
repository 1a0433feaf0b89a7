//! How long a write waits after one that failed, or that has had no effect.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

use super::super::write::{Target, Write};
use crate::{k8s::write::WriteError, timer::doubled};

/// First and longest wait of an object that somebody else wrote.
const CONFLICT: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));
/// First and longest wait of an object that is refused: somebody has to change something.
const REFUSED: (Duration, Duration) = (Duration::from_secs(5), Duration::from_mins(5));
/// The same for another version of the object, which may be what was missing.
const REFUSED_BEFORE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(30));
/// First and longest wait of an object about which the API server could not answer.
const AWAY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));
/// First and longest wait before the third time of a write that somebody else undoes.
const UNDONE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));
/// Between two writes of a pool's counters, which change with every address, and of the own state.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long a write is known after its wait.
const KNOWN: Duration = Duration::from_mins(2);
/// Between two attempts while the API server answers nobody.
const GAP: Duration = Duration::from_millis(500);

/// Why an object waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    /// Somebody else wrote it: a different write, such as one for a later version, need not wait.
    Conflict,
    /// It was refused. Another version may be tried from `other` on.
    Refused { other: Instant },
    /// There was no answer.
    Away,
    /// It was written. The same is not written again and again.
    Done,
}

/// An object that waits.
#[derive(Debug)]
struct Hold {
    until: Instant,
    why: Why,
    write: Write,
    /// How often the same happened before, with this time.
    times: u32,
}

/// Objects that wait.
#[derive(Debug, Default)]
pub(super) struct Holds(BTreeMap<Target, Hold>);

impl Holds {
    /// Until when this write has to wait, if it has.
    pub(super) fn until(&self, target: &Target, write: &Write, now: Instant) -> Option<Instant> {
        let hold = self.0.get(target)?;
        let until = match hold.why {
            Why::Conflict => (hold.write == *write).then_some(hold.until),
            Why::Refused { other } if hold.write.version() != write.version() => Some(hold.until.min(other)),
            Why::Refused { .. } | Why::Away => Some(hold.until),
            Why::Done => hold.write.does_the_same(write).then_some(hold.until),
        };
        until.filter(|until| *until > now)
    }

    /// Whether the last write failed by itself: others go first.
    pub(super) fn has_failed(&self, target: &Target) -> bool {
        self.0.get(target).is_some_and(|hold| matches!(hold.why, Why::Refused { .. } | Why::Away))
    }

    pub(super) fn failed(&mut self, write: &Write, error: &WriteError, now: Instant) {
        let target = write.target();
        let before = self.0.get(&target).filter(|hold| hold.why != Why::Done);
        let times = before.map_or(0, |hold| hold.times).saturating_add(1);
        let (why, long) = match error {
            WriteError::Conflict | WriteError::Gone => (Why::Conflict, CONFLICT),
            WriteError::Forbidden { .. } | WriteError::Invalid { .. } => {
                (Why::Refused { other: now + doubled(REFUSED_BEFORE, times) }, REFUSED)
            }
            WriteError::Busy { .. } | WriteError::Timeout | WriteError::Unreachable(_) => (Why::Away, AWAY),
        };
        self.0.insert(target, Hold { until: now + doubled(long, times), why, write: write.clone(), times });
    }

    pub(super) fn succeeded(&mut self, write: &Write, now: Instant) {
        let target = write.target();
        let same = |hold: &&Hold| hold.why == Why::Done && hold.write.does_the_same(write);
        let times = self.0.get(&target).filter(same).map_or(0, |hold| hold.times.saturating_add(1));
        let until = match target {
            Target::Pool(_) | Target::State => now + INTERVAL,
            // What is undone once, such as by hand, is put right at once.
            Target::Service(_) if times == 0 => now,
            Target::Service(_) => now + doubled(UNDONE, times),
        };
        self.0.insert(target, Hold { until, why: Why::Done, write: write.clone(), times });
    }

    /// Forgets objects that neither wait nor are to be written.
    pub(super) fn retain(&mut self, wanted: &BTreeMap<Target, Write>, now: Instant) {
        self.0.retain(|target, hold| {
            let known = if hold.why == Why::Done { KNOWN } else { Duration::ZERO };
            hold.until + known > now || wanted.contains_key(target)
        });
    }
}

/// Whether the API server answers anybody.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    /// It did not, and is not asked before.
    until: Option<Instant>,
    worked: Option<Instant>,
}

impl Trouble {
    /// Until when nobody asks.
    pub(super) fn until(&self, now: Instant) -> Option<Instant> {
        self.until.filter(|until| *until > now)
    }

    /// Whether it is tried with a few only.
    pub(super) fn is_there(&self) -> bool {
        self.until.is_some()
    }

    /// A request that began then got no answer. Where others have got theirs since, it is not the server.
    pub(super) fn failed(&mut self, began: Instant, now: Instant) {
        if self.worked.is_none_or(|worked| worked < began) {
            self.until = Some(now + GAP);
        }
    }

    pub(super) fn works(&mut self, now: Instant) {
        (self.until, self.worked) = (None, Some(now));
    }
}
