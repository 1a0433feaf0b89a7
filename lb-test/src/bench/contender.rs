//! Everybody who answers, each on a bed of its own.

use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use aya::Ebpf;
use aya::programs::xdp::XdpMode;

use super::bed::{self, Bed, Run, SinkHook};
use super::cpu::{self, Priority};
use super::layout::{LATENCY, Plan};
use super::packet_socket::Responder;
use super::plan::{self, Answer, FAMILIES, Family, RESPONDER, To};
use super::{Options, ours};
use crate::link::{Bridge, mac_text};
use crate::process::Process;

/// Before the first measurement: nanoseconds between requests, and for how long; first briskly, then, for those who
/// do not answer yet, gently and several times.
const BRISK: (u64, Duration) = (1_000_000, Duration::from_millis(200));
const GENTLE: (u64, Duration) = (50_000_000, Duration::from_secs(1));
const GENTLE_TRIES: usize = 6;
/// Bytes of a contender's output that are shown when it fails.
const LAST_WORDS: usize = 300;

/// How to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Our XDP program, native.
    Native,
    /// Our tcx program.
    Tcx,
    /// Our XDP program, generic.
    Generic,
    /// Sends back what comes, addresses swapped: no responder can be faster.
    Swap,
    /// Sends back what comes, untouched.
    Reflect,
    /// The kernel owns the addresses.
    Kernel,
    /// A process with a packet ring.
    PacketSocket,
    /// The bridge answers (`ebtables -j arpreply`).
    Ebtables,
    /// Debian's farpd.
    Farpd,
    /// A command of the user's.
    Other(String),
}

/// One of them on its bed.
pub(super) struct Contender {
    /// What the tables call it.
    pub(super) name: String,
    /// What it does.
    pub(super) kind: Kind,
    /// Addresses of each family.
    pub(super) vips: u32,
    /// Protocols it answers.
    families: Vec<Family>,
    bed: Bed,
    // Dropped with the contender: programs detach, processes end.
    _object: Option<Ebpf>,
    process: Option<Process>,
    responder: Option<Responder>,
}

impl Contender {
    /// Sets it up with `vips` addresses of each family, and sees it answer.
    pub(super) fn new(options: &Options, kind: Kind, vips: u32, logs: &Path) -> Result<Self> {
        let name = kind.name();
        let set_up = Self::set_up(options, kind, name.clone(), vips, logs).and_then(Self::proven);
        set_up.with_context(|| format!("cannot measure \"{name}\""))
    }

    fn set_up(options: &Options, kind: Kind, name: String, vips: u32, logs: &Path) -> Result<Self> {
        let mut bed = Bed::new(options, "bench", kind.hook())?;
        let (mut object, mut process, mut responder) = (None, None, None);
        let index = bed.far.index();
        match &kind {
            Kind::Native | Kind::Generic => {
                let mode = if kind == Kind::Native { XdpMode::Driver } else { XdpMode::Skb };
                let mut loaded = ours::load(options, index, vips)?;
                bed::attach_xdp(bed::xdp(&mut loaded, ours::NATIVE)?, &bed.far, mode)?;
                object = Some(loaded);
            }
            Kind::Tcx => {
                let mut loaded = ours::load(options, index, vips)?;
                bed::attach_tcx(bed::tcx(&mut loaded, ours::TCX)?, &bed.far)?;
                object = Some(loaded);
            }
            Kind::Swap | Kind::Reflect => {
                let name = if kind == Kind::Swap { "rig_swap" } else { "rig_reflect" };
                let far = bed.far.clone();
                bed::attach_xdp(bed::xdp(bed.rig(), name)?, &far, XdpMode::Driver)?;
            }
            Kind::Kernel => own_addresses(&bed, vips)?,
            Kind::PacketSocket => responder = Some(Responder::start(&bed.far, vips, RESPONDER)?),
            Kind::Ebtables => arpreply(&bed, vips)?,
            Kind::Farpd => process = Some(farpd(&bed, vips, &logs.join("farpd.log"))?),
            Kind::Other(command) => {
                process = Some(other(&bed, vips, command, &logs.join(format!("{name}.log")))?);
            }
        }
        for thread in process.iter().flat_map(|process| cpu::threads(process.pid())) {
            // What it starts later inherits it.
            cpu::bind(thread, cpu::RESPONDER)?;
        }
        Ok(Self { name, kind, vips, families: Vec::new(), bed, _object: object, process, responder })
    }

