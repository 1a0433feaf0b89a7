//! One entry of a pool's address list.

use std::{fmt, net::IpAddr, str::FromStr};

use ipnet::{IpNet, Ipv4Subnets, Ipv6Subnets};

use super::{Family, address, number};

/// Longest piece of unreadable input that is repeated in a message.
const QUOTED: usize = 60;

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
    pub(super) family: Family,
    pub(super) first: u128,
    pub(super) last: u128,
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

    /// The smallest list of CIDR blocks with the same addresses, lowest first.
    pub fn blocks(&self) -> Vec<IpNet> {
        match (self.first(), self.last()) {
            (IpAddr::V4(first), IpAddr::V4(last)) => {
                Ipv4Subnets::new(first, last, 0).map(IpNet::from).collect()
            }
            (IpAddr::V6(first), IpAddr::V6(last)) => {
                Ipv6Subnets::new(first, last, 0).map(IpNet::from).collect()
            }
            // Both ends are of one family.
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => Vec::new(),
        }
    }

    /// Number of addresses that end in .0 or .255; none in IPv6.
    pub(super) fn buggy(&self) -> u128 {
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
