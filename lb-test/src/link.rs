//! Interfaces, veth pairs and bridges inside namespaces.
//!
//! A veth pair has one queue per direction: frames arrive in the order they were sent, so an answered frame
//! proves that every earlier one has been seen (see [`crate::wire::Endpoint::exchange_fenced`]).

use std::net::IpAddr;

use anyhow::{Context, Result};

use crate::namespace::Namespace;
use crate::offload;
pub use crate::offload::Offload;

/// The locally administered address 02:00:00:00:00:`n`.
pub const fn mac(n: u8) -> [u8; 6] {
    [2, 0, 0, 0, 0, n]
}

/// `mac` as six hexadecimal bytes with colons.
pub fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// An interface inside a namespace. It goes with its namespace.
#[derive(Clone, Debug)]
pub struct Interface {
    namespace: Namespace,
    name: String,
    index: u32,
    mac: [u8; 6],
}

impl Interface {
    /// The interface `name` that exists in `namespace`.
    pub fn find(namespace: &Namespace, name: &str) -> Result<Self> {
        let read = |file: &str| {
            let path = format!("/sys/class/net/{name}/{file}");
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))
        };
        let (index, address) = namespace.enter(|| Ok((read("ifindex")?, read("address")?)))?;
        let mut mac = [0; 6];
        for (to, from) in mac.iter_mut().zip(address.trim().split(':')) {
            *to = u8::from_str_radix(from, 16)?;
        }
        Ok(Self { namespace: namespace.clone(), name: name.to_owned(), index: index.trim().parse()?, mac })
    }

    /// Its name, unique in its namespace only.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its index, unique in its namespace only.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Its Ethernet address when the handle was made.
    pub fn mac(&self) -> [u8; 6] {
        self.mac
    }

    /// Where it lives.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Administratively up.
    pub fn up(&self) -> Result<()> {
        self.set(&["up"])
    }

    /// Administratively down; routes and IPv6 addresses go with it.
    pub fn down(&self) -> Result<()> {
        self.set(&["down"])
    }

    /// Another Ethernet address.
    pub fn set_mac(&mut self, mac: [u8; 6]) -> Result<()> {
        self.set(&["address", &mac_text(mac)])?;
        self.mac = mac;
        Ok(())
    }

    /// Whether the kernel speaks ARP on it. IPv6 is not concerned.
    pub fn set_arp(&self, on: bool) -> Result<()> {
        self.set(&["arp", if on { "on" } else { "off" }])
    }

    /// Adds `address/length` of either family, usable at once.
    pub fn add_address(&self, cidr: &str) -> Result<()> {
        let flags: &[&str] = if cidr.contains(':') { &["nodad"] } else { &[] };
        self.namespace.ip(&[&["address", "add", cidr, "dev", &self.name], flags].concat()).map(drop)
    }

    /// Removes an address.
    pub fn del_address(&self, cidr: &str) -> Result<()> {
        self.namespace.ip(&["address", "del", cidr, "dev", &self.name]).map(drop)
    }

    /// Adds a route to `destination` (`default` or a network) by the gateway `via`.
    pub fn add_route(&self, destination: &str, via: IpAddr) -> Result<()> {
        let family = if via.is_ipv4() { "-4" } else { "-6" };
        self.namespace
            .ip(&[family, "route", "add", destination, "via", &via.to_string(), "dev", &self.name])
            .map(drop)
    }

    /// A fixed neighbour entry: no ARP or neighbour discovery for `ip`.
    pub fn add_neighbour(&self, ip: IpAddr, mac: [u8; 6]) -> Result<()> {
        let (ip, mac) = (ip.to_string(), mac_text(mac));
        let args = ["neighbour", "replace", &ip, "lladdr", &mac, "dev", &self.name, "nud", "permanent"];
        self.namespace.ip(&args).map(drop)
    }

    /// The neighbour table of both families as `ip neighbour` prints it.
    pub fn neighbours(&self) -> Result<String> {
        self.namespace.ip(&["neighbour", "show", "dev", &self.name])
    }

    /// Makes it a port of the bridge `master` of the same namespace.
    pub fn set_master(&self, master: &str) -> Result<()> {
        self.set(&["master", master])
    }

    /// As a port of a bridge: whether frames pass between it and other isolated ports. Between it and the rest they do.
    pub fn isolate(&self, on: bool) -> Result<()> {
        self.set(&["type", "bridge_slave", "isolated", if on { "on" } else { "off" }])
    }

    /// Switches one offload.
    pub fn offload(&self, offload: Offload, on: bool) -> Result<()> {
        self.namespace.enter(|| offload::set(&self.name, offload, on))
    }

    /// Switches every offload off: frames carry their tags in band and complete checksums, as on a plain wire.
    pub fn plain(&self) -> Result<()> {
        let all = [
            Offload::RxVlan,
            Offload::RxServiceVlan,
            Offload::TxVlan,
            Offload::Tso,
            Offload::Gso,
            Offload::Gro,
            Offload::TxChecksum,
            Offload::RxChecksum,
        ];
        self.namespace.enter(|| all.iter().try_for_each(|&offload| offload::set(&self.name, offload, false)))
    }

    fn set(&self, what: &[&str]) -> Result<()> {
        self.namespace.ip(&[&["link", "set", "dev", &self.name], what].concat()).map(drop)
    }
}

