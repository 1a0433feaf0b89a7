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

const PROBE_V4: &str = "0200000000aa020000000001080045c0003400004000fff1UUUUc000020ac0000201";

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
