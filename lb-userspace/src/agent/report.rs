//! The agent's state, as the admin socket gives it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use lb_core::ids::LinkId;
use lb_core::plan::{Plan, Verdict};

use super::admin::{Admin, Request};
use super::prober::Prober;
use super::sessions::SessionState;
use super::state::{ConflictState, GroupState, LinkState, ServiceState, State};
use super::task::Agent;
use super::worker::Told;
use crate::dataplane::Attachment;
use crate::net::groups::{GroupReport, Membership};

/// Where the state comes from.
pub(super) struct Facts {
    pub(super) node: String,
    pub(super) synced: bool,
    pub(super) grace_ms: u64,
    pub(super) plan: Arc<Plan>,
    pub(super) attachments: BTreeMap<LinkId, Attachment>,
    pub(super) told: Arc<Told>,
    pub(super) repairs: u64,
    pub(super) conflicts: BTreeMap<IpAddr, ConflictState>,
    pub(super) groups: GroupReport,
    /// Why groups can't be joined where they should.
    pub(super) gaps: Vec<String>,
    pub(super) announced: u64,
    pub(super) announce_errors: u64,
    pub(super) peers: Vec<SessionState>,
}

impl Agent {
    /// Answers who asks at the admin socket.
    pub(super) fn answer(&mut self, request: Request) {
        let facts = Facts {
            node: self.settings.node.to_string(),
            synced: self.healthy,
            grace_ms: u64::try_from(self.settings.grace.as_millis()).unwrap_or(u64::MAX),
            plan: Arc::clone(&self.told),
            attachments: self.last.attachments.clone(),
            told: Arc::clone(self.worker.told()),
            repairs: self.reconciler.repairs(),
            conflicts: self.conflicts.seen().clone(),
            groups: self.keeper.report(),
            gaps: self.gaps.clone(),
            announced: self.sender.sent,
            announce_errors: self.sender.errors,
            peers: self.prober.as_ref().map(Prober::sessions).unwrap_or_default(),
        };
        Admin::answer(request, move || state(facts));
    }
}

/// Everything in one value.
pub(super) fn state(facts: Facts) -> State {
    // Those of the plan are among them, with their places.
    let problems: BTreeSet<String> = facts.told.problems.iter().cloned().collect();
    State {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        synced: facts.synced,
        grace_ms: facts.grace_ms,
        links: facts.attachments.iter().map(|(id, attachment)| link(*id, attachment)).collect(),
        services: services(&facts),
        problems: problems.into_iter().collect(),
        repairs: facts.repairs,
        groups: groups(&facts.groups, facts.gaps),
        announced: facts.announced,
        announce_errors: facts.announce_errors,
        peers: facts.peers.clone(),
        node: facts.node,
        conflicts: facts.conflicts,
    }
}

fn link(id: LinkId, attachment: &Attachment) -> LinkState {
    LinkState {
        index: id.0,
        name: attachment.name.clone(),
        mode: attachment.mode.map(|mode| mode.to_string()),
        refused: attachment
            .refused
            .iter()
            .map(|refusal| format!("{}: {}", refusal.mode, refusal.reason))
            .collect(),
    }
}

fn services(facts: &Facts) -> Vec<ServiceState> {
    let mut services: BTreeMap<String, ServiceState> = BTreeMap::new();
    for (key, verdicts) in &facts.plan.services {
        let addresses = verdicts.iter().map(|verdict| (verdict.ip, describe(&verdict.verdict))).collect();
        let name = key.to_string();
        services.insert(name.clone(), ServiceState { name, addresses, error: None });
    }
    for (key, error) in &facts.told.allocation_errors {
        let name = key.to_string();
        services
            .entry(name.clone())
            .or_insert_with(|| ServiceState { name, ..ServiceState::default() })
            .error = Some(error.clone());
    }
    services.into_values().collect()
}

fn describe(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Owner => "answered by this node".to_owned(),
        Verdict::Standby { owner, rank } => {
            format!("answered by {owner}; this node is number {rank} in line")
        }
        Verdict::Waiting => "answered here once this node knows that no other one does".to_owned(),
        Verdict::Silent(silence) => format!("not answered here: {silence}"),
    }
}

fn groups(report: &GroupReport, gaps: Vec<String>) -> GroupState {
    GroupState {
        joined: report.count(Membership::Joined),
        filter_only: report.count(Membership::FilterOnly),
        missing: report.count(Membership::Missing),
        allmulti: report.allmulti.iter().copied().collect(),
        errors: report
            .errors
            .iter()
            .flat_map(|(link, errors)| errors.iter().map(move |e| format!("link {link}: {e}")))
            .chain(gaps)
            .collect(),
    }
}
