//! Level 3: every conformance vector through the loaded programs by `BPF_PROG_TEST_RUN`. Whole frames are compared, and
//! everything the program notes: outcome, counters, events. Needs root.
#![expect(
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking and prints the case table"
)]

use std::net::IpAddr;
use std::path::Path;
use std::thread;
use std::time::Duration;

use lb_common::abi::{Counters, EventKind};
use lb_common::addr::Address;
use lb_common::outcome::Outcome;
use lb_test::conformance::responder::{Program, Responder};
use lb_test::conformance::vectors::parse::{Buffers, Case, hex, vectors};
use lb_test::conformance::vectors::series::member;
use lb_test::conformance::vectors::table::Table;

/// Test runs come in by the loopback link.
const LINK: u32 = 1;
/// What the verifier may process to accept one of the programs: docs/adr/0004-verifier.md.
const MAX_INSTRUCTIONS: u32 = 5_000;

#[test]
#[ignore = "needs root: loads BPF programs"]
fn vectors_xdp() {
    vectors_through(Program::Xdp, "L3-xdp");
}

#[test]
#[ignore = "needs root: loads BPF programs"]
fn vectors_xdp_plain() {
    vectors_through(Program::XdpPlain, "L3-xdp-plain");
}

#[test]
#[ignore = "needs root: loads BPF programs"]
fn vectors_tcx() {
    vectors_through(Program::Tcx, "L3-tcx");
}

#[test]
#[ignore = "needs root: loads BPF programs"]
fn the_verifier_walks_few_instructions() {
    let responder = Responder::load().unwrap();
    for program in Program::ALL {
        let walked = responder.verified_instructions(program).unwrap();
        println!("{}: {walked} instructions verified", program.name());
        assert!(walked <= MAX_INSTRUCTIONS, "{}: {walked} instructions verified", program.name());
    }
}

/// Claims come every millisecond, events once a second; each claim is counted.
#[test]
#[ignore = "needs root: loads BPF programs"]
fn conflicts_are_reported_once_a_second() {
    let all = vectors().unwrap();
    for id in ["A10", "N40"] {
        let case = all.cases.iter().find(|case| case.id == id).unwrap();
        for program in Program::ALL {
            let mut responder = Responder::load().unwrap();
            responder.arrange(case, LINK).unwrap();
            let on_one_cpu = || (0..100).for_each(|_| drop(responder.run(program, &case.frame).unwrap()));
            pinned(on_one_cpu);
            assert_eq!(responder.events().unwrap().len(), 1, "{id} {}", program.name());
            thread::sleep(Duration::from_millis(1_050));
            pinned(|| drop(responder.run(program, &case.frame).unwrap()));
            let events = responder.events().unwrap();
            assert_eq!(events.len(), 1, "{id} {}", program.name());
            assert_eq!(events[0].kind, EventKind::Conflict as u32);
            let slot = u32::from(id == "N40");
            assert_eq!(sum(&responder.counters(slot).unwrap()).conflicts, 101, "{id} {}", program.name());
        }
    }
}

fn vectors_through(program: Program, level: &'static str) {
    let all = vectors().unwrap();
    let mut responder = Responder::load().unwrap();
    let mut table = Table::new(level, Path::new(env!("CARGO_TARGET_TMPDIR"))).unwrap();
    for case in &all.cases {
        match unable(program, case) {
            Some(reason) => table.remark(&case.id, reason),
            None => table.result(&case.id, run(&mut responder, program, case)),
        }
    }
    for row in &all.elsewhere {
        table.remark(&row.id, &row.shown_by);
    }
    match table.finish() {
        Ok(rows) => println!("{rows}"),
        Err(failed) => panic!("\n{failed}"),
    }
}

/// Why a test run can't show the case.
fn unable(program: Program, case: &Case) -> Option<&'static str> {
    match program {
        Program::Tcx if case.stripped.is_some() => Some("a test run takes no tag beside the frame: L4-tcx"),
        Program::Xdp | Program::XdpPlain if case.stripped.is_some() => {
            Some("XDP can't see stripped tags: such links use tcx")
        }
        Program::Tcx | Program::XdpPlain if case.buffers == Buffers::Several => {
            Some("frames in several buffers reach only barelb_xdp")
        }
        Program::Tcx if is_refused(&case.frame) => {
            Some("the kernel refuses test runs of frames so short: L4-tcx")
        }
        Program::Xdp | Program::XdpPlain | Program::Tcx => None,
    }
}

