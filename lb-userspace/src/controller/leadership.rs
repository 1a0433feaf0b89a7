//! Who leads: the rules of client-go's leader election (`k8s.io/client-go/tools/leaderelection`), as values.
//!
//! ```text
//!              free (absent, empty, lapsed, or ours)          written: leads until
//!   read ─────────────────────────────────────────> write ──> start of that request
//!    ^ ^                                              │       + renew deadline
//!    │ └── held by another: after the retry period,   │             │
//!    │     or when it lapses                          │             │ after the retry period,
//!    └──────────── conflict, or no answer ────────────┴─────────────┘ with the version written last
//! ```
//!
//! The invariant: of all candidates at most one holds a valid permit at any instant, whatever their wall clocks say,
//! however long a request takes, and whoever is frozen for how long. It holds because
//!
//! - a permit ends a renew deadline after the *start* of the last request that wrote the lease;
//! - the lease of another lapses a full duration, as that record says it, after we *saw* it change last, by our
//!   monotonic clock; the duration is longer than the renew deadline;
//! - every write is bound to the version that was read, so that of two who find it free only one gets it;
//! - every renewal changes the record: its time only grows, even if the wall clock stands still or goes backwards.
//!
//! Somebody who empties or deletes the lease by hand can break it: an empty lease may be taken at once. A deleted one
//! that was held when it was last seen counts as held for its duration.
//!
//! Differences to client-go: no random part in the retry period, so that a take-over has an upper bound; a permit
//! counts from the start of the request instead of from a later moment; who loses the lease waits for another term
//! instead of ending the process; a lease without a duration counts with ours instead of being free.

use std::time::Duration;

use tokio::time::Instant;

use crate::k8s::lease::{Record, Revision, Stored, WallTime};

#[cfg(test)]
mod tests;

/// Longest time for one request, if the renew deadline does not ask for less.
const LONGEST_REQUEST: Duration = Duration::from_secs(5);
/// What is written when the lease is given back: nobody waits for a lease without a holder, and 0 is not permitted.
const RELEASED_SECONDS: i32 = 1;

/// The three times of the election.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    lease_seconds: i32,
    renew_deadline: Duration,
    retry_period: Duration,
}

/// Why times don't fit together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TimingError {
    /// Others would take the lease while we still lead.
    #[error("the lease duration must be longer than the renew deadline")]
    Lease,
    /// There would be no second try.
    #[error("the renew deadline must be longer than the retry period")]
    Renew,
    /// Requests without a pause.
    #[error("the retry period must be longer than zero")]
    Retry,
}

impl Default for Timing {
    /// As the controllers of Kubernetes have them: 15 s, 10 s, 2 s.
    fn default() -> Self {
        Self {
            lease_seconds: 15,
            renew_deadline: Duration::from_secs(10),
            retry_period: Duration::from_secs(2),
        }
    }
}

impl Timing {
    /// Checks that the times fit together, by client-go's rules.
    ///
    /// `lease_seconds`: for how long others leave the lease to a leader they hear nothing of. `renew_deadline`: for
    /// how long a leader acts without having renewed. `retry_period`: from one try to the next.
    pub fn new(
        lease_seconds: u16,
        renew_deadline: Duration,
        retry_period: Duration,
    ) -> Result<Self, TimingError> {
        if Duration::from_secs(lease_seconds.into()) <= renew_deadline {
            return Err(TimingError::Lease);
        }
        if renew_deadline <= retry_period {
            return Err(TimingError::Renew);
        }
        if retry_period.is_zero() {
            return Err(TimingError::Retry);
        }
        Ok(Self { lease_seconds: lease_seconds.into(), renew_deadline, retry_period })
    }

    /// For how long a leader acts without having renewed.
    pub const fn renew_deadline(&self) -> Duration {
        self.renew_deadline
    }

    /// For how long one request may take. Half of the renew deadline at most, so that there is a second one.
    pub fn request_timeout(&self) -> Duration {
        LONGEST_REQUEST.min(self.renew_deadline / 2)
    }
}

/// What a leader may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permit {
    /// Counts the times this process became leader, from 1. In another term everything has to be read anew.
    pub term: u64,
    /// Until when nobody else leads. What is begun before must not be able to take effect later than the difference
    /// between lease duration and renew deadline (5 s) after it.
    pub until: Instant,
}

