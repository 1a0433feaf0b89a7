//! Whether the program lives and whether it is ready, as it says so itself.
//!
//! It lives while its loop goes round: the loop beats, and a beat that is too old means that the loop hangs.
//!
//! A controller is ready once every kind of object has been listed, and stays so: what it does later without the API
//! server is right by what it knows. An agent is ready as long as its table is in step and its deadline is moved, which
//! needs no API server either. A loop that hangs is not ready.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A loop that has not come round for longer than this hangs. The longest round takes a few seconds.
pub const STALLED_AFTER: Duration = Duration::from_mins(1);

/// Why the program is not fit, in words for the body of an answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// The loop hangs.
    #[error(
        "the main loop hangs: its last round was {} s ago, {} s are the limit; the kubelet restarts the pod, and the \
         last lines of the log say where it stopped",
        since.as_secs(),
        STALLED_AFTER.as_secs()
    )]
    Stalled {
        /// Time since the last round.
        since: Duration,
    },
    /// Nothing was listed yet.
    #[error("starting: nothing has been listed yet; if this lasts, the log says what the start waits for")]
    Starting,
    /// Another agent has the maps.
    #[error(
        "standing by: another agent holds the lock of this BPF file system, and this one takes over when that one ends"
    )]
    StandingBy,
    /// The agent has not brought its table in step yet.
    #[error(
        "starting: the table is not in step yet, and answers as an agent before has left it, to its deadline; if this \
         lasts, the log says what the agent waits for"
    )]
    NotInStep,
    /// The agent can't keep its table in step any more.
    #[error(
        "the table is out of step for {} s: it falls silent at its deadline unless a later try succeeds; the log and \
         `barelb inspect` say why",
        since.as_secs()
    )]
    OutOfStep {
        /// How long.
        since: Duration,
    },
    /// Some kinds were not listed yet.
    #[error(
        "not listed yet: {}; if this lasts, the API server can't be reached or does not let the ServiceAccount list \
         and watch them, and the log has its answer",
        kinds.join(", ")
    )]
    NotListed {
        /// The kinds, by name.
        kinds: Vec<&'static str>,
    },
}

/// Where the program writes down how it is, and where the probes read it. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Health {
    inner: Arc<Inner>,
}

struct Inner {
    clock: Box<dyn Fn() -> Instant + Send + Sync>,
    last: Mutex<Instant>,
    ready: Mutex<Result<(), Unfit>>,
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = (self.live(), self.ready());
        f.debug_struct("Health").field("live", &state.0).field("ready", &state.1).finish_non_exhaustive()
    }
}

impl Default for Health {
    fn default() -> Self {
        Self::new(Instant::now)
    }
}

impl Health {
    /// Of a program that starts now, by a monotonic clock. It is not ready, and its first beat is due like any other.
    pub fn new(clock: impl Fn() -> Instant + Send + Sync + 'static) -> Self {
        let last = Mutex::new(clock());
        let ready = Mutex::new(Err(Unfit::Starting));
        Self { inner: Arc::new(Inner { clock: Box::new(clock), last, ready }) }
    }

    /// The loop has come round. To be called in each round, and at least every few seconds when there is nothing to do.
    pub fn beat(&self) {
        let now = (self.inner.clock)();
        *hold(&self.inner.last) = now;
    }

    /// Which kinds are not listed yet. None makes the program ready for good: later calls change nothing.
    pub fn missing(&self, kinds: impl IntoIterator<Item = &'static str>) {
        let mut ready = hold(&self.inner.ready);
        if ready.is_err() {
            let kinds: Vec<_> = kinds.into_iter().collect();
            *ready = if kinds.is_empty() { Ok(()) } else { Err(Unfit::NotListed { kinds }) };
        }
    }

    /// Whether the program is ready from now on, until it says something else.
    pub fn say(&self, ready: Result<(), Unfit>) {
        *hold(&self.inner.ready) = ready;
    }

