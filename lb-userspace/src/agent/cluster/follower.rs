//! Takes in everything that happens in the cluster, and decides anew soon after.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use lb_core::eligibility::Leaving;
use lb_core::ids::NodeName;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::Instant;

use super::super::metrics::Metrics;
use super::decide::Decider;
use super::heartbeat::Pulse;
use super::snapshot::Saved;
use super::teller::Rivals;
use crate::k8s::member::Member;
use crate::k8s::write::in_time;
use crate::source::decide::Decided;
use crate::source::kubernetes::{Client, Cluster, Kind, Seen, Settings, Watches, Watching};
use crate::timer::until;

/// Share of the time that deciding may take: one part in this many.
const SHARE: u32 = 4;

/// How long after everything else was listed it is waited for what MetalLB announces, so that nothing is answered beside it.
const RIVALS: Duration = Duration::from_secs(2);

/// Where objects are read.
pub(super) struct Objects {
    pub(super) client: Client,
    pub(super) settings: Settings,
    pub(super) metrics: Metrics,
}

impl Objects {
    fn watch(&self) -> Watches {
        Watches::of_agent(&self.client, &self.settings)
    }
}

/// A question for all objects as they are now, as after a time in which nothing was seen. The answer is that they have
/// been decided about.
pub(super) type Again = oneshot::Sender<()>;

/// See the module.
pub(super) struct Follower {
    objects: Objects,
    watches: Watches,
    watching: Watching,
    cluster: Cluster,
    decider: Decider,
    member: Member,
    asked: Arc<Notify>,
    leaving: watch::Sender<Option<Leaving>>,
    /// What MetalLB announces; `None`: not known yet.
    rivals: watch::Receiver<Option<Rivals>>,
    /// Who is heard on the network.
    heard: watch::Receiver<BTreeSet<NodeName>>,
    again: mpsc::Receiver<Again>,
    /// Who has asked for everything anew.
    waits: Option<Again>,
    decided: watch::Sender<Option<Arc<Decided>>>,
    origin: Instant,
    /// When the next decision is to be made.
    due: Option<Instant>,
    /// When it may be made at the earliest.
    earliest: Instant,
    /// When the last one was made.
    decided_at: Instant,
    /// Since when all kinds have been listed.
    complete_since: Option<Instant>,
    rivals_known: bool,
}

impl Follower {
    /// The receiver gets what was decided; nothing before everything was listed and the own Lease was seen. `pulse` has
    /// the Lease renewed.
    pub(super) fn new(
        objects: Objects,
        decider: Decider,
        member: Member,
        pulse: Pulse,
        rivals: watch::Receiver<Option<Rivals>>,
        heard: watch::Receiver<BTreeSet<NodeName>>,
        again: mpsc::Receiver<Again>,
    ) -> (Self, watch::Receiver<Option<Arc<Decided>>>) {
        let (decided, receiver) = watch::channel(None);
        let now = Instant::now();
        let follower = Self {
            watches: objects.watch(),
            objects,
            watching: Watching::default(),
            cluster: Cluster::default(),
            decider,
            member,
            asked: pulse.asked,
            leaving: pulse.leaving,
            rivals,
            heard,
            again,
            waits: None,
            decided,
            origin: now,
            due: None,
            earliest: now,
            decided_at: now,
            complete_since: None,
            rivals_known: false,
        };
        (follower, receiver)
    }

    /// Knows what was in force before a restart.
    pub(super) fn remember(&mut self, saved: &Saved) {
        self.decider.remember(saved);
    }