/// Two interfaces, each the other's wire. Removed with either of the namespaces.
#[derive(Clone, Debug)]
pub struct Veth {
    /// The first end.
    pub a: Interface,
    /// The second end.
    pub b: Interface,
}

impl Veth {
    /// A pair with one queue each way, all offloads off, both ends up. Each end: namespace, name, Ethernet address.
    pub fn new(a: (&Namespace, &str, [u8; 6]), b: (&Namespace, &str, [u8; 6])) -> Result<Self> {
        let (mac_a, mac_b) = (mac_text(a.2), mac_text(b.2));
        let queues = ["numtxqueues", "1", "numrxqueues", "1"];
        let first = ["link", "add", "name", a.1, "address", &mac_a];
        let second = ["type", "veth", "peer", "name", b.1, "netns", b.0.name(), "address", &mac_b];
        a.0.ip(&[&first[..], &queues, &second, &queues].concat())?;
        let pair = Self { a: Interface::find(a.0, a.1)?, b: Interface::find(b.0, b.1)? };
        for end in [&pair.a, &pair.b] {
            end.plain()?;
            end.up()?;
        }
        Ok(pair)
    }
}

/// A learning bridge.
#[derive(Clone, Debug)]
pub struct Bridge {
    interface: Interface,
}

impl Bridge {
    /// A bridge without spanning tree, forwarding at once; multicast snooping as the kernel has it (on).
    pub fn new(namespace: &Namespace, name: &str) -> Result<Self> {
        namespace.ip(&[
            "link",
            "add",
            "name",
            name,
            "type",
            "bridge",
            "stp_state",
            "0",
            "forward_delay",
            "0",
        ])?;
        let interface = Interface::find(namespace, name)?;
        interface.up()?;
        Ok(Self { interface })
    }

    /// The bridge's own interface.
    pub fn interface(&self) -> &Interface {
        &self.interface
    }

    /// Adds a port; it must live in the same namespace.
    pub fn add_port(&self, port: &Interface) -> Result<()> {
        port.set_master(self.interface.name())
    }

    /// Multicast snooping, and the bridge itself as querier.
    pub fn set_snooping(&self, snooping: bool, querier: bool) -> Result<()> {
        let (snooping, querier) = (u8::from(snooping).to_string(), u8::from(querier).to_string());
        let what = ["type", "bridge", "mcast_snooping", &snooping, "mcast_querier", &querier];
        self.interface.set(&what)
    }
}
