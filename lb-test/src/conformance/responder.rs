//! The BPF object with maps of its own, and every look inside that a test wants.

use std::env;
use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use aya::maps::{Array, HashMap, MapData, PerCpuArray, PerCpuValues, RingBuf};
use aya::programs::{SchedClassifier, TestRun, TestRunOptions, Xdp};
use aya::util::nr_cpus;
use aya::{Ebpf, Pod};
use lb_common::abi::{self, Agent, Counters, Entry, Event, KeyStation, KeyV4, Member, Reflector, State};
use lb_common::addr::Mac;
use lb_common::outcome::Outcome;

use super::vectors::parse::{Case, NODE};
use crate::rig::workspace;

/// `TCX_NEXT` as the unsigned number a test run returns.
const TCX_NEXT: u32 = u32::MAX;
/// `TC_ACT_REDIRECT`.
const REDIRECT: u32 = 7;
/// `XDP_PASS`.
const XDP_PASS: u32 = 2;
/// `XDP_TX`.
const XDP_TX: u32 = 3;
/// Room for what a program may make of a frame.
const ROOM: usize = 256;

/// Which of the programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// `barelb_xdp`, for frames in several buffers too.
    Xdp,
    /// `barelb_xdp_plain`, for older kernels.
    XdpPlain,
    /// `barelb_tcx`.
    Tcx,
}

/// What a test run made of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    /// The program wants the frame sent back; else handed to the stack.
    pub sent_back: bool,
    /// The frame afterwards.
    pub bytes: Vec<u8>,
}

/// The loaded object.
#[derive(Debug)]
pub struct Responder {
    object: Ebpf,
}

impl Program {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Xdp, Self::XdpPlain, Self::Tcx];

    /// Its name in the object.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Xdp => "barelb_xdp",
            Self::XdpPlain => "barelb_xdp_plain",
            Self::Tcx => "barelb_tcx",
        }
    }
}

impl Responder {
    /// Loads the object and all its programs: the verifier sees each.
    pub fn load() -> Result<Self> {
        let path = bpf_object();
        let mut object = Ebpf::load_file(&path).with_context(|| {
            format!(
                "cannot load {}: `cargo xtask build` makes it, BARELB_BPF_OBJECT names another",
                path.display()
            )
        })?;
        for program in Program::ALL {
            let loaded = object.program_mut(program.name()).context("no such program in the object")?;
            match program {
                Program::Xdp | Program::XdpPlain => TryInto::<&mut Xdp>::try_into(loaded)?.load(),
                Program::Tcx => TryInto::<&mut SchedClassifier>::try_into(loaded)?.load(),
            }
            .with_context(|| format!("the kernel refused {}", program.name()))?;
        }
        Ok(Self { object })
    }

    /// The object itself, to attach a program.
    pub fn object(&mut self) -> &mut Ebpf {
        &mut self.object
    }

    /// Instructions the verifier walked.
    pub fn verified_instructions(&self, program: Program) -> Result<u32> {
        let info = self.object.program(program.name()).context("no such program in the object")?.info()?;
        info.verified_instruction_count().context("the kernel does not say; it does from 5.16")
    }

    /// Makes the maps what the case says, for frames that come in by `link`: entry number N has slot N, everything
    /// noted before is forgotten.
    pub fn arrange(&mut self, case: &Case, link: u32) -> Result<()> {
        let other = link + 1;
        let v4: Vec<_> = slots(case.v4(link, other), 0);
        let v6: Vec<_> = slots(case.v6(link, other), v4.len());
        self.replace(abi::VIPS_V4, &v4)?;
        self.replace(abi::VIPS_V6, &v6)?;
        let zero = Counters::default();
        for slot in 0..v4.len() + v6.len() {
            let values = PerCpuValues::try_from(vec![zero; cpus()?])?;
            self.counters_map()?.set(u32::try_from(slot)?, values, 0)?;
        }
        self.reflect(link, &case.reflectors, &case.members)?;
        self.agent(case.agent)?;
        self.events()?;
        Ok(())
    }

    /// Probes to these addresses (with discriminator, and whether they are up) are reflected to these stations.
    pub fn reflect(
        &mut self,
        link: u32,
        own: &[(IpAddr, u32, bool)],
        members: &[(IpAddr, Mac)],
    ) -> Result<()> {
        let own =
            own.iter().map(|(ip, number, up)| (KeyStation::at(link, *ip), Reflector::new(*number, *up)));
        let members = members.iter().map(|(ip, mac)| (KeyStation::at(link, *ip), Member::new(*mac)));
        self.replace(abi::REFLECTORS, &own.collect::<Vec<_>>())?;
        self.replace(abi::MEMBERS, &members.collect::<Vec<_>>())
    }

    /// One entry more.
    pub fn insert_v4(&mut self, key: &KeyV4, entry: &Entry) -> Result<()> {
        let map = self.object.map_mut(abi::VIPS_V4).context("no map VIPS_V4")?;
        let mut map: HashMap<_, KeyV4, Entry> = map.try_into()?;
        Ok(map.insert(key, entry, 0)?)
    }

