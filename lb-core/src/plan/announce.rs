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
    election::{Field, Number, Orders},
    eligibility::{Endpoints, own_addresses},
    ids::{NodeName, ServiceKey},
    sharing::TrafficPolicy,
};

/// A Service on an address. What is looked at by address is in it: the Services lie elsewhere in memory.
struct Claim<'a> {
    /// Its place among all addresses of all Services, in their order.
    place: usize,
    key: &'a ServiceKey,
    /// The first address of the Service.
    first: IpAddr,
    /// The nodes that can serve it; `None`: any.
    serving: Option<&'a BTreeSet<NodeName>>,
    /// The advertisements that announce it; `None`: none, and its verdict is known.
    ads: Option<usize>,
}

/// The nodes that can serve a Service; `None`: any.
fn serving(service: &AnnouncedService) -> Option<&BTreeSet<NodeName>> {
    match (service.external_traffic_policy, &service.endpoints) {
        (TrafficPolicy::Local, Endpoints::Known(serving)) => Some(&serving.nodes),
        (TrafficPolicy::Cluster, _) | (TrafficPolicy::Local, Endpoints::Unknown) => None,
    }
}

/// The claims to one address.
type Group<'g, 'a> = &'g [(IpAddr, &'g Claim<'a>)];

/// The election for one address.
struct Race {
    owner: Option<NodeName>,
    /// The owner can own it at present.
    is_able: bool,
    rank: Option<usize>,
    candidates: usize,
}

/// Everything of a plan but its problems; `with_owners`: also who owns each address.
pub(super) fn announce(snapshot: &Snapshot, orders: &mut Orders, with_owners: bool) -> Plan {
    orders.begin(snapshot.nodes.keys());
    let mut sets = AdSets::new(snapshot, orders);
    let (claims, mut verdicts) = claims(snapshot, &mut sets);
    let mut by_address: Vec<(IpAddr, &Claim<'_>)> = claims.iter().map(|(ip, claim)| (*ip, claim)).collect();
    by_address.sort_by_key(|(ip, _)| *ip);
    let mut polls = Polls { me: orders.number(&snapshot.me), orders, some: Field::default() };
    let (mut desired, mut owners) = (Vec::new(), Vec::new());
    for group in by_address.chunk_by(|(a, _), (b, _)| a == b) {
        let Some((ip, _)) = group.first().copied() else { continue };
        let union = group.iter().filter_map(|(_, claim)| claim.ads);
        let union = union.reduce(|a, b| sets.union(a, b));
        let set = union.and_then(|union| Some((union, sets.get(union)?)));
        let race = set.map(|(union, set)| polls.run(&sets, union, set, group));
        let verdict = match (&race, set) {
            (Some(race), Some((_, set))) => sure(judge(race, set), snapshot, ip),
            _ => Verdict::Silent(Silence::NoCandidate),
        };
        if let (Some((_, set)), Some(state)) = (set, state(&verdict)) {
            let targets = set.places.iter().map(|((link, vlans), mac)| {
                (Target { link: *link, vlans: *vlans, ip }, Entry { mac: *mac, state })
            });
            desired.extend(targets);
        }
        if let Some(Race { owner: Some(owner), rank, candidates, .. }) =
            race.filter(|race| with_owners && race.is_able)
        {
            let announced = group.iter().filter(|(_, claim)| claim.ads.is_some());
            let services = announced.map(|(_, claim)| claim.key.clone()).collect();
            owners.push((ip, Ownership { owner, rank, candidates, services }));
        }
        let mut announced = group.iter().filter(|(_, claim)| claim.ads.is_some()).peekable();
        let mut verdict = Some(verdict);
        while let Some((_, claim)) = announced.next() {
            // Most addresses are of one Service.
            let verdict = if announced.peek().is_some() { verdict.clone() } else { verdict.take() };
            if let Some(place) = verdicts.get_mut(claim.place) {
                *place = verdict;
            }
        }
    }
    polls.orders.end();
    let services = by_service(snapshot, verdicts);
    Plan {
        desired: desired.into_iter().collect(),
        owners: owners.into_iter().collect(),
        services,
        ..Plan::default()
    }
}

/// The verdicts, which are in the order of Services and their addresses.
fn by_service(
    snapshot: &Snapshot,
    verdicts: Vec<Option<Verdict>>,
) -> BTreeMap<ServiceKey, Vec<AddressVerdict>> {
    let mut verdicts = verdicts.into_iter().flatten();
    let services = snapshot.services.iter().map(|(key, service)| {
        let verdicts = service.ingress.iter().zip(&mut verdicts);
        (key.clone(), verdicts.map(|(ip, verdict)| AddressVerdict { ip: *ip, verdict }).collect())
    });
    services.collect()
}

/// All pairs of Service and address, in the order of the Services, and the verdicts on those that nobody announces.
fn claims<'a>(
    snapshot: &'a Snapshot,
    sets: &mut AdSets<'a>,
) -> (Vec<(IpAddr, Claim<'a>)>, Vec<Option<Verdict>>) {
    let mut foreign: BTreeSet<IpAddr> = own_addresses(&snapshot.links, &snapshot.allowed);
    foreign.extend(snapshot.nodes.values().flat_map(|node| node.addresses.iter().copied()));
    let (mut claims, mut verdicts) = (Vec::with_capacity(snapshot.services.len()), Vec::new());
    for (key, service) in &*snapshot.services {
        let Some(first) = service.ingress.first().copied() else { continue };
        for ip in &service.ingress {
            let (ads, verdict) = match announced_by(snapshot, sets, &foreign, service, *ip) {
                Ok(ads) => (Some(ads), None),
                Err(silence) => (None, Some(Verdict::Silent(silence))),
            };
            let serving = serving(service);
            claims.push((*ip, Claim { place: verdicts.len(), key, first, serving, ads }));
            verdicts.push(verdict);
        }
    }
    (claims, verdicts)
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
    if let Some(node) = snapshot.rivals.get(&ip) {
        return Err(Silence::Rival { ip, node: node.clone() });
    }
    if !service.endpoints.any() {
        return Err(Silence::NoEndpoints);
    }
    let (set, selective) = sets
        .matching(&pool.name, &service.labels)
        .ok_or_else(|| Silence::NoAdvertisement { pool: pool.name.clone() })?;
    if service.shared && selective {
        return Err(Silence::SharedIpWithServiceSelector { pool: pool.name.clone() });
    }
    if sets.get(set).is_none_or(|set| set.ads.is_empty()) {
        return Err(Silence::ServiceNotSelected { pool: pool.name.clone() });
    }
    Ok(set)
}

/// Where elections are held.
struct Polls<'o> {
    orders: &'o mut Orders,
    me: Option<Number>,
    /// The candidates of one address, where these are not all whom its advertisements select.
    some: Field,
}

