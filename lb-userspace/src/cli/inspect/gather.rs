//! From the maps, the pins and the agent to the report.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use lb_core::plan::EntryState;

use super::report::{Report, Row};
use crate::agent::state::{GET_STATE, SOCKET, State};
use crate::dataplane::ebpf::{Pins, View};
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
    let names: BTreeMap<u32, String> =
        links::list().unwrap_or_default().into_iter().map(|(index, link)| (index, link.name)).collect();
    let mut entries = Vec::new();
    for (target, row) in view.table.read()?.rows {
        if !addresses.is_empty() && !addresses.contains(&target.ip) {
            continue;
        }
        let counts = view.counters.slot(row.slot)?;
        let seen = (counts.last_seen_ns > 0).then(|| now_ns.saturating_sub(counts.last_seen_ns) / 1_000_000);
        entries.push(Row {
            ip: target.ip,
            link: target.link.0,
            interface: names.get(&target.link.0).cloned().unwrap_or_default(),
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
    Ok(Report {
        valid_for_ms: milliseconds(view.agent()?.valid_until_ns) - milliseconds(now_ns),
        max_vips: view.max_vips,
        map_bytes: view.kernel_memory(),
        entries,
        outcomes: view.counters.outcomes()?,
        pins: pinned(pins),
        agent,
    })
}

fn milliseconds(ns: u64) -> i64 {
    i64::try_from(ns / 1_000_000).unwrap_or(i64::MAX)
}

fn pinned(pins: &Pins) -> Vec<String> {
    let links = pins.links().into_iter().map(|link| pins.link(link));
    links.chain(pins.sets()).map(|path| path.display().to_string()).collect()
}
