//! Solicited-node multicast groups that outlive this process.
//!
//! A neighbour solicitation for an address goes to the group made of its last 24 bits (RFC 4291 §2.7.1). The node's NIC
//! must let the group through and a snooping switch must have seen an MLD report for it (RFC 4861 §7.2.1, RFC 3810),
//! as long as the data plane answers: also while no agent runs.
//!
//! **How a join survives.** A *proxy neighbour entry* makes the kernel join the solicited-node group of its address on the
//! interface (`pndisc_constructor` in net/ipv6/ndisc.c). The entry here is for the group address itself, whose solicited-node
//! group is again itself:
//!
//! ```text
//! ip -6 neigh add proxy ff02::1:ff00:64 dev eth0 protocol 108
//! ```
//!
//! The kernel then programs the NIC, sends the report, answers queries, and leaves when the entry is deleted.
//! It never acts as a proxy for it: a solicitation for a multicast target is dropped as invalid before the proxy
//! table is looked at (`ndisc_recv_ns`), and link-local multicast is not forwarded, whatever `proxy_ndp` says.
//! Unlike an address with autojoin (`ip addr add … autojoin`), an entry
//! - does not count against `net.core.optmem_max`, which allows 2,340 joins with its default of 128 KiB and some 360 with the 20 KiB of
//!   older kernels, for all links together;
//! - is no address: none to choose as the source of an MLD report, none for a network manager to flush, no local route;
//! - leaves nothing behind when the link goes down, where autojoin leaves a membership that can be neither ended nor taken over.
//!
//! **When entries go.** The kernel deletes them when the link is set down administratively or IPv6 is disabled on it,
//! not on a loss of carrier or a change of MAC. [`Groups::apply`] reads back what is there; call it after each link change.
//!
//! **Above a limit** ([`Limits`]) or when the kernel refuses: the group is put into the NIC filter alone (`SIOCADDMULTI`) and the link receives
//! all multicast. That is enough for the NIC, not for a snooping switch, so it is reported and never silent.
//!
//! Invariant: after `apply` returns without errors, the entries of protocol 108 within `ff02::1:ff00:0/104` are exactly the wanted
//! groups. Only `CAP_NET_ADMIN` is needed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv6Addr;
use std::sync::{Arc, Mutex, PoisonError};

use lb_common::addr;

use super::errno::Errno;
use super::netlink::NetlinkError;

mod apply;
mod filter;
mod kernel;
mod plan;

use kernel::Kernel;

/// The routing protocol number that marks our entries, shown as `proto 108`; assigned to nobody (linux/rtnetlink.h).
pub const PROTOCOL: u8 = 108;

/// The solicited-node multicast address of `ip` (RFC 4291 §2.7.1): `ff02::1:ff00:0/104` and its last 24 bits.
pub fn solicited_node(ip: Ipv6Addr) -> Ipv6Addr {
    addr::solicited_node(&ip.octets()).into()
}

/// The Ethernet address a multicast group is sent to (RFC 2464 §7): 33:33 and its last 32 bits.
pub fn multicast_mac(group: Ipv6Addr) -> [u8; 6] {
    addr::multicast_mac(&group.octets())
}

/// Whether `group` is a solicited-node group at all.
fn is_solicited_node(group: Ipv6Addr) -> bool {
    solicited_node(group) == group
}

/// The groups that must be joined, and how many addresses need each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted(BTreeMap<(u32, Ipv6Addr), u32>);

impl Wanted {
    /// What one of the two wants.
    pub fn either(one: &Self, other: &Self) -> Self {
        let mut groups = one.0.clone();
        for (group, addresses) in &other.0 {
            let known = groups.entry(*group).or_insert(0);
            *known = (*known).max(*addresses);
        }
        Self(groups)
    }

    /// The groups by interface index and group address, with the number of distinct addresses that use them.
    pub fn groups(&self) -> &BTreeMap<(u32, Ipv6Addr), u32> {
        &self.0
    }
}

