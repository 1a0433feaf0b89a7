//! Program times, by `BPF_PROG_RUN`.
//!
//! The kernel does not restore the frame between the rounds of `repeat`. So `rig_replay` writes the whole request
//! before each round and calls the program under test from its end; the same with the empty program behind it
//! is subtracted.

use anyhow::{Context, Result};
use aya::Ebpf;
use aya::EbpfLoader;
use aya::maps::{Array, ProgramArray};
use aya::programs::xdp::Xdp;
use aya::programs::{ProgramFd, TestRun, TestRunOptions};

use super::bed::{self, Bed};
use super::cpu::{self, Priority};
use super::layout::{Generator, LOOKUPS, Plan};
use super::ours;
use super::plan::{Family, To};
use super::stats::{self, Spread};
use super::{Options, trace};

/// `BPF_PROG_RUN` without a device says the frame came in by the loopback interface.
const LOOPBACK: u32 = 1;
/// Rounds per sample.
const REPEAT: u32 = 200_000;

/// A line: what, nanoseconds, instructions.
pub(super) struct Time {
    pub(super) what: String,
    pub(super) nanoseconds: Spread,
    /// Each sample, interleaved with the others of the run.
    pub(super) samples: Vec<f64>,
}

/// Times of the programs for the frames that matter, beyond the empty program's.
pub(super) fn times(options: &Options) -> Result<Vec<Time>> {
    let mut found = Vec::new();
    for vips in [10, 1000, 100_000] {
        found.extend(with_vips(options, vips)?);
    }
    Ok(found)
}

struct Case {
    what: String,
    program: ProgramFd,
    plan: Plan,
    family: Family,
}

fn with_vips(options: &Options, vips: u32) -> Result<Vec<Time>> {
    let mut rig = load_rig(options, 1)?;
    let mut object = ours::load(options, LOOPBACK, vips)?;
    let hit = fd(&mut object, ours::NATIVE)?;
    let [empty, swap] = [fd(&mut rig, "rig_pass")?, fd(&mut rig, "rig_swap")?];
    bed::xdp(&mut rig, "rig_replay")?;
    let arp = Bed::plan(Family::Arp, To::All, vips);
    let solicitation = Bed::plan(Family::Neighbour, To::All, vips);
    let case = |what: &str, program: &ProgramFd, plan: Plan, family| -> Result<Case> {
        Ok(Case { what: what.to_owned(), program: program.try_clone()?, plan, family })
    };
    let unknown = |plan: Plan| Plan { strangers: u32::MAX, ..plan };
    let mut cases = vec![
        case("empty, ARP frame", &empty, arp, Family::Arp)?,
        case("empty, NS frame", &empty, solicitation, Family::Neighbour)?,
        case(&format!("ARP hit, {vips} addresses"), &hit, arp, Family::Arp)?,
        case(&format!("NS hit, {vips} addresses"), &hit, solicitation, Family::Neighbour)?,
    ];
    if vips == 10 {
        cases.push(case("bare MAC swap", &swap, arp, Family::Arp)?);
        cases.push(case("ARP for an unknown address", &hit, unknown(arp), Family::Arp)?);
        cases.push(case("NS for an unknown address", &hit, unknown(solicitation), Family::Neighbour)?);
    }
    let mut samples = vec![Vec::new(); cases.len()];
    for _ in 0..options.rounds() {
        for (case, samples) in cases.iter().zip(&mut samples) {
            samples.push(replay(&mut rig, case)?);
        }
    }
    let base = [stats::median(&samples[0]), stats::median(&samples[1])];
    Ok(cases
        .into_iter()
        .zip(samples)
        .skip(2)
        .map(|(case, samples)| {
            let base = if case.family == Family::Arp { base[0] } else { base[1] };
            line(case.what, samples.into_iter().map(|time| time - base).collect())
        })
        .collect())
}

fn line(what: String, samples: Vec<f64>) -> Time {
    Time { what, nanoseconds: stats::spread(&samples), samples }
}

fn replay(rig: &mut Ebpf, case: &Case) -> Result<f64> {
    ProgramArray::try_from(ours::map(rig, "TARGETS")?)?.set(0, &case.program, 0)?;
    Array::try_from(ours::map(rig, "PLAN")?)?.set(0, case.plan, 0)?;
    seed(rig)?;
    let replay: &Xdp = rig.program("rig_replay").context("no rig_replay")?.try_into()?;
    run(replay, &vec![0; case.family.len()], REPEAT)
}

