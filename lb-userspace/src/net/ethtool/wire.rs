//! The structures of linux/ethtool.h as buffers of 64-bit words: aligned, zeroed, and larger than the kernel will fill.

use std::collections::{BTreeMap, BTreeSet};

use super::Driver;

/// `ETH_SS_STATS` and `ETH_SS_FEATURES`: sets of strings.
pub(super) const SS_STATS: u32 = 1;
pub(super) const SS_FEATURES: u32 = 4;

const GDRVINFO: u32 = 0x03;
const GSTRINGS: u32 = 0x1b;
const GSTATS: u32 = 0x1d;
const GSSET_INFO: u32 = 0x37;
const GFEATURES: u32 = 0x3a;

/// `ETH_GSTRING_LEN`.
const STRING: usize = 32;
/// `struct ethtool_drvinfo`.
const DRIVER_INFO: usize = 196;
/// The kernel fills as many entries as the driver has at that moment, whatever the request says. This many may be
/// added between asking for their number and asking for them.
const SPARE: usize = 4096;

/// A request and its answer, in the machine's byte order, aligned for every structure.
pub(super) struct Buffer(Vec<u64>);

impl Buffer {
    /// Room for `bytes`, starting with the words given.
    fn new(bytes: usize, start: &[u32]) -> Self {
        let mut words = vec![0u64; bytes.div_ceil(8)];
        let mut start = start.chunks(2);
        for (word, pair) in words.iter_mut().zip(&mut start) {
            let [a, b] = [pair[0].to_ne_bytes(), pair.get(1).copied().unwrap_or(0).to_ne_bytes()];
            *word = u64::from_ne_bytes([a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3]]);
        }
        Self(words)
    }

    pub(super) fn as_mut_ptr(&mut self) -> *mut libc::c_char {
        self.0.as_mut_ptr().cast()
    }

    pub(super) fn command(&self) -> u32 {
        self.word(0)
    }

    fn bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|word| word.to_ne_bytes()).collect()
    }

    /// The 32-bit word at this place; 0 beyond the end.
    fn word(&self, place: usize) -> u32 {
        let Some(word) = self.0.get(place / 2) else { return 0 };
        let bytes = word.to_ne_bytes();
        let half = if place.is_multiple_of(2) { bytes.first_chunk() } else { bytes.last_chunk() };
        half.map_or(0, |half| u32::from_ne_bytes(*half))
    }
}

/// `struct ethtool_sset_info`: cmd, reserved, `sset_mask` (u64), data[].
pub(super) fn count_request(set: u32) -> Buffer {
    let mut request = Buffer::new(16 + 8, &[GSSET_INFO, 0]);
    if let Some(mask) = request.0.get_mut(1) {
        *mask = 1 << set;
    }
    request
}

/// The number of strings, or `None` when the kernel cleared the bit of the set.
pub(super) fn count(answer: &Buffer) -> Option<usize> {
    let known = answer.0.get(1).is_some_and(|mask| *mask != 0);
    known.then(|| answer.word(4) as usize)
}

/// `struct ethtool_gstrings`: cmd, `string_set`, len, data.
pub(super) fn strings_request(set: u32, count: usize) -> Buffer {
    let length = u32::try_from(count).unwrap_or(0);
    Buffer::new(12 + (count + SPARE) * STRING, &[GSTRINGS, set, length])
}

pub(super) fn strings(answer: &Buffer) -> Vec<String> {
    let bytes = answer.bytes();
    let data = bytes.get(12..).unwrap_or_default();
    data.chunks_exact(STRING).take(answer.word(2) as usize).map(text).collect()
}

/// `struct ethtool_gfeatures`: cmd, size, then four 32-bit words per 32 features.
pub(super) fn features_request(count: usize) -> Buffer {
    let blocks = count.div_ceil(32);
    Buffer::new(8 + blocks * 16, &[GFEATURES, u32::try_from(blocks).unwrap_or(0)])
}

