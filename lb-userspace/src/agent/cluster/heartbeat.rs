//! Renews the Lease of this node: every ten seconds, and at once when a link changes.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use lb_core::membership::{LinkReport, RENEW};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout};

use crate::k8s::member::Member;
use crate::k8s::write::WriteError;

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// After a renewal that failed.
const RETRY: Duration = Duration::from_secs(2);
/// Between two renewals, however often links change.
const LEAST: Duration = Duration::from_secs(1);

/// The Lease, and what is said in it.
pub(super) struct Heart {
    member: Member,
    links: watch::Receiver<Option<Vec<LinkReport>>>,
    asked: Arc<Notify>,
    failing: bool,
}

impl Heart {
    /// Says what `links` has; nothing yet.
    pub(super) fn new(member: Member, links: watch::Receiver<Option<Vec<LinkReport>>>) -> Self {
        Self { member, links, asked: Arc::default(), failing: false }
    }

    /// Whom to notify for a renewal at once, as a proof that the server answers.
    pub(super) fn asked(&self) -> Arc<Notify> {
        Arc::clone(&self.asked)
    }

    /// Renews for ever; begins when the links are known.
    pub(super) async fn beat(mut self) {
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
