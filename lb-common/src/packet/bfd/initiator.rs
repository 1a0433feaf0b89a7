//! Who asks: probes as whole frames, and what comes back. For agents, so frames are what a socket takes and gives.
//!
//! The nonce is the discriminator of the asking session: fresh for each probe, so that only who has seen the probe can
//! answer it, and an answer to an older one is known as such.

use super::{
    CONTROL, DATAGRAM, DEMAND, Datagram, LEN, LEN_V4, LEN_V6, MY_DISCRIMINATOR, PLAIN_IPV4, PORT, PORT_BYTES,
    State, TTL, UDP, VERSION, YOUR_DISCRIMINATOR, control, length, sum,
};
use crate::addr::{Address, Mac, V4, V6};
use crate::outcome::Outcome;
use crate::packet::checksum::Sum;
use crate::packet::ethernet::{self, HEADER, Macs};
use crate::packet::{part, put};

/// Bytes of an IPv4 probe with its Ethernet header.
pub const FRAME_V4: usize = HEADER + LEN_V4;
/// Bytes of an IPv6 probe with its Ethernet header.
pub const FRAME_V6: usize = HEADER + LEN_V6;

/// Network control (RFC 4594): what IPv4's type of service and IPv6's traffic class say.
const CLASS: u8 = 0xc0;
const DO_NOT_FRAGMENT: u8 = 0x40;

/// What a probe says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// Own hardware address.
    pub from: Mac,
    /// The reflector's.
    pub to: Mac,
    /// Own port, where the reply goes; not 0 and not [`PORT`].
    pub port: u16,
    /// Own discriminator, fresh for each probe; not 0.
    pub nonce: u32,
    /// The reflector's discriminator.
    pub discriminator: u32,
    /// What is thought of the reflector so far: up, or down.
    pub state: State,
    /// After how many missing replies it will be thought down; not 0.
    pub multiplier: u8,
    /// Microseconds from probe to probe.
    pub interval_us: u32,
}

/// A reflected probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The nonce of the probe.
    pub nonce: u32,
    /// The reflector's discriminator.
    pub discriminator: u32,
    /// Up, or administratively down.
    pub state: State,
    /// The reflector's address.
    pub source: Address,
    /// Whose probe it was.
    pub destination: Address,
    /// The port of the probe.
    pub port: u16,
    /// Hardware address it comes from.
    pub mac: Mac,
}

/// The probe from `source` to `destination`, every byte of the frame.
pub fn write_probe_v4(frame: &mut [u8; FRAME_V4], source: &V4, destination: &V4, question: &Question) {
    let mut header = [0; 20];
    put(&mut header, 0, &[PLAIN_IPV4, CLASS, 0, LEN_V4 as u8, 0, 0, DO_NOT_FRAGMENT, 0, TTL, UDP]);
    put(&mut header, 12, source);
    put(&mut header, 16, destination);
    let checksum = Sum::default().add(&header).finish();
    put(&mut header, 10, &checksum);
    put(frame, 0, &ethernet_header(question, [8, 0]));
    put(frame, HEADER, &header);
    put(frame, HEADER + 20, &datagram(question, part::<12, 8>(&header)));
}

/// As [`write_probe_v4`], for IPv6.
pub fn write_probe_v6(frame: &mut [u8; FRAME_V6], source: &V6, destination: &V6, question: &Question) {
    let mut header = [0; 40];
    put(&mut header, 0, &[0x60 | CLASS >> 4, CLASS << 4, 0, 0, 0, DATAGRAM as u8, UDP, TTL]);
    put(&mut header, 8, source);
    put(&mut header, 24, destination);
    put(frame, 0, &ethernet_header(question, [0x86, 0xdd]));
    put(frame, HEADER, &header);
    put(frame, HEADER + 40, &datagram(question, part::<8, 32>(&header)));
}

/// Reads a frame, padding or none behind it. [`Outcome::Ignored`]: it does not come from a reflector's port.
///
/// What a reply says is not yet true: its nonce must be that of a probe which was sent to this source and has no reply
/// yet.
pub fn parse_reply(frame: &[u8]) -> Result<Reply, Outcome> {
    let Some((header, packet)) = frame.split_first_chunk::<HEADER>() else { return Err(Outcome::Ignored) };
    let (source, destination, datagram) = match ethernet::ethertype([header[12], header[13]]) {
        ethernet::IPV4 => ipv4(packet)?,
        ethernet::IPV6 => ipv6(packet)?,
        _ => return Err(Outcome::Ignored),
    };
    let (nonce, discriminator, state) = said(datagram)?;
    Ok(Reply {
        nonce,
        discriminator,
        state,
        source,
        destination,
        port: u16::from_be_bytes([datagram[2], datagram[3]]),
        mac: ethernet::source(part::<0, { size_of::<Macs>() }>(header)),
    })
}

