//! What would be different if other objects were in force: for each Service its addresses, and who answers for them.
//!
//! ```text
//! as it is  ── allocate, plan ──> Outlook ─┐
//!                                          ├─ differences ──> who loses, gets, changes, moves
//! as it would be ─ the same ────> Outlook ─┘
//! ```
//!
//! Nothing is decided here: an [`Outlook`] puts the decisions of an [`allocator`](crate::allocator) and the owners of a
//! [`plan`](mod@crate::plan) side by side, and [`differences`] compares two of them. Between two that are alike there is no
//! difference, and the differences lead from the one to the other; property tests hold it to both.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use crate::{
    addresses::Addresses,
    allocator::{Decision, Notice},
    explain::{Bar, explain},
    ids::{NodeName, PoolName, ServiceKey},
    plan::{Plan, Silence, Snapshot, Verdict, plan},
    pool::Family,
    problem::{Problem, Reason},
    request::{AllocError, ServiceSpec, ServiceType},
};

#[cfg(test)]
mod tests;

/// An address of a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stand {
    /// The address.
    pub ip: IpAddr,
    /// The pool it is from; `None` while it waits for one that can't be read.
    pub pool: Option<PoolName>,
    /// The node that answers for it.
    pub owner: Option<NodeName>,
    /// Why none does, if none does.
    pub silence: Option<Silence>,
}

/// What a Service has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fate {
    /// Its addresses by family.
    pub stands: BTreeMap<Family, Stand>,
    /// Why it does not have what it asks for.
    pub error: Option<AllocError>,
    /// Why it lost what it had before, or has one family only.
    pub causes: Vec<Why>,
    /// Why it asks for nothing.
    pub idle: Option<Why>,
}

/// What is the case, or would be.
#[derive(Debug, Clone)]
pub struct Outlook {
    services: BTreeMap<ServiceKey, Fate>,
    problems: Vec<Problem>,
    snapshot: Snapshot,
}

/// What becomes of an address, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effect {
    /// The Service loses it and gets no other.
    Loses,
    /// The Service gets another one in its place.
    Changes,
    /// It stays, and nobody answers for it any more.
    FallsSilent,
    /// The Service does not get what it asks for.
    Refused,
    /// It stays, and another node answers for it.
    Moves,
    /// The Service had none and gets one.
    Gets,
    /// It stays, nobody answered for it, and a node does.
    IsAnswered,
    /// It stays, and belongs to another pool.
    ChangesPool,
}

impl Effect {
    /// In one word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Loses => "loses",
            Self::Changes => "changes",
            Self::FallsSilent => "silent",
            Self::Refused => "refused",
            Self::Moves => "moves",
            Self::Gets => "gets",
            Self::IsAnswered => "answered",
            Self::ChangesPool => "pool",
        }
    }
}

/// Why something is different.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// There is no such Service any more.
    #[error("the Service is deleted")]
    Deleted,
    /// It is of another type.
    #[error("the Service is not of type LoadBalancer any more")]
    OtherType,
    /// It is somebody else's.
    #[error("the Service has another loadBalancerClass")]
    OtherClass,
    /// Its cluster IPs are of other families.
    #[error("the Service asks for no {} address any more", .family.name())]
    NotAsked {
        /// The family.
        family: Family,
    },
    /// What the allocator says.
    #[error(transparent)]
    Alloc(#[from] AllocError),
    /// What keeps an address silent.
    #[error(transparent)]
    Silence(#[from] Silence),
    /// What keeps the node from answering that did before.
    #[error("{node}: {bar}")]
    Bar {
        /// The node.
        node: NodeName,
        /// What keeps it from being a candidate.
        bar: Bar,
    },
    /// The second family can't be had.
    #[error("address pool {pool} has no {} address left for the Service", .missing.name())]
    OneFamilyOnly {
        /// The family.
        missing: Family,
        /// The pool.
        pool: PoolName,
    },
    /// The node that answered before is not in the cluster.
    #[error("there is no node {node} any more")]
    NoNode {
        /// The node.
        node: NodeName,
    },
    /// The node that answered before comes later.
    #[error("{node} comes first now in the order of the nodes")]
    Order {
        /// The new owner.
        node: NodeName,
    },
}

/// What becomes of a Service's address of one family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Which Service.
    pub service: ServiceKey,
    /// What happens.
    pub effect: Effect,
    /// As it is.
    pub before: Option<Stand>,
    /// As it would be.
    pub after: Option<Stand>,
    /// Why, as far as that can be told.
    pub why: Vec<Why>,
}

