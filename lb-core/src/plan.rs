//! What this node announces, from everything it knows.
//!
//! ```text
//! Snapshot ── plan ──> desired ─┐
//!                               ├─ diff ──> Changes ──> the data plane, then bursts for what was gained
//! map read back ───── actual ───┘
//! ```
//!
//! The plan is computed afresh every time; what is remembered of plans before ([`Orders`]) makes it no other, only
//! sooner. The unit is the address: all Services on one
//! address move together. Candidates for it are the usable nodes that an advertisement selects and that have a
//! fit link and, under the traffic policy Local, an endpoint; [`election`](crate::election) orders them. A node
//! that is a candidate and not the first plans the same entries in state [`EntryState::Standby`].

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use crate::{
    addresses::Addresses,
    config::Config,
    election::Orders,
    eligibility::{Endpoints, InterfaceError, Link, Node, fault},
    failover::Standing,
    ids::{LinkId, LinkName, Mac, NodeName, ServiceKey, Vlans},
    problem::{Place, Problem},
    request::ServiceSpec,
    selector::Labels,
    sharing::TrafficPolicy,
};

mod advertised;
mod announce;
mod complaints;
mod diff;
mod handover;
mod silence;
#[cfg(test)]
mod tests;

pub use diff::{Changes, apply, diff};
pub use handover::{HANDOVER, Handovers};
pub use silence::{Silence, Unusable};

/// A Service that has addresses.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AnnouncedService {
    /// Its addresses in the order of the status: the first decides the election.
    pub ingress: Vec<IpAddr>,
    /// `metadata.labels`.
    pub labels: Labels,
    /// It carries the annotation `allow-shared-ip`, whatever its value.
    pub shared: bool,
    /// `spec.externalTrafficPolicy`.
    pub external_traffic_policy: TrafficPolicy,
    /// Where its endpoints are.
    pub endpoints: Endpoints,
}

impl AnnouncedService {
    /// A Service with the addresses it holds.
    pub fn new(spec: &ServiceSpec, addresses: Addresses, endpoints: Endpoints) -> Self {
        Self {
            ingress: addresses.iter().collect(),
            labels: spec.labels.clone(),
            shared: spec.may_share(),
            external_traffic_policy: spec.external_traffic_policy,
            endpoints,
        }
    }
}

/// Everything a node knows when it plans.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// This node.
    pub me: NodeName,
    /// All nodes, this one among them; without Node objects just this one.
    pub nodes: BTreeMap<NodeName, Node>,
    /// Services that have addresses; shared, because there may be 100,000 of them.
    pub services: Arc<BTreeMap<ServiceKey, AnnouncedService>>,
    /// Pools and advertisements.
    pub config: Arc<Config>,
    /// Links of this node.
    pub links: Vec<Link>,
    /// Links the user named (`--interface`); empty = all that are not excluded by default.
    pub allowed: BTreeSet<LinkName>,
    /// Nodes with the exclude label take part all the same (MetalLB `--ignore-exclude-lb`).
    pub ignore_exclude_label: bool,
    /// Addresses that MetalLB announces, and from which node: nothing is answered beside it.
    pub rivals: Arc<BTreeMap<IpAddr, NodeName>>,
    /// Who can own addresses at present; `None`: all that are alive.
    pub standing: Option<Arc<Standing>>,
    /// What is known may be old: of these addresses only this node may be the owner. Elections are held about all.
    pub only: Option<Arc<BTreeSet<IpAddr>>>,
}

impl Snapshot {
    /// A snapshot in which this node is alone and nothing is configured.
    pub fn alone(me: NodeName) -> Self {
        Self {
            nodes: BTreeMap::from([(me.clone(), Node::default())]),
            me,
            services: Arc::default(),
            config: Arc::default(),
            links: Vec::new(),
            allowed: BTreeSet::new(),
            ignore_exclude_label: false,
            rivals: Arc::default(),
            standing: None,
            only: None,
        }
    }
}

/// Key of an entry of the data plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Target {
    /// The link on which requests arrive.
    pub link: LinkId,
    /// The tags they carry.
    pub vlans: Vlans,
    /// The address they ask for.
    pub ip: IpAddr,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on link {}", self.ip, self.link)?;
        if self.vlans == Vlans::Untagged { Ok(()) } else { write!(f, " vlan {}", self.vlans) }
    }
}

/// Whether an entry answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum EntryState {
    /// This node owns the address.
    Answer,
    /// Another node owns it; this one is ready to take over.
    Standby,
}

/// Value of an entry of the data plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Entry {
    /// The MAC that is answered: the link's own.
    pub mac: Mac,
    /// Whether it is answered.
    pub state: EntryState,
}

/// What this node does for one address of a Service.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It announces it.
    Owner,
    /// Another node announces it, and this one is ready.
    Standby {
        /// Who announces it.
        owner: NodeName,
        /// How many candidates are before this one; at least 1.
        rank: usize,
    },
    /// It would announce it, and does not know yet whether another node does; ready as a standby is.
    Waiting,
    /// It does nothing.
    Silent(Silence),
}

