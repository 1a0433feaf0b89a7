//! The commands that ask a cluster: from the start of the process to its end, as a person waits for it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::bed::{Bed, FIRST_NODE, node};
use super::start::{create, ip};
use crate::agent::barelb;
use crate::bench::document::{Goal, Page};
use crate::bench::stats::quantile;
use crate::cluster::{Network, NodeAgent};

const NODES: u8 = 3;
/// For every address to be answered, and for agents to have looked at their counters twice.
const LIMIT: Duration = Duration::from_mins(5);

/// A command, and how long it may take.
struct Command {
    arguments: &'static [&'static str],
    /// Milliseconds.
    goal: f64,
}

const COMMANDS: [Command; 5] = [
    Command { arguments: &["status"], goal: 300.0 },
    Command { arguments: &["status", "-o", "json"], goal: 300.0 },
    Command { arguments: &["status", "-n", "team-1", "-o", "wide"], goal: 300.0 },
    Command { arguments: &["explain", "svc", "team-0/web-0"], goal: 200.0 },
    Command { arguments: &["explain", "ip", "2001:db8:1::1"], goal: 200.0 },
];

/// Adds the table and the goals.
pub(super) fn measure(page: &mut Page, count: usize, trials: u32) -> Result<()> {
    let bed = Bed::new(NODES, &["10.64.0.0/16", "2001:db8:1::/64"])?;
    create(&bed, &(0..count).map(ip).collect::<Vec<_>>())?;
    let room = (count + 1024).next_power_of_two().to_string();
    let mut agents = Vec::new();
    for number in 0..NODES {
        agents.push(bed.agent(number.into(), &["--max-vips", &room])?);
        let address = Network::addresses(FIRST_NODE + number)[0];
        bed.plane.add_agent_pod(&node(number), address, None)?;
    }
    answered(&bed, count, &agents)?;
    page.add(&format!(
        "\n## Commands, {count} Services and {NODES} nodes\n\nTrials: {trials} of each, from the start of the process to its end.\n"
    ));
    let mut rows = Vec::new();
    for Command { arguments, goal } in COMMANDS {
        let mut times = Vec::new();
        for _ in 0..trials {
            let begin = Instant::now();
            run(&bed, arguments)?;
            times.push(begin.elapsed().as_secs_f64() * 1e3);
        }
        let [half, most] = [0.5, 1.0].map(|share| quantile(&times, share));
        let line = format!("barelb {}", arguments.join(" "));
        rows.push(vec![format!("`{line}`"), format!("{half:.0} / {most:.0} ms")]);
        page.goals.push(Goal {
            text: format!("`{line}` with {count} Services and {NODES} nodes in ≤ {goal:.0} ms"),
            measured: format!("{half:.0} ms"),
            met: half <= goal,
            tried: "API server, etcd, three agents and the command share two processors here",
        });
    }
    page.table(&["command", "p50 / most"], rows);
    agents.into_iter().try_for_each(NodeAgent::stop)
}

/// Waits until every address has its owner, and nothing is wrong.
fn answered(bed: &Bed, count: usize, agents: &[NodeAgent]) -> Result<()> {
    let deadline = Instant::now() + LIMIT;
    loop {
        let why = match run(bed, &["status"]) {
            Ok((text, complaints)) if complaints.is_empty() && text.lines().count() == count + 1 => {
                return Ok(());
            }
            Ok((text, complaints)) => format!("{} lines; {complaints}", text.lines().count()),
            Err(error) => format!("{error:#}"),
        };
        if Instant::now() > deadline {
            let logs: Vec<String> = agents.iter().map(NodeAgent::tail).collect();
            bail!("not every address is answered after {LIMIT:?}: {why}\n{}", logs.join("\n"));
        }
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// What a command prints, and what it complains of.
fn run(bed: &Bed, arguments: &[&str]) -> Result<(String, String)> {
    let mut command = bed.plane.namespace().command(barelb()?);
    command.args(arguments).arg("--kubeconfig").arg(bed.plane.admin().kubeconfig());
    let output = command.output().context("starting barelb")?;
    let [text, complaints] =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    ensure!(output.status.success(), "barelb {}: {complaints}", arguments.join(" "));
    Ok((text, complaints))
}
