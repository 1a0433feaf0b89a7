//! Addresses as byte arrays in network order: no host-order integers, so no confusion of the two.

/// An Ethernet address.
pub type Mac = [u8; 6];
/// An IPv4 address.
pub type V4 = [u8; 4];
/// An IPv6 address.
pub type V6 = [u8; 16];

/// The Ethernet broadcast address.
pub const BROADCAST: Mac = [0xff; 6];
/// 33:33:00:00:00:01, the Ethernet group of [`ALL_NODES`] (RFC 2464 section 7).
pub const ALL_NODES_MAC: Mac = [0x33, 0x33, 0, 0, 0, 1];
/// ff02::1, all nodes on the link (RFC 4291 section 2.7.1).
pub const ALL_NODES: V6 = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
/// The unspecified IPv6 address.
pub const UNSPECIFIED: V6 = [0; 16];

/// Equality with a single branch at the end, in words as long as fit. `==` compares and branches word by word, and the
/// verifier follows every combination of outcomes.
#[inline(always)]
pub const fn same<const N: usize>(a: &[u8; N], b: &[u8; N]) -> bool {
    const { assert!(N.is_multiple_of(2), "compared in words of 64, 32 and 16 bits") };
    let mut difference = 0;
    let mut i = 0;
    while i + 8 <= N {
        difference |= word64(a, i) ^ word64(b, i);
        i += 8;
    }
    while i + 4 <= N {
        difference |= (word32(a, i) ^ word32(b, i)) as u64;
        i += 4;
    }
    while i + 2 <= N {
        difference |= (word16(a, i) ^ word16(b, i)) as u64;
        i += 2;
    }
    difference == 0
}

/// Eight bytes as they lie in memory. The compiler makes one load of it.
#[inline(always)]
pub const fn word64<const N: usize>(a: &[u8; N], i: usize) -> u64 {
    u64::from_ne_bytes([a[i], a[i + 1], a[i + 2], a[i + 3], a[i + 4], a[i + 5], a[i + 6], a[i + 7]])
}

/// Four bytes as they lie in memory.
#[inline(always)]
pub const fn word32<const N: usize>(a: &[u8; N], i: usize) -> u32 {
    u32::from_ne_bytes([a[i], a[i + 1], a[i + 2], a[i + 3]])
}

/// Two bytes as they lie in memory.
#[inline(always)]
pub const fn word16<const N: usize>(a: &[u8; N], i: usize) -> u16 {
    u16::from_ne_bytes([a[i], a[i + 1]])
}

/// True for a group address, broadcast included (IEEE 802: least significant bit of the first byte).
#[inline(always)]
pub const fn is_group(mac: &Mac) -> bool {
    mac[0] & 1 != 0
}

/// True for 00:00:00:00:00:00.
#[inline(always)]
pub const fn is_zero(mac: &Mac) -> bool {
    same(mac, &[0; 6])
}

/// True for an address that can be one station's: neither zero nor a group.
#[inline(always)]
pub const fn is_station(mac: &Mac) -> bool {
    !is_group(mac) && !is_zero(mac)
}

/// The solicited-node multicast address of `target` (RFC 4291 section 2.7.1).
#[inline(always)]
pub const fn solicited_node(target: &V6) -> V6 {
    [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, target[13], target[14], target[15]]
}

/// The Ethernet group an IPv6 multicast address maps to (RFC 2464 section 7).
#[inline(always)]
pub const fn multicast_mac(group: &V6) -> Mac {
    [0x33, 0x33, group[12], group[13], group[14], group[15]]
}

/// An address of either family in one field: IPv4 as IPv4-mapped IPv6 address (RFC 4291 section 2.5.5.2).
///
/// Aligned, so that the BPF program stores it in words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C, align(8))]
pub struct Address {
    octets: V6,
}

impl Address {
    /// An IPv4 address.
    #[inline(always)]
    pub const fn v4(a: &V4) -> Self {
        Self::of_words(Words::v4(a))
    }

    /// An IPv6 address.
    #[inline(always)]
    pub const fn v6(a: &V6) -> Self {
        Self { octets: copied(a) }
    }

    /// The address in these words.
    #[inline(always)]
    pub const fn of_words(Words([first, second]): Words) -> Self {
        let ([a, b, c, d, e, f, g, h], [i, j, k, l, m, n, o, p]) =
            (first.to_ne_bytes(), second.to_ne_bytes());
        Self { octets: [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] }
    }

    /// The IPv6 or IPv4-mapped address.
    pub const fn octets(&self) -> V6 {
        self.octets
    }
}

/// An [`Address`] as two words in the order of memory: how the BPF program hands it on. Built of bytes, the zeroes of
/// an IPv4-mapped address would become a call of memset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Words([u64; 2]);

impl Words {
    /// Of an IPv4 address.
    #[inline(always)]
    pub const fn v4(a: &V4) -> Self {
        Self([0, u64::from_ne_bytes([0, 0, 0xff, 0xff, a[0], a[1], a[2], a[3]])])
    }

    /// Of an IPv6 address.
    #[inline(always)]
    pub const fn v6(a: &V6) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = *a;
        Self([u64::from_ne_bytes([a, b, c, d, e, f, g, h]), u64::from_ne_bytes([i, j, k, l, m, n, o, p])])
    }
}

/// A copy, byte by byte: as a whole it would become a call of memmove, because the compiler can't see that a
/// packet and a map do not overlap.
#[inline(always)]
pub const fn copied(a: &V6) -> V6 {
    [a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8], a[9], a[10], a[11], a[12], a[13], a[14], a[15]]
}

/// As [`copied`], for a hardware address.
#[inline(always)]
pub const fn copied_mac(a: &Mac) -> Mac {
    [a[0], a[1], a[2], a[3], a[4], a[5]]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn solicited_node_groups() {
        let v6 = |s: &str| s.parse::<std::net::Ipv6Addr>().unwrap().octets();
        for (target, group, mac) in [
            ("2001:db8::64", "ff02::1:ff00:64", [0x33, 0x33, 0xff, 0, 0, 0x64]),
            ("fd00::1", "ff02::1:ff00:1", [0x33, 0x33, 0xff, 0, 0, 1]),
            ("fe80::ab:cdef:123", "ff02::1:ffef:123", [0x33, 0x33, 0xff, 0xef, 1, 0x23]),
        ] {
            assert_eq!(solicited_node(&v6(target)), v6(group));
            assert_eq!(multicast_mac(&v6(group)), mac);
        }
    }

    #[test]
    fn stations_and_groups() {
        assert!(is_station(&[2, 0, 0, 0, 0, 1]));
        for mac in [[0; 6], BROADCAST, [1, 0, 0x5e, 0, 0, 1], ALL_NODES_MAC] {
            assert!(!is_station(&mac));
        }
    }
}
