//! The interfaces of this network namespace and their addresses, read in full, and a signal that something changed.
//!
//! Notifications are only a signal: their content is thrown away, and after one the caller reads everything again.
//! So a lost notification (the kernel reports `ENOBUFS`) is a signal like any other, memory is one fixed buffer
//! however fast links flap, and a message of the bridge module about a port that leaves, which looks like the
//! deletion of the interface (`RTM_DELLINK` with `AF_BRIDGE`), cannot be misread.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CStr;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use ipnet::IpNet;
use rtnetlink::MulticastGroup;
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::address::AddressMessage;
use rtnetlink::packet_route::link::{LinkAttribute, LinkExtentMask, LinkMessage};
use rtnetlink::sys::{Socket, protocols::NETLINK_ROUTE};
use tokio::io::unix::AsyncFd;

use super::netlink::{Netlink, NetlinkError};

mod gateways;
mod parse;

use gateways::gateways;

/// Datagrams thrown away per wake-up before other tasks get a turn; what is left wakes the next call at once.
const DISCARD_AT_ONCE: usize = 1024;

/// One network interface as rtnetlink describes it (`RTM_GETLINK`, `RTM_GETADDR`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Interface index; the same that a BPF program sees. Unique within the namespace.
    pub index: u32,
    /// Interface name. It can change while the index stays.
    pub name: String,
    /// Link-layer address, for interfaces that have one of six bytes.
    pub mac: Option<[u8; 6]>,
    /// Whether frames have an Ethernet header (`ARPHRD_ETHER`; the loopback interface is not).
    pub ethernet: bool,
    /// Largest payload of a frame in bytes.
    pub mtu: u32,
    /// What the interface is and can do now.
    pub state: LinkState,
    /// Kind of a virtual interface as `ip -d link` names it (veth, bridge, vlan, bond, macvlan …); `None` for hardware.
    pub kind: Option<String>,
    /// Index of the bridge or bond this interface is a member of.
    pub controller: Option<u32>,
    /// Index of the interface below (VLAN, macvlan) or of the veth peer, when it is in the same namespace.
    pub parent: Option<u32>,
    /// Set for an 802.1Q or 802.1ad interface.
    pub vlan: Option<Vlan>,
    /// Addresses with their prefix lengths. Multicast addresses (autojoin) are left out: they are no node addresses.
    pub addresses: BTreeSet<IpNet>,
    /// XDP programs attached, by mode.
    pub xdp: XdpPrograms,
    /// Next hops of default routes over this interface.
    pub gateways: BTreeSet<IpAddr>,
}

/// Interface flags (netdevice(7), `IFF_*`) and counts, as booleans.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkState {
    /// Administratively up (`IFF_UP`).
    pub up: bool,
    /// There is a carrier (`IFF_LOWER_UP`).
    pub lower_up: bool,
    /// Broadcast works (`IFF_BROADCAST`).
    pub broadcast: bool,
    /// No ARP and no neighbour discovery on this interface (`IFF_NOARP`).
    pub noarp: bool,
    /// The loopback interface.
    pub loopback: bool,
    /// How often the carrier came or went since the interface exists (`IFLA_CARRIER_CHANGES`).
    pub carrier_changes: u32,
    /// Receives frames for any unicast address, for whatever reason (`IFLA_PROMISCUITY` above zero).
    pub promisc: bool,
    /// Receives frames for any multicast address, for whatever reason (`IFLA_ALLMULTI` above zero, or the flag on kernels before 6.1).
    pub allmulti: bool,
}

/// Where a VLAN interface takes its frames from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vlan {
    /// Index of the interface below.
    pub parent: u32,
    /// VLAN identifier, 1 to 4094.
    pub id: u16,
}

/// Program ids of the XDP programs of an interface (`IFLA_XDP`); several modes can be in use at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct XdpPrograms {
    /// In the driver (native).
    pub native: Option<u32>,
    /// In the stack (generic, "skb").
    pub generic: Option<u32>,
    /// In the hardware.
    pub offloaded: Option<u32>,
}

/// All links of this thread's network namespace, by index, with their addresses; for those who look once.
pub fn list() -> Result<BTreeMap<u32, Link>, NetlinkError> {
    read(&mut Netlink::open()?)
}

