//! Frames. Input: one byte for the map, one for the tag beside the frame, then the frame.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::differential::Trial;
use crate::mutation::repair;

/// VLANs the addresses are bound to, by the low bits of the first byte.
const VLANS: [&[(u16, u16)]; 8] =
    [&[(0, 0)], &[(42, 0)], &[(100, 0)], &[(100, 42)], &[(42, 100)], &[(4094, 0)], &[], &[(0, 0), (42, 0)]];
/// Bit of the first byte: another node answers.
const STANDBY: u8 = 0x08;
/// Bit of the first byte: the deadline of the agent has passed.
const EXPIRED: u8 = 0x10;
/// Tags beside the frame, by the low bits of the second byte.
const STRIPPED: [Option<(u16, u16)>; 8] = [
    None,
    Some((0x8100, 0x0064)),
    Some((0x8100, 0xb064)),
    Some((0x8100, 0xe000)),
    Some((0x8100, 0x0fff)),
    Some((0x88a8, 0x0064)),
    Some((0x8100, 0x002a)),
    Some((0x9100, 0x0064)),
];

/// The node's own addresses, whose probes are reflected, and the addresses of the one who may probe: those of the vectors.
const LIVENESS: [[IpAddr; 2]; 2] = [
    [IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1))],
    [IpAddr::V4(Ipv4Addr::new(192, 0, 2, 10)), IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x10))],
];

/// Both responders do the same with the frame, and with the frame once its checksum is right.
pub fn run(data: &[u8]) {
    let Some((&[map, tag], frame)) = data.split_first_chunk() else { return };
    let [node, peer] = LIVENESS;
    let mut trial = Trial {
        vips: vips(map),
        reflectors: node.map(|ip| (ip, 0x0a0b_0c0d, map & STANDBY == 0)).into(),
        members: peer.map(|ip| (ip, [2, 0, 0, 0, 0, 1])).into(),
        alive: map & EXPIRED == 0,
        stripped: STRIPPED[usize::from(tag % 8)],
        frame: frame.to_vec(),
    };
    trial.compare();
    repair(&mut trial.frame);
    trial.compare();
}

/// The input that stands for a trial, as far as one can.
pub fn encode(trial: &Trial) -> Vec<u8> {
    let bound = trial.vips.first().map(|(_, vlans, _)| *vlans);
    let is_bound = |set: &&[(u16, u16)]| set.first().copied() == bound;
    let set = VLANS.iter().position(is_bound).and_then(|set| u8::try_from(set).ok()).unwrap_or(6);
    let standby = if trial.vips.iter().any(|(_, _, active)| !active) { STANDBY } else { 0 };
    let expired = if trial.alive { 0 } else { EXPIRED };
    let tag = STRIPPED.iter().position(|tag| *tag == trial.stripped);
    let tag = tag.and_then(|tag| u8::try_from(tag).ok()).unwrap_or(0);
    [&[set | standby | expired, tag], &trial.frame[..]].concat()
}

fn vips(map: u8) -> Vec<(IpAddr, (u16, u16), bool)> {
    let addresses: [IpAddr; 4] = [
        Ipv4Addr::new(192, 0, 2, 100).into(),
        Ipv4Addr::new(192, 0, 2, 102).into(),
        Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x64).into(),
        Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x64).into(),
    ];
    let bound = VLANS[usize::from(map % 8)];
    let active = map & STANDBY == 0;
    bound.iter().flat_map(|vlans| addresses.map(|addr| (addr, *vlans, active))).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;
    use std::{env, fs};

    use super::{encode, run};
    use crate::mutation::seeds;

    /// The committed seeds are the vectors; with `BARELB_WRITE_SEEDS` set they are written.
    #[test]
    fn seeds_are_the_vectors() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds/frame");
        let all: BTreeSet<Vec<u8>> = seeds().iter().map(encode).collect();
        // Without the truncated frames, which a fuzzer makes by itself.
        let is_whole =
            |input: &&Vec<u8>| !all.iter().any(|other| other.len() > input.len() && other.starts_with(input));
        let inputs: BTreeSet<Vec<u8>> = all.iter().filter(is_whole).cloned().collect();
        for input in &inputs {
            run(input);
        }
        let name = |input: &[u8]| format!("{:016x}", fnv(input));
        if env::var_os("BARELB_WRITE_SEEDS").is_some() {
            fs::remove_dir_all(&folder).unwrap();
            fs::create_dir_all(&folder).unwrap();
            inputs.iter().for_each(|input| fs::write(folder.join(name(input)), input).unwrap());
        }
        let files = fs::read_dir(&folder).unwrap().map(|file| fs::read(file.unwrap().path()).unwrap());
        assert!(files.collect::<BTreeSet<_>>() == inputs, "set BARELB_WRITE_SEEDS to write them anew");
    }

    /// FNV-1a, so that a seed keeps its name.
    fn fnv(bytes: &[u8]) -> u64 {
        bytes
            .iter()
            .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
    }
}