    /// Sets the deadline far ahead, or into the past.
    pub fn agent(&mut self, valid: bool) -> Result<()> {
        let map = self.object.map_mut(abi::AGENT).context("no map AGENT")?;
        let valid_until_ns = if valid { u64::MAX } else { 1 };
        Ok(Array::try_from(map)?.set(0, Agent { valid_until_ns, ..Agent::default() }, 0)?)
    }

    /// How often each outcome was counted so far, over all CPUs; by [`Outcome::index`].
    pub fn outcomes(&self) -> Result<Vec<u64>> {
        let map = self.object.map(abi::OUTCOMES).context("no map OUTCOMES")?;
        let counts: PerCpuArray<_, u64> = map.try_into()?;
        let sum = |outcome: &Outcome| Ok(counts.get(&outcome.index(), 0)?.iter().sum());
        Outcome::ALL.iter().map(sum).collect()
    }

    /// The counters of a slot on each CPU.
    pub fn counters(&mut self, slot: u32) -> Result<Vec<Counters>> {
        Ok(self.counters_map()?.get(&slot, 0)?.to_vec())
    }

    /// Takes every event out of the ring.
    pub fn events(&mut self) -> Result<Vec<Event>> {
        let map = self.object.map_mut(abi::EVENTS).context("no map EVENTS")?;
        let mut ring = RingBuf::try_from(map)?;
        let mut events = Vec::new();
        while let Some(item) = ring.next() {
            let Ok(bytes) = <[u8; size_of::<Event>()]>::try_from(&*item) else {
                bail!("an event of {} bytes", item.len());
            };
            // SAFETY: an Event is repr(C), of integers and byte arrays, without padding: any bytes are one.
            events.push(unsafe { std::mem::transmute::<[u8; size_of::<Event>()], Event>(bytes) });
        }
        Ok(events)
    }

    /// One test run. Frames come in by the loopback link, number 1.
    pub fn run(&self, program: Program, frame: &[u8]) -> Result<Ran> {
        let mut bytes = vec![0; frame.len() + ROOM];
        let mut options = TestRunOptions::new();
        options.data_in = Some(frame);
        options.data_out = Some(&mut bytes);
        let context = xdp_context(u32::try_from(frame.len())?);
        let found = self.object.program(program.name()).context("no such program in the object")?;
        let ran = match program {
            Program::Xdp | Program::XdpPlain => {
                options.ctx_in = Some(&context);
                TryInto::<&Xdp>::try_into(found)?.test_run(options)?
            }
            Program::Tcx => TryInto::<&SchedClassifier>::try_into(found)?.test_run(options)?,
        };
        let sent_back = match (program, ran.return_value) {
            (Program::Xdp | Program::XdpPlain, XDP_PASS) | (Program::Tcx, TCX_NEXT) => false,
            (Program::Xdp | Program::XdpPlain, XDP_TX) | (Program::Tcx, REDIRECT) => true,
            (_, other) => bail!("{} returned {other}", program.name()),
        };
        bytes.truncate(ran.data_size_out as usize);
        Ok(Ran { sent_back, bytes })
    }

    fn counters_map(&mut self) -> Result<PerCpuArray<&mut MapData, Counters>> {
        Ok(self.object.map_mut(abi::COUNTERS).context("no map COUNTERS")?.try_into()?)
    }

    fn replace<K: Pod, V: Pod>(&mut self, name: &str, entries: &[(K, V)]) -> Result<()> {
        let map = self.object.map_mut(name).with_context(|| format!("no map {name}"))?;
        let mut map: HashMap<_, K, V> = map.try_into()?;
        for key in map.keys().collect::<Result<Vec<_>, _>>()? {
            map.remove(&key)?;
        }
        entries.iter().try_for_each(|(key, entry)| Ok(map.insert(key, entry, 0)?))
    }
}

/// Where the compiled programs are: `BARELB_BPF_OBJECT`, or where `cargo xtask build` leaves them.
pub fn bpf_object() -> PathBuf {
    let given = env::var_os("BARELB_BPF_OBJECT").map(PathBuf::from);
    given.unwrap_or_else(|| workspace().join("target/bpf/barelb.o"))
}

fn slots<K>(keys: Vec<(K, State)>, first: usize) -> Vec<(K, Entry)> {
    let slot = |n: usize| u32::try_from(first + n).unwrap_or(u32::MAX);
    let numbered = keys.into_iter().enumerate();
    numbered.map(|(n, (key, state))| (key, Entry::new(NODE, state, slot(n)))).collect()
}

/// `struct xdp_md`: data, data end, metadata, ingress link, its queue, egress link.
fn xdp_context(len: u32) -> [u8; 24] {
    let mut context = [0; 24];
    context[4..8].copy_from_slice(&len.to_ne_bytes());
    context[12..16].copy_from_slice(&1_u32.to_ne_bytes());
    context
}

fn cpus() -> Result<usize> {
    nr_cpus().map_err(|(file, error)| anyhow::Error::new(error).context(file))
}
