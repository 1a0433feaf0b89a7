//! The page `/addresses`, made of the maps, the plan and what became of the links when somebody asks for it.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use lb_core::ids::{LinkId, NodeName, Vlans};
use lb_core::plan::{EntryState, Plan, Silence, Target, Verdict};

use super::hold;
use super::peers::Peers;
use super::rates::Rates;
use super::table::{Counted, Reading, Table};
use crate::agent::addresses::{
    AddressReport, AddressSaid, CountsSaid, EntrySaid, FORM, Heading, LinkSaid, PeersSaid, ServiceSaid,
    asked_for,
};
use crate::agent::reconcile::Reconciled;
use crate::agent::sessions::PeerReport;
use crate::dataplane::ebpf::{Counts, Row};
use crate::dataplane::{Attachment, DataplaneError};
use crate::net::clock::boot_time_ns;
use crate::telemetry::health::Health;

#[cfg(test)]
mod tests;

/// What the page needs beside the maps.
#[derive(Debug)]
pub(super) struct Page {
    node: String,
    lb_class: Option<String>,
    health: Health,
    table: Arc<Table>,
    peers: Peers,
    rates: Mutex<Rates>,
}

/// What the agent's task has done, for the page.
#[derive(Debug, Default, Clone)]
pub(super) struct Deeds {
    attachments: BTreeMap<LinkId, Attachment>,
    /// When what is answered began to be, nanoseconds of `CLOCK_BOOTTIME`. What was answered before is not here.
    since: BTreeMap<Target, u64>,
}

impl Deeds {
    /// A step was made at this time.
    pub(super) fn stepped(&mut self, done: &Reconciled, now_ns: u64) {
        self.attachments.clone_from(&done.attachments);
        let changes = &done.changes;
        for target in changes.remove.iter().chain(&changes.lost) {
            self.since.remove(target);
        }
        // Another hardware address is told to everybody, and is no other owner.
        for target in &changes.gained {
            self.since.entry(*target).or_insert(now_ns);
        }
    }
}

impl Page {
    pub(super) fn new(
        node: &NodeName,
        lb_class: Option<String>,
        health: Health,
        table: Arc<Table>,
        peers: Peers,
    ) -> Self {
        Self { node: node.to_string(), lb_class, health, table, peers, rates: Mutex::default() }
    }

    /// Takes note of the counts, so that they have a rate.
    pub(super) fn look(&self) {
        if let Some(Ok(reading)) = self.table.read(Counted::Answered) {
            hold(&self.rates).take(&reading, boot_time_ns());
        }
    }

    /// The page, of the addresses that the query names or of all.
    pub(super) fn text(&self, query: &str) -> String {
        let wanted = asked_for(query);
        let counted = if wanted.is_empty() { Counted::Answered } else { Counted::All };
        let reading = self.table.read(counted).and_then(told);
        // The agent's task does not wait while the page is made.
        let deeds = hold(&self.table.deeds).clone();
        let report = Facts {
            reading: reading.as_ref(),
            plan: &self.table.plan(),
            deeds: &deeds,
            rates: &hold(&self.rates),
            peers: &self.peers.page(),
            started_ns: self.table.started_ns,
            now_ns: boot_time_ns(),
            wanted: &wanted,
            counted,
        };
        let report = AddressReport {
            heading: Heading { form: FORM, version: env!("CARGO_PKG_VERSION").to_owned() },
            node: self.node.clone(),
            unready: self.health.ready().err().map(|unfit| unfit.to_string()),
            lb_class: self.lb_class.clone(),
            ..report.say()
        };
        serde_json::to_string(&report).unwrap_or_default()
    }
}

/// A page without addresses says enough to whoever asks.
fn told(reading: Result<Reading, DataplaneError>) -> Option<Reading> {
    let told = |error: &DataplaneError| {
        let error: &dyn Error = error;
        tracing::warn!(error, "can't read the maps: /addresses has none");
    };
    reading.inspect_err(told).ok()
}

/// Everything that is known at one moment.
struct Facts<'a> {
    reading: Option<&'a Reading>,
    plan: &'a Plan,
    deeds: &'a Deeds,
    rates: &'a Rates,
    peers: &'a PeerReport,
    started_ns: u64,
    now_ns: u64,
    /// Empty: all.
    wanted: &'a BTreeSet<IpAddr>,
    counted: Counted,
}