impl FromIterator<(u32, Ipv6Addr)> for Wanted {
    /// From pairs of interface index and announced address (not group); a pair given twice counts once.
    fn from_iter<I: IntoIterator<Item = (u32, Ipv6Addr)>>(addresses: I) -> Self {
        let mut groups = BTreeMap::new();
        for (index, ip) in addresses.into_iter().collect::<BTreeSet<_>>() {
            *groups.entry((index, solicited_node(ip))).or_insert(0) += 1;
        }
        Self(groups)
    }
}

/// How much is asked of the kernel per link before the fallback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Groups joined on one link. The kernel walks a list of all of them for each join and for each frame sent to one.
    pub joined_per_link: usize,
    /// Groups put into the NIC filter of one link, beyond those joined.
    pub filtered_per_link: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { joined_per_link: 16_384, filtered_per_link: 512 }
    }
}

/// How frames for a group reach this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Membership {
    /// The kernel is a member: NIC filter, reports, answers to queries.
    Joined,
    /// Only the NIC lets the group through; a snooping switch may not.
    FilterOnly,
    /// Frames for the group do not reach this node; the link's errors say why.
    Missing,
}

/// One wanted group after [`Groups::apply`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupStatus {
    /// Announced addresses that share the group on this link.
    pub users: u32,
    /// What was reached.
    pub membership: Membership,
}

/// What is less than wanted on one link.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// There is no such interface (any more).
    #[error("there is no interface with index {index}")]
    NoSuchLink {
        /// The index asked for.
        index: u32,
    },
    /// IPv6 is switched off on the interface.
    #[error(
        "IPv6 is disabled on {name}: neighbour solicitations cannot be received; \
         set net.ipv6.conf.{name}.disable_ipv6=0, or announce no IPv6 addresses there"
    )]
    Ipv6Disabled {
        /// Interface name.
        name: String,
    },
    /// The interface has no IPv6 at all, as with an MTU below 1280.
    #[error("{name} has no IPv6: its MTU must be at least 1280 and the kernel must have IPv6 enabled")]
    NoIpv6 {
        /// Interface name.
        name: String,
    },
    /// More groups than [`Limits::joined_per_link`].
    #[error(
        "{over} solicited-node groups on {name} are above the limit of {limit}: \
         they are received by the NIC but not reported to switches; turn off MLD snooping there or announce fewer IPv6 addresses"
    )]
    AboveLimit {
        /// Interface name.
        name: String,
        /// Groups beyond the limit.
        over: usize,
        /// The limit.
        limit: usize,
    },
    /// The process may not change memberships.
    #[error("not permitted to change multicast groups on {name}: CAP_NET_ADMIN is missing")]
    NotPermitted {
        /// Interface name.
        name: String,
    },
    /// The kernel refused to join.
    #[error("the kernel refused to join {count} solicited-node groups on {name}, {first} first")]
    JoinRefused {
        /// Interface name.
        name: String,
        /// How many were refused.
        count: usize,
        /// The lowest of them.
        first: Ipv6Addr,
        /// The reason given for it.
        #[source]
        errno: Errno,
    },
    /// The kernel refused to leave.
    #[error("the kernel refused to leave {count} solicited-node groups on interface {index}, {first} first")]
    LeaveRefused {
        /// Interface index.
        index: u32,
        /// How many were refused.
        count: usize,
        /// The lowest of them.
        first: Ipv6Addr,
        /// The reason given for it.
        #[source]
        errno: Errno,
    },
    /// The NIC filter could not be changed.
    #[error("cannot change the multicast filter of {name}")]
    FilterRefused {
        /// Interface name.
        name: String,
        /// What the ioctl said.
        #[source]
        errno: Errno,
    },
    /// Reception of all multicast could not be switched.
    #[error("cannot change reception of all multicast on {name}")]
    AllmultiRefused {
        /// Interface name.
        name: String,
        /// What the kernel said.
        #[source]
        errno: Errno,
    },
}

/// What [`Groups::apply`] reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupReport {
    /// Every wanted group, by interface index and group address.
    pub groups: BTreeMap<(u32, Ipv6Addr), GroupStatus>,
    /// Links that receive all multicast because of us.
    pub allmulti: BTreeSet<u32>,
    /// What went wrong, by interface index.
    pub errors: BTreeMap<u32, Vec<LinkError>>,
    /// Groups joined by this call.
    pub joined_now: usize,
    /// Groups left by this call.
    pub left_now: usize,
}

