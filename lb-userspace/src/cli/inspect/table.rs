//! The report for people: tables without borders, upper-case headers.

use std::fmt::Write;

use comfy_table::Table;

use super::report::{Link, Report, Row};
use crate::agent::state::{LinkState, State};
use crate::cli::sessions;
use crate::cli::table::{lines, plain};
use crate::dataplane::Mode;

/// All of it as text.
pub(super) fn text(report: &Report, wide: bool) -> String {
    let mut text = String::new();
    // Writing to a string can't fail.
    write(&mut text, report, wide).unwrap_or_default();
    text
}

fn write(text: &mut String, report: &Report, wide: bool) -> std::fmt::Result {
    summary(text, report)?;
    if !report.entries.is_empty() {
        writeln!(text, "\n{}", lines(&entries(&report.entries, wide)))?;
    }
    for ip in &report.without_entry {
        writeln!(text, "no entry for {ip}: this node neither answers nor stands by for it")?;
    }
    reflection(text, report, wide)?;
    if !report.outcomes.is_empty() {
        let mut table = plain(&["OUTCOME", "FRAMES"]);
        for (name, count) in &report.outcomes {
            table.add_row([(*name).to_owned(), count.to_string()]);
        }
        writeln!(text, "\n{}", lines(&table))?;
    }
    links(text, report, wide)?;
    if wide {
        writeln!(text, "\nMAPS")?;
        report.maps.iter().try_for_each(|folder| writeln!(text, "{folder}"))?;
    }
    match &report.agent {
        Some(state) => agent(text, state, report.now_ns, wide),
        None => writeln!(
            text,
            "\nNO AGENT answers: Services, groups and problems are not known. Is it running, and is this its --state-dir?"
        ),
    }
}

fn summary(text: &mut String, report: &Report) -> std::fmt::Result {
    match report.valid_for_ms {
        left @ 1.. => {
            writeln!(text, "answers for another {} without its agent", seconds(left.unsigned_abs()))?;
        }
        gone => writeln!(
            text,
            "SILENT: the deadline passed {} ago, nothing is answered",
            seconds(gone.unsigned_abs())
        )?,
    }
    let answered = report.entries.iter().filter(|row| row.state == "answer").count();
    let standby = report.entries.len() - answered;
    writeln!(
        text,
        "{answered} entries to answer, {standby} on standby, room for {}; the maps take {} KiB of kernel memory",
        report.max_vips,
        report.map_bytes / 1024
    )
}

/// What this node reflects, and who may ask. Members are many: all of them only with `wide`.
fn reflection(text: &mut String, report: &Report, wide: bool) -> std::fmt::Result {
    if report.reflectors.is_empty() && report.members.is_empty() {
        return Ok(());
    }
    let mut table = plain(&["REFLECTS PROBES TO", "INTERFACE", "DISCRIMINATOR", "AS"]);
    for row in &report.reflectors {
        let discriminator = format!("{:#010x}", row.discriminator);
        table.add_row([row.ip.to_string(), row.interface.clone(), discriminator, row.state.to_owned()]);
    }
    if !report.reflectors.is_empty() {
        writeln!(text, "\n{}", lines(&table))?;
    }
    if !wide {
        return writeln!(text, "\nprobes of {} addresses of other nodes are reflected", report.members.len());
    }
    let mut table = plain(&["REFLECTS PROBES OF", "INTERFACE", "MAC"]);
    for row in &report.members {
        table.add_row([row.ip.to_string(), row.interface.clone(), row.mac.clone()]);
    }
    writeln!(text, "\n{}", lines(&table))
}

fn entries(rows: &[Row], wide: bool) -> Table {
    let mut headers = vec![
        "ADDRESS",
        "INTERFACE",
        "VLAN",
        "MAC",
        "STATE",
        "REQUESTS",
        "REPLIES",
        "PROBES",
        "CONFLICTS",
        "LAST ASKED",
        "BY",
    ];
    if wide {
        headers.extend(["ITS MAC", "IFINDEX", "SLOT"]);
    }
    let mut table = plain(&headers);
    for row in rows {
        let requester = row.counts.requester.as_ref();
        let asked = row.last_seen_ms.map_or_else(|| "never".to_owned(), |ms| format!("{} ago", seconds(ms)));
        let vlans = if row.vlans == "untagged" { "-" } else { &row.vlans };
        let mut cells = vec![
            row.ip.to_string(),
            row.interface.clone(),
            vlans.to_owned(),
            row.mac.clone(),
            row.state.to_owned(),
            row.counts.requests.to_string(),
            row.counts.replies.to_string(),
            row.counts.probes.to_string(),
            row.counts.conflicts.to_string(),
            asked,
            requester.map(|who| who.ip.to_string()).unwrap_or_default(),
        ];
        if wide {
            let mac = requester.map(|who| who.mac.to_string()).unwrap_or_default();
            cells.extend([mac, row.link.to_string(), row.slot.to_string()]);
        }
        table.add_row(cells);
    }
    table
}

