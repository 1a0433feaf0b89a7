//! What an agent costs: memory, processor time when nothing happens, a link event, a plan, a start.
//!
//! A real `barelb agent --standalone` runs in a namespace of its own, over a generated folder of dual-stack
//! Services. Nothing is asked of it while it is measured: an answer by the admin socket would count as well.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lb_core::config::{Config, RawAdvertisement, RawPool};
use lb_core::eligibility::Link;
use lb_core::ids::{LinkId, LinkName, Mac, NodeName, ServiceKey};
use lb_core::plan::{AnnouncedService, Snapshot, plan};

use crate::agent::{Agent, AgentConfig};
use crate::link::{Interface, Veth, mac};
use crate::namespace::Namespace;
use crate::scratch::{Bpffs, Scratch};

/// Services in one file: a folder of as many files as Services is nobody's habit.
const PER_FILE: u32 = 1000;
/// How long the agent is watched when nothing happens.
const IDLE: Duration = Duration::from_secs(20);
/// Longer than the longest pause between two announcements of an address.
const QUIET: Duration = Duration::from_secs(4);
/// For a start, and for the announcements after it.
const LIMIT: Duration = Duration::from_mins(5);
/// Link events whose cost is averaged.
const EVENTS: u32 = 10;

/// What one agent with so many addresses costs.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentCost {
    /// Addresses, half of each family.
    pub addresses: u32,
    /// From the start of the process to a table with all of them that is answered from.
    pub cold_start: Duration,
    /// The same with the maps and statuses of an agent before: the time without a deadline being moved.
    pub warm_start: Duration,
    /// Resident memory when nothing happens, bytes. The maps are the kernel's and not in it.
    pub resident: u64,
    /// The most it ever was, bytes.
    pub resident_peak: u64,
    /// Share of one core when nothing happens.
    pub idle: f64,
    /// Processor time of one change of an interface that changes no address of ours.
    pub link_event: Duration,
    /// One plan, the median of several.
    pub plan: Duration,
}

/// Measures an agent with `addresses` addresses. Takes about a minute; needs root.
pub fn measure(barelb: &Path, addresses: u32) -> Result<AgentCost> {
    let bed = Bed::new(barelb, addresses)?;
    let (mut agent, cold_start) = bed.start()?;
    bed.wait_quiet()?;
    // From here on everything is as on a node that has been up for long.
    agent.process().term()?;
    ensure!(agent.process().wait(LIMIT)?.is_some(), "the agent does not end");
    let (agent, warm_start) = bed.start()?;
    bed.wait_quiet()?;
    let mut clock = ProcessorTime::new(agent.pid());
    let before = clock.read()?;
    let started = Instant::now();
    while started.elapsed() < IDLE {
        sleep(Duration::from_secs(1));
        clock.read()?;
    }
    let idle = clock.read()?.saturating_sub(before).as_secs_f64() / started.elapsed().as_secs_f64();
    let memory = Memory::of(agent.pid())?;
    let link_event = bed.link_event(&mut clock, idle)?;
    Ok(AgentCost {
        addresses,
        cold_start,
        warm_start,
        resident: memory.now,
        resident_peak: memory.peak,
        idle,
        link_event,
        plan: plan_time(addresses)?,
    })
}

/// A namespace with one interface and a folder of manifests.
struct Bed {
    node: Interface,
    _client: Interface,
    config: AgentConfig,
    services: usize,
    _bpffs: Bpffs,
    _folder: Scratch,
}

