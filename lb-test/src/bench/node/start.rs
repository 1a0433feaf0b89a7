//! A node that was just installed, in a cluster with many Services: how long until all of them are answered, and what
//! the agent takes.
#![expect(clippy::cast_precision_loss, reason = "below 2^53")]

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};

use super::bed::{Bed, Endpoint as Place, Web};
use super::changes::{self, Change};
use crate::bench::document::{Goal, Page};
use crate::bench::stats::{median, quantile};
use crate::cluster::{AuditLog, NodeAgent};
use crate::pages::Pages;
use crate::wire::{Endpoint, arp_request, neighbour_solicitation};

const NAMESPACES: usize = 10;
const V4: Ipv4Addr = Ipv4Addr::new(10, 64, 0, 0);
const V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0);
const LIMIT: Duration = Duration::from_mins(2);
/// Questions sent before the answers are looked at.
const AT_ONCE: usize = 64;
/// Between two questions for the first address.
const ASK: Duration = Duration::from_millis(5);
/// After this long without a write of the agent's, but for its Lease, everything is said.
const QUIET: Duration = Duration::from_secs(15);
/// For that to come.
const SAID: Duration = Duration::from_mins(15);
const AGENT: &str = "system:serviceaccount:metallb-system:barelb-agent";
/// Of the clock of /proc/PID/stat (`USER_HZ`, the same on every architecture we build for).
const TICKS: u64 = 100;
/// How often they are looked at.
const LOOKS: usize = 50;
const MIB: f64 = 1024.0 * 1024.0;

/// Adds the tables and the goals.
pub(super) fn measure(page: &mut Page, count: usize, trials: u32) -> Result<()> {
    let bed = Bed::new(1, &["10.64.0.0/16", "2001:db8:1::/64", "192.0.2.100/32", "2001:db8::100/128"])?;
    let ips: Vec<IpAddr> = (0..count).map(ip).collect();
    create(&bed, &ips)?;
    let room = (count + 1024).next_power_of_two().to_string();
    let mut log = bed.plane.audit_from_now()?;
    let client = Endpoint::open(&bed.client.a)?;
    let mut agent = bed.agent(0, &["--max-vips", &room])?;
    let pid = agent.process().pid();
    let begin = started(pid)?;
    let (first, all) = ask(&client, bed.client.a.mac(), &ips)
        .with_context(|| format!("the agent's log ends:\n{}", agent.tail()))?;
    let [first, all] = [first, all].map(|at| at.duration_since(begin).unwrap_or_default().as_secs_f64());
    let at_once = Memory::of(pid)?;

    let writes = said(&mut log).with_context(|| agent.tail())?;
    let rest = Memory::of(pid)?;

    page.add(&format!("\n## A node that was just installed, {count} Services with an EndpointSlice each\n"));
    let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / MIB);
    page.table(
        &["what", "measured"],
        [
            ["from the start of the process to the first answer".to_owned(), format!("{first:.2} s")],
            ["… until every address is answered, as a client sees it".to_owned(), format!("{all:.2} s")],
            ["resident memory then".to_owned(), mib(at_once.resident)],
            [
                "writes after it: a ServiceL2Status and an event for each Service".to_owned(),
                writes.to_string(),
            ],
            ["resident memory when all is said and done".to_owned(), mib(rest.resident)],
            ["of it pages of the program's own file".to_owned(), mib(rest.program)],
            ["the most it ever was".to_owned(), mib(rest.peak)],
            [format!("maps, in the kernel, with --max-vips {room}"), mib(rest.maps)],
        ]
        .map(Vec::from),
    );
    page.goals.push(Goal {
        text: format!("cold start with {count} Services: all answered in ≤ 2 s"),
        measured: format!("{all:.2} s"),
        met: all <= 2.0,
        tried: "API server, etcd and agent share two processors here",
    });
    page.goals.push(Goal {
        text: format!("resident memory with {count} Services ≤ 40 MiB"),
        measured: format!("{}, at most {}", mib(rest.resident), mib(rest.peak)),
        met: rest.resident as f64 <= 40.0 * MIB,
        tried: "pages of the program itself count; of a Service only what announcing depends on is kept, but as watched, \
                as planned and as told, each in maps of its own",
    });
    scraped(page, agent.metrics(), count)?;
    many(page, &bed, &agent, count, trials)?;
    agent.stop()
}

