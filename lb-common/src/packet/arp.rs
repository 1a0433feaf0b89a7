//! The Address Resolution Protocol (RFC 826) as a station speaks it that owns its addresses (RFC 5227).
//!
//! ```text
//!  0                   1                   2                   3
//! +-------------------------------+-------------------------------+
//! | hardware type                 | protocol type                 |
//! +---------------+---------------+-------------------------------+
//! | length 6      | length 4      | operation                     |
//! +---------------+---------------+-------------------------------+
//! | sender hardware address (6)                                   |
//! +                               +-------------------------------+
//! |                               | sender protocol address (4)   |
//! +-------------------------------+-------------------------------+
//! |                               | target hardware address (6)   |
//! +-------------------------------+                               +
//! |                                                               |
//! +---------------------------------------------------------------+
//! | target protocol address (4)                                   |
//! +---------------------------------------------------------------+
//! ```

use super::ethernet::{self, Macs};
use crate::abi::Entry;
use crate::addr::{self, Mac, V4};
use crate::outcome::Outcome;

/// Bytes of an ARP message for Ethernet and IPv4.
pub const LEN: usize = 28;

/// An ARP message.
pub type Message = [u8; LEN];

const ETHERNET: [u8; 2] = [0, 1];
const IEEE_802: [u8; 2] = [0, 6];
const REQUEST: [u8; 2] = [0, 1];
const REPLY: [u8; 2] = [0, 2];

/// A well-formed message: a view, because copies of its parts would not fit the stack of a BPF program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query<'a> {
    arp: &'a Message,
}

impl<'a> Query<'a> {
    /// The view of a message that [`parse`] has accepted before, whose frame was moved since.
    #[inline(always)]
    pub const fn accepted(arp: &'a Message) -> Self {
        Self { arp }
    }

    /// Operation is request; else it is reply.
    #[inline(always)]
    pub fn is_request(&self) -> bool {
        [self.arp[6], self.arp[7]] == REQUEST
    }

    /// The sender claims no address (RFC 5227 section 1.1).
    #[inline(always)]
    pub fn is_probe(&self) -> bool {
        addr::same(&self.sender(), &[0; 4])
    }

    /// Sender hardware address.
    #[inline(always)]
    pub fn sender_mac(&self) -> Mac {
        part::<8, 6>(self.arp)
    }

    /// Sender protocol address; 0.0.0.0 in a probe.
    #[inline(always)]
    pub fn sender(&self) -> V4 {
        part::<14, 4>(self.arp)
    }

    /// Target protocol address.
    #[inline(always)]
    pub fn target(&self) -> V4 {
        part::<24, 4>(self.arp)
    }
}

/// Checks what can be checked without a map (conformance A18–A36).
#[inline(always)]
pub fn parse<'a>(macs: &Macs, arp: &'a Message) -> Result<Query<'a>, Outcome> {
    let hardware = [arp[0], arp[1]];
    // IEEE 802 is what old stacks put on Ethernet; Linux' arp_rcv takes both and so do we (A22).
    if hardware != ETHERNET && hardware != IEEE_802 {
        return Err(Outcome::ArpHardwareType);
    }
    if ethernet::ethertype([arp[2], arp[3]]) != ethernet::IPV4 {
        return Err(Outcome::ArpProtocolType);
    }
    if [arp[4], arp[5]] != [6, 4] {
        return Err(Outcome::ArpAddressLength);
    }
    let operation = [arp[6], arp[7]];
    if operation != REQUEST && operation != REPLY {
        return Err(Outcome::ArpOperation);
    }
    if addr::is_group(&ethernet::source(macs)) {
        return Err(Outcome::EthernetSource);
    }
    let query = Query { arp };
    if !addr::is_station(&query.sender_mac()) {
        return Err(Outcome::ArpSenderHardware);
    }
    // 127/8, and everything from 224.0.0.0 up: multicast, reserved and limited broadcast.
    if arp[14] == 127 || arp[14] >= 224 {
        return Err(Outcome::ArpSenderAddress);
    }
    Ok(query)
}

