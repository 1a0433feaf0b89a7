//! What the maps say, read when somebody asks: what each address was asked and what was answered, what became of
//! frames, and until when the table answers.
//!
//! A series is one entry of the table, with its interface and its VLANs: it has a slot of counters of its own from its
//! first moment to its last, also over restarts of the agent. A sum over interfaces would go backwards when one of them
//! goes away. Entries on standby are not shown: each node has one for almost every address of the cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, OnceLock};

use lb_common::outcome::Outcome;
use lb_core::ids::{LinkId, NodeName, Vlans};
use lb_core::plan::{EntryState, Plan, Target, Verdict};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::TypedMetric;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use super::page::Deeds;
use super::{addresses, hold};
use crate::agent::reconcile::Reconciled;
use crate::dataplane::DataplaneError;
use crate::dataplane::ebpf::{Counts, Row, View};
use crate::net::clock::boot_time_ns;
use crate::net::links;

/// What the maps held at one moment.
#[derive(Debug, Default)]
pub struct Reading {
    /// Every entry with its counts.
    pub entries: BTreeMap<Target, (Row, Counts)>,
    /// How often each outcome happened, those that never did left out.
    pub outcomes: BTreeMap<&'static str, u64>,
    /// Names of the interfaces of the entries.
    pub links: BTreeMap<LinkId, String>,
    /// Seconds until the table falls silent; negative: since when it is.
    pub deadline: f64,
    /// Entries there is room for.
    pub room: u32,
}

/// Of which entries the counts are wanted: each is a read of as many bytes as the machine has CPUs, 80 times over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// Those that are answered; the others are left at zero.
    Answered,
    /// All.
    All,
}

impl Reading {
    /// Reads it. An interface that is gone has its index for a name.
    pub(in crate::agent) fn of(view: &View, counted: Counted) -> Result<Self, DataplaneError> {
        let entries = view.counted(|row| counted == Counted::All || row.entry.state == EntryState::Answer)?;
        let ids: BTreeSet<LinkId> = entries.keys().map(|target| target.link).collect();
        let name = |id: LinkId| links::name(id.0).unwrap_or_else(|| id.0.to_string());
        let until = seconds(view.agent()?.valid_until_ns);
        Ok(Self {
            links: ids.into_iter().map(|id| (id, name(id))).collect(),
            outcomes: view.counters.outcomes()?,
            deadline: until - seconds(boot_time_ns()),
            room: view.max_vips,
            entries,
        })
    }
}

/// Exact to a microsecond for three hundred years.
#[expect(clippy::cast_precision_loss, reason = "a metric is a float anyway")]
fn seconds(ns: u64) -> f64 {
    (ns / 1000) as f64 / 1e6
}

/// How the maps are read.
pub(super) type Read = Box<dyn Fn(Counted) -> Result<Reading, DataplaneError> + Send + Sync>;

/// Where a scrape finds the maps, and what the agent's task knows beside them.
pub(super) struct Table {
    node: String,
    read: OnceLock<Read>,
    plan: Mutex<Arc<Plan>>,
    /// Announcement frames sent, by what they were of.
    sent: Mutex<BTreeMap<Target, u64>>,
    /// When the agent started, nanoseconds of `CLOCK_BOOTTIME`.
    pub(super) started_ns: u64,
    pub(super) deeds: Mutex<Deeds>,
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("node", &self.node).finish_non_exhaustive()
    }
}

impl Table {
    pub(super) fn new(node: &NodeName) -> Self {
        let node = node.as_str().to_owned();
        Self {
            node,
            read: OnceLock::new(),
            plan: Mutex::default(),
            sent: Mutex::default(),
            started_ns: boot_time_ns(),
            deeds: Mutex::default(),
        }
    }

    /// The first call counts.
    pub(super) fn read_by(&self, read: Read) {
        drop(self.read.set(read));
    }

