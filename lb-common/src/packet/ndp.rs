//! Neighbour discovery for IPv6 (RFC 4861): solicitations answered, advertisements watched.
//!
//! ```text
//! IPv6 header (40)          version, class, flow | payload length, next header 58, hop limit 255 | source | destination
//! neighbour message (24)    type 135 or 136, code 0, checksum | flags R S O, reserved | target
//! options (8 each, or more) type, length in units of 8 | …
//! ```
//!
//! The header and the message are one array of [`LEN`] bytes; options come as units of 8 bytes, which is what
//! all lengths of the protocol count in.

use super::checksum::Sum;
use super::ethernet::{self, Macs};
use super::{part, put};
use crate::abi::Entry;
use crate::addr::{self, Mac, V6};
use crate::outcome::Outcome;

/// Bytes of the IPv6 header and a neighbour message without options.
pub const LEN: usize = 64;
/// Bytes of an advertisement with its target link-layer option.
pub const ADVERT_LEN: usize = LEN + UNIT;
/// Bytes of one option unit.
pub const UNIT: usize = 8;
/// Option units that are looked at. A solicitation carries one or two (source link-layer, nonce: RFC 7527);
/// one with more is handed to the stack (N36).
pub const MAX_UNITS: usize = 8;

/// IPv6 header and neighbour message.
pub type Message = [u8; LEN];
/// IPv6 header, advertisement and target link-layer option.
pub type Advert = [u8; ADVERT_LEN];

/// Next header ICMPv6.
pub const ICMPV6: u8 = 58;
/// Next header hop-by-hop options.
pub const HOP_BY_HOP: u8 = 0;
/// Next header destination options.
pub const DESTINATION_OPTIONS: u8 = 60;

const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
const SOURCE_LINK_LAYER: u8 = 1;
const TARGET_LINK_LAYER: u8 = 2;
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;

/// A neighbour message whose fixed part is well formed: a view, because copies of its addresses would not fit
/// the stack of a BPF program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query<'a> {
    message: &'a Message,
}

impl<'a> Query<'a> {
    /// The view of a message that [`parse`] has accepted before, whose frame was moved since.
    #[inline(always)]
    pub const fn accepted(message: &'a Message) -> Self {
        Self { message }
    }

    /// A solicitation; else it is an advertisement.
    #[inline(always)]
    pub fn is_solicitation(&self) -> bool {
        self.message[40] == SOLICITATION
    }

    /// Duplicate address detection (RFC 4862 section 5.4.2).
    #[inline(always)]
    pub fn is_dad(&self) -> bool {
        self.is_solicitation() && addr::same(self.source(), &addr::UNSPECIFIED)
    }

    /// IPv6 source; unspecified in duplicate address detection.
    #[inline(always)]
    pub fn source(&self) -> &'a V6 {
        part::<8, 16>(self.message)
    }

    /// IPv6 destination.
    #[inline(always)]
    pub fn destination(&self) -> &'a V6 {
        part::<24, 16>(self.message)
    }

    /// Target address.
    #[inline(always)]
    pub fn target(&self) -> &'a V6 {
        part::<48, 16>(self.message)
    }

    /// Option units the message has, at most [`MAX_UNITS`].
    #[inline(always)]
    pub fn units(&self) -> usize {
        (payload(self.message) - (LEN - 40)) / UNIT
    }
}

/// The hardware address a link-layer option gave, if there was one.
///
/// Not an `Option`: without one its bytes would be undefined, and a register that holds just anything, a packet
/// pointer for example, makes the verifier refuse the program. No station has the address zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct LinkLayer(Mac);

impl LinkLayer {
    /// No option.
    pub const NONE: Self = Self([0; 6]);

    /// `mac` by option.
    #[inline(always)]
    pub const fn new(mac: Mac) -> Self {
        Self(mac)
    }

    /// There was no option.
    #[inline(always)]
    pub const fn is_none(&self) -> bool {
        addr::is_zero(&self.0)
    }

    /// The address, else that of the Ethernet header.
    #[inline(always)]
    pub const fn or(self, source: Mac) -> Mac {
        if self.is_none() { source } else { self.0 }
    }
}

/// What the options say, fed one unit at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Options {
    link_layer: LinkLayer,
    /// Type of the option that carries the sender's address.
    wanted: u8,
    /// Units left of the present option.
    skip: u8,
}

