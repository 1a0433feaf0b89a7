//! What there is to tell of the configuration.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    sync::Arc,
};

use super::{Reason, Subject, Telling, readable};
use crate::{
    controller::decide::Decided,
    source::{
        kubernetes::{Cluster, ObjectName},
        problem::Problem,
    },
};

/// Events on one object at most. An object can have thousands of bad entries.
const EVENTS: usize = 20;
/// Longest summary, in bytes: an object of the API has a megabyte at most, and nobody reads that much.
const SUMMARY: usize = 16 * 1024;

/// What the controller makes of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// All of it is in force. Warnings alone leave it valid.
    pub valid: bool,
    /// A line for everything that is wrong, as far as there is room.
    pub summary: String,
    /// How many lines there are to be.
    pub problems: usize,
}

pub(super) fn collect(decided: &Decided, cluster: &Cluster, all: &mut BTreeSet<Telling>) {
    let mut by_object: BTreeMap<&ObjectName, Vec<&Problem>> = BTreeMap::new();
    for (name, problem) in &decided.problems {
        by_object.entry(name).or_default().push(problem);
    }
    for (name, problems) in by_object {
        let uid = cluster.meta(name).map(|meta| Arc::clone(&meta.uid)).unwrap_or_default();
        let mut tell = |reason, note: &str| {
            let subject = Subject::Object(name.clone());
            all.insert(Telling { subject, uid: Arc::clone(&uid), reason, note: readable(note) });
        };
        for problem in problems.iter().take(EVENTS) {
            let reason =
                if problem.is_warning() { Reason::ConfigurationWarning } else { Reason::ConfigurationError };
            tell(reason, &without_object(problem));
        }
        if let Some(more) = problems.len().checked_sub(EVENTS).filter(|more| *more > 0) {
            let note = format!("{more} more problems: see the ConfigurationState and the controller's log");
            tell(Reason::ConfigurationError, &note);
        }
    }
    for (name, unserved) in cluster.unserved() {
        let (subject, uid) = (Subject::Object(name.clone()), Arc::clone(&unserved.meta.uid));
        let note = readable(&not_served(name));
        all.insert(Telling { subject, uid, reason: Reason::NotServed, note });
    }
}

/// What the controller says of the whole configuration.
pub fn state(decided: &Decided, cluster: &Cluster) -> State {
    let problems = decided.problems.iter().map(|(_, problem)| problem.to_string());
    let unserved = cluster.unserved().map(|(name, _)| format!("{name}: {}", not_served(name)));
    let (mut summary, mut count, mut left_out) = (String::new(), 0_usize, 0_usize);
    for line in problems.chain(unserved) {
        count += 1;
        let line = readable(&line);
        if summary.len() + line.len() < SUMMARY {
            let end = if summary.is_empty() { "" } else { "\n" };
            summary.push_str(end);
            summary.push_str(&line);
        } else {
            left_out += 1;
        }
    }
    if left_out > 0 {
        // Writing to a String does not fail.
        let _infallible = write!(summary, "\nand {left_out} more");
    }
    let valid = cluster.unserved().next().is_none()
        && decided.problems.iter().all(|(_, problem)| problem.is_warning());
    State { valid, summary, problems: count }
}

fn without_object(problem: &Problem) -> String {
    let field = &problem.place.field;
    let colon = if field.is_empty() { "" } else { ": " };
    format!("{field}{colon}{}{}", problem.reason, problem.effect)
}

fn not_served(name: &ObjectName) -> String {
    let kind = name.kind.name();
    format!(
        "BareLB announces in layer 2 only, so this {kind} has no effect: delete it, or let MetalLB or another BGP \
         speaker announce its addresses"
    )
}
