//! From the maps, the pins and the agent to the report.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use lb_core::ids::LinkId;
use lb_core::plan::EntryState;

use super::report::{Link, Member, Reflector, Report, Row};
use crate::agent::state::{GET_STATE, SOCKET, State};
use crate::dataplane::Reflection;
use crate::dataplane::ebpf::{Pinned, Pins, View, kernel_memory, pinned};
use crate::net::links;

/// How long an agent may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Longest answer that is read.
const LONGEST: u64 = 256 << 20;

/// What the agent says; nothing when none answers.
pub(super) fn state(state_dir: &Path) -> Option<State> {
    let mut stream = UnixStream::connect(state_dir.join(SOCKET)).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    writeln!(stream, "{GET_STATE}").ok()?;
    let mut line = String::new();
    BufReader::new(stream.take(LONGEST)).read_line(&mut line).ok()?;
    serde_json::from_str(&line).ok()
}

/// The report at `now_ns` of `CLOCK_BOOTTIME`.
pub(super) fn report(
    view: &View,
    pins: &Pins,
    agent: Option<State>,
    addresses: &[IpAddr],
    now_ns: u64,
) -> Result<Report> {
    let present = links::list().context("listing the interfaces")?;
    let wanted = |ip: &IpAddr| addresses.is_empty() || addresses.contains(ip);
    let mut entries = Vec::new();
    for (target, (row, counts)) in
        view.counted(|_| true)?.into_iter().filter(|(target, _)| wanted(&target.ip))
    {
        let seen = (counts.last_seen_ns > 0).then(|| now_ns.saturating_sub(counts.last_seen_ns) / 1_000_000);
        entries.push(Row {
            ip: target.ip,
            link: target.link.0,
            interface: present.get(&target.link.0).map(|link| link.name.clone()).unwrap_or_default(),
            vlans: target.vlans.to_string(),
            mac: row.entry.mac.to_string(),
            state: match row.entry.state {
                EntryState::Answer => "answer",
                EntryState::Standby => "standby",
            },
            slot: row.slot,
            counts,
            last_seen_ms: seen,
        });
    }
    entries.sort_by_key(|row| (row.ip, row.link));
    let has_entry = |ip: &&IpAddr| entries.iter().any(|row| row.ip == **ip);
    let (reflectors, members) = reflected(&view.reflection()?, &present);
    let said = view.agent()?;
    let without_entry = addresses.iter().filter(|ip| !has_entry(ip)).copied().collect();
    Ok(Report {
        valid_for_ms: milliseconds(said.valid_until_ns) - milliseconds(now_ns),
        now_ns,
        max_vips: view.max_vips,
        map_bytes: kernel_memory(pins.root()),
        entries,
        reflectors,
        members,
        epoch: said.epoch,
        outcomes: view.counters.outcomes()?,
        links: pinned(pins).into_iter().map(|(id, pin)| attached(id, pin, pins, &present)).collect(),
        maps: pins.sets().iter().map(|path| path.display().to_string()).collect(),
        without_entry,
        agent,
    })
}

/// All of it, whatever addresses were asked for: own ones and other nodes' are none that Services have.
fn reflected(reflection: &Reflection, present: &BTreeMap<u32, links::Link>) -> (Vec<Reflector>, Vec<Member>) {
    let name = |link: u32| present.get(&link).map(|link| link.name.clone()).unwrap_or_default();
    let reflectors = reflection.own.iter().map(|((link, ip), said)| Reflector {
        ip: *ip,
        link: link.0,
        interface: name(link.0),
        discriminator: said.discriminator,
        state: if said.up { "up" } else { "admin down" },
    });
    let members = reflection.members.iter().map(|((link, ip), mac)| Member {
        ip: *ip,
        link: link.0,
        interface: name(link.0),
        mac: mac.to_string(),
    });
    (reflectors.collect(), members.collect())
}

fn milliseconds(ns: u64) -> i64 {
    i64::try_from(ns / 1_000_000).unwrap_or(i64::MAX)
}

fn attached(id: LinkId, pin: Option<Pinned>, pins: &Pins, present: &BTreeMap<u32, links::Link>) -> Link {
    let link = present.get(&id.0);
    Link {
        index: id.0,
        interface: link.map(|link| link.name.clone()).unwrap_or_default(),
        mode: link.zip(pin).and_then(|(link, pin)| pin.mode(link.xdp)),
        program: pin.map(|pin| pin.program),
        allmulti: link.is_some_and(|link| link.state.allmulti),
        pin: pins.link(id).display().to_string(),
    }
}