fn seed(rig: &mut Ebpf) -> Result<()> {
    let state = Generator { random: 0x9e37_79b9_7f4a_7c15, ..Generator::default() };
    Ok(Array::try_from(ours::map(rig, "GENERATOR")?)?.set(0, state, 0)?)
}

/// Nanoseconds per round. On the processor of the responder, before other programs of the machine.
fn run(program: &Xdp, frame: &[u8], repeat: u32) -> Result<f64> {
    cpu::bind(0, cpu::RESPONDER)?;
    cpu::prioritise(0, Priority::High)?;
    let result = program.test_run(TestRunOptions { data_in: Some(frame), repeat, ..TestRunOptions::new() });
    // The kernel gives whole nanoseconds; over many rounds its own division would lose the rest.
    let result = result.context("BPF_PROG_RUN failed")?;
    cpu::prioritise(0, Priority::Normal)?;
    Ok(result.duration.as_nanos() as f64)
}

/// What the programs cost all other traffic: nanoseconds beyond an empty program, and instructions executed.
pub(super) fn pass(options: &Options) -> Result<Vec<(Time, usize)>> {
    let mut rig = load_rig(options, 1)?;
    let mut object = ours::load(options, LOOPBACK, 10)?;
    let program = fd(&mut object, ours::NATIVE)?;
    let instructions = trace::translated(&program)?;
    bed::xdp(&mut rig, "rig_pass")?;
    let mut found = Vec::new();
    for (what, frame) in [("IPv4 TCP, passed on", tcp_v4()), ("IPv6 TCP, passed on", tcp_v6())] {
        let ours: &Xdp = object.program(ours::NATIVE).context("no program")?.try_into()?;
        let empty: &Xdp = rig.program("rig_pass").context("no program")?.try_into()?;
        let mut samples = Vec::new();
        for _ in 0..options.rounds() {
            samples.push(run(ours, &frame, 2_000_000)? - run(empty, &frame, 2_000_000)?);
        }
        let (count, verdict) = trace::executed(&instructions, &frame)?;
        anyhow::ensure!(verdict == 2, "{what}: the verdict is {verdict}, not XDP_PASS");
        found.push((line(what.to_owned(), samples), count));
    }
    Ok(found)
}

/// One look-up in a hash map of so many entries, all present, in random order: IPv4 keys, then IPv6 keys.
pub(super) fn lookups(options: &Options) -> Result<Vec<Time>> {
    let mut found = Vec::new();
    for vips in [10, 1000, 100_000] {
        let mut rig = load_rig(options, vips)?;
        ours::fill_v4(ours::map(&mut rig, "LOOKUP_V4")?, LOOPBACK, vips, 0)?;
        ours::fill_v6(ours::map(&mut rig, "LOOKUP_V6")?, LOOPBACK, vips, 0)?;
        Array::try_from(ours::map(&mut rig, "PLAN")?)?.set(0, Plan { vips, ..Plan::default() }, 0)?;
        seed(&mut rig)?;
        for (name, with, without) in
            [("IPv4", "rig_lookup_v4", "rig_keys_v4"), ("IPv6", "rig_lookup_v6", "rig_keys_v6")]
        {
            bed::xdp(&mut rig, with)?;
            bed::xdp(&mut rig, without)?;
            let [with, without]: [&Xdp; 2] = [
                rig.program(with).context("no program")?.try_into()?,
                rig.program(without).context("no program")?.try_into()?,
            ];
            let mut samples = Vec::new();
            for _ in 0..options.rounds() {
                let times = run(with, &[0; 60], 1000)? - run(without, &[0; 60], 1000)?;
                samples.push(times / f64::from(LOOKUPS));
            }
            found.push(line(format!("{name} key, {vips} entries"), samples));
        }
    }
    Ok(found)
}

/// Instructions the verifier processed to accept each program.
pub(super) fn verified(options: &Options) -> Result<Vec<(String, u32)>> {
    let mut object = ours::load(options, LOOPBACK, 10)?;
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

fn tcp_v6() -> Vec<u8> {
    let mut frame = vec![0; 86];
    frame[12..14].copy_from_slice(&[0x86, 0xdd]);
    frame[14] = 0x60;
    frame[20] = 6;
    frame
}
