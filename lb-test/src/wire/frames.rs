//! The few frames a test client sends, written here a second time on purpose: lb-common must not be checked
//! against itself.

use std::net::{Ipv4Addr, Ipv6Addr};

const ARP: [u8; 2] = [0x08, 0x06];
const IPV4: [u8; 2] = [0x08, 0x00];
const IPV6: [u8; 2] = [0x86, 0xdd];
const IGMP: u8 = 2;
const ICMPV6: u8 = 58;
const HOP_BY_HOP: u8 = 0;

/// A broadcast ARP request (RFC 826) from `sha`/`spa` for `tpa`.
pub fn arp_request(sha: [u8; 6], spa: Ipv4Addr, tpa: Ipv4Addr) -> [u8; 42] {
    let mut frame = [0; 42];
    frame[..6].fill(0xff);
    frame[6..12].copy_from_slice(&sha);
    frame[12..14].copy_from_slice(&ARP);
    frame[14..22].copy_from_slice(&[0, 1, 8, 0, 6, 4, 0, 1]);
    frame[22..28].copy_from_slice(&sha);
    frame[28..32].copy_from_slice(&spa.octets());
    frame[38..42].copy_from_slice(&tpa.octets());
    frame
}

/// A multicast neighbour solicitation (RFC 4861 section 4.3) for `target`, with a source link-layer option and a
/// complete checksum.
pub fn neighbour_solicitation(mac: [u8; 6], source: Ipv6Addr, target: Ipv6Addr) -> [u8; 86] {
    let [.., a, b, c] = target.octets();
    let group = Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c]);
    neighbour_discovery((135, 0, 1), (mac, source), ([0x33, 0x33, 0xff, a, b, c], group), target)
}

/// A neighbour advertisement of `target` to all nodes that nobody has asked for, with the override flag (RFC 4861 section
/// 7.2.6) and a complete checksum.
pub fn neighbour_advertisement(mac: [u8; 6], target: Ipv6Addr) -> [u8; 86] {
    let all_nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    neighbour_advertisement_to(([0x33, 0x33, 0, 0, 0, 1], all_nodes), mac, target)
}

/// The same to one station.
pub fn neighbour_advertisement_to(to: ([u8; 6], Ipv6Addr), mac: [u8; 6], target: Ipv6Addr) -> [u8; 86] {
    neighbour_discovery((136, 0x20, 2), (mac, target), to, target)
}

/// A message of this type, with these flags and a link-layer option of this type.
fn neighbour_discovery(
    (kind, flags, option): (u8, u8, u8),
    (mac, source): ([u8; 6], Ipv6Addr),
    (to_mac, to): ([u8; 6], Ipv6Addr),
    target: Ipv6Addr,
) -> [u8; 86] {
    let mut frame = [0; 86];
    frame[..6].copy_from_slice(&to_mac);
    frame[6..12].copy_from_slice(&mac);
    frame[12..14].copy_from_slice(&IPV6);
    frame[14..22].copy_from_slice(&[0x60, 0, 0, 0, 0, 32, ICMPV6, 255]);
    frame[22..38].copy_from_slice(&source.octets());
    frame[38..54].copy_from_slice(&to.octets());
    frame[54] = kind;
    frame[58] = flags;
    frame[62..78].copy_from_slice(&target.octets());
    frame[78..80].copy_from_slice(&[option, 1]);
    frame[80..86].copy_from_slice(&mac);
    let sum = icmpv6_checksum(&frame);
    frame[56..58].copy_from_slice(&sum.to_be_bytes());
    frame
}

/// RFC 8200 section 8.1: pseudo-header and message, the checksum field being zero.
fn icmpv6_checksum(frame: &[u8; 86]) -> u16 {
    let words = frame[22..].chunks_exact(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])));
    // Pseudo-header: both addresses (in `words`), the length of the message, the next header.
    let mut sum = words.sum::<u32>() + 32 + u32::from(ICMPV6);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0)
}

/// True for what a kernel says unasked, tagged or not: multicast listener reports and queries (`ICMPv6` 130 to 132
/// and 143, RFC 3810), router solicitations (133) and IGMP. ARP and neighbour discovery are never chatter.
pub fn is_chatter(frame: &[u8]) -> bool {
    let mut at = 12;
    while matches!(frame.get(at..at + 2), Some([0x81, 0x00] | [0x88, 0xa8])) {
        at += 4;
    }
    let Some(ethertype) = frame.get(at..at + 2) else { return false };
    let packet = &frame[at + 2..];
    if ethertype == IPV4 {
        return packet.get(9) == Some(&IGMP);
    }
    if ethertype != IPV6 {
        return false;
    }
    let message = match packet.get(6) {
        Some(&ICMPV6) => packet.get(40),
        // The router alert option of listener reports takes 8 bytes.
        Some(&HOP_BY_HOP) if packet.get(40) == Some(&ICMPV6) => packet.get(48),
        _ => None,
    };
    matches!(message, Some(130..=133 | 143))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::mac;

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }

    #[test]
    fn frames_equal_the_golden_ones() {
        let request = arp_request(mac(1), "192.0.2.10".parse().unwrap(), "192.0.2.100".parse().unwrap());
        let golden = "ffffffffffff02000000000108060001080006040001020000000001c000020a000000000000c0000264";
        assert_eq!(request.to_vec(), hex(golden));
        let source = "fe80::ff:fe00:1".parse().unwrap();
        let solicitation = neighbour_solicitation(mac(1), source, "2001:db8::64".parse().unwrap());
        let golden = "3333ff00006402000000000186dd6000000000203afffe80000000000000000000fffe000001ff02000000000000\
                      00000001ff00006487004b9b0000000020010db80000000000000000000000640101020000000001";
        assert_eq!(solicitation.to_vec(), hex(golden));
    }

    #[test]
    fn chatter_is_reports_and_router_solicitations_only() {
        let mut frame = neighbour_solicitation(mac(1), Ipv6Addr::LOCALHOST, Ipv6Addr::LOCALHOST).to_vec();
        for (kind, chatter) in
            [(130, true), (133, true), (134, false), (135, false), (136, false), (143, true)]
        {
            frame[54] = kind;
            assert_eq!(is_chatter(&frame), chatter, "{kind}");
        }
        let mut report = frame.clone();
        report[20] = 0;
        report[54] = 58;
        report[62] = 143;
        assert!(is_chatter(&report));
        report.splice(12..12, [0x81, 0, 0, 42]);
        assert!(is_chatter(&report), "tagged");
        let mut igmp = report;
        igmp.splice(12..18, IPV4);
        igmp[23] = IGMP;
        assert!(is_chatter(&igmp));
        assert!(!is_chatter(&arp_request(mac(1), Ipv4Addr::LOCALHOST, Ipv4Addr::LOCALHOST)));
        for length in 0..frame.len() {
            is_chatter(&frame[..length]);
        }
    }
}
