//! A second responder, written from the RFCs over byte slices. It shares no code with `lb_common::packet` and is
//! slow and plain on purpose: where the two differ, one of them is wrong.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address as the responder is told of it.
#[derive(Clone, Debug)]
pub struct Vip {
    /// The address.
    pub addr: IpAddr,
    /// VLAN ids, outermost first; empty = untagged.
    pub vlans: Vec<u16>,
    /// Hardware address to give.
    pub mac: [u8; 6],
    /// Answer; else another node does.
    pub active: bool,
}

/// Liveness as the responder is told of it.
#[derive(Clone, Copy, Debug)]
pub struct Reflects<'a> {
    /// Own addresses, their discriminators, and whether they are up.
    pub own: &'a [(IpAddr, u32, bool)],
    /// Who may probe, and from which hardware address.
    pub members: &'a [(IpAddr, [u8; 6])],
}

/// What becomes of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reaction {
    /// This goes back.
    Reply(Vec<u8>),
    /// The frame goes on, and another station was seen to claim an address of ours.
    Conflict,
    /// The frame goes on.
    Nothing,
}

/// A frame, its VLANs taken apart.
struct Frame<'a> {
    destination: &'a [u8],
    source: &'a [u8],
    /// Bytes before the EtherType, in the frame.
    head: &'a [u8],
    ethertype: u16,
    vlans: Vec<u16>,
    payload: &'a [u8],
}

/// The reaction to `bytes`; `alive` = somebody maintains what it is told; `beside` = TPID and TCI of a stripped tag.
pub fn react(
    vips: &[Vip],
    reflects: Reflects<'_>,
    alive: bool,
    (bytes, beside): (&[u8], Option<(u16, u16)>),
) -> Reaction {
    if let Some(reply) = probe(reflects, bytes).filter(|_| alive && beside.is_none()) {
        return Reaction::Reply(reply);
    }
    let Some(frame) = dissect(bytes, beside) else { return Reaction::Nothing };
    let reaction = match frame.ethertype {
        0x0806 => arp(vips, &frame),
        0x86dd => neighbour(vips, &frame),
        _ => None,
    };
    reaction.filter(|_| alive).unwrap_or(Reaction::Nothing)
}

fn dissect(bytes: &[u8], beside: Option<(u16, u16)>) -> Option<Frame<'_>> {
    let mut tags: Vec<(u16, u16)> = beside.into_iter().collect();
    let mut at = 12;
    let ethertype = loop {
        let word = u16_at(bytes, at)?;
        if !matches!(word, 0x8100 | 0x88a8) {
            break word;
        }
        tags.push((word, u16_at(bytes, at + 2)?));
        at += 4;
    };
    // 802.1Q: a customer tag, or two of which the inner one is a customer tag.
    let vlans = match tags.as_slice() {
        [] => vec![],
        [(0x8100, tci)] => vec![tci & 0xfff],
        [_, (0x8100, _)] => tags.iter().map(|(_, tci)| tci & 0xfff).collect(),
        _ => return None,
    };
    let priority_only = vlans == [0];
    if vlans.contains(&0xfff) || (vlans.contains(&0) && !priority_only) {
        return None;
    }
    Some(Frame {
        destination: &bytes[..6],
        source: &bytes[6..12],
        head: &bytes[12..at],
        ethertype,
        vlans: if priority_only { vec![] } else { vlans },
        payload: &bytes[at + 2..],
    })
}

impl Frame<'_> {
    fn find<'v>(&self, vips: &'v [Vip], addr: IpAddr) -> Option<&'v Vip> {
        vips.iter().find(|vip| vip.addr == addr && vip.vlans == self.vlans)
    }

    fn envelope(&self, to: &[u8], from: &[u8]) -> Vec<u8> {
        [to, from, self.head, &self.ethertype.to_be_bytes()].concat()
    }
}

/// RFC 826 "Packet Reception", with what RFC 5227 adds for probes and conflicts.
fn arp(vips: &[Vip], frame: &Frame<'_>) -> Option<Reaction> {
    let body = frame.payload.get(..28)?;
    let (hrd, pro, lengths, op) = (u16_at(body, 0)?, u16_at(body, 2)?, u16_at(body, 4)?, u16_at(body, 6)?);
    if !matches!(hrd, 1 | 6) || pro != 0x0800 || lengths != 0x0604 || !matches!(op, 1 | 2) {
        return None;
    }
    let (sha, spa, tpa) = (&body[8..14], ipv4(&body[14..18])?, ipv4(&body[24..28])?);
    if !individual(sha) || frame.source[0] % 2 == 1 {
        return None;
    }
    if spa.is_loopback() || spa.is_multicast() || spa.octets()[0] >= 240 {
        return None;
    }
    if !spa.is_unspecified()
        && let Some(ours) = frame.find(vips, spa.into())
    {
        return (ours.active && sha != ours.mac).then_some(Reaction::Conflict);
    }
    let vip = frame.find(vips, tpa.into()).filter(|vip| op == 1 && vip.active)?;
    let to_us = frame.destination == vip.mac || frame.destination == [0xff; 6];
    if !to_us || sha == vip.mac || frame.source == vip.mac {
        return None;
    }
    let mut reply = frame.envelope(sha, &vip.mac);
    reply.extend([0, 1, 8, 0, 6, 4, 0, 2]);
    reply.extend(vip.mac);
    reply.extend(tpa.octets());
    reply.extend(sha);
    reply.extend(spa.octets());
    if frame.payload.len() >= 46 {
        reply.extend([0; 18]);
    }
    Some(Reaction::Reply(reply))
}

