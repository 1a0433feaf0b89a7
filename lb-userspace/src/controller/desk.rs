//! The desk at which writes wait: which goes out when, and what becomes of those that fail.
//!
//! ```text
//! a pass ── want ──> wanted ── start: permit, room, order, holds ──> in flight ── next ──> Landed ──> the next pass
//! ```
//!
//! What is wanted is replaced by every pass, so a write that failed is not repeated but decided anew. Never are two
//! writes about one object under way, nor does an address go to a Service while the status of another, which is to
//! lose it, still shows it or may yet: see `desk/order.rs`.

use std::collections::{BTreeMap, VecDeque};

use futures::{
    StreamExt,
    future::{BoxFuture, FutureExt},
    stream::FuturesUnordered,
};
use tokio::time::{Instant, timeout_at};

use super::{
    metrics::{Metrics, WriteKind},
    tell::Telling,
    write::{Api, Target, Write},
};
use crate::{
    k8s::write::{PATIENCE, WriteError, WriteResult},
    source::kubernetes::Seen,
    timer::until,
};

mod backoff;
mod log;
mod order;
mod pick;
#[cfg(test)]
mod tests;

use backoff::{Holds, Trouble};
use log::Failing;
use order::Order;
use pick::Picked;

/// Writes under way at most.
const WRITES: usize = 16;
/// Writes under way at most while the API server answers nobody.
const ATTEMPTS_AT_ONCE: usize = 4;
/// Events under way at most, beside the writes.
const EVENTS: usize = 4;
/// Events that wait at most. One more is lost: the state of the objects says the same.
const WAITING_EVENTS: usize = 16_384;
/// Attempts to record an event.
const ATTEMPTS: u32 = 3;

/// A write that came back.
#[derive(Debug)]
pub struct Landed {
    /// Which one.
    pub write: Write,
    /// The object as it is now, or why nothing was written.
    pub result: Result<Seen, WriteError>,
}

/// Until when somebody may write; `None`: not now. Asked before each write.
pub type Permit = Box<dyn Fn() -> Option<Instant> + Send>;

/// What was in flight.
enum Back {
    Write { landed: Box<Landed>, began: Instant },
    Event { telling: Telling, attempt: u32, began: Instant, result: Result<(), WriteError> },
}

/// See the module.
pub struct Desk<A> {
    api: A,
    permit: Permit,
    metrics: Metrics,
    wanted: BTreeMap<Target, Write>,
    order: Order,
    flying: FuturesUnordered<BoxFuture<'static, Back>>,
    events: VecDeque<(Telling, u32)>,
    events_flying: usize,
    holds: Holds,
    trouble: Trouble,
    /// The object that was begun with last: the next ones go first.
    last: Option<Target>,
    failing: Failing,
}

impl<A: std::fmt::Debug> std::fmt::Debug for Desk<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (wanted, flying) = (self.wanted.len(), self.flying.len());
        f.debug_struct("Desk").field("wanted", &wanted).field("flying", &flying).finish_non_exhaustive()
    }
}

impl<A: Api> Desk<A> {
    /// An empty desk.
    pub fn new(api: A, permit: Permit, metrics: Metrics) -> Self {
        Self {
            api,
            permit,
            metrics,
            wanted: BTreeMap::new(),
            order: Order::default(),
            flying: FuturesUnordered::new(),
            events: VecDeque::new(),
            events_flying: 0,
            holds: Holds::default(),
            trouble: Trouble::default(),
            last: None,
            failing: Failing::default(),
        }
    }

