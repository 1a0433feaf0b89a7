//! Trials made of the vectors: deterministic, so that a number names one. Shared with the fuzzer's stable driver.

use std::sync::OnceLock;

use super::differential::Trial;
use super::vectors::parse::{Buffers, vectors};

/// Every vector as a trial.
pub fn seeds() -> &'static [Trial] {
    static SEEDS: OnceLock<Vec<Trial>> = OnceLock::new();
    SEEDS.get_or_init(|| {
        let cases = vectors().map(|all| all.cases).unwrap_or_default();
        cases.iter().filter(|case| case.buffers == Buffers::One).map(Trial::of).collect()
    })
}

/// Pseudo-random numbers: `SplitMix64`, from Steele, Lea and Flood, "Fast splittable pseudorandom number generators".
#[derive(Clone, Debug)]
pub struct Numbers(pub u64);

impl Numbers {
    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit`, 0 if that is 0.
    pub fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.draw() >> 32).unwrap_or(0).checked_rem(limit).unwrap_or(0)
    }

    /// True once in `n` times.
    pub fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

/// The trial with this number: a vector, up to four changes, and mostly a checksum that fits.
pub fn trial(number: u64, seeds: &[Trial]) -> Trial {
    let mut numbers = Numbers(number);
    let Some(seed) = seeds.get(numbers.below(seeds.len())) else {
        return Trial {
            vips: Vec::new(),
            reflectors: Vec::new(),
            members: Vec::new(),
            alive: true,
            stripped: None,
            frame: Vec::new(),
        };
    };
    let mut trial = seed.clone();
    for _ in 0..numbers.below(5) {
        change(&mut numbers, &mut trial, seeds);
    }
    if !numbers.once_in(8) {
        repair(&mut trial.frame);
    }
    trial
}

fn change(numbers: &mut Numbers, trial: &mut Trial, seeds: &[Trial]) {
    let length = trial.frame.len();
    let at = numbers.below(length);
    match numbers.below(10) {
        0 => trial.frame.truncate(at),
        1 => trial.frame.resize(length + numbers.below(70), 0xa5),
        2 if numbers.once_in(4) => trial.alive = !trial.alive,
        3 if numbers.once_in(4) => {
            let tpid = if numbers.once_in(2) { 0x8100 } else { 0x88a8 };
            trial.stripped = Some((tpid, [0, 42, 100, 0xfff][numbers.below(4)]));
        }
        4 if numbers.once_in(2) => {
            let donor = &seeds[numbers.below(seeds.len())];
            trial.vips.extend(donor.vips.iter().copied());
        }
        5 => splice(numbers, trial, seeds),
        6 => {
            let value = [0, 1, 2, 0x80, 0xff, 135, 136, 58][numbers.below(8)];
            if let Some(byte) = trial.frame.get_mut(at) {
                *byte = value;
            }
        }
        _ => {
            if let Some(byte) = trial.frame.get_mut(at) {
                *byte ^= 1 << numbers.below(8);
            }
        }
    }
}

/// Overwrites a field's worth of bytes with what another vector has there.
fn splice(numbers: &mut Numbers, trial: &mut Trial, seeds: &[Trial]) {
    let donor = &seeds[numbers.below(seeds.len())].frame;
    let at = numbers.below(donor.len());
    let end = at + [2, 4, 6, 16][numbers.below(4)];
    if let (Some(to), Some(from)) = (trial.frame.get_mut(at..end), donor.get(at..end)) {
        to.copy_from_slice(from);
    }
}

/// Makes the checksum of an `ICMPv6` message or a datagram right, so that mutations get past it.
pub fn repair(frame: &mut [u8]) {
    repair_probe(frame);
    let Some(at) = (12..=24).step_by(4).find(|at| frame.get(*at..at + 2) == Some(&[0x86, 0xdd])) else {
        return;
    };
    let Some(packet) = frame.get_mut(at + 2..) else { return };
    let length = match packet.get(4..6) {
        Some(length) => usize::from(length[0]) << 8 | usize::from(length[1]),
        None => return,
    };
    let Some(end) =
        packet.len().checked_sub(40).filter(|room| *room >= length && length >= 4).map(|_| 40 + length)
    else {
        return;
    };
    packet[42..44].fill(0);
    let mut sum = length as u64 + 58;
    for pair in packet[8..end].chunks(2) {
        sum += u64::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u64::from(*low));
    }
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    let [.., high, low] = (!sum).to_be_bytes();
    packet[42..44].copy_from_slice(&[high, low]);
}

/// The checksums of a datagram of 32 bytes and of the IPv4 header before it.
fn repair_probe(frame: &mut [u8]) {
    let Some((ethernet, packet)) = frame.split_at_mut_checked(14) else { return };
    let (header, addresses) = match ethernet[12..] {
        [8, 0] if packet.get(9) == Some(&17) => (20, 12),
        [0x86, 0xdd] if packet.get(6) == Some(&17) => (40, 8),
        _ => return,
    };
    if packet.len() < header + 32 {
        return;
    }
    if header == 20 {
        packet[10..12].fill(0);
        let sum = checksum(&packet[..20]);
        packet[10..12].copy_from_slice(&sum);
    }
    packet[header + 6..header + 8].fill(0);
    let covered = [&packet[addresses..header + 32], &[0, 17, 0, 32]].concat();
    packet[header + 6..header + 8].copy_from_slice(&checksum(&covered));
}

fn checksum(bytes: &[u8]) -> [u8; 2] {
    let mut sum: u64 = bytes.chunks(2).map(|pair| u64::from(pair[0]) << 8 | u64::from(pair[1])).sum();
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    let [.., high, low] = (!sum).to_be_bytes();
    [high, low]
}
