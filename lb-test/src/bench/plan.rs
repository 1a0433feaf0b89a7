//! The requests and the answers of a run, as the BPF rig wants them (`lb-ebpf/src/rig/layout.rs`).

use std::net::{Ipv4Addr, Ipv6Addr};

use super::layout::{ARP_LEN, ECHO, NEIGHBOUR, NS_LEN, Plan, UNICAST, WORDS};
use crate::link::mac;
use crate::wire;

/// The Ethernet address of the generator.
pub(super) const REQUESTER: [u8; 6] = mac(1);
/// The Ethernet address of the responder.
pub(super) const RESPONDER: [u8; 6] = mac(2);

/// The VIPs are `VIP_V4` + index and `VIP_V6` + index, up to 2²² of them.
const VIP_V4: Ipv4Addr = Ipv4Addr::new(10, 64, 0, 0);
const VIP_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0);
const REQUESTER_V4: Ipv4Addr = Ipv4Addr::new(10, 128, 0, 0);
const REQUESTER_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 0);
/// Addresses nobody answers for; in IPv6 with other groups than the VIPs'.
const STRANGER_V4: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 0);
const STRANGER_V6: u32 = 0x0080_0000;

/// The networks the requesters are in, for a responder that wants a route back.
pub(super) const REQUESTERS: [&str; 2] = ["10.128.0.0/9", "2001:db8:2::/64"];

/// Numbers of addresses that are measured, and the one that most is measured with.
pub(super) const VIPS: [u32; 3] = [FEW, 1000, 100_000];
pub(super) const FEW: u32 = 10;

/// Which protocol asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Family {
    /// IPv4.
    Arp,
    /// IPv6.
    Neighbour,
}

/// Both, in the order of the tables.
pub(super) const FAMILIES: [Family; 2] = [Family::Arp, Family::Neighbour];

impl Family {
    /// What the tables call it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Arp => "ARP",
            Self::Neighbour => "NS",
        }
    }

    /// Bytes of a request.
    pub(super) fn len(self) -> usize {
        match self {
            Self::Arp => ARP_LEN,
            Self::Neighbour => NS_LEN,
        }
    }
}

/// VIP number `index`.
pub(super) fn vip_v4(index: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(VIP_V4) + index)
}

/// VIP number `index`.
pub(super) fn vip_v6(index: u32) -> Ipv6Addr {
    Ipv6Addr::from(u128::from(VIP_V6) + u128::from(index))
}

/// How the request is addressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum To {
    /// Broadcast, or the solicited-node group.
    All,
    /// The responder's own Ethernet address.
    One,
}

/// What is to come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// An ARP reply or an advertisement.
    Reply,
    /// An ARP reply to all stations, also by its target hardware address.
    ToEverybody,
    /// The request with its Ethernet addresses swapped.
    Swapped,
    /// The request itself.
    Same,
}

/// Requests from `requester` to `responder` (their Ethernet addresses) for `vips` addresses, as fast as it goes.
/// 400 requesters: a kernel that answers keeps them all in its neighbour table (`gc_thresh2` is 512).
pub(super) fn plan(family: Family, to: To, answer: Answer, vips: u32) -> Plan {
    let mut plan = Plan { vips, requesters: 400, ..Plan::default() };
    match family {
        Family::Arp => arp(&mut plan, to, answer),
        Family::Neighbour => neighbour(&mut plan, to, answer),
    }
    plan
}

fn arp(plan: &mut Plan, to: To, expected: Answer) {
    plan.vip_base = VIP_V4.into();
    plan.requester_base = REQUESTER_V4.into();
    plan.stranger_base = STRANGER_V4.into();
    let mut request = wire::arp_request(REQUESTER, Ipv4Addr::UNSPECIFIED, Ipv4Addr::UNSPECIFIED);
    if to == To::One {
        request[..6].copy_from_slice(&RESPONDER);
    }
    plan.request = words(&request);
    let mut answer = [0; 42];
    answer[..6].copy_from_slice(&REQUESTER);
    answer[6..12].copy_from_slice(&RESPONDER);
    answer[12..22].copy_from_slice(&[8, 6, 0, 1, 8, 0, 6, 4, 0, 2]);
    answer[22..28].copy_from_slice(&RESPONDER);
    answer[32..38].copy_from_slice(&REQUESTER);
    match expected {
        Answer::Reply => {}
        Answer::ToEverybody => {
            answer[..6].fill(0xff);
            answer[32..38].fill(0xff);
        }
        Answer::Swapped | Answer::Same => {
            plan.flags |= ECHO;
            answer = request;
            swap(&mut answer, expected);
        }
    }
    let mut mask = [0xff; 42];
    for variable in [28..32, 38..42] {
        mask[variable].fill(0);
    }
    (plan.answer, plan.mask) = (words(&answer), words(&mask));
}

