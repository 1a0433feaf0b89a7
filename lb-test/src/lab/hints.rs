//! What to try while the lab is up, as commands that can be pasted.

use std::net::IpAddr;

use super::proof::Vips;
use super::topology::Topology;
use super::web;
use crate::agent::Agent;

pub(super) fn print(topology: &Topology, agents: &[Agent], vips: &Vips) {
    let client = topology.client().namespace().name();
    let addresses = vips.addresses();
    let (Some(v4), Some(v6)) =
        (addresses.iter().find(|ip| ip.is_ipv4()), addresses.iter().find(|ip| ip.is_ipv6()))
    else {
        return;
    };
    println!("\nThe lab is up until Ctrl-C. Things to try from another terminal, as root:");
    let inside = format!("ip netns exec {client}");
    item("ask by ARP", &[format!("{inside} arping -I eth0 -c 3 {v4}")]);
    item("fetch a page", &[*v4, *v6].map(|ip: IpAddr| format!("{inside} curl http://{}/", web::host(ip))));
    item(
        "forget and find again",
        &[
            format!("ip -n {client} neighbour flush dev eth0"),
            format!("{inside} ping -c 1 -W 1 {v6}; ip -n {client} neighbour"),
        ],
    );
    for (node, agent) in topology.nodes().iter().zip(agents) {
        let config = agent.config();
        let bpffs = node.bpffs().display();
        println!("\n  {}: agent process {}, log {}", node.name(), agent.pid(), config.log_file().display());
        item("its entries and counters", &[config.inspect_line()]);
        item(
            "its maps, raw",
            &[
                format!("bpftool map dump pinned {bpffs}/barelb/v1/VIPS_V4"),
                format!("bpftool map dump pinned {bpffs}/barelb/v1/VIPS_V6"),
            ],
        );
        item("its manifests: change a file and look again", &[config.manifests.display().to_string()]);
        item("kill its agent: answers go on for the grace", &[format!("kill -9 {}", agent.pid())]);
    }
}

fn item(what: &str, commands: &[String]) {
    println!("  {what}:");
    for command in commands {
        println!("    {command}");
    }
}
