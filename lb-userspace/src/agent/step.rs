//! From a survey to the table: steps, and what follows from them.

use std::sync::Arc;
use std::time::Instant;

use lb_core::eligibility::Leaving;
use lb_core::ids::{LinkId, LinkName};
use lb_core::membership::{LinkReport, LivenessReport};
use lb_core::plan::EntryState;

use super::prober::Seen;
use super::prober::setup::{reflection, setup};
use super::prober::start::NO_EPOCH;
use super::reconcile::Planned;
use super::survey::{Prospect, Survey};
use super::task::Agent;
use super::worker::Done;
use crate::dataplane::{Dataplane, LinkFacts, links_of};
use crate::net::clock::boot_time_ns;
use crate::net::netlink::NetlinkError;
use crate::source::decide::Decided;

impl Agent {
    /// The links may have changed, or can't be watched any more.
    pub(super) fn links_changed(&mut self, result: Result<(), NetlinkError>) {
        if let Err(error) = result {
            tracing::warn!(%error, "can't watch the interfaces; reading them again");
            self.auditor.is_blind_for_now();
        }
        self.look_again();
    }

    /// The worker is back.
    pub(super) fn worked(&mut self, done: Done) {
        if done == Done::Read {
            if std::mem::take(&mut self.stale_read) {
                self.worker.not_stepped();
            } else {
                self.lapsed = false;
            }
            self.look_again();
        }
        let told = self.worker.told();
        self.metrics.problems(told.problems.len(), told.valid);
        self.untidy = true;
    }

    /// The objects can't be read. What is answered was decided before this agent started, and the table has not fallen
    /// silent since: that is gone by.
    pub(super) fn resume(&mut self) {
        self.resume_at = None;
        if self.worker.decided().is_some() {
            return;
        }
        let dataplane = self.reconciler.dataplane();
        let answered = match (dataplane.valid_until(), dataplane.actual()) {
            (Ok(until), Ok(entries)) if until > boot_time_ns() => {
                let answered = entries.iter().filter(|(_, entry)| entry.state == EntryState::Answer);
                answered.map(|(target, _)| target.ip).collect()
            }
            (Ok(_), Ok(_)) => {
                tracing::info!("the table has fallen silent, and nothing was read yet: waiting for that");
                return;
            }
            (Err(error), _) | (_, Err(error)) => {
                let error: &dyn std::error::Error = &error;
                tracing::error!(
                    error,
                    "can't read what the table answers; it falls silent unless objects are read"
                );
                return;
            }
        };
        self.worker.resume(answered);
    }

    /// Makes the table follow what was found.
    pub(super) fn surveyed(&mut self, survey: Survey) {
        self.auditor.survey_ended();
        self.orders = survey.orders;
        match survey.links {
            Ok(links) => self.present = links,
            Err(error) => {
                tracing::warn!(%error, "can't list the interfaces; keeping what was known");
                if self.present.is_empty() {
                    self.healthy = false;
                    self.worker.not_stepped();
                    return;
                }
            }
        }
        if let Some((own, report)) = survey.here {
            self.report = Some(self.with_liveness(report));
            self.report_links();
            // Which addresses may be given out depends on those the node has itself.
            if self.own.as_ref() != Some(&own) {
                self.own = Some(own);
                self.read();
            }
        }
        match survey.prospect {
            Some(prospect) => self.follow(prospect),
            None => self.worker.not_stepped(),
        }
    }

    fn is_silent(&mut self) -> bool {
        self.reconciler.dataplane().valid_until().is_ok_and(|until| until <= boot_time_ns())
    }

    /// Says where this node can be probed.
    fn with_liveness(&self, mut report: Vec<LinkReport>) -> Vec<LinkReport> {
        if self.prober.is_some() {
            let liveness =
                LivenessReport { discriminator: self.discriminator, port: self.settings.failover.port };
            for link in &mut report {
                link.liveness = Some(liveness);
            }
        }
        report
    }

