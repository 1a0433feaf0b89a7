//! From Services to owners and entries.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::{
    AddressVerdict, AnnouncedService, Entry, EntryState, Ownership, Plan, Silence, Snapshot, Target, Verdict,
    advertised::{AdSet, AdSets},
};
use crate::{
    election::{Rank, RankKey, rank},
    eligibility::own_addresses,
    ids::{NodeName, ServiceKey},
    sharing::TrafficPolicy,
};

/// A Service on an address: the advertisements that announce it, or why it is silent.
struct Claim<'a> {
    ip: IpAddr,
    key: &'a ServiceKey,
    service: &'a AnnouncedService,
    ads: Result<usize, Silence>,
}

impl Claim<'_> {
    /// Whether this Service can be served by a node that its advertisements select.
    fn admits(&self, set: Option<&AdSet<'_>>, node: &NodeName) -> bool {
        let endpoint = match self.service.external_traffic_policy {
            TrafficPolicy::Cluster => true,
            TrafficPolicy::Local => self.service.endpoints.has(node),
        };
        endpoint && set.is_some_and(|set| set.nodes.contains_key(node))
    }
}

/// The election for one address.
struct Race<'a> {
    owner: Option<&'a NodeName>,
    rank: Option<usize>,
    candidates: usize,
}

/// Everything of a plan but its problems.
pub(super) fn announce(snapshot: &Snapshot) -> Plan {
    let mut sets = AdSets::new(snapshot);
    let claims = claims(snapshot, &mut sets);
    let mut plan = Plan::default();
    let mut desired = Vec::new();
    let mut verdicts: BTreeMap<(&ServiceKey, IpAddr), Verdict> = BTreeMap::new();
    for group in claims.chunk_by(|a, b| a.ip == b.ip) {
        let Some(ip) = group.first().map(|claim| claim.ip) else { continue };
        let union = group.iter().filter_map(|claim| claim.ads.as_ref().ok().copied());
        let union = union.reduce(|a, b| sets.union(a, b));
        let set = union.and_then(|union| sets.get(union));
        let race = set.map(|set| run(snapshot, &sets, set, group));
        let verdict = match (&race, set) {
            (Some(race), Some(set)) => judge(snapshot, race, set),
            _ => Verdict::Silent(Silence::NoCandidate),
        };
        if let (Some(set), Some(state)) = (set, state(&verdict)) {
            let targets = set.places.iter().map(|((link, vlans), mac)| {
                (Target { link: *link, vlans: *vlans, ip }, Entry { mac: *mac, state })
            });
            desired.extend(targets);
        }
        if let Some(Race { owner: Some(owner), rank, candidates }) = race {
            let services = group.iter().filter(|c| c.ads.is_ok()).map(|c| c.key.clone()).collect();
            plan.owners.insert(ip, Ownership { owner: owner.clone(), rank, candidates, services });
        }
        for claim in group {
            let own = claim.ads.as_ref().err().map(|silence| Verdict::Silent(silence.clone()));
            verdicts.insert((claim.key, ip), own.unwrap_or_else(|| verdict.clone()));
        }
    }
    plan.desired = desired.into_iter().collect();
    plan.services = snapshot
        .services
        .iter()
        .map(|(key, service)| {
            let verdict =
                |ip: &IpAddr| verdicts.remove(&(key, *ip)).map(|verdict| AddressVerdict { ip: *ip, verdict });
            (key.clone(), service.ingress.iter().filter_map(verdict).collect())
        })
        .collect();
    plan
}

/// All pairs of Service and address, sorted by address.
fn claims<'a>(snapshot: &'a Snapshot, sets: &mut AdSets<'a>) -> Vec<Claim<'a>> {
    let mut foreign: BTreeSet<IpAddr> = own_addresses(&snapshot.links, &snapshot.allowed);
    foreign.extend(snapshot.nodes.values().flat_map(|node| node.addresses.iter().copied()));
    let mut claims = Vec::with_capacity(snapshot.services.len());
    for (key, service) in &*snapshot.services {
        for ip in &service.ingress {
            let ads = announced_by(snapshot, sets, &foreign, service, *ip);
            claims.push(Claim { ip: *ip, key, service, ads });
        }
    }
    claims.sort_by_key(|claim| claim.ip);
    claims
}

