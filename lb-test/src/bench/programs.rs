//! Program times, by `BPF_PROG_RUN`.
//!
//! The kernel does not restore the frame between the rounds of `repeat`. So `rig_replay` writes the whole request
//! before each round and calls the program under test from its end; the same with the empty program behind it,
//! taken in turn, is subtracted.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use aya::maps::{Array, ProgramArray};
use aya::programs::xdp::Xdp;
use aya::programs::{ProgramFd, TestRun, TestRunOptions};
use aya::{Ebpf, EbpfLoader};

use super::bed;
use super::cpu::{self, Priority};
use super::layout::{Generator, LOOKUPS, NEIGHBOUR, Plan};
use super::plan::{self, Answer, FEW, Family, To, VIPS};
use super::rounds::Rounds;
use super::stats::{self, Spread};
use super::{Options, ours, trace};

// linux/bpf.h
const XDP_PASS: u32 = 2;
const XDP_TX: u32 = 3;
/// `BPF_PROG_RUN` without a device says the frame came in by the loopback interface.
const LOOPBACK: u32 = 1;
/// Rounds per sample: some tens of milliseconds.
const REPEAT: u32 = 200_000;
const REPEAT_PASS: u32 = 2_000_000;
const REPEAT_LOOKUP: u32 = 1000;
/// Samples for each round of a contest: they are short.
const SAMPLES: usize = 3;

/// A line of a table.
pub(super) struct Time {
    pub(super) what: String,
    /// Beyond the empty program.
    pub(super) nanoseconds: Spread,
}

/// A line about a frame that is none of ours: its time, and the instructions executed, or why they are not known.
pub(super) struct Passed {
    pub(super) time: Time,
    pub(super) instructions: Result<usize>,
}

/// Names of the lines that goals are about; the number of addresses follows the first two.
pub(super) const ARP_HIT: &str = "ARP hit, ";
pub(super) const NS_HIT: &str = "NS hit, ";
pub(super) const SWAP: &str = "bare MAC swap";

/// Times of the programs for the frames that matter, beyond the empty program's.
pub(super) fn times(options: &Options, rounds: Rounds<'_>) -> Result<Vec<Time>> {
    let mut found = Vec::new();
    for vips in VIPS {
        found.extend(with_vips(options, rounds, vips)?);
    }
    Ok(found)
}

struct Case {
    what: String,
    program: ProgramFd,
    plan: Plan,
    family: Family,
    verdict: u32,
}

fn with_vips(options: &Options, rounds: Rounds<'_>, vips: u32) -> Result<Vec<Time>> {
    let mut rig = load_rig(options, 1)?;
    let mut object = ours::load(options, LOOPBACK, vips)?;
    let hit = fd(&mut object, ours::NATIVE)?;
    let [empty, swap] = [fd(&mut rig, "rig_pass")?, fd(&mut rig, "rig_swap")?];
    bed::xdp(&mut rig, "rig_replay")?;
    let arp = plan::plan(Family::Arp, To::All, Answer::Reply, vips);
    let solicitation = plan::plan(Family::Neighbour, To::All, Answer::Reply, vips);
    let case = |what: &str, program: &ProgramFd, plan: Plan, verdict| -> Result<Case> {
        let family = if plan.flags & NEIGHBOUR == 0 { Family::Arp } else { Family::Neighbour };
        Ok(Case { what: what.to_owned(), program: program.try_clone()?, plan, family, verdict })
    };
    let unknown = |plan: Plan| Plan { strangers: u32::MAX, ..plan };
    let mut cases = vec![
        case("empty, ARP frame", &empty, arp, XDP_PASS)?,
        case("empty, NS frame", &empty, solicitation, XDP_PASS)?,
        case(&format!("{ARP_HIT}{vips} addresses"), &hit, arp, XDP_TX)?,
        case(&format!("{NS_HIT}{vips} addresses"), &hit, solicitation, XDP_TX)?,
    ];
    if vips == FEW {
        cases.push(case(SWAP, &swap, arp, XDP_TX)?);
        cases.push(case("ARP for an unknown address", &hit, unknown(arp), XDP_PASS)?);
        cases.push(case("NS for an unknown address", &hit, unknown(solicitation), XDP_PASS)?);
    }
    let mut samples = vec![Vec::new(); cases.len()];
    for _ in 0..SAMPLES * rounds.count {
        rounds.interrupt.check()?;
        for (case, samples) in cases.iter().zip(&mut samples) {
            let time = replay(&mut rig, case).with_context(|| format!("case \"{}\"", case.what))?;
            samples.push(time);
        }
    }
    let empty = [samples[0].clone(), samples[1].clone()];
    let timed = cases.into_iter().zip(samples).skip(2);
    Ok(timed
        .map(|(case, samples)| line(case.what, &samples, &empty[usize::from(case.family != Family::Arp)]))
        .collect())
}

