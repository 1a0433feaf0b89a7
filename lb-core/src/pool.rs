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

use ipnet::IpNet;
use serde::Serialize;

use crate::{
    ids::PoolName,
    selector::{Labels, Selector, any_matches},
};

pub mod interval;
pub mod space;
#[cfg(test)]
mod tests;

/// Longest piece of unreadable input that is repeated in a message.
const QUOTED: usize = 60;

/// Address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
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

    fn bits(self) -> u8 {
        match self {
            Self::Ipv4 => 32,
            Self::Ipv6 => 128,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ipv4 => "IPv4",
            Self::Ipv6 => "IPv6",
        })
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

/// Why an entry of an address list is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// Neither a block nor a range.
    #[error("{text:?} is neither a CIDR block (192.0.2.0/24) nor a range (192.0.2.10-192.0.2.20)")]
    Unreadable {
        /// The entry, cut to a readable length.
        text: String,
    },
    /// One address without a prefix length: MetalLB refuses it, so it is refused here.
    #[error("{ip} is a single address: write {ip}/{bits}")]
    BareAddress {
        /// The address.
        ip: IpAddr,
        /// The prefix length of one address of that family.
        bits: u8,
    },
    /// The prefix is no number, or longer than the family's addresses.
    #[error("prefix length {prefix:?} is not a number from 0 to {bits}")]
    BadPrefix {
        /// What follows the slash.
        prefix: String,
        /// Longest prefix of the family.
        bits: u8,
    },
    /// A range from IPv4 to IPv6 or back.
    #[error("the range starts with {first} and ends with {last}: both ends must be of one family")]
    MixedFamilies {
        /// First address as written.
        first: IpAddr,
        /// Last address as written.
        last: IpAddr,
    },
    /// The range runs backwards.
    #[error("the range starts at {first}, after its end {last}: swap them")]
    StartAfterEnd {
        /// First address as written.
        first: IpAddr,
        /// Last address as written.
        last: IpAddr,
    },
    /// The range touches addresses that no Service can have.
    #[error("{range} contains addresses of {area} ({what}), which cannot be announced: leave them out")]
    Forbidden {
        /// The entry.
        range: Range,
        /// The forbidden block.
        area: &'static str,
        /// What that block is for.
        what: &'static str,
    },
}

/// Blocks that are never announced, with the reason (IANA special-purpose address registries, RFC 6890).
const FORBIDDEN: [(&str, Range, &str); 10] = [
    ("0.0.0.0/8", Range::v4([0, 0, 0, 0], [0, 255, 255, 255]), "this network, RFC 1122"),
    ("127.0.0.0/8", Range::v4([127, 0, 0, 0], [127, 255, 255, 255]), "loopback"),
    ("169.254.0.0/16", Range::v4([169, 254, 0, 0], [169, 254, 255, 255]), "link-local, RFC 3927"),
    ("224.0.0.0/4", Range::v4([224, 0, 0, 0], [239, 255, 255, 255]), "multicast"),
    ("240.0.0.0/4", Range::v4([240, 0, 0, 0], [255, 255, 255, 255]), "reserved and broadcast"),
    ("::", Range::v6(0, 0), "the unspecified address"),
    ("::1", Range::v6(1, 1), "loopback"),
    ("::ffff:0:0/96", Range::v6(0xffff_0000_0000, 0xffff_ffff_ffff), "IPv4-mapped, RFC 4291 section 2.5.5.2"),
    ("fe80::/10", Range::v6(0xfe80 << 112, (0xfec0 << 112) - 1), "link-local"),
    ("ff00::/8", Range::v6(0xff00 << 112, u128::MAX), "multicast"),
];

/// A run of addresses of one family, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Range {
    family: Family,
    first: u128,
    last: u128,
}

impl Range {
    const fn v4(first: [u8; 4], last: [u8; 4]) -> Self {
        let (first, last) = (u32::from_be_bytes(first) as u128, u32::from_be_bytes(last) as u128);
        Self { family: Family::Ipv4, first, last }
    }

    const fn v6(first: u128, last: u128) -> Self {
        Self { family: Family::Ipv6, first, last }
    }

    /// The one forbidden block that contains this address, if any, and what the block is for.
    pub fn forbidden_area(ip: IpAddr) -> Option<(&'static str, &'static str)> {
        FORBIDDEN.iter().find(|(_, range, _)| range.contains(ip)).map(|(area, _, what)| (*area, *what))
    }

