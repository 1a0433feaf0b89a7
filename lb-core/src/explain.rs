//! Why an address is answered by whom: each decision of a [`plan`](mod@crate::plan) with the rule that made it.
//!
//! The decisions are those of the plan itself; what is added is what a plan does not keep: the order of all candidates, and
//! of each other node all that keeps it from being one.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use crate::{
    config::Advertisement,
    election::{RankKey, order},
    eligibility::{EXCLUDE_LABEL, Endpoints, LinkFitness, Node},
    failover::{Place as Standpoint, first},
    ids::{LinkId, LinkName, NodeName, PoolName, ServiceKey},
    plan::{AnnouncedService, Silence, Snapshot, Verdict, plan},
    sharing::TrafficPolicy,
};

#[cfg(test)]
mod tests;

/// Everything that decides about one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The address.
    pub ip: IpAddr,
    /// The pool it lies in.
    pub pool: Option<PoolName>,
    /// The Services that hold it, by name.
    pub services: Vec<Holder>,
    /// All advertisements, in the order of the configuration.
    pub advertisements: Vec<Notice>,
    /// The address by which candidates are ordered, if anybody announces.
    pub key: Option<IpAddr>,
    /// Who may own it, in the order of rank.
    pub candidates: Vec<Candidate>,
    /// The first candidate that can own it at present.
    pub owner: Option<NodeName>,
    /// All other nodes, and what keeps each from being a candidate.
    pub others: BTreeMap<NodeName, Vec<Bar>>,
}

/// A Service on the address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its name.
    pub key: ServiceKey,
    /// Why no node announces the address for it, if that is so.
    pub silence: Option<Silence>,
    /// It wants an endpoint on the node that announces it.
    pub local: bool,
}

/// An advertisement, and whether it has to do with the address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Its name.
    pub name: String,
    /// It covers the pool.
    pub covers: bool,
    /// It selects one of the Services.
    pub selects: bool,
}

/// A node that may own the address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The node.
    pub node: NodeName,
    /// The sum of weights that advertisements give it: a higher one comes first.
    pub score: u32,
    /// It can own it at present, as the nodes hear each other.
    pub is_able: bool,
}

/// What keeps a node from being a candidate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Bar {
    /// Its agent is not there.
    #[error("its agent is not there: its Lease is not renewed")]
    NoAgent,
    /// The condition `NetworkUnavailable` is true.
    #[error("its condition NetworkUnavailable is true")]
    NetworkUnavailable,
    /// It has the label that excludes nodes.
    #[error("it has the label {EXCLUDE_LABEL}")]
    Excluded,
    /// No advertisement that announces the address selects it.
    #[error("no L2Advertisement that announces the address selects it (nodeSelectors)")]
    NotSelected,
    /// It has no link that can announce and that an advertisement wants.
    #[error("{}", no_link(.0))]
    NoLink(
        /// Links that an advertisement wants, and what the node says of each.
        Vec<(LinkName, String)>,
    ),
    /// No endpoint on it can serve.
    #[error("externalTrafficPolicy is Local, and no endpoint on it can serve")]
    NoEndpoint,
}

fn no_link(links: &[(LinkName, String)]) -> String {
    if links.is_empty() {
        return "it has none of the interfaces that the L2Advertisement names".to_owned();
    }
    let links: Vec<String> = links.iter().map(|(name, why)| format!("{name}: {why}")).collect();
    format!("no interface can announce: {}", links.join("; "))
}

/// Explains one address. From whom the snapshot is makes a difference only to who is able at present.
pub fn explain(snapshot: &Snapshot, ip: IpAddr) -> Explanation {
    let on_it = snapshot.services.iter().filter(|(_, service)| service.ingress.contains(&ip));
    let on_it: BTreeMap<ServiceKey, AnnouncedService> =
        on_it.map(|(key, service)| (key.clone(), service.clone())).collect();
    let about = Snapshot { services: Arc::new(on_it), ..snapshot.clone() };
    let services = holders(&about, ip);
    let pool = about.config.pool_of(ip);
    let covers = |ad: &Advertisement| pool.is_some_and(|pool| ad.covers(pool));
    let selects = |ad: &Advertisement| about.services.values().any(|one| ad.selects_service(&one.labels));
    let notices = about.config.advertisements.iter().map(|ad| Notice {
        name: ad.name.clone(),
        covers: covers(ad),
        selects: selects(ad),
    });
    let announced = services.iter().filter(|holder| holder.silence.is_none());
    let claims: Vec<Claim<'_>> = announced
        .filter_map(|holder| {
            let service = about.services.get(&holder.key)?;
            let ads = about.config.advertisements.iter();
            let ads = ads.filter(|ad| covers(ad) && ad.selects_service(&service.labels)).collect();
            Some(Claim { service, ads })
        })
        .collect();
    // All Services count for it, also those that are silent now.
    let key = about.services.values().filter_map(|service| service.ingress.first().copied()).min();
    let key = key.filter(|_| !claims.is_empty());
    let (ranked, others) = race(&about, &claims, key);
    let able = ranked.iter().map(|(candidate, place)| (candidate.node.clone(), *place));
    let owner = first(able.collect::<Vec<_>>());
    Explanation {
        ip,
        pool: pool.map(|pool| pool.name.clone()),
        advertisements: notices.collect(),
        services,
        key,
        owner,
        candidates: ranked.into_iter().map(|(candidate, _)| candidate).collect(),
        others,
    }
}

/// A Service that is announced, and the advertisements that announce it.
struct Claim<'a> {
    service: &'a AnnouncedService,
    ads: Vec<&'a Advertisement>,
}

