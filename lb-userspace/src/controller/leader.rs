//! Keeps the lease of the controller: asks the API server what the rules of [`super::leadership`] say, and tells the
//! rest of the controller what it may do.
//!
//! ```text
//!   store <── read, create, replace ── task ── standing, permit ──> Leadership (any number of clones)
//!                                       ^
//!                                       └── stop, give back ────── Leader (one)
//! ```
//!
//! A permit ends by itself, by the clock of whoever asks for it: that this task hangs, or that the process or the
//! machine was stopped, makes nobody believe that it still leads. Who writes asks for a permit before each write, and
//! gives up the write at [`Permit::until`].

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::task::{JoinError, JoinHandle};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::leadership::{Election, End, Failure, Permit, Request, Standing, Step, Timing};
use crate::k8s::lease::{Cause, LeaseError, LeaseKey, LeaseStore, Stored, Verb, WallTime};
use crate::net::clock::boot_time_ns;
use crate::timer;

#[cfg(test)]
mod tests;

/// The name of the controller's lease.
pub const LEASE_NAME: &str = "barelb-controller";

/// What a candidate has to know.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The lease that all candidates compete for.
    pub lease: LeaseKey,
    /// What this candidate writes into it: see [`super::identity::identity`].
    pub identity: String,
    /// The times of the election.
    pub timing: Timing,
}

impl Settings {
    /// The lease [`LEASE_NAME`] in a namespace, with the times that Kubernetes' own controllers use.
    pub fn new(namespace: impl Into<String>, identity: impl Into<String>) -> Self {
        Self {
            lease: LeaseKey { namespace: namespace.into(), name: LEASE_NAME.to_owned() },
            identity: identity.into(),
            timing: Timing::default(),
        }
    }
}

/// What the task tells.
#[derive(Debug, Clone)]
struct Told {
    standing: Standing,
    grant: Option<Grant>,
}

/// A permit, with its end on both clocks: the monotonic one stands still while the machine is suspended.
#[derive(Debug, Clone, Copy)]
struct Grant {
    permit: Permit,
    until_boot_ns: u64,
}

/// Clocks that tests replace.
#[derive(Clone)]
struct Clocks {
    wall: Arc<dyn Fn() -> WallTime + Send + Sync>,
    /// `CLOCK_BOOTTIME` in nanoseconds.
    boot_ns: Arc<dyn Fn() -> u64 + Send + Sync>,
}

impl Default for Clocks {
    fn default() -> Self {
        Self { wall: Arc::new(WallTime::now), boot_ns: Arc::new(boot_time_ns) }
    }
}

/// Whether this process leads. Cheap to clone; all clones say the same.
#[derive(Clone)]
pub struct Leadership {
    told: watch::Receiver<Told>,
    clocks: Clocks,
    /// What the last [`Leadership::changed`] of this clone was about.
    known: Standing,
}

impl fmt::Debug for Leadership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leadership").field("standing", &self.standing()).finish_non_exhaustive()
    }
}

impl Leadership {
    /// What this process may do now; `None` if it does not lead. To be asked before each write.
    pub fn permit(&self) -> Option<Permit> {
        self.told.borrow().permit(&self.clocks)
    }

    /// Where this process stands now.
    pub fn standing(&self) -> Standing {
        self.told.borrow().standing(&self.clocks)
    }

    /// Returns after the standing has become another one than this clone knew; at first it knows a standby without a
    /// leader. It returns in time when a permit ends, even if the task hangs. Cancelling it loses nothing.
    pub async fn changed(&mut self) {
        loop {
            let (standing, until) = {
                let told = self.told.borrow_and_update();
                (told.standing(&self.clocks), told.permit(&self.clocks).map(|permit| permit.until))
            };
            if standing != self.known {
                self.known = standing;
                return;
            }
            tokio::select! {
                changed = self.told.changed() => if changed.is_err() {
                    // The task has ended, and leaves nothing behind but a permit that runs out.
                    timer::until(until).await;
                },
                () = timer::until(until) => {}
            }
        }
    }
}

impl Told {
    fn permit(&self, clocks: &Clocks) -> Option<Permit> {
        let grant = self.grant?;
        let valid = Instant::now() < grant.permit.until && (clocks.boot_ns)() < grant.until_boot_ns;
        valid.then_some(grant.permit)
    }

