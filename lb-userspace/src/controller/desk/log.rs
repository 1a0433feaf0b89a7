//! What the log is told of writes that fail: each cause once, until such writes succeed again.

use std::{collections::BTreeSet, error::Error};

use super::super::{metrics::WriteKind, tell::Telling, write::Target};
use crate::k8s::write::WriteError;

#[derive(Debug, Default)]
pub(super) struct Failing {
    known: BTreeSet<(&'static str, &'static str)>,
    events_lost: bool,
}

impl Failing {
    pub(super) fn failed(&mut self, target: &Target, error: &WriteError) {
        let (what, kind) = (error as &dyn Error, target.kind().label());
        if matches!(error, WriteError::Conflict | WriteError::Gone) {
            tracing::debug!(%target, error = what, "not written");
        } else if self.known.insert((kind, cause(error))) {
            tracing::warn!(%target, error = what, words = words(error), "can't be written, trying again");
        } else {
            tracing::debug!(%target, error = what, words = words(error), "still can't be written");
        }
    }

    pub(super) fn event_failed(&mut self, telling: &Telling, error: &WriteError) {
        let what = error as &dyn Error;
        let (reason, note) = (telling.reason.name(), &telling.note);
        // A namespace that ends takes no events.
        if matches!(error, WriteError::Gone) || !self.known.insert((WriteKind::Event.label(), cause(error))) {
            tracing::debug!(reason, note, error = what, "an event is not recorded");
        } else {
            tracing::warn!(reason, note, error = what, words = words(error), "an event can't be recorded");
        }
    }

    pub(super) fn works(&mut self, kind: WriteKind) {
        let before = self.known.len();
        self.known.retain(|(known, _)| *known != kind.label());
        if self.known.len() < before {
            tracing::info!(kind = kind.label(), "writes succeed again");
        }
    }

    pub(super) fn events_lost(&mut self) {
        if !self.events_lost {
            self.events_lost = true;
            tracing::warn!("too many events wait to be recorded: some are lost, the objects say the same");
        }
    }
}

fn cause(error: &WriteError) -> &'static str {
    match error {
        WriteError::Conflict => "conflict",
        WriteError::Gone => "gone",
        WriteError::Forbidden { .. } => "forbidden",
        WriteError::Invalid { .. } => "invalid",
        WriteError::Busy { .. } => "busy",
        WriteError::Timeout => "timeout",
        WriteError::Unreachable(_) => "unreachable",
    }
}

/// What the API server said.
fn words(error: &WriteError) -> Option<&str> {
    match error {
        WriteError::Forbidden { source, .. }
        | WriteError::Invalid { source, .. }
        | WriteError::Busy { source, .. } => Some(&source.message),
        WriteError::Conflict | WriteError::Gone | WriteError::Timeout | WriteError::Unreachable(_) => None,
    }
}