/// `bpf_prog_test_run_skb` in net/bpf/test_run.c wants a payload, and a whole header behind the EtherTypes of IP.
fn is_refused(frame: &[u8]) -> bool {
    let header = match frame.get(12..14) {
        Some([8, 0]) => 20,
        Some([0x86, 0xdd]) => 40,
        _ => 1,
    };
    frame.len() < 14 + header
}

fn run(responder: &mut Responder, program: Program, case: &Case) -> Result<(), String> {
    responder.arrange(case, LINK).map_err(|error| format!("{error:#}"))?;
    if case.senders == 0 {
        single(responder, program, case)?;
        return noted(responder, case);
    }
    (0..case.senders).try_for_each(|number| single(responder, program, &member(case, number)))?;
    let slot = u32::from(case.frame[12] == 0x86);
    let seen = sum(&responder.counters(slot).map_err(|error| error.to_string())?);
    if (seen.requests, seen.replies) != (case.senders.into(), case.senders.into()) {
        return Err(format!("{} requests, {} replies counted", seen.requests, seen.replies));
    }
    Ok(())
}

fn single(responder: &Responder, program: Program, case: &Case) -> Result<(), String> {
    let before = responder.outcomes().map_err(|error| format!("{error:#}"))?;
    let ran = responder.run(program, &case.frame).map_err(|error| format!("{error:#}"))?;
    let after = responder.outcomes().map_err(|error| format!("{error:#}"))?;
    let counted: Vec<_> = (Outcome::ALL.iter().zip(before.iter().zip(&after)))
        .flat_map(|(outcome, (before, after))| (*before..*after).map(|_| outcome.name()))
        .collect();
    let wanted = Some(case.outcome.name()).filter(|_| case.outcome != Outcome::Ignored);
    if counted != Vec::from_iter(wanted) {
        return Err(format!("counted {counted:?} instead of {}", case.outcome.name()));
    }
    let bytes = case.reply.as_ref().unwrap_or(&case.frame);
    if ran.sent_back != case.reply.is_some() || ran.bytes != *bytes {
        let sent = if ran.sent_back { "sent back" } else { "handed on" };
        return Err(format!("{sent}\n  got  {}\n  want {}", hex(&ran.bytes), hex(bytes)));
    }
    Ok(())
}

/// Counters of the slots and events, after one frame.
fn noted(responder: &mut Responder, case: &Case) -> Result<(), String> {
    let mut seen = Counters::default();
    for slot in 0..case.entries.len() {
        let slot = u32::try_from(slot).map_err(|error| error.to_string())?;
        let counters = sum(&responder.counters(slot).map_err(|error| format!("{error:#}"))?);
        if counters != Counters::default() {
            seen = counters;
        }
    }
    let counts = (seen.requests, seen.replies, seen.probes, seen.conflicts);
    if case.row().starts_with('S') {
        // Probes are about no entry.
        let events = responder.events().map_err(|error| format!("{error:#}"))?;
        let none = counts == (0, 0, 0, 0) && events.is_empty();
        return if none { Ok(()) } else { Err(format!("counted {seen:?}, reported {events:?}")) };
    }
    let answered = u64::from(case.outcome.is_answer());
    let fits = match case.outcome {
        Outcome::Standby | Outcome::Expired => counts == (u64::from(!is_claim(case)), 0, 0, 0),
        Outcome::Oversized => counts == (1, 0, 0, 0),
        outcome if outcome.is_conflict() => counts == (0, 0, 0, 1),
        outcome => counts == (answered, answered, outcome.probes(), 0),
    };
    if !fits {
        return Err(format!("requests, replies, probes, conflicts: {counts:?}"));
    }
    if case.outcome.is_answer() {
        requester(case, &seen)?;
    }
    let events = responder.events().map_err(|error| format!("{error:#}"))?;
    let kinds: Vec<_> = events.iter().map(|event| (EventKind::from_u32(event.kind), event.outcome)).collect();
    let outcome = case.outcome.index();
    let fits = match case.outcome {
        Outcome::Standby | Outcome::Expired if is_claim(case) => kinds.is_empty(),
        found if found.is_conflict() => kinds == [(Some(EventKind::Conflict), outcome)],
        found
            if found.is_answer()
                || matches!(found, Outcome::Oversized | Outcome::Standby | Outcome::Expired) =>
        {
            kinds == [(Some(EventKind::FirstRequest), outcome)]
        }
        _ => kinds.is_empty(),
    };
    let here = events.iter().all(|event| event.ifindex == LINK);
    if fits && here { Ok(()) } else { Err(format!("events: {events:?}")) }
}

