//! What holds for any cluster: at most one owner of an address whoever is asked, and no move without need.

use std::time::Duration;

use proptest::sample::Index;

use super::*;
use crate::explain::explain;
use crate::membership::{Heartbeat, Liveness, Membership};

const NAMES: [&str; 5] = ["n0", "n1", "n2", "n3", "n4"];
const LINKS: [&str; 2] = ["eth0", "eth1"];

/// What a node says of itself, and what is said of it.
#[derive(Debug, Clone)]
struct Machine {
    /// There is a Node object.
    registered: bool,
    /// The Lease: none, given back, or renewed; with what it reports of its links.
    lease: Option<(bool, Option<[bool; 2]>)>,
    zone: u8,
    excluded: bool,
    unreachable: bool,
}

/// A Service: its address by number, whether it has one of the other family too, and which of them is the first.
#[derive(Debug, Clone)]
struct Web {
    address: u8,
    dual: bool,
    six_first: bool,
    local: bool,
    endpoints: Option<Vec<bool>>,
    app: u8,
    shared: bool,
}

/// An advertisement: zone of its nodes, application of its Services, its link, and the zone it prefers.
#[derive(Debug, Clone)]
struct Notice {
    zone: Option<u8>,
    app: Option<u8>,
    link: Option<Index>,
    prefers: Option<(u8, i64)>,
}

#[derive(Debug, Clone)]
struct World {
    machines: Vec<Machine>,
    webs: Vec<Web>,
    notices: Vec<Notice>,
}

prop_compose! {
    fn machines()(
        registered in prop::bool::weighted(0.9),
        lease in prop::option::weighted(0.9, (prop::bool::weighted(0.9), prop::option::of(any::<[bool; 2]>()))),
        zone in 0_u8..2,
        excluded in prop::bool::weighted(0.1),
        unreachable in prop::bool::weighted(0.1),
    ) -> Machine {
        Machine { registered, lease, zone, excluded, unreachable }
    }
}

prop_compose! {
    fn webs()(
        address in 0_u8..4,
        dual: bool,
        six_first: bool,
        local: bool,
        endpoints in prop::option::weighted(0.9, prop::collection::vec(any::<bool>(), NAMES.len())),
        app in 0_u8..2,
        shared: bool,
    ) -> Web {
        Web { address, dual, six_first, local, endpoints, app, shared }
    }
}

prop_compose! {
    fn notices()(
        zone in prop::option::of(0_u8..2),
        app in prop::option::weighted(0.3, 0_u8..2),
        link in prop::option::of(any::<Index>()),
        prefers in prop::option::of((0_u8..2, 1_i64..3)),
    ) -> Notice {
        Notice { zone, app, link, prefers }
    }
}

prop_compose! {
    fn worlds()(
        machines in prop::collection::vec(machines(), NAMES.len()),
        webs in prop::collection::vec(webs(), 1..7),
        notices in prop::collection::vec(notices(), 0..4),
    ) -> World {
        World { machines, webs, notices }
    }
}

impl World {
    /// As the node `me` sees it: the same objects for everybody, and its own links.
    fn seen_by(&self, me: &str) -> Snapshot {
        let members = self.members(me);
        let mut snapshot = cluster(me, &[], &self.ads());
        let registered = NAMES.iter().zip(&self.machines).filter(|(_, machine)| machine.registered);
        snapshot.nodes =
            registered.map(|(name, machine)| (node(name), machine.node(name, &members))).collect();
        snapshot.links = LINKS.iter().zip(2..).map(|(name, index)| link(index, name)).collect();
        // A node says of its links what they are.
        let own = NAMES.iter().zip(&self.machines).find(|(name, _)| **name == me);
        let fit = own.and_then(|(_, machine)| machine.lease?.1);
        snapshot.links.iter_mut().zip(fit.into_iter().flatten()).for_each(|(link, fit)| link.up = fit);
        for (number, web) in self.webs.iter().enumerate() {
            services(&mut snapshot).insert(key(&format!("s{number}")), web.service());
        }
        snapshot
    }

    /// What an agent makes of the Leases when it sees them for the first time.
    fn members(&self, me: &str) -> Membership {
        let duration = Duration::from_secs(75);
        let mut membership = Membership::new(node(me), format!("{me}-1"), duration);
        let leases = NAMES.iter().zip(&self.machines).filter_map(|(name, machine)| {
            let (renewed, fit) = machine.lease?;
            let links = fit.map(|fit| {
                let fitness = fit.map(|fit| if fit { LinkFitness::Fit } else { LinkFitness::Unfit });
                LINKS.map(|name| LinkName::new(name).unwrap()).into_iter().zip(fitness).collect()
            });
            let holder = if renewed { format!("{name}-1") } else { String::new() };
            let (version, reports) = ("1".to_owned(), Vec::new());
            Some((node(name), Heartbeat { holder, renewed: 1, duration, version, links, reports }))
        });
        membership.observe(&leases.collect(), Duration::from_secs(1));
        membership
    }

