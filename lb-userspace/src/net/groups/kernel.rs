//! What the kernel is asked for groups: link facts, proxy neighbour entries, reception of all multicast.

use std::collections::BTreeSet;
use std::net::Ipv6Addr;

use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use rtnetlink::packet_route::link::{
    AfSpecInet6, AfSpecUnspec, LinkAttribute, LinkExtentMask, LinkFlags, LinkLayerType, LinkMessage,
};
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use rtnetlink::packet_route::route::RouteProtocol;
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use socket2::{Domain, Socket, Type};

use super::plan::Group;
use super::{GroupsError, PROTOCOL, is_solicited_node};
use crate::net::errno::Errno;
use crate::net::netlink::{Change, Netlink, NetlinkError};

/// The sockets, and what this process did that the kernel does not show as ours.
pub(super) struct Kernel {
    pub(super) netlink: Netlink,
    /// Any socket will do for `SIOCADDMULTI`; this one needs no address family beyond Unix.
    pub(super) ioctl: Socket,
    /// Links whose NIC filter or allmulti flag is, or may be, ours.
    pub(super) fallback: Fallback,
}

/// What is known about fallbacks in force.
pub(super) enum Fallback {
    /// Nothing read yet: an earlier agent may have left some.
    Unknown,
    /// Those this process put in force.
    Known(BTreeSet<u32>),
}

/// What matters of one link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LinkFacts {
    pub(super) name: String,
    pub(super) ethernet: bool,
    pub(super) ipv6: Ipv6State,
    /// The flag that users set, not the count that includes other reasons.
    pub(super) allmulti: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ipv6State {
    Enabled,
    Disabled,
    Absent,
}

impl Kernel {
    pub(super) fn open() -> Result<Self, GroupsError> {
        let ioctl = Socket::new(Domain::UNIX, Type::DGRAM, None).map_err(GroupsError::Socket)?;
        Ok(Self { netlink: Netlink::open()?, ioctl, fallback: Fallback::Unknown })
    }

    /// Facts about one link, or `None` when there is no such link.
    pub(super) fn link(&mut self, index: u32) -> Result<Option<LinkFacts>, NetlinkError> {
        let mut request = LinkMessage::default();
        request.header.index = index;
        request.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
        match self.netlink.get(&RouteNetlinkMessage::GetLink(request))? {
            Ok(RouteNetlinkMessage::NewLink(message)) => Ok(Some(facts(&message))),
            Ok(_) | Err(Errno(libc::ENODEV)) => Ok(None),
            Err(errno) => Err(NetlinkError::Refused(errno)),
        }
    }

    /// Our entries, on all links.
    pub(super) fn joined(&mut self) -> Result<BTreeSet<Group>, NetlinkError> {
        let mut request = NeighbourMessage::default();
        request.header.family = AddressFamily::Inet6;
        request.header.flags = NeighbourFlags::Proxy;
        let entries = self.netlink.dump(&RouteNetlinkMessage::GetNeighbour(request))?;
        Ok(entries.iter().filter_map(our_group).collect())
    }

    pub(super) fn join(&mut self, groups: &BTreeSet<Group>) -> Result<Vec<Result<(), Errno>>, NetlinkError> {
        let change = |group: &Group| -> Change {
            (RouteNetlinkMessage::NewNeighbour(entry(*group)), NLM_F_CREATE | NLM_F_REPLACE)
        };
        self.netlink.apply(&groups.iter().map(change).collect::<Vec<_>>())
    }

    pub(super) fn leave(&mut self, groups: &BTreeSet<Group>) -> Result<Vec<Result<(), Errno>>, NetlinkError> {
        let change = |group: &Group| -> Change { (RouteNetlinkMessage::DelNeighbour(entry(*group)), 0) };
        self.netlink.apply(&groups.iter().map(change).collect::<Vec<_>>())
    }