impl Options {
    /// Before the first unit, of options as they are by default: a solicitation carries the source's address, an
    /// advertisement the target's.
    #[inline(always)]
    pub fn expect(&mut self, query: Query<'_>) {
        self.wanted = if query.is_solicitation() { SOURCE_LINK_LAYER } else { TARGET_LINK_LAYER };
    }

    /// Takes the next unit. Of several options that carry the sender's address the first one counts (N19).
    #[inline(always)]
    pub fn unit(&mut self, unit: &[u8; UNIT]) -> Result<(), Outcome> {
        if self.skip > 0 {
            self.skip -= 1;
            return Ok(());
        }
        let length = unit[1];
        if length == 0 {
            return Err(Outcome::NdOption);
        }
        self.skip = length - 1;
        if unit[0] == self.wanted && self.link_layer.is_none() {
            let mac = *part::<2, 6>(unit);
            if length != 1 || !addr::is_station(&mac) {
                return Err(Outcome::NdSourceLinkLayer);
            }
            self.link_layer = LinkLayer(mac);
        }
        Ok(())
    }

    /// Once all units are in: the last option must have been whole.
    #[inline(always)]
    pub fn finish(&self) -> Result<(), Outcome> {
        if self.skip > 0 { Err(Outcome::NdOption) } else { Ok(()) }
    }

    /// The sender's address by its option.
    #[inline(always)]
    pub const fn link_layer(&self) -> LinkLayer {
        self.link_layer
    }
}

/// Checks the fixed part. Anything that is no solicitation or advertisement is [`Outcome::Ignored`].
#[inline(always)]
pub fn parse(message: &Message) -> Result<Query<'_>, Outcome> {
    // Linux drops other versions behind the EtherType of IPv6 (ip6_rcv_core).
    if message[0] >> 4 != 6
        || message[6] != ICMPV6
        || (message[40] != SOLICITATION && message[40] != ADVERTISEMENT)
    {
        return Err(Outcome::Ignored);
    }
    if message[7] != 255 {
        return Err(Outcome::NdHopLimit);
    }
    if message[41] != 0 {
        return Err(Outcome::NdCode);
    }
    let payload = payload(message);
    if payload < LEN - 40 {
        return Err(Outcome::NdTruncated);
    }
    let options = payload - (LEN - 40);
    if !options.is_multiple_of(UNIT) {
        return Err(Outcome::NdOption);
    }
    if options > MAX_UNITS * UNIT {
        return Err(Outcome::NdOptionLimit);
    }
    Ok(Query { message })
}

/// Start of the checksum of a received message: pseudo header and fixed part (RFC 8200 section 8.1). Add the
/// option units; the result must be valid.
#[inline(always)]
pub fn checksum(message: &Message) -> Sum {
    // Source, destination and the ICMPv6 message lie together; payload length and next header complete it.
    Sum::default().add(part::<8, { LEN - 8 }>(message)).word([message[4], message[5]]).word([0, ICMPV6])
}

/// Decides what can be decided without a map, once checksum and options are known.
#[inline(always)]
pub fn check(macs: &Macs, query: Query<'_>, link_layer: LinkLayer) -> Result<(), Outcome> {
    if addr::is_group(&ethernet::source(macs)) {
        return Err(Outcome::EthernetSource);
    }
    if query.source()[0] == 0xff || is_loopback(query.source()) {
        return Err(Outcome::NdSource);
    }
    if query.target()[0] == 0xff {
        return Err(Outcome::NdTarget);
    }
    if !query.is_solicitation() {
        return Ok(());
    }
    let group = addr::solicited_node(query.target());
    if query.is_dad() {
        if !addr::same(query.destination(), &group) {
            return Err(Outcome::NdDestination);
        }
        if !link_layer.is_none() {
            return Err(Outcome::NdDadOption);
        }
    } else if !addr::same(query.destination(), &group)
        && !addr::same(query.destination(), query.target())
        && !addr::same(query.destination(), &addr::ALL_NODES)
    {
        return Err(Outcome::NdDestination);
    } else if link_layer.is_none() && !addr::same(query.destination(), query.target()) {
        return Err(Outcome::NdNoSourceLinkLayer);
    }
    Ok(())
}

/// Decides about a message whose IPv6 source is ours, `claimed` being its entry.
///
/// An answer or a conflict holds only while the agent's deadline lies ahead; the caller turns it into
/// [`Outcome::Expired`] otherwise. The same for [`judge`].
#[inline(always)]
pub fn claim(macs: &Macs, claimed: &Entry) -> Outcome {
    claim_by(&ethernet::source(macs), claimed)
}