    fn ads(&self) -> Vec<RawAdvertisement> {
        let ads = self.notices.iter().enumerate().map(|(number, notice)| {
            let zone = |zone: u8| selector("zone", &zone.to_string());
            let mut ad = ad(&format!("ad{number}"), "");
            ad.node_selectors.extend(notice.zone.map(zone));
            ad.service_selectors.extend(notice.app.map(|app| selector("app", &app.to_string())));
            ad.interfaces.extend(notice.link.map(|link| (*link.get(&LINKS)).to_owned()));
            let preferred = notice.prefers.map(|(to, weight)| RawPreference { weight, preference: zone(to) });
            ad.preferred_node_selectors.extend(preferred);
            ad
        });
        ads.collect()
    }

    /// The plans of all nodes, those that are not there included.
    fn plans(&self) -> BTreeMap<&'static str, Plan> {
        NAMES.into_iter().map(|name| (name, plan(&self.seen_by(name)))).collect()
    }

    fn addresses(&self) -> BTreeSet<IpAddr> {
        self.webs.iter().flat_map(|web| web.service().ingress).collect()
    }
}

impl Machine {
    fn node(&self, name: &str, members: &Membership) -> Node {
        let zone = ("zone".to_owned(), self.zone.to_string());
        let excluded = self.excluded.then(|| (EXCLUDE_LABEL.to_owned(), String::new()));
        Node {
            labels: [zone].into_iter().chain(excluded).collect(),
            network_unavailable: self.unreachable,
            alive: members.is_alive(&node(name)),
            links: members.links(&node(name), Duration::ZERO).cloned(),
            ..Node::default()
        }
    }

    /// Whether it may own something at all.
    fn is_usable(&self) -> bool {
        let renews = self.lease.is_some_and(|(renewed, _)| renewed);
        self.registered && renews && !self.excluded && !self.unreachable
    }

    fn is_fit(&self, wanted: Option<Index>) -> bool {
        let fit = self.lease.and_then(|(_, fit)| fit);
        fit.is_none_or(|fit| wanted.map_or(fit[0] || fit[1], |wanted| *wanted.get(&fit)))
    }
}

impl Web {
    fn service(&self) -> AnnouncedService {
        let mut ips = vec![format!("10.20.30.{}", self.address + 1)];
        if self.dual {
            ips.push(format!("fd00:1::{}", self.address + 1));
        }
        if self.six_first {
            ips.reverse();
        }
        let ips: Vec<&str> = ips.iter().map(String::as_str).collect();
        let policy = if self.local { TrafficPolicy::Local } else { TrafficPolicy::Cluster };
        let endpoints = self.endpoints.as_ref().map_or(Endpoints::Unknown, |serving| {
            Endpoints::on(
                NAMES.iter().zip(serving).filter(|(_, serves)| **serves).map(|(name, _)| node(name)),
            )
        });
        AnnouncedService {
            labels: Labels::from([("app".to_owned(), self.app.to_string())]),
            shared: self.shared,
            ..service(&ips, policy, endpoints)
        }
    }

    /// Whether the node can be a candidate by this Service, by the words of MetalLB's tests 1 to 4.
    fn admits(&self, index: usize, machine: &Machine, notices: &[Notice]) -> bool {
        let matching = notices.iter().filter(|notice| notice.app.is_none_or(|app| app == self.app));
        let matching: Vec<&Notice> = matching.collect();
        let refused = self.shared && matching.iter().any(|notice| notice.app.is_some());
        let anywhere = self.endpoints.as_ref().is_none_or(|serving| serving.contains(&true));
        let here = !self.local || self.endpoints.as_ref().is_none_or(|serving| serving[index]);
        let selected = |notice: &&Notice| {
            notice.zone.is_none_or(|zone| zone == machine.zone) && machine.is_fit(notice.link)
        };
        machine.is_usable() && !refused && anywhere && here && matching.iter().any(selected)
    }
}