/// Attached links by their pins, and those the agent wants but could not attach to.
fn links(text: &mut String, report: &Report, wide: bool) -> std::fmt::Result {
    let mut headers = vec!["INTERFACE", "MODE", "REMARKS"];
    if wide {
        headers.extend(["PROGRAM", "PIN"]);
    }
    let mut table = plain(&headers);
    let of_agent = report.agent.iter().flat_map(|state| &state.links);
    let known = |index| of_agent.clone().find(|state| state.index == index);
    for link in &report.links {
        let mode = link.mode.map_or_else(|| "NOT ATTACHED".to_owned(), |mode| mode.to_string());
        let mut cells = vec![name(link), mode, remarks(link, known(link.index)).join("; ")];
        if wide {
            cells.extend([link.program.map(|id| id.to_string()).unwrap_or_default(), link.pin.clone()]);
        }
        table.add_row(cells);
    }
    for state in of_agent.clone().filter(|state| report.links.iter().all(|link| link.index != state.index)) {
        table.add_row([state.name.clone(), "NOT ATTACHED".to_owned(), refused(state).join("; ")]);
    }
    if table.is_empty() {
        return writeln!(text, "\nno interface is attached");
    }
    writeln!(text, "\n{}", lines(&table))
}

fn name(link: &Link) -> String {
    if link.interface.is_empty() { format!("index {}", link.index) } else { link.interface.clone() }
}

fn remarks(link: &Link, state: Option<&LinkState>) -> Vec<String> {
    let mut remarks = Vec::new();
    match link.mode {
        _ if link.interface.is_empty() => {
            remarks.push("the interface is gone: an agent removes the pin".to_owned());
        }
        None => remarks.push("the pinned program is not attached any more: restart the agent".to_owned()),
        Some(Mode::Generic) => {
            remarks.push("generic is a last resort: it copies the node's large packets".to_owned());
        }
        Some(Mode::Native | Mode::Tcx) => {}
    }
    if link.allmulti {
        remarks.push("receives all multicast".to_owned());
    }
    remarks.extend(state.map(refused).unwrap_or_default());
    remarks
}

fn refused(state: &LinkState) -> Vec<String> {
    state.refused.iter().map(|refusal| format!("not {refusal}")).collect()
}

fn agent(text: &mut String, state: &State, now_ns: u64, wide: bool) -> std::fmt::Result {
    writeln!(
        text,
        "\nagent {} on node {}, pid {}; map repaired {} times; announcement frames: {} sent, {} refused",
        state.version, state.node, state.pid, state.repairs, state.announced, state.announce_errors
    )?;
    if !state.synced {
        writeln!(
            text,
            "NOT SYNCED: the agent has not read its configuration in full and does not move the deadline"
        )?;
    }
    let mut table = plain(&["SERVICE", "ADDRESS", "ON THIS NODE"]);
    for service in &state.services {
        for (ip, what) in &service.addresses {
            table.add_row([service.name.clone(), ip.to_string(), what.clone()]);
        }
        if let Some(error) = &service.error {
            table.add_row([service.name.clone(), "-".to_owned(), error.clone()]);
        }
    }
    if !table.is_empty() {
        writeln!(text, "\n{}", lines(&table))?;
    }
    if !state.peers.is_empty() {
        let mut table = plain(&sessions::headers(wide));
        for session in &state.peers {
            table.add_row(sessions::cells(session, wide));
        }
        writeln!(text, "\n{}", lines(&table))?;
    }
    groups(text, state)?;
    for (ip, conflict) in &state.conflicts {
        let ago = seconds(now_ns.saturating_sub(conflict.last_ns) / 1_000_000);
        writeln!(
            text,
            "CONFLICT {ip}: claimed by {}, {} times, last {ago} ago",
            conflict.mac, conflict.count
        )?;
    }
    for problem in &state.problems {
        writeln!(text, "PROBLEM {problem}")?;
    }
    Ok(())
}

fn groups(text: &mut String, state: &State) -> std::fmt::Result {
    let groups = &state.groups;
    writeln!(
        text,
        "\nsolicited-node groups: {} joined, {} in the NIC filter only, {} missing",
        groups.joined, groups.filter_only, groups.missing
    )?;
    for index in &groups.allmulti {
        let link = state.links.iter().find(|link| link.index == *index);
        let name = link.map_or_else(|| format!("index {index}"), |link| link.name.clone());
        writeln!(
            text,
            "  {name} is set to receive all multicast: more groups than the kernel or the NIC takes"
        )?;
    }
    groups.errors.iter().try_for_each(|error| writeln!(text, "  {error}"))
}

fn seconds(ms: u64) -> String {
    format!("{}.{} s", ms / 1000, ms % 1000 / 100)
}

#[cfg(test)]
mod tests;
