//! What is known of all addresses, and what to print of it.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::join::{Owner, Row, Said, State};
use super::view::View;
use crate::cli::ask::{Unasked, warnings};
use crate::cli::table::{lines, plain};

#[cfg(test)]
mod tests;

/// Addresses that a warning names.
const NAMED: usize = 3;

/// All of it, as `-o json` prints it.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::cli) struct Report {
    /// Addresses of Services, and Services without one.
    pub(in crate::cli) addresses: Vec<Row>,
    /// The agents that were asked.
    pub(in crate::cli) agents: Vec<AgentSaid>,
    /// Those that have not said it.
    pub(in crate::cli) unasked: Vec<Unasked>,
}

/// An agent that was asked.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::cli) struct AgentSaid {
    node: String,
    pod: String,
    version: String,
    /// Milliseconds until its table falls silent without it.
    valid_for_ms: Option<i64>,
    /// Why it is not ready.
    unready: Option<String>,
}

impl AgentSaid {
    pub(super) fn of(said: &Said) -> Self {
        Self {
            node: said.report.node.clone(),
            pod: said.pod.clone(),
            version: said.report.heading.version.clone(),
            valid_for_ms: said.report.valid_for_ms,
            unready: said.report.unready.clone(),
        }
    }
}

impl Report {
    /// A row for each address and node that answers for it.
    pub(super) fn table(&self, wide: bool) -> String {
        let mut table = plain(&headers(wide));
        for row in &self.addresses {
            let owners: Vec<Option<&Owner>> = match row.owners.as_slice() {
                [] => vec![None],
                owners => owners.iter().map(Some).collect(),
            };
            for owner in owners {
                table.add_row(cells(row, owner, wide));
            }
        }
        if table.is_empty() { String::new() } else { lines(&table) + "\n" }
    }

    /// `namespace/name` of every Service, as `barelb explain svc` takes it.
    pub(super) fn names(&self) -> String {
        let services: BTreeSet<&String> = self.addresses.iter().flat_map(|row| &row.services).collect();
        services.into_iter().flat_map(|service| [service.as_str(), "\n"]).collect()
    }

    /// What is wrong, with what it is true of.
    pub(in crate::cli) fn warnings(&self) -> Vec<(String, String)> {
        let unready =
            self.agents.iter().filter_map(|agent| Some((agent.node.as_str(), agent.unready.as_deref()?)));
        let mut all = warnings(self.unasked.iter().map(Unasked::warning).chain(unready));
        let mut by_reason: BTreeMap<String, Vec<&Row>> = BTreeMap::new();
        for row in &self.addresses {
            if let Some(reason) = wrong(row) {
                by_reason.entry(reason).or_default().push(row);
            }
        }
        all.extend(by_reason.into_iter().map(|(reason, rows)| {
            let named: Vec<String> = rows.iter().take(NAMED).map(|row| subject(row)).collect();
            let more = match rows.len() - named.len() {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let next = rows.first().and_then(|row| next(row)).unwrap_or_default();
            (format!("{}{more}", named.join(", ")), format!("{reason}{next}"))
        }));
        all
    }
}

/// What a warning is about: the address, or the Service that has none.
fn subject(row: &Row) -> String {
    row.ip.map_or_else(|| row.services.join(", "), |ip| ip.to_string())
}

/// What is wrong with a row, if anything is.
fn wrong(row: &Row) -> Option<String> {
    // The same is told of many addresses at once.
    let why = row.why.as_deref().unwrap_or_default();
    let why = row.ip.map_or_else(String::new, |ip| why.replace(&ip.to_string(), "the address"));
    match row.state {
        State::Answered => None,
        State::Contested => {
            let nodes: Vec<&str> = row.owners.iter().map(|owner| owner.node.as_str()).collect();
            Some(format!(
                "{} all answer for it: while an address moves that lasts two seconds; if it stays, `barelb status --peers` \
                 shows whether these nodes hear each other",
                nodes.join(" and ")
            ))
        }
        State::Unanswered => Some(format!("no node answers for it: {why}")),
        State::Unknown => Some(format!("no node that could be asked answers for it: {why}")),
        State::Stale => Some(
            "a node answers for it, and no Service has it: it goes when the agent sees that; if it stays, `barelb inspect` \
             on the node says what the agent waits for"
                .to_owned(),
        ),
        State::Pending => Some("it has no address yet".to_owned()),
    }
}

/// The command that says more.
fn next(row: &Row) -> Option<String> {
    let what = match row.state {
        State::Unanswered | State::Unknown => format!("ip {}", row.ip?),
        State::Pending => format!("svc {}", row.services.first()?),
        State::Answered | State::Contested | State::Stale => return None,
    };
    Some(format!("; `barelb explain {what}` says more"))
}

fn headers(wide: bool) -> Vec<&'static str> {
    let mut headers =
        vec!["ADDRESS", "SERVICES", "NODE", "INTERFACE", "MAC", "MODE", "SINCE", "REQUESTS/S", "PEERS"];
    if wide {
        headers.extend(["VLAN", "REQUESTS", "LAST ASKED", "BY", "STANDBY", "REMARKS"]);
    }
    headers
}

fn cells(row: &Row, owner: Option<&Owner>, wide: bool) -> Vec<String> {
    let view = View::new(row, owner);
    let mut cells = vec![
        view.address(),
        view.services(),
        view.node(),
        view.links(),
        view.macs(),
        view.modes(),
        view.since(),
    ];
    cells.extend([view.rate(), view.peers()]);
    if wide {
        cells.extend([
            view.vlans(),
            view.requests(),
            view.last_asked(),
            view.asked_by(),
            view.standby(),
            view.remarks(),
        ]);
    }
    cells
}
