//! An address and one of the nodes that answer for it, as the cells of a table.

use std::net::IpAddr;
use std::time::Duration;

use super::join::{Answer, Owner, Row, State};
use crate::agent::addresses::CountsSaid;
use crate::cli::age::age;

#[cfg(test)]
mod tests;

/// What is shown where there is nothing.
const NONE: &str = "<none>";

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(in crate::cli) struct View<'a> {
    row: &'a Row,
    owner: Option<&'a Owner>,
}

impl<'a> View<'a> {
    pub(in crate::cli) fn new(row: &'a Row, owner: Option<&'a Owner>) -> Self {
        Self { row, owner }
    }

    pub(in crate::cli) fn address(self) -> String {
        self.row.ip.map_or_else(|| "<pending>".to_owned(), |ip| ip.to_string())
    }

    pub(in crate::cli) fn services(self) -> String {
        some(self.row.services.join(","))
    }

    pub(in crate::cli) fn node(self) -> String {
        let nobody = if self.row.state == State::Unknown { "<unknown>" } else { NONE };
        self.owner.map_or(nobody, |owner| &owner.node).to_owned()
    }

    pub(in crate::cli) fn links(self) -> String {
        self.each(|one| Some(one.entry.link.clone()))
    }

    pub(in crate::cli) fn macs(self) -> String {
        self.each(|one| Some(one.entry.mac.clone()))
    }

    pub(in crate::cli) fn modes(self) -> String {
        self.each(|one| Some(one.mode.clone().unwrap_or_else(|| "NOT ATTACHED".to_owned())))
    }

    pub(in crate::cli) fn vlans(self) -> String {
        self.each(|one| one.entry.vlans.clone())
    }

    /// Of the nodes that the owner watches there, how many reply.
    pub(in crate::cli) fn peers(self) -> String {
        self.each(|one| one.peers.map(|peers| format!("{}/{}", peers.up, peers.all)))
    }

    /// For how long the node answers; `>5m` where that began before its agent did.
    pub(in crate::cli) fn since(self) -> String {
        let longest =
            self.entries().filter_map(|one| Some((one.entry.answers_for_ms?, one.entry.answered_before)));
        longest.max().map_or_else(
            || NONE.to_owned(),
            |(ms, before)| format!("{}{}", if before { ">" } else { "" }, age(Duration::from_millis(ms))),
        )
    }

    /// Requests a second, of all entries of the node.
    pub(in crate::cli) fn per_second(self) -> Option<f64> {
        self.counts().filter_map(|counts| counts.per_second).reduce(|sum, rate| sum + rate)
    }

    pub(in crate::cli) fn rate(self) -> String {
        let unknown = if self.owner.is_some() { "-" } else { NONE };
        self.per_second().map_or_else(|| unknown.to_owned(), rate)
    }

    /// Requests since the entries are there.
    pub(in crate::cli) fn asked(self) -> u64 {
        self.counts().map(|counts| counts.requests).sum()
    }

    pub(in crate::cli) fn requests(self) -> String {
        self.owner.map_or_else(|| NONE.to_owned(), |_| self.asked().to_string())
    }

    /// Milliseconds since the last request, and from whom it was.
    pub(in crate::cli) fn last(self) -> Option<(u64, Option<IpAddr>)> {
        let times = self.counts().filter_map(|counts| Some((counts.last_asked_ms?, counts.requester)));
        times.min()
    }

    pub(in crate::cli) fn last_asked(self) -> String {
        if self.owner.is_none() {
            return NONE.to_owned();
        }
        self.last()
            .map_or_else(|| "never".to_owned(), |(ms, _)| format!("{} ago", age(Duration::from_millis(ms))))
    }

    /// A probe names nobody.
    pub(in crate::cli) fn asked_by(self) -> String {
        let known = self.last().and_then(|(_, who)| who).filter(|who| !who.is_unspecified());
        known.map_or_else(|| NONE.to_owned(), |who| who.to_string())
    }

    pub(in crate::cli) fn standby(self) -> String {
        some(self.row.standby.join(","))
    }

    /// Why nobody answers, or why a better mode is not used.
    pub(in crate::cli) fn remarks(self) -> String {
        let mut remarks: Vec<String> = self.row.why.iter().cloned().collect();
        for refusal in self.entries().flat_map(|one| &one.refused) {
            let remark = format!("not {refusal}");
            if !remarks.contains(&remark) {
                remarks.push(remark);
            }
        }
        some(remarks.join("; "))
    }

    fn entries(self) -> impl Iterator<Item = &'a Answer> {
        self.owner.into_iter().flat_map(|owner| &owner.entries)
    }

    fn counts(self) -> impl Iterator<Item = &'a CountsSaid> {
        self.entries().filter_map(|one| one.entry.counts.as_ref())
    }

    /// What is to be said of each entry, the same once.
    fn each(self, say: impl Fn(&Answer) -> Option<String>) -> String {
        let mut all: Vec<String> = Vec::new();
        for said in self.entries().filter_map(say) {
            if !all.contains(&said) {
                all.push(said);
            }
        }
        some(all.join(","))
    }
}

fn some(text: String) -> String {
    if text.is_empty() { NONE.to_owned() } else { text }
}

/// A few digits; what is there is not shown as nothing.
pub(in crate::cli) fn rate(per_second: f64) -> String {
    match per_second {
        0.0 => "0".to_owned(),
        tiny if tiny < 0.1 => "<0.1".to_owned(),
        few if few < 9.95 => format!("{few:.1}"),
        many => format!("{many:.0}"),
    }
}
