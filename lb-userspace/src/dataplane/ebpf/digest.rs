//! Whether the table holds what was written, without keeping or building anything.
//!
//! The maps are walked in parts, and each part has a number that changes when any entry in it does. As long as nobody
//! changes the maps, every walk has the same parts; so a change is found when its part is looked at.

use super::batch::Walk;

/// A number for each part of a walk over the table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Digest {
    parts: Vec<u64>,
}

impl Digest {
    pub(super) fn push(&mut self, part: u64) {
        self.parts.push(part);
    }

    /// Whether this part, the last one or not, is what it was.
    fn has(&self, index: usize, part: u64, last: bool) -> bool {
        self.parts.get(index) == Some(&part) && last == (index + 1 == self.parts.len())
    }
}

/// A comparison under way.
#[derive(Debug, Default)]
pub(super) struct Scan {
    pub(super) walk: Walk,
    /// Which of the maps.
    pub(super) map: usize,
    part: usize,
}

impl Scan {
    /// Takes note of a part; whether it is what it was. Begins anew after the last part, and after one that differs.
    pub(super) fn compare(&mut self, digest: &Digest, part: u64, last: bool) -> bool {
        let same = digest.has(self.part, part, last);
        if last || !same {
            self.restart();
        } else {
            self.part += 1;
        }
        same
    }

    /// From the beginning.
    pub(super) fn restart(&mut self) {
        self.walk.restart();
        (self.map, self.part) = (0, 0);
    }
}

/// Contribution of one entry, whose bytes are a multiple of four. Not made to withstand somebody who looks for two
/// contents with one number: who may write the map may also write what he likes without being noticed for a second.
pub(super) fn mix(key: &[u8], entry: &[u8]) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let word = |bytes: &[u8]| {
        let mut word = [0; 8];
        word[..bytes.len()].copy_from_slice(bytes);
        u64::from_ne_bytes(word)
    };
    // Both halves of the product: the low one alone would let the high bits of a word act like low bits of the next.
    let fold = |hash: u64, word: u64| {
        let product = u128::from(hash ^ word) * u128::from(ODD);
        (product as u64) ^ ((product >> 64) as u64).rotate_left(17)
    };
    let words = key.chunks(8).chain(entry.chunks(8)).map(word);
    fold(words.fold(ODD, fold), ODD)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_of_an_entry_counts() {
        let (key, entry) = ([7_u8; 12], [9_u8; 24]);
        let mut seen = std::collections::BTreeSet::from([mix(&key, &entry)]);
        for bit in 0..key.len() * 8 {
            let mut other = key;
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(seen.insert(mix(&other, &entry)), "bit {bit} of the key");
        }
        for bit in 0..entry.len() * 8 {
            let mut other = entry;
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(seen.insert(mix(&key, &other)), "bit {bit} of the entry");
        }
    }

    #[test]
    fn a_part_more_or_less_is_a_change() {
        let mut digest = Digest::default();
        digest.push(1);
        digest.push(2);
        let compare = |parts: &[(u64, bool)]| {
            let mut scan = Scan::default();
            parts.iter().all(|(part, last)| scan.compare(&digest, *part, *last))
        };
        assert!(compare(&[(1, false), (2, true), (1, false), (2, true)]), "over and over");
        for changed in [&[(1, true)][..], &[(1, false), (2, false)], &[(1, false), (3, true)], &[(2, false)]]
        {
            assert!(!compare(changed), "{changed:?}");
        }
    }
}
