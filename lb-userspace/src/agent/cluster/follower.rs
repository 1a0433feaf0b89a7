//! Takes in everything that happens in the cluster, and decides anew soon after.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use lb_core::ids::NodeName;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::decide::Decider;
use super::heartbeat::Heart;
use crate::source::decide::Decided;
use crate::source::kubernetes::{Cluster, Kind, Seen, Watches, Watching};

/// Objects taken in before anything else is looked at.
const AT_ONCE: usize = 1024;
/// Share of the time that deciding may take: one part in this many.
const SHARE: u32 = 4;

/// See the module.
pub(super) struct Follower {
    watches: Watches,
    watching: Watching,
    cluster: Cluster,
    decider: Decider,
    decided: watch::Sender<Option<Arc<Decided>>>,
    origin: Instant,
    /// When the next decision is to be made.
    due: Option<Instant>,
    /// When it may be made at the earliest.
    earliest: Instant,
}

impl Follower {
    /// The receiver gets what was decided; nothing before everything was listed once.
    pub(super) fn new(
        watches: Watches,
        me: NodeName,
        lb_class: Option<String>,
    ) -> (Self, watch::Receiver<Option<Arc<Decided>>>) {
        let (decided, receiver) = watch::channel(None);
        let now = Instant::now();
        let follower = Self {
            watches,
            watching: Watching::default(),
            cluster: Cluster::default(),
            decider: Decider::new(me, lb_class),
            decided,
            origin: now,
            due: None,
            earliest: now,
        };
        (follower, receiver)
    }

    /// Follows for ever; tells `changes` of each decision. The heart begins to beat when everything is listed: until
    /// then this node can own nothing.
    pub(super) async fn run(mut self, changes: mpsc::Sender<()>, heart: Heart) {
        let (asked, mut heart) = (heart.asked(), Some(heart));
        let mut asked_for = None;
        loop {
            let due = self.due;
            let lapse = self.decider.next_lapse().filter(|at| asked_for != Some(*at));
            let lapse_at = lapse.map(|at| self.origin + at + Duration::from_millis(1));
            tokio::select! {
                biased;
                () = until(due) => {
                    let news = self.decide();
                    if let Some(heart) = heart.take() {
                        tokio::spawn(heart.beat());
                    }
                    // One that waits already says the same.
                    if news && let Err(mpsc::error::TrySendError::Closed(())) = changes.try_send(()) {
                        return;
                    }
                }
                Some(seen) = self.watches.next() => self.see(seen),
                // Somebody has lapsed, if the server answers now.
                () = until(lapse_at) => {
                    asked_for = lapse;
                    asked.notify_one();
                }
            }
        }
    }

    fn see(&mut self, first: Seen) {
        let mut changed = self.enter(first);
        for _ in 1..AT_ONCE {
            match self.watches.next().now_or_never() {
                Some(Some(seen)) => changed |= self.enter(seen),
                Some(None) | None => break,
            }
        }
        if changed {
            self.call();
        }
    }

    fn enter(&mut self, seen: Seen) -> bool {
        self.watching.see(&seen);
        self.cluster.apply(seen)
    }

    fn call(&mut self) {
        if self.due.is_none() && self.cluster.missing(&Kind::OF_AGENT).is_empty() {
            self.due = Some(Instant::now().max(self.earliest));
        }
    }

    /// Decides; tells whether that is something else than before.
    fn decide(&mut self) -> bool {
        let start = Instant::now();
        self.due = None;
        let decided = self.decider.decide(&self.cluster, self.origin.elapsed());
        let news = self.decided.send_if_modified(|known| {
            let news = known.as_ref().is_none_or(|known| !known.is_like(&decided));
            if news {
                *known = Some(Arc::new(decided));
            }
            news
        });
        self.earliest = start + start.elapsed() * SHARE;
        news
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
