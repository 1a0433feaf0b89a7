//! Seamless BFD (RFC 7880) over UDP (RFC 7881): the reflector, which turns a probe round in place. [`initiator`] has the
//! other side.
//!
//! ```text
//! IPv4 header (20) or IPv6 header (40)
//! source port (2) | destination port 7784 (2) | length 32 (2) | checksum (2)
//!  0                   1                   2                   3
//! +-----+---------+---+-+-+-+-+-+-+---------------+---------------+
//! |vers.| diag    |sta|P F C A D M| detect mult   | length 24     |
//! +-----+---------+---+-+-+-+-+-+-+---------------+---------------+
//! | my discriminator              | your discriminator            |  (4 + 4)
//! +-------------------------------+-------------------------------+
//! | desired min tx interval       | required min rx interval      |  (4 + 4)
//! +-------------------------------+-------------------------------+
//! | required min echo rx interval |                                  (4)
//! +-------------------------------+
//! ```
//!
//! A probe is one whole datagram behind a header without options, with TTL 255 (RFC 5881 section 5), so it comes from a
//! station of this link. Its demand bit is set; that of a reflected one is not, and no reflector takes it for a probe.

use super::checksum::Sum;
use super::ethernet::{self, Macs};
use super::{part, put};
use crate::abi::{MEMBER_RATE, MEMBER_WINDOW_NS, Member, Reflector};
use crate::addr::{self, Words};
use crate::outcome::Outcome;

pub mod initiator;

/// UDP port of a reflector (RFC 7881 section 3).
pub const PORT: u16 = 7784;
/// [`PORT`] as it lies in memory.
pub const PORT_BYTES: [u8; 2] = PORT.to_be_bytes();
/// Bytes of a control packet without authentication.
pub const LEN: usize = 24;
/// Bytes of a control packet and its UDP header.
pub const DATAGRAM: usize = 8 + LEN;
/// Bytes of a probe from the IPv4 header on.
pub const LEN_V4: usize = 20 + DATAGRAM;
/// Bytes of a probe from the IPv6 header on.
pub const LEN_V6: usize = 40 + DATAGRAM;
/// TTL or hop limit of what has not been forwarded.
pub const TTL: u8 = 255;
/// Version, first octet of an IPv4 header without options.
pub const PLAIN_IPV4: u8 = 0x45;
/// Protocol number or next header of UDP.
pub const UDP: u8 = 17;

/// UDP header and control packet.
pub type Datagram = [u8; DATAGRAM];
/// IPv4 header, UDP header and control packet.
pub type PacketV4 = [u8; LEN_V4];
/// IPv6 header, UDP header and control packet.
pub type PacketV6 = [u8; LEN_V6];

/// How often a member may ask, in microseconds: what reflected probes ask for as minimal interval.
pub const MIN_RX_US: u32 = (MEMBER_WINDOW_NS / 1000).div_ceil(MEMBER_RATE as u64) as u32;

/// State of a session (RFC 5880 section 4.1). A reflector is up or administratively down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// Out of use by will: of a reflector, that the node must not own addresses now.
    AdminDown = 0,
    /// Not heard of yet, or not any more.
    Down = 1,
    /// Not used by seamless BFD.
    Init = 2,
    /// In use.
    Up = 3,
}

const VERSION: u8 = 1;
const POLL: u8 = 0x20;
const FINAL: u8 = 0x10;
const CONTROL_PLANE_INDEPENDENT: u8 = 0x08;
const AUTHENTICATION: u8 = 0x04;
const DEMAND: u8 = 0x02;
const MULTIPOINT: u8 = 0x01;
const _: () = assert!(POLL >> 1 == FINAL, "one becomes the other by a shift");
const _: () = assert!(State::AdminDown as u8 == 0, "no bit of it is set");
/// Diagnostic "administratively down".
const ADMINISTRATIVELY_DOWN: u8 = 7;

/// Flag of an IPv4 header.
const MORE_FRAGMENTS: u8 = 0x20;

/// Where fields lie in a [`Datagram`].
const CHECKSUM: usize = 6;
const CONTROL: usize = 8;
const MY_DISCRIMINATOR: usize = CONTROL + 4;
const YOUR_DISCRIMINATOR: usize = CONTROL + 8;
/// Both intervals that a reflector states: of control packets and of echo packets.
const REQUIRED: usize = CONTROL + 16;

/// What a well-formed probe asks, and who.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Who asks.
    pub source: Words,
    /// Who is asked.
    pub destination: Words,
    /// The discriminator that the asked one must have, in network order.
    pub discriminator: [u8; 4],
}

/// Checks an IPv4 packet whose protocol is UDP and whose destination port is [`PORT`].
#[inline(always)]
pub fn parse_v4(packet: &PacketV4) -> Result<Probe, Outcome> {
    let sum = header_v4(packet)?;
    datagram(part::<20, DATAGRAM>(packet), sum)?;
    Ok(probe_v4(packet))
}

