//! A plan after a change of the membership, in process.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use lb_core::config::{Config, RawAdvertisement, RawPool};
use lb_core::election::Orders;
use lb_core::eligibility::{Endpoints, Link, Node};
use lb_core::ids::{LinkId, LinkName, Mac, NodeName, ServiceKey};
use lb_core::plan::{AnnouncedService, Plan, Snapshot, plan, replan};
use lb_core::sharing::TrafficPolicy;

use crate::bench::document::{Goal, Page, spread};
use crate::bench::stats::{Spread, spread as median};
use crate::link::mac;

const SERVICES: u32 = 10_000;
const NODES: u32 = 100;
/// Nodes with an endpoint of a Service of the policy Local.
const ENDPOINTS: u32 = 3;
/// Milliseconds.
const GOAL: f64 = 5.0;

/// What all Services are like.
#[derive(Clone, Copy)]
struct Shape {
    what: &'static str,
    policy: TrafficPolicy,
    dual: bool,
}

const SHAPES: [Shape; 4] = [
    Shape { what: "one address, policy Cluster", policy: TrafficPolicy::Cluster, dual: false },
    Shape { what: "one address, policy Local", policy: TrafficPolicy::Local, dual: false },
    Shape { what: "an address of each family, policy Cluster", policy: TrafficPolicy::Cluster, dual: true },
    Shape { what: "an address of each family, policy Local", policy: TrafficPolicy::Local, dual: true },
];

/// Adds the table and the goals.
pub(super) fn measure(page: &mut Page, rounds: u16) -> Result<()> {
    page.add(&format!("\n## A change of the membership, {SERVICES} Services and {NODES} nodes\n"));
    let mut rows = Vec::new();
    for shape in SHAPES {
        let found = Found::of(shape, rounds)?;
        let ms = |values: &[f64]| format!("{} ms", spread(median(values), 2));
        rows.push(vec![
            shape.what.to_owned(),
            ms(&found.lapsed),
            ms(&found.returned),
            ms(&found.joined),
            ms(&found.first),
        ]);
        let all: Vec<f64> = found.lapsed.iter().chain(&found.returned).copied().collect();
        let reached: Spread = median(&all);
        page.goals.push(Goal {
            text: format!(
                "membership change with {SERVICES} Services ({}) and {NODES} nodes: new plan in ≤ {GOAL} ms",
                shape.what
            ),
            measured: format!("{} ms", spread(reached, 2)),
            met: reached.value <= GOAL,
            tried: "nothing is hashed any more; what is left is looking up the order of each address, and the tables of \
                    the plan, which are made anew",
        });
    }
    page.table(&["Services", "a node lapses", "it returns", "a node is new", "the first plan"], rows);
    Ok(())
}

/// Milliseconds of each plan.
#[derive(Default)]
struct Found {
    lapsed: Vec<f64>,
    returned: Vec<f64>,
    joined: Vec<f64>,
    first: Vec<f64>,
}

impl Found {
    fn of(shape: Shape, rounds: u16) -> Result<Self> {
        let mut snapshot = snapshot(shape)?;
        let mut found = Self::default();
        for number in 0..u32::from(rounds) {
            let mut orders = Orders::default();
            let mut newcomer = snapshot.clone();
            timed(&mut found.first, &snapshot, &mut orders)?;
            newcomer.nodes.insert(node(NODES)?, Node::default());
            timed(&mut found.joined, &newcomer, &mut orders)?;
            // Each time another one, and never the one that plans.
            let gone = node(1 + number % (NODES - 1))?;
            for (alive, times) in [(false, &mut found.lapsed), (true, &mut found.returned)] {
                snapshot.nodes.get_mut(&gone).context("a node")?.alive = alive;
                let planned = timed(times, &snapshot, &mut orders)?;
                if number == 0 {
                    let anew = Plan { owners: BTreeMap::new(), ..plan(&snapshot) };
                    ensure!(planned == anew, "the plan is another one from scratch");
                }
            }
        }
        Ok(found)
    }
}

fn timed(times: &mut Vec<f64>, snapshot: &Snapshot, orders: &mut Orders) -> Result<Plan> {
    let start = Instant::now();
    let plan = replan(snapshot, orders);
    times.push(start.elapsed().as_secs_f64() * 1e3);
    ensure!(plan.services.len() == snapshot.services.len(), "a Service has no verdict");
    Ok(plan)
}

fn node(number: u32) -> Result<NodeName> {
    Ok(NodeName::new(format!("node-{number}"))?)
}

fn snapshot(shape: Shape) -> Result<Snapshot> {
    let pool = RawPool {
        name: "all".to_owned(),
        addresses: vec!["198.18.0.0/15".to_owned(), "2001:db8::/64".to_owned()],
        ..RawPool::default()
    };
    let advertisement = RawAdvertisement { name: "all".to_owned(), ..RawAdvertisement::default() };
    let (config, problems) = Config::validate(&[pool], &[advertisement], &[]);
    ensure!(problems.is_empty(), "{problems:?}");
    let mut snapshot = Snapshot::alone(node(0)?);
    snapshot.config = Arc::new(config);
    snapshot.nodes = (0..NODES).map(|number| Ok((node(number)?, Node::default()))).collect::<Result<_>>()?;
    snapshot.links = vec![Link {
        id: LinkId(2),
        name: LinkName::new("eth0")?,
        mac: Some(Mac(mac(1))),
        up: true,
        carrier: true,
        enslaved: false,
        noarp: false,
        addresses: Vec::new(),
    }];
    let services = (0..SERVICES).map(|number| service(shape, number));
    snapshot.services = Arc::new(services.collect::<Result<BTreeMap<_, _>>>()?);
    Ok(snapshot)
}

fn service(shape: Shape, number: u32) -> Result<(ServiceKey, AnnouncedService)> {
    // In another order than the names: a million is no multiple of the step.
    let host = (number * 7919) % SERVICES + 1;
    let v4 = Ipv4Addr::from(u32::from(Ipv4Addr::new(198, 18, 0, 0)) + host);
    let v6 = u128::from(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0)) + u128::from(host);
    let both = [IpAddr::V4(v4), IpAddr::V6(Ipv6Addr::from(v6))];
    let on = (0..ENDPOINTS).map(|endpoint| node((number * 31 + endpoint * 17) % NODES));
    let service = AnnouncedService {
        ingress: if shape.dual { both.to_vec() } else { both[..1].to_vec() },
        external_traffic_policy: shape.policy,
        endpoints: Endpoints::on(on.collect::<Result<Vec<_>>>()?),
        ..AnnouncedService::default()
    };
    Ok((ServiceKey::new(format!("team-{}", number % 100), format!("web-{number}"))?, service))
}