    fn standing(&self, clocks: &Clocks) -> Standing {
        match (&self.standing, self.permit(clocks)) {
            (Standing::Leading { .. }, None) => Standing::Standby { leader: None },
            (standing, _) => standing.clone(),
        }
    }
}

/// The task that keeps the lease. Dropping it ends leading at once, and leaves the lease to run out.
#[derive(Debug)]
pub struct Leader {
    stop: oneshot::Sender<()>,
    told: watch::Receiver<Told>,
    task: JoinHandle<Result<Release, LeaseError>>,
}

/// What became of a lease that was to be given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// Another candidate may take it at once.
    GivenBack,
    /// It was not ours.
    NotHeld,
}

/// Why the lease was not given back. It runs out by itself.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// The store.
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// The task ended before; this is a bug.
    #[error("the task that keeps the lease has ended before")]
    Ended(#[source] JoinError),
}

impl Leader {
    /// Starts competing. Must be called inside a tokio runtime.
    pub fn start(store: impl LeaseStore, settings: Settings) -> (Leadership, Self) {
        let (leadership, task) = Task::new(store, settings, Clocks::default());
        let (stop, stopped) = oneshot::channel();
        let told = leadership.told.clone();
        (leadership, Self { stop, told, task: tokio::spawn(task.run(stopped)) })
    }

    /// Returns if the task has ended by itself, which is a bug: nobody renews the lease any more, so the process
    /// should end. Cancelling it loses nothing.
    pub async fn ended(&mut self) {
        while self.told.changed().await.is_ok() {}
    }

    /// Gives the lease back, so that another candidate need not wait for it to run out. Takes 5 s at most.
    ///
    /// Only for a caller that has stopped writing: another one may lead before this returns.
    pub async fn release(self) -> Result<Release, ReleaseError> {
        // If nobody listens the task has ended, as its result says.
        let _listening = self.stop.send(());
        Ok(self.task.await.map_err(ReleaseError::Ended)??)
    }
}

/// What the task holds.
struct Task<S> {
    store: S,
    settings: Settings,
    clocks: Clocks,
    election: Election,
    told: watch::Sender<Told>,
    /// When the permit ends by the clock that goes on while the machine is suspended.
    until_boot_ns: u64,
    /// Failures that the log has told of, until the same request succeeds.
    failing: BTreeSet<(Verb, Cause)>,
}

impl<S: LeaseStore> Task<S> {
    fn new(store: S, settings: Settings, clocks: Clocks) -> (Leadership, Self) {
        let election = Election::new(&settings.identity, settings.timing, Instant::now());
        let known = Standing::Standby { leader: None };
        let (sender, receiver) = watch::channel(Told { standing: known.clone(), grant: None });
        let leadership = Leadership { told: receiver, clocks: clocks.clone(), known };
        let failing = BTreeSet::new();
        (leadership, Self { store, settings, clocks, election, told: sender, until_boot_ns: 0, failing })
    }

    /// Competes until it is told to give the lease back, or until nobody holds the other end of `stopped`.
    async fn run(mut self, mut stopped: oneshot::Receiver<()>) -> Result<Release, LeaseError> {
        loop {
            self.notice_suspension();
            let step = self.election.step(Instant::now(), (self.clocks.wall)());
            self.tell();
            tokio::select! {
                biased;
                stop = &mut stopped => {
                    self.election.forfeit(End::Released);
                    self.tell();
                    return if stop.is_ok() { self.release().await } else { Ok(Release::NotHeld) };
                }
                () = self.carry_out(step) => {}
            }
        }
    }

    async fn carry_out(&mut self, step: Step) {
        match step {
            Step::Wait(at) => sleep_until(at).await,
            Step::Ask { request, deadline } => self.ask(&request, deadline).await,
        }
    }

    async fn ask(&mut self, request: &Request, deadline: Instant) {
        let (started, started_boot_ns) = (Instant::now(), (self.clocks.boot_ns)());
        let (key, store) = (&self.settings.lease, &self.store);
        let asking = async {
            match request {
                Request::Read => store.read(key).await,
                Request::Create(record) => store.create(key, record).await.map(Some),
                Request::Replace(revision, record) => store.replace(key, revision, record).await.map(Some),
            }
        };
        let answer = timeout_at(deadline, asking).await;
        let answer = answer.unwrap_or_else(|_late| Err(LeaseError::Timeout { waited: started.elapsed() }));
        let verb = verb(request);
        let answer = self.judge(verb, answer);
        let written = answer.is_ok() && verb != Verb::Read;
        self.notice_suspension();
        self.election.answered(started, Instant::now(), answer);
        if written {
            self.until_boot_ns =
                started_boot_ns.saturating_add(nanoseconds(self.settings.timing.renew_deadline()));
        }
    }

