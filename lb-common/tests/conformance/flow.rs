//! The way of a frame from EtherType to reply, as the BPF program goes it, over a buffer in memory.
//!
//! What the kernel does to a frame (cutting, growing) happens to a `Vec` here, and bytes that come into being are
//! filled with [`DIRT`], so that a reply is right only if every byte of it was written.

use std::collections::BTreeMap;
use std::net::IpAddr;

use lb_common::abi::{Entry, KeyStation, KeyV4, KeyV6, Member, Reflector, Vlans};
use lb_common::addr::{Address, Mac};
use lb_common::outcome::Outcome;
use lb_common::packet::bfd::{self, Probe};
use lb_common::packet::ethernet::{self, HEADER, TAG};
use lb_common::packet::ndp::{self, LinkLayer, Options, Query};
use lb_common::packet::{arp, ethernet::Macs};

/// Index of the link every frame comes in by.
pub const LINK: u32 = 7;
/// What bytes hold that nobody wrote.
pub const DIRT: u8 = 0xdb;
/// Padding behind an ARP message in a frame of 60 bytes.
const PAD: usize = 18;

/// What the program finds in its maps.
#[derive(Clone, Debug, Default)]
pub struct Maps {
    /// IPv4 addresses.
    pub v4: BTreeMap<KeyV4, Entry>,
    /// IPv6 addresses.
    pub v6: BTreeMap<KeyV6, Entry>,
    /// Own addresses whose probes are reflected.
    pub reflectors: BTreeMap<KeyStation, Reflector>,
    /// Who may probe.
    pub members: BTreeMap<KeyStation, Member>,
    /// The deadline of the agent lies ahead.
    pub agent: bool,
}

impl Maps {
    /// With what is reflected, and for whom, on the link of the frames.
    #[must_use]
    pub fn reflecting(self, own: &[(IpAddr, u32, bool)], members: &[(IpAddr, Mac)]) -> Self {
        let own = own.iter();
        let members = members.iter();
        Self {
            reflectors: own.map(|(ip, number, up)| (station(*ip), Reflector::new(*number, *up))).collect(),
            members: members.map(|(ip, mac)| (station(*ip), Member::new(*mac))).collect(),
            ..self
        }
    }
}

/// The key of an address on the link of the frames.
fn station(ip: IpAddr) -> KeyStation {
    let addr = match ip {
        IpAddr::V4(ip) => Address::v4(&ip.octets()),
        IpAddr::V6(ip) => Address::v6(&ip.octets()),
    };
    KeyStation::new(LINK, addr)
}

/// A frame as the program is handed it.
#[derive(Clone, Debug)]
pub struct Input {
    /// The whole frame; holds the reply afterwards.
    pub bytes: Vec<u8>,
    /// How many of its bytes can be reached, the rest lies in other buffers.
    pub linear: usize,
    /// TPID and TCI of a tag beside the frame.
    pub stripped: Option<([u8; 2], [u8; 2])>,
}

struct Link {
    len: usize,
    ethertype: ethernet::EtherType,
    vlans: Vlans,
}

/// What becomes of the frame; an answer has been written in place.
pub fn respond(maps: &Maps, frame: &mut Input) -> Outcome {
    let Some(ethertype) = ethertype(frame, HEADER - 2) else { return Outcome::Ignored };
    if ethertype == ethernet::IPV4 {
        return udp_v4(maps, frame);
    }
    let link = match frame.stripped {
        None => in_band(frame, ethertype),
        Some((tpid, outer)) => out_of_band(frame, ethernet::ethertype(tpid), outer, ethertype),
    };
    let Some(link) = link else { return Outcome::Ignored };
    match link.ethertype {
        ethernet::ARP if link.vlans.is_reserved() => Outcome::VlanReserved,
        ethernet::ARP => address_resolution(maps, frame, &link),
        ethernet::IPV6 => match frame.at::<2>(link.len + 6) {
            Some([ndp::ICMPV6, _]) if link.vlans.is_reserved() => Outcome::VlanReserved,
            Some([ndp::ICMPV6, _]) => neighbour_discovery(maps, frame, &link),
            Some([bfd::UDP, _]) if link.len == HEADER && is_probe(frame, HEADER + 40) => {
                liveness::<{ bfd::LEN_V6 }>(maps, frame, bfd::parse_v6, bfd::reflect_v6)
            }
            Some([ndp::HOP_BY_HOP | ndp::DESTINATION_OPTIONS, _]) => Outcome::NdExtensionHeader,
            Some(_) | None => Outcome::Ignored,
        },
        _ => Outcome::Ignored,
    }
}

