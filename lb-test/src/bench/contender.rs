//! Everybody who answers, each on a bed of its own.

use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use aya::Ebpf;
use aya::programs::xdp::XdpMode;

use super::bed::{self, Bed, RESPONDER, Run, SinkHook};
use super::cpu::{self, Priority};
use super::packet_socket::Responder;
use super::plan::{self, Family, To};
use super::{Options, layout, ours};
use crate::link::{Bridge, mac_text};
use crate::process::Process;

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
    bed: Bed,
    // Dropped with the contender: programs detach, processes end.
    _object: Option<Ebpf>,
    process: Option<Process>,
    responder: Option<Responder>,
}

impl Contender {
    /// Sets it up with `vips` addresses of each family.
    pub(super) fn new(options: &Options, kind: Kind, vips: u32, logs: &Path) -> Result<Self> {
        let name = kind.name();
        let set_up = Self::set_up(options, kind, name.clone(), vips, logs);
        set_up.with_context(|| format!("cannot set up the contender \"{name}\""))
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
            Kind::Other(command) => process = Some(other(&bed, vips, command, &logs.join(format!("{name}.log")))?),
        }
        bed.settle(Priority::High)?;
        if let Some(process) = &process {
            for thread in cpu::threads(process.pid()) {
                cpu::bind(thread, cpu::RESPONDER)?;
                cpu::prioritise(thread, Priority::High)?;
            }
        }
        Ok(Self { name, kind, vips, bed, _object: object, process, responder })
    }

    /// Whether it can answer requests of the family at all.
    pub(super) fn speaks(&self, family: Family) -> bool {
        family == Family::Arp || !matches!(self.kind, Kind::Ebtables | Kind::Farpd)
    }

    /// Its bed.
    pub(super) fn bed(&mut self) -> &mut Bed {
        &mut self.bed
    }

    /// Threads of its own, besides the kernel's that receives for it.
    pub(super) fn threads(&self) -> Vec<i32> {
        let processes = self.process.iter().flat_map(|process| cpu::threads(process.pid()));
        processes.chain(self.responder.iter().map(Responder::thread)).collect()
    }

    /// Asks for its addresses for `time`, `interval_ns` apart (0 = as fast as possible). With it, what counts as
    /// an answer: for those that only send frames back, everything that comes.
    pub(super) fn ask(&mut self, family: Family, to: To, interval_ns: u64, time: Duration) -> Result<Run> {
        let mut plan = Bed::plan(family, to, self.vips);
        plan.interval_ns = interval_ns;
        self.ask_plan(&plan, time, None)
    }

    /// As [`Contender::ask`], with a plan and a number of frames.
    pub(super) fn ask_plan(&mut self, plan: &layout::Plan, time: Duration, frames: Option<u64>) -> Result<Run> {
        let threads = self.threads();
        let mut run = self.bed.run(plan, time, frames, &threads)?;
        if matches!(self.kind, Kind::Swap | Kind::Reflect) {
            run.good = run.other + run.wrong;
            run.wrong = 0;
        }
        Ok(run)
    }
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
            Self::Farpd => "farpd",
            Self::Other(command) => return command.split('=').next().unwrap_or(command).to_owned(),
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

/// The far end becomes a port of a bridge whose rules answer; the legacy tool, because the nft one has no arpreply.
fn arpreply(bed: &Bed, vips: u32) -> Result<()> {
    let namespace = bed.far.namespace();
    let bridge = Bridge::new(namespace, "br0")?;
    bridge.add_port(&bed.far)?;
    let mac = mac_text(RESPONDER);
    for index in 0..vips {
        let address = plan::vip_v4(index).to_string();
        let rule = ["-t", "nat", "-A", "PREROUTING", "-p", "ARP", "--arp-opcode", "Request", "--arp-ip-dst"];
        let target = [&address[..], "-j", "arpreply", "--arpreply-mac", &mac];
        namespace.exec("ebtables-legacy", &[&rule[..], &target].concat())?;
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
    let process = namespace.spawn("farpd", &["-d", "-i", bed.far.name(), &format!("{}/24", plan::vip_v4(0))], log)?;
    if vips > 250 {
        bail!("farpd is given one /24");
    }
    thread::sleep(Duration::from_millis(500));
    Ok(process)
}

/// `NAME=COMMAND`, run by the shell in the responder's namespace.
fn other(bed: &Bed, vips: u32, given: &str, log: &Path) -> Result<Process> {
    let (_, command) = given.split_once('=').context("--with wants NAME=COMMAND")?;
    let addresses: Vec<String> = (0..vips)
        .flat_map(|index| [plan::vip_v4(index).to_string(), plan::vip_v6(index).to_string()])
        .collect();
    let mut shell = bed.far.namespace().command("sh");
    shell.args(["-c", &format!("exec {command}")]);
    shell.env("IFACE", bed.far.name()).env("VIPS", addresses.join(" ")).env("MAC", mac_text(RESPONDER));
    let process = bed.far.namespace().spawn_command(&mut shell, log)?;
    thread::sleep(Duration::from_secs(1));
    Ok(process)
}