impl Bed {
    fn new(barelb: &Path, addresses: u32) -> Result<Self> {
        let (client, node) = (Namespace::new("client")?, Namespace::new("node")?);
        let cable = Veth::new((&client, "eth0", mac(10)), (&node, "eth0", mac(11)))?;
        let folder = Scratch::new("agent-cost")?;
        let (manifests, state) = (folder.join("manifests"), folder.join("state"));
        fs::create_dir_all(&manifests)?;
        write_manifests(&manifests, addresses)?;
        let bpffs = Bpffs::new("agent-cost-bpffs")?;
        let room = (addresses + 1024).max(4096).to_string();
        let config = AgentConfig {
            namespace: node,
            interface: cable.b.name().to_owned(),
            node: "node-a".to_owned(),
            manifests,
            bpffs: bpffs.path().to_owned(),
            state,
            // The only one of the modes that needs nothing at the other end of the cable.
            mode: "tcx".to_owned(),
            grace: None,
            // As fast as it goes: the announcements are not what is measured, and they must be over.
            extra: ["--max-vips", &room, "--announce-rate", "1000000"].map(str::to_owned).to_vec(),
            binary: barelb.to_owned(),
        };
        let services = usize::try_from(services(addresses))?;
        Ok(Self { node: cable.b, _client: cable.a, config, services, _bpffs: bpffs, _folder: folder })
    }

    /// Starts the agent and waits until it answers and has written every status.
    fn start(&self) -> Result<(Agent, Duration)> {
        let started = Instant::now();
        let log = self.config.log_file();
        drop(fs::remove_file(&log));
        let mut agent = Agent::start(&self.config)?;
        agent.wait_until(LIMIT, "the table is not up to date", |agent| agent.log().contains("in step"))?;
        let took = started.elapsed();
        let status = self.config.manifests.join("status");
        agent.wait_until(LIMIT, "statuses are missing", |_| {
            fs::read_dir(&status).is_ok_and(|files| files.count() > self.services)
        })?;
        Ok((agent, took))
    }

    /// Waits until the announcements are over.
    fn wait_quiet(&self) -> Result<()> {
        let deadline = Instant::now() + LIMIT;
        let (mut sent, mut since) = (self.sent()?, Instant::now());
        while since.elapsed() < QUIET {
            ensure!(Instant::now() < deadline, "still announcing after {LIMIT:?}");
            sleep(Duration::from_millis(200));
            let now = self.sent()?;
            // Some reports of the kernel's for multicast groups are no announcements.
            if now.abs_diff(sent) > 2 {
                (sent, since) = (now, Instant::now());
            }
        }
        Ok(())
    }

    fn sent(&self) -> Result<u64> {
        let path = format!("/sys/class/net/{}/statistics/tx_packets", self.node.name());
        let text = self.node.namespace().enter(|| Ok(fs::read_to_string(&path)?))?;
        text.trim().parse().with_context(|| format!("{path} is no number"))
    }

    /// Processor time of one change of an interface, beyond what is used when nothing happens.
    fn link_event(&self, clock: &mut ProcessorTime, idle: f64) -> Result<Duration> {
        let before = clock.read()?;
        let started = Instant::now();
        for event in 0..EVENTS {
            let mtu = if event % 2 == 0 { "1400" } else { "1500" };
            self.node.namespace().ip(&["link", "set", self.node.name(), "mtu", mtu])?;
            sleep(Duration::from_millis(500));
        }
        let used = clock.read()?.saturating_sub(before);
        Ok(used.saturating_sub(started.elapsed().mul_f64(idle)) / EVENTS)
    }
}

/// Processor time of a process, its kernel part included. A thread that ends takes at most what it used since the
/// last reading with it.
struct ProcessorTime {
    pid: u32,
    threads: BTreeMap<String, u64>,
}

impl ProcessorTime {
    fn new(pid: u32) -> Self {
        Self { pid, threads: BTreeMap::new() }
    }

    fn read(&mut self) -> Result<Duration> {
        let tasks = format!("/proc/{}/task", self.pid);
        for task in fs::read_dir(&tasks).with_context(|| format!("cannot read {tasks}"))?.flatten() {
            let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            if let Some(Ok(ran)) = text.split_whitespace().next().map(str::parse) {
                self.threads.insert(task.file_name().to_string_lossy().into_owned(), ran);
            }
        }
        Ok(Duration::from_nanos(self.threads.values().sum()))
    }
}

struct Memory {
    now: u64,
    peak: u64,
}

