//! Renews the Lease of this node: every ten seconds, and at once when a link changes.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use lb_core::eligibility::Leaving;
use lb_core::membership::{HAND_OVER, LinkReport, leaving_report, renew_interval};
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::super::metrics::{Metrics, WriteKind};
use crate::k8s::member::Member;
use crate::k8s::write::{PATIENCE, WriteError, WriteResult, in_time};

/// After a renewal that failed.
const RETRY: Duration = Duration::from_secs(2);
/// Between two renewals, however often links change.
const LEAST: Duration = Duration::from_secs(1);

/// Gives the Lease back.
pub(crate) struct Farewell {
    member: Member,
    links: watch::Receiver<Option<Vec<LinkReport>>>,
    leave: Arc<Notify>,
    /// Closed when the renewals have ended.
    ended: oneshot::Receiver<()>,
}

impl Farewell {
    /// Ends the renewals, says that this node leaves, and waits until others have taken over what it `owns` still.
    pub(crate) async fn say(self, owns: bool) {
        self.leave.notify_one();
        // A renewal that is on its way would undo it.
        let _ended = timeout(PATIENCE, self.ended).await;
        let links = self.links.borrow().clone().unwrap_or_default();
        match in_time(self.member.give_back(&links, SystemTime::now())).await {
            Ok(()) => {
                tracing::info!("gave the Lease of this node back: other nodes take its addresses over");
                if owns {
                    sleep(HAND_OVER).await;
                }
            }
            Err(_) => {
                tracing::warn!(
                    "can't give the Lease of this node back: its addresses are silent until it runs out"
                );
            }
        }
    }
}

/// The Lease, and what is said in it.
pub(super) struct Heart {
    member: Member,
    /// What the links can do; `None`: not known, or the agent is not well, and nothing is renewed.
    links: watch::Receiver<Option<Vec<LinkReport>>>,
    /// Why the node hands over what it owns.
    leaving: watch::Receiver<Option<Leaving>>,
    asked: Arc<Notify>,
    leave: Arc<Notify>,
    ended: oneshot::Sender<()>,
    failing: bool,
    metrics: Metrics,
}

/// How the renewals are acted on.
pub(super) struct Pulse {
    /// Notified for a renewal at once: the first one, or as a proof that the server answers.
    pub(super) asked: Arc<Notify>,
    /// Why the node hands over what it owns, if it does.
    pub(super) leaving: watch::Sender<Option<Leaving>>,
}

impl Heart {
    /// Says what `links` has; nothing yet.
    pub(super) fn new(
        member: Member,
        links: watch::Receiver<Option<Vec<LinkReport>>>,
        metrics: Metrics,
    ) -> (Self, Pulse, Farewell) {
        let (asked, leave) = (Arc::<Notify>::default(), Arc::<Notify>::default());
        let (leaves, leaving) = watch::channel(None);
        let (ended, has_ended) = oneshot::channel();
        let farewell = Farewell {
            member: member.clone(),
            links: links.clone(),
            leave: Arc::clone(&leave),
            ended: has_ended,
        };
        let pulse = Pulse { asked: Arc::clone(&asked), leaving: leaves };
        (Self { member, links, leaving, asked, leave, ended, failing: false, metrics }, pulse, farewell)
    }

    /// Renews until the farewell. Begins when it is asked for the first time, and the links are known.
    pub(super) async fn beat(mut self) {
        let leave = Arc::clone(&self.leave);
        tokio::select! {
            () = leave.notified() => return,
            () = self.asked.notified() => {}
        }
        let interval = renew_interval(self.member.duration());
        let mut next = Instant::now();
        let mut earliest = next;
        loop {
            tokio::select! {
                () = leave.notified() => break,
                changed = self.links.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    sleep_until(earliest).await;
                }
                changed = self.leaving.changed() => {
                    if changed.is_err() {
                        break;
                    }
                }
                () = self.asked.notified() => sleep_until(earliest).await,
                () = sleep_until(next) => {}
            }
            let Some(links) = self.links.borrow_and_update().clone() else {
                next = Instant::now() + interval;
                continue;
            };
            let links = match *self.leaving.borrow_and_update() {
                Some(leaving) => leaving_report(&links, leaving),
                None => links,
            };
            let renewed = in_time(self.member.renew(&links, SystemTime::now())).await;
            let now = Instant::now();
            earliest = now + LEAST;
            next = now + self.note(renewed, interval);
        }
        // Whoever waits for the end sees it by that.
        drop(self.ended);
    }

    /// Says that renewals fail, and that they go well again; returns when to renew next.
    fn note(&mut self, renewed: Result<(), WriteError>, interval: Duration) -> Duration {
        self.metrics.written(WriteKind::Lease, WriteResult::of(&renewed));
        match renewed {
            Ok(()) => {
                if std::mem::take(&mut self.failing) {
                    tracing::info!("the Lease of this node is renewed again");
                }
                interval
            }
            Err(error) => {
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(
                        error = &error as &dyn Error,
                        "can't renew the Lease of this node, trying again; what is announced stays as it is, and nodes that \
                         do not hear this one take over if this lasts longer than the Lease"
                    );
                }
                RETRY.min(interval)
            }
        }
    }
}
