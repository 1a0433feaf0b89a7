//! The Ethernet header and its VLAN tags (IEEE 802.1Q).
//!
//! ```text
//! | destination (6) | source (6) | [ TPID (2) | PCP DEI VID (2) ] ×0..2 | EtherType (2) | …
//! ```

use crate::abi::Vlans;
use crate::addr::Mac;

/// Destination and source address, the first bytes of a frame.
pub type Macs = [u8; 12];

/// An EtherType or tag protocol identifier as it lies in memory: network order, loaded as one word.
pub type EtherType = u16;

/// EtherType of IPv4.
pub const IPV4: EtherType = ethertype([0x08, 0x00]);
/// EtherType of ARP.
pub const ARP: EtherType = ethertype([0x08, 0x06]);
/// EtherType of IPv6.
pub const IPV6: EtherType = ethertype([0x86, 0xdd]);
/// Tag protocol identifier of a customer tag.
pub const VLAN: EtherType = ethertype([0x81, 0x00]);
/// Tag protocol identifier of a service tag (802.1ad).
pub const SERVICE_VLAN: EtherType = ethertype([0x88, 0xa8]);

/// Bytes of the header without tags.
pub const HEADER: usize = 14;
/// Bytes of one tag.
pub const TAG: usize = 4;

/// The EtherType in these two bytes of a frame.
#[inline(always)]
pub const fn ethertype(bytes: [u8; 2]) -> EtherType {
    EtherType::from_ne_bytes(bytes)
}

/// Destination of a frame.
#[inline(always)]
pub const fn destination(macs: &Macs) -> Mac {
    [macs[0], macs[1], macs[2], macs[3], macs[4], macs[5]]
}

/// Source of a frame.
#[inline(always)]
pub const fn source(macs: &Macs) -> Mac {
    [macs[6], macs[7], macs[8], macs[9], macs[10], macs[11]]
}

/// Writes both addresses.
#[inline(always)]
pub fn address(macs: &mut Macs, destination: &Mac, source: &Mac) {
    *macs = [
        destination[0],
        destination[1],
        destination[2],
        destination[3],
        destination[4],
        destination[5],
        source[0],
        source[1],
        source[2],
        source[3],
        source[4],
        source[5],
    ];
}

/// The VLAN id of a tag control information field, without priority and DEI.
#[inline(always)]
pub const fn vlan_id(tci: [u8; 2]) -> u16 {
    u16::from_be_bytes(tci) & 0x0fff
}

/// The VLANs of a frame with one tag. VID 0 is a priority tag: the frame belongs to no VLAN (802.1Q 9.6), it
/// is looked up as untagged and answered with the same tag (V03). VID 4095 is reserved (V07).
#[inline(always)]
pub const fn single(tci: [u8; 2]) -> Vlans {
    match vlan_id(tci) {
        0xfff => Vlans::RESERVED,
        vid => Vlans::new(vid, 0),
    }
}

/// The VLANs of a frame with two tags. Neither may be a priority tag: which VLAN that means is in doubt.
#[inline(always)]
pub const fn double(outer: [u8; 2], inner: [u8; 2]) -> Vlans {
    match (vlan_id(outer), vlan_id(inner)) {
        (0 | 0xfff, _) | (_, 0 | 0xfff) => Vlans::RESERVED,
        (outer, inner) => Vlans::new(outer, inner),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags() {
        assert_eq!(single([0x00, 42]), Vlans::new(42, 0));
        assert_eq!(single([0xf0, 42]), Vlans::new(42, 0), "priority and DEI do not matter");
        assert_eq!(single([0xe0, 0]), Vlans::UNTAGGED);
        assert_eq!(single([0x0f, 0xff]), Vlans::RESERVED);
        assert_eq!(double([0, 100], [0, 42]), Vlans::new(100, 42));
        for (outer, inner) in
            [([0, 0], [0, 42]), ([0, 100], [0, 0]), ([0x0f, 0xff], [0, 1]), ([0, 1], [0x0f, 0xff])]
        {
            assert_eq!(double(outer, inner), Vlans::RESERVED);
        }
    }
}