    /// Asks gently until it answers: some start slowly, and farpd first asks whether somebody else has the address.
    fn proven(mut self) -> Result<Self> {
        for family in FAMILIES {
            if family == Family::Neighbour && matches!(self.kind, Kind::Ebtables | Kind::Farpd) {
                continue;
            }
            let run = self.wakes(family)?;
            let answered = is_awake(&run);
            if answered {
                self.families.push(family);
            }
            // A command of the user's may know one family only.
            ensure!(
                answered || matches!(self.kind, Kind::Other(_)),
                "of {} {} requests it answered {}, and {} wrongly{}",
                run.asked,
                family.name(),
                run.good,
                run.wrong,
                self.last_words()
            );
        }
        ensure!(!self.families.is_empty(), "it answers nothing{}", self.last_words());
        Ok(self)
    }

    /// The first run in which it answers, or the last one.
    fn wakes(&mut self, family: Family) -> Result<Run> {
        let mut run = Run::default();
        for (interval_ns, time) in [BRISK].into_iter().chain([GENTLE; GENTLE_TRIES]) {
            let plan = Plan { interval_ns, ..self.plan(family, To::All) };
            run = self.ask(&plan, time)?;
            if is_awake(&run) {
                break;
            }
        }
        Ok(run)
    }

    /// The end of what its process wrote, for an error message.
    fn last_words(&mut self) -> String {
        let Some(process) = &mut self.process else { return String::new() };
        let state = if process.is_running() { "runs" } else { "has ended" };
        let log = process.log();
        let start = log.char_indices().rev().nth(LAST_WORDS).map_or(0, |(at, _)| at);
        format!("; its process {state} and last wrote: {}", log[start..].trim().replace('\n', " / "))
    }

    /// Whether it answers requests of the family at all.
    pub(super) fn speaks(&self, family: Family) -> bool {
        self.families.contains(&family)
    }

    /// Requests for its addresses as fast as it goes, and what is an answer from it.
    pub(super) fn plan(&self, family: Family, to: To) -> Plan {
        let answer = match self.kind {
            Kind::Swap => Answer::Swapped,
            Kind::Reflect => Answer::Same,
            Kind::Native
            | Kind::Tcx
            | Kind::Generic
            | Kind::Kernel
            | Kind::PacketSocket
            | Kind::Ebtables
            | Kind::Other(_) => Answer::Reply,
            Kind::Farpd => Answer::ToEverybody,
        };
        plan::plan(family, to, answer, self.vips)
    }

    /// Its bed.
    pub(super) fn bed(&mut self) -> &mut Bed {
        &mut self.bed
    }

    /// Carries out a plan.
    pub(super) fn ask(&mut self, plan: &Plan, time: Duration) -> Result<Run> {
        let (process, responder) = (&self.process, &self.responder);
        let beside = process.is_some() || responder.is_some();
        // As the interrupt that it stands for; but a process must not starve beside it, and ksoftirqd, to which
        // the kernel then hands the work, is its equal.
        let measures_the_process = beside && plan.flags & LATENCY == 0;
        self.bed.settle(if measures_the_process { Priority::Normal } else { Priority::Interrupt })?;
        let threads = || threads_of(process.as_ref(), responder.as_ref());
        self.bed.run(plan, time, &threads)
    }
}

/// At least half of what it was asked.
fn is_awake(run: &Run) -> bool {
    run.good > 0 && 2 * run.good >= run.asked
}

fn threads_of(process: Option<&Process>, responder: Option<&Responder>) -> Vec<i32> {
    let own = process.map_or_else(Vec::new, |process| cpu::threads(process.pid()));
    own.into_iter().chain(responder.map(Responder::thread)).collect()
}