/// `samples` less `empty`, which were taken in turn.
fn line(what: String, samples: &[f64], empty: &[f64]) -> Time {
    let beyond: Vec<f64> = samples.iter().zip(empty).map(|(time, empty)| time - empty).collect();
    Time { what, nanoseconds: stats::spread(&beyond) }
}

fn replay(rig: &mut Ebpf, case: &Case) -> Result<f64> {
    ProgramArray::try_from(ours::map(rig, "TARGETS")?)?.set(0, &case.program, 0)?;
    Array::try_from(ours::map(rig, "PLAN")?)?.set(0, case.plan, 0)?;
    seed(rig)?;
    run(program(rig, "rig_replay")?, &vec![0; case.family.len()], REPEAT, case.verdict)
}

fn seed(rig: &mut Ebpf) -> Result<()> {
    let state = Generator { random: bed::SEED, ..Generator::default() };
    Ok(Array::try_from(ours::map(rig, "GENERATOR")?)?.set(0, state, 0)?)
}

fn program<'a>(object: &'a Ebpf, name: &str) -> Result<&'a Xdp> {
    Ok(object.program(name).with_context(|| format!("no program {name}"))?.try_into()?)
}

/// Processor nanoseconds per round, on the processor of the responder and before other programs of the machine.
/// The last round must end in `verdict`: a program that does not do its work must not look fast. By the thread's
/// own clock, because the kernel gives whole nanoseconds; what it does once per call vanishes in the repetition.
fn run(program: &Xdp, frame: &[u8], repeat: u32, verdict: u32) -> Result<f64> {
    cpu::bind(0, cpu::RESPONDER)?;
    cpu::prioritise(0, Priority::Ahead)?;
    let before = cpu::own_ns();
    let result = program.test_run(TestRunOptions { data_in: Some(frame), repeat, ..TestRunOptions::new() });
    let took = cpu::own_ns() - before;
    cpu::prioritise(0, Priority::Normal)?;
    let ended = result.context("BPF_PROG_RUN failed")?.return_value;
    ensure!(ended == verdict, "the verdict is {ended}, not {verdict}");
    Ok(Duration::from_nanos(took).as_secs_f64() * 1e9 / f64::from(repeat))
}

/// What the programs cost all other traffic.
pub(super) fn pass(options: &Options, rounds: Rounds<'_>) -> Result<Vec<Passed>> {
    let mut rig = load_rig(options, 1)?;
    let mut object = ours::load(options, LOOPBACK, FEW)?;
    let instructions = trace::translated(&fd(&mut object, ours::NATIVE)?)?;
    bed::xdp(&mut rig, "rig_pass")?;
    let (ours, empty) = (program(&object, ours::NATIVE)?, program(&rig, "rig_pass")?);
    let mut found = Vec::new();
    for (what, frame) in [
        ("IPv4 TCP, passed on", tcp_v4()),
        ("IPv6 TCP, passed on", tcp_v6()),
        ("IPv4 UDP, passed on", udp(tcp_v4())),
        ("IPv6 UDP, passed on", udp(tcp_v6())),
    ] {
        let [mut samples, mut nothing] = [const { Vec::new() }; 2];
        for _ in 0..SAMPLES * rounds.count {
            rounds.interrupt.check()?;
            nothing.push(run(empty, &frame, REPEAT_PASS, XDP_PASS)?);
            samples.push(run(ours, &frame, REPEAT_PASS, XDP_PASS)?);
        }
        let instructions = trace::executed(&instructions, &frame).and_then(|(count, verdict)| {
            ensure!(verdict == u64::from(XDP_PASS), "the interpreted program's verdict is {verdict}");
            Ok(count)
        });
        found.push(Passed { time: line(what.to_owned(), &samples, &nothing), instructions });
    }
    Ok(found)
}

