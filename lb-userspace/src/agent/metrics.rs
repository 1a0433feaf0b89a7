//! What the agent says of itself to those who ask over HTTP. docs/metrics.md explains each metric to those who run it.
//!
//! ```text
//! the agent's task, heartbeat, teller, follower ── write down what they did ──> Metrics ─┐
//! the maps, by descriptors of their own ───────── read at each scrape ────────> Table ───┴─> a thread answers
//! ```
//!
//! The page `/addresses` is made the same way.
//!
//! Nothing here decides, and no scrape asks the agent's task, which has a deadline to move. Whatever has labels known
//! beforehand is there from the start, so that its first increase is seen as one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lb_core::conflict::Claimant;
use lb_core::ids::NodeName;
use lb_core::plan::{AddressVerdict, Plan, Target, Verdict};
use lb_core::pool::Family;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Registry;

use super::reconcile::Reconciled;
use super::sessions::{SessionState, Watching};
use crate::dataplane::DataplaneError;
use crate::k8s::write::WriteResult;
use crate::net::groups::{GroupReport, Membership};
use crate::telemetry::health::{Health, Unfit};
use crate::telemetry::metric::{Sorted, register_build_info};

mod addresses;
mod intake;
mod page;
mod peers;
mod rates;
mod table;
mod telemetry;
#[cfg(test)]
mod tests;

use intake::Intake;
pub use table::{Counted, Reading};
pub use telemetry::Telemetry;

use peers::Peers;
use table::Table;

/// What was written to the API server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteKind {
    /// The Lease of this node, renewed.
    Lease,
    /// A `ServiceL2Status`: made, changed or taken away.
    L2Status,
    /// An event.
    Event,
}

impl WriteKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Lease, Self::L2Status, Self::Event];

    /// Value of the label `kind`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Lease => "lease",
            Self::L2Status => "l2_status",
            Self::Event => "event",
        }
    }
}

/// What readiness follows from.
#[derive(Debug, Default)]
struct Standing {
    /// The table was in step once.
    was_in_step: bool,
    /// Kinds that were not listed yet.
    missing: Vec<&'static str>,
}