/// How long a look at the metrics takes.
fn scraped(page: &mut Page, pages: &Pages, count: usize) -> Result<()> {
    let looks = (0..LOOKS).map(|_| pages.weigh("/metrics")).collect::<Result<Vec<_>>>()?;
    let times: Vec<f64> = looks.iter().map(|(time, _)| time.as_secs_f64() * 1e3).collect();
    let (time, most) = (median(&times), quantile(&times, 1.0));
    let size = looks.iter().map(|(_, size)| *size).max().unwrap_or_default();
    page.goals.push(Goal {
        text: format!("metrics of {count} addresses: ≤ 50 ms and ≤ 5 MB"),
        measured: format!("{time:.1} ms, at most {most:.1} ms of {LOOKS}; {} kB", size / 1000),
        met: most <= 50.0 && size <= 5_000_000,
        tried: "API server, etcd and agent share two processors here",
    });
    Ok(())
}

/// Waits until the agent has said what it announces; how many writes that were.
fn said(log: &mut AuditLog) -> Result<usize> {
    let (mut writes, deadline) = (0, Instant::now() + SAID);
    loop {
        thread::sleep(QUIET);
        let more = log.writes_of(AGENT)?.into_iter().filter(|write| write.resource != "leases").count();
        if more == 0 {
            return Ok(writes);
        }
        writes += more;
        ensure!(Instant::now() < deadline, "the agent still writes after {SAID:?}");
    }
}

/// Changes of one Service among the many.
fn many(page: &mut Page, bed: &Bed, agent: &NodeAgent, count: usize, trials: u32) -> Result<()> {
    let web = changes::web("Local");
    for call in [web.create(), web.slice(), web.assign(true)] {
        bed.api.call(&call)?;
    }
    let change = Change { what: "the node gets an endpoint", on: web.ready(true), off: web.ready(false) };
    let times = changes::watch(bed, agent, &change, trials)?;
    page.add(&format!("\nOne Service among {count} others changes, {trials} times:\n"));
    page.table(&changes::HEAD, times.rows(change.what));
    Ok(())
}

/// The address of a Service: of each family every second one.
pub(super) fn ip(number: usize) -> IpAddr {
    let host = u32::try_from(number / 2 + 1).unwrap_or_default();
    if number.is_multiple_of(2) {
        Ipv4Addr::from(u32::from(V4) + host).into()
    } else {
        Ipv6Addr::from(u128::from(V6) + u128::from(host)).into()
    }
}

/// Services with these addresses, and an endpoint each.
pub(super) fn create(bed: &Bed, ips: &[IpAddr]) -> Result<()> {
    for number in 0..NAMESPACES {
        bed.plane.kubectl(&["create", "namespace", &format!("team-{number}")])?;
    }
    let rows = ips.iter().enumerate().map(|(number, ip)| {
        let (namespace, name) = (format!("team-{}", number % NAMESPACES), format!("web-{number}"));
        let (ips, endpoint) = (std::slice::from_ref(ip), Place { node: 0, ready: true });
        let web = Web { namespace: &namespace, name: &name, policy: "Cluster", ips, endpoint };
        vec![web.create(), web.slice(), web.assign(true)]
    });
    bed.api.call_all(&rows.collect::<Vec<_>>())
}

/// When the process was started.
fn started(pid: u32) -> Result<SystemTime> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name is in brackets and may hold anything; the time is the 22nd field of all, the 20th behind it.
    let fields = stat.rsplit_once(')').map(|(_, fields)| fields).unwrap_or_default();
    let ticks: u64 = fields.split_whitespace().nth(19).context("no start time in /proc/PID/stat")?.parse()?;
    let uptime = fs::read_to_string("/proc/uptime")?;
    let uptime: f64 = uptime.split_whitespace().next().context("no uptime")?.parse()?;
    let since = uptime - ticks as f64 / TICKS as f64;
    Ok(SystemTime::now() - Duration::try_from_secs_f64(since)?)
}

/// Asks for the last address until it is answered, then for all of them until each was: when that was.
fn ask(client: &Endpoint, own: [u8; 6], ips: &[IpAddr]) -> Result<(SystemTime, SystemTime)> {
    let deadline = Instant::now() + LIMIT;
    let mut missing: BTreeSet<IpAddr> = ips.last().into_iter().copied().collect();
    let first = sweep(client, own, &mut missing, ASK, deadline)?;
    missing = ips.iter().copied().collect();
    let last = sweep(client, own, &mut missing, Duration::ZERO, deadline)?;
    Ok((first, last))
}

