//! The switch that the machines of a cluster hang on.

use std::net::IpAddr;

use anyhow::Result;
use clap::ValueEnum;

use crate::link::{Bridge, Veth, mac};
use crate::namespace::Namespace;

/// The address families of a cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Families {
    /// IPv4 only.
    #[value(name = "ipv4")]
    V4,
    /// IPv6 only.
    #[value(name = "ipv6")]
    V6,
    /// Both.
    #[default]
    Dual,
}

impl Families {
    /// Those of a pair that are of these families; the first is of IPv4.
    pub fn of<T>(self, [v4, v6]: [T; 2]) -> Vec<T> {
        match self {
            Self::V4 => vec![v4],
            Self::V6 => vec![v6],
            Self::Dual => vec![v4, v6],
        }
    }
}

/// A switch without machines. Each machine that is attached keeps its own namespace; cables go with either end.
#[derive(Debug)]
pub struct Network {
    bridge: Bridge,
}

impl Network {
    /// A learning bridge in a namespace of its own.
    pub fn new() -> Result<Self> {
        Ok(Self { bridge: Bridge::new(&Namespace::new("switch")?, "br0")? })
    }

    /// A new machine: its end of the cable is `eth0` with the addresses of [`Network::addresses`] and the Ethernet
    /// address 02:00:00:00:00:`host`; the other end (`b`) is a port of the switch.
    pub fn attach(&self, name: &str, host: u8) -> Result<Veth> {
        self.attach_with(name, host, Families::Dual)
    }

    /// As [`Network::attach`], with addresses of these families only.
    pub fn attach_with(&self, name: &str, host: u8, families: Families) -> Result<Veth> {
        let cable = self.plug(&Namespace::new(name)?, "eth0", host)?;
        let [v4, v6] = Self::addresses(host);
        let of_family = [vec![format!("{v4}/24")], vec![format!("{v6}/64"), format!("fe80::{host}/64")]];
        for cidr in families.of(of_family).concat() {
            cable.a.add_address(&cidr)?;
        }
        Ok(cable)
    }

    /// A cable to a machine: its end has this name, no address and the Ethernet address 02:00:00:00:00:`host`, the other
    /// one is a port of the switch.
    pub fn plug(&self, machine: &Namespace, name: &str, host: u8) -> Result<Veth> {
        let (switch, port) = (self.bridge.interface().namespace(), format!("port{host}"));
        let cable = Veth::new((machine, name, mac(host)), (switch, &port, mac(0x80 ^ host)))?;
        self.bridge.add_port(&cable.b)?;
        Ok(cable)
    }

    /// 192.0.2.`host` and `2001:db8::host`, the digits being the same in both.
    pub fn addresses(host: u8) -> [IpAddr; 2] {
        let [high, middle, low] = [host / 100, host / 10 % 10, host % 10].map(u16::from);
        [[192, 0, 2, host].into(), [0x2001, 0xdb8, 0, 0, 0, 0, 0, high << 8 | middle << 4 | low].into()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_families_show_the_same_digits() {
        for (host, v4, v6) in [(2, "192.0.2.2", "2001:db8::2"), (117, "192.0.2.117", "2001:db8::117")] {
            assert_eq!(Network::addresses(host).map(|address| address.to_string()), [v4, v6]);
        }
    }
}