impl Outlook {
    /// Of all Services, what was decided about those of this class, and what the nodes make of it. Whose node the snapshot is
    /// makes no difference.
    pub fn new<S: AsRef<ServiceSpec>>(
        services: &BTreeMap<ServiceKey, S>,
        class: Option<&str>,
        decisions: &BTreeMap<ServiceKey, Decision>,
        mut snapshot: Snapshot,
    ) -> Self {
        // What all nodes see alike is told by this one.
        if let Some((first, _)) = snapshot.nodes.iter().find(|(_, node)| node.alive) {
            snapshot.me = first.clone();
        }
        let plan = plan(&snapshot);
        let none = Decision::default();
        let fate = |(key, service): (&ServiceKey, &S)| {
            let idle = idle(service.as_ref(), class);
            let decision = decisions.get(key).filter(|_| idle.is_none()).unwrap_or(&none);
            (key.clone(), Fate { idle, ..fate(key, decision, &plan) })
        };
        let services = services.iter().map(fate).collect();
        // The others are of one Service, and told with what becomes of it.
        let of_all = |problem: &Problem| matches!(problem.reason, Reason::Interface(_));
        Self { services, problems: plan.complaints.into_iter().filter(of_all).collect(), snapshot }
    }

    /// What is wrong and of no one Service.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// What each Service has.
    pub fn services(&self) -> &BTreeMap<ServiceKey, Fate> {
        &self.services
    }

    /// Why a node that owned an address does not own it here.
    fn bars(&self, on_it: &Snapshot, ip: IpAddr, before: &NodeName, after: &NodeName) -> Vec<Why> {
        if !self.snapshot.nodes.contains_key(before) {
            return vec![Why::NoNode { node: before.clone() }];
        }
        let bars = explain(on_it, ip).others.remove(before).unwrap_or_default();
        if bars.is_empty() {
            return vec![Why::Order { node: after.clone() }];
        }
        bars.into_iter().map(|bar| Why::Bar { node: before.clone(), bar }).collect()
    }
}

fn idle(spec: &ServiceSpec, class: Option<&str>) -> Option<Why> {
    if spec.service_type != ServiceType::LoadBalancer {
        return Some(Why::OtherType);
    }
    (!spec.has_class(class)).then_some(Why::OtherClass)
}

fn fate(key: &ServiceKey, decision: &Decision, plan: &Plan) -> Fate {
    let pool = decision.allocation.as_ref().map(|held| &held.pool);
    let addresses = decision.allocation.as_ref().map(|held| held.addresses).or(decision.awaiting);
    let stands = addresses.into_iter().flat_map(Addresses::iter).map(|ip| {
        let owner = owner(plan, key, ip).cloned();
        let silence = owner.is_none().then(|| silence(plan, key, ip));
        (Family::of(ip), Stand { ip, pool: pool.cloned(), owner, silence })
    });
    let causes = decision.notices.iter().filter_map(|notice| match notice {
        Notice::Cleared { cause, .. } => Some(cause.clone().into()),
        Notice::OneFamilyOnly { missing, pool } => {
            Some(Why::OneFamilyOnly { missing: *missing, pool: pool.clone() })
        }
        Notice::UnreadableStatus(_) => None,
    });
    Fate { stands: stands.collect(), error: decision.error.clone(), causes: causes.collect(), idle: None }
}

/// The node that answers for the address because of this Service.
fn owner<'a>(plan: &'a Plan, key: &ServiceKey, ip: IpAddr) -> Option<&'a NodeName> {
    let ownership = plan.owners.get(&ip).filter(|ownership| ownership.services.contains(key))?;
    Some(&ownership.owner)
}

/// Why no node answers. What only one node has to say is the same as that none is a candidate.
fn silence(plan: &Plan, key: &ServiceKey, ip: IpAddr) -> Silence {
    let verdict = plan.services.get(key).into_iter().flatten().find(|verdict| verdict.ip == ip);
    match verdict.map(|verdict| &verdict.verdict) {
        Some(Verdict::Silent(silence)) if silence.is_common() => silence.clone(),
        Some(Verdict::Silent(_) | Verdict::Owner | Verdict::Standby { .. } | Verdict::Waiting) | None => {
            Silence::NoCandidate
        }
    }
}

