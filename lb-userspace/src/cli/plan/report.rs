//! What would change, for programs and for people.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::IpAddr;

use anyhow::Result;
use lb_core::outlook::{Difference, Outlook, Stand};
use serde::Serialize;

use super::remarks::Remarks;
use super::{DIFFERENT, FAILED, Format, SAME};
use crate::cli::table::{lines, plain};

/// What stands where there is nothing, as kubectl has it.
const NONE: &str = "<none>";

/// All of it, as `-o json` prints it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    changes: Vec<Change>,
    /// How many Services that ask for addresses there would be for which nothing changes.
    unchanged: usize,
    #[serde(flatten)]
    remarks: Remarks,
}

/// What becomes of an address of a Service.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Change {
    /// `namespace/name`.
    service: String,
    effect: &'static str,
    before: Option<Place>,
    after: Option<Place>,
    /// Why, as far as that can be told.
    why: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Place {
    ip: IpAddr,
    pool: Option<String>,
    /// The node that answers.
    node: Option<String>,
}

impl From<&Stand> for Place {
    fn from(stand: &Stand) -> Self {
        Self {
            ip: stand.ip,
            pool: stand.pool.as_ref().map(ToString::to_string),
            node: stand.owner.as_ref().map(ToString::to_string),
        }
    }
}

impl Report {
    /// What is different from how it would be.
    pub(super) fn new(differences: &[Difference], after: &Outlook, remarks: Remarks) -> Self {
        let change = |one: &Difference| Change {
            service: one.service.to_string(),
            effect: one.effect.name(),
            before: one.before.as_ref().map(Place::from),
            after: one.after.as_ref().map(Place::from),
            why: one.why.iter().map(ToString::to_string).collect(),
        };
        let changed: BTreeSet<_> = differences.iter().map(|one| &one.service).collect();
        // A Service that asks for no address of ours is none that anything could change for.
        let asks = after.services().iter().filter(|(_, fate)| fate.idle.is_none());
        let unchanged = asks.filter(|(key, _)| !changed.contains(key)).count();
        Self { changes: differences.iter().map(change).collect(), unchanged, remarks }
    }

    /// The exit code.
    pub(super) fn code(&self) -> u8 {
        if self.remarks.are_fatal() {
            return FAILED;
        }
        if self.changes.is_empty() && self.remarks.errors.is_empty() { SAME } else { DIFFERENT }
    }

    /// What is said on standard error; programs find it in what they read.
    pub(super) fn remarks(&self) -> String {
        self.remarks.text()
    }

    /// As it is printed.
    pub(super) fn render(&self, format: Format) -> Result<String> {
        format.render(self, |wide| self.text(wide), || self.names())
    }

    /// The Services for which something changes, as `barelb explain svc` takes them.
    fn names(&self) -> String {
        let names: BTreeSet<&str> = self.changes.iter().map(|change| change.service.as_str()).collect();
        names.into_iter().flat_map(|name| [name, "\n"]).collect()
    }

    fn text(&self, wide: bool) -> String {
        if self.changes.is_empty() {
            return format!("Nothing changes for any of {} Services.\n", self.unchanged);
        }
        let headers: &[&str] = if wide {
            &["EFFECT", "SERVICE", "ADDRESS", "NODE", "POOL", "WHY"]
        } else {
            &["EFFECT", "SERVICE", "ADDRESS", "NODE", "WHY"]
        };
        let mut table = plain(headers);
        for change in &self.changes {
            let from_to = |of: fn(&Place) -> Option<String>| {
                let text =
                    |place: &Option<Place>| place.as_ref().and_then(of).unwrap_or_else(|| NONE.to_owned());
                let (before, after) = (text(&change.before), text(&change.after));
                if before == after { before } else { format!("{before} -> {after}") }
            };
            let pool = wide.then(|| from_to(|place| place.pool.clone()));
            let why = if change.why.is_empty() { "-".to_owned() } else { change.why.join("; ") };
            let first = [
                change.effect.to_owned(),
                change.service.clone(),
                from_to(|place| Some(place.ip.to_string())),
                from_to(|place| place.node.clone()),
            ];
            table.add_row(first.into_iter().chain(pool).chain([why]));
        }
        lines(&table) + "\n\n" + &self.summary() + "\n"
    }

    /// How much of what there is.
    fn summary(&self) -> String {
        let mut counts: Vec<(&str, usize)> = Vec::new();
        for change in &self.changes {
            match counts.iter_mut().find(|(effect, _)| *effect == change.effect) {
                Some((_, count)) => *count += 1,
                None => counts.push((change.effect, 1)),
            }
        }
        let mut text = String::new();
        for (effect, count) in counts {
            // Writing to a string does not fail.
            let _done = write!(text, "{effect}: {count}, ");
        }
        text + &format!("Services for which nothing changes: {}", self.unchanged)
    }
}
