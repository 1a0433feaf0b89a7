//! The allocator by itself.
#![expect(clippy::cast_precision_loss, reason = "counts below a billion")]

use std::collections::{BTreeMap, HashSet};
use std::hint::black_box;
use std::net::Ipv4Addr;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use lb_core::allocator::Allocator;
use lb_core::config::{Config, RawPool};
use lb_core::ids::ServiceKey;
use lb_core::request::{Request, Rules, ServiceSpec, ServiceType};

use crate::bench::document::{Goal, Page, spread};
use crate::bench::stats::{Spread, spread as median};

/// Addresses of a /16.
const SIXTEEN: usize = 1 << 16;
/// Addresses asked for in a /64.
const MILLION: usize = 1_000_000;
/// Visits of every Service in the measurement of allocations and releases: a million operations.
const VISITS: usize = 16;
/// Services of one pass.
const PASS: usize = 10_000;
/// Addresses of the pool that is filled by scans: the time grows with its square.
const SCANNED: u32 = 1 << 12;

/// Adds the tables and the goals.
pub(super) fn measure(page: &mut Page, rounds: usize) -> Result<()> {
    let services = Services::new(MILLION)?;
    let six = Services::of_family(&services, "fd00::1");
    let mut found = Found::default();
    for _ in 0..rounds {
        found.round(&services, &six)?;
    }
    page.add(&format!("\n## The allocator\n\nRounds: {rounds}.\n"));
    let million =
        |value: Spread| Spread { value: value.value / 1e6, low: value.low / 1e6, high: value.high / 1e6 };
    let [fill, avoiding, scan, large] =
        [&found.fill, &found.avoiding, &found.scan, &found.large].map(|values| median(values));
    let [churn, holes] = [&found.churn, &found.holes].map(|values| median(values));
    let per = |ms: Spread, count: usize| format!("{:.0} ns", ms.value * 1e6 / count as f64);
    page.table(
        &["what", "time", "each"],
        [
            row("a /16 filled, 65,536 Services", &spread(fill, 1), "ms", per(fill, SIXTEEN)),
            row(
                "the same with avoidBuggyIPs, 65,024 Services",
                &spread(avoiding, 1),
                "ms",
                per(avoiding, SIXTEEN - 512),
            ),
            row("a /20 filled by scans, 4,096 Services", &spread(scan, 1), "ms", per(scan, SCANNED as usize)),
            row("a million allocations in a /64", &spread(large, 0), "ms", per(large, MILLION)),
            row(
                "a pass over 10,000 Services that all have an address",
                &spread(median(&found.idle), 1),
                "ms",
                per(median(&found.idle), PASS),
            ),
            row(
                "a pass that gives 10,000 Services their first address",
                &spread(median(&found.first), 1),
                "ms",
                per(median(&found.first), PASS),
            ),
        ],
    );
    let rate = format!(
        "A million allocations and releases in a /16 that is half full, in random order, so that each release makes a hole \
         and the next allocation fills the lowest: {} million a second; in the first sixteenth, which starts with every \
         second address a hole, {}. A full /16 takes {:.0} bytes of memory for each Service, a /64 with a million {:.0}.\n",
        spread(million(churn), 2),
        spread(million(holes), 2),
        found.small_bytes,
        found.large_bytes
    );
    page.add(&rate);
    page.goals.push(Goal {
        text: "a /16 filled in ≤ 100 ms".to_owned(),
        measured: format!("{} ms", spread(fill, 1)),
        met: fill.value <= 100.0,
        tried: "",
    });
    page.goals.push(Goal {
        text: "≥ 1 million allocations and releases a second".to_owned(),
        measured: format!("{} million/s", spread(million(churn), 2)),
        met: churn.value >= 1e6,
        tried: "",
    });
    page.goals.push(Goal {
        text: "an IPv6 /64 with a million allocations in ≤ 1 s".to_owned(),
        measured: format!("{} ms", spread(large, 0)),
        met: large.value <= 1000.0,
        tried: "",
    });
    Ok(())
}

fn row(what: &str, value: &str, unit: &str, each: String) -> Vec<String> {
    vec![what.to_owned(), format!("{value} {unit}"), each]
}

/// Services that want an address of the family of their cluster IP.
struct Services(Vec<(ServiceKey, ServiceSpec)>);

impl Services {
    fn new(count: usize) -> Result<Self> {
        let spec = ServiceSpec {
            service_type: ServiceType::LoadBalancer,
            cluster_ips: vec!["10.96.0.1".to_owned()],
            ..ServiceSpec::default()
        };
        let one = |number: usize| {
            let namespace = format!("team-{}", number % 100);
            let key = ServiceKey::new(&namespace, format!("service-{number}")).context("a name")?;
            anyhow::Ok((key, spec.clone()))
        };
        Ok(Self((0..count).map(one).collect::<Result<_>>()?))
    }