fn in_band(frame: &Input, ethertype: ethernet::EtherType) -> Option<Link> {
    if ethertype != ethernet::VLAN && ethertype != ethernet::SERVICE_VLAN {
        return Some(Link { len: HEADER, ethertype, vlans: Vlans::UNTAGGED });
    }
    let [t0, t1, e0, e1] = frame.at::<TAG>(HEADER)?;
    let inner = ethernet::ethertype([e0, e1]);
    if inner == ethernet::VLAN {
        return two_tags(frame, HEADER + TAG, [t0, t1]);
    }
    let link = Link { len: HEADER + TAG, ethertype: inner, vlans: ethernet::single([t0, t1]) };
    (ethertype == ethernet::VLAN).then_some(link)
}

fn out_of_band(
    frame: &Input,
    tpid: ethernet::EtherType,
    outer: [u8; 2],
    ethertype: ethernet::EtherType,
) -> Option<Link> {
    if ethertype == ethernet::VLAN {
        return two_tags(frame, HEADER, outer);
    }
    (tpid == ethernet::VLAN).then(|| Link { len: HEADER, ethertype, vlans: ethernet::single(outer) })
}

fn two_tags(frame: &Input, at: usize, outer: [u8; 2]) -> Option<Link> {
    let [t0, t1, e0, e1] = frame.at::<TAG>(at)?;
    let vlans = ethernet::double(outer, [t0, t1]);
    Some(Link { len: at + TAG, ethertype: ethernet::ethertype([e0, e1]), vlans })
}

fn udp_v4(maps: &Maps, frame: &mut Input) -> Outcome {
    let Some([version, _, _, _, _, _, _, _, _, protocol]) = frame.at::<10>(HEADER) else {
        return Outcome::Ignored;
    };
    if protocol != bfd::UDP || !is_probe(frame, HEADER + bfd::header_length(version)) {
        return Outcome::Ignored;
    }
    liveness::<{ bfd::LEN_V4 }>(maps, frame, bfd::parse_v4, bfd::reflect_v4)
}

fn is_probe(frame: &Input, udp: usize) -> bool {
    frame.at::<2>(udp + 2) == Some(bfd::PORT_BYTES) && frame.stripped.is_none()
}

fn liveness<const N: usize>(
    maps: &Maps,
    frame: &mut Input,
    parse: fn(&[u8; N]) -> Result<Probe, Outcome>,
    reflect: fn(&mut Macs, &mut [u8; N], bool),
) -> Outcome {
    let (Some(mut macs), Some(mut packet)) = (frame.at::<12>(0), frame.at::<N>(HEADER)) else {
        return Outcome::BfdTruncated;
    };
    let judged = parse(&packet).and_then(|probe| {
        let entry = maps.reflectors.get(&KeyStation::new(LINK, Address::of_words(probe.destination)));
        let up = bfd::judge(&macs, &probe, entry)?.is_up();
        let member = maps.members.get(&KeyStation::new(LINK, Address::of_words(probe.source)));
        bfd::judge_source(&macs, member).map(|()| up)
    });
    let up = match judged {
        Ok(up) if maps.agent => up,
        Ok(_) => return Outcome::BfdReply.expired(),
        Err(outcome) => return outcome,
    };
    if !frame.resize(HEADER + N) {
        return Outcome::Oversized;
    }
    reflect(&mut macs, &mut packet, up);
    frame.bytes[..12].copy_from_slice(&macs);
    frame.bytes[HEADER..].copy_from_slice(&packet);
    Outcome::BfdReply
}

