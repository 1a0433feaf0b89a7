//! Whole frames, with checksums by an implementation of their own.

use proptest::prelude::*;

use super::initiator::{FRAME_V4, FRAME_V6, Question, Reply, parse_reply, write_probe_v4, write_probe_v6};
use super::*;
use crate::addr::{Address, Mac, V4, V6};

const NODE: Mac = [2, 0, 0, 0, 0, 0xaa];
const PEER: Mac = [2, 0, 0, 0, 0, 1];
const NODE4: V4 = [192, 0, 2, 1];
const PEER4: V4 = [192, 0, 2, 10];
const NODE6: V6 = [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
const PEER6: V6 = [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10];
const QUESTION: Question = Question {
    from: PEER,
    to: NODE,
    port: 49_200,
    nonce: 0xdead_beef,
    discriminator: 0x0a0b_0c0d,
    state: State::Up,
    multiplier: 3,
    interval_us: 10_000,
};

/// The frames of S01.
const PROBE_V4: &str = "0200000000aa020000000001080045c0003400004000ff11f6ecc000020ac0000201\
    c0301e6800209e6920c20318deadbeef0a0b0c0d000027100000000000000000";
const REPLY_V4: &str = "0200000000010200000000aa080045c0003400004000ff11f6ecc0000201c000020a\
    1e68c03000209d6e20c803180a0b0c0ddeadbeef00002710000000f500000000";
const PROBE_V6: &str = "0200000000aa02000000000186dd6c000000002011ff20010db8000000000000000000000010\
    20010db8000000000000000000000001c0301e680020c6f220c20318deadbeef0a0b0c0d000027100000000000000000";
const REPLY_V6: &str = "0200000000010200000000aa86dd6c000000002011ff20010db8000000000000000000000001\
    20010db8000000000000000000000010\
    1e68c0300020c5f720c803180a0b0c0ddeadbeef00002710000000f500000000";

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn probe_v4(question: &Question) -> Vec<u8> {
    let mut frame = [0xdb; FRAME_V4];
    write_probe_v4(&mut frame, &PEER4, &NODE4, question);
    frame.to_vec()
}

fn probe_v6(question: &Question) -> Vec<u8> {
    let mut frame = [0xdb; FRAME_V6];
    write_probe_v6(&mut frame, &PEER6, &NODE6, question);
    frame.to_vec()
}

/// The frame turned round, as if it had been judged.
fn reflected(frame: &[u8], up: bool) -> Vec<u8> {
    let mut macs: Macs = *frame.first_chunk().unwrap();
    let packet = if frame[12] == 8 {
        let mut packet: PacketV4 = frame[14..].try_into().unwrap();
        reflect_v4(&mut macs, &mut packet, up);
        packet.to_vec()
    } else {
        let mut packet: PacketV6 = frame[14..].try_into().unwrap();
        reflect_v6(&mut macs, &mut packet, up);
        packet.to_vec()
    };
    [&macs[..], &frame[12..14], &packet].concat()
}

fn parse(frame: &[u8]) -> Result<Probe, Outcome> {
    let packet = &frame[14..];
    if frame[12] == 8 { parse_v4(packet.try_into().unwrap()) } else { parse_v6(packet.try_into().unwrap()) }
}

fn reply(v4: bool) -> Reply {
    let (source, destination) = if v4 {
        (Address::v4(&NODE4), Address::v4(&PEER4))
    } else {
        (Address::v6(&NODE6), Address::v6(&PEER6))
    };
    Reply {
        nonce: QUESTION.nonce,
        discriminator: QUESTION.discriminator,
        state: State::Up,
        source,
        destination,
        port: QUESTION.port,
        mac: NODE,
    }
}

#[test]
fn the_interval_is_not_shorter_than_the_rate() {
    assert_eq!(MIN_RX_US, 245);
}

#[test]
fn probes_and_replies_are_the_golden_frames() {
    assert_eq!((probe_v4(&QUESTION), probe_v6(&QUESTION)), (bytes(PROBE_V4), bytes(PROBE_V6)));
    for (probe, expected, v4) in [(PROBE_V4, REPLY_V4, true), (PROBE_V6, REPLY_V6, false)] {
        let probe = bytes(probe);
        assert_eq!(parse(&probe).unwrap().discriminator, QUESTION.discriminator.to_be_bytes());
        let frame = reflected(&probe, true);
        assert_eq!(frame, bytes(expected));
        assert_eq!(parse_reply(&frame), Ok(reply(v4)));
        let padded = [&frame[..], &[0xa5; 18]].concat();
        assert_eq!(parse_reply(&padded), Ok(reply(v4)), "what lies behind the datagram does not count");
        let down = reflected(&probe, false);
        assert_eq!(parse_reply(&down), Ok(Reply { state: State::AdminDown, ..reply(v4) }));
        assert_eq!(parse(&frame), Err(Outcome::BfdMalformed), "what was reflected is no probe");
        assert_eq!(parse_reply(&probe), Err(Outcome::Ignored), "a probe is no reply");
    }
}

/// With the sum as it is over the wire, where it can be any number but 0.
#[test]
fn a_checksum_that_comes_to_zero_is_written_as_ones() {
    let mut seen = 0;
    for low in 0..=u16::MAX {
        let question = Question { nonce: 0x0001_0000 | u32::from(low), ..QUESTION };
        for probe in [probe_v4(&question), probe_v6(&question)] {
            let frame = reflected(&probe, true);
            let udp = frame.len() - DATAGRAM;
            seen += u32::from(frame[udp + 6..udp + 8] == [0xff; 2]);
            assert!(parse(&probe).is_ok() && parse_reply(&frame).is_ok(), "{low:04x}");
        }
    }
    assert_eq!(seen, 2, "once per family");
}

/// Each single byte of a reply but those that say nothing here: changed, it is another reply or none.
#[test]
fn a_changed_reply_is_no_reply() {
    for golden in [REPLY_V4, REPLY_V6] {
        let golden = bytes(golden);
        for at in 12..golden.len() {
            for bit in 0..8 {
                let mut frame = golden.clone();
                frame[at] ^= 1 << bit;
                // Class and flow label of IPv6 are in no checksum.
                let is_free = golden[12] == 0x86 && (at == 14 && bit < 4 || (15..18).contains(&at));
                assert_eq!(parse_reply(&frame).is_ok(), is_free, "byte {at}, bit {bit}");
            }
            assert!(parse_reply(&golden[..at]).is_err(), "{at} bytes");
        }
    }
}

#[test]
fn only_up_and_administratively_down_come_from_a_reflector() {
    for (state, expected) in [(0, true), (1, false), (2, false), (3, true)] {
        // Without a checksum, so that it is the state that decides.
        let mut frame = bytes(REPLY_V4);
        frame[40..42].fill(0);
        frame[43] = state << 6 | 8;
        assert_eq!(parse_reply(&frame).is_ok(), expected, "{state}");
    }
}

proptest! {
    /// Every question comes back with its nonce, and a wrong checksum comes back wrong.
    #[test]
    fn what_was_asked_comes_back(
        nonce in 1_u32..,
        discriminator in 1_u32..,
        port in 1_u16..7784,
        multiplier in 1_u8..,
        interval_us: u32,
        up: bool,
        error in 1_u8..=254,
    ) {
        let question = Question { port, nonce, discriminator, multiplier, interval_us, ..QUESTION };
        for (frame, v4) in [(probe_v4(&question), true), (probe_v6(&question), false)] {
            let state = if up { State::Up } else { State::AdminDown };
            let expected = Reply { nonce, discriminator, state, port, ..reply(v4) };
            prop_assert!(parse(&frame).is_ok());
            prop_assert_eq!(parse_reply(&reflected(&frame, up)), Ok(expected));
            let mut wrong = frame.clone();
            let checksum = frame.len() - DATAGRAM + 7;
            wrong[checksum] ^= error;
            if wrong[checksum - 1..=checksum] != [0; 2] {
                prop_assert_eq!(parse(&wrong), Err(Outcome::BfdChecksum));
                prop_assert_eq!(parse_reply(&reflected(&wrong, up)), Err(Outcome::BfdChecksum));
            }
        }
    }

    /// Any bytes are read without a panic, and what is turned round twice has its addresses, ports and discriminators
    /// where they were.
    #[test]
    fn any_bytes_at_all(frame in proptest::collection::vec(any::<u8>(), 0..120), up: bool) {
        prop_assert!(!parse_reply(&frame).is_ok_and(|reply| reply.nonce == 0));
        for (kind, len) in [([8, 0], FRAME_V4), ([0x86, 0xdd], FRAME_V6)] {
            let mut frame = frame.clone();
            frame.resize(len, 0xdb);
            frame[12..14].copy_from_slice(&kind);
            prop_assert!(!parse(&frame).is_ok_and(|probe| probe.discriminator == [0; 4]));
            prop_assert!(!parse_reply(&frame).is_ok_and(|reply| reply.nonce == 0));
            let twice = reflected(&reflected(&frame, up), up);
            let udp = len - DATAGRAM;
            prop_assert_eq!(&twice[..udp + 6], &frame[..udp + 6]);
            prop_assert_eq!(&twice[udp + 10..udp + 24], &frame[udp + 10..udp + 24]);
        }
    }
}
