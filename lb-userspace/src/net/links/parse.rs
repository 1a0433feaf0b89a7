//! From netlink messages to [`Link`] values; pure.

use std::net::IpAddr;

use ipnet::IpNet;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage};
use rtnetlink::packet_route::link::{
    InfoData, InfoVlan, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage, LinkXdp,
};

use super::{Link, LinkState, Vlan, XdpPrograms};

/// The link a message describes; `None` for messages of other families (`AF_BRIDGE`) about the same device.
pub(super) fn link(message: &LinkMessage) -> Option<Link> {
    if message.header.interface_family != AddressFamily::Unspec {
        return None;
    }
    let mut link = Link {
        index: message.header.index,
        ethernet: message.header.link_layer_type == LinkLayerType::Ether,
        state: state(message.header.flags),
        ..Link::default()
    };
    let mut other_namespace = false;
    let mut vlan_id = None;
    for attribute in &message.attributes {
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "the enum of attributes is open; only these matter here"
        )]
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Address(bytes) => link.mac = bytes.as_slice().try_into().ok(),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::Controller(index) => link.controller = Some(*index),
            LinkAttribute::Link(index) => link.parent = Some(*index),
            LinkAttribute::LinkNetNsId(_) => other_namespace = true,
            LinkAttribute::Promiscuity(count) => link.state.promisc |= *count > 0,
            LinkAttribute::CarrierChanges(count) => link.state.carrier_changes = *count,
            LinkAttribute::AllMulticast(count) => link.state.allmulti |= *count > 0,
            LinkAttribute::LinkInfo(infos) => (link.kind, vlan_id) = info(infos),
            LinkAttribute::Xdp(attributes) => link.xdp = xdp(attributes),
            _ => {}
        }
    }
    if other_namespace {
        // The index counts in the other namespace and would name a stranger here.
        link.parent = None;
    }
    link.vlan = link.parent.zip(vlan_id).map(|(parent, id)| Vlan { parent, id });
    Some(link)
}

/// The address a message describes, unless it is a multicast address.
pub(super) fn address(message: &AddressMessage) -> Option<IpNet> {
    let mut local = None;
    let mut other = None;
    for attribute in &message.attributes {
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "the enum of attributes is open; only these matter here"
        )]
        match attribute {
            // On a point-to-point link IFA_ADDRESS is the peer; IFA_LOCAL, when present, is always ours.
            AddressAttribute::Local(ip) => local = Some(*ip),
            AddressAttribute::Address(ip) => other = Some(*ip),
            _ => {}
        }
    }
    let ip: IpAddr = local.or(other)?;
    if ip.is_multicast() {
        return None;
    }
    IpNet::new(ip, message.header.prefix_len).ok()
}

fn state(flags: LinkFlags) -> LinkState {
    LinkState {
        up: flags.contains(LinkFlags::Up),
        lower_up: flags.contains(LinkFlags::LowerUp),
        broadcast: flags.contains(LinkFlags::Broadcast),
        noarp: flags.contains(LinkFlags::Noarp),
        loopback: flags.contains(LinkFlags::Loopback),
        promisc: flags.contains(LinkFlags::Promisc),
        allmulti: flags.contains(LinkFlags::Allmulti),
        carrier_changes: 0,
    }
}

fn info(infos: &[LinkInfo]) -> (Option<String>, Option<u16>) {
    let mut kind = None;
    let mut vlan_id = None;
    for info in infos {
        if let LinkInfo::Kind(name) = info {
            kind = Some(name.to_string());
        } else if let LinkInfo::Data(InfoData::Vlan(attributes)) = info {
            vlan_id = attributes
                .iter()
                .find_map(|attribute| if let InfoVlan::Id(id) = attribute { Some(*id) } else { None });
        }
    }
    (kind, vlan_id)
}

fn xdp(attributes: &[LinkXdp]) -> XdpPrograms {
    let mut programs = XdpPrograms::default();
    for attribute in attributes {
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "the mode is in the name of these three attributes"
        )]
        match attribute {
            LinkXdp::DrvProgId(id) => programs.native = Some(*id),
            LinkXdp::SkbProgId(id) => programs.generic = Some(*id),
            LinkXdp::HwProgId(id) => programs.offloaded = Some(*id),
            _ => {}
        }
    }
    programs
}

