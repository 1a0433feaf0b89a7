//! Address ranges and pools.
//!
//! A range is an interval of numbers of one family, however it was written. A pool is a list of ranges; the
//! list's order is the order in which addresses are given out. What is free in a pool is kept as intervals
//! ([`space`]), so that memory follows fragmentation and not the size of the pool.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

use crate::{
    ids::PoolName,
    selector::{Labels, Selector, any_matches},
};

pub mod interval;
mod range;
pub mod space;
#[cfg(test)]
mod tests;

pub use range::{Range, RangeError};

/// Address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Family {
    /// IPv4.
    #[serde(rename = "IPv4")]
    Ipv4,
    /// IPv6.
    #[serde(rename = "IPv6")]
    Ipv6,
}

impl Family {
    /// The family of an address.
    pub fn of(ip: IpAddr) -> Self {
        if ip.is_ipv4() { Self::Ipv4 } else { Self::Ipv6 }
    }

    /// The other family.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Ipv4 => Self::Ipv6,
            Self::Ipv6 => Self::Ipv4,
        }
    }

    /// Its name, as Kubernetes writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ipv4 => "IPv4",
            Self::Ipv6 => "IPv6",
        }
    }

    fn bits(self) -> u8 {
        match self {
            Self::Ipv4 => 32,
            Self::Ipv6 => 128,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A family name other than `IPv4` and `IPv6`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected IPv4 or IPv6")]
pub struct FamilyError;

impl FromStr for Family {
    type Err = FamilyError;
    fn from_str(text: &str) -> Result<Self, FamilyError> {
        match text {
            "IPv4" => Ok(Self::Ipv4),
            "IPv6" => Ok(Self::Ipv6),
            _ => Err(FamilyError),
        }
    }
}

/// An address as a number: IPv4 in the low 32 bits.
pub(crate) fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u32::from(ip).into(),
        IpAddr::V6(ip) => ip.into(),
    }
}

/// The inverse of [`number`]; bits above an IPv4 address's 32 are not looked at.
pub(crate) fn address(family: Family, number: u128) -> IpAddr {
    let [.., a, b, c, d] = number.to_be_bytes();
    match family {
        Family::Ipv4 => Ipv4Addr::new(a, b, c, d).into(),
        Family::Ipv6 => Ipv6Addr::from(number).into(),
    }
}

/// Whether old network gear mistakes the address for a network or broadcast address
/// (MetalLB `avoidBuggyIPs`).
pub fn is_buggy(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V4(ip) if matches!(ip.octets(), [.., 0 | 255]))
}

/// Who may use a pool, and when it is tried (`spec.serviceAllocation` of an `IPAddressPool`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServiceAllocation {
    /// Lower is tried earlier; 0 is after all others.
    pub priority: i64,
    /// Namespaces by name.
    pub namespaces: BTreeSet<String>,
    /// Namespaces by label.
    pub namespace_selectors: Vec<Selector>,
    /// Services by label.
    pub service_selectors: Vec<Selector>,
}

impl ServiceAllocation {
    /// Whether a Service may use the pool. Unlike MetalLB, namespace selectors that match no namespace at all
    /// admit nobody rather than everybody.
    pub fn permits(&self, namespace: &str, namespace_labels: &Labels, labels: &Labels) -> bool {
        let anywhere = self.namespaces.is_empty() && self.namespace_selectors.is_empty();
        let namespace = anywhere
            || self.namespaces.contains(namespace)
            || self.namespace_selectors.iter().any(|s| s.matches(namespace_labels));
        namespace && any_matches(&self.service_selectors, labels)
    }

    /// Sort key: numbered pools in the order of their numbers, then those without a number.
    pub fn order(&self) -> (bool, i64) {
        (self.priority == 0, self.priority)
    }
}

