//! The report for people: tables without borders, upper-case headers.

use std::fmt::Write;

use comfy_table::{Table, presets::NOTHING};

use super::report::{Report, Row};

/// All of it as text.
pub(super) fn text(report: &Report, wide: bool) -> String {
    let mut text = String::new();
    // Writing to a string can't fail.
    write(&mut text, report, wide).unwrap_or_default();
    text
}

fn write(text: &mut String, report: &Report, wide: bool) -> std::fmt::Result {
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
    let (used, room) = (report.entries.len(), report.max_vips);
    writeln!(
        text,
        "{used} entries shown, room for {room}; the maps take {} KiB of kernel memory",
        report.map_bytes / 1024
    )?;
    writeln!(text)?;
    writeln!(text, "{}", entries(&report.entries, wide))?;
    if !report.outcomes.is_empty() {
        let mut table = plain(&["OUTCOME", "FRAMES"]);
        for (name, count) in &report.outcomes {
            table.add_row([(*name).to_owned(), count.to_string()]);
        }
        writeln!(text, "\n{table}")?;
    }
    agent(text, report)?;
    if wide {
        writeln!(text, "\nPINS")?;
        for pin in &report.pins {
            writeln!(text, "{pin}")?;
        }
    }
    Ok(())
}

fn entries(rows: &[Row], wide: bool) -> Table {
    let mut headers =
        vec!["ADDRESS", "INTERFACE", "VLAN", "MAC", "STATE", "REQUESTS", "REPLIES", "LAST ASKED", "BY"];
    if wide {
        headers.extend(["PROBES", "CONFLICTS", "IFINDEX", "SLOT"]);
    }
    let mut table = plain(&headers);
    for row in rows {
        let by =
            row.counts.requester.as_ref().map(|who| format!("{} {}", who.ip, who.mac)).unwrap_or_default();
        let asked = row.last_seen_ms.map_or_else(|| "never".to_owned(), |ms| format!("{} ago", seconds(ms)));
        let vlans = if row.vlans == "untagged" { "-".to_owned() } else { row.vlans.clone() };
        let mut cells = vec![
            row.ip.to_string(),
            row.interface.clone(),
            vlans,
            row.mac.clone(),
            row.state.to_owned(),
            row.counts.requests.to_string(),
            row.counts.replies.to_string(),
            asked,
            by,
        ];
        if wide {
            let more = [row.counts.probes, row.counts.conflicts, row.link.into(), row.slot.into()];
            cells.extend(more.map(|number: u64| number.to_string()));
        }
        table.add_row(cells);
    }
    table
}

fn agent(text: &mut String, report: &Report) -> std::fmt::Result {
    let Some(state) = &report.agent else {
        return writeln!(text, "\nno agent answers: modes, Services and problems are not known");
    };
    writeln!(
        text,
        "\nagent {} on node {}, pid {}, map repaired {} times",
        state.version, state.node, state.pid, state.repairs
    )?;
    let mut table = plain(&["INTERFACE", "MODE", "NOT USED"]);
    for link in &state.links {
        let mode = link.mode.clone().unwrap_or_else(|| "NOT ATTACHED".to_owned());
        table.add_row([link.name.clone(), mode, link.refused.join("; ")]);
    }
    writeln!(text, "\n{table}")?;
    let mut table = plain(&["SERVICE", "ADDRESS", "ON THIS NODE"]);
    for service in &state.services {
        for (ip, what) in &service.addresses {
            table.add_row([service.name.clone(), ip.to_string(), what.clone()]);
        }
        if let Some(error) = &service.error {
            table.add_row([service.name.clone(), "-".to_owned(), error.clone()]);
        }
    }
    writeln!(text, "\n{table}")?;
    let groups = &state.groups;
    writeln!(
        text,
        "\nsolicited-node groups: {} joined, {} in the NIC filter only, {} missing",
        groups.joined, groups.filter_only, groups.missing
    )?;
    for error in &groups.errors {
        writeln!(text, "  {error}")?;
    }
    for (ip, conflict) in &state.conflicts {
        writeln!(text, "CONFLICT {ip}: claimed by {} ({} times)", conflict.mac, conflict.count)?;
    }
    for problem in &state.problems {
        writeln!(text, "PROBLEM {problem}")?;
    }
    Ok(())
}

fn plain(headers: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(headers);
    table
}

fn seconds(ms: u64) -> String {
    format!("{}.{} s", ms / 1000, ms % 1000 / 100)
}
