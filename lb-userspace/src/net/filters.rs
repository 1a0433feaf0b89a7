//! Classifiers of the classic tc hook (clsact) of an interface; programs on tcx are not among them.

use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::tc::{TcAttribute, TcHandle, TcMessage};

use super::errno::Errno;
use super::netlink::{Netlink, NetlinkError};

/// The kinds of the classifiers on received frames, for example `bpf` or `flower`, in their order. They come after tcx.
pub fn ingress(index: u32) -> Result<Vec<String>, NetlinkError> {
    let mut request = TcMessage::with_index(index.cast_signed());
    request.header.parent = TcHandle { minor: TcHandle::MIN_INGRESS, ..TcHandle::CLSACT };
    match Netlink::open()?.dump(&RouteNetlinkMessage::GetTrafficFilter(request)) {
        Ok(found) => Ok(found.iter().filter_map(kind).collect()),
        // No such qdisc.
        Err(NetlinkError::Refused(Errno(libc::EINVAL | libc::ENOENT))) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// A classifier is listed once per priority, without a handle, and once per filter in it.
fn kind(message: &RouteNetlinkMessage) -> Option<String> {
    let RouteNetlinkMessage::NewTrafficFilter(filter) = message else { return None };
    if filter.header.handle == TcHandle::UNSPEC {
        return None;
    }
    filter
        .attributes
        .iter()
        .find_map(|attribute| if let TcAttribute::Kind(kind) = attribute { Some(kind.clone()) } else { None })
}