impl Facts<'_> {
    /// The page, but for what it says of the agent.
    fn say(&self) -> AddressReport {
        let mut addresses: BTreeMap<IpAddr, AddressSaid> = BTreeMap::new();
        let mut of = |ip: IpAddr, say: &mut dyn FnMut(&mut AddressSaid)| {
            if self.wanted.is_empty() || self.wanted.contains(&ip) {
                let new = || AddressSaid { ip, services: Vec::new(), entries: Vec::new() };
                say(addresses.entry(ip).or_insert_with(new));
            }
        };
        for (service, verdicts) in &self.plan.services {
            for one in verdicts {
                of(one.ip, &mut |said| said.services.push(service_said(service.to_string(), &one.verdict)));
            }
        }
        for (target, (row, counts)) in self.reading.iter().flat_map(|reading| &reading.entries) {
            of(target.ip, &mut |said| said.entries.push(self.entry(target, row, counts)));
        }
        AddressReport {
            valid_for_ms: self.reading.map(|reading| milliseconds(reading.deadline)),
            links: self.deeds.attachments.values().map(|link| self.link(link)).collect(),
            addresses: addresses.into_values().collect(),
            ..AddressReport::default()
        }
    }

    fn link(&self, link: &Attachment) -> LinkSaid {
        let there = self.peers.sessions.iter().filter(|session| session.link == link.name);
        let peers = PeersSaid {
            up: there.clone().filter(|session| session.status == "up").count(),
            all: there.count(),
        };
        LinkSaid {
            name: link.name.clone(),
            mode: link.mode.map(|mode| mode.to_string()),
            refused: link.refused.iter().map(|one| format!("{}: {}", one.mode, one.reason)).collect(),
            peers: (peers.all > 0).then_some(peers),
        }
    }

    fn entry(&self, target: &Target, row: &Row, counts: &Counts) -> EntrySaid {
        let answers = row.entry.state == EntryState::Answer;
        let since = self.deeds.since.get(target).copied();
        let ago = |then_ns: u64| self.now_ns.saturating_sub(then_ns) / 1_000_000;
        let link = self.reading.and_then(|reading| reading.links.get(&target.link));
        EntrySaid {
            link: link.cloned().unwrap_or_default(),
            vlans: (target.vlans != Vlans::Untagged).then(|| target.vlans.to_string()),
            mac: row.entry.mac.to_string(),
            answers,
            answers_for_ms: answers.then(|| ago(since.unwrap_or(self.started_ns))),
            answered_before: answers && since.is_none(),
            counts: (answers || self.counted == Counted::All).then(|| CountsSaid {
                requests: counts.requests,
                replies: counts.replies,
                per_second: self.rates.per_second(target, counts.requests, self.now_ns).filter(|_| answers),
                last_asked_ms: (counts.last_seen_ns > 0).then(|| ago(counts.last_seen_ns)),
                requester: counts.requester.as_ref().map(|who| who.ip),
                requester_mac: counts.requester.as_ref().map(|who| who.mac.to_string()),
            }),
        }
    }
}

/// A deadline of a few centuries at most.
fn milliseconds(seconds: f64) -> i64 {
    (seconds * 1000.0) as i64
}

fn service_said(service: String, verdict: &Verdict) -> ServiceSaid {
    let said = |verdict: &str, owner: Option<&NodeName>, why: Option<String>| ServiceSaid {
        service,
        verdict: verdict.to_owned(),
        owner: owner.map(NodeName::to_string),
        why,
    };
    match verdict {
        Verdict::Owner => said("owner", None, None),
        Verdict::Standby { owner, .. } => said("standby", Some(owner), None),
        Verdict::Waiting => {
            said("waiting", None, Some("it is not known yet that no other node answers".to_owned()))
        }
        Verdict::Silent(Silence::NotOwner { owner } | Silence::NodeNotSelected { owner: Some(owner) }) => {
            said("silent", Some(owner), None)
        }
        Verdict::Silent(silence) => said("silent", None, Some(silence.to_string())),
    }
}