fn neighbour(plan: &mut Plan, to: To, expected: Answer) {
    plan.flags = NEIGHBOUR;
    plan.stranger_base = STRANGER_V6;
    let mut request = wire::neighbour_solicitation(REQUESTER, REQUESTER_V6, VIP_V6);
    // The parts the generator fills in: ends of both MAC and IPv6 destination, checksum.
    if to == To::One {
        plan.flags |= UNICAST;
        request[..6].copy_from_slice(&RESPONDER);
        request[38..54].copy_from_slice(&VIP_V6.octets());
    } else {
        request[3..6].fill(0);
        request[51..54].fill(0);
    }
    request[56..58].fill(0);
    plan.request = words(&request);
    plan.sum =
        sum(&request[22..]) + u32::from((request.len() as u16 - 54).to_be()) + u32::from(58_u16.to_be());

    let mut mask = [0xff; NS_LEN];
    for variable in [34..38, 50..54, 56..58, 74..78] {
        mask[variable].fill(0);
    }
    let mut answer = advertisement();
    // Traffic class and flow label are the sender's to choose; the checksum is verified apart.
    mask[14] = 0xf0;
    mask[15..18].fill(0);
    if matches!(expected, Answer::Swapped | Answer::Same) {
        plan.flags |= ECHO;
        answer = request;
        swap(&mut answer, expected);
        if to == To::All {
            // The group is in the Ethernet address as well.
            let group = if expected == Answer::Swapped { 9..12 } else { 3..6 };
            mask[group].fill(0);
        }
    }
    for (byte, mask) in answer.iter_mut().zip(mask) {
        *byte &= mask;
    }
    (plan.answer, plan.mask) = (words(&answer), words(&mask));
}

/// Its variable parts zero.
fn advertisement() -> [u8; NS_LEN] {
    let mut answer = [0; NS_LEN];
    answer[..6].copy_from_slice(&REQUESTER);
    answer[6..12].copy_from_slice(&RESPONDER);
    answer[12..22].copy_from_slice(&[0x86, 0xdd, 0x60, 0, 0, 0, 0, 32, 58, 255]);
    answer[22..34].copy_from_slice(&VIP_V6.octets()[..12]);
    answer[38..50].copy_from_slice(&REQUESTER_V6.octets()[..12]);
    // Solicited and override.
    answer[54..62].copy_from_slice(&[136, 0, 0, 0, 0x60, 0, 0, 0]);
    answer[62..74].copy_from_slice(&VIP_V6.octets()[..12]);
    answer[78..80].copy_from_slice(&[2, 1]);
    answer[80..86].copy_from_slice(&RESPONDER);
    answer
}

fn swap(frame: &mut [u8], expected: Answer) {
    if expected == Answer::Swapped {
        let (destination, source) = frame[..12].split_at_mut(6);
        destination.swap_with_slice(source);
    }
}

/// As 64-bit words in the order of memory; the rest is zero.
fn words(bytes: &[u8]) -> [u64; WORDS] {
    let mut words = [0; WORDS];
    for (word, bytes) in words.iter_mut().zip(bytes.chunks(8)) {
        let mut full = [0; 8];
        full[..bytes.len()].copy_from_slice(bytes);
        *word = u64::from_le_bytes(full);
    }
    words
}

/// One's complement sum in the order of memory, not folded.
fn sum(bytes: &[u8]) -> u32 {
    bytes.chunks_exact(2).map(|pair| u32::from(u16::from_le_bytes([pair[0], pair[1]]))).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The generator's way of completing a solicitation, checked against the one the tests of the wire use.
    #[test]
    fn the_sum_of_a_plan_completes_to_the_checksum() {
        let plan = plan(Family::Neighbour, To::One, Answer::Reply, 10);
        let request: Vec<u8> = plan.request.iter().flat_map(|word| word.to_le_bytes()).take(NS_LEN).collect();
        let whole = wire::neighbour_solicitation(REQUESTER, REQUESTER_V6, VIP_V6);
        assert_eq!(request[54..56], whole[54..56]);
        assert_eq!(request[58..], whole[58..]);
        let fold = |sum: u32| (sum & 0xffff) + (sum >> 16);
        let mut unicast = whole;
        unicast[38..54].copy_from_slice(&VIP_V6.octets());
        unicast[56..58].copy_from_slice(&(!(fold(fold(plan.sum)) as u16)).to_le_bytes());
        let rest = u32::from(32_u16.to_be()) + u32::from(58_u16.to_be());
        assert_eq!(fold(fold(sum(&unicast[22..]) + rest)), 0xffff);
    }

    #[test]
    fn what_is_masked_out_of_an_answer_is_zero() {
        for (family, answer) in [Answer::Reply, Answer::ToEverybody, Answer::Swapped, Answer::Same]
            .into_iter()
            .flat_map(|answer| FAMILIES.map(|family| (family, answer)))
        {
            for to in [To::All, To::One] {
                let plan = plan(family, to, answer, 10);
                for (word, mask) in plan.answer.iter().zip(plan.mask) {
                    assert_eq!(word & !mask, 0, "{family:?} {to:?} {answer:?}");
                }
            }
        }
    }
}