impl GroupReport {
    /// How many wanted groups have this membership.
    pub fn count(&self, membership: Membership) -> usize {
        self.groups.values().filter(|status| status.membership == membership).count()
    }

    fn error(&mut self, index: u32, error: LinkError) {
        self.errors.entry(index).or_default().push(error);
    }
}

/// Why nothing could be done on any link.
#[derive(Debug, thiserror::Error)]
pub enum GroupsError {
    /// The kernel could not be asked.
    #[error("cannot manage multicast groups")]
    Netlink(#[from] NetlinkError),
    /// No socket for the NIC filter.
    #[error("cannot open a socket for the multicast filter")]
    Socket(#[source] std::io::Error),
}

/// Keeps the kernel's memberships equal to what is wanted. Clones share one set of sockets.
#[derive(Clone)]
pub struct Groups {
    kernel: Arc<Mutex<Kernel>>,
    limits: Limits,
}

impl Groups {
    /// Opens its sockets in the network namespace of this thread.
    pub fn open(limits: Limits) -> Result<Self, GroupsError> {
        Ok(Self { kernel: Arc::new(Mutex::new(Kernel::open()?)), limits })
    }

    /// Reads what is joined, leaves what is no longer wanted, joins what is missing.
    ///
    /// The work runs on a blocking thread, so the caller's other tasks go on; thousands of joins take tens of milliseconds or,
    /// where a driver writes its filter anew for each, more. When the returned future is dropped the work still ends.
    pub async fn apply(&self, wanted: Arc<Wanted>) -> Result<GroupReport, GroupsError> {
        let groups = self.clone();
        tokio::task::spawn_blocking(move || groups.apply_blocking(&wanted))
            .await
            .map_err(NetlinkError::Task)?
    }

    /// The same as [`Groups::apply`] on this thread.
    pub fn apply_blocking(&self, wanted: &Wanted) -> Result<GroupReport, GroupsError> {
        let mut kernel = self.kernel.lock().unwrap_or_else(PoisonError::into_inner);
        apply::apply(&mut kernel, self.limits, wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> Ipv6Addr {
        text.parse().unwrap()
    }

    #[test]
    fn the_example_of_rfc_4291() {
        assert_eq!(solicited_node(ip("4037::01:800:200e:8c6c")), ip("ff02::1:ff0e:8c6c"));
        assert_eq!(multicast_mac(ip("ff02::1:ff0e:8c6c")), [0x33, 0x33, 0xff, 0x0e, 0x8c, 0x6c]);
    }

    #[test]
    fn a_group_is_its_own_solicited_node_group() {
        assert_eq!(solicited_node(ip("ff02::1:ff00:64")), ip("ff02::1:ff00:64"));
        assert!(is_solicited_node(ip("ff02::1:ff00:64")));
        assert!(!is_solicited_node(ip("ff02::1")));
        assert!(!is_solicited_node(ip("2001:db8::64")));
        assert!(!is_solicited_node(ip("ff05::1:ff00:64")));
    }

    #[test]
    fn counts_the_users_of_a_group() {
        let wanted: Wanted = [
            (2, ip("2001:db8::1:64")),
            (2, ip("2001:db8:5::64")),
            (2, ip("2001:db8:5::64")),
            (2, ip("2001:db8::65")),
            (3, ip("2001:db8::64")),
        ]
        .into_iter()
        .collect();
        let expected = BTreeMap::from([
            ((2, ip("ff02::1:ff01:64")), 1),
            ((2, ip("ff02::1:ff00:64")), 1),
            ((2, ip("ff02::1:ff00:65")), 1),
            ((3, ip("ff02::1:ff00:64")), 1),
        ]);
        assert_eq!(wanted.groups(), &expected);
        let shared: Wanted = [(2, ip("2001:db8::64")), (2, ip("fd00::64"))].into_iter().collect();
        assert_eq!(shared.groups(), &BTreeMap::from([((2, ip("ff02::1:ff00:64")), 2)]));
    }
}