/// Addresses to give out, and the rules for doing so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// Name, unique.
    pub name: PoolName,
    /// Whether a Service that asks for nothing may get an address from here.
    pub auto_assign: bool,
    /// Whether IPv4 addresses ending in .0 and .255 are kept back.
    pub avoid_buggy_ips: bool,
    /// Labels of the object, for the pool selectors of advertisements.
    pub labels: Labels,
    /// Who may use the pool; `None` = everybody, after the pools that say so.
    pub allocation: Option<ServiceAllocation>,
    ranges: Vec<Range>,
    index: BTreeMap<(Family, u128), u128>,
    withheld: BTreeSet<IpAddr>,
}

impl Pool {
    /// A pool of these ranges, in this order, with MetalLB's defaults. The ranges must not overlap.
    pub fn new(name: PoolName, ranges: Vec<Range>) -> Self {
        let index = ranges.iter().map(|r| ((r.family, r.first), r.last)).collect();
        Self {
            name,
            auto_assign: true,
            avoid_buggy_ips: false,
            labels: Labels::new(),
            allocation: None,
            ranges,
            index,
            withheld: BTreeSet::new(),
        }
    }

    /// The ranges in the order in which they are used.
    pub fn ranges(&self) -> &[Range] {
        &self.ranges
    }

    /// Keeps an address back for good, because a node of the cluster owns it.
    pub fn withhold(&mut self, ip: IpAddr) {
        if self.contains(ip) {
            self.withheld.insert(ip);
        }
    }

    /// Addresses that a node owns and that are therefore never given out.
    pub fn withheld(&self) -> &BTreeSet<IpAddr> {
        &self.withheld
    }

    /// Whether the address lies in one of the ranges.
    pub fn contains(&self, ip: IpAddr) -> bool {
        let (family, ip) = (Family::of(ip), number(ip));
        let below = self.index.range((family, 0)..=(family, ip)).next_back();
        below.is_some_and(|(_, last)| ip <= *last)
    }

    /// Whether the address lies in one of the ranges and may be given out.
    pub fn may_give(&self, ip: IpAddr) -> bool {
        self.contains(ip) && !self.keeps_back(ip)
    }

    /// Whether the pool keeps back an address that lies in it.
    pub(crate) fn keeps_back(&self, ip: IpAddr) -> bool {
        self.withheld.contains(&ip) || self.avoids(ip)
    }

    /// Whether the pool keeps the address back for old network gear.
    pub(crate) fn avoids(&self, ip: IpAddr) -> bool {
        self.avoid_buggy_ips && is_buggy(ip)
    }

    /// How many addresses the pool can give out.
    pub fn size(&self) -> PoolSize {
        let mut size = PoolSize::default();
        for range in &self.ranges {
            let buggy = if self.avoid_buggy_ips { range.buggy() } else { 0 };
            size.add(range.family, range.len() - buggy);
        }
        for ip in self.withheld.iter().filter(|ip| !self.avoids(**ip)) {
            size.subtract_one(Family::of(*ip));
        }
        size
    }
}

/// Numbers of addresses, as the status of an `IPAddressPool` carries them: saturating at `i64::MAX`, which a
/// block with 62 host bits or more already reaches (MetalLB `poolCount`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct PoolSize {
    /// IPv4 addresses.
    pub ipv4: i64,
    /// IPv6 addresses.
    pub ipv6: i64,
}

impl PoolSize {
    /// Both families together.
    pub fn total(self) -> i64 {
        self.ipv4.saturating_add(self.ipv6)
    }

    fn of(&mut self, family: Family) -> &mut i64 {
        match family {
            Family::Ipv4 => &mut self.ipv4,
            Family::Ipv6 => &mut self.ipv6,
        }
    }

    pub(crate) fn add(&mut self, family: Family, count: u128) {
        let count = if count >= 1 << 62 { i64::MAX } else { i64::try_from(count).unwrap_or(i64::MAX) };
        let total = self.of(family);
        *total = total.saturating_add(count);
    }

    pub(crate) fn subtract_one(&mut self, family: Family) {
        let total = self.of(family);
        if *total != i64::MAX {
            *total -= 1;
        }
    }
}
