//! Services as the API server has them, and addresses as the agents have them, brought together.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::Serialize;

use crate::agent::addresses::{AddressReport, AddressSaid, EntrySaid, LinkSaid, PeersSaid};
use crate::cli::ask::Unasked;
use crate::k8s::services::Balanced;

/// What one agent says.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Said {
    pub(in crate::cli) pod: String,
    pub(in crate::cli) report: AddressReport,
}

/// An address, or a Service without one.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::cli) struct Row {
    /// Nothing: the Service has none yet.
    pub(in crate::cli) ip: Option<IpAddr>,
    /// The Services that have it.
    pub(in crate::cli) services: Vec<String>,
    pub(in crate::cli) state: State,
    /// Nodes that answer for it: one, where all is well.
    pub(in crate::cli) owners: Vec<Owner>,
    /// Nodes that are ready to.
    pub(in crate::cli) standby: Vec<String>,
    /// Why nobody answers, as far as the agents know.
    pub(in crate::cli) why: Option<String>,
}

/// What is to be thought of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::cli) enum State {
    /// One node answers.
    Answered,
    /// Several nodes do.
    Contested,
    /// No node does.
    Unanswered,
    /// No node that could be asked does.
    Unknown,
    /// A node answers, and no Service has it.
    Stale,
    /// The Service has no address.
    Pending,
}

/// A node that answers.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::cli) struct Owner {
    pub(in crate::cli) node: String,
    pub(in crate::cli) pod: String,
    pub(in crate::cli) entries: Vec<Answer>,
}

/// An entry by which it does.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::cli) struct Answer {
    #[serde(flatten)]
    pub(in crate::cli) entry: EntrySaid,
    /// How the program sees frames of the interface.
    pub(in crate::cli) mode: Option<String>,
    /// Better ways that the interface does not take.
    pub(in crate::cli) refused: Vec<String>,
    /// Other nodes that are watched there.
    pub(in crate::cli) peers: Option<PeersSaid>,
}

/// A row for each address of these Services, and for each Service without one; with `whole` also for what agents answer for
/// and no Service has.
pub(in crate::cli) fn join(
    services: &[Balanced],
    said: &[Said],
    unasked: &[Unasked],
    whole: bool,
) -> Vec<Row> {
    let known = Known::new(said, unasked);
    let (mut by_ip, mut pending) = (BTreeMap::<IpAddr, Vec<String>>::new(), Vec::new());
    for one in services.iter().filter(|one| known.is_ours(one)) {
        if one.addresses.is_empty() {
            pending.push(one.service.to_string());
        }
        for ip in one.addresses.iter().collect::<BTreeSet<_>>() {
            by_ip.entry(*ip).or_default().push(one.service.to_string());
        }
    }
    let stale = known.by_ip.keys().filter(|ip| whole && !by_ip.contains_key(ip) && known.is_answered(**ip));
    let stale: Vec<Row> = stale.map(|ip| Row { state: State::Stale, ..known.row(*ip, Vec::new()) }).collect();
    let mut rows: Vec<Row> = by_ip.into_iter().map(|(ip, services)| known.row(ip, services)).collect();
    rows.extend(stale);
    rows.sort_by_key(|row| row.ip);
    pending.sort();
    rows.extend(pending.into_iter().map(|service| Row {
        ip: None,
        services: vec![service],
        state: State::Pending,
        owners: Vec::new(),
        standby: Vec::new(),
        why: None,
    }));
    rows
}

/// What the agents know.
struct Known<'a> {
    said: &'a [Said],
    unasked: &'a [Unasked],
    by_ip: BTreeMap<IpAddr, Vec<(&'a Said, &'a AddressSaid)>>,
}

impl<'a> Known<'a> {
    fn new(said: &'a [Said], unasked: &'a [Unasked]) -> Self {
        let mut by_ip = BTreeMap::<IpAddr, Vec<_>>::new();
        for one in said {
            for address in &one.report.addresses {
                by_ip.entry(address.ip).or_default().push((one, address));
            }
        }
        Self { said, unasked, by_ip }
    }

