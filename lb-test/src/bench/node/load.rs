//! What agents ask of the API server when nothing happens.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use anyhow::Result;

use super::bed::Bed;
use super::changes::web;
use crate::bench::document::{Goal, Page};

const AGENTS: u8 = 3;
const AGENT: &str = "system:serviceaccount:metallb-system:barelb-agent";
/// For what is said after a start.
const SETTLE: Duration = Duration::from_secs(30);

/// Adds the table and the goal.
pub(super) fn measure(page: &mut Page, time: Duration) -> Result<()> {
    let bed = Bed::new(AGENTS, &["192.0.2.100/32", "2001:db8::100/128"])?;
    let web = web("Cluster");
    for call in [web.create(), web.slice(), web.assign(true)] {
        bed.api.call(&call)?;
    }
    let agents = (0..usize::from(AGENTS)).map(|number| bed.agent(number, &[])).collect::<Result<Vec<_>>>()?;
    thread::sleep(SETTLE);
    let mut log = bed.plane.audit_from_now()?;
    thread::sleep(time);
    let mut counts: BTreeMap<(String, String), u32> = BTreeMap::new();
    for request in log.read()?.into_iter().filter(|request| request.user == AGENT) {
        let slash = if request.subresource.is_empty() { "" } else { "/" };
        let resource = format!("{}{slash}{}", request.resource, request.subresource);
        *counts.entry((request.verb, resource)).or_default() += 1;
    }
    agents.into_iter().try_for_each(crate::cluster::NodeAgent::stop)?;

    let minutes = f64::from(AGENTS) * time.as_secs_f64() / 60.0;
    let seconds = time.as_secs();
    page.add(&format!("\n## When nothing happens, {AGENTS} agents over {seconds} s\n"));
    let row = |((verb, resource), count): (&(String, String), &u32)| {
        vec![verb.clone(), resource.clone(), count.to_string(), format!("{:.2}", f64::from(*count) / minutes)]
    };
    page.table(&["verb", "resource", "requests", "per agent and minute"], counts.iter().map(row));
    let is_renewal = |verb: &str, resource: &str| verb == "patch" && resource == "leases";
    let renewals: u32 = counts.iter().filter(|((v, r), _)| is_renewal(v, r)).map(|(_, count)| count).sum();
    let is_other = |verb: &str, resource: &str| verb != "watch" && !is_renewal(verb, resource);
    let others: u32 = counts.iter().filter(|((v, r), _)| is_other(v, r)).map(|(_, count)| count).sum();
    let watches: u32 = counts.iter().filter(|((verb, _), _)| verb == "watch").map(|(_, count)| count).sum();
    let [renewals, watches] = [renewals, watches].map(|count| f64::from(count) / minutes);
    page.goals.push(Goal {
        text: "steady state: one write of the Lease in 10 s per agent, and nothing else asked but watches begun anew"
            .to_owned(),
        measured: format!("{renewals:.2} renewals and {watches:.2} watches in a minute, {others} other requests"),
        // One more or less at the edges of the time.
        met: others == 0 && (renewals - 6.0).abs() <= f64::from(AGENTS) / minutes,
        tried: "",
    });
    Ok(())
}
