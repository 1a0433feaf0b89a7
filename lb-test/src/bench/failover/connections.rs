//! What becomes of TCP connections when their address moves.

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::record::{append, read, remove};
use super::{Options, tell};
use crate::bench::document::Page;
use crate::bench::stats::quantile;
use crate::failover::{Barelb, Kind, Purpose, System, micros};
use crate::rig::Way;

/// To each address.
const CONNECTIONS: usize = 50;
/// Before the fault.
const BEFORE: Duration = Duration::from_secs(1);
/// Watched after it.
const AFTER: Duration = Duration::from_secs(3);
/// What a Service may say of traffic from outside.
const POLICIES: [&str; 2] = ["Local", "Cluster"];

/// What happens to the owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Fault {
    /// The agent dies and is started again: the address stays.
    Kill,
    /// The node is drained.
    HandOver,
    /// Nothing comes from it and nothing reaches it.
    Death,
}

impl Fault {
    const ALL: [Self; 3] = [Self::Kill, Self::HandOver, Self::Death];

    const fn what(self) -> &'static str {
        match self {
            Self::Kill => "SIGKILL to the daemon",
            Self::HandOver => "hand-over",
            Self::Death => "silent death",
        }
    }

    fn happen(self, system: &mut Barelb, node: usize) -> Result<()> {
        match self {
            Self::Kill => {
                system.kill(node)?;
                system.start(node)
            }
            Self::HandOver => system.hand_over(node),
            Self::Death => system.port(node)?.cut(Way::Both),
        }
    }

    fn undo(self, system: &mut Barelb, node: usize) -> Result<()> {
        match self {
            Self::Kill => Ok(()),
            Self::HandOver => system.take_back(node),
            Self::Death => system.port(node)?.heal(),
        }
    }
}

/// What became of the connections to one address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Row {
    fault: Fault,
    policy: String,
    is_v4: bool,
    going_on: usize,
    /// When each that was reset was, from the fault.
    reset_us: Vec<u64>,
    hanging: usize,
    /// The longest time in which no new connection could be made.
    no_new_us: u64,
}

/// Measures all of it.
pub(super) fn run(options: &Options) -> Result<()> {
    let path = file(options);
    remove(&path)?;
    let profile = Kind::Barelb.profile().context("it has no agents")?;
    let mut system = Barelb::start(profile, Purpose::Faults)?;
    for policy in POLICIES {
        system.set_policy(policy)?;
        for fault in Fault::ALL {
            for row in measure(&mut system, policy, fault).with_context(|| system.logs())? {
                tell(&format!(
                    "{}, {policy}: {} went on, {} reset, {} hang",
                    fault.what(),
                    row.going_on,
                    row.reset_us.len(),
                    row.hanging
                ));
                append(&path, &row)?;
            }
        }
    }
    Ok(())
}

fn measure(system: &mut Barelb, policy: &str, fault: Fault) -> Result<Vec<Row>> {
    let first = *system.order().first().context("a system without nodes")?;
    (&*system as &dyn System).is_owned_by(first)?;
    let vips = system.vips();
    let connections = vips.map(|vip| system.connect(vip, CONNECTIONS));
    thread::sleep(BEFORE);
    let at = Instant::now();
    fault.happen(system, first)?;
    thread::sleep(AFTER);
    let mut rows = Vec::new();
    for (vip, connections) in vips.iter().zip(connections) {
        let fate = connections?.stop(at)?;
        rows.push(Row {
            fault,
            policy: policy.to_owned(),
            is_v4: vip.is_ipv4(),
            going_on: fate.going_on,
            reset_us: fate.reset.into_iter().map(micros).collect(),
            hanging: fate.hanging,
            no_new_us: micros(fate.no_new),
        });
    }
    fault.undo(system, first)?;
    Ok(rows)
}

fn file(options: &Options) -> PathBuf {
    options.records.with_extension("connections.jsonl")
}

/// What is saved.
pub(super) fn saved(options: &Options) -> Result<Vec<Row>> {
    read(&file(options))
}

/// Adds the table, if anything was measured.
pub(super) fn add(page: &mut Page, rows: &[Row]) {
    if rows.is_empty() {
        return;
    }
    page.add("\n### What becomes of TCP connections\n");
    let head = [
        "fault",
        "externalTrafficPolicy",
        "family",
        "went on",
        "were reset",
        "after, ms: p50",
        "max",
        "hang",
        "no new one for, ms",
    ];
    page.table(&head, rows.iter().map(cells));
    page.add(
        "An address that moves takes none of its connections along, as with MetalLB: the new node has no record of them, so \
         kube-proxy gives what it gets to some endpoint, and that one resets it. With policy Cluster that may be an endpoint on \
         the dead node until Kubernetes has taken it out, and the connection hangs. A new connection is tried every 2 ms and given \
         up after 20 ms.",
    );
}

fn cells(row: &Row) -> Vec<String> {
    #[expect(clippy::cast_precision_loss, reason = "microseconds of some seconds")]
    let reset: Vec<_> = row.reset_us.iter().map(|time| *time as f64 / 1000.0).collect();
    let of = |share| {
        if reset.is_empty() { "–".to_owned() } else { format!("{:.1}", quantile(&reset, share)) }
    };
    vec![
        row.fault.what().to_owned(),
        row.policy.clone(),
        if row.is_v4 { "IPv4" } else { "IPv6" }.to_owned(),
        row.going_on.to_string(),
        row.reset_us.len().to_string(),
        of(0.5),
        of(1.0),
        row.hanging.to_string(),
        (row.no_new_us / 1000).to_string(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_tells_of_those_that_went_on_and_those_that_did_not() {
        let row = Row {
            fault: Fault::HandOver,
            policy: "Local".to_owned(),
            is_v4: false,
            going_on: 1,
            reset_us: vec![60_000, 70_000],
            hanging: 2,
            no_new_us: 4_900,
        };
        let expected = ["hand-over", "Local", "IPv6", "1", "2", "65.0", "70.0", "2", "4"];
        assert_eq!(cells(&row), expected);
        let kept = Row { reset_us: Vec::new(), ..row };
        assert_eq!(cells(&kept)[5..7], ["–", "–"]);
    }
}
