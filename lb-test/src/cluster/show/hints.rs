//! What to try while the cluster stands, as commands that can be pasted.

use std::net::IpAddr;

use anyhow::Result;

use crate::cluster::{ControlPlane, Machine, Site, programs};
use crate::lab::web::host;
use crate::link::Veth;

/// Something to try.
pub(super) struct Hint {
    pub(super) what: &'static str,
    pub(super) commands: Vec<String>,
}

pub(super) fn print(site: &Site, owner: usize) -> Result<()> {
    println!("\nThe cluster stands until Ctrl-C. Things to try from another terminal, as root:");
    println!("\nWith kubectl (kubeconfig: {}):", site.plane.admin().kubeconfig().display());
    show(&Hint { what: "kubectl where the API server is reached", commands: vec![kubectl(&site.plane)?] });
    with_kubectl(&site.machines[owner]).iter().for_each(show);
    println!("\nAs the client:");
    as_client(&site.client, &site.vips()).iter().for_each(show);
    for machine in &site.machines {
        println!("\nOn {} (log: {}):", machine.name, machine.files.log_file().display());
        on_node(site, machine).iter().for_each(show);
    }
    Ok(())
}

pub(super) fn show(hint: &Hint) {
    println!("  {}:", hint.what);
    hint.commands.iter().for_each(|command| println!("    {command}"));
}

pub(super) fn kubectl(plane: &ControlPlane) -> Result<String> {
    let (namespace, program) = (plane.namespace().name(), programs::find("kubectl")?);
    let kubeconfig = plane.admin().kubeconfig().display();
    Ok(format!("k() {{ ip netns exec {namespace} {} --kubeconfig {kubeconfig} \"$@\"; }}", program.display()))
}

fn with_kubectl(owner: &Machine) -> Vec<Hint> {
    let exclude =
        format!("k label node {} node.kubernetes.io/exclude-from-external-load-balancers", owner.name);
    let lines = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect();
    vec![
        Hint {
            what: "what is there, and which node announces it",
            commands: lines(&[
                "k get nodes,services,endpointslices",
                "k get ipaddresspools,l2advertisements,l2status,configurationstates -n metallb-system",
                "k get leases -n metallb-system",
                "k describe service web",
            ]),
        },
        Hint {
            what: "another Service gets an address; nobody answers, because it has no endpoints",
            commands: lines(&[
                "k create service loadbalancer shop --tcp=80:8080",
                "k get service shop",
                "k delete service shop",
            ]),
        },
        Hint {
            what: "let another node own the addresses, and this one again",
            commands: vec![format!("{exclude}=true"), format!("{exclude}-")],
        },
    ]
}

pub(super) fn as_client(client: &Veth, vips: &[IpAddr]) -> Vec<Hint> {
    let client = client.a.namespace().name();
    let inside = |command: &str| format!("ip netns exec {client} {command}");
    let ask = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => inside(&format!("arping -I eth0 -c 3 {ip}")),
        IpAddr::V6(ip) => inside(&format!("ndisc6 -1 {ip} eth0")),
    };
    let fetch = |ip: IpAddr| inside(&format!("curl -sS 'http://{}/'", host(ip)));
    vec![
        Hint { what: "ask as its kernel does", commands: vips.iter().copied().map(ask).collect() },
        Hint { what: "fetch a page", commands: vips.iter().copied().map(fetch).collect() },
        Hint {
            what: "what its kernel has found",
            commands: vec![format!("ip -n {client} neighbour show dev eth0")],
        },
    ]
}

fn on_node(site: &Site, machine: &Machine) -> Vec<Hint> {
    let mut agents = site.agents.iter().zip(&site.machines);
    let agent = agents.find_map(|(agent, one)| agent.as_ref().filter(|_| one.name == machine.name));
    let mut hints = vec![
        Hint { what: "what it answers, for whom, until when", commands: vec![machine.inspect_line(&[])] },
        Hint {
            what: "what kube-proxy has made of the Services",
            commands: vec![format!(
                "ip netns exec {} nft list table ip kube-proxy",
                machine.cable.a.namespace().name()
            )],
        },
    ];
    if let Some(agent) = agent {
        hints.push(Hint {
            what: "kill its agent: answers go on for the grace, then another node follows",
            commands: vec![format!("kill -9 {}", agent.process_ref().pid())],
        });
    }
    hints
}