/// Where a candidate stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It leads.
    Leading {
        /// See [`Permit::term`].
        term: u64,
    },
    /// It waits.
    Standby {
        /// The identity that the lease names, if it names another one.
        leader: Option<String>,
    },
}

/// Why a term ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum End {
    /// No renewal got through in time, or this process or the machine was stopped for so long.
    #[error("the lease was not renewed in time")]
    NotRenewed,
    /// The lease names somebody else, or nobody.
    #[error("somebody else has written the lease")]
    Taken,
    /// This process ends.
    #[error("the lease is given up")]
    Released,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Nothing before this.
    Wait(Instant),
    /// To ask the store, and to tell the answer by [`Election::answered`].
    Ask {
        /// What to ask.
        request: Request,
        /// When to give up.
        deadline: Instant,
    },
}

/// What is asked of the store.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// Read the lease.
    Read,
    /// Make it.
    Create(Record),
    /// Replace that version of it.
    Replace(Revision, Record),
}

/// Why there is no answer to work with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Somebody else was first.
    Conflict,
    /// Anything else: refused, lost, or too late. It may have been carried out.
    Other,
}

/// What comes next.
#[derive(Debug, Clone, Copy)]
enum Next {
    Read(Instant),
    /// Write what was just read to be free.
    Take,
    /// Renew with the version that was written last, without reading it again.
    Renew(Instant),
}

/// The lease as it was seen last.
#[derive(Debug, Clone)]
struct Seen {
    lease: Option<Stored>,
    /// When this was first seen.
    since: Instant,
    /// For how long it counts as held from then on.
    held: Duration,
}

/// One candidate.
#[derive(Debug, Clone)]
pub struct Election {
    identity: String,
    timing: Timing,
    seen: Option<Seen>,
    next: Next,
    term: u64,
    /// Until when it leads; `None` between terms.
    until: Option<Instant>,
    ended: Option<End>,
}

impl Election {
    /// A candidate that knows nothing yet. No two may have the same identity, not even one after the other.
    pub fn new(identity: impl Into<String>, timing: Timing, now: Instant) -> Self {
        Self {
            identity: identity.into(),
            timing,
            seen: None,
            next: Next::Read(now),
            term: 0,
            until: None,
            ended: None,
        }
    }

    /// What to do now. `wall` is what a write made now says when it was made.
    pub fn step(&mut self, now: Instant, wall: WallTime) -> Step {
        self.expire(now);
        if let (Next::Renew(at), None) = (self.next, self.until) {
            self.next = Next::Read(at);
        }
        let request = match self.next {
            Next::Read(at) | Next::Renew(at) if at > now => {
                return Step::Wait(self.until.map_or(at, |until| until.min(at)));
            }
            Next::Read(_) => Request::Read,
            Next::Take | Next::Renew(_) => self.write(wall),
        };
        let limit = now + self.timing.request_timeout();
        Step::Ask { request, deadline: self.until.map_or(limit, |until| until.min(limit)) }
    }

    /// The answer to what was asked at `started`: the lease as it is now, `None` if there is none.
    pub fn answered(&mut self, started: Instant, now: Instant, answer: Result<Option<Stored>, Failure>) {
        self.expire(now);
        let retry = (started + self.timing.retry_period).max(now);
        let asked = std::mem::replace(&mut self.next, Next::Read(retry));
        match (asked, answer) {
            (Next::Read(_), Ok(lease)) => {
                self.see(lease, now);
                let free = self.free_at(now);
                self.next = if free <= now { Next::Take } else { Next::Read(retry.min(free)) };
            }
            (Next::Take | Next::Renew(_), Ok(lease)) => {
                self.see(lease, now);
                self.granted(started + self.timing.renew_deadline, now);
                if self.until.is_some() {
                    self.next = Next::Renew(retry);
                }
            }
            // Only the version was wrong: whether it is still ours is known after reading.
            (Next::Renew(_), Err(Failure::Conflict)) => self.next = Next::Read(now),
            (_, Err(_)) => {}
        }
    }

    /// Ends the term at once, if there is one.
    pub fn forfeit(&mut self, why: End) {
        if self.until.take().is_some() {
            self.ended = Some(why);
        }
    }