    /// Reads the maps; nothing before it is known how.
    pub(super) fn read(&self, counted: Counted) -> Option<Result<Reading, DataplaneError>> {
        Some(self.read.get()?(counted))
    }

    /// What the table holds by now.
    pub(super) fn plan(&self) -> Arc<Plan> {
        Arc::clone(&hold(&self.plan))
    }

    /// The table holds this plan, as far as the step could do it.
    pub(super) fn stepped(&self, plan: &Arc<Plan>, done: &Reconciled) {
        hold(&self.plan).clone_from(plan);
        hold(&self.deeds).stepped(done, boot_time_ns());
        let mut sent = hold(&self.sent);
        for target in &done.changes.remove {
            sent.remove(target);
        }
    }

    pub(super) fn announced(&self, targets: &[Target]) {
        let mut sent = hold(&self.sent);
        for target in targets {
            *sent.entry(*target).or_default() += 1;
        }
    }
}

impl Collector for Table {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(reading) = self.read(Counted::Answered) else { return Ok(()) };
        let reading = match reading {
            Ok(reading) => reading,
            Err(error) => {
                let error: &dyn Error = &error;
                tracing::warn!(error, "can't read the maps: /metrics has nothing of addresses and frames");
                return Ok(());
            }
        };
        let (plan, sent) = (self.plan(), hold(&self.sent).clone());
        let answered = answered(&reading);
        of_node(&mut encoder, &reading)?;
        known(&mut encoder, &plan, &answered)?;
        announced(&mut encoder, &plan, &answered, &self.node)?;
        of_entries(&mut encoder, &lines(&reading, &sent))
    }
}

/// An entry that is answered.
struct Line<'a> {
    ip: String,
    interface: &'a str,
    /// Nothing for an untagged one.
    vlan: Option<String>,
    counts: &'a Counts,
    sent: u64,
}

impl Line<'_> {
    fn labels(&self) -> Vec<(&'static str, &str)> {
        let tagged = self.vlan.as_deref().map(|vlan| ("vlan", vlan));
        [("ip", self.ip.as_str()), ("interface", self.interface)].into_iter().chain(tagged).collect()
    }
}

fn lines<'a>(reading: &'a Reading, sent: &BTreeMap<Target, u64>) -> Vec<Line<'a>> {
    let answered = reading.entries.iter().filter(|(_, (row, _))| row.entry.state == EntryState::Answer);
    let line = |(target, (_, counts)): (&Target, &'a (Row, Counts))| Line {
        ip: target.ip.to_string(),
        interface: reading.links.get(&target.link).map_or("", String::as_str),
        vlan: (target.vlans != Vlans::Untagged).then(|| target.vlans.to_string()),
        counts,
        sent: sent.get(target).copied().unwrap_or(0),
    };
    answered.map(line).collect()
}

/// What is told of the table as a whole.
fn of_node(encoder: &mut DescriptorEncoder<'_>, reading: &Reading) -> fmt::Result {
    let help = "Time until the table falls silent without its agent. Negative: it is silent.";
    let deadline = ConstGauge::new(reading.deadline);
    deadline.encode(encoder.encode_descriptor(
        "barelb_deadline",
        help,
        Some(&Unit::Seconds),
        deadline.metric_type(),
    )?)?;
    let help = "Entries that the table has room for.";
    let room = ConstGauge::new(reading.room);
    room.encode(encoder.encode_descriptor("barelb_table_room", help, None, room.metric_type())?)?;
    let entries = [("answer", EntryState::Answer), ("standby", EntryState::Standby)].map(|(name, state)| {
        let in_state = reading.entries.values().filter(|(row, _)| row.entry.state == state).count();
        ([("state", name)], ConstGauge::new(in_state))
    });
    let help = "Entries of the table, by whether they are answered or ready to be.";
    family(encoder, ("barelb_table_entries", help), entries.into_iter())?;
    // What is neither ARP nor neighbour discovery is never counted.
    let counted = Outcome::ALL.into_iter().filter(|outcome| *outcome != Outcome::Ignored);
    let frames = counted.map(|outcome| {
        let frames = reading.outcomes.get(outcome.name()).copied().unwrap_or(0);
        ([("outcome", outcome.name())], ConstCounter::new(frames))
    });
    let help = "ARP and neighbour discovery frames that the programs saw, by what became of them.";
    family(encoder, ("barelb_frames", help), frames)
}