/// Checks an IPv6 packet whose next header is UDP and whose destination port is [`PORT`].
#[inline(always)]
pub fn parse_v6(packet: &PacketV6) -> Result<Probe, Outcome> {
    let sum = header_v6(packet)?;
    datagram(part::<40, DATAGRAM>(packet), sum)?;
    Ok(probe_v6(packet))
}

/// Bytes of an IPv4 header that begins with this octet.
#[inline(always)]
pub const fn header_length(version: u8) -> usize {
    4 * (version & 0x0f) as usize
}

/// The header's part of [`parse_v4`]; the sum of its addresses, with which [`datagram`] begins.
#[inline(always)]
pub fn header_v4(packet: &PacketV4) -> Result<Sum, Outcome> {
    // Linux drops other versions and shorter headers (ip_rcv_core). In a fragment but the first there is no port.
    if packet[0] >> 4 != 4 || packet[0] < PLAIN_IPV4 || packet[6] & 0x1f != 0 || packet[7] != 0 {
        return Err(Outcome::Ignored);
    }
    if packet[0] != PLAIN_IPV4 {
        return Err(Outcome::BfdOptions);
    }
    if packet[6] & MORE_FRAGMENTS != 0 {
        return Err(Outcome::BfdFragment);
    }
    if packet[8] != TTL {
        return Err(Outcome::BfdTtl);
    }
    length([packet[2], packet[3]], LEN_V4)?;
    let addresses = Sum::default().add(part::<12, 8>(packet));
    if !addresses.add(part::<0, 12>(packet)).is_valid() {
        return Err(Outcome::BfdChecksum);
    }
    Ok(addresses)
}

/// As [`header_v4`], for IPv6, over which there is always a checksum (RFC 8200 section 8.1).
#[inline(always)]
pub fn header_v6(packet: &PacketV6) -> Result<Sum, Outcome> {
    // Linux drops other versions behind the EtherType of IPv6 (ip6_rcv_core).
    if packet[0] >> 4 != 6 {
        return Err(Outcome::Ignored);
    }
    if packet[7] != TTL {
        return Err(Outcome::BfdTtl);
    }
    length([packet[4], packet[5]], DATAGRAM)?;
    if [packet[40 + CHECKSUM], packet[40 + CHECKSUM + 1]] == [0; 2] {
        return Err(Outcome::BfdChecksum);
    }
    Ok(Sum::default().add(part::<8, 32>(packet)))
}

/// The datagram's part of the checks, which both families share (RFC 5880 section 6.8.6, RFC 7881 section 3).
#[inline(always)]
pub fn datagram(datagram: &Datagram, addresses: Sum) -> Result<(), Outcome> {
    let source_port = [datagram[0], datagram[1]];
    control(datagram)?;
    if datagram[CONTROL + 1] & DEMAND == 0 || source_port == PORT_BYTES || source_port == [0; 2] {
        return Err(Outcome::BfdMalformed);
    }
    let is_summed = [datagram[CHECKSUM], datagram[CHECKSUM + 1]] != [0; 2];
    if is_summed && !sum(addresses, datagram).is_valid() {
        return Err(Outcome::BfdChecksum);
    }
    Ok(())
}

/// What the probe in this packet asks.
#[inline(always)]
pub fn probe_v4(packet: &PacketV4) -> Probe {
    Probe {
        source: Words::v4(part::<12, 4>(packet)),
        destination: Words::v4(part::<16, 4>(packet)),
        discriminator: *part::<{ 20 + YOUR_DISCRIMINATOR }, 4>(packet),
    }
}

/// As [`probe_v4`], for IPv6.
#[inline(always)]
pub fn probe_v6(packet: &PacketV6) -> Probe {
    Probe {
        source: Words::v6(part::<8, 16>(packet)),
        destination: Words::v6(part::<24, 16>(packet)),
        discriminator: *part::<{ 40 + YOUR_DISCRIMINATOR }, 4>(packet),
    }
}

/// Decides about the addressed one, given the entry of the destination.
#[inline(always)]
pub fn judge<'a>(
    macs: &Macs,
    probe: &Probe,
    reflector: Option<&'a Reflector>,
) -> Result<&'a Reflector, Outcome> {
    let Some(reflector) = reflector else { return Err(Outcome::BfdUnknownTarget) };
    // The answer would come from a group.
    if addr::is_group(&ethernet::destination(macs)) {
        return Err(Outcome::OtherDestination);
    }
    if !addr::same(reflector.discriminator(), &probe.discriminator) {
        return Err(Outcome::BfdDiscriminator);
    }
    Ok(reflector)
}

/// Decides about the asking one, given the entry of the source. What is left is the deadline, and the member's rate
/// ([`Member::admit`]).
#[inline(always)]
pub fn judge_source(macs: &Macs, member: Option<&Member>) -> Result<(), Outcome> {
    let Some(member) = member else { return Err(Outcome::BfdStranger) };
    if !addr::same(member.mac(), &ethernet::source(macs)) {
        return Err(Outcome::BfdSenderHardware);
    }
    Ok(())
}

