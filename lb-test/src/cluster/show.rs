//! A cluster that stands for a person to look at, and the proof that its Service is found.
#![expect(clippy::print_stdout, reason = "it speaks to a person")]

use std::time::Duration;

use anyhow::{Result, ensure};

use super::{Families, Site, SiteOptions};
use crate::interrupt::Interrupt;
use crate::lab::web::{fetch, host};
use crate::link::mac_text;

pub use self::pods::run as run_pods;

mod hints;
mod pods;

const LOOK: Duration = Duration::from_millis(500);

/// What the command line says.
#[derive(Clone, Debug)]
pub struct ShowOptions {
    /// End after the proof.
    pub once: bool,
    /// How many nodes.
    pub nodes: u8,
    /// Of everything in it.
    pub families: Families,
    /// `--grace` of the agents; those in pods have what the manifests say.
    pub grace: String,
}

/// Stands the cluster up, proves that it works and, unless told otherwise, stays until Ctrl-C. Everything it made is
/// gone when it returns.
pub fn run(options: &ShowOptions) -> Result<()> {
    let interrupt = Interrupt::block()?;
    println!("Starting etcd, an API server, a controller, and {} nodes with an agent each.", options.nodes);
    let mut site = Site::start_with(SiteOptions {
        nodes: options.nodes,
        families: options.families,
        grace: options.grace.clone(),
        ..SiteOptions::default()
    })?;
    interrupt.check()?;
    let owner = prove(&site)?;
    if options.once {
        println!("\nDone: each address was found, and served by the node that owns it.");
        return Ok(());
    }
    interrupt.check()?;
    hints::print(&site, owner)?;
    stay(&interrupt, &mut site);
    println!("\nRemoving the cluster.");
    Ok(())
}

/// Asks and fetches as the client; which node owns the addresses.
fn prove(site: &Site) -> Result<usize> {
    let owner = site.owner()?;
    let machine = &site.machines[owner];
    let mac = machine.cable.a.mac();
    println!("\nThe Service web has these addresses, and the client was answered by {}:", machine.name);
    for vip in site.vips() {
        println!("  {vip:<16} {}", mac_text(mac));
    }
    println!("\nThe client fetches pages; its kernel finds the addresses:");
    site.serves(&[owner])?;
    for vip in site.vips() {
        let page = fetch(site.client.a.namespace(), vip)?;
        println!("  {page}");
        let expected = format!("{} serves http://{}/ to ", machine.name, host(vip));
        ensure!(page.starts_with(&expected), "{} answers for {vip}, but the page is: {page}", machine.name);
    }
    site.is_said_to_be_of(Some(owner))?;
    Ok(owner)
}

/// Until Ctrl-C; says so when an agent ends, as the hints invite to kill one.
fn stay(interrupt: &Interrupt, site: &mut Site) {
    while !interrupt.wait(LOOK) {
        for (slot, machine) in site.agents.iter_mut().zip(&site.machines) {
            if let Some(agent) = slot.take_if(|agent| !agent.process().is_running()) {
                println!(
                    "\nThe agent of {} has ended. Its data plane answers on for the grace; another node follows when its \
                     Lease has run out. Start it again by\n  {}",
                    machine.name,
                    agent.command_line()
                );
            }
        }
    }
}