    /// Has the nodes of the plan's links probed; false when it is not known yet which of them are there.
    fn watch_peers(&mut self, decided: &Decided, planned: &Planned, seen: Option<&Seen>) -> bool {
        let Some(prober) = &mut self.prober else { return true };
        let me = &self.settings.node;
        let used = &links_of(&planned.plan.desired) | &planned.tried;
        prober.probe(&setup(&self.present, &used, &decided.nodes, me));
        let leaving = decided.nodes.get(me).and_then(|node| node.leaving);
        let leaves = |leaving| leaving != Leaving::Cordoned || self.settings.leaves_on_cordon;
        prober.leave(leaving.is_some_and(leaves));
        seen.is_some_and(|seen| prober.is_current(seen))
    }

    /// Lets the data plane say how this node stands, and the other nodes know that the table follows what they said.
    fn reflect(&mut self, seen: &Seen) {
        let Some(prober) = &self.prober else { return };
        let reflection = reflection(prober.setup(), self.discriminator, |link| seen.up.contains(&link));
        let dataplane = self.reconciler.dataplane();
        let reflected =
            dataplane.reflect(&reflection).and_then(|()| dataplane.set_epoch(seen.epoch.unwrap_or(NO_EPOCH)));
        match reflected {
            Ok(()) => prober.applied(seen),
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::error!(
                    error,
                    "can't let other nodes know that this one is there: they may replace it"
                );
            }
        }
    }

    fn follow(&mut self, prospect: Prospect) {
        let Prospect { decided, seen, planned, memberships, verdicts } = prospect;
        self.notice_lapse();
        if !self.watch_peers(&decided, &planned, seen.as_deref()) {
            self.worker.not_stepped();
            return;
        }
        if self.lapsed {
            self.worker.not_stepped();
            return;
        }
        if decided.only.is_some() && !self.healthy && self.is_silent() {
            tracing::debug!(
                "the table has fallen silent: waiting for the API server before it answers again"
            );
            self.worker.not_stepped();
            return;
        }
        let newest = self.worker.decided().is_some_and(|newest| Arc::ptr_eq(newest, &decided));
        if !self.healthy && !newest {
            // A table that is silent does not begin to answer from what is known to be old.
            return;
        }
        self.planned = planned;
        self.planned.edited = self.is_edit(&decided, seen.as_deref());
        let done = self.step();
        // What is lost later was lost for another reason.
        self.planned.edited = false;
        if !done {
            self.worker.not_stepped();
            return;
        }
        if let Some(seen) = seen {
            self.reflect(&seen);
        }
        self.metrics.members(decided.nodes.values().filter(|node| node.alive).count());
        self.keeper.want(&memberships.wanted, self.reconciler.handovers().is_empty());
        if self.gaps != memberships.gaps {
            for gap in &memberships.gaps {
                tracing::warn!(gap, "solicited-node group");
            }
            self.gaps = memberships.gaps;
        }
        let fingerprint = if self.last.unanswered.is_empty() { Some(verdicts) } else { None };
        let name = |(link, facts): (&LinkId, &LinkFacts)| Some((*link, LinkName::new(&facts.name).ok()?));
        let links = self.planned.facts.iter().filter_map(name).collect();
        self.worker.stepped(&decided, &self.told, links, fingerprint);
    }

    /// Applies what is planned; false when that failed.
    pub(super) fn step(&mut self) -> bool {
        match self.reconciler.step(&self.planned, self.clock()) {
            Ok(done) => self.last = done,
            Err(error) => {
                self.healthy = false;
                let error: &dyn std::error::Error = &error;
                tracing::error!(
                    error,
                    "can't bring the table up to date; it falls silent unless a later try succeeds"
                );
                return false;
            }
        }
        let changes = &self.last.changes;
        if !changes.is_empty() {
            tracing::info!(
                removed = changes.remove.len(),
                written = changes.upsert.len(),
                gained = changes.gained.len(),
                "table updated"
            );
        }
        if !self.healthy {
            tracing::info!(entries = self.planned.plan.desired.len(), "in step: the table is as planned");
        }
        self.told = if self.last.unanswered.is_empty() {
            Arc::clone(&self.planned.plan)
        } else {
            let mut plan = self.planned.plan.as_ref().clone();
            plan.shortfall(&self.last.unanswered);
            Arc::new(plan)
        };
        self.auditor.stepped(&self.last);
        self.barred.note(&self.last.attachments, Instant::now());
        self.metrics.stepped(&self.told, &self.last);
        self.recovered();
        if self.healthy {
            self.sender.introduce(&self.last.direct, &self.planned.plan);
        }
        self.send_due();
        true
    }
}
