//! The Internet checksum (RFC 1071), incrementally: sums of 16-bit words in ones' complement.
//!
//! A [`Sum`] adds words in network order as they lie in memory, because the ones' complement sum does not
//! depend on byte order (RFC 1071 section 2 B): loading native words and storing the folded result natively
//! gives the right bytes on the wire.

/// A running sum, not yet folded. Holds 65,537 words, more than any message of ours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct Sum(u32);

impl Sum {
    /// Adds the bytes of `words`; its length is even by type where it is called.
    #[inline(always)]
    #[must_use]
    pub fn add<const N: usize>(self, bytes: &[u8; N]) -> Self {
        const { assert!(N.is_multiple_of(2), "checksummed parts are 16-bit words") };
        let mut sum = self.0;
        let mut i = 0;
        while i < N {
            sum += u16::from_ne_bytes([bytes[i], bytes[i + 1]]) as u32;
            i += 2;
        }
        Self(sum)
    }

    /// Adds one 16-bit word as it lies in memory.
    #[inline(always)]
    #[must_use]
    pub fn word(self, word: [u8; 2]) -> Self {
        Self(self.0 + u16::from_ne_bytes(word) as u32)
    }

    /// Folds to 16 bits.
    #[inline(always)]
    pub fn fold(self) -> u16 {
        let sum = (self.0 >> 16) + (self.0 & 0xffff);
        let sum = (sum >> 16) + (sum & 0xffff);
        sum as u16
    }

    /// The checksum field that makes the sum valid, as bytes on the wire.
    #[inline(always)]
    pub fn finish(self) -> [u8; 2] {
        (!self.fold()).to_ne_bytes()
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

    #[test]
    fn carries_are_folded() {
        let mut sum = Sum::default();
        for _ in 0..65_537 {
            sum = sum.add(&[0xff; 2]);
        }
        assert_eq!(sum.fold(), 0xffff);
    }
}