    /// Tells the log of failures, each cause once.
    fn judge(
        &mut self,
        verb: Verb,
        answer: Result<Option<Stored>, LeaseError>,
    ) -> Result<Option<Stored>, Failure> {
        let lease = &self.settings.lease;
        let error = match answer {
            Ok(stored) => {
                let failing = self.failing.len();
                self.failing.retain(|(failed, _)| *failed != verb);
                if failing > 0 && self.failing.is_empty() {
                    tracing::info!(%lease, "the lease can be read and written again");
                }
                return Ok(stored);
            }
            Err(error) => error,
        };
        let cause = error.cause();
        let what = &error as &dyn std::error::Error;
        if cause == Cause::Conflict {
            tracing::debug!(%lease, ?verb, error = what, "somebody else was first");
            return Err(Failure::Conflict);
        }
        let known = self.failing.iter().any(|(_, known)| *known == cause);
        self.failing.insert((verb, cause));
        match (known, self.election.permit(Instant::now())) {
            (true, _) => tracing::debug!(%lease, ?verb, error = what, "the lease still fails"),
            (false, Some(_)) => {
                tracing::warn!(%lease, error = what, "the lease can't be renewed, trying again");
            }
            (false, None) => {
                tracing::warn!(%lease, error = what, "can't compete for the lease, trying again");
            }
        }
        Err(Failure::Other)
    }

    /// The monotonic clock, by which the rules judge, stands still while the machine is suspended. That of the others
    /// does not, so they may have taken the lease meanwhile.
    fn notice_suspension(&mut self) {
        if (self.clocks.boot_ns)() >= self.until_boot_ns {
            self.election.forfeit(End::NotRenewed);
        }
    }

    /// Tells everybody where we stand, and the log if that is new.
    fn tell(&self) {
        let now = Instant::now();
        let standing = self.election.standing(now);
        let grant =
            self.election.permit(now).map(|permit| Grant { permit, until_boot_ns: self.until_boot_ns });
        let before = self.told.send_replace(Told { standing: standing.clone(), grant }).standing;
        if standing != before {
            self.log(&before, &standing);
        }
    }

    fn log(&self, before: &Standing, standing: &Standing) {
        let Settings { lease, identity, .. } = &self.settings;
        if let (Standing::Leading { term }, Some(reason)) = (before, self.election.ended()) {
            tracing::info!(%lease, term, %reason, "no longer leading");
        }
        match standing {
            Standing::Leading { term } => tracing::info!(%lease, %identity, term, "leading"),
            Standing::Standby { leader: Some(leader) } => {
                tracing::info!(%lease, %leader, "another one leads");
            }
            Standing::Standby { leader: None } => tracing::debug!(%lease, "nobody leads"),
        }
    }

    /// Gives the lease back, if it is ours.
    async fn release(self) -> Result<Release, LeaseError> {
        let started = Instant::now();
        let deadline = started + self.settings.timing.request_timeout();
        let release = timeout_at(deadline, self.give_back()).await;
        release.unwrap_or_else(|_late| Err(LeaseError::Timeout { waited: started.elapsed() }))
    }

    async fn give_back(&self) -> Result<Release, LeaseError> {
        let key = &self.settings.lease;
        loop {
            // A renewal that was cut off may have been carried out since: the version is read again.
            let Some(lease) = self.store.read(key).await? else { return Ok(Release::NotHeld) };
            let Some((revision, record)) = self.election.release(lease, (self.clocks.wall)()) else {
                return Ok(Release::NotHeld);
            };
            match self.store.replace(key, &revision, &record).await {
                Ok(_) => return Ok(Release::GivenBack),
                Err(LeaseError::Conflict) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn verb(request: &Request) -> Verb {
    match request {
        Request::Read => Verb::Read,
        Request::Create(_) => Verb::Create,
        Request::Replace(..) => Verb::Replace,
    }
}

fn nanoseconds(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}