/// Turns the probe round. Checksum and TTL of the IPv4 header stay right, because an exchange of words changes no sum.
#[inline(always)]
pub fn reflect_v4(macs: &mut Macs, packet: &mut PacketV4, up: bool) {
    exchange_v4(packet);
    if let Some(datagram) = packet.last_chunk_mut() {
        turn(macs, datagram, up);
    }
}

/// As [`reflect_v4`], for IPv6.
#[inline(always)]
pub fn reflect_v6(macs: &mut Macs, packet: &mut PacketV6, up: bool) {
    exchange_v6(packet);
    if let Some(datagram) = packet.last_chunk_mut() {
        turn(macs, datagram, up);
    }
}

/// The header's part of [`reflect_v4`].
#[inline(always)]
pub fn exchange_v4(packet: &mut PacketV4) {
    exchange::<4>(packet, 12, 16);
}

/// The header's part of [`reflect_v6`].
#[inline(always)]
pub fn exchange_v6(packet: &mut PacketV6) {
    exchange::<8>(packet, 8, 24);
    exchange::<8>(packet, 16, 32);
}

/// The part of it that both families share (RFC 7880 section 7.2.2: what is not exchanged or set here is copied).
#[inline(always)]
pub fn turn(macs: &mut Macs, datagram: &mut Datagram, up: bool) {
    let (destination, source) = (ethernet::destination(macs), ethernet::source(macs));
    ethernet::address(macs, &source, &destination);
    let before = *part::<CONTROL, 2>(datagram);
    let intervals = *part::<REQUIRED, 8>(datagram);
    // All bits or none, because the verifier walks what follows a branch once more.
    let is_up = (up as u8).wrapping_neg();
    let (state, diagnostic) = (State::Up as u8 & is_up, ADMINISTRATIVELY_DOWN & !is_up);
    // F answers P (RFC 5880 section 6.5). The data plane reflects whatever becomes of the control plane.
    let flags = (before[1] & POLL) >> 1 | CONTROL_PLANE_INDEPENDENT;
    let after = [VERSION << 5 | diagnostic, state << 6 | flags];
    let [a, b, c, d] = MIN_RX_US.to_be_bytes();
    let own = [a, b, c, d, 0, 0, 0, 0];
    exchange::<2>(datagram, 0, 2);
    exchange::<4>(datagram, MY_DISCRIMINATOR, YOUR_DISCRIMINATOR);
    put(datagram, CONTROL, &after);
    put(datagram, REQUIRED, &own);
    let checksum = *part::<CHECKSUM, 2>(datagram);
    // Without one there is none to keep right. A wrong one stays wrong: only differences are added. What is added up to
    // more than 0 never folds to 0, which would mean that there is none.
    if checksum != [0; 2] {
        let sum = Sum::default().word(checksum).add(&before).add(&intervals).without(&after).without(&own);
        put(datagram, CHECKSUM, &sum.fold().to_ne_bytes());
    }
}

/// A length field says exactly `wanted` bytes.
#[inline(always)]
fn length(field: [u8; 2], wanted: usize) -> Result<(), Outcome> {
    let length = u16::from_be_bytes(field) as usize;
    if length < wanted {
        return Err(Outcome::BfdTruncated);
    }
    if length > wanted {
        return Err(Outcome::BfdMalformed);
    }
    Ok(())
}

/// What holds in both directions.
#[inline(always)]
fn control(datagram: &Datagram) -> Result<(), Outcome> {
    length([datagram[4], datagram[5]], DATAGRAM)?;
    if datagram[CONTROL] >> 5 != VERSION {
        return Err(Outcome::BfdVersion);
    }
    let (flags, multiplier, length) = (datagram[CONTROL + 1], datagram[CONTROL + 2], datagram[CONTROL + 3]);
    if length as usize != LEN
        || multiplier == 0
        || flags & (AUTHENTICATION | MULTIPOINT) != 0
        || addr::same(part::<MY_DISCRIMINATOR, 4>(datagram), &[0; 4])
        || addr::same(part::<YOUR_DISCRIMINATOR, 4>(datagram), &[0; 4])
    {
        return Err(Outcome::BfdMalformed);
    }
    Ok(())
}

/// The sum of a datagram and its pseudo header, of which `addresses` is known.
#[inline(always)]
fn sum(addresses: Sum, datagram: &Datagram) -> Sum {
    addresses.word([0, UDP]).word([0, DATAGRAM as u8]).add(datagram)
}

/// Exchanges the `N` bytes at `a` with those at `b`. Of a size that fits a register, or it would become a call.
#[inline(always)]
fn exchange<const N: usize>(bytes: &mut [u8], a: usize, b: usize) {
    let (Some(first), Some(second)) = (bytes[a..].first_chunk::<N>(), bytes[b..].first_chunk::<N>()) else {
        return;
    };
    let (first, second) = (*first, *second);
    put(bytes, a, &second);
    put(bytes, b, &first);
}

#[cfg(test)]
mod tests;