/// RFC 4861 sections 7.1.1, 7.1.2, 7.2.3 and 7.2.4; RFC 4862 section 5.4 for an unspecified source.
fn neighbour(vips: &[Vip], frame: &Frame<'_>) -> Option<Reaction> {
    let header = frame.payload.get(..40)?;
    let length = usize::from(u16_at(header, 4)?);
    let message = frame.payload.get(40..40 + length)?;
    let (source, destination) = (ipv6(&header[8..24])?, ipv6(&header[24..40])?);
    // At most eight units of options, which is a choice of ours.
    if header[0] >> 4 != 6 || header[6] != 58 || header[7] != 255 || !(24..=24 + 64).contains(&length) {
        return None;
    }
    if icmpv6_sum(source, destination, message) != 0xffff || message[1] != 0 {
        return None;
    }
    let solicitation = match message[0] {
        135 => true,
        136 => false,
        _ => return None,
    };
    let target = ipv6(&message[8..24])?;
    if target.is_multicast() || source.is_multicast() || source.is_loopback() || frame.source[0] % 2 == 1 {
        return None;
    }
    let option = link_layer_option(&message[24..], if solicitation { 1 } else { 2 })?;
    if solicitation && !is_addressed(source, destination, target, option.is_some()) {
        return None;
    }
    if let Some(ours) = frame.find(vips, source.into()).filter(|_| !(solicitation && source.is_unspecified()))
    {
        return (ours.active && frame.source != ours.mac).then_some(Reaction::Conflict);
    }
    let vip = frame.find(vips, target.into()).filter(|vip| vip.active)?;
    let speaker = option.unwrap_or(frame.source);
    if !solicitation {
        return (speaker != vip.mac).then_some(Reaction::Conflict);
    }
    let group = [&[0x33, 0x33], &destination.octets()[12..]].concat();
    let to_us = frame.destination == vip.mac || (destination.is_multicast() && frame.destination == group);
    if !to_us || frame.source == vip.mac {
        return None;
    }
    let all_nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    let (mac, to, flags) = if source.is_unspecified() {
        (&[0x33, 0x33, 0, 0, 0, 1][..], all_nodes, 0x20)
    } else {
        (speaker, source, 0x60)
    };
    Some(Reaction::Reply(advertisement(frame.envelope(mac, &vip.mac), vip, target, to, flags)))
}

/// RFC 7880 section 7.2, RFC 7881, RFC 5880 section 6.8.6; the one datagram that is a whole probe.
fn probe(reflects: Reflects<'_>, bytes: &[u8]) -> Option<Vec<u8>> {
    let (ethernet, packet) = bytes.split_at_checked(14)?;
    let (source, destination, header, pseudo): (IpAddr, IpAddr, _, _) = match ethernet[12..] {
        [8, 0] if packet.len() >= 52 => {
            let whole = packet[0] == 0x45
                && u16_at(packet, 2)? == 52
                && matches!(u16_at(packet, 6)?, 0 | 0x4000 | 0x8000 | 0xc000);
            if !whole || packet[8..10] != [255, 17] || remainder(&packet[..20]) != 0 {
                return None;
            }
            (ipv4(&packet[12..16])?.into(), ipv4(&packet[16..20])?.into(), 20, &packet[12..20])
        }
        [0x86, 0xdd] if packet.len() >= 72 => {
            if packet[0] >> 4 != 6 || packet[4..8] != [0, 32, 17, 255] {
                return None;
            }
            (ipv6(&packet[8..24])?.into(), ipv6(&packet[24..40])?.into(), 40, &packet[8..40])
        }
        _ => return None,
    };
    let udp = &packet[header..header + 32];
    let (from, field) = (u16_at(udp, 0)?, u16_at(udp, 6)?);
    let unsummed = field == 0 && header == 20;
    if field == 0 && !unsummed || field != 0 && remainder(&[pseudo, &[0, 17, 0, 32], udp].concat()) != 0 {
        return None;
    }
    // Version 1, demand without authentication or multipoint, a multiplier, 24 bytes.
    let bfd = &udp[8..];
    let sound = bfd[0] >> 5 == 1 && bfd[1] & 0b111 == 0b010 && bfd[2] > 0 && bfd[3] == 24;
    if !sound || udp[2..6] != [0x1e, 0x68, 0, 32] || matches!(from, 0 | 7784) || bfd[4..8] == [0; 4] {
        return None;
    }
    let own = reflects
        .own
        .iter()
        .find(|(ip, number, _)| *ip == destination && number.to_be_bytes() == bfd[8..12])?;
    let is_member = reflects.members.iter().any(|(ip, mac)| *ip == source && ethernet[6..12] == *mac);
    if !is_member || own.1 == 0 || ethernet[0] % 2 == 1 {
        return None;
    }
    let (vers_diag, state) = if own.2 { (0x20, 3) } else { (0x27, 0) };
    let answers_poll = if bfd[1] & 0x20 == 0 { 0 } else { 0x10 };
    let swapped = match header {
        20 => [&packet[..12], &packet[16..20], &packet[12..16]].concat(),
        _ => [&packet[..8], &packet[24..40], &packet[8..24]].concat(),
    };
    let mut reply =
        [&[0x1e, 0x68], &udp[..2], &[0, 32, 0, 0, vers_diag, state << 6 | answers_poll | 8]].concat();
    reply.extend([&bfd[2..4], &bfd[8..12], &bfd[4..8], &bfd[12..16], &[0, 0, 0, 245, 0, 0, 0, 0]].concat());
    if !unsummed {
        let pseudo = &swapped[if header == 20 { 12 } else { 8 }..];
        let rest = remainder(&[pseudo, &[0, 17, 0, 32], &reply].concat());
        reply[6..8].copy_from_slice(&(0xffff - rest).to_be_bytes());
    }
    Some([&ethernet[6..12], &ethernet[..6], &ethernet[12..], &swapped, &reply].concat())
}

