//! What a driver says about an interface: offloads, its name, its counters (`SIOCETHTOOL`, linux/ethtool.h).
//!
//! Interfaces are looked up by name in the network namespace of the calling thread. Nothing here changes anything.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use socket2::{Domain, Socket, Type};

use super::errno::Errno;
use super::ifreq::{self, Request};

mod wire;

/// Why a driver could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum EthtoolError {
    /// No socket to ask through.
    #[error("cannot open a socket for ethtool requests")]
    Socket(#[source] io::Error),
    /// No interface can have this name.
    #[error("{name:?} cannot be the name of an interface")]
    Name {
        /// The name asked for.
        name: String,
    },
    /// The kernel or the driver refused.
    #[error("the driver of {name} does not answer ethtool request {command:#x}")]
    Refused {
        /// Interface name.
        name: String,
        /// The command (`ETHTOOL_*`).
        command: u32,
        /// What the ioctl said.
        #[source]
        errno: Errno,
    },
}

/// Offloads in force. Names in quotes are those of `ethtool -k` as the kernel has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// The NIC takes the 802.1Q tag off received frames, out of reach of XDP ("rx-vlan-hw-parse", rxvlan).
    pub rx_vlan_offload: bool,
    /// The same for 802.1ad tags ("rx-vlan-stag-hw-parse").
    pub rx_svlan_offload: bool,
    /// The NIC drops frames of VLANs nobody asked for ("rx-vlan-filter").
    pub rx_vlan_filter: bool,
    /// The stack merges received segments ("rx-gro").
    pub gro: bool,
    /// The NIC merges them ("rx-gro-hw").
    pub gro_hw: bool,
    /// The NIC merges them without keeping the headers ("rx-lro"); excludes native XDP in many drivers.
    pub lro: bool,
    /// The names of all features in force.
    pub active: BTreeSet<String>,
}

/// Who drives the interface (`ETHTOOL_GDRVINFO`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Driver {
    /// Driver name, for example "veth" or "ixgbe".
    pub name: String,
    /// Driver version; the kernel's for drivers in its tree.
    pub version: String,
    /// Firmware version, empty where there is none.
    pub firmware: String,
    /// Bus address, empty for virtual interfaces.
    pub bus: String,
}

/// The offloads in force on `name` (`ETHTOOL_GFEATURES`).
pub fn features(name: &str) -> Result<Features, EthtoolError> {
    let ask = Ask::new(name)?;
    let names = ask.strings(wire::SS_FEATURES)?;
    let mut request = wire::features_request(names.len());
    ask.run(&mut request)?;
    let active = wire::active_features(&names, &request);
    let on = |name: &str| active.contains(name);
    Ok(Features {
        rx_vlan_offload: on("rx-vlan-hw-parse"),
        rx_svlan_offload: on("rx-vlan-stag-hw-parse"),
        rx_vlan_filter: on("rx-vlan-filter"),
        gro: on("rx-gro"),
        gro_hw: on("rx-gro-hw"),
        lro: on("rx-lro"),
        active,
    })
}

/// The driver of `name`.
pub fn driver(name: &str) -> Result<Driver, EthtoolError> {
    let mut request = wire::driver_request();
    Ask::new(name)?.run(&mut request)?;
    Ok(wire::driver(&request))
}

/// The driver's own counters of `name` (`ethtool -S`); empty when it has none.
///
/// A name that appears more than once keeps the sum.
pub fn stats(name: &str) -> Result<BTreeMap<String, u64>, EthtoolError> {
    let ask = Ask::new(name)?;
    let names = match ask.strings(wire::SS_STATS) {
        Err(EthtoolError::Refused { errno: Errno(libc::EOPNOTSUPP), .. }) => return Ok(BTreeMap::new()),
        names => names?,
    };
    if names.is_empty() {
        return Ok(BTreeMap::new());
    }
    let mut request = wire::stats_request(names.len());
    ask.run(&mut request)?;
    Ok(wire::stats(names, &request))
}

/// A socket and the interface asked.
struct Ask<'a> {
    socket: Socket,
    name: &'a str,
}

impl<'a> Ask<'a> {
    fn new(name: &'a str) -> Result<Self, EthtoolError> {
        let socket = Socket::new(Domain::UNIX, Type::DGRAM, None).map_err(EthtoolError::Socket)?;
        Ok(Self { socket, name })
    }

    /// The strings of a set; none when the driver does not have the set.
    fn strings(&self, set: u32) -> Result<Vec<String>, EthtoolError> {
        let mut request = wire::count_request(set);
        self.run(&mut request)?;
        let Some(count) = wire::count(&request) else { return Ok(Vec::new()) };
        let mut request = wire::strings_request(set, count);
        self.run(&mut request)?;
        Ok(wire::strings(&request))
    }

    fn run(&self, request: &mut wire::Buffer) -> Result<(), EthtoolError> {
        let named = || EthtoolError::Name { name: self.name.to_owned() };
        let mut ifreq = ifreq::for_name(self.name).ok_or_else(named)?;
        ifreq.ifr_ifru.ifru_data = request.as_mut_ptr();
        // SAFETY: the request is a buffer made in `wire` for its command, with more room than the kernel fills, borrowed only here.
        let result = unsafe { ifreq::run(&self.socket, libc::SIOCETHTOOL as Request, &mut ifreq) };
        result.map_err(|errno| EthtoolError::Refused {
            name: self.name.to_owned(),
            command: request.command(),
            errno,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks_the_running_kernel_about_loopback() {
        let features = features("lo").unwrap();
        assert!(features.active.contains("loopback"), "{features:?}");
        assert!(!features.rx_vlan_offload);
        assert_eq!(stats("lo").unwrap(), BTreeMap::new());
    }

    #[test]
    fn an_interface_that_is_not_there() {
        let error = driver("no-such-link0").unwrap_err();
        assert!(matches!(error, EthtoolError::Refused { errno: Errno(libc::ENODEV), .. }), "{error:?}");
        assert!(matches!(driver("a name far too long"), Err(EthtoolError::Name { .. })));
    }
}