/// The frame claims an address of the case, instead of asking for it.
fn is_claim(case: &Case) -> bool {
    let at = protocol(&case.frame).unwrap_or_default();
    let message = &case.frame[at + 2..];
    let is_ours = |bytes: &[u8]| {
        case.entries.iter().any(|entry| match entry.addr {
            IpAddr::V4(addr) => addr.octets() == bytes,
            IpAddr::V6(addr) => addr.octets() == bytes,
        })
    };
    if case.frame[at] == 8 {
        return is_ours(&message[14..18]);
    }
    message[40] == 136 || is_ours(&message[8..24])
}

/// Where the EtherType of ARP or IPv6 is, behind the tags.
fn protocol(frame: &[u8]) -> Option<usize> {
    (12..=20).step_by(4).find(|at| matches!(frame.get(*at..at + 2), Some([8, 6] | [0x86, 0xdd])))
}

/// The counters name the station the reply went to.
fn requester(case: &Case, seen: &Counters) -> Result<(), String> {
    let reply = case.reply.as_deref().unwrap_or_default();
    let Some(at) = protocol(reply) else {
        return Err("a reply that is neither ARP nor IPv6".to_owned());
    };
    let (mac, addr) = if reply[at] == 8 {
        let addr = <[u8; 4]>::try_from(&reply[at + 26..at + 30]).map_err(|error| error.to_string())?;
        (&reply[..6], Address::v4(&addr))
    } else if case.outcome == Outcome::NdDadAdvert {
        (&case.frame[6..12], Address::v6(&[0; 16]))
    } else {
        let addr = <[u8; 16]>::try_from(&reply[at + 26..at + 42]).map_err(|error| error.to_string())?;
        (&reply[..6], Address::v6(&addr))
    };
    if seen.requester_mac == *mac && seen.requester == addr && seen.last_seen_ns > 0 {
        return Ok(());
    }
    Err(format!("the last requester is not {mac:02x?} {addr:?}, in {seen:?}"))
}

/// Runs `work` on one CPU: events are counted per CPU.
fn pinned(work: impl FnOnce() + Send) {
    thread::scope(|scope| {
        scope.spawn(|| {
            // SAFETY: a cpu_set_t is a bit mask of integers, for which zero is valid.
            let mut cpus: libc::cpu_set_t = unsafe { std::mem::zeroed() };
            // SAFETY: 0 is within the set.
            unsafe { libc::CPU_SET(0, &mut cpus) };
            // SAFETY: the set outlives the call, and its size is given.
            let set = unsafe { libc::sched_setaffinity(0, size_of_val(&cpus), &raw const cpus) };
            assert_eq!(set, 0, "cannot bind a thread to CPU 0");
            work();
        });
    });
}

fn sum(cpus: &[Counters]) -> Counters {
    let newest = cpus.iter().copied().max_by_key(|cpu| cpu.last_seen_ns).unwrap_or_default();
    let total = |field: fn(&Counters) -> u64| cpus.iter().map(field).sum();
    Counters {
        requests: total(|cpu| cpu.requests),
        replies: total(|cpu| cpu.replies),
        probes: total(|cpu| cpu.probes),
        conflicts: total(|cpu| cpu.conflicts),
        ..newest
    }
}