    /// Some agent announces Services of its class; where none was asked, every class may be.
    fn is_ours(&self, service: &Balanced) -> bool {
        self.said.is_empty() || self.said.iter().any(|one| one.report.lb_class == service.class)
    }

    fn of(&self, ip: IpAddr) -> impl Iterator<Item = &(&'a Said, &'a AddressSaid)> {
        self.by_ip.get(&ip).into_iter().flatten()
    }

    fn is_answered(&self, ip: IpAddr) -> bool {
        self.of(ip).any(|(said, address)| is_valid(said) && address.entries.iter().any(|entry| entry.answers))
    }

    fn row(&self, ip: IpAddr, services: Vec<String>) -> Row {
        let (mut owners, mut standby) = (Vec::new(), Vec::new());
        for (said, address) in self.of(ip) {
            let answers: Vec<_> = address.entries.iter().filter(|entry| entry.answers).collect();
            if !answers.is_empty() && is_valid(said) {
                let entries = answers.into_iter().map(|entry| answer(entry, &said.report.links)).collect();
                owners.push(Owner { node: said.report.node.clone(), pod: said.pod.clone(), entries });
            } else if answers.is_empty() && !address.entries.is_empty() {
                standby.push(said.report.node.clone());
            }
        }
        let state = match owners.len() {
            0 if self.unasked.is_empty() => State::Unanswered,
            0 => State::Unknown,
            1 => State::Answered,
            _ => State::Contested,
        };
        let why = owners.is_empty().then(|| self.why(ip));
        Row { ip: Some(ip), services, state, owners, standby, why }
    }

    /// Why nobody answers: what the agents say, each reason once.
    fn why(&self, ip: IpAddr) -> String {
        let mut reasons = BTreeMap::<String, BTreeSet<&str>>::new();
        for (said, address) in self.of(ip) {
            let node = said.report.node.as_str();
            let is_silent = !is_valid(said) && address.entries.iter().any(|entry| entry.answers);
            let silent = is_silent.then(|| format!("the table of {node} is silent"));
            let whys = address.services.iter().filter_map(|service| service.why.clone());
            let owners = address.services.iter().filter_map(|service| service.owner.as_deref());
            let left = owners.map(|owner| self.left_to(owner));
            for reason in silent.into_iter().chain(whys).chain(left) {
                reasons.entry(reason).or_default().insert(node);
            }
        }
        if reasons.is_empty() {
            return if self.said.is_empty() { "no agent could be asked" } else { "no agent knows of it" }
                .to_owned();
        }
        let all: BTreeSet<&str> = self.said.iter().map(|one| one.report.node.as_str()).collect();
        let reason = |(reason, nodes): (String, BTreeSet<&str>)| {
            let nodes: Vec<&str> = nodes.iter().copied().collect();
            if nodes.len() == all.len() { reason } else { format!("{}: {reason}", nodes.join(", ")) }
        };
        reasons.into_iter().map(reason).collect::<Vec<_>>().join("; ")
    }

    /// What is known of a node to which another one leaves an address, and that does not answer for it.
    fn left_to(&self, owner: &str) -> String {
        if self.said.iter().any(|one| one.report.node == owner) {
            format!("it is left to {owner}, which does not answer")
        } else {
            format!("it is left to {owner}, which was not asked")
        }
    }
}

/// The table answers.
fn is_valid(said: &Said) -> bool {
    said.report.valid_for_ms.is_some_and(|left| left > 0)
}

fn answer(entry: &EntrySaid, links: &[LinkSaid]) -> Answer {
    let link = links.iter().find(|link| link.name == entry.link);
    Answer {
        entry: entry.clone(),
        mode: link.and_then(|link| link.mode.clone()),
        refused: link.map(|link| link.refused.clone()).unwrap_or_default(),
        peers: link.and_then(|link| link.peers),
    }
}

#[cfg(test)]
pub(in crate::cli) mod tests;
