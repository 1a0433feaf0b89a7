//! Ten thousand further addresses, all of them on the node that is first in order.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lb_core::election::{RankKey, order};
use lb_core::ids::NodeName;
use serde_json::json;

use super::System;
use crate::bench::node::api::{Api, Call};
use crate::client::{ProbeClient, ProbeConfig, Report};
use crate::cluster::Site;
use crate::cluster::services::{pool, service, slice};

/// Addresses of each family.
const PAIRS: usize = 5000;
/// Argument of the agents: room for all of them.
pub(super) const ROOM: [&str; 2] = ["--max-vips", "32768"];
/// Ranges they are of, three nodes sharing each.
const V4: Ipv4Addr = Ipv4Addr::new(10, 64, 0, 0);
const V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0);
const POOL: [&str; 2] = ["10.64.0.0/16", "2001:db8:1::/112"];
/// Of those that are asked for again and again, in each family.
const SAMPLE: usize = 50;
/// Between two requests for an address of the sample.
pub(super) const PACE: Duration = Duration::from_millis(4);
/// Requests a second when each is asked for once.
const SWEEP: u32 = 5000;
/// For all of them to be answered.
const PATIENCE: Duration = Duration::from_mins(10);
/// Nothing is written for so long when all is said.
const QUIET: Duration = Duration::from_secs(5);
const AGENT: &str = "system:serviceaccount:metallb-system:barelb-agent";

/// That many pairs, an address of each family, of which this node is first.
pub(super) fn pairs_of(names: &[NodeName], first: &NodeName) -> Result<Vec<[IpAddr; 2]>> {
    let is_first =
        |ip: &IpAddr| order(names.iter().map(|name| (name, 0)), &RankKey::new(*ip)).first() == Some(&first);
    let v4 = (1..=u32::from(u16::MAX)).map(|host| IpAddr::from(Ipv4Addr::from_bits(V4.to_bits() + host)));
    let v6 = (1..=u128::from(u16::MAX)).map(|host| IpAddr::from(Ipv6Addr::from_bits(V6.to_bits() + host)));
    let pairs = v4.filter(is_first).zip(v6.filter(is_first)).map(|(v4, v6)| [v4, v6]);
    let pairs: Vec<_> = pairs.take(PAIRS).collect();
    ensure!(pairs.len() == PAIRS, "only {} pairs of addresses belong to {first}", pairs.len());
    Ok(pairs)
}

/// Makes a Service for each pair, with an endpoint on each node.
pub(super) fn add_services(site: &Site, pairs: &[[IpAddr; 2]]) -> Result<()> {
    site.plane.apply_all(&[pool("crowd", &POOL)])?;
    let api = Api::start(&site.plane)?;
    let row = |(number, pair): (usize, &[IpAddr; 2])| {
        let name = format!("crowd-{number}");
        let wish = pair.map(|ip| ip.to_string()).join(",");
        // Not Local, and without node ports: a cluster has 2,768 ports for each.
        let spec = json!({"ipFamilyPolicy": "RequireDualStack", "allocateLoadBalancerNodePorts": false});
        let service = service(&name, &json!({"metallb.io/loadBalancerIPs": wish}), &spec);
        let slices = ["IPv4", "IPv6"].into_iter().enumerate().map(|(place, family)| {
            let nodes = site.machines.iter().map(|one| (one.name.as_str(), one.addresses()[place]));
            let slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
            Call::create(slices, slice(&name, family, 8080, &nodes.collect::<Vec<_>>()))
        });
        let service = Call::create("/api/v1/namespaces/default/services", service);
        std::iter::once(service).chain(slices).collect::<Vec<_>>()
    };
    api.call_all(&pairs.iter().enumerate().map(row).collect::<Vec<_>>())
}

/// Waits until the agents have said all they have to say.
pub(super) fn rest(site: &Site) -> Result<()> {
    let (mut log, deadline) = (site.plane.audit_from_now()?, Instant::now() + PATIENCE);
    loop {
        std::thread::sleep(QUIET);
        if log.writes_of(AGENT)?.iter().all(|write| write.resource == "leases") {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "the agents still write after {PATIENCE:?}");
    }
}

/// Those that are asked for again and again: evenly of all, the first and the last among them.
pub(super) fn sample(crowd: &[IpAddr]) -> Vec<IpAddr> {
    let (all_v4, all_v6): (Vec<IpAddr>, Vec<IpAddr>) = crowd.iter().partition(|ip| ip.is_ipv4());
    let some = |all: Vec<IpAddr>| {
        let last = all.len().saturating_sub(1);
        (0..SAMPLE).filter_map(move |number| all.get(number * last / (SAMPLE - 1)).copied())
    };
    some(all_v4).zip(some(all_v6)).flat_map(|(v4, v6)| [v4, v6]).collect()
}

impl dyn System + '_ {
    /// Asks for each further address once.
    pub(super) fn sweep(&self) -> Result<Report> {
        let targets = self.crowd().to_vec();
        let long = Duration::from_secs(1) * u32::try_from(targets.len())? / SWEEP;
        let config = ProbeConfig { targets, per_second: SWEEP };
        ProbeClient::start_from_few(self.client(), config)?.run_for(long + Duration::from_millis(100))
    }

    /// Waits until this node answers for all further addresses.
    pub(super) fn is_crowded(&self, node: usize) -> Result<()> {
        let (mac, deadline) = (self.mac(node)?, Instant::now() + PATIENCE);
        loop {
            let report = self.sweep()?;
            if report.missing.is_empty() && report.by_mac.keys().eq([&mac]) {
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "not all addresses are with node {node}: {}",
                report.summary()
            );
        }
    }

    /// An error unless every further address is answered, and by none of these nodes.
    pub(super) fn has_left(&self, nodes: &[[u8; 6]]) -> Result<()> {
        let report = self.sweep().context("asking for every address")?;
        let is_away = nodes.iter().all(|mac| !report.by_mac.contains_key(mac));
        ensure!(report.missing.is_empty() && is_away, "not all addresses have moved: {}", report.summary());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowd_belongs_to_its_node_and_its_sample_spans_it() {
        let names = ["node-a", "node-b", "node-c"].map(|name| NodeName::new(name).unwrap());
        let pairs = pairs_of(&names, &names[1]).unwrap();
        for ip in pairs.iter().flatten() {
            assert_eq!(order(names.iter().map(|name| (name, 0)), &RankKey::new(*ip))[0], &names[1]);
        }
        let crowd = pairs.concat();
        assert_eq!(crowd.len(), 10_000);
        let some = sample(&crowd);
        assert_eq!((some.len(), some[0], some[99]), (100, crowd[0], crowd[9999]));
        assert!(
            some.iter().step_by(2).all(IpAddr::is_ipv4)
                && some.iter().skip(1).step_by(2).all(IpAddr::is_ipv6)
        );
    }
}
