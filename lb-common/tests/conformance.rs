//! Level 0: every conformance vector through the pure functions, whole frames compared.
#![expect(clippy::print_stdout, reason = "prints the case table")]

#[path = "conformance/flow.rs"]
pub mod flow;
#[path = "vectors/set.rs"]
pub mod vectors;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use flow::{Input, LINK, Maps};
use lb_common::abi::Entry;
use vectors::parse::{Buffers, Case, NODE, hex, vectors};
use vectors::series::member;
use vectors::table::Table;

/// How much of a frame in several buffers the program can reach: what test runs give it.
const FIRST_BUFFER: usize = 3520;

/// Frames of facts known to be right, with the cases that must hold them byte for byte.
const GOLDEN: [(&str, &str, &str); 5] = [
    (
        "A01",
        "ffffffffffff02000000000108060001080006040001020000000001c000020a000000000000c0000264",
        "0200000000010200000000aa080600010800060400020200000000aac0000264020000000001c000020a",
    ),
    (
        "A08",
        "ffffffffffff0200000000010806000108000604000102000000000100000000000000000000c0000264",
        "0200000000010200000000aa080600010800060400020200000000aac000026402000000000100000000",
    ),
    (
        "V02",
        "ffffffffffff0200000000018100002a08060001080006040001020000000001c000020a000000000000c0000264",
        "0200000000010200000000aa8100002a080600010800060400020200000000aac0000264020000000001c000020a",
    ),
    (
        "N01",
        "3333ff00006402000000000186dd6000000000203afffe80000000000000000000fffe000001ff0200000000000000000001ff00006487004b9b0000000020010db80000000000000000000000640101020000000001",
        "0200000000010200000000aa86dd6000000000203aff20010db8000000000000000000000064fe80000000000000000000fffe0000018800b93d6000000020010db800000000000000000000006402010200000000aa",
    ),
    (
        "N05",
        "3333ff00006402000000000186dd6000000000183aff00000000000000000000000000000000ff0200000000000000000001ff00006487004c270000000020010db8000000000000000000000064",
        "3333000000010200000000aa86dd6000000000203aff20010db8000000000000000000000064ff0200000000000000000000000000018800f7bb2000000020010db800000000000000000000006402010200000000aa",
    ),
];

#[test]
fn every_vector_through_the_pure_functions() {
    let all = vectors().unwrap();
    let mut table = Table::new("L0", Path::new(env!("CARGO_TARGET_TMPDIR"))).unwrap();
    for case in &all.cases {
        table.result(&case.id, run(case));
    }
    for row in &all.elsewhere {
        table.remark(&row.id, &row.shown_by);
    }
    match table.finish() {
        Ok(rows) => println!("{rows}"),
        Err(failed) => panic!("\n{failed}"),
    }
}

#[test]
fn no_row_of_the_table_is_left_out() {
    let all = vectors().unwrap();
    let mut rows: BTreeSet<&str> = all.cases.iter().map(Case::row).collect();
    rows.extend(all.elsewhere.iter().map(|row| row.id.as_str()));
    let numbered = |letter, last| (1..=last).map(move |n| format!("{letter}{n:02}"));
    // Answers, what was asked of whom, what was wrong: each begins at a number of its own.
    let probes = [1..=9, 20..=26, 30..=47].into_iter().flatten().map(|n| format!("S{n:02}"));
    let wanted: BTreeSet<String> =
        numbered('A', 46).chain(numbered('V', 10)).chain(numbered('N', 47)).chain(probes).collect();
    assert_eq!(rows, wanted.iter().map(String::as_str).collect());
    let ids: BTreeSet<&str> = all.cases.iter().map(|case| case.id.as_str()).collect();
    assert_eq!(ids.len(), all.cases.len(), "an id is used twice");
    let count = |row: &str| all.cases.iter().filter(|case| case.id.starts_with(row)).count();
    assert_eq!((count("A27."), count("N37.")), (28, 72 + 64), "every length, and the form without option");
    for form in 1..=10 {
        assert!(count(&format!("N38.V{form:02}")) > 0, "V{form:02} is not repeated for neighbour discovery");
    }
}

#[test]
fn golden_frames_are_among_the_vectors() {
    let all = vectors().unwrap();
    for (id, frame, reply) in GOLDEN {
        let case = all.cases.iter().find(|case| case.id == id).unwrap();
        assert_eq!(
            (hex(&case.frame).as_str(), case.reply.as_deref().map(hex).as_deref()),
            (frame, Some(reply)),
            "{id}"
        );
    }
}

fn run(case: &Case) -> Result<(), String> {
    if case.senders == 0 {
        return single(case);
    }
    (0..case.senders).try_for_each(|number| single(&member(case, number)))
}

fn single(case: &Case) -> Result<(), String> {
    let linear = if case.buffers == Buffers::Several { FIRST_BUFFER } else { case.frame.len() };
    let mut frame = Input { bytes: case.frame.clone(), linear, stripped: case.stripped };
    let outcome = flow::respond(&maps(case), &mut frame);
    if outcome != case.outcome {
        return Err(format!("{} instead of {}", outcome.name(), case.outcome.name()));
    }
    let wanted = case.reply.as_ref().unwrap_or(&case.frame);
    if frame.bytes != *wanted {
        return Err(format!("\n  got  {}\n  want {}", hex(&frame.bytes), hex(wanted)));
    }
    Ok(())
}

fn maps(case: &Case) -> Maps {
    let entry = |state| Entry::new(NODE, state, 0);
    Maps {
        v4: case.v4(LINK, LINK + 1).into_iter().map(|(key, state)| (key, entry(state))).collect(),
        v6: case
            .v6(LINK, LINK + 1)
            .into_iter()
            .map(|(key, state)| (key, entry(state)))
            .collect::<BTreeMap<_, _>>(),
        agent: case.agent,
        ..Maps::default()
    }
    .reflecting(&case.reflectors, &case.members)
}