/// Decides about a message whose source is not ours, given the entry of its target.
#[inline(always)]
pub fn judge(macs: &Macs, query: Query<'_>, link_layer: LinkLayer, target: Option<&Entry>) -> Outcome {
    let sender = ethernet::source(macs);
    if !query.is_solicitation() {
        return match target {
            Some(claimed) => claim_by(&link_layer.or(sender), claimed),
            None => Outcome::NdAdvertSeen,
        };
    }
    let Some(entry) = target else { return Outcome::NdUnknownTarget };
    let destination = ethernet::destination(macs);
    let group =
        query.destination()[0] == 0xff && addr::same(&destination, &addr::multicast_mac(query.destination()));
    if !group && !addr::same(&destination, entry.mac()) {
        return Outcome::OtherDestination;
    }
    if addr::same(&sender, entry.mac()) {
        return Outcome::OwnFrame;
    }
    if !entry.answers() {
        return Outcome::Standby;
    }
    if query.is_dad() {
        return Outcome::NdDadAdvert;
    }
    if addr::same(&link_layer.or(sender), &sender) { Outcome::NdAdvert } else { Outcome::NdMismatchAdvert }
}

/// Turns the solicitation at the start of `advert` into the advertisement (RFC 4861 sections 4.4 and 7.2.4):
/// from the target itself, to the source, or to all nodes when the source is unspecified.
#[inline(always)]
pub fn write_reply(macs: &mut Macs, advert: &mut Advert, link_layer: LinkLayer, mac: &Mac) {
    if addr::same(part::<8, 16>(advert), &addr::UNSPECIFIED) {
        ethernet::address(macs, &addr::ALL_NODES_MAC, mac);
        put(advert, 24, &addr::ALL_NODES);
        write(advert, OVERRIDE, mac);
    } else {
        let to = link_layer.or(ethernet::source(macs));
        ethernet::address(macs, &to, mac);
        copy::<8, 24>(advert);
        write(advert, SOLICITED | OVERRIDE, mac);
    }
}

/// Unsolicited advertisement to all nodes: S = 0, O = 1, target link-layer option (RFC 4861 section 7.2.6).
pub fn write_unsolicited(macs: &mut Macs, advert: &mut Advert, mac: &Mac, target: &V6) {
    write_introduction(macs, advert, (mac, target), (&addr::ALL_NODES_MAC, &addr::ALL_NODES));
}

/// The same to one station.
pub fn write_introduction(macs: &mut Macs, advert: &mut Advert, sender: (&Mac, &V6), to: (&Mac, &V6)) {
    ethernet::address(macs, to.0, sender.0);
    put(advert, 24, to.1);
    put(advert, 48, sender.1);
    write(advert, OVERRIDE, sender.0);
}

#[inline(always)]
fn claim_by(mac: &Mac, claimed: &Entry) -> Outcome {
    if addr::same(mac, claimed.mac()) {
        Outcome::OwnFrame
    } else if claimed.answers() {
        Outcome::NdConflict
    } else {
        Outcome::Standby
    }
}

/// Completes the advertisement around its destination and target, which are in place.
#[inline(always)]
fn write(advert: &mut Advert, flags: u8, mac: &Mac) {
    put(advert, 0, &[0x60, 0, 0, 0, 0, (ADVERT_LEN - 40) as u8, ICMPV6, 255]);
    copy::<48, 8>(advert);
    put(advert, 40, &[ADVERTISEMENT, 0, 0, 0, flags, 0, 0, 0]);
    put(advert, 64, &[TARGET_LINK_LAYER, 1, mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]]);
    let sum = Sum::default().add(part::<8, { ADVERT_LEN - 8 }>(advert));
    let sum = sum.word([0, (ADVERT_LEN - 40) as u8]).word([0, ICMPV6]).finish();
    put(advert, 42, &sum);
}

#[inline(always)]
fn payload(message: &Message) -> usize {
    u16::from_be_bytes([message[4], message[5]]) as usize
}

/// Copies the address at `FROM` to `TO`, in two words. Not `copy_within`, which becomes a call of memmove, byte by byte.
#[inline(always)]
fn copy<const FROM: usize, const TO: usize>(advert: &mut Advert) {
    let (first, second) = (*part::<0, 8>(&advert[FROM..]), *part::<0, 8>(&advert[FROM + 8..]));
    put(advert, TO, &first);
    put(advert, TO + 8, &second);
}

#[inline(always)]
fn is_loopback(addr: &V6) -> bool {
    addr::same(addr, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1])
}
