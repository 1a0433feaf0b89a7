//! The agent's state, as the admin socket gives it.

use std::collections::{BTreeMap, BTreeSet};

use lb_core::ids::LinkId;
use lb_core::plan::Verdict;

use super::events::Conflicts;
use super::reconcile::Reconciled;
use super::run::Settings;
use super::standalone::Standalone;
use super::state::{GroupState, LinkState, ServiceState, State};
use crate::dataplane::{Attachment, Mode};
use crate::net::ethtool;
use crate::net::groups::{GroupReport, Membership};
use crate::net::links::Link;

/// Where the state comes from.
pub(super) struct Facts<'a> {
    pub(super) settings: &'a Settings,
    pub(super) synced: bool,
    pub(super) last: &'a Reconciled,
    pub(super) source: &'a Standalone,
    pub(super) repairs: u64,
    pub(super) conflicts: &'a Conflicts,
    pub(super) groups: &'a GroupReport,
    pub(super) announced: (u64, u64),
}

/// Everything in one value.
pub(super) fn state(facts: &Facts<'_>) -> State {
    let plan_problems = facts.last.plan.problems.iter().map(ToString::to_string);
    let mut problems: BTreeSet<String> = facts.source.problems().chain(plan_problems).collect();
    for target in &facts.last.left_out {
        problems.insert(format!(
            "{target}: no room in the map, raise --max-vips above {}",
            facts.settings.max_vips
        ));
    }
    State {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        node: facts.settings.node.to_string(),
        synced: facts.synced,
        grace_ms: u64::try_from(facts.settings.grace.as_millis()).unwrap_or(u64::MAX),
        links: facts.last.attachments.iter().map(|(id, attachment)| link(*id, attachment)).collect(),
        services: services(facts),
        problems: problems.into_iter().collect(),
        repairs: facts.repairs,
        conflicts: facts.conflicts.seen().clone(),
        groups: groups(facts.groups),
        announced: facts.announced.0,
        announce_errors: facts.announced.1,
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

fn services(facts: &Facts<'_>) -> Vec<ServiceState> {
    let mut services: BTreeMap<String, ServiceState> = BTreeMap::new();
    for (key, verdicts) in &facts.last.plan.services {
        let addresses = verdicts.iter().map(|verdict| (verdict.ip, describe(&verdict.verdict))).collect();
        let name = key.to_string();
        services.insert(name.clone(), ServiceState { name, addresses, error: None });
    }
    for (key, error) in facts.source.allocation_errors() {
        let name = key.to_string();
        services
            .entry(name.clone())
            .or_insert_with(|| ServiceState { name, ..ServiceState::default() })
            .error = Some(error);
    }
    services.into_values().collect()
}

fn describe(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Owner => "answered by this node".to_owned(),
        Verdict::Standby { owner, rank } => {
            format!("answered by {owner}; this node is number {rank} in line")
        }
        Verdict::Silent(silence) => format!("not answered here: {silence}"),
    }
}

fn groups(report: &GroupReport) -> GroupState {
    GroupState {
        joined: report.count(Membership::Joined),
        filter_only: report.count(Membership::FilterOnly),
        missing: report.count(Membership::Missing),
        allmulti: report.allmulti.iter().copied().collect(),
        errors: report
            .errors
            .iter()
            .flat_map(|(link, errors)| errors.iter().map(move |e| format!("link {link}: {e}")))
            .collect(),
    }
}

/// Links in native mode whose driver says that it lost frames XDP sent: any statistic that names XDP, transmit and an
/// error, and is not zero. Drivers name them as they like (`rx_queue_0_xdp_tx_errors`, `xdp_tx_err`, `tx_xdp_drops`).
pub(super) fn losing(attachments: &BTreeMap<LinkId, Attachment>, links: &BTreeMap<u32, Link>) -> Vec<LinkId> {
    let native = attachments.iter().filter(|(_, attachment)| attachment.mode == Some(Mode::Native));
    let lost = |link: &Link| {
        ethtool::stats(&link.name)
            .is_ok_and(|stats| stats.iter().any(|(name, value)| *value > 0 && is_loss(name)))
    };
    native.filter(|(id, _)| links.get(&id.0).is_some_and(lost)).map(|(id, _)| *id).collect()
}

fn is_loss(statistic: &str) -> bool {
    let name = statistic.to_ascii_lowercase();
    name.contains("xdp")
        && name.contains("tx")
        && !name.contains("xmit")
        && (name.contains("err") || name.contains("drop"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_loss() {
        for (name, expected) in [
            ("rx_queue_0_xdp_tx_errors", true),
            ("rx_xdp_tx_err", true),
            ("tx_xdp_drops", true),
            ("rx_queue_0_xdp_tx", false),
            ("rx_queue_0_xdp_drops", false),
            ("tx_queue_0_xdp_xmit_errors", false),
            ("tx_errors", false),
        ] {
            assert_eq!(is_loss(name), expected, "{name}");
        }
    }
}
