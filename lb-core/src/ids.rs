//! Names and numbers that cannot hold a bad value.
//!
//! Text names share their bytes, so that a plan over 100,000 Services clones references, not text.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

mod service;
#[cfg(test)]
mod tests;

pub use service::ServiceKey;

/// Longest DNS-like name Kubernetes accepts (RFC 1123 subdomain).
const MAX_NAME: usize = 253;
/// Longest interface name: `IFNAMSIZ` of the kernel less the final zero.
const MAX_LINK_NAME: usize = 15;

/// Why a text is no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The text is empty.
    #[error("the name is empty")]
    Empty,
    /// The text is longer than its kind of name may be.
    #[error("the name is longer than {limit} bytes")]
    TooLong {
        /// Longest permitted length in bytes.
        limit: usize,
    },
    /// A character that this kind of name does not permit.
    #[error("the name contains {0:?}, which is not permitted there")]
    BadCharacter(char),
    /// `NAMESPACE/NAME` was expected and there is no `/`.
    #[error("expected NAMESPACE/NAME")]
    NoNamespace,
}

fn check(text: &str, limit: usize, permitted: impl Fn(char) -> bool) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if text.len() > limit {
        return Err(NameError::TooLong { limit });
    }
    match text.chars().find(|c| !permitted(*c)) {
        Some(bad) => Err(NameError::BadCharacter(bad)),
        None => Ok(()),
    }
}

fn is_dns(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'
}

fn is_dns_or_dot(c: char) -> bool {
    is_dns(c) || c == '.'
}

fn is_printable(c: char) -> bool {
    !c.is_control() && !c.is_whitespace()
}

fn is_link_name(c: char) -> bool {
    is_printable(c) && c != '/' && c != ':'
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $limit:expr, $permitted:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name, if `text` is one.
            pub fn new(text: impl AsRef<str>) -> Result<Self, NameError> {
                let text = text.as_ref();
                check(text, $limit, $permitted)?;
                Ok(Self(text.into()))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::new(String::deserialize(deserializer)?).map_err(D::Error::custom)
            }
        }
    };
}

name!(
    /// Name of a Kubernetes Node; also the text that is hashed in the election.
    NodeName,
    MAX_NAME,
    is_dns_or_dot
);
name!(
    /// Name of a network interface, as the kernel's `dev_valid_name` permits it.
    LinkName,
    MAX_LINK_NAME,
    is_link_name
);
name!(
    /// Name of an address pool. The v0.9 `ConfigMap` permits any text here; blanks are refused.
    PoolName,
    MAX_NAME,
    is_printable
);

/// Kernel interface index (`ifindex`), the key by which the data plane knows a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct LinkId(pub u32);

impl fmt::Display for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a text or a pair of numbers names no VLAN.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VlanError {
    /// IEEE 802.1Q reserves 0 and 4095.
    #[error("VLAN id {0} is outside 1-4094")]
    OutOfRange(u64),
    /// Neither a number nor two numbers with a dot between them.
    #[error("{0:?} is neither a VLAN id (\"42\") nor an outer and an inner one (\"100.42\")")]
    Unreadable(String),
}

/// A VLAN id that a frame can carry, 1 to 4094 (IEEE 802.1Q §9.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct VlanId(u16);

impl VlanId {
    /// The id, if it lies in 1 to 4094.
    pub fn new(id: u16) -> Result<Self, VlanError> {
        if (1..=4094).contains(&id) { Ok(Self(id)) } else { Err(VlanError::OutOfRange(id.into())) }
    }

    /// The id as a number in host order.
    pub fn get(self) -> u16 {
        self.0
    }
}

/// The tags a frame must carry to be answered; the value of the annotation `barelb.io/vlan`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Vlans {
    /// No tag.
    #[default]
    Untagged,
    /// One 802.1Q tag.
    Single(VlanId),
    /// Two tags (802.1ad, `QinQ`).
    Double {
        /// The tag next to the Ethernet addresses.
        outer: VlanId,
        /// The tag before the payload's `EtherType`.
        inner: VlanId,
    },
}

impl Vlans {
    /// Outer and inner id, 0 where there is no tag: the form of the BPF map's key. A single tag is the outer one.
    pub fn ids(self) -> (u16, u16) {
        match self {
            Self::Untagged => (0, 0),
            Self::Single(id) => (id.0, 0),
            Self::Double { outer, inner } => (outer.0, inner.0),
        }
    }

    /// The inverse of [`Vlans::ids`]; an inner tag without an outer one is refused.
    pub fn from_ids(outer: u16, inner: u16) -> Result<Self, VlanError> {
        match (outer, inner) {
            (0, 0) => Ok(Self::Untagged),
            (outer, 0) => Ok(Self::Single(VlanId::new(outer)?)),
            (outer, inner) => Ok(Self::Double { outer: VlanId::new(outer)?, inner: VlanId::new(inner)? }),
        }
    }
}

impl fmt::Display for Vlans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Untagged => f.write_str("untagged"),
            Self::Single(id) => id.0.fmt(f),
            Self::Double { outer, inner } => write!(f, "{}.{}", outer.0, inner.0),
        }
    }
}

fn parse_vlan(text: &str, whole: &str) -> Result<VlanId, VlanError> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let number = if digits { text.parse::<u64>().ok() } else { None };
    let number = number.ok_or_else(|| VlanError::Unreadable(whole.chars().take(40).collect()))?;
    u16::try_from(number).map_or(Err(VlanError::OutOfRange(number)), VlanId::new)
}

impl FromStr for Vlans {
    type Err = VlanError;
    fn from_str(text: &str) -> Result<Self, VlanError> {
        let trimmed = text.trim();
        match trimmed.split_once('.') {
            None => Ok(Self::Single(parse_vlan(trimmed, text)?)),
            Some((outer, inner)) => {
                Ok(Self::Double { outer: parse_vlan(outer, text)?, inner: parse_vlan(inner, text)? })
            }
        }
    }
}

impl Serialize for Vlans {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The text is not six two-digit hexadecimal numbers with colons between them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a MAC address such as 02:00:00:00:00:aa")]
pub struct MacError;

/// A 48-bit link-layer address in transmission order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// The six bytes in transmission order.
    pub fn octets(self) -> [u8; 6] {
        self.0
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, octet) in self.0.iter().enumerate() {
            write!(f, "{}{octet:02x}", if index == 0 { "" } else { ":" })?;
        }
        Ok(())
    }
}

impl FromStr for Mac {
    type Err = MacError;
    fn from_str(text: &str) -> Result<Self, MacError> {
        let mut octets = [0; 6];
        let mut parts = text.split(':');
        for octet in &mut octets {
            let part = parts.next().filter(|p| p.len() == 2 && p.bytes().all(|b| b.is_ascii_hexdigit()));
            *octet = part.and_then(|p| u8::from_str_radix(p, 16).ok()).ok_or(MacError)?;
        }
        if parts.next().is_some() { Err(MacError) } else { Ok(Self(octets)) }
    }
}

impl Serialize for Mac {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