/// One look-up in a hash map of so many entries, all present, in random order: IPv4 keys, then IPv6 keys.
pub(super) fn lookups(options: &Options, rounds: Rounds<'_>) -> Result<Vec<Time>> {
    let mut found = Vec::new();
    for vips in VIPS {
        let mut rig = load_rig(options, vips)?;
        ours::fill_v4(ours::map(&mut rig, "LOOKUP_V4")?, LOOPBACK, vips, 0)?;
        ours::fill_v6(ours::map(&mut rig, "LOOKUP_V6")?, LOOPBACK, vips, 0)?;
        Array::try_from(ours::map(&mut rig, "PLAN")?)?.set(0, Plan { vips, ..Plan::default() }, 0)?;
        for (family, look_up, only_keys) in
            [("IPv4", "rig_lookup_v4", "rig_keys_v4"), ("IPv6", "rig_lookup_v6", "rig_keys_v6")]
        {
            bed::xdp(&mut rig, look_up)?;
            bed::xdp(&mut rig, only_keys)?;
            seed(&mut rig)?;
            let (look_up, only_keys) = (program(&rig, look_up)?, program(&rig, only_keys)?);
            let [mut samples, mut keys] = [const { Vec::new() }; 2];
            for _ in 0..SAMPLES * rounds.count {
                rounds.interrupt.check()?;
                for (program, times) in [(look_up, &mut samples), (only_keys, &mut keys)] {
                    times.push(run(program, &[0; 60], REPEAT_LOOKUP, XDP_PASS)? / f64::from(LOOKUPS));
                }
            }
            found.push(line(format!("{family} key, {vips} entries"), &samples, &keys));
        }
    }
    Ok(found)
}

/// Instructions the verifier processed to accept each program.
pub(super) fn verified(options: &Options) -> Result<Vec<(String, u32)>> {
    let mut object = ours::load(options, LOOPBACK, FEW)?;
    let mut found = Vec::new();
    for name in ours::PROGRAMS {
        let info = if name == ours::TCX {
            bed::tcx(&mut object, name)?.info()?
        } else {
            bed::xdp(&mut object, name)?.info()?
        };
        let count = info.verified_instruction_count().context("this kernel does not tell (5.16 does)")?;
        found.push((name.to_owned(), count));
    }
    Ok(found)
}

fn load_rig(options: &Options, entries: u32) -> Result<Ebpf> {
    let mut loader = EbpfLoader::new();
    loader.map_max_entries("LOOKUP_V4", entries).map_max_entries("LOOKUP_V6", entries);
    loader.load_file(&options.rig).with_context(|| format!("cannot load {}", options.rig.display()))
}

fn fd(object: &mut Ebpf, name: &str) -> Result<ProgramFd> {
    Ok(bed::xdp(object, name)?.fd()?.try_clone()?)
}

/// A segment without payload, as every connection has many.
fn tcp_v4() -> Vec<u8> {
    let mut frame = vec![0; 66];
    frame[12..14].copy_from_slice(&[8, 0]);
    frame[14] = 0x45;
    frame[23] = 6;
    frame
}

/// The same as a datagram, to no port of ours.
fn udp(mut frame: Vec<u8>) -> Vec<u8> {
    let protocol = if frame[12] == 8 { 23 } else { 20 };
    frame[protocol] = 17;
    frame
}

fn tcp_v6() -> Vec<u8> {
    let mut frame = vec![0; 86];
    frame[12..14].copy_from_slice(&[0x86, 0xdd]);
    frame[14] = 0x60;
    frame[20] = 6;
    frame
}
