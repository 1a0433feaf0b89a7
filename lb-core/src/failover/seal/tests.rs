//! Two channels and an attacker between them.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU64;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::failover::{Remote, Tell};

mod freshness;
mod vectors;

const SECRET: &[u8] = b"correct horse battery staple";
const OTHER: &[u8] = b"another one, of 26 letters";
const A: PeerId = PeerId(10);
const B: PeerId = PeerId(11);
const C: PeerId = PeerId(12);
const START: Duration = Duration::from_secs(100);

const TELL: Tell = Tell {
    incarnation: 0x1122_3344_5566_7788,
    seq: 7,
    epoch: 3,
    joining: true,
    leaving: false,
    was_down: true,
    heard: 9,
};

#[test]
fn names_of_refusals_are_unique() {
    let names = BTreeSet::from(Refusal::ALL.map(|refusal| refusal.name()));
    assert_eq!(names.len(), Refusal::ALL.len());
}

fn key(secret: &[u8]) -> Key {
    Key::new(secret).unwrap()
}

fn keys() -> Keyring {
    Keyring { current: key(SECRET), previous: None }
}

fn name(text: &str) -> NodeName {
    NodeName::new(text).unwrap()
}

fn everybody() -> BTreeMap<PeerId, NodeName> {
    [(A, name("node-a")), (B, name("node-b")), (C, name("node-c"))].into()
}

/// The channel of a node whose peers are all three nodes.
fn channel(me: &str, incarnation: u64) -> Channel {
    let mut channel = Channel::new(&name(me), NonZeroU64::new(incarnation).unwrap(), keys());
    channel.set_peers(&everybody());
    channel
}

fn answer(opened: Result<Opened, Refusal>) -> Option<Vec<u8>> {
    match opened {
        Ok(Opened::Introduction { answer, .. }) => answer,
        other => panic!("no introduction: {other:?}"),
    }
}

/// Carries a datagram for `second`, and the answers to and fro until there is none.
fn carry(first: &mut Channel, second: &mut Channel, datagram: &[u8], now: Duration) -> usize {
    let mut answers = 0;
    let mut next = answer(second.open(datagram, now));
    while let Some(datagram) = next {
        answers += 1;
        assert!(answers < 10, "they never stop");
        let to = if answers % 2 == 1 { &mut *first } else { &mut *second };
        next = answer(to.open(&datagram, now));
    }
    answers
}

/// A and B, who know each other.
fn pair() -> (Channel, Channel) {
    let (mut a, mut b) = (channel("node-a", 1), channel("node-b", 2));
    let datagram = a.seal(B, &Message::Tell(TELL)).unwrap();
    carry(&mut a, &mut b, &datagram, START);
    assert!(a.knows(B) && b.knows(A));
    (a, b)
}

fn is_message(opened: &Result<Opened, Refusal>) -> bool {
    matches!(opened, Ok(Opened::Message { .. }))
}

#[test]
fn short_secrets_make_no_key_and_no_key_shows_itself() {
    assert_eq!(Key::new(&[7; 15]).unwrap_err(), ShortSecret(15));
    assert!(Key::new(&[7; 16]).is_ok());
    assert_eq!(format!("{:?}", keys()), "Keyring { current: Key, previous: None }");
}

#[test]
fn a_node_asked_for_is_another_number_elsewhere() {
    let (mut a, mut b) = pair();
    b.set_peers(&[(PeerId(1), name("node-a")), (PeerId(2), name("node-c"))].into());
    let datagram = a.seal(B, &Message::Ask { target: C, nonce: 5 }).unwrap();
    let message = Message::Ask { target: PeerId(2), nonce: 5 };
    assert_eq!(b.open(&datagram, START), Ok(Opened::Message { from: PeerId(1), message }));

    b.set_peers(&[(PeerId(1), name("node-a"))].into());
    let datagram = a.seal(B, &Message::Ask { target: C, nonce: 5 }).unwrap();
    assert_eq!(b.open(&datagram, START), Err(Refusal::UnknownTarget));
    assert_eq!(a.seal(PeerId(9), &Message::Tell(TELL)), None);
    assert_eq!(a.seal(B, &Message::Ask { target: PeerId(9), nonce: 5 }), None);
}

#[test]
fn what_is_for_others_or_from_strangers_is_refused() {
    let (mut a, mut b) = pair();
    let to_c = a.seal(C, &Message::Tell(TELL)).unwrap();
    assert_eq!(b.open(&to_c, START), Err(Refusal::Misdirected));
    // Its own, thrown back.
    assert_eq!(a.open(&to_c, START), Err(Refusal::Misdirected));
    let to_b = a.seal(B, &Message::Tell(TELL)).unwrap();
    b.set_peers(&[(C, name("node-c"))].into());
    assert_eq!(b.open(&to_b, START), Err(Refusal::UnknownSender));
}

#[test]
fn the_key_is_changed_without_a_pause() {
    let (mut a, mut b) = pair();
    let old = || key(SECRET);
    let new = || key(OTHER);
    // The steps that docs/operations.md tells: each agent takes each step at a time of its own.
    let steps = [
        Keyring { current: old(), previous: None },
        Keyring { current: old(), previous: Some(new()) },
        Keyring { current: new(), previous: Some(old()) },
        Keyring { current: new(), previous: None },
    ];
    for pair in steps.windows(2) {
        for (of_a, of_b) in [(0, 0), (1, 0), (1, 1)] {
            a.set_keys(pair[of_a].clone());
            b.set_keys(pair[of_b].clone());
            let there = a.seal(B, &Message::Tell(TELL)).unwrap();
            assert!(is_message(&b.open(&there, START)));
            let back = b.seal(A, &Message::Tell(TELL)).unwrap();
            assert!(is_message(&a.open(&back, START)));
        }
    }
    b.set_keys(keys());
    let sealed = a.seal(B, &Message::Tell(TELL)).unwrap();
    assert_eq!(b.open(&sealed, START), Err(Refusal::Forged));
}