/// The Services, and why each is announced by nobody, as the plan has it.
fn holders(about: &Snapshot, ip: IpAddr) -> Vec<Holder> {
    let plan = plan(about);
    let silence = |key: &ServiceKey| {
        let verdict = plan.services.get(key)?.iter().find(|verdict| verdict.ip == ip)?;
        match &verdict.verdict {
            Verdict::Silent(silence) if silence.is_common() => Some(silence.clone()),
            Verdict::Silent(_) | Verdict::Owner | Verdict::Standby { .. } | Verdict::Waiting => None,
        }
    };
    let holder = |(key, service): (&ServiceKey, &AnnouncedService)| Holder {
        key: key.clone(),
        silence: silence(key),
        local: service.external_traffic_policy == TrafficPolicy::Local,
    };
    about.services.iter().map(holder).collect()
}

type Ranked = Vec<(Candidate, Option<Standpoint>)>;

/// The candidates in their order, each with how it stands, and what keeps the other nodes from being one.
fn race(
    about: &Snapshot,
    claims: &[Claim<'_>],
    key: Option<IpAddr>,
) -> (Ranked, BTreeMap<NodeName, Vec<Bar>>) {
    let mut union: Vec<&Advertisement> = Vec::new();
    for ad in claims.iter().flat_map(|claim| &claim.ads) {
        if !union.iter().any(|known| std::ptr::eq(*known, *ad)) {
            union.push(ad);
        }
    }
    let links = links(about, &union);
    let (mut scores, mut others) = (BTreeMap::new(), BTreeMap::new());
    for (name, node) in &about.nodes {
        let bars = bars(about, claims, name, node);
        if bars.is_empty() && !claims.is_empty() {
            let score = union.iter().map(|ad| ad.score(&node.labels)).fold(0, u32::saturating_add);
            scores.insert(name, score);
        } else {
            others.insert(name.clone(), bars);
        }
    }
    let candidates = scores.iter().map(|(name, score)| (*name, *score));
    let ordered = key.map(|key| order(candidates, &RankKey::new(key))).unwrap_or_default();
    let ranked = ordered.into_iter().map(|name| {
        let place = match &about.standing {
            None => Some(Standpoint::default()),
            Some(standing) if *name == about.me => standing.own(links.iter().copied()),
            Some(standing) => standing.peer(name, links.iter().copied()),
        };
        let score = scores.get(name).copied().unwrap_or_default();
        (Candidate { node: name.clone(), score, is_able: place.is_some() }, place)
    });
    (ranked.collect(), others)
}

/// The links of the node whose snapshot it is on which the address is announced.
fn links(about: &Snapshot, ads: &[&Advertisement]) -> BTreeSet<LinkId> {
    let fit = |link: &&crate::eligibility::Link| {
        crate::eligibility::fault(link, &about.allowed).is_none()
            && ads.iter().any(|ad| ad.interfaces.admit(&link.name))
    };
    about.links.iter().filter(fit).map(|link| link.id).collect()
}

/// Everything that keeps a node from being a candidate; nothing where one of the Services makes it one.
fn bars(about: &Snapshot, claims: &[Claim<'_>], name: &NodeName, node: &Node) -> Vec<Bar> {
    let excluded = !about.ignore_exclude_label && node.labels.contains_key(EXCLUDE_LABEL);
    let of_node = [
        (!node.alive, Bar::NoAgent),
        (node.network_unavailable, Bar::NetworkUnavailable),
        (excluded, Bar::Excluded),
    ];
    let mut bars: Vec<Bar> =
        of_node.into_iter().filter(|(applies, _)| *applies).map(|(_, bar)| bar).collect();
    let of_claims: Vec<Vec<Bar>> = claims.iter().map(|claim| claim_bars(claim, name, node)).collect();
    if !of_claims.iter().any(Vec::is_empty) {
        for bar in of_claims.into_iter().flatten() {
            if !bars.contains(&bar) {
                bars.push(bar);
            }
        }
    }
    bars
}

/// What keeps a node from being a candidate by one Service.
fn claim_bars(claim: &Claim<'_>, name: &NodeName, node: &Node) -> Vec<Bar> {
    let mut bars = Vec::new();
    let selecting: Vec<&&Advertisement> =
        claim.ads.iter().filter(|ad| ad.selects_node(&node.labels)).collect();
    if selecting.is_empty() {
        bars.push(Bar::NotSelected);
    } else if !selecting.iter().any(|ad| node.has_fit_link(&ad.interfaces)) {
        bars.push(Bar::NoLink(unfit(node, &selecting)));
    }
    let serves = match (claim.service.external_traffic_policy, &claim.service.endpoints) {
        (TrafficPolicy::Local, Endpoints::Known(serving)) => serving.nodes.contains(name),
        (TrafficPolicy::Cluster, _) | (TrafficPolicy::Local, Endpoints::Unknown) => true,
    };
    if !serves {
        bars.push(Bar::NoEndpoint);
    }
    bars
}

/// What a node says of the links that one of the advertisements wants.
fn unfit(node: &Node, ads: &[&&Advertisement]) -> Vec<(LinkName, String)> {
    let wanted = |name: &LinkName| ads.iter().any(|ad| ad.interfaces.admit(name));
    let why = |name: &LinkName| {
        let report = node.reports.iter().find(|report| report.name == *name);
        report.and_then(|report| report.why.clone()).unwrap_or_else(|| "it is reported as unfit".to_owned())
    };
    let links = node.links.iter().flatten();
    let unfit = links.filter(|(name, fitness)| **fitness == LinkFitness::Unfit && wanted(name));
    unfit.map(|(name, _)| (name.clone(), why(name))).collect()
}
