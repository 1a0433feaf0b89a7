//! The lab: two nodes and a client in network namespaces, and the proof that an address is found.
//!
//! ```text
//!   node-a            node-b            client
//!   agent, web        agent, web        asks, fetches
//!   eth0 (XDP)        eth0 (XDP)        eth0
//!     |                 |                 |
//!   port-a (pass)     port-b (pass)     port-c
//!   ───────────────── br0 ─────────────────      switch
//! ```
//!
//! Both agents read the same manifests (`manifests/examples/lab`), so they agree which of them owns an address.
//! A table of nftables on each node stands in for kube-proxy.
#![expect(clippy::print_stdout, reason = "the lab is a demonstration: it speaks to a person")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::agent::{self, Agent, AgentConfig};
use crate::interrupt::Interrupt;
use crate::rig;

use self::proof::Vips;
use self::topology::{Node, Topology};

mod hints;
mod proof;
mod topology;
pub mod web;

/// How long an agent may take until every Service has its addresses.
const READY: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(500);

/// What the command line says.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// End after the proof.
    pub once: bool,
    /// The binary; see [`agent::barelb`].
    pub barelb: Option<PathBuf>,
    /// The object with `rig_pass`; see [`rig::rig_object`].
    pub rig: Option<PathBuf>,
}

/// Builds the lab, proves that it works and, unless told otherwise, stays until Ctrl-C. Everything it made is
/// gone when it returns.
pub fn run(options: &Options) -> Result<()> {
    let interrupt = Interrupt::block()?;
    let binary = options.barelb.clone().map_or_else(agent::barelb, Ok)?;
    // Namespaces and bpffs are entered from other folders than the caller's.
    let binary = fs::canonicalize(&binary)
        .with_context(|| format!("no binary at {}: `cargo xtask build` makes one", binary.display()))?;
    let rig = options.rig.clone().unwrap_or_else(rig::rig_object);
    println!("Building two nodes and a client in network namespaces.");
    let topology = Topology::new(&rig)?;
    interrupt.check()?;
    let manifests = rig::workspace().join("manifests/examples/lab");
    println!("Starting an agent on each node: {}", binary.display());
    println!("It reads copies of {}.", manifests.display());
    let mut agents = Vec::new();
    for node in topology.nodes() {
        agents.push(Agent::start(&configuration(node, &manifests, &binary)?)?);
    }
    let vips = wait_for_addresses(&mut agents)?;
    interrupt.check()?;
    for node in topology.nodes() {
        node.forward_to_web(&vips.addresses())?;
    }
    proof::run(&topology, &agents, &vips)?;
    if options.once {
        println!("\nDone: every address was found and served by the node that owns it.");
        return Ok(());
    }
    hints::print(&topology, &agents, &vips);
    stay(&interrupt, &mut agents);
    println!("\nRemoving the lab.");
    Ok(())
}

fn configuration(node: &Node, manifests: &Path, binary: &Path) -> Result<AgentConfig> {
    let folder = node.manifests();
    fs::create_dir_all(&folder)?;
    let files =
        fs::read_dir(manifests).with_context(|| format!("no manifests in {}", manifests.display()))?;
    for file in files {
        let path = file?.path();
        fs::copy(&path, folder.join(path.file_name().unwrap_or_default()))?;
    }
    Ok(AgentConfig {
        namespace: node.namespace().clone(),
        interface: node.interface().name().to_owned(),
        node: node.name().to_owned(),
        manifests: folder,
        bpffs: node.bpffs().to_owned(),
        state: node.state(),
        mode: "native".to_owned(),
        grace: None,
        extra: Vec::new(),
        binary: binary.to_owned(),
    })
}

/// Waits until every Service has an address of each family on each node, and makes sure that the nodes agree.
fn wait_for_addresses(agents: &mut [Agent]) -> Result<Vips> {
    let dual = |agent: &Agent| {
        let ingress = agent.ingress();
        ingress.len() >= 2 && ingress.values().all(|addresses| addresses.len() == 2)
    };
    for agent in agents.iter_mut() {
        agent.wait_until(READY, "not every Service has an address of each family", dual)?;
    }
    let [first, second] = [agents[0].ingress(), agents[1].ingress()];
    ensure!(first == second, "the nodes assigned different addresses: {first:?} and {second:?}");
    Ok(Vips(first))
}

/// Until Ctrl-C; says so when an agent ends, as the hints invite to kill one.
fn stay(interrupt: &Interrupt, agents: &mut [Agent]) {
    let mut running = vec![true; agents.len()];
    while !interrupt.wait(LOOK) {
        for (agent, running) in agents.iter_mut().zip(&mut running) {
            if *running && !agent.process().is_running() {
                *running = false;
                println!(
                    "\nThe agent of {} has ended. Its data plane answers on for the grace (60s by default). Start it again by\n  {}",
                    agent.config().node,
                    agent.config().command_line()
                );
            }
        }
    }
}
