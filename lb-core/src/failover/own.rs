//! How this node stands itself: when it may own addresses, and from which place.

use std::time::Duration;

/// How often the hold-down doubles for a node that gives up again and again.
const MOST_DOUBLINGS: u32 = 5;
/// After so many hold-downs without giving up, it counts from the beginning again.
const FORGIVEN: u32 = 64;
/// How long a node waits at the most to learn how the others stand.
const PATIENCE: Duration = Duration::from_millis(400);
/// How long the others may take to answer in the place of a node that leaves.
const HAND_OVER: Duration = crate::membership::HAND_OVER;

/// Whether addresses go back to a node that has come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Failback {
    /// After the hold-down.
    #[default]
    Auto,
    /// Not by itself: it owns what others give up.
    Never,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// It does not know yet how the others stand. With an epoch it goes on from a process before, whose table is valid.
    Joining { until: Duration, resumes: Option<u32> },
    /// It may own.
    Active,
}

#[derive(Debug, Clone)]
pub(super) struct Own {
    pub(super) phase: Phase,
    pub(super) epoch: u32,
    /// What was told is known under this number.
    pub(super) seq: u32,
    /// Until when it does not take back what others own.
    held_until: Option<Duration>,
    given_up: u32,
    gave_up_at: Option<Duration>,
    leaving: Option<Duration>,
    /// The others have taken over.
    left: bool,
    failback: Failback,
    hold_down: Duration,
}

impl Own {
    pub(super) fn new(failback: Failback, hold_down: Duration, resumes: Option<u32>, now: Duration) -> Self {
        Self {
            phase: Phase::Joining { until: now + PATIENCE, resumes },
            epoch: resumes.unwrap_or(0),
            seq: 1,
            held_until: None,
            given_up: 0,
            gave_up_at: None,
            leaving: None,
            left: false,
            failback,
            hold_down,
        }
    }

    /// It must not own anything until it knows the others again: its table has fallen silent, or its link has.
    pub(super) fn rejoin(&mut self, now: Duration) {
        self.count(now);
        self.phase = Phase::Joining { until: now + PATIENCE, resumes: None };
        self.held_until = None;
        self.seq += 1;
    }

    fn count(&mut self, now: Duration) {
        let forgiven = self.gave_up_at.is_none_or(|at| now.saturating_sub(at) > self.hold_down * FORGIVEN);
        self.given_up = if forgiven { 1 } else { self.given_up + 1 };
        self.gave_up_at = Some(now);
    }

    fn hold(&mut self, now: Duration) {
        let doublings = self.given_up.saturating_sub(1).min(MOST_DOUBLINGS);
        let until = now + self.hold_down * 2_u32.pow(doublings);
        self.held_until = (self.failback == Failback::Auto).then_some(until);
    }

    /// It knows the others: nobody, or the greatest of their epochs.
    pub(super) fn join(&mut self, greatest: Option<u32>, least: Option<u32>, now: Duration) {
        let Phase::Joining { resumes, .. } = self.phase else { return };
        self.phase = Phase::Active;
        self.seq += 1;
        match (resumes, greatest) {
            (Some(epoch), _) => {
                self.epoch = epoch;
                if least.is_some_and(|least| least < epoch) {
                    self.hold(now);
                }
            }
            (None, Some(greatest)) => {
                self.epoch = greatest.saturating_add(1);
                self.hold(now);
            }
            (None, None) => self.epoch = 0,
        }
    }

    /// Others have replaced this node while they did not hear it, and heard more than it has.
    pub(super) fn give_up(&mut self, greatest: u32, again: bool, now: Duration) {
        if self.epoch > greatest {
            return;
        }
        if !again {
            self.count(now);
        }
        self.epoch = greatest.saturating_add(1);
        self.seq += 1;
        self.hold(now);
    }

    /// It gave up within this time.
    pub(super) fn has_given_up(&self, within: Duration, now: Duration) -> bool {
        self.gave_up_at.is_some_and(|at| now.saturating_sub(at) < within)
    }

    /// Takes its place back once the hold-down has passed; true when it has.
    pub(super) fn fail_back(&mut self, least: Option<u32>, now: Duration) -> bool {
        if self.held_until.is_none_or(|until| now < until) || self.phase != Phase::Active {
            return false;
        }
        self.held_until = None;
        match least {
            Some(least) if least < self.epoch => {
                self.epoch = least;
                self.seq += 1;
                true
            }
            _ => false,
        }
    }

    /// It hands over what it owns, or does not any more.
    pub(super) fn leave(&mut self, leaving: bool, now: Duration) {
        if self.leaving.is_some() == leaving {
            return;
        }
        self.leaving = leaving.then_some(now);
        self.left = false;
        self.seq += 1;
    }

    /// Whether it is silent now: the others have taken over, or had the time to. True when that is news.
    pub(super) fn leave_now(&mut self, taken: bool, now: Duration) -> bool {
        let Some(since) = self.leaving.filter(|_| !self.left) else { return false };
        self.left = taken || now >= since + HAND_OVER;
        self.left
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.leaving.is_some()
    }

    pub(super) fn has_left(&self) -> bool {
        self.left
    }

    pub(super) fn is_joining(&self) -> bool {
        self.phase != Phase::Active
    }

    /// It has fallen silent, and its reflector says so.
    pub(super) fn is_down(&self) -> bool {
        matches!(self.phase, Phase::Joining { resumes: None, .. })
    }

    pub(super) fn waits_until(&self) -> Option<Duration> {
        match self.phase {
            Phase::Joining { until, .. } => Some(until),
            Phase::Active => self.held_until.into_iter().chain(self.leaves_at()).min(),
        }
    }

    fn leaves_at(&self) -> Option<Duration> {
        self.leaving.filter(|_| !self.left).map(|since| since + HAND_OVER)
    }
}