/// The names whose bit is set in `active`, the third word of a block (available, requested, active, `never_changed`).
pub(super) fn active_features(names: &[String], answer: &Buffer) -> BTreeSet<String> {
    let active = |place: usize| answer.word(2 + place / 32 * 4 + 2) & (1 << (place % 32)) != 0;
    // Bits without a name have an empty string.
    names
        .iter()
        .enumerate()
        .filter(|(place, name)| !name.is_empty() && active(*place))
        .map(|(_, n)| n.clone())
        .collect()
}

/// `struct ethtool_drvinfo`.
pub(super) fn driver_request() -> Buffer {
    Buffer::new(DRIVER_INFO, &[GDRVINFO])
}

pub(super) fn driver(answer: &Buffer) -> Driver {
    let bytes = answer.bytes();
    let field = |place: usize| bytes.get(place..place + 32).map(text).unwrap_or_default();
    Driver { name: field(4), version: field(36), firmware: field(68), bus: field(100) }
}

/// `struct ethtool_stats`: cmd, `n_stats`, then 64-bit values.
pub(super) fn stats_request(count: usize) -> Buffer {
    Buffer::new(8 + (count + SPARE) * 8, &[GSTATS, u32::try_from(count).unwrap_or(0)])
}

pub(super) fn stats(names: Vec<String>, answer: &Buffer) -> BTreeMap<String, u64> {
    let values = answer.0.iter().skip(1).take(answer.word(1) as usize);
    let mut stats = BTreeMap::new();
    for (name, value) in names.into_iter().zip(values) {
        let sum: &mut u64 = stats.entry(name).or_default();
        *sum = sum.wrapping_add(*value);
    }
    stats
}

/// A string that ends at the first NUL or at the end of its field.
fn text(field: &[u8]) -> String {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    String::from_utf8_lossy(&field[..end]).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(words: &[u32]) -> Buffer {
        Buffer::new(words.len() * 4, words)
    }

    #[test]
    fn the_words_of_a_buffer() {
        let buffer = filled(&[1, 2, 3]);
        assert_eq!(
            [buffer.word(0), buffer.word(1), buffer.word(2), buffer.word(3), buffer.word(9)],
            [1, 2, 3, 0, 0]
        );
    }

    #[test]
    fn features_come_from_the_active_words() {
        let mut names: Vec<String> = (0..40).map(|number| format!("f{number}")).collect();
        names[2].clear();
        // available, requested, active, never_changed of two blocks
        let answer = filled(&[GFEATURES, 2, 0xff, 0xf0, 0b101, 0, 0xff, 0, 0x80, 0]);
        let expected = BTreeSet::from(["f0".to_owned(), "f39".to_owned()]);
        assert_eq!(active_features(&names, &answer), expected);
    }

    #[test]
    fn a_set_the_driver_does_not_have() {
        assert_eq!(count(&filled(&[GSSET_INFO, 0, 0, 0, 7])), None);
        let mut answer = count_request(SS_STATS);
        assert_eq!(answer.0[1], 2);
        answer.0[2] = u64::from_ne_bytes(filled(&[5, 0]).0[0].to_ne_bytes());
        assert_eq!(count(&answer), Some(5));
    }

    #[test]
    fn counters_of_one_name_are_added() {
        let mut answer = stats_request(3);
        answer.0[1] = 10;
        answer.0[2] = u64::MAX;
        answer.0[3] = 5;
        let names = vec!["a".to_owned(), "b".to_owned(), "a".to_owned()];
        assert_eq!(stats(names, &answer), BTreeMap::from([("a".to_owned(), 15), ("b".to_owned(), u64::MAX)]));
    }

    #[test]
    fn strings_end_at_a_nul_or_at_the_end() {
        assert_eq!(text(b"rx_drops\0junk"), "rx_drops");
        assert_eq!(text(&[b'x'; 32]), "x".repeat(32));
    }
}
