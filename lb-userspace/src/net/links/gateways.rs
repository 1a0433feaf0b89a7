//! The next hops of default routes (`RTM_GETROUTE`). A change of routes is no signal by itself: nodes of a cluster have
//! one for each pod, which come and go.

use std::net::IpAddr;

use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteNextHop, RouteVia};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};

use super::super::netlink::Netlink;

/// Interfaces with the gateways there. Where routes can't be listed there are none: nothing but an order hangs on them.
pub(super) fn gateways(netlink: &mut Netlink) -> Vec<(u32, IpAddr)> {
    let mut found = Vec::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut request = RouteMessage::default();
        request.header.address_family = family;
        match netlink.dump(&RouteNetlinkMessage::GetRoute(request)) {
            Ok(routes) => found.extend(routes.iter().flat_map(of_message)),
            Err(error) => tracing::debug!(%error, ?family, "can't list the routes"),
        }
    }
    found
}

fn of_message(message: &RouteNetlinkMessage) -> Vec<(u32, IpAddr)> {
    let RouteNetlinkMessage::NewRoute(route) = message else { return Vec::new() };
    if route.header.destination_prefix_length > 0 {
        return Vec::new();
    }
    let (mut found, mut link) = (Vec::new(), None);
    for attribute in &route.attributes {
        if let RouteAttribute::Oif(index) = attribute {
            link = Some(*index);
        }
        if let RouteAttribute::MultiPath(hops) = attribute {
            let of_hop = |hop: &RouteNextHop| Some((hop.interface_index, next_hop(&hop.attributes)?));
            found.extend(hops.iter().filter_map(of_hop));
        }
    }
    found.extend(link.zip(next_hop(&route.attributes)));
    found
}

fn next_hop(attributes: &[RouteAttribute]) -> Option<IpAddr> {
    attributes.iter().find_map(|attribute| {
        if let RouteAttribute::Gateway(RouteAddress::Inet(ip)) | RouteAttribute::Via(RouteVia::Inet(ip)) =
            attribute
        {
            Some((*ip).into())
        } else if let RouteAttribute::Gateway(RouteAddress::Inet6(ip))
        | RouteAttribute::Via(RouteVia::Inet6(ip)) = attribute
        {
            Some((*ip).into())
        } else {
            None
        }
    })
}

#[cfg(test)]
mod tests {
    use rtnetlink::packet_route::route::RouteHeader;

    use super::*;

    fn route(prefix: u8, attributes: Vec<RouteAttribute>) -> Vec<(u32, IpAddr)> {
        let mut message = RouteMessage::default();
        message.header = RouteHeader { destination_prefix_length: prefix, ..RouteHeader::default() };
        message.attributes = attributes;
        of_message(&RouteNetlinkMessage::NewRoute(message))
    }

    #[test]
    fn default_routes_have_gateways_by_link() {
        for ip in ["192.0.2.1", "fe80::1"] {
            let ip: IpAddr = ip.parse().unwrap();
            let hop = || {
                RouteAttribute::Gateway(match ip {
                    IpAddr::V4(ip) => RouteAddress::Inet(ip),
                    IpAddr::V6(ip) => RouteAddress::Inet6(ip),
                })
            };
            assert_eq!(route(0, vec![hop(), RouteAttribute::Oif(3)]), [(3, ip)]);
            assert_eq!(route(24, vec![hop(), RouteAttribute::Oif(3)]), [], "no default route");
            assert_eq!(route(0, vec![RouteAttribute::Oif(3)]), [], "on-link");
            let hops = [3, 4].map(|index| {
                let mut next = RouteNextHop::default();
                (next.interface_index, next.attributes) = (index, vec![hop()]);
                next
            });
            assert_eq!(route(0, vec![RouteAttribute::MultiPath(hops.to_vec())]), [(3, ip), (4, ip)]);
        }
        // IPv4 by an IPv6 router (RFC 5549).
        let via = RouteAttribute::Via(RouteVia::Inet6("fe80::1".parse().unwrap()));
        assert_eq!(route(0, vec![RouteAttribute::Oif(3), via]), [(3, "fe80::1".parse().unwrap())]);
    }
}