/// Bytes as one number, modulo 65535: 0 where a checksum in them is right.
fn remainder(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|word| u64::from(word[0]) * 256 + u64::from(word[1]));
    u16::try_from(words.sum::<u64>() % 0xffff).unwrap_or(u16::MAX)
}

/// What RFC 4861 section 7.1.1 demands of the destination, 7.2.2 of the source option.
fn is_addressed(source: Ipv6Addr, destination: Ipv6Addr, target: Ipv6Addr, option: bool) -> bool {
    let mut group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 0).octets();
    group[13..].copy_from_slice(&target.octets()[13..]);
    let solicited_node = destination.octets() == group;
    if source.is_unspecified() {
        return solicited_node && !option;
    }
    let all_nodes = destination == Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    destination == target || (option && (solicited_node || all_nodes))
}

/// The first option of this type: none of the outer kind = the message is to be discarded.
#[expect(clippy::option_option, reason = "valid or not, and if valid, there or not")]
fn link_layer_option(mut options: &[u8], wanted: u8) -> Option<Option<&[u8]>> {
    let mut found = None;
    while !options.is_empty() {
        let length = usize::from(*options.get(1)?) * 8;
        if length == 0 {
            return None;
        }
        let option = options.get(..length)?;
        if option[0] == wanted && found.is_none() {
            // Ethernet: one unit (RFC 2464 section 6).
            found = Some(option.get(2..8).filter(|mac| length == 8 && individual(mac))?);
        }
        options = &options[length..];
    }
    Some(found)
}

fn advertisement(mut frame: Vec<u8>, vip: &Vip, target: Ipv6Addr, to: Ipv6Addr, flags: u8) -> Vec<u8> {
    let mut message = vec![136, 0, 0, 0, flags, 0, 0, 0];
    message.extend(target.octets());
    message.extend([2, 1]);
    message.extend(vip.mac);
    let sum = !icmpv6_sum(target, to, &message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    frame.extend([0x60, 0, 0, 0, 0, 32, 58, 255]);
    frame.extend(target.octets());
    frame.extend(to.octets());
    frame.extend(message);
    frame
}

/// RFC 8200 section 8.1, by long division instead of carries: modulo 65535 is the ones' complement sum.
fn icmpv6_sum(source: Ipv6Addr, destination: Ipv6Addr, message: &[u8]) -> u16 {
    let mut bytes = [&source.octets()[..], &destination.octets()].concat();
    bytes.extend((message.len() as u64).to_be_bytes());
    bytes.extend([0, 58]);
    bytes.extend(message);
    if !bytes.len().is_multiple_of(2) {
        bytes.push(0);
    }
    let total: u64 = bytes.chunks(2).map(|word| u64::from(word[0]) * 256 + u64::from(word[1])).sum();
    match total % 0xffff {
        0 if total > 0 => 0xffff,
        rest => u16::try_from(rest).unwrap_or(u16::MAX),
    }
}

/// One station's address, not a group's and not nobody's.
fn individual(mac: &[u8]) -> bool {
    mac[0].is_multiple_of(2) && mac.iter().any(|byte| *byte != 0)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn ipv4(bytes: &[u8]) -> Option<Ipv4Addr> {
    <[u8; 4]>::try_from(bytes).ok().map(Into::into)
}

fn ipv6(bytes: &[u8]) -> Option<Ipv6Addr> {
    <[u8; 16]>::try_from(bytes).ok().map(Into::into)
}