fn address_resolution(maps: &Maps, frame: &mut Input, link: &Link) -> Outcome {
    let (Some(mut macs), Some(mut message)) = (frame.at::<12>(0), frame.at::<{ arp::LEN }>(link.len)) else {
        return Outcome::ArpTruncated;
    };
    let query = match arp::parse(&macs, &message) {
        Ok(query) => query,
        Err(outcome) => return outcome,
    };
    let entry = |addr| maps.v4.get(&KeyV4::new(LINK, link.vlans, addr));
    let target = entry(query.target());
    let outcome = match entry(query.sender()).filter(|_| !query.is_probe()) {
        Some(claimed) => arp::claim(query, claimed),
        None => arp::judge(&macs, query, target),
    };
    let outcome = if maps.agent { outcome } else { outcome.expired() };
    let (true, Some(entry)) = (outcome.is_answer(), target) else { return outcome };
    let (bare, padded) = (link.len + arp::LEN, link.len + arp::LEN + PAD);
    let wanted = match frame.bytes.len() {
        len if len == bare || len == padded => len,
        len if len < padded => bare,
        _ => padded,
    };
    if !frame.resize(wanted) {
        return Outcome::Oversized;
    }
    arp::write_reply(&mut macs, &mut message, entry.mac());
    frame.bytes[..12].copy_from_slice(&macs);
    frame.bytes[link.len..bare].copy_from_slice(&message);
    frame.bytes[bare..].fill(0);
    outcome
}

fn neighbour_discovery(maps: &Maps, frame: &mut Input, link: &Link) -> Outcome {
    let (Some(mut macs), Some(message)) = (frame.at::<12>(0), frame.at::<{ ndp::LEN }>(link.len)) else {
        return match frame.at::<2>(link.len + 40) {
            Some([135 | 136, _]) | None => Outcome::NdTruncated,
            Some(_) => Outcome::Ignored,
        };
    };
    let judged = ndp::parse(&message).and_then(|query| {
        let link_layer = options(frame, link, &message, query)?;
        ndp::check(&macs, query, link_layer)?;
        Ok((query, link_layer))
    });
    let (query, link_layer) = match judged {
        Ok(judged) => judged,
        Err(outcome) => return outcome,
    };
    let entry = |addr| maps.v6.get(&KeyV6::new(LINK, link.vlans, addr));
    let target = entry(*query.target());
    let outcome = match entry(*query.source()).filter(|_| !query.is_dad()) {
        Some(claimed) => ndp::claim(&macs, claimed),
        None => ndp::judge(&macs, query, link_layer, target),
    };
    let outcome = if maps.agent { outcome } else { outcome.expired() };
    let (true, Some(entry)) = (outcome.is_answer(), target) else { return outcome };
    if !frame.resize(link.len + ndp::ADVERT_LEN) {
        return Outcome::Oversized;
    }
    let Some(mut advert) = frame.at::<{ ndp::ADVERT_LEN }>(link.len) else { return Outcome::NdTruncated };
    ndp::write_reply(&mut macs, &mut advert, link_layer, entry.mac());
    frame.bytes[..12].copy_from_slice(&macs);
    frame.bytes[link.len..].copy_from_slice(&advert);
    outcome
}

fn options(
    frame: &Input,
    link: &Link,
    message: &ndp::Message,
    query: Query<'_>,
) -> Result<LinkLayer, Outcome> {
    let mut sum = ndp::checksum(message);
    let mut options = Options::default();
    options.expect(query);
    for i in 0..query.units() {
        let unit =
            frame.at::<{ ndp::UNIT }>(link.len + ndp::LEN + i * ndp::UNIT).ok_or(Outcome::NdTruncated)?;
        sum = sum.add(&unit);
        options.unit(&unit)?;
    }
    if !sum.is_valid() {
        return Err(Outcome::NdChecksum);
    }
    options.finish().map(|()| options.link_layer())
}

fn ethertype(frame: &Input, at: usize) -> Option<ethernet::EtherType> {
    frame.at::<2>(at).map(ethernet::ethertype)
}

impl Input {
    /// A frame in one buffer, without a tag beside it.
    pub fn linear(bytes: Vec<u8>) -> Self {
        Self { linear: bytes.len(), bytes, stripped: None }
    }

    fn at<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.bytes[..self.linear.min(self.bytes.len())].get(offset..)?.first_chunk().copied()
    }

    /// As `bpf_xdp_adjust_tail`; a frame in several buffers is left alone.
    fn resize(&mut self, len: usize) -> bool {
        if self.linear < self.bytes.len() {
            return false;
        }
        self.bytes.resize(len, DIRT);
        self.linear = len;
        true
    }
}