    /// Refuses a range that touches addresses no Service can have.
    pub fn assignable(self) -> Result<Self, RangeError> {
        match FORBIDDEN.iter().find(|(_, forbidden, _)| forbidden.overlaps(&self)) {
            Some((area, _, what)) => Err(RangeError::Forbidden { range: self, area, what }),
            None => Ok(self),
        }
    }

    /// Family of both ends.
    pub fn family(&self) -> Family {
        self.family
    }

    /// First address.
    pub fn first(&self) -> IpAddr {
        address(self.family, self.first)
    }

    /// Last address.
    pub fn last(&self) -> IpAddr {
        address(self.family, self.last)
    }

    /// Whether the address lies in the range.
    pub fn contains(&self, ip: IpAddr) -> bool {
        self.family == Family::of(ip) && (self.first..=self.last).contains(&number(ip))
    }

    /// Whether any address lies in both ranges.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.family == other.family && self.first <= other.last && other.first <= self.last
    }

    /// Number of addresses, saturating at the top of `u128` (only `::/0` is larger).
    pub fn len(&self) -> u128 {
        (self.last - self.first).saturating_add(1)
    }

    /// A range has at least one address.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Number of addresses that end in .0 or .255; none in IPv6.
    fn buggy(&self) -> u128 {
        // Numbers below `end` whose last octet is this one.
        let below = |end: u128, octet: u128| (end + 255 - octet) / 256;
        match self.family {
            Family::Ipv4 => [0, 255].iter().map(|o| below(self.last + 1, *o) - below(self.first, *o)).sum(),
            Family::Ipv6 => 0,
        }
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = self.last - self.first;
        if size & size.wrapping_add(1) == 0 && self.first & size == 0 {
            let prefix = u32::from(self.family.bits()) - size.count_ones();
            write!(f, "{}/{prefix}", self.first())
        } else {
            write!(f, "{}-{}", self.first(), self.last())
        }
    }
}

impl FromStr for Range {
    type Err = RangeError;

    /// `192.0.2.0/24` (host bits are masked off) or `192.0.2.10-192.0.2.20`, blanks permitted around the parts.
    fn from_str(text: &str) -> Result<Self, RangeError> {
        let unreadable = || RangeError::Unreadable { text: text.chars().take(QUOTED).collect() };
        let parse = |part: &str| part.trim().parse::<IpAddr>().map_err(|_unparsed| unreadable());
        if let Some((first, last)) = text.split_once('-') {
            let (first, last) = (parse(first)?, parse(last)?);
            return Self::between(first, last);
        }
        let Some((ip, prefix)) = text.split_once('/') else {
            let ip = parse(text)?;
            return Err(RangeError::BareAddress { ip, bits: Family::of(ip).bits() });
        };
        let ip = parse(ip)?;
        let bits = Family::of(ip).bits();
        let prefix = prefix.trim();
        let digits = !prefix.is_empty() && prefix.bytes().all(|b| b.is_ascii_digit());
        let length = prefix.parse::<u8>().ok().filter(|_| digits);
        match length.and_then(|length| IpNet::new(ip, length).ok()) {
            Some(block) => Self::between(block.network(), block.broadcast()),
            None => Err(RangeError::BadPrefix { prefix: prefix.chars().take(QUOTED).collect(), bits }),
        }
    }
}

impl Range {
    /// The range from one address to another of the same family.
    pub fn between(first: IpAddr, last: IpAddr) -> Result<Self, RangeError> {
        let family = Family::of(first);
        if family != Family::of(last) {
            return Err(RangeError::MixedFamilies { first, last });
        }
        if number(first) > number(last) {
            return Err(RangeError::StartAfterEnd { first, last });
        }
        Ok(Self { family, first: number(first), last: number(last) })
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
        self.contains(ip) && !self.withheld.contains(&ip) && !(self.avoid_buggy_ips && is_buggy(ip))
    }

    /// How many addresses the pool can give out.
    pub fn size(&self) -> PoolSize {
        let mut size = PoolSize::default();
        for range in &self.ranges {
            let buggy = if self.avoid_buggy_ips { range.buggy() } else { 0 };
            size.add(range.family, range.len() - buggy);
        }
        for ip in self.withheld.iter().filter(|ip| !(self.avoid_buggy_ips && is_buggy(**ip))) {
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

    fn add(&mut self, family: Family, count: u128) {
        let count = if count >= 1 << 62 { i64::MAX } else { i64::try_from(count).unwrap_or(i64::MAX) };
        let total = self.of(family);
        *total = total.saturating_add(count);
    }

    fn subtract_one(&mut self, family: Family) {
        let total = self.of(family);
        if *total != i64::MAX {
            *total -= 1;
        }
    }
}
