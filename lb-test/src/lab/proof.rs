//! What the lab proves: each address is answered by exactly one node, and that node serves it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::topology::{Node, Topology};
use super::web;
use crate::agent::Agent;
use crate::client::{ProbeClient, ProbeConfig, Report};
use crate::link::mac_text;

const PROBE: Duration = Duration::from_secs(1);
const PROBES_PER_SECOND: u32 = 200;

/// The addresses of each Service, `namespace.name` as the agents name their status files.
#[derive(Debug)]
pub(super) struct Vips(pub(super) BTreeMap<String, Vec<IpAddr>>);

impl Vips {
    pub(super) fn addresses(&self) -> Vec<IpAddr> {
        self.0.values().flatten().copied().collect()
    }

    /// The first address of each family.
    pub(super) fn first_pair(&self) -> impl Iterator<Item = IpAddr> {
        let addresses = self.addresses();
        let v4 = addresses.iter().find(|ip| ip.is_ipv4()).copied();
        let v6 = addresses.iter().find(|ip| ip.is_ipv6()).copied();
        v4.into_iter().chain(v6)
    }
}

/// Runs every part of the proof and prints what it saw.
pub(super) fn run(topology: &Topology, agents: &[Agent], vips: &Vips) -> Result<()> {
    mode(topology)?;
    let owners = owners(topology, vips)?;
    pages(topology, vips, &owners)?;
    neighbours(topology, &owners)?;
    counters(topology, agents)
}

fn mode(topology: &Topology) -> Result<()> {
    for node in topology.nodes() {
        let shown = node.namespace().ip(&["link", "show", "dev", node.interface().name()])?;
        ensure!(
            shown.split_whitespace().any(|word| word == "xdp"),
            "there is no native XDP program on {} of {}: {shown}",
            node.interface().name(),
            node.name()
        );
    }
    println!(
        "\nMode: native XDP on eth0 of both nodes. A veth loses what XDP sends back unless its other end runs a"
    );
    println!(
        "program too, so the switch's ends carry one that passes everything; VLAN offload is off on all ends."
    );
    Ok(())
}

/// Which node answers for each address: asked raw, by ARP and neighbour solicitation.
fn owners<'a>(topology: &'a Topology, vips: &Vips) -> Result<BTreeMap<IpAddr, &'a Node>> {
    let config = ProbeConfig { targets: vips.addresses(), per_second: PROBES_PER_SECOND };
    let report = ProbeClient::start(topology.client(), config)?.run_for(PROBE)?;
    let outcome = report.assert_complete();
    outcome.with_context(|| format!("the client asked for every address: {}", report.summary()))?;
    println!(
        "\nThe client asked {} times in {:.0?}; each time exactly one node answered:",
        report.sent, PROBE
    );
    let mut owners = BTreeMap::new();
    for (service, addresses) in &vips.0 {
        for &address in addresses {
            let mac = only_mac(&report, address)?;
            let owner = topology.node_of(mac);
            let owner =
                owner.with_context(|| format!("{address} is answered by {}, no node", mac_text(mac)))?;
            println!("  {address:<16} {} {} (Service {service})", mac_text(mac), owner.name());
            owners.insert(address, owner);
        }
        let names: Vec<_> = addresses.iter().map(|address| owners[address].name()).collect();
        ensure!(
            names.windows(2).all(|pair| pair[0] == pair[1]),
            "the addresses of {service} belong to different nodes: {names:?}"
        );
    }
    Ok(owners)
}

fn only_mac(report: &Report, address: IpAddr) -> Result<[u8; 6]> {
    let of_address = report.requests.iter().filter(|request| request.target == address);
    let mut macs: Vec<_> = of_address.filter_map(|request| Some(request.answer?.mac)).collect();
    macs.dedup();
    ensure!(macs.len() == 1, "{address} was answered by {} stations in turn", macs.len());
    Ok(macs[0])
}

fn pages(topology: &Topology, vips: &Vips, owners: &BTreeMap<IpAddr, &Node>) -> Result<()> {
    println!("\nThe client fetches pages; its kernel finds the addresses:");
    for address in vips.addresses() {
        let page = web::fetch(topology.client().namespace(), address)?;
        println!("  {page}");
        let owner = owners[&address].name();
        let expected = format!("{owner} serves http://{}/ to ", web::host(address));
        ensure!(page.starts_with(&expected), "{owner} answers for {address}, but the page is: {page}");
    }
    Ok(())
}

fn neighbours(topology: &Topology, owners: &BTreeMap<IpAddr, &Node>) -> Result<()> {
    let table = topology.client().neighbours()?;
    println!("\nThe client's neighbour table, ARP and neighbour discovery:");
    for line in table.lines() {
        println!("  {line}");
    }
    for (address, owner) in owners {
        let (address, mac) = (address.to_string(), mac_text(owner.interface().mac()));
        let learned = table.lines().any(|line| {
            let mut words = line.split_whitespace();
            words.next() == Some(&address) && words.any(|word| word == mac)
        });
        ensure!(
            learned,
            "the client's neighbour table does not give {mac} of {} for {address}",
            owner.name()
        );
    }
    Ok(())
}

fn counters(topology: &Topology, agents: &[Agent]) -> Result<()> {
    for (node, agent) in topology.nodes().iter().zip(agents) {
        println!("\nbarelb inspect on {}:", node.name());
        for line in agent.inspect(&[])?.lines() {
            println!("  {line}");
        }
    }
    Ok(())
}