/// Reads what a socket took from a reflector's port: nonce, the reflector's discriminator and its state. The kernel has
/// checked the headers, and the socket's options the TTL.
pub fn parse_control(payload: &[u8]) -> Result<(u32, u32, State), Outcome> {
    let Some(control_packet) = payload.first_chunk::<LEN>() else { return Err(Outcome::BfdTruncated) };
    let mut datagram = [0; DATAGRAM];
    put(&mut datagram, 4, &(DATAGRAM as u16).to_be_bytes());
    put(&mut datagram, CONTROL, control_packet);
    said(&datagram)
}

/// What a reflected control packet says.
fn said(datagram: &Datagram) -> Result<(u32, u32, State), Outcome> {
    control(datagram)?;
    let state = match datagram[CONTROL + 1] >> 6 {
        0 => State::AdminDown,
        3 => State::Up,
        _ => return Err(Outcome::BfdMalformed),
    };
    // Who demands is no reflector.
    if datagram[CONTROL + 1] & DEMAND != 0 {
        return Err(Outcome::BfdMalformed);
    }
    let nonce = u32::from_be_bytes(*part::<YOUR_DISCRIMINATOR, 4>(datagram));
    Ok((nonce, u32::from_be_bytes(*part::<MY_DISCRIMINATOR, 4>(datagram)), state))
}

fn ipv4(packet: &[u8]) -> Result<(Address, Address, &Datagram), Outcome> {
    let Some(start) = packet.first_chunk::<24>() else { return Err(Outcome::Ignored) };
    if start[9] != UDP || start[0] != PLAIN_IPV4 || [start[20], start[21]] != PORT_BYTES {
        return Err(Outcome::Ignored);
    }
    if start[6] & 0x3f != 0 || start[7] != 0 {
        return Err(Outcome::BfdFragment);
    }
    if start[8] != TTL {
        return Err(Outcome::BfdTtl);
    }
    length([start[2], start[3]], LEN_V4)?;
    let Some(packet) = packet.first_chunk::<LEN_V4>() else { return Err(Outcome::BfdTruncated) };
    let datagram = part::<20, DATAGRAM>(packet);
    let is_summed = [datagram[6], datagram[7]] != [0; 2];
    if !Sum::default().add(part::<0, 20>(packet)).is_valid()
        || is_summed && !sum(Sum::default().add(part::<12, 8>(packet)), datagram).is_valid()
    {
        return Err(Outcome::BfdChecksum);
    }
    Ok((Address::v4(part::<12, 4>(packet)), Address::v4(part::<16, 4>(packet)), datagram))
}

fn ipv6(packet: &[u8]) -> Result<(Address, Address, &Datagram), Outcome> {
    let Some(start) = packet.first_chunk::<44>() else { return Err(Outcome::Ignored) };
    if start[0] >> 4 != 6 || start[6] != UDP || [start[40], start[41]] != PORT_BYTES {
        return Err(Outcome::Ignored);
    }
    if start[7] != TTL {
        return Err(Outcome::BfdTtl);
    }
    length([start[4], start[5]], DATAGRAM)?;
    let Some(packet) = packet.first_chunk::<LEN_V6>() else { return Err(Outcome::BfdTruncated) };
    let datagram = part::<40, DATAGRAM>(packet);
    let is_summed = [datagram[6], datagram[7]] != [0; 2];
    if !is_summed || !sum(Sum::default().add(part::<8, 32>(packet)), datagram).is_valid() {
        return Err(Outcome::BfdChecksum);
    }
    Ok((Address::v6(part::<8, 16>(packet)), Address::v6(part::<24, 16>(packet)), datagram))
}

fn ethernet_header(question: &Question, ethertype: [u8; 2]) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    put(&mut header, 0, &question.to);
    put(&mut header, 6, &question.from);
    put(&mut header, 12, &ethertype);
    header
}

/// Ports, control packet, checksum (RFC 7880 section 7.3.2). `addresses` are source and destination.
fn datagram<const N: usize>(question: &Question, addresses: &[u8; N]) -> Datagram {
    let mut datagram = [0; DATAGRAM];
    put(&mut datagram, 0, &question.port.to_be_bytes());
    put(&mut datagram, 2, &PORT.to_be_bytes());
    put(&mut datagram, 4, &(DATAGRAM as u16).to_be_bytes());
    let state = (question.state as u8) << 6;
    put(&mut datagram, CONTROL, &[VERSION << 5, state | DEMAND, question.multiplier, LEN as u8]);
    put(&mut datagram, MY_DISCRIMINATOR, &question.nonce.to_be_bytes());
    put(&mut datagram, YOUR_DISCRIMINATOR, &question.discriminator.to_be_bytes());
    // Nothing but replies is wanted: the other two intervals stay 0.
    put(&mut datagram, CONTROL + 12, &question.interval_us.to_be_bytes());
    let checksum = sum(Sum::default().add(addresses), &datagram).finish_udp();
    put(&mut datagram, 6, &checksum);
    datagram
}