#[test]
fn another_agent_with_the_name_of_this_node_is_noticed() {
    let (mut one, mut other) = (channel("node-a", 1), channel("node-a", 2));
    let datagram = one.seal(A, &Message::Tell(TELL)).unwrap();
    assert_eq!(other.open(&datagram, START), Err(Refusal::OwnName));
    assert_eq!(one.open(&datagram, START), Err(Refusal::Replayed));
}

#[test]
fn every_refusal_has_a_name_of_its_own() {
    use Refusal::*;
    let all = [
        Foreign,
        Version(2),
        Truncated,
        Malformed,
        Misdirected,
        UnknownSender,
        Forged,
        OwnName,
        SameName,
        Replayed,
        Late,
        Hushed,
        UnknownTarget,
    ];
    let names: BTreeSet<&str> = all.iter().map(Refusal::name).collect();
    assert_eq!(names.len(), all.len());
    let snake = |c: char| c.is_ascii_lowercase() || c == '_';
    assert!(names.iter().all(|name| name.chars().all(snake)));
}

fn any_tell() -> impl Strategy<Value = Tell> {
    (any::<(u64, u32, u32, u16)>(), any::<[bool; 3]>()).prop_map(
        |((incarnation, seq, epoch, heard), flags)| {
            let [joining, leaving, was_down] = flags;
            Tell { incarnation, seq, epoch, joining, leaving, was_down, heard }
        },
    )
}

fn any_message() -> impl Strategy<Value = Message> {
    let remote = any::<bool>().prop_map(|up| if up { Remote::Up } else { Remote::AdminDown });
    prop_oneof![
        any_tell().prop_map(Message::Tell),
        (any::<(u64, u32, bool)>(), any_tell()).prop_map(|((incarnation, seq, applied), own)| Message::Ack {
            incarnation,
            seq,
            applied,
            own
        }),
        any::<u32>().prop_map(|nonce| Message::Ask { target: C, nonce }),
        (any::<u32>(), remote, proptest::option::of(any_tell()))
            .prop_map(|(nonce, remote, told)| Message::Vouch { nonce, remote, told }),
    ]
}

proptest! {
    #[test]
    fn what_is_sealed_is_opened_once(messages in proptest::collection::vec(any_message(), 1..20)) {
        let (mut a, mut b) = pair();
        for message in messages {
            let datagram = a.seal(B, &message).unwrap();
            prop_assert!(datagram.len() <= 100);
            prop_assert_eq!(b.open(&datagram, START), Ok(Opened::Message { from: A, message }));
            prop_assert_eq!(b.open(&datagram, START), Err(Refusal::Replayed));
        }
    }

    #[test]
    fn one_bit_makes_it_refused(message in any_message(), at in any::<proptest::sample::Index>(), bit in 0u8..8) {
        let (mut a, mut b) = pair();
        let mut datagram = a.seal(B, &message).unwrap();
        let at = at.index(datagram.len());
        datagram[at] ^= 1u8 << bit;
        prop_assert!(b.open(&datagram, START).is_err());
        // And it has changed nothing.
        datagram[at] ^= 1u8 << bit;
        prop_assert!(is_message(&b.open(&datagram, START)));
    }

    #[test]
    fn a_piece_or_more_than_it_is_refused(message in any_message(), length in any::<proptest::sample::Index>()) {
        let (mut a, mut b) = pair();
        let mut datagram = a.seal(B, &message).unwrap();
        let length = length.index(datagram.len());
        prop_assert!(b.open(&datagram[..length], START).is_err());
        datagram.push(0);
        prop_assert!(b.open(&datagram, START).is_err());
    }

    #[test]
    fn any_bytes_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..140), kind in 0u8..8, headed: bool) {
        let (_, mut b) = pair();
        let mut datagram = bytes;
        if headed {
            // As far as the tag.
            let mut head = b"BLBF\x01\0\0\0".to_vec();
            head[5] = kind;
            head.extend([NodeId::of(&name("node-a")).0, NodeId::of(&name("node-b")).0].map(u64::to_be_bytes).concat());
            head.extend(&datagram);
            datagram = head;
        }
        prop_assert!(b.open(&datagram, START).is_err());
    }

    #[test]
    fn a_datagram_has_one_form(mut bytes in proptest::collection::vec(any::<u8>(), 16..140), kind in 1u8..6, zeros: u64) {
        // Zeros where they matter, so that many are accepted.
        for (at, byte) in bytes.iter_mut().enumerate() {
            if at >= 48 && zeros >> (at % 64) & 1 == 0 { *byte &= 1; }
        }
        let length = 64 + [16, 20, 36, 12, 28][usize::from(kind - 1)];
        bytes.resize(length, 0);
        bytes[..8].copy_from_slice(b"BLBF\x01\0\0\0");
        bytes[5] = kind;
        if let Ok((header, body)) = wire::decode(&bytes) {
            prop_assert_eq!(wire::encode(&header, &body), &bytes[..length - 16]);
        }
    }
}