/// Asks until all are answered: when the last one was for the first time.
fn sweep(
    client: &Endpoint,
    own: [u8; 6],
    missing: &mut BTreeSet<IpAddr>,
    pause: Duration,
    deadline: Instant,
) -> Result<SystemTime> {
    let mut last = SystemTime::UNIX_EPOCH;
    while !missing.is_empty() {
        ensure!(Instant::now() < deadline, "{} addresses are not answered after {LIMIT:?}", missing.len());
        let asked: Vec<IpAddr> = missing.iter().copied().collect();
        for some in asked.chunks(AT_ONCE) {
            for ip in some {
                match ip {
                    IpAddr::V4(ip) => client.send(&arp_request(own, Ipv4Addr::new(192, 0, 2, 10), *ip))?,
                    IpAddr::V6(ip) => {
                        let source = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x10);
                        client.send(&neighbour_solicitation(own, source, *ip))?;
                    }
                }
            }
            while let Some(frame) = client.receive(Instant::now() + pause)? {
                if answered(&frame.bytes, own).is_some_and(|ip| missing.remove(&ip)) {
                    last = last.max(frame.at);
                }
            }
        }
    }
    Ok(last)
}

/// The address that a frame to the client answers for.
fn answered(frame: &[u8], own: [u8; 6]) -> Option<IpAddr> {
    if frame.get(..6)? != own {
        return None;
    }
    match frame.get(12..14)? {
        [8, 6] if frame.get(21)? == &2 => Some(IpAddr::from(<[u8; 4]>::try_from(frame.get(28..32)?).ok()?)),
        [0x86, 0xdd] if frame.get(54)? == &136 => {
            Some(IpAddr::from(<[u8; 16]>::try_from(frame.get(62..78)?).ok()?))
        }
        _ => None,
    }
}

/// Bytes that a process takes.
struct Memory {
    resident: u64,
    /// Of these, what is mapped from files.
    program: u64,
    peak: u64,
    /// BPF maps it has open, which are the kernel's.
    maps: u64,
}

impl Memory {
    fn of(pid: u32) -> Result<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/status")).context("the agent has ended")?;
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|line| line.split_whitespace().next());
            anyhow::Ok(number.with_context(|| format!("no {name}"))?.parse::<u64>()? << 10)
        };
        let mut maps = 0;
        let mut seen = BTreeSet::new();
        for file in fs::read_dir(format!("/proc/{pid}/fdinfo"))?.flatten() {
            let text = fs::read_to_string(file.path()).unwrap_or_default();
            let field = |name: &str| {
                let line = text.lines().find_map(|line| line.strip_prefix(name))?;
                line.trim().parse::<u64>().ok()
            };
            // Of a map several descriptors may be open.
            if let (Some(id), Some(bytes)) = (field("map_id:"), field("memlock:"))
                && seen.insert(id)
            {
                maps += bytes;
            }
        }
        Ok(Self { resident: field("VmRSS:")?, program: field("RssFile:")?, peak: field("VmHWM:")?, maps })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_of_both_families_and_all_different() {
        let all: BTreeSet<IpAddr> = (0..1000).map(ip).collect();
        assert_eq!((all.len(), all.iter().filter(|ip| ip.is_ipv4()).count()), (1000, 500));
    }

    #[test]
    fn an_answer_is_to_the_client() {
        let (own, node) = ([2, 0, 0, 0, 0, 10], [2, 0, 0, 0, 0, 11]);
        let mut arp = arp_request(node, V4, Ipv4Addr::new(192, 0, 2, 10));
        assert_eq!(answered(&arp, own), None, "a question");
        (arp[21], arp[5]) = (2, 10);
        arp[..6].copy_from_slice(&own);
        assert_eq!(answered(&arp, own), Some(V4.into()));
        let mut advertisement = neighbour_solicitation(node, V6, V6);
        advertisement[54] = 136;
        assert_eq!(answered(&advertisement, own), None, "to all");
        advertisement[..6].copy_from_slice(&own);
        assert_eq!(answered(&advertisement, own), Some(V6.into()));
    }
}
