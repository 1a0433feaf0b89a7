//! The same frames by smoltcp's wire representation.

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol, EthernetRepr,
    Icmpv6Packet, Icmpv6Repr, IpAddress, IpProtocol, Ipv4Packet, Ipv6Packet, Ipv6Repr, NdiscRepr, UdpPacket,
    UdpRepr,
};

/// Reads a reply of ours with smoltcp, writes what it understood into a buffer of its own, and compares.
pub fn same(reply: &[u8]) -> Result<(), String> {
    if reply.get(12..14) == Some(&[8, 0]) || reply.get(20) == Some(&17) {
        return datagram(reply).map_err(|error| format!("smoltcp can't read it: {error}"))?;
    }
    // Tags are nothing smoltcp knows; they must stand where they stood, which the vectors show.
    let tags = (0..3).find(|n| matches!(reply.get(12 + 4 * n..14 + 4 * n), Some([8, 6] | [0x86, 0xdd])));
    let at = 12 + 4 * tags.ok_or("the reply is neither ARP nor IPv6")?;
    let untagged = [&reply[..12], &reply[at..]].concat();
    let written = if untagged[12] == 8 { arp(&untagged) } else { ndisc(&untagged) };
    let written = written.map_err(|error| format!("smoltcp can't read it: {error}"))?;
    let (head, pad) = untagged.split_at(written.len().min(untagged.len()));
    if head != written || pad.iter().any(|byte| *byte != 0) {
        return Err(format!("smoltcp writes {written:02x?}, we {untagged:02x?}"));
    }
    Ok(())
}

/// An announcement as smoltcp writes it.
pub fn arp_announcement(mac: &[u8; 6], addr: &[u8; 4], request: bool) -> Vec<u8> {
    let repr = ArpRepr::EthernetIpv4 {
        operation: if request { ArpOperation::Request } else { ArpOperation::Reply },
        source_hardware_addr: EthernetAddress(*mac),
        source_protocol_addr: (*addr).into(),
        target_hardware_addr: EthernetAddress(if request { [0; 6] } else { *mac }),
        target_protocol_addr: (*addr).into(),
    };
    emit_arp(&repr, EthernetAddress(*mac), EthernetAddress::BROADCAST)
}

fn arp(frame: &[u8]) -> Result<Vec<u8>, smoltcp::wire::Error> {
    let ethernet = EthernetRepr::parse(&EthernetFrame::new_checked(frame)?)?;
    let repr = ArpRepr::parse(&ArpPacket::new_checked(&frame[14..])?)?;
    Ok(emit_arp(&repr, ethernet.src_addr, ethernet.dst_addr))
}

fn emit_arp(repr: &ArpRepr, src_addr: EthernetAddress, dst_addr: EthernetAddress) -> Vec<u8> {
    let mut written = vec![super::flow::DIRT; 14 + repr.buffer_len()];
    let ethernet = EthernetRepr { src_addr, dst_addr, ethertype: EthernetProtocol::Arp };
    ethernet.emit(&mut EthernetFrame::new_unchecked(&mut written));
    repr.emit(&mut ArpPacket::new_unchecked(&mut written[14..]));
    written
}

fn ndisc(frame: &[u8]) -> Result<Vec<u8>, smoltcp::wire::Error> {
    let ethernet = EthernetRepr::parse(&EthernetFrame::new_checked(frame)?)?;
    let packet = Ipv6Packet::new_checked(&frame[14..])?;
    let ip = Ipv6Repr::parse(&packet)?;
    let checked = ChecksumCapabilities::default();
    let message = Icmpv6Packet::new_checked(packet.payload())?;
    let repr = Icmpv6Repr::parse(&ip.src_addr, &ip.dst_addr, &message, &checked)?;
    let (Icmpv6Repr::Ndisc(NdiscRepr::NeighborAdvert { lladdr: Some(_), .. }), IpProtocol::Icmpv6) =
        (&repr, ip.next_header)
    else {
        return Err(smoltcp::wire::Error);
    };
    let mut written = vec![super::flow::DIRT; 14 + ip.buffer_len() + repr.buffer_len()];
    ethernet.emit(&mut EthernetFrame::new_unchecked(&mut written));
    ip.emit(&mut Ipv6Packet::new_unchecked(&mut written[14..]));
    let mut message = Icmpv6Packet::new_unchecked(&mut written[54..]);
    repr.emit(&ip.src_addr, &ip.dst_addr, &mut message, &checked);
    Ok(written)
}

/// Checks what a datagram lies in, and writes its UDP header anew: ports, length, checksum.
fn datagram(frame: &[u8]) -> Result<Result<(), String>, smoltcp::wire::Error> {
    let checked = ChecksumCapabilities::default();
    let (source, destination, udp): (IpAddress, IpAddress, &[u8]) = if frame[12] == 8 {
        let packet = Ipv4Packet::new_checked(&frame[14..])?;
        if !packet.verify_checksum() || usize::from(packet.total_len()) != frame.len() - 14 {
            return Ok(Err("the IPv4 header is wrong".to_owned()));
        }
        (packet.src_addr().into(), packet.dst_addr().into(), &frame[34..])
    } else {
        let packet = Ipv6Packet::new_checked(&frame[14..])?;
        (packet.src_addr().into(), packet.dst_addr().into(), &frame[54..])
    };
    let packet = UdpPacket::new_checked(udp)?;
    let repr = UdpRepr::parse(&packet, &source, &destination, &checked)?;
    let mut written = vec![super::flow::DIRT; udp.len()];
    let write = |payload: &mut [u8]| payload.copy_from_slice(packet.payload());
    let mut target = UdpPacket::new_unchecked(&mut written);
    repr.emit(&mut target, &source, &destination, packet.payload().len(), write, &checked);
    // Over IPv4 there may be none.
    if packet.checksum() == 0 {
        written[6..8].fill(0);
    }
    Ok(if written == udp { Ok(()) } else { Err(format!("smoltcp writes {written:02x?}, we {udp:02x?}")) })
}