/// MetalLB's tests 0 to 2, whose outcome is the same on every node.
fn announced_by(
    snapshot: &Snapshot,
    sets: &mut AdSets<'_>,
    foreign: &BTreeSet<IpAddr>,
    service: &AnnouncedService,
    ip: IpAddr,
) -> Result<usize, Silence> {
    let pool = snapshot.config.pool_of(ip).ok_or(Silence::NotInPool { ip })?;
    if foreign.contains(&ip) || pool.withheld().contains(&ip) {
        return Err(Silence::NodeAddress { ip });
    }
    if !service.endpoints.any() {
        return Err(Silence::NoEndpoints);
    }
    if !sets.covers(&pool.name) {
        return Err(Silence::NoAdvertisement { pool: pool.name.clone() });
    }
    let (set, selective) = sets.matching(&pool.name, &service.labels);
    if service.shared && selective {
        return Err(Silence::SharedIpWithServiceSelector { pool: pool.name.clone() });
    }
    if sets.get(set).is_none_or(|set| set.ads.is_empty()) {
        return Err(Silence::ServiceNotSelected { pool: pool.name.clone() });
    }
    Ok(set)
}

/// Orders the candidates of an address. The key is the first address of its Services, so that both families of a
/// Service have one owner; all Services count for it, also those that are silent now.
fn run<'a>(snapshot: &Snapshot, sets: &AdSets<'_>, set: &AdSet<'a>, group: &[Claim<'_>]) -> Race<'a> {
    let claims: Vec<(&Claim<'_>, Option<&AdSet<'_>>)> = group
        .iter()
        .filter_map(|claim| claim.ads.as_ref().ok().map(|index| (claim, sets.get(*index))))
        .collect();
    let admitted = |node: &NodeName| claims.iter().any(|(claim, set)| claim.admits(*set, node));
    let candidates: Vec<(&NodeName, u32)> =
        set.nodes.iter().filter(|(node, _)| admitted(node)).map(|(node, score)| (*node, *score)).collect();
    let key = group.iter().filter_map(|claim| claim.service.ingress.first()).min();
    let key = key.map(|ip| RankKey::new(*ip));
    let mut ranked: Vec<(Option<Rank>, &NodeName)> = match (&key, candidates.as_slice()) {
        (Some(key), [_, _, ..]) => {
            candidates.iter().map(|(node, s)| (Some(rank(node, *s, key)), *node)).collect()
        }
        // One candidate needs no hash.
        _ => candidates.iter().map(|(node, _)| (None, *node)).collect(),
    };
    ranked.sort_unstable();
    Race {
        owner: ranked.first().map(|(_, node)| *node),
        rank: ranked.iter().position(|(_, node)| **node == snapshot.me),
        candidates: ranked.len(),
    }
}

/// MetalLB's tests 3 to 5, for this node.
fn judge(snapshot: &Snapshot, race: &Race<'_>, set: &AdSet<'_>) -> Verdict {
    match (race.owner, race.rank) {
        (Some(_), Some(0)) if set.places.is_empty() => Verdict::Silent(Silence::NoLink(set.unusable.clone())),
        (Some(_), Some(0)) => Verdict::Owner,
        (Some(owner), Some(rank)) => Verdict::Standby { owner: owner.clone(), rank },
        _ if !set.selects_me => Verdict::Silent(Silence::NodeNotSelected),
        (Some(owner), None) => {
            debug_assert_ne!(*owner, snapshot.me);
            Verdict::Silent(Silence::NotOwner { owner: owner.clone() })
        }
        (None, _) => Verdict::Silent(Silence::NoCandidate),
    }
}

fn state(verdict: &Verdict) -> Option<EntryState> {
    match verdict {
        Verdict::Owner => Some(EntryState::Answer),
        Verdict::Standby { .. } => Some(EntryState::Standby),
        Verdict::Silent(_) => None,
    }
}
