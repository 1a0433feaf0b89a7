//! Recorded facts F15 and F16 (docs/facts.md): what other responders answer, through the pure functions. The frames are
//! those of the conformance vectors.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "conformance/flow.rs"]
pub mod flow;
#[path = "vectors/set.rs"]
pub mod vectors;

use flow::{Input, LINK, Maps};
use lb_common::abi::Entry;
use lb_common::outcome::Outcome;
use vectors::parse::{Case, NODE, vectors};

/// What the responder knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Knows {
    /// No address.
    Nothing,
    /// The address, and its agent is there.
    Address,
    /// The address, and its agent has not been there for the grace.
    Stale,
}

/// The vector of this id: the address is 192.0.2.100 or 2001:db8::64.
fn vector(id: &str) -> Case {
    let case = vectors().unwrap().cases.into_iter().find(|case| case.id == id).unwrap();
    assert_eq!(case.entries.len(), 2, "{id} has maps of its own");
    case
}

/// What becomes of a frame: its answer, or nothing, and then it is passed on as it was.
fn answer(case: &Case, frame: &[u8], knows: Knows) -> (Option<Vec<u8>>, Outcome) {
    let mut maps = Maps { agent: knows != Knows::Stale, ..Maps::default() };
    if knows != Knows::Nothing {
        let entry = |state| Entry::new(NODE, state, 0);
        maps.v4 = case.v4(LINK, LINK + 1).into_iter().map(|(key, state)| (key, entry(state))).collect();
        maps.v6 = case.v6(LINK, LINK + 1).into_iter().map(|(key, state)| (key, entry(state))).collect();
    }
    let mut input = Input::linear(frame.to_vec());
    let outcome = flow::respond(&maps, &mut input);
    assert!(outcome.is_answer() || input.bytes == frame, "a frame that is passed on was changed");
    (outcome.is_answer().then_some(input.bytes), outcome)
}

/// Cilium's `bpf/tests` for its layer-2 responder: without an entry a frame passes untouched; with one the answer goes
/// back by the same link, from its own Ethernet address; an agent that was not seen for long silences it.
#[test]
fn f15_entry_and_agent_decide_in_both_families() {
    for (id, what) in [
        ("A01", "ARP, broadcast"),
        ("A03", "ARP, unicast"),
        ("N01", "solicitation, untargeted"),
        ("N02", "solicitation, targeted"),
    ] {
        let case = vector(id);
        for (knows, expected) in
            [(Knows::Nothing, None), (Knows::Address, case.reply.clone()), (Knows::Stale, None)]
        {
            let (found, _) = answer(&case, &case.frame, knows);
            assert_eq!(found, expected, "{what}: {knows:?}");
            assert_eq!(found.is_some(), knows == Knows::Address, "{what}: {knows:?}");
            if let Some(found) = found {
                assert_eq!((&found[..6], &found[6..12]), (&case.frame[6..12], &NODE[..]), "{what}");
            }
        }
    }
}

/// MetalLB's ARP responder (`internal/layer2/arp_test.go`), and the same of neighbour discovery.
#[test]
fn f16_requests_to_us_or_to_all_for_what_is_announced() {
    const OTHER: [u8; 6] = [2, 0, 0, 0, 0, 2];
    let (arp, solicitation) = (vector("A01"), vector("N02"));
    let to = |case: &Case, destination: [u8; 6]| {
        let mut frame = case.frame.clone();
        frame[..6].copy_from_slice(&destination);
        frame
    };
    let mut reply = arp.frame.clone();
    reply[21] = 2;
    let advertisement = vector("N40").frame;
    for (what, case, frame, knows, is_answered) in [
        ("ARP reply", &arp, reply, Knows::Address, false),
        ("ARP to another station", &arp, to(&arp, OTHER), Knows::Address, false),
        ("ARP to the node", &arp, to(&arp, NODE), Knows::Address, true),
        ("ARP to all", &arp, to(&arp, [0xff; 6]), Knows::Address, true),
        ("ARP for what is not announced", &arp, to(&arp, [0xff; 6]), Knows::Nothing, false),
        ("advertisement", &solicitation, advertisement, Knows::Address, false),
        ("solicitation to another station", &solicitation, to(&solicitation, OTHER), Knows::Address, false),
        ("solicitation to the node", &solicitation, to(&solicitation, NODE), Knows::Address, true),
        ("solicitation to the group", &solicitation, vector("N01").frame, Knows::Address, true),
        (
            "solicitation for what is not announced",
            &solicitation,
            to(&solicitation, NODE),
            Knows::Nothing,
            false,
        ),
    ] {
        let (found, outcome) = answer(case, &frame, knows);
        assert_eq!(found.is_some(), is_answered, "{what}: {}", outcome.name());
    }
}
