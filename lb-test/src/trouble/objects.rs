//! Trouble that objects make.

use std::fmt::Write;
use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;

use super::agents::{NOTHING, returns};
use super::{Allowed, Case};
use crate::cluster::services::{advertisement, pool, service, slice};
use crate::cluster::{Controller, Site};

const SECOND: Duration = Duration::from_secs(1);
/// Services that are made at once.
const MANY: u16 = 1000;

pub(super) const CASES: &[Case] = &[
    Case {
        name: "many-services",
        what: "1,000 Services with an endpoint are made at once, get their addresses and are answered",
        allowed: NOTHING,
        why: "",
        grace: "6s",
        act: |site, _| many_services(site),
    },
    Case {
        name: "labels",
        what: "a label of the owner that an advertisement wants is taken and given ten times, twice a second",
        allowed: Allowed { silence: Duration::from_secs(3), both: Duration::from_secs(5), moves: 20 },
        why: "every change moves the address; both see it by watches of their own",
        grace: "6s",
        act: |site, owner| {
            let wanted = json!({"nodeSelectors": [{"matchLabels": {"announces": "yes"}}]});
            let names: Vec<String> = site.machines.iter().map(|machine| machine.name.clone()).collect();
            for name in &names {
                site.plane.kubectl(&["label", "node", name, "announces=yes"])?;
            }
            site.plane.apply_all(&[advertisement("all", wanted)])?;
            for round in 0..10 {
                let label = if round % 2 == 0 { "announces=no" } else { "announces=yes" };
                site.plane.kubectl(&["label", "node", &names[owner], label, "--overwrite"])?;
                thread::sleep(SECOND / 2);
            }
            returns(site, owner)
        },
    },
    Case {
        name: "node-deleted",
        what: "the Node of the owner is deleted while its agent lives, and made anew 5 s later",
        allowed: Allowed { silence: Duration::from_secs(3), both: Duration::from_secs(2), moves: 2 },
        why: "a node that is none owns nothing",
        grace: "6s",
        act: |site, owner| {
            let machine = &site.machines[owner];
            let addresses = machine.addresses();
            let name = machine.name.clone();
            site.plane.kubectl(&["delete", "node", &name])?;
            thread::sleep(5 * SECOND);
            site.plane.add_nodes(&[(&name, &addresses)])?;
            returns(site, owner)
        },
    },
    Case {
        name: "metallb",
        what: "MetalLB's speaker announces the Service too, for 5 s",
        allowed: Allowed { silence: Duration::from_secs(7), both: Duration::ZERO, moves: 0 },
        why: "BareLB leaves the address to it, and says so in an Event",
        grace: "6s",
        act: |site, owner| {
            site.plane.announce_as_metallb("web", "node-x")?;
            thread::sleep(5 * SECOND);
            site.plane.end_metallb()?;
            returns(site, owner)
        },
    },
    Case {
        name: "bad-objects",
        what: "a pool that is wrong, an advertisement of unknown pool and interface, an address of no pool",
        allowed: NOTHING,
        why: "",
        grace: "6s",
        act: |site, _| {
            let mut stray = service("stray", &json!({}), &json!({}));
            stray["spec"]["loadBalancerClass"] = json!("other");
            site.plane.apply_all(&[
                pool("wrong", &["192.0.2.0/16"]),
                advertisement("nowhere", json!({"ipAddressPools": ["none"], "interfaces": ["eth9"]})),
                stray,
            ])?;
            let ingress = json!({"loadBalancer": {"ingress": [{"ip": "203.0.113.7"}]}});
            site.plane.patch_status(&["service", "stray"], &ingress)?;
            thread::sleep(5 * SECOND);
            Ok(())
        },
    },
];

/// Makes them in one call each for Services and slices, and waits until every address is answered.
fn many_services(site: &Site) -> Result<()> {
    site.plane.apply_all(&[pool("many", &["10.77.0.0/20"])])?;
    let name = |number: u16| format!("many-{number:04}");
    let machine = &site.machines[0];
    let mut text = String::new();
    for number in 0..MANY {
        let annotations = json!({"metallb.io/address-pool": "many"});
        let endpoints = [(machine.name.as_str(), machine.addresses()[0])];
        writeln!(text, "---\n{}", service(&name(number), &annotations, &json!({})))?;
        writeln!(text, "---\n{}", slice(&name(number), "IPv4", 8080, &endpoints))?;
    }
    site.plane.feed(site.plane.admin(), &["create", "--filename=-"], &text)?;
    site.plane.wait_for(Controller::PATIENCE, "Services without an address or an owner", |plane| {
        let statuses = plane.get(&["servicel2statuses", "--namespace", "metallb-system"])?;
        let count = statuses["items"].as_array().map_or(0, Vec::len);
        ensure!(count > usize::from(MANY), "{count} Services are announced");
        Ok(Some(()))
    })?;
    let last = plane_address(site, &name(MANY - 1))?;
    site.owner_of(&[last]).map(drop)
}

fn plane_address(site: &Site, service: &str) -> Result<std::net::IpAddr> {
    let addresses = site.plane.addresses(service)?;
    let address = addresses.first().ok_or_else(|| anyhow::anyhow!("{service} has no address"))?;
    Ok(address.parse()?)
}