/// Decides about a message whose sender address is ours, `claimed` being its entry.
///
/// An answer or a conflict holds only while the agent's deadline lies ahead; the caller turns it into
/// [`Outcome::Expired`] otherwise. The same for [`judge`].
#[inline(always)]
pub fn claim(query: Query<'_>, claimed: &Entry) -> Outcome {
    // RFC 5227 section 2.4: any ARP packet whose sender address is ours and whose hardware address is not.
    if addr::same(&query.sender_mac(), claimed.mac()) {
        Outcome::OwnFrame
    } else if claimed.answers() {
        Outcome::ArpConflict
    } else {
        Outcome::Standby
    }
}

/// Decides about a message that claims nothing of ours, given the entry of its target.
#[inline(always)]
pub fn judge(macs: &Macs, query: Query<'_>, target: Option<&Entry>) -> Outcome {
    if !query.is_request() {
        return Outcome::ArpReplySeen;
    }
    let Some(entry) = target else { return Outcome::ArpUnknownTarget };
    let destination = ethernet::destination(macs);
    if !addr::same(&destination, &addr::BROADCAST) && !addr::same(&destination, entry.mac()) {
        return Outcome::OtherDestination;
    }
    let (source, sender_mac) = (ethernet::source(macs), query.sender_mac());
    if addr::same(&sender_mac, entry.mac()) || addr::same(&source, entry.mac()) {
        return Outcome::OwnFrame;
    }
    if !entry.answers() {
        return Outcome::Standby;
    }
    if query.is_probe() {
        Outcome::ArpProbeReply
    } else if addr::same(&source, &sender_mac) {
        Outcome::ArpReply
    } else {
        Outcome::ArpMismatchReply
    }
}

/// Turns the request in `arp` into its reply: to the sender hardware address of the message, not to the
/// Ethernet source (RFC 826, "Packet Reception").
#[inline(always)]
pub fn write_reply(macs: &mut Macs, arp: &mut Message, mac: &Mac) {
    let query = Query { arp };
    let (to_mac, to, target) = (query.sender_mac(), query.sender(), query.target());
    ethernet::address(macs, &to_mac, mac);
    write(arp, REPLY, (mac, &target), (&to_mac, &to));
}

/// Announcement in request form, target hardware address zero (RFC 5227 section 2.3).
pub fn write_announcement(macs: &mut Macs, arp: &mut Message, mac: &Mac, address: &V4) {
    ethernet::address(macs, &addr::BROADCAST, mac);
    write(arp, REQUEST, (mac, address), (&[0; 6], address));
}

/// Request to one station about its own address, which tells it the sender's (RFC 826, "Packet Reception").
pub fn write_introduction(macs: &mut Macs, arp: &mut Message, sender: (&Mac, &V4), to: (&Mac, &V4)) {
    ethernet::address(macs, to.0, sender.0);
    write(arp, REQUEST, sender, (&[0; 6], to.1));
}

/// Announcement in reply form, target hardware address = sender's, for stations that learn only from replies.
pub fn write_announcement_reply(macs: &mut Macs, arp: &mut Message, mac: &Mac, address: &V4) {
    ethernet::address(macs, &addr::BROADCAST, mac);
    write(arp, REPLY, (mac, address), (mac, address));
}

#[inline(always)]
fn write(arp: &mut Message, operation: [u8; 2], sender: (&Mac, &V4), target: (&Mac, &V4)) {
    let (sha, spa) = sender;
    let (tha, tpa) = target;
    *arp = [
        0,
        1,
        8,
        0,
        6,
        4,
        operation[0],
        operation[1],
        sha[0],
        sha[1],
        sha[2],
        sha[3],
        sha[4],
        sha[5],
        spa[0],
        spa[1],
        spa[2],
        spa[3],
        tha[0],
        tha[1],
        tha[2],
        tha[3],
        tha[4],
        tha[5],
        tpa[0],
        tpa[1],
        tpa[2],
        tpa[3],
    ];
}

/// The `N` bytes at `AT`. Both are constants, so no bounds check is left in the program.
#[inline(always)]
fn part<const AT: usize, const N: usize>(arp: &Message) -> [u8; N] {
    match arp[AT..].first_chunk() {
        Some(part) => *part,
        None => [0; N],
    }
}
