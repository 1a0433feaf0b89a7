//! The BGP parts of a v0.9 document: read and checked, so that validity is what it was, and then not used.

use std::{collections::BTreeMap, net::IpAddr};

use serde::Deserialize;

use super::LegacyError;
use crate::{
    pool::Range,
    problem::{Place, Problem},
    selector::{RawExpression, RawSelector, Selector},
};

/// One way of announcing a pool by BGP.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LegacyBgpAdvertisement {
    /// Prefix length of the announced routes, 32 by default.
    pub aggregation_length: Option<i64>,
    /// The same for IPv6, from v0.12 on.
    pub aggregation_length_v6: Option<i64>,
    /// Local preference.
    pub localpref: Option<u32>,
    /// Communities, as numbers or by name.
    pub communities: Option<Vec<String>>,
}

/// A BGP peer.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LegacyPeer {
    /// Own AS number, required.
    pub my_asn: Option<u32>,
    /// The peer's AS number, required.
    pub peer_asn: Option<u32>,
    /// The peer's address, required.
    pub peer_address: Option<String>,
    /// Own address, from v0.11 on.
    pub source_address: Option<String>,
    /// TCP port, 179 by default.
    pub peer_port: Option<u16>,
    /// Hold time, 90 s by default.
    pub hold_time: Option<String>,
    /// Keepalive time, from v0.12 on.
    pub keepalive_time: Option<String>,
    /// Router id.
    pub router_id: Option<String>,
    /// Nodes that peer.
    pub node_selectors: Option<Vec<LegacySelector>>,
    /// TCP MD5 password. Not kept anywhere.
    pub password: Option<serde::de::IgnoredAny>,
    /// BFD profile, from v0.12 on.
    pub bfd_profile: Option<String>,
    /// Whether the peer is some hops away, from v0.12 on.
    pub ebgp_multihop: Option<bool>,
}

/// A label selector in the spelling of the v0.9 document.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LegacySelector {
    /// Pairs that must all be present.
    pub match_labels: Option<BTreeMap<String, String>>,
    /// Expressions that must all hold.
    pub match_expressions: Option<Vec<LegacyExpression>>,
}

/// One expression of a selector.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LegacyExpression {
    /// Label key.
    pub key: Option<String>,
    /// Operator.
    pub operator: Option<String>,
    /// Values.
    pub values: Option<Vec<String>>,
}

impl LegacySelector {
    /// The selector in today's spelling.
    fn raw(&self) -> RawSelector {
        let expression = |e: &LegacyExpression| RawExpression {
            key: e.key.clone().unwrap_or_default(),
            operator: e.operator.clone().unwrap_or_default(),
            values: e.values.clone().unwrap_or_default(),
        };
        RawSelector {
            match_labels: self.match_labels.clone().unwrap_or_default(),
            match_expressions: self.match_expressions.iter().flatten().map(expression).collect(),
        }
    }
}

impl LegacyPeer {
    /// All that is wrong with the peer, and the note that peers have no effect.
    pub(super) fn check(&self, at: &Place) -> Vec<Problem> {
        let path = |field: &str| at.field(format!("{}.{field}", at.field));
        let mut problems = vec![Problem::new(at.clone(), LegacyError::PeersNotServed)];
        for (field, asn) in [("my-asn", self.my_asn), ("peer-asn", self.peer_asn)] {
            if asn.unwrap_or(0) == 0 {
                problems.push(Problem::new(path(field), LegacyError::NoAsn));
            }
        }
        let required = Some(self.peer_address.as_deref().unwrap_or_default());
        let optional = [("router-id", &self.router_id), ("source-address", &self.source_address)];
        let optional = optional.map(|(field, text)| (field, text.as_deref().filter(|text| !text.is_empty())));
        for (field, text) in [("peer-address", required)].into_iter().chain(optional) {
            if let Some(text) = text
                && text.parse::<IpAddr>().is_err()
            {
                problems.push(Problem::new(path(field), LegacyError::BadAddress { text: quote(text) }));
            }
        }
        if let Some(text) = self.hold_time.as_deref().filter(|text| !text.is_empty())
            && !seconds(text).is_some_and(|s| s == 0.0 || s >= 3.0)
        {
            problems.push(Problem::new(path("hold-time"), LegacyError::BadHoldTime { text: quote(text) }));
        }
        for (index, selector) in self.node_selectors.iter().flatten().enumerate() {
            if let Err(error) = Selector::parse(&selector.raw()) {
                problems.push(Problem::new(path(&format!("node-selectors[{index}]")), error));
            }
        }
        problems
    }
}

impl LegacyBgpAdvertisement {
    /// All that is wrong with the advertisement of a pool with these entries: field and reason.
    pub(super) fn check(
        &self,
        addresses: &[String],
        communities: &BTreeMap<String, String>,
    ) -> Vec<(String, LegacyError)> {
        let mut problems = Vec::new();
        let length = self.aggregation_length.unwrap_or(32);
        if !(0..=32).contains(&length) {
            problems.push(("aggregation-length".to_owned(), LegacyError::AggregationTooLong { length }));
        } else if let Some(block) = addresses
            .iter()
            .filter_map(|entry| entry.parse::<Range>().ok())
            .flat_map(|range| range.blocks())
            .find(|block| block.addr().is_ipv4() && i64::from(block.prefix_len()) > length)
        {
            let error = LegacyError::AggregationTooShort { length, block };
            problems.push(("aggregation-length".to_owned(), error));
        }
        for (index, text) in self.communities.iter().flatten().enumerate() {
            if community(communities.get(text).unwrap_or(text)).is_none() {
                let error = LegacyError::BadCommunity { text: quote(text) };
                problems.push((format!("communities[{index}]"), error));
            }
        }
        problems
    }
}

/// What is wrong with the names of communities.
pub(super) fn check_communities(names: &BTreeMap<String, String>, place: &Place) -> Vec<Problem> {
    let bad = names.iter().filter(|(_, value)| community(value).is_none());
    bad.map(|(name, value)| {
        let error = LegacyError::BadCommunity { text: quote(value) };
        Problem::new(place.field(format!("bgp-communities.{}", quote(name))), error)
    })
    .collect()
}

/// A community `a:b` as the 32-bit number of RFC 1997.
pub(super) fn community(text: &str) -> Option<u32> {
    let (high, low) = text.split_once(':')?;
    let part = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        text.parse::<u16>().ok().filter(|_| digits).map(u32::from)
    };
    Some(part(high)? << 16 | part(low)?)
}

/// A duration as Go writes it (`time.ParseDuration`): `90s`, `1m30s`, `1.5h`, `0`. In seconds.
fn seconds(text: &str) -> Option<f64> {
    if text == "0" {
        return Some(0.0);
    }
    let units =
        [("ns", 1e-9), ("us", 1e-6), ("µs", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
    let (mut rest, mut total) = (text, 0.0);
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(end);
        let unit_end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let factor = units.iter().find(|(name, _)| *name == unit)?.1;
        total += number.parse::<f64>().ok()? * factor;
        rest = tail;
    }
    (!text.is_empty()).then_some(total)
}

/// Input as it is repeated in a message: of bounded length.
fn quote(text: &str) -> String {
    text.chars().take(60).collect()
}
