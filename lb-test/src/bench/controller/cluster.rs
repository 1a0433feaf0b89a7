//! The controller on a real API server.

use std::fmt::Write;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::bench::document::{Goal, Page};
use crate::cluster::services::pool;
use crate::cluster::{ControlPlane, Controller};

/// Namespaces that the Services are in.
const NAMESPACES: usize = 10;
/// Services that one kubectl applies.
const AT_ONCE: usize = 250;
/// How long nothing is to be written.
const QUIET: Duration = Duration::from_mins(1);
const POLL: Duration = Duration::from_millis(100);
const MIB: f64 = 1024.0 * 1024.0;

/// Adds the table and the goals.
pub(super) fn measure(page: &mut Page, count: usize) -> Result<()> {
    let plane = ControlPlane::start()?;
    plane.install()?;
    create(&plane, count)?;
    let start = Instant::now();
    let controller = Controller::start(&plane, 0, &[])?;
    wait(&plane, &controller, count)?;
    let cold = start.elapsed();
    plane.quiet(Duration::from_secs(5))?;
    let mut log = plane.audit_from_now()?;
    thread::sleep(QUIET);
    let steady = log.controller_writes()?.len();
    let [resident, most] = controller.memory()?.map(mebibytes);
    let before = addresses(&plane)?;
    ensure!(before.len() == count, "{} of {count} have an address", before.len());
    controller.stop()?;

    let mut log = plane.audit_from_now()?;
    let start = Instant::now();
    let controller = Controller::start(&plane, 0, &[])?;
    adopted(&controller, count)?;
    let warm = start.elapsed();
    thread::sleep(Duration::from_secs(20));
    let again = log.controller_writes()?.len();
    let kept = addresses(&plane)? == before;
    let [_, most_warm] = controller.memory()?.map(mebibytes);
    controller.stop()?;

    page.add(&format!("\n## On an API server, {count} Services\n"));
    page.table(
        &["what", "measured"],
        [
            vec![
                "cold start: until every Service has its address".to_owned(),
                format!("{:.1} s", cold.as_secs_f64()),
            ],
            vec![
                "restart: until every address is known again".to_owned(),
                format!("{:.1} s", warm.as_secs_f64()),
            ],
            vec![
                "resident memory, steady / at most in a cold start / at most in a restart".to_owned(),
                format!("{resident:.1} / {most:.1} / {most_warm:.1} MiB"),
            ],
        ],
    );
    page.goals.push(Goal {
        text: "memory with 10,000 Services ≤ 120 MiB".to_owned(),
        measured: format!("{most:.1} MiB at most"),
        met: most <= 120.0 && most_warm <= 120.0,
        tried: "",
    });
    page.goals.push(Goal {
        text: "no write in a minute of steady state".to_owned(),
        measured: format!("{steady} writes"),
        met: steady == 0,
        tried: "",
    });
    let kept_text = if kept { "all addresses kept" } else { "addresses changed" };
    page.goals.push(Goal {
        text: "a restart adopts every address without a write".to_owned(),
        measured: format!("{again} writes, {kept_text}"),
        met: again == 0 && kept,
        tried: "",
    });
    Ok(())
}

/// A pool, and Services without an address.
fn create(plane: &ControlPlane, count: usize) -> Result<()> {
    plane.apply_all(&[pool("p", &["10.0.0.0/16"])])?;
    for number in 0..NAMESPACES {
        plane.kubectl(&["create", "namespace", &format!("team-{number}")])?;
    }
    let numbers: Vec<usize> = (0..count).collect();
    for some in numbers.chunks(AT_ONCE) {
        let mut text = String::new();
        for number in some {
            let metadata =
                json!({"name": format!("s{number}"), "namespace": format!("team-{}", number % NAMESPACES)});
            // Without node ports, of which a cluster has 2,768.
            let spec = json!({
                "type": "LoadBalancer", "allocateLoadBalancerNodePorts": false, "ports": [{"port": 80}],
                "selector": {"app": format!("s{number}")},
            });
            let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec});
            writeln!(text, "---\n{service}")?;
        }
        plane.feed(plane.admin(), &["create", "--filename=-"], &text)?;
    }
    Ok(())
}

/// Waits until the controller says that so many addresses are in use and every write is done.
fn wait(plane: &ControlPlane, controller: &Controller, count: usize) -> Result<()> {
    adopted(controller, count)?;
    plane.wait_for(Controller::PATIENCE * 5, "some Services have no address", |_| {
        let name = "barelb_controller_writes_total{kind=\"service_status\",result=\"ok\"}";
        let written = controller.metric(name)?;
        thread::sleep(POLL);
        Ok((written >= f64::from(u32::try_from(count)?)).then_some(()))
    })
}

/// Waits until the controller holds so many addresses in its book.
fn adopted(controller: &Controller, count: usize) -> Result<()> {
    let deadline = Instant::now() + Controller::PATIENCE;
    let name = "barelb_allocator_addresses_in_use{pool=\"p\",family=\"IPv4\"}";
    let wanted = f64::from(u32::try_from(count)?);
    while controller.metric(name).ok().is_none_or(|held| held < wanted) {
        ensure!(
            Instant::now() < deadline,
            "not all addresses are in use; the log ends:\n{}",
            controller.tail()
        );
        thread::sleep(POLL);
    }
    Ok(())
}

/// Name and status of every Service that has an address.
fn addresses(plane: &ControlPlane) -> Result<Vec<(String, Value)>> {
    let list = plane.get(&["services", "--all-namespaces"])?;
    let all = list["items"].as_array().context("no list")?.iter();
    let held = all.filter(|service| service["status"]["loadBalancer"]["ingress"].is_array());
    let named = held
        .map(|service| (service["metadata"]["uid"].to_string(), service["status"]["loadBalancer"].clone()));
    let mut all: Vec<_> = named.collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(all)
}

#[expect(clippy::cast_precision_loss, reason = "below 2^53")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / MIB
}