/// Everything that is different, the worst first, then by Service and family.
pub fn differences(before: &Outlook, after: &Outlook) -> Vec<Difference> {
    let none = Fate::default();
    let gone = Fate { idle: Some(Why::Deleted), ..Fate::default() };
    let keys: BTreeSet<&ServiceKey> = before.services.keys().chain(after.services.keys()).collect();
    let mut all = Vec::new();
    for key in keys {
        let was = before.services.get(key).unwrap_or(&none);
        let is = after.services.get(key).unwrap_or(&gone);
        let mut of_service: Vec<Difference> = [Family::Ipv4, Family::Ipv6]
            .into_iter()
            .filter_map(|family| difference(key, was.stands.get(&family), is.stands.get(&family), is))
            .collect();
        let told = of_service.iter().any(|one| matches!(one.effect, Effect::Loses | Effect::Changes));
        if let Some(error) = is.error.as_ref().filter(|error| !told && was.error.as_ref() != Some(error)) {
            of_service.push(refused(key, was, is, error));
        }
        all.append(&mut of_service);
    }
    explain_moves(&mut all, after);
    all.sort_by(|a, b| {
        let order = |one: &Difference| {
            let stand = one.before.as_ref().or(one.after.as_ref());
            (one.effect, one.service.clone(), stand.map(|stand| Family::of(stand.ip)))
        };
        order(a).cmp(&order(b))
    });
    all
}

fn difference(
    key: &ServiceKey,
    before: Option<&Stand>,
    after: Option<&Stand>,
    fate: &Fate,
) -> Option<Difference> {
    let (effect, why) = match (before, after) {
        (None, None) => return None,
        (Some(was), None) => (Effect::Loses, lost(fate, Family::of(was.ip))),
        (None, Some(stand)) => (Effect::Gets, silent(stand)),
        (Some(was), Some(is)) if was.ip != is.ip => {
            (Effect::Changes, fate.causes.iter().cloned().chain(silent(is)).collect())
        }
        (Some(was), Some(is)) => match (&was.owner, &is.owner) {
            (Some(_), None) => (Effect::FallsSilent, silent(is)),
            (None, Some(_)) => (Effect::IsAnswered, Vec::new()),
            // Why is looked up for all moves together.
            (Some(one), Some(other)) if one != other => (Effect::Moves, Vec::new()),
            (Some(_), Some(_)) | (None, None) if was.pool != is.pool => (Effect::ChangesPool, Vec::new()),
            (Some(_), Some(_)) | (None, None) => return None,
        },
    };
    Some(Difference { service: key.clone(), effect, before: before.cloned(), after: after.cloned(), why })
}

fn lost(fate: &Fate, family: Family) -> Vec<Why> {
    if let Some(idle) = &fate.idle {
        return vec![idle.clone()];
    }
    let mut why = fate.causes.clone();
    why.extend(fate.error.clone().map(Why::from));
    why.dedup();
    if why.is_empty() { vec![Why::NotAsked { family }] } else { why }
}

fn silent(stand: &Stand) -> Vec<Why> {
    stand.silence.iter().cloned().map(Why::from).collect()
}

/// A Service that does not get what it asks for; with an address if it has one all the same.
fn refused(key: &ServiceKey, was: &Fate, is: &Fate, error: &AllocError) -> Difference {
    let first = |fate: &Fate| fate.stands.values().next().cloned();
    Difference {
        service: key.clone(),
        effect: Effect::Refused,
        before: first(was),
        after: first(is),
        why: vec![error.clone().into()],
    }
}

/// Says of each move what keeps the node that answered before from it.
fn explain_moves(all: &mut [Difference], after: &Outlook) {
    let moved: BTreeSet<IpAddr> = all
        .iter()
        .filter(|one| one.effect == Effect::Moves)
        .filter_map(|one| Some(one.after.as_ref()?.ip))
        .collect();
    // An explanation looks at all Services: there may be many, and many moves.
    let mut by_address: BTreeMap<IpAddr, BTreeMap<_, _>> = BTreeMap::new();
    for (key, service) in &*after.snapshot.services {
        for ip in service.ingress.iter().filter(|ip| moved.contains(ip)) {
            by_address.entry(*ip).or_default().insert(key.clone(), service.clone());
        }
    }
    for one in all.iter_mut().filter(|one| one.effect == Effect::Moves) {
        if let (Some(Stand { owner: Some(was), .. }), Some(Stand { owner: Some(is), ip, .. })) =
            (&one.before, &one.after)
        {
            let services = Arc::new(by_address.get(ip).cloned().unwrap_or_default());
            let on_it = Snapshot { services, ..after.snapshot.clone() };
            one.why = after.bars(&on_it, *ip, was, is);
        }
    }
}