impl Polls<'_> {
    /// Orders the candidates of an address. The key is the first address of its Services, so that both families of a
    /// Service have one owner; all Services count for it, also those that are silent now.
    fn run(&mut self, sets: &AdSets<'_>, union: usize, set: &AdSet, group: Group<'_, '_>) -> Race {
        let claims = || group.iter().filter_map(|(_, claim)| Some((claim, claim.ads?)));
        let all = claims().any(|(claim, ads)| ads == union && claim.serving.is_none());
        if !all {
            self.some.clear();
            for (claim, ads) in claims() {
                self.admit(claim, sets.get(ads), set);
            }
        }
        let field = if all { &set.nodes } else { &self.some };
        let key = group.iter().map(|(_, claim)| claim.first).min();
        let standing = key.and_then(|key| self.orders.elect(key, field, self.me));
        Race {
            owner: standing.and_then(|standing| self.orders.name(standing.owner)).cloned(),
            is_able: standing.is_some_and(|standing| standing.is_able),
            rank: standing.and_then(|standing| standing.rank),
            candidates: field.len(),
        }
    }

    /// Makes the nodes candidates by which a Service can be served and that its own advertisements select; their scores
    /// are those of all the Services on the address together.
    fn admit(&mut self, claim: &Claim<'_>, own: Option<&AdSet>, all: &AdSet) {
        let Some(own) = own else { return };
        let Self { some, orders, .. } = self;
        let mut enter = |node: Number| {
            if let (Some(_), Some(score)) = (own.nodes.score(node), all.nodes.score(node)) {
                some.enter(node, score);
            }
        };
        match claim.serving {
            None => own.nodes.iter().for_each(|(node, _)| enter(node)),
            Some(names) => names.iter().filter_map(|name| orders.number(name)).for_each(enter),
        }
    }
}

/// MetalLB's tests 3 to 5, for this node.
fn judge(race: &Race, set: &AdSet) -> Verdict {
    match (&race.owner, race.rank) {
        (Some(_), Some(0)) if set.places.is_empty() => Verdict::Silent(Silence::NoLink(set.unusable.clone())),
        (Some(_), Some(0)) if !race.is_able => Verdict::Waiting,
        (Some(_), Some(0)) => Verdict::Owner,
        (Some(owner), Some(rank)) => Verdict::Standby { owner: owner.clone(), rank },
        _ if !set.selects_me => Verdict::Silent(Silence::NodeNotSelected { owner: race.owner.clone() }),
        (Some(owner), None) => Verdict::Silent(Silence::NotOwner { owner: owner.clone() }),
        (None, _) => Verdict::Silent(Silence::NoCandidate),
    }
}

/// The verdict, unless it makes this node the owner of more than it may be sure of.
fn sure(verdict: Verdict, snapshot: &Snapshot, ip: IpAddr) -> Verdict {
    let unsure = snapshot.only.as_ref().is_some_and(|only| !only.contains(&ip));
    if unsure && verdict == Verdict::Owner { Verdict::Silent(Silence::Unsure { ip }) } else { verdict }
}

fn state(verdict: &Verdict) -> Option<EntryState> {
    match verdict {
        Verdict::Owner => Some(EntryState::Answer),
        Verdict::Standby { .. } | Verdict::Waiting => Some(EntryState::Standby),
        Verdict::Silent(_) => None,
    }
}
