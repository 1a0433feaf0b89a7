//! The Internet checksum (RFC 1071), incrementally: sums of 16-bit words in ones' complement.
//!
//! A [`Sum`] adds words in network order as they lie in memory, because the ones' complement sum does not
//! depend on byte order (RFC 1071 section 2 B): loading native words and storing the folded result natively
//! gives the right bytes on the wire.

use crate::addr;

/// A running sum, not yet folded. Holds four thousand million words, more than any message of ours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct Sum(u64);

impl Sum {
    /// Adds the bytes of words; their number is even by type where it is called. In pairs of words as far as that goes,
    /// which is the same sum once it is folded (RFC 1071 section 2 C).
    #[inline(always)]
    #[must_use]
    pub fn add<const N: usize>(self, bytes: &[u8; N]) -> Self {
        const { assert!(N.is_multiple_of(2), "checksummed parts are 16-bit words") };
        let mut sum = self.0;
        let mut i = 0;
        while i + 4 <= N {
            sum += addr::word32(bytes, i) as u64;
            i += 4;
        }
        while i < N {
            sum += addr::word16(bytes, i) as u64;
            i += 2;
        }
        Self(sum)
    }

    /// Adds one 16-bit word as it lies in memory.
    #[inline(always)]
    #[must_use]
    pub fn word(self, word: [u8; 2]) -> Self {
        Self(self.0 + u16::from_ne_bytes(word) as u64)
    }

    /// Takes bytes of words out of the sum: adds their complement (RFC 1624 section 3).
    #[inline(always)]
    #[must_use]
    pub fn without<const N: usize>(self, bytes: &[u8; N]) -> Self {
        const { assert!(N.is_multiple_of(2), "checksummed parts are 16-bit words") };
        let mut sum = self.0;
        let mut i = 0;
        while i + 4 <= N {
            sum += !addr::word32(bytes, i) as u64;
            i += 4;
        }
        while i < N {
            sum += !addr::word16(bytes, i) as u64;
            i += 2;
        }
        Self(sum)
    }

    /// Folds to 16 bits.
    #[inline(always)]
    pub fn fold(self) -> u16 {
        let sum = (self.0 >> 32) + (self.0 & 0xffff_ffff);
        let sum = (sum >> 16) + (sum & 0xffff);
        let sum = (sum >> 16) + (sum & 0xffff);
        let sum = (sum >> 16) + (sum & 0xffff);
        sum as u16
    }

    /// The checksum field that makes the sum valid, as bytes on the wire.
    #[inline(always)]
    pub fn finish(self) -> [u8; 2] {
        (!self.fold()).to_ne_bytes()
    }

    /// As [`Sum::finish`], for UDP, where 0 means that there is none (RFC 768).
    #[inline(always)]
    pub fn finish_udp(self) -> [u8; 2] {
        let field = !self.fold();
        if field == 0 { [0xff; 2] } else { field.to_ne_bytes() }
    }

    /// True when a sum that includes the checksum field is valid.
    #[inline(always)]
    pub fn is_valid(self) -> bool {
        self.fold() == 0xffff
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 1071 section 3.
    #[test]
    fn rfc_1071_example() {
        let sum = Sum::default().add(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
        assert_eq!(sum.fold().to_ne_bytes(), [0xdd, 0xf2]);
        assert_eq!(sum.finish(), [0x22, 0x0d]);
        assert!(sum.word(sum.finish()).is_valid());
    }

    /// The example of RFC 1624 section 4: under DD2F, 5555 becomes 3285, and the checksum 0000. Or FFFF, which is the same
    /// number, when the field itself is updated.
    #[test]
    fn rfc_1624_example() {
        let header = Sum::default().without(&[0xdd, 0x2f]).without(&[0x55, 0x55]).add(&[0x32, 0x85]);
        assert_eq!(header.finish(), [0, 0]);
        assert_eq!(header.finish_udp(), [0xff, 0xff]);
        let field = Sum::default().add(&[0xdd, 0x2f]).add(&[0x55, 0x55]).without(&[0x32, 0x85]);
        assert_eq!(field.fold(), 0xffff);
    }

    /// With what was taken out put in again, in pairs of words and with one left over, a sum is what it was.
    #[test]
    fn what_is_taken_out_can_be_put_back() {
        let bytes: [u8; 6] = [0xff, 0xfe, 3, 0, 0x80, 1];
        for start in [[0, 0], [0x12, 0x34], [0xff, 0xff]] {
            let sum = Sum::default().word(start);
            assert_eq!(sum.without(&bytes).add(&bytes).fold() % 0xffff, sum.fold() % 0xffff);
        }
    }

    #[test]
    fn carries_are_folded() {
        let mut sum = Sum::default();
        for _ in 0..65_537 {
            sum = sum.add(&[0xff; 2]);
        }
        assert_eq!(sum.fold(), 0xffff);
        assert_eq!(Sum(u64::MAX).fold(), 0xffff);
        assert_eq!(Sum(0xffff_ffff_0001_0000).fold(), 1);
    }

    /// In pairs of words, with and without a word left over, as word by word.
    #[test]
    fn pairs_of_words_make_the_same_sum() {
        let bytes: [u8; 30] = core::array::from_fn(|i| (i * 151 + 7) as u8 | 0x80);
        let pairs = Sum::default().add(&bytes);
        let words = bytes.chunks(2).fold(Sum::default(), |sum, word| sum.word([word[0], word[1]]));
        assert_eq!(pairs.fold(), words.fold());
    }
}