    /// What it may do at `now`.
    pub fn permit(&self, now: Instant) -> Option<Permit> {
        let until = self.until.filter(|until| *until > now)?;
        Some(Permit { term: self.term, until })
    }

    /// Where it stands at `now`.
    pub fn standing(&self, now: Instant) -> Standing {
        if let Some(Permit { term, .. }) = self.permit(now) {
            return Standing::Leading { term };
        }
        let lease = self.seen.as_ref().and_then(|seen| seen.lease.as_ref());
        let holder = lease.map(|lease| &lease.record.holder);
        let other = holder.filter(|holder| !holder.is_empty() && **holder != self.identity);
        Standing::Standby { leader: other.cloned() }
    }

    /// Why the last term that ended has ended.
    pub const fn ended(&self) -> Option<End> {
        self.ended
    }

    /// How to give back a lease that was just read; `None` if it is not ours.
    pub fn release(&self, lease: Stored, wall: WallTime) -> Option<(Revision, Record)> {
        if lease.record.holder != self.identity {
            return None;
        }
        let record = Record {
            holder: String::new(),
            duration_seconds: Some(RELEASED_SECONDS),
            acquired: Some(wall),
            renewed: Some(wall),
            transitions: lease.record.transitions,
            ..Record::default()
        };
        Some((lease.revision, record))
    }

    fn expire(&mut self, now: Instant) {
        if self.until.is_some_and(|until| until <= now) {
            self.forfeit(End::NotRenewed);
        }
    }

    /// A request of ours wrote the lease: we lead until `until`, if that is still to come.
    fn granted(&mut self, until: Instant, now: Instant) {
        if until <= now {
            return;
        }
        if self.until.is_none() {
            self.term += 1;
        }
        self.until = Some(until);
    }

    /// Takes note of the lease as it is.
    fn see(&mut self, lease: Option<Stored>, now: Instant) {
        if lease.as_ref().is_some_and(|lease| lease.record.holder != self.identity) {
            self.forfeit(End::Taken);
        }
        let held = match &lease {
            Some(lease) => self.held(&lease.record),
            // Deleted under its holder, who may act for as long as it was permitted to.
            None => self.seen.as_ref().map_or(Duration::ZERO, |seen| seen.held),
        };
        // The version alone says nothing: an annotation of somebody else's is no sign of life of the holder.
        let record = |lease: &Option<Stored>| lease.as_ref().map(|lease| lease.record.clone());
        match &mut self.seen {
            Some(seen) if record(&seen.lease) == record(&lease) => seen.lease = lease,
            _ => self.seen = Some(Seen { lease, since: now, held }),
        }
    }

    /// For how long a record keeps us from the lease.
    fn held(&self, record: &Record) -> Duration {
        if record.holder.is_empty() || record.holder == self.identity {
            return Duration::ZERO;
        }
        let written = record.duration_seconds.filter(|seconds| *seconds > 0);
        let seconds = written.unwrap_or(self.timing.lease_seconds);
        Duration::from_secs(u64::from(seconds.unsigned_abs()))
    }

    /// When we may take the lease, if nothing changes.
    fn free_at(&self, now: Instant) -> Instant {
        self.seen.as_ref().map_or(now, |seen| seen.since + seen.held)
    }

    /// What makes the lease as seen last ours, or keeps it ours.
    fn write(&self, wall: WallTime) -> Request {
        let lease = self.seen.as_ref().and_then(|seen| seen.lease.clone());
        let mut record = Record {
            holder: self.identity.clone(),
            duration_seconds: Some(self.timing.lease_seconds),
            acquired: Some(wall),
            renewed: Some(wall),
            ..Record::default()
        };
        let Some(Stored { record: old, revision }) = lease else { return Request::Create(record) };
        if old.holder == self.identity {
            record.acquired = old.acquired;
            record.transitions = old.transitions;
            // Others see that we live by this alone: it must never be what it was before, so it only grows.
            record.renewed = old.renewed.map_or(Some(wall), |before| Some(wall.max(before.next())));
        } else {
            record.transitions = old.transitions.saturating_add(1);
        }
        Request::Replace(revision, record)
    }
}
