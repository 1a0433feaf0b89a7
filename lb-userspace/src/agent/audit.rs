//! What is looked at without being told: the table, the pins, the drivers, and what could not be done before.

use std::time::{Duration, Instant};

use super::driver;
use super::reconcile::Reconciled;
use super::task::Agent;
use crate::dataplane::Audit;
use crate::net::memory;

/// All of the table is looked at this often, so that a change from outside is repaired within a second.
const AUDIT: Duration = Duration::from_millis(800);
/// Parts of one pass over the table follow each other this fast, or faster where there are many.
const PART: Duration = Duration::from_millis(20);
/// Group memberships are compared with the kernel's every so many passes, once a minute: a step does it anyway.
const GROUPS_EVERY: u32 = 75;
/// Statuses that could not be written are tried again every so many passes.
const STATUS_EVERY: u32 = 12;
/// Counters of drivers are read every so many passes.
const DRIVERS_EVERY: u32 = 3;
/// What the data plane could not do is tried again after so many passes, then after twice as many, up to a limit. The
/// first is longer than the slots of entries that were removed have to rest.
const FIRST_RETRY: u32 = 2;
const LAST_RETRY: u32 = 16;
/// A survey that takes longer is stuck: the table may be wrong, so its deadline is not moved.
const STUCK: Duration = Duration::from_secs(10);

/// When to look at what.
#[derive(Debug)]
pub(super) struct Auditor {
    /// When the pass under way began.
    began: Instant,
    due: Instant,
    passes: u32,
    retry: Retry,
    surveying: Option<Instant>,
    /// Changes of the interfaces can't be waited for.
    blind: bool,
}

impl Default for Auditor {
    fn default() -> Self {
        let now = Instant::now();
        let retry = Retry::default();
        Self { began: now, due: now + AUDIT, passes: 0, retry, surveying: None, blind: false }
    }
}

impl Auditor {
    /// When to look next.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    pub(super) fn survey_started(&mut self) {
        self.surveying = Some(Instant::now());
    }

    pub(super) fn survey_ended(&mut self) {
        self.surveying = None;
    }

    /// A survey is under way and does not come back.
    pub(super) fn is_stuck(&self) -> bool {
        self.surveying.is_some_and(|since| since.elapsed() > STUCK)
    }

    /// Waiting for changes of the interfaces failed a moment ago.
    pub(super) fn is_blind(&self) -> bool {
        self.blind
    }

    pub(super) fn is_blind_for_now(&mut self) {
        self.blind = true;
    }

    /// Takes note of what a step could not do.
    pub(super) fn stepped(&mut self, done: &Reconciled) {
        let failed = done.attachments.values().any(|attachment| attachment.mode.is_none());
        self.retry.note(failed || !done.unanswered.is_empty());
    }

    fn next_part(&mut self) {
        // Never so slow that the pass would take longer than it may.
        self.due = (Instant::now() + PART).min(self.began + AUDIT);
    }

    fn next_pass(&mut self) {
        let now = Instant::now();
        self.due = (self.began + AUDIT).max(now);
        self.began = self.due;
        self.passes = self.passes.wrapping_add(1);
        self.blind = false;
    }
}

/// Longer and longer pauses between tries that fail.
#[derive(Debug, Default)]
struct Retry {
    pause: u32,
    left: u32,
}

impl Retry {
    /// After a step: whether something could not be done.
    fn note(&mut self, failed: bool) {
        if !failed {
            *self = Self::default();
        } else if self.left == 0 {
            self.pause = (self.pause * 2).clamp(FIRST_RETRY, LAST_RETRY);
            self.left = self.pause;
        }
    }

    /// Once per pass: whether to try again now.
    fn is_due(&mut self) -> bool {
        let waiting = self.left > 0;
        self.left = self.left.saturating_sub(1);
        waiting && self.left == 0
    }
}

impl Agent {
    /// Looks whether somebody changed a part of the table, and repairs it; after the last part, at everything else.
    pub(super) fn audit(&mut self) {
        match self.reconciler.audit() {
            Ok(Audit::Part) => return self.auditor.next_part(),
            Ok(Audit::Whole) => {}
            Ok(Audit::Changed) => {
                self.metrics.repaired();
                let repairs = self.reconciler.repairs();
                tracing::warn!(repairs, "the table was changed from outside: repairing it");
                self.repair();
            }
            Err(error) => {
                self.healthy = false;
                tracing::error!(error = &error as &dyn std::error::Error, "can't read the table");
            }
        }
        self.auditor.next_pass();
        self.look_around();
    }

    /// Makes the table what it was planned to be, without asking what has to be planned.
    fn repair(&mut self) {
        self.notice_lapse();
        // What changed by it is to be told too.
        if self.healthy && self.step() {
            self.look_again();
        }
    }

    fn look_around(&mut self) {
        // It takes as long as everything else between an event and the table.
        if std::mem::take(&mut self.untidy) {
            memory::give_back();
        }
        let passes = self.auditor.passes;
        if passes.is_multiple_of(GROUPS_EVERY) {
            self.keeper.check();
        }
        if passes.is_multiple_of(DRIVERS_EVERY) && self.counting.is_none() {
            let native = driver::native(&self.last.attachments);
            if !native.is_empty() {
                self.counting = Some(tokio::task::spawn_blocking(move || driver::count(&native)));
            }
        }
        if self.auditor.is_stuck() {
            tracing::error!(
                "the interfaces or the plan can't be determined; the table falls silent until they are"
            );
        }
        let retry =
            self.auditor.retry.is_due() || self.worker.is_behind() && passes.is_multiple_of(STATUS_EVERY);
        if !self.healthy {
            if self.worker.decided().is_none() {
                self.read();
            }
            self.look_again();
        } else if !self.reconciler.dataplane().is_attached() {
            tracing::warn!("a link is not attached to as it was left: attaching again");
            self.repair();
        } else if retry {
            self.look_again();
        }
    }

    /// A driver that counts transmit errors for what XDP sends is left for the next mode.
    pub(super) fn counted(&mut self, counted: &std::collections::BTreeMap<lb_core::ids::LinkId, u64>) {
        for link in self.drivers.note(counted) {
            tracing::warn!(link = link.0, "the driver loses what XDP sends: trying the next mode");
            self.look_again();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_grow_rarer_and_end_when_it_works() {
        let mut retry = Retry::default();
        let tries = |retry: &mut Retry, passes: u32| {
            (0..passes)
                .filter(|_| {
                    let due = retry.is_due();
                    if due {
                        retry.note(true);
                    }
                    due
                })
                .collect::<Vec<u32>>()
        };
        assert!(tries(&mut retry, 100).is_empty(), "nothing has failed");
        retry.note(true);
        retry.note(true);
        assert_eq!(tries(&mut retry, 63), [1, 5, 13, 29, 45, 61]);
        retry.note(false);
        assert!(tries(&mut retry, 100).is_empty());
        retry.note(true);
        assert_eq!(tries(&mut retry, 3), [1], "from the beginning");
    }
}