/// The addresses that the table answers now; none while it is silent.
fn answered(reading: &Reading) -> BTreeSet<IpAddr> {
    let entries = reading.entries.iter().filter(|_| reading.deadline > 0.0);
    let answered = entries.filter(|(_, (row, _))| row.entry.state == EntryState::Answer);
    answered.map(|(target, _)| target.ip).collect()
}

/// All addresses that are to be announced by somebody, by what this node does about them.
fn known(encoder: &mut DescriptorEncoder<'_>, plan: &Plan, answered: &BTreeSet<IpAddr>) -> fmt::Result {
    let counts = addresses::by_verdict(plan, answered).into_iter();
    let samples = counts.map(|(verdict, count)| ([("verdict", verdict)], ConstGauge::new(count)));
    let help = "Addresses of Services, by what this node does about them.";
    family(encoder, ("barelb_agent_addresses", help), samples)
}

/// The addresses that the plan gives to this node and the table answers, with their Services.
fn announced(
    encoder: &mut DescriptorEncoder<'_>,
    plan: &Plan,
    answered: &BTreeSet<IpAddr>,
    node: &str,
) -> fmt::Result {
    let announced = plan.services.iter().flat_map(|(service, verdicts)| {
        let owned = verdicts.iter().filter(|one| one.verdict == Verdict::Owner).map(|one| one.ip);
        let service = service.to_string();
        owned.filter(|ip| answered.contains(ip)).map(move |ip| {
            let labels = [("service", service.clone()), ("ip", ip.to_string()), ("node", node.to_owned())];
            (labels, ConstGauge::new(1_i64))
        })
    });
    family(encoder, ("barelb_announced", "1 for each Service and address that this node answers."), announced)
}

/// What is told of each entry that is answered.
fn of_entries(encoder: &mut DescriptorEncoder<'_>, lines: &[Line<'_>]) -> fmt::Result {
    let mut counter = |name, help, count: fn(&Line<'_>) -> u64, least| {
        let counts =
            lines.iter().map(|line| (line.labels(), count(line))).filter(|(_, count)| *count >= least);
        family(encoder, (name, help), counts.map(|(labels, count)| (labels, ConstCounter::new(count))))
    };
    counter(
        "barelb_requests",
        "ARP requests and neighbour solicitations for an address that this node answers, probes among them.",
        |line| line.counts.requests,
        0,
    )?;
    counter("barelb_replies", "Answers sent for the address.", |line| line.counts.replies, 0)?;
    counter(
        "barelb_gratuitous",
        "Announcement frames that this agent has sent of the address.",
        |line| line.sent,
        0,
    )?;
    counter(
        "barelb_probes",
        "ARP probes and duplicate address detections for the address. Not there before the first.",
        |line| line.counts.probes,
        1,
    )?;
    counter(
        "barelb_conflicts",
        "Frames in which another station claimed the address. Not there before the first.",
        |line| line.counts.conflicts,
        1,
    )
}

/// All samples of one name; without any the name is not there.
fn family<L: EncodeLabelSet, M: EncodeMetric + TypedMetric>(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help): (&'static str, &str),
    samples: impl Iterator<Item = (L, M)>,
) -> fmt::Result {
    let mut samples = samples.peekable();
    if samples.peek().is_none() {
        return Ok(());
    }
    let mut metric = encoder.encode_descriptor(name, help, None, M::TYPE)?;
    samples.try_for_each(|(labels, value)| value.encode(metric.encode_family(&labels)?))
}