    /// Sets or clears the flag `allmulticast` of `ip link`.
    pub(super) fn set_allmulti(&mut self, index: u32, on: bool) -> Result<Result<(), Errno>, NetlinkError> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.header.change_mask = LinkFlags::Allmulti;
        message.header.flags = if on { LinkFlags::Allmulti } else { LinkFlags::empty() };
        let results = self.netlink.apply(&[(RouteNetlinkMessage::SetLink(message), 0)])?;
        results.into_iter().next().ok_or(NetlinkError::Unanswered { missing: 1 })
    }
}

/// The proxy neighbour entry that stands for a membership.
fn entry((index, group): Group) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Inet6;
    message.header.ifindex = index;
    message.header.flags = NeighbourFlags::Proxy;
    // Permanent entries survive a loss of carrier on every kernel.
    message.header.state = NeighbourState::Permanent;
    message.attributes.push(NeighbourAttribute::Destination(NeighbourAddress::Inet6(group)));
    message.attributes.push(NeighbourAttribute::Protocol(RouteProtocol::from(PROTOCOL)));
    message
}

/// The group of an entry that carries our protocol number.
fn our_group(object: &RouteNetlinkMessage) -> Option<Group> {
    let RouteNetlinkMessage::NewNeighbour(message) = object else { return None };
    if !message.header.flags.contains(NeighbourFlags::Proxy) {
        return None;
    }
    let mut group: Option<Ipv6Addr> = None;
    let mut ours = false;
    for attribute in &message.attributes {
        if let NeighbourAttribute::Destination(NeighbourAddress::Inet6(ip)) = attribute {
            group = Some(*ip);
        } else if let NeighbourAttribute::Protocol(protocol) = attribute {
            ours = u8::from(*protocol) == PROTOCOL;
        }
    }
    group.filter(|group| ours && is_solicited_node(*group)).map(|group| (message.header.ifindex, group))
}

fn facts(message: &LinkMessage) -> LinkFacts {
    let mut facts = LinkFacts {
        name: String::new(),
        ethernet: message.header.link_layer_type == LinkLayerType::Ether,
        ipv6: Ipv6State::Absent,
        allmulti: message.header.flags.contains(LinkFlags::Allmulti),
    };
    for attribute in &message.attributes {
        if let LinkAttribute::IfName(name) = attribute {
            facts.name.clone_from(name);
        } else if let LinkAttribute::AfSpecUnspec(families) = attribute {
            facts.ipv6 = ipv6_state(families);
        }
    }
    facts
}

fn ipv6_state(families: &[AfSpecUnspec]) -> Ipv6State {
    for family in families {
        let AfSpecUnspec::Inet6(attributes) = family else { continue };
        for attribute in attributes {
            if let AfSpecInet6::DevConf(conf) = attribute {
                return if conf.disable_ipv6 == 0 { Ipv6State::Enabled } else { Ipv6State::Disabled };
            }
        }
    }
    Ipv6State::Absent
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 0x64);

    #[test]
    fn knows_its_own_entries() {
        let ours = entry((7, GROUP));
        assert_eq!(our_group(&RouteNetlinkMessage::NewNeighbour(ours.clone())), Some((7, GROUP)));

        let mut foreign = ours.clone();
        foreign.attributes.pop();
        foreign.attributes.push(NeighbourAttribute::Protocol(RouteProtocol::Static));
        assert_eq!(our_group(&RouteNetlinkMessage::NewNeighbour(foreign)), None);

        let mut no_proxy = ours;
        no_proxy.header.flags = NeighbourFlags::empty();
        assert_eq!(our_group(&RouteNetlinkMessage::NewNeighbour(no_proxy)), None);

        let unicast = entry((7, "2001:db8::64".parse().unwrap()));
        assert_eq!(our_group(&RouteNetlinkMessage::NewNeighbour(unicast)), None);
    }

    #[test]
    fn a_link_without_ipv6_attributes_has_no_ipv6() {
        assert_eq!(facts(&LinkMessage::default()).ipv6, Ipv6State::Absent);
        assert_eq!(ipv6_state(&[AfSpecUnspec::Inet6(vec![])]), Ipv6State::Absent);
    }
}