/// The name of the interface with this index, if it is there.
pub fn name(index: u32) -> Option<String> {
    let mut name = [0; libc::IF_NAMESIZE];
    // SAFETY: the buffer has the length that the function writes at most, with the zero at the end.
    let found = unsafe { libc::if_indextoname(index, name.as_mut_ptr()) };
    if found.is_null() {
        return None;
    }
    let bytes = name.map(|char: libc::c_char| u8::from_ne_bytes(char.to_ne_bytes()));
    CStr::from_bytes_until_nul(&bytes).ok()?.to_str().ok().map(str::to_owned)
}

/// Reads the links and tells when to read them again.
pub struct Links {
    requests: Arc<Mutex<Netlink>>,
    changes: AsyncFd<Socket>,
}

impl Links {
    /// Opens its sockets in the network namespace of this thread; needs a tokio runtime with I/O.
    ///
    /// From here on every change is noticed: a caller that opens, takes a snapshot and then waits misses nothing.
    pub fn open() -> Result<Self, NetlinkError> {
        let requests = Arc::new(Mutex::new(Netlink::open()?));
        let socket = subscribe().map_err(NetlinkError::Open)?;
        // SAFETY: the socket owns its descriptor and is owned by the AsyncFd, so the descriptor stays open as long as it is registered.
        let changes =
            unsafe { AsyncFd::register(socket) }.map_err(|error| NetlinkError::Open(error.into()))?;
        Ok(Self { requests, changes })
    }

    /// All links of the namespace by index, with their addresses.
    pub async fn snapshot(&self) -> Result<BTreeMap<u32, Link>, NetlinkError> {
        let requests = Arc::clone(&self.requests);
        tokio::task::spawn_blocking(move || {
            // A panic elsewhere cannot leave the socket in a state that matters: leftovers are drained.
            read(&mut requests.lock().unwrap_or_else(PoisonError::into_inner))
        })
        .await?
    }

    /// Waits until a link or an address may have changed since the last call.
    ///
    /// Changes that came in the meantime count once. Cancelling it loses nothing.
    pub async fn changed(&self) -> Result<(), NetlinkError> {
        loop {
            let mut ready = self.changes.readable().await.map_err(NetlinkError::Receive)?;
            match ready.try_io(|socket| discard(socket.get_ref())) {
                Ok(result) => return result.map_err(NetlinkError::Receive),
                // Nothing to read after all; wait again.
                Err(_would_block) => {}
            }
        }
    }
}

fn subscribe() -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.set_non_blocking(true)?;
    for group in [MulticastGroup::Link, MulticastGroup::Ipv4Ifaddr, MulticastGroup::Ipv6Ifaddr] {
        socket.add_membership(group as u32)?;
    }
    Ok(socket)
}

/// Reads what is queued and forgets it; `WouldBlock` only when there was nothing at all.
fn discard(socket: &Socket) -> io::Result<()> {
    let mut start_of_message = [0u8; 16];
    for read in 0..DISCARD_AT_ONCE {
        match socket.recv(&mut start_of_message.as_mut_slice(), libc::MSG_DONTWAIT) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && read > 0 => break,
            // Notifications were lost: the clearest sign that something changed.
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn read(netlink: &mut Netlink) -> Result<BTreeMap<u32, Link>, NetlinkError> {
    let mut request = LinkMessage::default();
    request.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    let mut links = BTreeMap::new();
    for object in netlink.dump(&RouteNetlinkMessage::GetLink(request))? {
        if let RouteNetlinkMessage::NewLink(message) = object
            && let Some(link) = parse::link(&message)
        {
            links.insert(link.index, link);
        }
    }
    for object in netlink.dump(&RouteNetlinkMessage::GetAddress(AddressMessage::default()))? {
        if let RouteNetlinkMessage::NewAddress(message) = object
            && let Some(address) = parse::address(&message)
            && let Some(link) = links.get_mut(&message.header.index)
        {
            link.addresses.insert(address);
        }
    }
    for (index, gateway) in gateways(netlink) {
        if let Some(link) = links.get_mut(&index) {
            link.gateways.insert(gateway);
        }
    }
    Ok(links)
}