type Label = [(&'static str, &'static str); 1];
type TwoLabels = [(&'static str, &'static str); 2];
type LinkLabels = [(&'static str, String); 2];

/// The agent's metrics and health. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct Metrics {
    health: Health,
    standing: Arc<Mutex<Standing>>,
    table: Arc<Table>,
    synced: Gauge,
    repairs: Counter,
    announcements: Sorted<Label, Counter>,
    conflicts: Sorted<TwoLabels, Counter>,
    links: Sorted<LinkLabels, ConstGauge>,
    groups: Sorted<Label, ConstGauge>,
    services: Gauge,
    members: Gauge,
    intake: Intake,
    problems: Gauge,
    watches_failing: Gauge,
    writes: Sorted<TwoLabels, Counter>,
    peers: Peers,
}

impl Metrics {
    /// Metrics that show an agent of this node which has done nothing yet, known to the registry from now on.
    pub fn new(registry: &mut Registry, node: &NodeName) -> Self {
        let new = Self {
            health: Health::default(),
            standing: Arc::default(),
            table: Arc::new(Table::new(node)),
            synced: Gauge::default(),
            repairs: Counter::default(),
            announcements: Sorted::default(),
            conflicts: Sorted::default(),
            links: Sorted::default(),
            groups: Sorted::default(),
            services: Gauge::default(),
            members: Gauge::default(),
            intake: Intake::default(),
            problems: Gauge::default(),
            watches_failing: Gauge::default(),
            writes: Sorted::default(),
            peers: Peers::new(node),
        };
        for result in ["sent", "refused"] {
            new.announcements.insert([("result", result)], Counter::default());
        }
        for claimant in Claimant::ALL {
            for family in [Family::Ipv4, Family::Ipv6] {
                new.conflicts.insert(claim_labels(claimant, family), Counter::default());
            }
        }
        for kind in WriteKind::ALL {
            for result in WriteResult::ALL {
                new.writes.insert(write_labels(kind, result), Counter::default());
            }
        }
        new.grouped(&GroupReport::default());
        new.register(registry);
        new
    }

    /// The library ends each sentence with a full stop, and a counter's name with `_total`.
    fn register(&self, registry: &mut Registry) {
        register_build_info(registry);
        registry.register(
            "barelb_agent_synced",
            "1 if the table is in step with the objects and its deadline is moved, else 0",
            self.synced.clone(),
        );
        registry.register(
            "barelb_agent_repairs",
            "Times that the table held something else than was written, and was repaired",
            self.repairs.clone(),
        );
        registry.register(
            "barelb_agent_announcements",
            "Announcement frames, by whether the kernel took them",
            self.announcements.clone(),
        );
        registry.register(
            "barelb_agent_conflicts",
            "Claims of an address that this node answers, at most one a second and address, by who claims it",
            self.conflicts.clone(),
        );
        registry.register(
            "barelb_agent_link_attached",
            "1 if a program runs on the interface, in this mode, 0 if none could be attached",
            self.links.clone(),
        );
        registry.register(
            "barelb_agent_groups",
            "Solicited-node groups that are wanted, by what was reached",
            self.groups.clone(),
        );
        registry.register(
            "barelb_agent_services",
            "Services of which this node announces an address",
            self.services.clone(),
        );
        registry.register("barelb_agent_members", "Nodes whose agents are there", self.members.clone());
        registry.register(
            "barelb_agent_configuration_problems",
            "Problems of the configuration, warnings among them",
            self.problems.clone(),
        );
        self.intake.register(registry);
        registry.register(
            "barelb_agent_watches_failing",
            "Kinds of objects that can't be listed or watched now",
            self.watches_failing.clone(),
        );
        registry.register(
            "barelb_agent_writes",
            "Writes to the API server, by what was written and what became of it",
            self.writes.clone(),
        );
        self.peers.register(registry);
        registry.register_collector(Box::new(Arc::clone(&self.table)));
    }

    /// The agent's loop has come round.
    pub fn beat(&self) {
        self.health.beat();
    }

    /// Another agent has the maps.
    pub fn standing_by(&self) {
        self.health.beat();
        self.health.say(Err(Unfit::StandingBy));
    }

    /// Whether the table is in step and its deadline is moved; if not, since when although it is known what to announce.
    pub fn in_step(&self, in_step: bool, since: Duration) {
        self.synced.set(in_step.into());
        let mut standing = hold(&self.standing);
        standing.was_in_step |= in_step;
        self.health.say(match &*standing {
            _ if in_step => Ok(()),
            Standing { was_in_step: true, .. } => Err(Unfit::OutOfStep { since }),
            Standing { missing, .. } if !missing.is_empty() => {
                Err(Unfit::NotListed { kinds: missing.clone() })
            }
            Standing { .. } => Err(Unfit::NotInStep),
        });
    }

    /// How many kinds can't be listed or watched now, and which were never listed.
    pub fn watched(&self, failing: usize, missing: Vec<&'static str>) {
        self.watches_failing.set(count(failing));
        hold(&self.standing).missing = missing;
    }

    /// The table was changed from outside, and repaired.
    pub fn repaired(&self) {
        self.repairs.inc();
    }

    /// So many changes of objects were taken in.
    pub fn updated(&self, updates: u64) {
        self.intake.updated(updates);
    }

    /// How many problems the configuration has, and whether all of it is in force.
    pub fn problems(&self, problems: usize, valid: bool) {
        self.problems.set(count(problems));
        self.intake.valid(valid);
    }

    /// How many nodes have an agent that is there.
    pub fn members(&self, members: usize) {
        self.members.set(count(members));
    }

    /// The table holds this plan, as far as the step could do it.
    pub fn stepped(&self, plan: &Arc<Plan>, done: &Reconciled) {
        let owned =
            |verdicts: &&Vec<AddressVerdict>| verdicts.iter().any(|one| one.verdict == Verdict::Owner);
        self.services.set(count(plan.services.values().filter(owned).count()));
        let links = done.attachments.values().map(|link| {
            let mode = link.mode.map_or_else(|| "none".to_owned(), |mode| mode.to_string());
            let labels = [("interface", link.name.clone()), ("mode", mode)];
            (labels, ConstGauge::new(i64::from(link.mode.is_some())))
        });
        self.links.replace(links.collect());
        self.table.stepped(plan, done);
    }

    /// These announcements were sent, and so many were refused.
    pub fn announced(&self, sent: &[Target], refused: u64) {
        let sent_frames = u64::try_from(sent.len()).unwrap_or(u64::MAX);
        for (result, frames) in [("sent", sent_frames), ("refused", refused)] {
            self.announcements.with([("result", result)], |counter| counter.inc_by(frames));
        }
        self.table.announced(sent);
    }

    /// Somebody else has claimed an address of this family.
    pub fn claimed(&self, claimant: Claimant, family: Family) {
        self.conflicts.with(claim_labels(claimant, family), |counter| counter.inc());
    }

    /// What became of the solicited-node groups.
    pub fn grouped(&self, report: &GroupReport) {
        let gauge =
            |(name, membership)| ([("membership", name)], ConstGauge::new(count(report.count(membership))));
        let all = [
            ("joined", Membership::Joined),
            ("filter_only", Membership::FilterOnly),
            ("missing", Membership::Missing),
        ];
        self.groups.replace(BTreeMap::from(all.map(gauge)));
    }

    /// Something was written, or was to be.
    pub fn written(&self, kind: WriteKind, result: WriteResult) {
        self.writes.with(write_labels(kind, result), |counter| counter.inc());
    }

    /// Whether other nodes are watched.
    pub fn watching(&self, watching: Watching) {
        self.peers.watching(watching);
    }

    /// What is known of the nodes that are watched, and how many datagrams were refused since the last call, by reason.
    pub fn watched_peers(&self, sessions: &[SessionState], refused: &BTreeMap<&'static str, u64>) {
        self.peers.sessions(sessions);
        self.peers.refused(refused);
    }

    /// How the maps are read when somebody asks, from now on.
    pub fn read_by(&self, read: impl Fn(Counted) -> Result<Reading, DataplaneError> + Send + Sync + 'static) {
        self.table.read_by(Box::new(read));
    }
}

fn claim_labels(claimant: Claimant, family: Family) -> TwoLabels {
    [("kind", claimant.name()), ("family", family.name())]
}

fn write_labels(kind: WriteKind, result: WriteResult) -> TwoLabels {
    [("kind", kind.label()), ("result", result.label())]
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The values are replaced as a whole, so what a thread left behind that panicked is as good as any.
fn hold<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}
