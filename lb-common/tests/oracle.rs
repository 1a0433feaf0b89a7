//! Level 1: our bytes are those of an independent implementation (smoltcp), and our verdicts those of an independent
//! responder written from the RFCs.
#![expect(clippy::print_stdout, reason = "prints the case table")]

#[path = "oracle/differential.rs"]
pub mod differential;
#[path = "conformance/flow.rs"]
pub mod flow;
#[path = "oracle/mutation.rs"]
pub mod mutation;
#[path = "oracle/reference.rs"]
pub mod reference;
#[path = "oracle/stack.rs"]
pub mod stack;
#[path = "vectors/set.rs"]
pub mod vectors;

use std::path::Path;

use differential::Trial;
use lb_common::packet::{arp, ndp};
use proptest::prelude::*;
use reference::Reaction;
use vectors::parse::{Buffers, NODE, hex, vectors};
use vectors::series::member;
use vectors::table::Table;

const VIP: [u8; 4] = [192, 0, 2, 100];
const VIP6: [u8; 16] = [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x64];

/// Each vector: the reference decides as the vector says, and smoltcp reads and writes the same reply.
#[test]
fn vectors_agree_with_two_independent_implementations() {
    let all = vectors().unwrap();
    let mut table = Table::new("L1", Path::new(env!("CARGO_TARGET_TMPDIR"))).unwrap();
    for case in &all.cases {
        if case.buffers == Buffers::Several {
            table.remark(&case.id, "the reference knows no buffers");
            continue;
        }
        let members = if case.senders == 0 {
            vec![case.clone()]
        } else {
            (0..case.senders).map(|n| member(case, n)).collect()
        };
        let result = members.iter().try_for_each(|case| {
            let wanted = match &case.reply {
                Some(reply) => Reaction::Reply(reply.clone()),
                None if case.outcome.is_conflict() => Reaction::Conflict,
                None => Reaction::Nothing,
            };
            let got = Trial::of(case).reference();
            if got != wanted {
                return Err(format!("the reference says {got:02x?}"));
            }
            case.reply.as_ref().map_or(Ok(()), |reply| stack::same(reply))
        });
        table.result(&case.id, result);
    }
    for row in &all.elsewhere {
        table.remark(&row.id, &row.shown_by);
    }
    match table.finish() {
        Ok(rows) => println!("{rows}"),
        Err(failed) => panic!("\n{failed}"),
    }
}

/// Both forms of announcement, over dirt, are what smoltcp writes (RFC 5227 section 2.3).
#[test]
fn arp_announcements_are_smoltcps() {
    for (write, request) in [
        (arp::write_announcement as fn(&mut _, &mut _, &_, &_), true),
        (arp::write_announcement_reply, false),
    ] {
        let (mut macs, mut message) = ([flow::DIRT; 12], [flow::DIRT; arp::LEN]);
        write(&mut macs, &mut message, &NODE, &VIP);
        let frame = [&macs[..], &[8, 6], &message].concat();
        assert_eq!(frame, stack::arp_announcement(&NODE, &VIP, request));
    }
}

/// The golden frames of both forms of announcement, and of the unsolicited advertisement.
#[test]
fn announcements_are_the_golden_frames() {
    let (mut macs, mut message) = ([flow::DIRT; 12], [flow::DIRT; arp::LEN]);
    arp::write_announcement(&mut macs, &mut message, &NODE, &VIP);
    assert_eq!(
        hex(&[&macs[..], &[8, 6], &message].concat()),
        "ffffffffffff0200000000aa08060001080006040001020000\
        0000aac0000264000000000000c0000264"
    );
    arp::write_announcement_reply(&mut macs, &mut message, &NODE, &VIP);
    assert_eq!(
        hex(&[&macs[..], &[8, 6], &message].concat()),
        "ffffffffffff0200000000aa08060001080006040002020000\
        0000aac00002640200000000aac0000264"
    );
    let mut advert = [flow::DIRT; ndp::ADVERT_LEN];
    ndp::write_unsolicited(&mut macs, &mut advert, &NODE, &VIP6);
    assert_eq!(
        hex(&[&macs[..], &[0x86, 0xdd], &advert].concat()),
        "3333000000010200000000aa86dd6000000000203aff20\
        010db8000000000000000000000064ff0200000000000000000000000000018800f7bb2000000020010db8000000000000000000000064\
        02010200000000aa"
    );
}

/// An unsolicited advertisement, over dirt, is what smoltcp writes (RFC 4861 section 7.2.6).
#[test]
fn unsolicited_advertisements_are_smoltcps() {
    for last in 0..=255 {
        let mut target = VIP6;
        target[15] = last;
        let (mut macs, mut advert) = ([flow::DIRT; 12], [flow::DIRT; ndp::ADVERT_LEN]);
        ndp::write_unsolicited(&mut macs, &mut advert, &NODE, &target);
        let frame = [&macs[..], &[0x86, 0xdd], &advert].concat();
        assert_eq!(stack::same(&frame), Ok(()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, ..ProptestConfig::default() })]

    /// Vectors with bytes changed, cut or added, checksum repaired or not: same verdict and bytes as the reference.
    #[test]
    fn mutated_frames_get_the_same_reaction(seed in any::<u64>()) {
        mutation::trial(seed, mutation::seeds()).compare();
    }

    /// Any bytes at all: same verdict and bytes as the reference.
    #[test]
    fn random_frames_get_the_same_reaction(frame in proptest::collection::vec(any::<u8>(), 0..160), alive: bool) {
        let vips = vec![(VIP.into(), (0, 0), true), (VIP6.into(), (0, 0), true)];
        Trial { vips, reflectors: vec![], members: vec![], alive, stripped: None, frame }.compare();
    }
}

/// The mutations reach what they are for; else the two tests above would show little.
#[test]
fn mutations_reach_answers_and_refusals() {
    let seeds = mutation::seeds();
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..20_000 {
        seen.insert(mutation::trial(seed, seeds).compare());
    }
    let answers = seen.iter().filter(|outcome| outcome.is_answer()).count();
    assert!(answers == 7 && seen.len() >= 42, "only {seen:?}");
}
