//! Cases A46 and N47: many frames of one kind, each from another sender.

use super::parse::Case;

/// Where the addresses of a sender lie in the untagged frames these cases are made of.
const ARP_SENDER: usize = 28;
const ARP_TARGET: usize = 38;
const IPV6_SOURCE: usize = 22;
const IPV6_DESTINATION: usize = 38;
const ICMPV6_CHECKSUM: usize = 56;
const IPV6: [u8; 2] = [0x86, 0xdd];

/// The frame and the reply of sender `number` in its series: `10.x.y.z`, or `fe80::xx:yyzz`.
///
/// The sender's hardware address stays: the number of senders is what the kernel's neighbour table can't hold.
pub fn member(case: &Case, number: u32) -> Case {
    let mut member = Case { id: format!("{}.{number}", case.id), senders: 0, ..case.clone() };
    let [_, x, y, z] = number.to_be_bytes();
    if case.frame[12..14] == IPV6 {
        sender_v6(&mut member.frame, IPV6_SOURCE, [x, y, z]);
        if let Some(reply) = member.reply.as_mut() {
            sender_v6(reply, IPV6_DESTINATION, [x, y, z]);
        }
    } else {
        member.frame[ARP_SENDER..ARP_SENDER + 4].copy_from_slice(&[10, x, y, z]);
        if let Some(reply) = member.reply.as_mut() {
            reply[ARP_TARGET..ARP_TARGET + 4].copy_from_slice(&[10, x, y, z]);
        }
    }
    member
}

/// Writes `fe80::xx:yyzz` at `at` and brings the checksum up to date (RFC 1624, equation 3).
fn sender_v6(frame: &mut [u8], at: usize, low: [u8; 3]) {
    let mut sender = [0; 16];
    sender[..2].copy_from_slice(&[0xfe, 0x80]);
    sender[13..].copy_from_slice(&low);
    let mut sum = u32::from(!word(frame, ICMPV6_CHECKSUM));
    for i in (0..16).step_by(2) {
        sum += u32::from(!word(frame, at + i)) + u32::from(word(&sender, i));
    }
    frame[at..at + 16].copy_from_slice(&sender);
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    let sum = u16::try_from(sum).unwrap_or(u16::MAX);
    frame[ICMPV6_CHECKSUM..ICMPV6_CHECKSUM + 2].copy_from_slice(&(!sum).to_be_bytes());
}

fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}
