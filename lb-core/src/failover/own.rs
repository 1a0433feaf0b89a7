//! How this node stands itself: when it may own addresses, and from which place.

use std::time::Duration;

/// How often the hold-down doubles for a node that gives up again and again.
const MOST_DOUBLINGS: u32 = 5;
/// After so many hold-downs without giving up, it counts from the beginning again.
const FORGIVEN: u32 = 64;
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
    Joining { since: Duration, resumes: Option<u32> },
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
            phase: Phase::Joining { since: now, resumes },
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
        self.phase = Phase::Joining { since: now, resumes: None };
        self.held_until = None;
        self.seq += 1;
    }

    /// The agent was away for so long: nobody could say anything meanwhile.
    pub(super) fn was_away(&mut self, away: Duration, now: Duration) {
        if let Phase::Joining { since, .. } = &mut self.phase {
            *since = (*since + away).min(now);
        }
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
    pub(super) fn join(&mut self, greatest: Option<u32>, now: Duration) {
        let Phase::Joining { resumes, .. } = self.phase else { return };
        self.phase = Phase::Active;
        self.seq += 1;
        match (resumes, greatest) {
            (Some(epoch), _) => {
                self.epoch = epoch;
                self.hold(now);
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

    /// Takes its place back once the hold-down has passed; `least` is the least epoch of the others. True when it has.
    pub(super) fn fail_back(&mut self, least: Option<u32>, now: Duration) -> bool {
        let due = self.fails_back_at(least).is_some_and(|at| now >= at);
        if let Some(least) = least.filter(|_| due) {
            self.epoch = least;
            self.seq += 1;
        }
        due
    }

    /// When it takes its place back, if nothing changes until then.
    pub(super) fn fails_back_at(&self, least: Option<u32>) -> Option<Duration> {
        let behind = self.phase == Phase::Active && least.is_some_and(|least| least < self.epoch);
        self.held_until.filter(|_| behind)
    }

    /// It hands over what it owns, or does not any more.
    pub(super) fn leave(&mut self, leaving: bool, now: Duration) {
        self.leaving = leaving.then_some(now);
        self.left = false;
        self.seq += 1;
    }

    /// Whether it is silent now: the others have taken over, or had the time to. True when that is news.
    pub(super) fn leave_now(&mut self, taken: bool, now: Duration) -> bool {
        let Some(since) = self.leaving_since() else { return false };
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

    /// When it is to be looked at again, if it leaves: others have this time to answer.
    pub(super) fn leaves_at(&self, answer: Duration, now: Duration) -> Option<Duration> {
        let since = self.leaving_since()?;
        Some(if now < since + answer { since + answer } else { since + HAND_OVER })
    }

    /// Since when it leaves, while it is not silent.
    pub(super) fn leaving_since(&self) -> Option<Duration> {
        self.leaving.filter(|_| !self.left)
    }
}