#[cfg(test)]
mod tests {
    use rtnetlink::packet_route::link::InfoKind;

    use super::*;

    fn message(attributes: Vec<LinkAttribute>) -> LinkMessage {
        let mut message = LinkMessage::default();
        message.header.index = 5;
        message.header.link_layer_type = LinkLayerType::Ether;
        message.header.flags = LinkFlags::Up | LinkFlags::LowerUp | LinkFlags::Broadcast;
        message.attributes = attributes;
        message
    }

    fn vlan_info() -> LinkAttribute {
        LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Vlan),
            LinkInfo::Data(InfoData::Vlan(vec![InfoVlan::Id(42)])),
        ])
    }

    #[test]
    fn reads_an_ethernet_link() {
        let read = link(&message(vec![
            LinkAttribute::IfName("eth0".into()),
            LinkAttribute::Address(vec![2, 0, 0, 0, 0, 1]),
            LinkAttribute::Mtu(1500),
            LinkAttribute::Controller(9),
            LinkAttribute::AllMulticast(2),
            LinkAttribute::Promiscuity(0),
            LinkAttribute::Xdp(vec![LinkXdp::ProgId(7), LinkXdp::SkbProgId(7)]),
        ]))
        .unwrap();
        assert_eq!((read.index, read.name.as_str(), read.mtu), (5, "eth0", 1500));
        assert_eq!(read.mac, Some([2, 0, 0, 0, 0, 1]));
        assert_eq!(read.controller, Some(9));
        assert!(read.ethernet && read.state.up && read.state.lower_up && read.state.broadcast);
        assert!(read.state.allmulti && !read.state.promisc && !read.state.noarp);
        assert_eq!(read.xdp, XdpPrograms { generic: Some(7), ..XdpPrograms::default() });
        assert_eq!((read.kind, read.vlan, read.parent), (None, None, None));
    }

    #[test]
    fn a_vlan_names_its_parent() {
        let read = link(&message(vec![LinkAttribute::Link(3), vlan_info()])).unwrap();
        assert_eq!(read.kind.as_deref(), Some("vlan"));
        assert_eq!(read.vlan, Some(Vlan { parent: 3, id: 42 }));
    }

    #[test]
    fn an_index_of_another_namespace_is_no_parent() {
        let read =
            link(&message(vec![LinkAttribute::Link(3), LinkAttribute::LinkNetNsId(0), vlan_info()])).unwrap();
        assert_eq!((read.parent, read.vlan), (None, None));
    }

    #[test]
    fn a_bridge_message_is_no_link() {
        let mut bridge = message(vec![]);
        bridge.header.interface_family = AddressFamily::Bridge;
        assert_eq!(link(&bridge), None);
    }

    #[test]
    fn a_long_link_layer_address_is_no_mac() {
        let read = link(&message(vec![LinkAttribute::Address(vec![0; 20])])).unwrap();
        assert_eq!(read.mac, None);
    }

    fn read_address(length: u8, attributes: Vec<AddressAttribute>) -> Option<IpNet> {
        let mut message = AddressMessage::default();
        message.header.prefix_len = length;
        message.attributes = attributes;
        address(&message)
    }

    #[test]
    fn addresses_of_both_families() {
        let v4 = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(
            read_address(24, vec![AddressAttribute::Address(v4("192.0.2.1"))]),
            Some("192.0.2.1/24".parse().unwrap())
        );
        assert_eq!(
            read_address(64, vec![AddressAttribute::Address(v4("2001:db8::1"))]),
            Some("2001:db8::1/64".parse().unwrap())
        );
        // Point-to-point: the peer comes as IFA_ADDRESS, in either order.
        assert_eq!(
            read_address(
                32,
                vec![AddressAttribute::Local(v4("192.0.2.1")), AddressAttribute::Address(v4("192.0.2.2"))]
            ),
            Some("192.0.2.1/32".parse().unwrap())
        );
    }

    #[test]
    fn multicast_and_nonsense_are_no_addresses() {
        let ip = |text: &str| AddressAttribute::Address(text.parse().unwrap());
        assert_eq!(read_address(128, vec![ip("ff02::1:ff00:64")]), None);
        assert_eq!(read_address(32, vec![ip("239.1.2.3")]), None);
        assert_eq!(read_address(33, vec![ip("192.0.2.1")]), None);
        assert_eq!(read_address(24, vec![]), None);
    }
}
