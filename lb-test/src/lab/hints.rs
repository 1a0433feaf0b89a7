//! What to try while the lab is up, as commands that can be pasted.

use std::net::IpAddr;

use super::proof::Vips;
use super::topology::Topology;
use super::web;
use crate::agent::Agent;

/// Something to try.
struct Hint {
    what: &'static str,
    commands: Vec<String>,
}

pub(super) fn print(topology: &Topology, agents: &[Agent], vips: &Vips) {
    println!("\nThe lab is up until Ctrl-C. Things to try from another terminal, as root:");
    println!("\nAs the client:");
    as_client(topology, vips).iter().for_each(show);
    for agent in agents {
        let config = agent.config();
        println!("\nOn {} (log: {}):", config.node, config.log_file().display());
        on_node(agent, vips).iter().for_each(show);
    }
    println!("\nOn both nodes:");
    show(&removal(topology, agents, vips));
}

fn show(hint: &Hint) {
    println!("  {}:", hint.what);
    hint.commands.iter().for_each(|command| println!("    {command}"));
}

fn as_client(topology: &Topology, vips: &Vips) -> Vec<Hint> {
    let client = topology.client().namespace().name();
    let inside = |command: &str| format!("ip netns exec {client} {command}");
    let curl = |ip: IpAddr| inside(&format!("curl -sS 'http://{}/'", web::host(ip)));
    let ask = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => inside(&format!("arping -I eth0 -c 3 {ip}")),
        IpAddr::V6(ip) => inside(&format!("ndisc6 -1 {ip} eth0")),
    };
    let pair = vips.first_pair();
    vec![
        Hint { what: "ask by ARP and by neighbour discovery", commands: pair.map(ask).collect() },
        Hint { what: "fetch a page", commands: vips.first_pair().map(curl).collect() },
        Hint {
            what: "forget the addresses and find them again",
            commands: [format!("ip -n {client} neighbour flush dev eth0")]
                .into_iter()
                .chain(vips.first_pair().map(curl))
                .chain([format!("ip -n {client} neighbour")])
                .collect(),
        },
    ]
}

fn on_node(agent: &Agent, vips: &Vips) -> Vec<Hint> {
    let config = agent.config();
    let traced = vips.first_pair().next().map(|ip| ip.to_string()).unwrap_or_default();
    let map = |name| format!("bpftool map dump pinned {}/barelb/v1/{name}", config.bpffs.display());
    vec![
        Hint {
            what: "what it answers, for whom, until when",
            commands: vec![config.look_line("inspect", &[])],
        },
        Hint { what: "is it fit", commands: vec![config.look_line("check", &["--interface", "eth0"])] },
        Hint {
            what: "follow requests until the third; ask as the client meanwhile",
            commands: vec![config.look_line("trace", &[&traced, "--count", "3"])],
        },
        Hint { what: "its maps, raw", commands: vec![map("VIPS_V4"), map("VIPS_V6")] },
        Hint {
            what: "kill its agent: answers go on for the grace, 60 s; then ask again",
            commands: vec![format!("kill -9 {}", agent.pid())],
        },
    ]
}

/// Takes the last Service out of the manifests; each node has a copy.
fn removal(topology: &Topology, agents: &[Agent], vips: &Vips) -> Hint {
    let files: Vec<_> = agents
        .iter()
        .map(|agent| agent.config().manifests.join("services.yaml").display().to_string())
        .collect();
    let client = topology.client().namespace().name();
    let gone =
        vips.addresses().into_iter().rfind(IpAddr::is_ipv4).map(|ip| ip.to_string()).unwrap_or_default();
    Hint {
        what: "take the second Service away: nobody answers for it any more",
        commands: vec![
            format!("sed -i '/^---/,$d' {}", files.join(" ")),
            format!("ip netns exec {client} arping -I eth0 -c 3 {gone}"),
        ],
    }
}
