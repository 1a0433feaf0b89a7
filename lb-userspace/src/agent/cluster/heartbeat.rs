//! Renews the Lease of this node: every ten seconds, and at once when a link changes.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use lb_core::membership::{LinkReport, RENEW};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::k8s::member::Member;
use crate::k8s::write::WriteError;

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// After a renewal that failed.
const RETRY: Duration = Duration::from_secs(2);
/// Between two renewals, however often links change.
const LEAST: Duration = Duration::from_secs(1);

/// For the next node to see that this one leaves, and to answer and announce before it is silent.
const HAND_OVER: Duration = Duration::from_millis(1500);

/// Gives the Lease back.
pub(crate) struct Farewell {
    member: Member,
    links: watch::Receiver<Option<Vec<LinkReport>>>,
    ended: Arc<Notify>,
}

impl Farewell {
    /// Ends the renewals, says that this node leaves, and waits until others have taken over.
    pub(crate) async fn say(self) {
        self.ended.notify_one();
        let links = self.links.borrow().clone().unwrap_or_default();
        match timeout(PATIENCE, self.member.give_back(&links, SystemTime::now())).await {
            Ok(Ok(())) => {
                tracing::info!("gave the Lease of this node back: other nodes take its addresses over");
                sleep(HAND_OVER).await;
            }
            Ok(Err(_)) | Err(_) => {
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
    links: watch::Receiver<Option<Vec<LinkReport>>>,
    asked: Arc<Notify>,
    ended: Arc<Notify>,
    failing: bool,
}

impl Heart {
    /// Says what `links` has; nothing yet.
    pub(super) fn new(member: Member, links: watch::Receiver<Option<Vec<LinkReport>>>) -> Self {
        Self { member, links, asked: Arc::default(), ended: Arc::default(), failing: false }
    }

    /// The way to end it in order.
    pub(super) fn farewell(&self) -> Farewell {
        let (member, links) = (self.member.clone(), self.links.clone());
        Farewell { member, links, ended: Arc::clone(&self.ended) }
    }

    /// Whom to notify for a renewal at once, as a proof that the server answers.
    pub(super) fn asked(&self) -> Arc<Notify> {
        Arc::clone(&self.asked)
    }

    /// Renews until the farewell; begins when the links are known.
    pub(super) async fn beat(self) {
        let ended = Arc::clone(&self.ended);
        tokio::select! {
            () = ended.notified() => {}
            () = self.renew() => {}
        }
    }

    async fn renew(mut self) {
        let mut next = Instant::now();
        let mut earliest = next;
        loop {
            tokio::select! {
                changed = self.links.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    sleep_until(earliest).await;
                }
                () = self.asked.notified() => sleep_until(earliest).await,
                () = sleep_until(next) => {}
            }
            let Some(links) = self.links.borrow_and_update().clone() else {
                next = Instant::now() + RENEW;
                continue;
            };
            let renewed = timeout(PATIENCE, self.member.renew(&links, SystemTime::now())).await;
            let now = Instant::now();
            earliest = now + LEAST;
            match renewed.unwrap_or(Err(WriteError::Timeout)) {
                Ok(()) => {
                    next = now + RENEW;
                    if std::mem::take(&mut self.failing) {
                        tracing::info!("the Lease of this node is renewed again");
                    }
                }
                Err(error) => {
                    next = now + RETRY;
                    if !std::mem::replace(&mut self.failing, true) {
                        tracing::warn!(
                            error = &error as &dyn Error,
                            "can't renew the Lease of this node, trying again; what is announced stays as it is, and \
                             another node takes over if this lasts longer than the Lease"
                        );
                    }
                }
            }
        }
    }
}
