//! Datagrams computed by another program (Python's hmac, HKDF written from RFC 5869 and compared with OpenSSL's).
//!
//! Secret "correct horse battery staple", info "barelb failover datagram v1 hmac-sha256-128": the key is
//! 051967b270fb562c41571837b22df352a4ab2abd120d9cdb8b43567be9e99c45.

use super::*;

const INCARNATION: u64 = 0xa0a1_a2a3_a4a5_a6a7;

/// From node-a to node-b whose incarnation is not known, counted from 1.
const DATAGRAMS: [&str; 5] = [
    "424c42460102000066570ff05a20740493ef37c615713822a0a1a2a3a4a5a6a7000000000000000000000000000000011122334455667788000000070000000305000009bbb55ad28b35ded4105760b861f9d2d4",
    "424c42460103000066570ff05a20740493ef37c615713822a0a1a2a3a4a5a6a700000000000000000000000000000002112233445566778800000007010000000102030405060708fffffffe000000000200fffffa7b4ef943564209cb0b52c0ac995426",
    "424c42460104000066570ff05a20740493ef37c615713822a0a1a2a3a4a5a6a700000000000000000000000000000003092cd5e29db96478deadbeef4353ecbc99c7d9327f1f8583f72273dd",
    "424c42460105000066570ff05a20740493ef37c615713822a0a1a2a3a4a5a6a700000000000000000000000000000004deadbeef010100001122334455667788000000070000000305000009bcbc5316749c0b9c7b1732197d1a154d",
    "424c42460105000066570ff05a20740493ef37c615713822a0a1a2a3a4a5a6a700000000000000000000000000000005000000010200000000000000000000000000000000000000000000007e41df9074c479504f9bd71ecd7658db",
];

/// From node-b, in its first life, to node-a: who are you?
const HELLO: &str = "424c42460101000093ef37c61571382266570ff05a207404b0b1b2b3b4b5b6b7a0a1a2a3a4a5a6a7000000000000000100000000000000000100000000000000bd38974a250fe15e484a436f8a9c3730";

fn messages() -> [Message; 5] {
    let own = Tell {
        incarnation: 0x0102_0304_0506_0708,
        seq: 0xffff_fffe,
        epoch: 0,
        joining: false,
        leaving: true,
        was_down: false,
        heard: 65535,
    };
    [
        Message::Tell(TELL),
        Message::Ack { incarnation: 0x1122_3344_5566_7788, seq: 7, applied: true, own },
        Message::Ask { target: C, nonce: 0xdead_beef },
        Message::Vouch { nonce: 0xdead_beef, remote: Remote::Up, told: Some(TELL) },
        Message::Vouch { nonce: 1, remote: Remote::AdminDown, told: None },
    ]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

#[test]
fn datagrams_are_those_of_another_program() {
    let mut a = channel("node-a", INCARNATION);
    for (message, datagram) in messages().iter().zip(DATAGRAMS) {
        assert_eq!(hex(&a.seal(B, message).unwrap()), datagram, "{message:?}");
    }
}

#[test]
fn so_is_a_hello() {
    let mut a = channel("node-a", INCARNATION);
    let mut b = channel("node-b", 0xb0b1_b2b3_b4b5_b6b7);
    let stranger = a.seal(B, &Message::Tell(TELL)).unwrap();
    assert_eq!(hex(&answer(b.open(&stranger, START)).unwrap()), HELLO);
}

#[test]
fn each_reason_to_refuse_one() {
    let mut a = channel("node-a", INCARNATION);
    let mut b = channel("node-b", 2);
    let sealed = a.seal(B, &Message::Vouch { nonce: 1, remote: Remote::Up, told: None }).unwrap();
    let mut with = |at: usize, byte: u8| {
        let mut changed = sealed.clone();
        changed[at] = byte;
        b.open(&changed, START)
    };
    assert_eq!(with(0, b'X'), Err(Refusal::Foreign));
    assert_eq!(with(4, 2), Err(Refusal::Version(2)));
    assert_eq!(with(5, 3), Err(Refusal::Truncated));
    assert_eq!(with(5, 4), Err(Refusal::Truncated));
    assert_eq!(with(5, 0), Err(Refusal::Malformed));
    assert_eq!(with(6, 1), Err(Refusal::Malformed));
    assert_eq!(with(8, 0), Err(Refusal::UnknownSender));
    assert_eq!(with(16, 0), Err(Refusal::Misdirected));
    assert_eq!(with(52, 3), Err(Refusal::Malformed));
    assert_eq!(with(53, 2), Err(Refusal::Malformed));
    assert_eq!(with(60, 1), Err(Refusal::Malformed));
    assert_eq!(with(51, 0), Err(Refusal::Forged));
    assert_eq!(b.open(&[], START), Err(Refusal::Truncated));
}
