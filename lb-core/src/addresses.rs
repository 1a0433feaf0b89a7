//! The one or two addresses a Service has.

use std::{fmt, net::IpAddr};

use serde::{Serialize, Serializer};

use crate::pool::Family;

/// One address, or two of different families, in the order of `status.loadBalancer.ingress`. The order is kept
/// because the first address decides the election.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Addresses {
    first: IpAddr,
    second: Option<IpAddr>,
}

impl Addresses {
    /// One address.
    pub fn one(ip: IpAddr) -> Self {
        Self { first: ip, second: None }
    }

    /// The list, if it has one address or two of different families.
    pub fn new(ips: &[IpAddr]) -> Option<Self> {
        match ips {
            [ip] => Some(Self::one(*ip)),
            [a, b] if Family::of(*a) != Family::of(*b) => Some(Self { first: *a, second: Some(*b) }),
            _ => None,
        }
    }

    /// The address that decides the election.
    pub fn first(self) -> IpAddr {
        self.first
    }

    /// The address of the other family.
    pub fn second(self) -> Option<IpAddr> {
        self.second
    }

    /// All addresses in order.
    pub fn iter(self) -> impl Iterator<Item = IpAddr> + Clone {
        std::iter::once(self.first).chain(self.second)
    }

    /// The address of one family.
    pub fn of(self, family: Family) -> Option<IpAddr> {
        self.iter().find(|ip| Family::of(*ip) == family)
    }

    /// Whether the address is one of these.
    pub fn contains(self, ip: IpAddr) -> bool {
        self.iter().any(|own| own == ip)
    }

    /// Whether both hold the same addresses, in whatever order.
    pub fn same(self, other: Self) -> bool {
        self == other || (self.second == Some(other.first) && other.second == Some(self.first))
    }

    /// The same addresses with IPv4 first.
    #[must_use]
    pub fn ipv4_first(self) -> Self {
        match self.second {
            Some(second) if second.is_ipv4() => Self { first: second, second: Some(self.first) },
            Some(_) | None => self,
        }
    }
}

impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.second {
            Some(second) => write!(f, "{},{second}", self.first),
            None => self.first.fmt(f),
        }
    }
}

impl Serialize for Addresses {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_per_family_at_most() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let (a, b, c) = (ip("192.0.2.1"), ip("2001:db8::1"), ip("192.0.2.2"));
        assert_eq!(Addresses::new(&[]), None);
        assert_eq!(Addresses::new(&[a, c]), None);
        assert_eq!(Addresses::new(&[b, b]), None);
        assert_eq!(Addresses::new(&[a, b, c]), None);
        let both = Addresses::new(&[b, a]).unwrap();
        assert_eq!(both.to_string(), "2001:db8::1,192.0.2.1");
        assert_eq!(both.ipv4_first(), Addresses::new(&[a, b]).unwrap());
        assert!(both.same(both.ipv4_first()) && !both.same(Addresses::one(b)));
        assert_eq!(both.of(Family::Ipv4), Some(a));
        assert_eq!(Addresses::one(b).of(Family::Ipv4), None);
    }
}