impl Kind {
    /// What the tables call it.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Native => "BareLB, native XDP",
            Self::Tcx => "BareLB, tcx",
            Self::Generic => "BareLB, generic XDP",
            Self::Swap => "bare MAC swap (XDP)",
            Self::Reflect => "bare XDP_TX",
            Self::Kernel => "Linux owns the addresses",
            Self::PacketSocket => "AF_PACKET ring, batched (Rust)",
            Self::Ebtables => "ebtables arpreply",
            Self::Farpd => "farpd (answers to all stations)",
            Self::Other(given) => given.split('=').next().unwrap_or(given),
        }
        .to_owned()
    }

    fn hook(&self) -> SinkHook {
        if matches!(self, Self::Native | Self::Swap | Self::Reflect) { SinkHook::Xdp } else { SinkHook::Tcx }
    }
}

fn own_addresses(bed: &Bed, vips: u32) -> Result<()> {
    for index in 0..vips {
        bed.far.add_address(&format!("{}/32", plan::vip_v4(index)))?;
        bed.far.add_address(&format!("{}/128", plan::vip_v6(index)))?;
    }
    for network in plan::REQUESTERS {
        let family = if network.contains(':') { "-6" } else { "-4" };
        bed.far.namespace().ip(&[family, "route", "add", network, "dev", bed.far.name()])?;
    }
    Ok(())
}

/// The far end becomes a port of a bridge whose rules answer.
fn arpreply(bed: &Bed, vips: u32) -> Result<()> {
    let namespace = bed.far.namespace();
    let bridge = Bridge::new(namespace, "br0")?;
    bridge.add_port(&bed.far)?;
    let mac = mac_text(RESPONDER);
    for index in 0..vips {
        let address = plan::vip_v4(index).to_string();
        let rule = ["-t", "nat", "-A", "PREROUTING", "-p", "ARP", "--arp-opcode", "Request", "--arp-ip-dst"];
        let target = [&address[..], "-j", "arpreply", "--arpreply-mac", &mac];
        let rule = [&rule[..], &target].concat();
        // Kernels come with either of the two interfaces, or both.
        namespace.exec("ebtables-nft", &rule).or_else(|error| {
            namespace.exec("ebtables-legacy", &rule).with_context(|| format!("{error:#}"))
        })?;
    }
    Ok(())
}

/// farpd answers for addresses that nobody else has: it asks first, so each is asked for once before the run.
fn farpd(bed: &Bed, vips: u32, log: &Path) -> Result<Process> {
    let namespace = bed.far.namespace();
    bed.far.add_address("10.255.255.254/32")?;
    for network in &plan::REQUESTERS[..1] {
        namespace.ip(&["route", "add", network, "dev", bed.far.name()])?;
    }
    namespace.ip(&["route", "add", &format!("{}/24", plan::vip_v4(0)), "dev", bed.far.name()])?;
    if vips > 250 {
        bail!("farpd is given one /24");
    }
    namespace.spawn("farpd", &["-d", "-i", bed.far.name(), &format!("{}/24", plan::vip_v4(0))], log)
}

/// `NAME=COMMAND`, run by the shell in the responder's namespace.
fn other(bed: &Bed, vips: u32, given: &str, log: &Path) -> Result<Process> {
    let (_, command) = given.split_once('=').context("--with wants NAME=COMMAND")?;
    let addresses: Vec<String> = (0..vips)
        .flat_map(|index| [plan::vip_v4(index).to_string(), plan::vip_v6(index).to_string()])
        .collect();
    let mut shell = bed.far.namespace().command("sh");
    shell.args(["-c", command]);
    shell.env("IFACE", bed.far.name()).env("VIPS", addresses.join(" ")).env("MAC", mac_text(RESPONDER));
    let process = bed.far.namespace().spawn_command(&mut shell, log)?;
    // Until the command has taken the place of the shell and started its threads.
    thread::sleep(Duration::from_secs(1));
    Ok(process)
}
