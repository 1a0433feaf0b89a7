//! The data plane in this process, without an agent, on the node's end of a cable.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use lb_core::ids::{LinkId, Mac, Vlans};
use lb_core::plan::{Entry, EntryState, Target};
use lb_userspace::dataplane::ebpf::{KernelDataplane, Pins, Settings, View};
use lb_userspace::dataplane::{Attachment, Dataplane, LinkFacts};

use crate::link::{Interface, Veth, mac};
use crate::namespace::Namespace;

/// A node and a client on one cable, and nothing attached.
#[derive(Debug)]
pub struct Rooms {
    /// The node's namespace.
    pub node: Namespace,
    /// The client's namespace.
    pub client: Namespace,
    /// Client end `v0`, node end `v1`.
    pub veth: Veth,
}

impl Rooms {
    /// Makes both.
    pub fn new() -> Result<Self> {
        let (node, client) = (Namespace::new("node")?, Namespace::new("client")?);
        let veth = Veth::new((&client, "v0", mac(1)), (&node, "v1", mac(0xaa)))?;
        Ok(Self { node, client, veth })
    }

    /// The node's link.
    pub fn link(&self) -> LinkId {
        LinkId(self.veth.b.index())
    }

    /// Opens the data plane on the node.
    pub fn open(&self, bpffs: &Path, settings: Settings) -> Result<KernelDataplane> {
        self.node.enter(|| Ok(KernelDataplane::open(bpffs, settings)?))
    }

    /// Attaches to these interfaces of the node, with facts as the agent would gather them.
    pub fn attach(
        &self,
        dataplane: &mut KernelDataplane,
        interfaces: &[&Interface],
    ) -> Result<BTreeMap<LinkId, Attachment>> {
        let mut links = BTreeMap::new();
        for interface in interfaces {
            links.insert(LinkId(interface.index()), facts(interface)?);
        }
        self.attach_with(dataplane, &links)
    }

    /// Attaches with other facts.
    pub fn attach_with(
        &self,
        dataplane: &mut KernelDataplane,
        links: &BTreeMap<LinkId, LinkFacts>,
    ) -> Result<BTreeMap<LinkId, Attachment>> {
        self.node.enter(|| Ok(dataplane.attach(links)))
    }
}

/// What the agent would find out about an interface.
pub fn facts(interface: &Interface) -> Result<LinkFacts> {
    Ok(LinkFacts {
        name: interface.name().to_owned(),
        driver: "veth".to_owned(),
        strips_tags: false,
        loses_native: false,
        xdp: attached(interface)?,
    })
}

/// The XDP programs of an interface, native and generic, as netlink tells.
pub fn attached(interface: &Interface) -> Result<(Option<u32>, Option<u32>)> {
    let links = interface.namespace().enter(|| Ok(lb_userspace::net::links::list()?))?;
    let xdp = links.get(&interface.index()).map(|link| link.xdp);
    Ok(xdp.map_or((None, None), |xdp| (xdp.native, xdp.generic)))
}

/// Everything the maps say through the pins.
pub fn pinned(bpffs: &Path) -> Result<BTreeMap<Target, Entry>> {
    let view = View::open(Pins::new(bpffs).root())?;
    Ok(view.table.read()?.rows.into_iter().map(|(target, row)| (target, row.entry)).collect())
}

/// An address on a link, untagged.
///
/// # Panics
/// When `ip` is no address.
#[expect(clippy::expect_used, reason = "for tests, which fail by panicking")]
pub fn target(link: u32, ip: &str) -> Target {
    Target { link: LinkId(link), vlans: Vlans::Untagged, ip: ip.parse().expect("an address") }
}

/// Answered with the hardware address that ends so.
pub fn entry(last: u8, state: EntryState) -> Entry {
    Entry { mac: Mac(mac(last)), state }
}

/// Entries of both families on `link`, one on a VLAN, one on standby.
#[expect(clippy::expect_used, reason = "for tests, which fail by panicking")]
pub fn sample(link: u32) -> BTreeMap<Target, Entry> {
    let tagged = Target { vlans: "100.42".parse().expect("VLANs"), ..target(link, "192.0.2.7") };
    BTreeMap::from([
        (target(link, "192.0.2.100"), entry(1, EntryState::Answer)),
        (target(link, "2001:db8::64"), entry(1, EntryState::Standby)),
        (tagged, entry(2, EntryState::Answer)),
    ])
}