/// Which nodes answer an address.
fn answering(plans: &BTreeMap<&'static str, Plan>, ip: IpAddr) -> Vec<&'static str> {
    let answers = |plan: &Plan| plan.desired.iter().any(|(t, e)| t.ip == ip && e.state == EntryState::Answer);
    plans.iter().filter(|(_, plan)| answers(plan)).map(|(name, _)| *name).collect()
}

proptest! {
    /// Every node computes its own plan from the same objects; together they answer each address once, if anybody can.
    #[test]
    fn an_address_has_one_owner_if_there_is_a_candidate_and_none_otherwise(world in worlds()) {
        let plans = world.plans();
        for ip in world.addresses() {
            let on_it = || world.webs.iter().filter(|web| web.service().ingress.contains(&ip));
            let candidates: BTreeSet<&str> = NAMES
                .into_iter()
                .zip(&world.machines)
                .enumerate()
                .filter(|(index, (_, machine))| on_it().any(|web| web.admits(*index, machine, &world.notices)))
                .map(|(_, (name, _))| name)
                .collect();
            let owners: BTreeSet<Option<&str>> =
                plans.values().map(|plan| plan.owners.get(&ip).map(|o| o.owner.as_str())).collect();
            prop_assert_eq!(owners.len(), 1, "all name the same owner of {}", ip);
            let owner = owners.first().copied().flatten();
            prop_assert_eq!(owner.is_some(), !candidates.is_empty(), "{} {:?}", ip, candidates);
            prop_assert!(owner.is_none_or(|owner| candidates.contains(owner)));
            prop_assert_eq!(answering(&plans, ip), owner.into_iter().collect::<Vec<_>>(), "{}", ip);
            let ranks: BTreeSet<usize> =
                plans.values().filter_map(|plan| plan.owners.get(&ip)?.rank).collect();
            prop_assert_eq!(ranks, (0..candidates.len()).collect::<BTreeSet<_>>(), "0, 1, 2, …");
            for (name, plan) in &plans {
                let ownership = plan.owners.get(&ip);
                prop_assert_eq!(ownership.map_or(0, |o| o.candidates), candidates.len());
                prop_assert_eq!(ownership.and_then(|o| o.rank).is_some(), candidates.contains(name));
            }
        }
    }

    /// What is explained is what is planned: the same owner, the same candidates, and each other node has its reason.
    #[test]
    fn an_explanation_is_that_of_the_plan(world in worlds()) {
        for me in NAMES {
            let snapshot = world.seen_by(me);
            let plan = plan(&snapshot);
            for ip in world.addresses() {
                let explained = explain(&snapshot, ip);
                let ownership = plan.owners.get(&ip);
                prop_assert_eq!(explained.owner.as_ref(), ownership.map(|o| &o.owner), "{}", ip);
                let order: Vec<&NodeName> = explained.candidates.iter().map(|one| &one.node).collect();
                prop_assert_eq!(order.len(), ownership.map_or(0, |o| o.candidates));
                let rank = order.iter().position(|name| name.as_str() == me);
                prop_assert_eq!(rank, ownership.and_then(|o| o.rank));
                prop_assert_eq!(order.len() + explained.others.len(), snapshot.nodes.len());
                let announced = explained.services.iter().any(|holder| holder.silence.is_none());
                let unexplained = explained.others.values().filter(|bars| bars.is_empty()).count();
                prop_assert!(!announced || unexplained == 0, "{:?}", explained.others);
            }
        }
    }

    /// A node that leaves, in whatever way, takes only its own addresses with it.
    #[test]
    fn removing_a_node_moves_only_its_addresses(
        world in worlds(),
        gone in 0..NAMES.len(),
        how in 0_u8..3,
    ) {
        let mut after = world.clone();
        match how {
            0 => after.machines[gone].registered = false,
            1 => after.machines[gone].lease = None,
            _ => after.machines[gone].lease = after.machines[gone].lease.map(|(_, fit)| (false, fit)),
        }
        let (before, after) = (world.plans(), after.plans());
        for ip in world.addresses() {
            let (was, is) = (answering(&before, ip), answering(&after, ip));
            prop_assert!(!is.contains(&NAMES[gone]));
            if was != [NAMES[gone]] {
                prop_assert_eq!(was, is, "{} has moved", ip);
            }
        }
    }

    /// Whatever was planned before, the plan is as it would be without it, for every node.
    #[test]
    fn a_plan_does_not_depend_on_the_plans_before(worlds in prop::collection::vec(worlds(), 1..5)) {
        for me in NAMES {
            let mut orders = Orders::default();
            for world in &worlds {
                let snapshot = world.seen_by(me);
                let expected = Plan { owners: BTreeMap::new(), ..plan(&snapshot) };
                prop_assert_eq!(replan(&snapshot, &mut orders), expected);
            }
        }
    }
}