    /// Which versions of the objects are known now, before the next [`Desk::want`].
    pub fn know<'a>(&mut self, version: impl Fn(&Target) -> Option<&'a str>) {
        self.order.know(version);
    }

    /// What is to be written, instead of everything that was to be and is not under way.
    pub fn want(&mut self, writes: impl IntoIterator<Item = Write>) {
        self.wanted = writes.into_iter().map(|write| (write.target(), write)).collect();
        self.order.plan(&self.wanted, Instant::now());
        self.holds.retain(&self.wanted, Instant::now());
    }

    /// Events to be recorded, after the writes.
    pub fn tell(&mut self, news: impl IntoIterator<Item = Telling>) {
        for telling in news {
            if self.events.len() >= WAITING_EVENTS {
                self.failing.events_lost();
                return;
            }
            self.events.push_back((telling, 1));
        }
    }

    /// Gives up everything: what is under way is cut off, though the API server may carry it out.
    pub fn clear(&mut self) {
        self.wanted.clear();
        self.flying.clear();
        self.events.clear();
        self.events_flying = 0;
        self.order = Order::default();
        self.holds = Holds::default();
        self.trouble = Trouble::default();
    }

    /// Whether nothing is wanted or under way.
    pub fn is_empty(&self) -> bool {
        self.wanted.is_empty() && self.flying.is_empty() && self.events.is_empty()
    }

    /// Starts what can be started, and returns the next write that comes back. Cancelling it loses nothing.
    pub async fn next(&mut self) -> Landed {
        loop {
            let wake = self.start(Instant::now());
            tokio::select! {
                Some(back) = self.flying.next() => match back {
                    Back::Write { landed, began } => {
                        self.landed(&landed, began);
                        return *landed;
                    }
                    Back::Event { telling, attempt, began, result } => {
                        self.told(telling, attempt, began, result);
                    }
                },
                () = until(wake) => {}
            }
        }
    }

    /// Starts writes and events; returns when to look again at those that wait.
    fn start(&mut self, now: Instant) -> Option<Instant> {
        // Without a permit nothing is started; whoever leads again has it said by a pass.
        let until = (self.permit)()?.min(now + PATIENCE);
        if let Some(at) = self.trouble.until(now) {
            return (!self.wanted.is_empty() || !self.events.is_empty()).then_some(at);
        }
        if self.order.is_stale(now) {
            self.order.plan(&self.wanted, now);
        }
        let Picked { mut ready, wake, barred, room } = self.pick(now);
        if barred
            && ready.is_empty()
            && self.order.flying() == 0
            && let Some(target) = self.order.circle(&self.barred(now))
            && let Some(write) = self.wanted.get(&target).map(Write::cleared)
        {
            self.wanted.insert(target.clone(), write);
            ready.push(target);
        }
        let idle = ready.len() < room;
        for target in ready {
            if let Some(write) = self.wanted.remove(&target) {
                self.last = Some(target);
                self.fly(write, until);
            }
        }
        if idle {
            self.start_events(until);
        }
        let doubt = self.order.doubt_ends(now).filter(|_| barred);
        wake.into_iter().chain(doubt).min()
    }

    fn fly(&mut self, write: Write, until: Instant) {
        self.order.start(&write);
        let (api, began) = (self.api.clone(), Instant::now());
        let flight = async move {
            let answer = timeout_at(until, api.carry_out(&write)).await;
            let landed = Box::new(Landed { result: answer.unwrap_or(Err(WriteError::Timeout)), write });
            Back::Write { landed, began }
        };
        self.flying.push(flight.boxed());
    }

    fn start_events(&mut self, until: Instant) {
        while self.events_flying < EVENTS
            && let Some((telling, attempt)) = self.events.pop_front()
        {
            self.events_flying += 1;
            let (api, began) = (self.api.clone(), Instant::now());
            let flight = async move {
                let answer = timeout_at(until, api.record(&telling)).await;
                Back::Event { result: answer.unwrap_or(Err(WriteError::Timeout)), telling, attempt, began }
            };
            self.flying.push(flight.boxed());
        }
    }

    fn landed(&mut self, landed: &Landed, began: Instant) {
        let (target, now) = (landed.write.target(), Instant::now());
        self.order.land(&landed.write, landed.result.as_ref().map(|_seen| ()), now);
        self.metrics.written(target.kind(), WriteResult::of(&landed.result));
        // A pass made while it was under way knew nothing of it: the next one does.
        if self.wanted.get(&target).is_some_and(|write| write.version() == landed.write.version()) {
            self.wanted.remove(&target);
        }
        match &landed.result {
            Ok(_) => {
                self.trouble.works(now);
                self.holds.succeeded(&landed.write, now);
                self.failing.works(target.kind());
            }
            Err(error) => {
                self.failing.failed(&target, error);
                self.holds.failed(&landed.write, error, now);
                if is_everywhere(error) {
                    self.trouble.failed(began, now);
                }
            }
        }
    }

    fn told(&mut self, telling: Telling, attempt: u32, began: Instant, result: Result<(), WriteError>) {
        self.events_flying -= 1;
        self.metrics.written(WriteKind::Event, WriteResult::of(&result));
        match result {
            Ok(()) => self.failing.works(WriteKind::Event),
            Err(error) => {
                self.failing.event_failed(&telling, &error);
                if is_everywhere(&error) {
                    self.trouble.failed(began, Instant::now());
                    if attempt < ATTEMPTS {
                        self.events.push_front((telling, attempt + 1));
                    }
                }
            }
        }
    }
}

/// Whether other writes may fail as well now.
fn is_everywhere(error: &WriteError) -> bool {
    match error {
        WriteError::Busy { .. } | WriteError::Timeout | WriteError::Unreachable(_) => true,
        WriteError::Conflict
        | WriteError::Gone
        | WriteError::Forbidden { .. }
        | WriteError::Invalid { .. } => false,
    }
}