/// One address of a Service with its verdict.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AddressVerdict {
    /// The address.
    pub ip: IpAddr,
    /// What happens to it here.
    pub verdict: Verdict,
}

/// Who owns an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ownership {
    /// The first candidate.
    pub owner: NodeName,
    /// This node's place, 0 = owner; `None` = no candidate.
    pub rank: Option<usize>,
    /// Number of candidates.
    pub candidates: usize,
    /// The Services on the address, by name.
    pub services: Vec<ServiceKey>,
}

/// What this node is to do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// Entries of the data plane.
    pub desired: BTreeMap<Target, Entry>,
    /// Owners of all addresses that have one; left out by [`replan`].
    pub owners: BTreeMap<IpAddr, Ownership>,
    /// A verdict for each address of each Service, in the order of its status.
    pub services: BTreeMap<ServiceKey, Vec<AddressVerdict>>,
    /// What somebody has to look at.
    pub problems: Vec<Problem>,
    /// What this node tells the cluster of these and of what all see alike: each problem is told by one node.
    pub complaints: Vec<Problem>,
}

/// Decides what this node announces. Nodes that see the same objects compute the same owners.
pub fn plan(snapshot: &Snapshot) -> Plan {
    with_problems(snapshot, announce::announce(snapshot, &mut Orders::default(), true))
}

/// The same, sooner: `orders` are those of plans before, whatever they were about, and the plan does not say who owns what
/// is another node's.
pub fn replan(snapshot: &Snapshot, orders: &mut Orders) -> Plan {
    with_problems(snapshot, announce::announce(snapshot, orders, false))
}

fn with_problems(snapshot: &Snapshot, mut plan: Plan) -> Plan {
    plan.problems = interface_problems(snapshot);
    plan.problems.extend(advertised_problems(snapshot));
    let silent: Vec<Problem> = plan.services.iter().flat_map(|(key, list)| silences(key, list)).collect();
    plan.problems.extend(silent);
    plan.complaints = complaints::complaints(snapshot, &plan);
    plan
}

fn silences(service: &ServiceKey, verdicts: &[AddressVerdict]) -> impl Iterator<Item = Problem> {
    verdicts.iter().filter_map(move |verdict| match &verdict.verdict {
        Verdict::Silent(silence) if silence.is_problem() => Some(silence.of(service)),
        Verdict::Silent(_) | Verdict::Owner | Verdict::Standby { .. } | Verdict::Waiting => None,
    })
}

impl Plan {
    /// Takes note of targets that should be answered and are not, because the data plane could not do as planned:
    /// the verdict of an address that is answered nowhere at all, and a problem for each of its Services.
    pub fn shortfall(&mut self, unanswered: &BTreeMap<Target, Silence>) {
        if unanswered.is_empty() {
            return;
        }
        let owned = self.desired.iter().filter(|(_, entry)| entry.state == EntryState::Answer);
        let answered: BTreeSet<IpAddr> =
            owned.map(|(target, _)| target).filter(|t| !unanswered.contains_key(t)).map(|t| t.ip).collect();
        let faults: BTreeMap<IpAddr, &Silence> = unanswered.iter().rev().map(|(t, s)| (t.ip, s)).collect();
        for (service, verdicts) in &mut self.services {
            for verdict in verdicts.iter_mut().filter(|verdict| verdict.verdict == Verdict::Owner) {
                let Some(silence) = faults.get(&verdict.ip) else { continue };
                self.problems.push(silence.of(service));
                self.complaints.push(silence.of(service));
                if !answered.contains(&verdict.ip) {
                    verdict.verdict = Verdict::Silent((*silence).clone());
                }
            }
        }
    }
}

/// Interfaces that an advertisement for this node names and this node does not have.
fn advertised_problems(snapshot: &Snapshot) -> Vec<Problem> {
    let Some(me) = snapshot.nodes.get(&snapshot.me) else { return Vec::new() };
    let present: BTreeSet<&LinkName> = snapshot.links.iter().map(|link| &link.name).collect();
    let mine = snapshot.config.advertisements.iter().filter(|ad| ad.selects_node(&me.labels));
    let named = mine.flat_map(|ad| ad.listed_interfaces.iter().enumerate().map(move |named| (ad, named)));
    named
        .filter(|(_, (_, name))| !present.contains(name))
        .map(|(ad, (index, name))| {
            let place = ad.place.field(format!("spec.interfaces[{index}]"));
            Problem::new(place, InterfaceError::NotHere { name: name.clone() })
        })
        .collect()
}

/// Links the user named that are not there or can't announce.
fn interface_problems(snapshot: &Snapshot) -> Vec<Problem> {
    let judge = |name: &LinkName| match snapshot.links.iter().find(|link| link.name == *name) {
        None => Some(InterfaceError::Missing { name: name.clone() }),
        Some(link) => {
            let fault = fault(link, &snapshot.allowed)?;
            Some(InterfaceError::Unfit { name: name.clone(), fault })
        }
    };
    let place =
        Place { object: "command line".to_owned(), field: "--interface".to_owned(), ..Place::default() };
    snapshot.allowed.iter().filter_map(judge).map(|error| Problem::new(place.clone(), error)).collect()
}
