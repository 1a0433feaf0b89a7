//! What an edit of the objects gives to another node is answered here until that one has begun to
//! ([`lb_core::plan::Handovers`]).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use lb_core::failover::Standing;
use lb_core::ids::LinkId;
use lb_core::plan::EntryState;

use super::prober::Seen;
use super::task::Agent;
use crate::dataplane::links_of;
use crate::source::decide::Decided;

/// What the table followed last.
pub(super) struct Followed {
    decided: Arc<Decided>,
    standing: Option<Arc<Standing>>,
}

impl Agent {
    /// Whether what the table is to follow differs from what it followed last by the objects alone; it follows this from now
    /// on. Where nodes stand differently too, what they tell each other says who answers.
    pub(super) fn is_edit(&mut self, decided: &Arc<Decided>, seen: Option<&Seen>) -> bool {
        let standing = seen.map(|seen| Arc::clone(&seen.standing));
        let now = Followed { decided: Arc::clone(decided), standing };
        let Some(before) = self.followed.replace(now) else { return false };
        // What was resumed after a restart is older than what others know.
        let known = before.decided.only.is_none() && decided.only.is_none();
        let standing = seen.map(|seen| &seen.standing);
        known && !Arc::ptr_eq(&before.decided, decided) && before.standing.as_ref() == standing
    }

    /// Falls silent on what others have had the time to take.
    pub(super) fn end_handovers(&mut self) {
        let due = self.reconciler.handovers().due();
        if due.is_some_and(|at| self.clock().monotonic >= at) {
            tracing::info!("what was handed over ends without a word of its new owner");
            self.handed_over();
        }
    }

    /// Falls silent on what is handed over no more. A table that is not known to be right is left to the step that is to
    /// mend it.
    pub(super) fn handed_over(&mut self) {
        if self.healthy {
            self.step();
        }
        self.look_again();
    }

    /// Another node has not taken everything over yet.
    pub(super) fn owns(&mut self) -> bool {
        let mut planned = self.planned.plan.desired.values();
        planned.any(|entry| entry.state == EntryState::Answer) || !self.reconciler.handovers().is_empty()
    }

    /// Links on which something was to be answered not long ago, and could be; where nodes watch each other.
    pub(super) fn kept_links(&mut self) -> BTreeSet<LinkId> {
        if self.prober.is_none() {
            return BTreeSet::new();
        }
        self.kept.note(links_of(&self.planned.plan.desired), Instant::now());
        let fit = |id: LinkId| {
            let name = self.present.get(&id.0).map(|link| link.name.as_str());
            let reports = self.report.iter().flatten();
            reports.filter(|report| report.fit).any(|report| Some(report.name.as_str()) == name)
        };
        self.kept.links(fit, Instant::now())
    }
}
