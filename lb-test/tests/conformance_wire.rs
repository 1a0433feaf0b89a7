//! Level 4: every conformance vector on the wire between two namespaces, for XDP in the driver, XDP in the stack and
//! tcx; what comes back is compared whole. Needs root.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking and prints the case table"
)]

use std::path::Path;
use std::time::Duration;

use lb_common::outcome::Outcome;
use lb_test::conformance::cable::{Cable, Mode, eventually};
use lb_test::conformance::vectors::parse::{Buffers, Case, hex, vectors};
use lb_test::conformance::vectors::series::member;
use lb_test::conformance::vectors::table::Table;

/// In time for the kernel's own answers.
const WAIT: Duration = Duration::from_millis(200);

#[test]
#[ignore = "needs root: makes network namespaces"]
fn vectors_on_the_wire_native() {
    vectors_on_the_wire(Mode::Native, "L4-native");
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn vectors_on_the_wire_generic() {
    vectors_on_the_wire(Mode::Generic, "L4-generic");
}

#[test]
#[ignore = "needs root: makes network namespaces"]
fn vectors_on_the_wire_tcx() {
    vectors_on_the_wire(Mode::Tcx, "L4-tcx");
}

/// A06 and A42: with the programs attached, the node's own addresses are answered by its stack, once.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn the_stack_answers_once_for_its_own_addresses() {
    let all = vectors().unwrap();
    let case = |id| all.cases.iter().find(|case| case.id == id).unwrap();
    for mode in [Mode::Native, Mode::Generic, Mode::Tcx] {
        let mut cable = Cable::new(mode).unwrap();
        cable.node.add_address("192.0.2.1/24").unwrap();
        cable.node.add_address("2001:db8::65/64").unwrap();
        for (id, answer) in [("A06", [8, 6]), ("N25", [0x86, 0xdd])] {
            cable.arrange(case(id)).unwrap();
            let replies = cable.endpoint.exchange(&case(id).frame, WAIT).unwrap();
            let answers: Vec<_> =
                replies.iter().filter(|reply| reply[12..14] == answer && is_answer(reply)).collect();
            assert_eq!(answers.len(), 1, "{id} {mode:?}: {replies:02x?}");
            assert_eq!(answers[0][6..12], cable.node.mac());
        }
    }
}

/// An ARP reply or a neighbour advertisement.
fn is_answer(frame: &[u8]) -> bool {
    frame.get(20..22) == Some(&[0, 2]) || frame.get(54) == Some(&136)
}

/// A45: a frame that spans buffers passes native XDP unanswered. The client has no program here, because such a
/// one would forbid frames so long, and so it would not hear a reply: the counters tell.
#[test]
#[ignore = "needs root: makes network namespaces"]
fn a_frame_in_several_buffers_is_handed_on() {
    let all = vectors().unwrap();
    let case = all.cases.iter().find(|case| case.buffers == Buffers::Several).unwrap();
    let mut cable = Cable::with_mtu(Mode::Native, "9000").unwrap();
    cable.arrange(case).unwrap();
    cable.endpoint.send(&case.frame).unwrap();
    let counted = |cable: &Cable, outcome: Outcome| {
        cable.responder.outcomes().map(|counts| counts[usize::try_from(outcome.index()).unwrap()])
    };
    eventually("the frame is counted as oversized", || Ok(counted(&cable, Outcome::Oversized)? == 1))
        .unwrap();
    assert_eq!(counted(&cable, Outcome::ArpReply).unwrap(), 0);
}

fn vectors_on_the_wire(mode: Mode, level: &'static str) {
    let all = vectors().unwrap();
    let mut cable = Cable::new(mode).unwrap();
    let mut table = Table::new(level, Path::new(env!("CARGO_TARGET_TMPDIR"))).unwrap();
    for case in &all.cases {
        match unable(mode, case) {
            Some(reason) => table.remark(&case.id, reason),
            None => table.result(&case.id, run(&mut cable, case)),
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

fn unable(mode: Mode, case: &Case) -> Option<&'static str> {
    match mode {
        Mode::Native | Mode::Generic if case.stripped.is_some() => {
            Some("XDP can't see stripped tags: such links use tcx")
        }
        Mode::Native if case.buffers == Buffers::Several => {
            Some("see a_frame_in_several_buffers_is_handed_on")
        }
        Mode::Generic | Mode::Tcx if case.buffers == Buffers::Several => Some("one buffer here"),
        Mode::Native | Mode::Generic | Mode::Tcx => None,
    }
}

fn run(cable: &mut Cable, case: &Case) -> Result<(), String> {
    cable.arrange(case).map_err(|error| format!("{error:#}"))?;
    if case.senders > 0 {
        return series(cable, case);
    }
    let replies = cable.react(case).map_err(|error| format!("{error:#}"))?;
    let wanted: Vec<Vec<u8>> = case.reply.iter().map(|reply| on_the_wire(case, reply)).collect();
    if replies == wanted {
        return Ok(());
    }
    let text = |frames: &[Vec<u8>]| frames.iter().map(|frame| hex(frame)).collect::<Vec<_>>().join(" ");
    Err(format!("\n  got  {}\n  want {}", text(&replies), text(&wanted)))
}

/// A46 and N47: all are answered, and the node's neighbour table stays as it was.
fn series(cable: &Cable, case: &Case) -> Result<(), String> {
    let neighbours = || cable.node.neighbours().map_err(|error| format!("{error:#}"));
    let before = neighbours()?;
    let members: Vec<Case> = (0..case.senders).map(|number| member(case, number)).collect();
    let frames: Vec<_> = members.iter().map(|member| member.frame.clone()).collect();
    let replies = cable.react_to_many(&frames).map_err(|error| format!("{error:#}"))?;
    let wanted: Vec<_> = members.into_iter().filter_map(|member| member.reply).collect();
    if replies != wanted {
        return Err("other replies, or in another order".to_owned());
    }
    let after = neighbours()?;
    if after.lines().count() > before.lines().count() {
        return Err(format!("the node has learned requesters: {after}"));
    }
    Ok(())
}

/// The reply as the client sees it: a tag beside the frame is back in its place.
fn on_the_wire(case: &Case, reply: &[u8]) -> Vec<u8> {
    let tag = case.stripped.map_or(vec![], |(tpid, tci)| [tpid, tci].concat());
    [&reply[..12], &tag, &reply[12..]].concat()
}