impl Memory {
    fn of(pid: u32) -> Result<Self> {
        let path = format!("/proc/{pid}/status");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            let kib: Option<u64> = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
            kib.map(|kib| kib << 10).with_context(|| format!("no {name} in {path}"))
        };
        Ok(Self { now: field("VmRSS:")?, peak: field("VmHWM:")? })
    }
}

/// Dual-stack Services, each asking for its two addresses, and a pool that has them all.
fn write_manifests(folder: &Path, addresses: u32) -> Result<()> {
    let pools = "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\n\
                 metadata: {name: cost, namespace: metallb-system}\n\
                 spec: {addresses: [198.18.0.0/15, '2001:db8::/64']}\n---\n\
                 apiVersion: metallb.io/v1beta1\nkind: L2Advertisement\n\
                 metadata: {name: cost, namespace: metallb-system}\n";
    fs::write(folder.join("pools.yaml"), pools)?;
    let numbers: Vec<u32> = (0..services(addresses)).collect();
    for (file, numbers) in numbers.chunks(PER_FILE as usize).enumerate() {
        let mut text = String::new();
        for number in numbers {
            let [v4, v6] = ips(*number);
            write!(
                text,
                "---\napiVersion: v1\nkind: Service\nmetadata:\n  name: web-{number}\n  namespace: default\n  \
                 labels: {{app: web-{number}}}\n  annotations:\n    metallb.io/loadBalancerIPs: \"{v4},{v6}\"\n\
                 spec:\n  type: LoadBalancer\n  ipFamilyPolicy: RequireDualStack\n  ipFamilies: [IPv4, IPv6]\n  \
                 selector: {{app: web-{number}}}\n  ports:\n  - {{name: http, protocol: TCP, port: 80}}\n"
            )?;
        }
        fs::write(folder.join(format!("services-{file:03}.yaml")), text)?;
    }
    Ok(())
}

fn ips(number: u32) -> [IpAddr; 2] {
    let v6 = u128::from(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0)) + u128::from(number) + 1;
    [Ipv4Addr::from(u32::from(Ipv4Addr::new(198, 18, 0, 0)) + number + 1).into(), Ipv6Addr::from(v6).into()]
}

/// The median of plans over the same Services as values.
fn plan_time(addresses: u32) -> Result<Duration> {
    let snapshot = snapshot(addresses)?;
    let mut times = Vec::new();
    for _ in 0..5 {
        let started = Instant::now();
        let plan = plan(&snapshot);
        times.push(started.elapsed());
        let expected = usize::try_from(2 * services(addresses))?;
        ensure!(plan.desired.len() == expected, "the plan has {} entries", plan.desired.len());
    }
    times.sort_unstable();
    times.get(times.len() / 2).copied().context("no plan was made")
}

fn snapshot(addresses: u32) -> Result<Snapshot> {
    let pool = RawPool {
        name: "cost".to_owned(),
        addresses: vec!["198.18.0.0/15".to_owned(), "2001:db8::/64".to_owned()],
        ..RawPool::default()
    };
    let advertisement = RawAdvertisement { name: "cost".to_owned(), ..RawAdvertisement::default() };
    let config = Config::validate_strict(&[pool], &[advertisement], &[]);
    let (config, _) = config.ok().context("the pool of the measurement is refused")?;
    let mut snapshot = Snapshot::alone(NodeName::new("node-a")?);
    snapshot.config = std::sync::Arc::new(config);
    snapshot.links = vec![Link {
        id: LinkId(2),
        name: LinkName::new("eth0")?,
        mac: Some(Mac(mac(11))),
        up: true,
        carrier: true,
        enslaved: false,
        noarp: false,
        addresses: Vec::new(),
    }];
    let all = (0..services(addresses)).map(|number| {
        let service = AnnouncedService { ingress: ips(number).to_vec(), ..AnnouncedService::default() };
        Ok((ServiceKey::new("default", format!("web-{number}"))?, service))
    });
    snapshot.services = all.collect::<Result<_>>()?;
    Ok(snapshot)
}

fn services(addresses: u32) -> u32 {
    addresses.div_ceil(2)
}