    fn of_family(other: &Self, cluster_ip: &str) -> Self {
        let mut services = other.0.clone();
        for (_, spec) in &mut services {
            spec.cluster_ips = vec![cluster_ip.to_owned()];
        }
        Self(services)
    }

    fn requests(&self, count: usize) -> Vec<Request<'_>> {
        let rules = Rules::default();
        self.0[..count].iter().map(|(key, spec)| Request::new(key, spec, &rules)).collect()
    }
}

/// Milliseconds, or operations a second, by round.
#[derive(Default)]
struct Found {
    fill: Vec<f64>,
    avoiding: Vec<f64>,
    scan: Vec<f64>,
    churn: Vec<f64>,
    holes: Vec<f64>,
    large: Vec<f64>,
    idle: Vec<f64>,
    first: Vec<f64>,
    small_bytes: f64,
    large_bytes: f64,
}

impl Found {
    fn round(&mut self, services: &Services, six: &Services) -> Result<()> {
        let all = services.requests(SIXTEEN);
        let before = resident()?;
        let (mut full, took) = filled(&config("10.0.0.0/16", false)?, &all)?;
        self.fill.push(took);
        if self.small_bytes == 0.0 {
            self.small_bytes = (resident()? - before) / SIXTEEN as f64;
        }
        for request in all.iter().step_by(2) {
            full.release(request.service);
        }
        let start = Instant::now();
        visit(&mut full, &all)?;
        self.holes.push(per_second(SIXTEEN, start));
        for _ in 1..VISITS {
            visit(&mut full, &all)?;
        }
        self.churn.push(per_second(SIXTEEN * VISITS, start));
        drop(full);
        let (_, took) = filled(&config("10.0.0.0/16", true)?, &all[..SIXTEEN - 512])?;
        self.avoiding.push(took);
        self.scan.push(scanned());
        let all = six.requests(MILLION);
        let before = resident()?;
        let (full, took) = filled(&config("2001:db8::/64", false)?, &all)?;
        self.large.push(took);
        if self.large_bytes == 0.0 {
            self.large_bytes = (resident()? - before) / MILLION as f64;
        }
        drop(full);
        let (first, idle) = passes(services)?;
        self.first.push(first);
        self.idle.push(idle);
        Ok(())
    }
}

fn config(entry: &str, avoid_buggy_ips: bool) -> Result<Config> {
    let pool = RawPool {
        name: "p".to_owned(),
        addresses: vec![entry.to_owned()],
        avoid_buggy_ips,
        ..RawPool::default()
    };
    let (config, problems) = Config::validate(&[pool], &[], &[]);
    ensure!(problems.is_empty(), "{problems:?}");
    Ok(config)
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

fn filled(config: &Config, requests: &[Request<'_>]) -> Result<(Allocator, f64)> {
    let mut allocator = Allocator::new(config);
    let start = Instant::now();
    for request in requests {
        allocator.allocate(request)?;
    }
    Ok((allocator, milliseconds(start)))
}

fn per_second(operations: usize, since: Instant) -> f64 {
    operations as f64 / since.elapsed().as_secs_f64()
}

/// Releases what each Service has, or gives it an address.
fn visit(allocator: &mut Allocator, requests: &[Request<'_>]) -> Result<()> {
    // A stride without a factor in common visits all, far from each other.
    let mut at = 1_usize;
    for _ in 0..requests.len() {
        at = (at + 30_011) % requests.len();
        let request = &requests[at];
        if allocator.release(request.service).is_none() {
            allocator.allocate(request)?;
        }
    }
    Ok(())
}

/// Fills a pool as MetalLB does.
fn scanned() -> f64 {
    let mut used = HashSet::new();
    let start = Instant::now();
    for _ in 0..SCANNED {
        let free =
            (0..SCANNED).map(|host| Ipv4Addr::from_bits(0x0a00_0000 | host)).find(|ip| !used.contains(ip));
        used.extend(free);
    }
    black_box(&used);
    milliseconds(start)
}

/// A pass in which all get an address, and one in which all have it.
fn passes(services: &Services) -> Result<(f64, f64)> {
    let mut allocator = Allocator::new(&config("10.0.0.0/16", false)?);
    let services: BTreeMap<ServiceKey, ServiceSpec> = services.0[..PASS].iter().cloned().collect();
    let (rules, nothing) = (Rules::default(), BTreeMap::new());
    let start = Instant::now();
    let decisions = allocator.reconcile(&rules, &services, &nothing);
    let first = milliseconds(start);
    ensure!(decisions.values().all(|one| one.allocation.is_some()), "somebody got no address");
    let start = Instant::now();
    black_box(allocator.reconcile(&rules, &services, &nothing));
    Ok((first, milliseconds(start)))
}

/// Resident memory of this process, in bytes.
fn resident() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()).context("no VmRSS")?;
    Ok(kilobytes.parse::<f64>()? * 1024.0)
}