    /// Follows for ever; tells `changes` of each decision.
    pub(super) async fn run(mut self, changes: mpsc::Sender<()>) {
        let mut asked_for = None;
        loop {
            let due = self.due;
            let lapse = self.decider.next_lapse().filter(|at| asked_for != Some(*at));
            let lapse_at = lapse.map(|at| self.origin + at + Duration::from_millis(1));
            let leaves_at = self.decider.leaves_at().map(|at| self.origin + at + Duration::from_millis(1));
            let leaves_at = leaves_at.filter(|at| *at > self.decided_at);
            tokio::select! {
                biased;
                () = until(due) => {
                    // One that waits already says the same.
                    if self.decide() && let Err(mpsc::error::TrySendError::Closed(())) = changes.try_send(()) {
                        return;
                    }
                }
                Some(waits) = self.again.recv() => self.begin_anew(waits),
                Ok(()) = self.rivals.changed() => self.see_rivals(),
                Ok(()) = self.heard.changed() => self.call(),
                Some(seen) = self.watches.next() => self.see(seen),
                () = until(leaves_at), if due.is_none() => self.call(),
                // Somebody has lapsed, if the server answers now.
                () = until(lapse_at) => {
                    asked_for = lapse;
                    self.asked.notify_one();
                }
            }
        }
    }

    /// Forgets what was seen. What is in force of the configuration stays.
    fn begin_anew(&mut self, waits: Again) {
        self.waits = Some(waits);
        self.watches = self.objects.watch();
        self.cluster = Cluster::default();
        self.decider.forget_members();
        self.decided.send_replace(None);
        (self.due, self.complete_since, self.rivals_known) = (None, None, false);
    }

    fn see(&mut self, first: Seen) {
        if self.watches.take_in(first, &mut self.watching, &mut self.cluster) {
            self.call();
        }
        let missing = self.cluster.missing(&Kind::OF_AGENT).into_iter().map(Kind::name);
        self.objects.metrics.updated(self.watching.take_updates());
        self.objects.metrics.watched(self.watching.failing(), missing.collect());
    }

    fn see_rivals(&mut self) {
        let rivals = self.rivals.borrow_and_update().clone().unwrap_or_default();
        if self.decider.see_rivals(rivals) || !self.rivals_known {
            self.rivals_known = true;
            self.due = None;
            self.call();
        }
    }

    fn call(&mut self) {
        if self.due.is_none() && self.cluster.missing(&Kind::OF_AGENT).is_empty() {
            let now = Instant::now();
            let complete = *self.complete_since.get_or_insert(now);
            let patience = if self.rivals_known { Duration::ZERO } else { RIVALS };
            self.due = Some(now.max(self.earliest).max(complete + patience));
        }
    }

    /// Marks the Leases of those who were judged dead, beside everything else. Others do the same, and one succeeds.
    fn strike_out(&self, lapsed: Vec<(NodeName, String)>) {
        for (node, version) in lapsed {
            tracing::warn!(%node, "the agent of a node has not renewed its Lease: it is no candidate any more");
            let member = self.member.clone();
            tokio::spawn(async move {
                let struck = in_time(member.strike_out(&node, &version)).await;
                tracing::debug!(%node, done = struck.is_ok(), "marked its Lease");
            });
        }
    }

    /// Has it said in the Lease that this node hands over what it owns, or does not any more; before the first renewal,
    /// so that nobody takes it for a candidate meanwhile.
    fn tell_leaving(&self) {
        let leaving = self.decider.leaving(&self.cluster);
        self.leaving.send_if_modified(|known| {
            let news = std::mem::replace(known, leaving) != leaving;
            match leaving {
                Some(why) if news => tracing::warn!(%why, "handing over all addresses"),
                None if news => tracing::info!("this node may own addresses again"),
                Some(_) | None => {}
            }
            news
        });
    }

    /// Decides; tells whether that is something else than before.
    fn decide(&mut self) -> bool {
        let start = Instant::now();
        (self.due, self.decided_at) = (None, start);
        self.tell_leaving();
        self.decider.hear(self.heard.borrow_and_update().clone());
        let (decided, lapsed) = self.decider.decide(&self.cluster, self.origin.elapsed());
        self.strike_out(lapsed);
        let Some(decided) = decided else {
            // Not before the watch shows a renewal of this process.
            self.asked.notify_one();
            return false;
        };
        let news = self.decided.send_if_modified(|known| {
            let news = known.as_ref().is_none_or(|known| !known.is_like(&decided));
            if news {
                *known = Some(Arc::new(decided));
            }
            news
        });
        if let Some(waits) = self.waits.take() {
            // Who asked may have gone.
            let _gone = waits.send(());
        }
        self.earliest = start + start.elapsed() * SHARE;
        news
    }
}