    /// Whether the loop goes round.
    pub fn live(&self) -> Result<(), Unfit> {
        let last = *hold(&self.inner.last);
        let since = (self.inner.clock)().saturating_duration_since(last);
        if since > STALLED_AFTER { Err(Unfit::Stalled { since }) } else { Ok(()) }
    }

    /// Whether it goes round, and has said that it is ready.
    pub fn ready(&self) -> Result<(), Unfit> {
        self.live()?;
        hold(&self.inner.ready).clone()
    }
}

/// The values are replaced as a whole, so what a thread left behind that panicked is as good as any.
fn hold<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// Health by a clock that the test moves, in seconds.
    fn with_clock() -> (Health, impl Fn(u64)) {
        let (start, seconds) = (Instant::now(), Arc::new(AtomicU64::new(0)));
        let clock = Arc::clone(&seconds);
        let health = Health::new(move || start + Duration::from_secs(clock.load(Ordering::Relaxed)));
        (health, move |to| seconds.store(to, Ordering::Relaxed))
    }

    #[test]
    fn lives_as_long_as_it_beats() {
        let (health, set) = with_clock();
        set(60);
        assert_eq!(health.live(), Ok(()), "also before the first beat");
        health.beat();
        set(120);
        assert_eq!(health.live(), Ok(()));
        set(195);
        let unfit = health.live().unwrap_err();
        assert_eq!(unfit, Unfit::Stalled { since: Duration::from_secs(135) });
        assert_eq!(
            unfit.to_string(),
            "the main loop hangs: its last round was 135 s ago, 60 s are the limit; the kubelet restarts the pod, \
             and the last lines of the log say where it stopped"
        );
        health.beat();
        assert_eq!(health.live(), Ok(()), "it was slow, not dead");
    }

    #[test]
    fn a_clock_that_goes_back_is_no_reason_to_die() {
        let (health, set) = with_clock();
        set(500);
        health.beat();
        set(0);
        assert_eq!(health.live(), Ok(()));
    }

    #[test]
    fn is_ready_once_everything_was_listed_and_stays_so() {
        let health = Health::default();
        assert_eq!(
            health.ready().unwrap_err().to_string(),
            "starting: nothing has been listed yet; if this lasts, the log says what the start waits for"
        );
        health.missing(["Service", "Node"]);
        assert_eq!(
            health.ready().unwrap_err().to_string(),
            "not listed yet: Service, Node; if this lasts, the API server can't be reached or does not let the \
             ServiceAccount list and watch them, and the log has its answer"
        );
        health.missing(["Node"]);
        assert_eq!(health.ready(), Err(Unfit::NotListed { kinds: vec!["Node"] }));
        health.missing([]);
        assert_eq!(health.ready(), Ok(()));
        health.missing(["Service"]);
        assert_eq!(health.ready(), Ok(()), "for good");
    }

    #[test]
    fn is_ready_as_long_as_it_says_so() {
        let (health, set) = with_clock();
        health.beat();
        let since = Duration::from_millis(7900);
        for (unfit, begins) in [
            (Unfit::StandingBy, "standing by: another agent holds the lock"),
            (Unfit::NotInStep, "starting: the table is not in step yet"),
            (Unfit::OutOfStep { since }, "the table is out of step for 7 s: it falls silent at its deadline"),
        ] {
            health.say(Err(unfit.clone()));
            assert!(unfit.to_string().starts_with(begins), "{unfit}");
            assert_eq!(health.ready(), Err(unfit));
            health.say(Ok(()));
            assert_eq!(health.ready(), Ok(()));
        }
        set(61);
        assert_eq!(
            health.ready(),
            Err(Unfit::Stalled { since: Duration::from_secs(61) }),
            "what it said is old"
        );
        health.beat();
        assert_eq!(health.ready(), Ok(()));
    }

    #[test]
    fn says_both_to_who_debugs() {
        let text = format!("{:?}", Health::default());
        assert_eq!(text, "Health { live: Ok(()), ready: Err(Starting), .. }");
    }
}
