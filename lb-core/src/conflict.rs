//! Another station claims an address of ours: who it is, and what is done about it.
//!
//! A node of the same cluster claims an address when it takes it over, hands it over, or comes back from a partition. Who
//! of both owns it is for them to settle ([`failover`](crate::failover)), and a word against it would only confuse those
//! that listen. A stranger does not know of us: people are told, and the address is defended as RFC 5227 section 2.4 (c)
//! has it, by one announcement in ten seconds. RFC 4862 has no such rule; the same is done for IPv6, by an unsolicited
//! advertisement that overrides (RFC 4861 section 7.2.6).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::eligibility::Node;
use crate::ids::{Mac, NodeName};
use crate::membership::LinkReport;

/// An address is defended at most once in this time (`DEFEND_INTERVAL` of RFC 5227). Two stations that both insist would
/// else fill the network.
pub const DEFEND_INTERVAL: Duration = Duration::from_secs(10);
/// An address is told of in the cluster at most once in this time.
pub const TELL_INTERVAL: Duration = Duration::from_mins(10);

/// Who claims an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Claimant {
    /// A node of the cluster, this one by another of its links among them.
    Peer,
    /// Anybody else.
    Stranger,
}

impl Claimant {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Peer, Self::Stranger];

    /// Who has this hardware address, where these are the cluster's.
    pub fn of(mac: Mac, stations: &BTreeSet<Mac>) -> Self {
        if stations.contains(&mac) { Self::Peer } else { Self::Stranger }
    }

    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Peer => "peer",
            Self::Stranger => "stranger",
        }
    }
}

/// The hardware addresses of the cluster: those that nodes report, of whatever link, and `own`. A node that is taken for
/// dead may be there still, and is no stranger.
pub fn stations(nodes: &BTreeMap<NodeName, Node>, own: impl IntoIterator<Item = Mac>) -> BTreeSet<Mac> {
    let reports = nodes.values().flat_map(|node| &node.reports);
    reports.filter_map(LinkReport::station).chain(own).collect()
}

/// What was done before about claims of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Past {
    /// When it was defended last.
    pub defended: Option<Duration>,
    /// When it was told of last.
    pub told: Option<Duration>,
}

/// What is to be done about a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Response {
    /// The address is announced, once.
    pub defends: bool,
    /// It is told in the cluster.
    pub tells: bool,
}

/// What is to be done now, and what is past then. `owns`: this node answers for the address.
pub fn respond(claimant: Claimant, owns: bool, past: Past, now: Duration) -> (Response, Past) {
    let contested = claimant == Claimant::Stranger && owns;
    let due = |last: Option<Duration>, interval| {
        contested && last.is_none_or(|last| now.saturating_sub(last) >= interval)
    };
    let response =
        Response { defends: due(past.defended, DEFEND_INTERVAL), tells: due(past.told, TELL_INTERVAL) };
    let at = |is_due: bool, last| if is_due { Some(now) } else { last };
    (response, Past { defended: at(response.defends, past.defended), told: at(response.tells, past.told) })
}

#[cfg(test)]
mod tests {
    use super::Claimant::{Peer, Stranger};
    use super::*;
    use crate::ids::LinkName;

    fn node(mac: &str, alive: bool) -> Node {
        let report = LinkReport {
            name: LinkName::new("eth0").unwrap(),
            mac: Some(mac.to_owned()),
            addresses: Vec::new(),
            fit: true,
            why: None,
            liveness: None,
        };
        Node { reports: vec![report], alive, ..Node::default() }
    }

    #[test]
    fn a_peer_is_who_has_the_mac_of_a_node() {
        let own = Mac([2, 0, 0, 0, 0, 1]);
        let nodes = [
            ("a", node("02:00:00:00:00:02", true)),
            ("b", node("02:00:00:00:00:03", false)),
            ("c", node("?", true)),
        ];
        let nodes = nodes.map(|(name, node)| (NodeName::new(name).unwrap(), node)).into();
        let known = stations(&nodes, [own]);
        for (last, expected) in [(1, Peer), (2, Peer), (3, Peer), (4, Stranger)] {
            assert_eq!(Claimant::of(Mac([2, 0, 0, 0, 0, last]), &known), expected, "{last}");
        }
        // Without members everybody else is a stranger.
        let alone = stations(&BTreeMap::new(), [own]);
        assert_eq!(Claimant::of(Mac([2, 0, 0, 0, 0, 2]), &alone), Stranger);
    }

    /// By seconds: who claims, whether it is owned, whether it is defended and told of.
    #[test]
    fn a_stranger_is_answered_now_and_then_and_a_peer_never() {
        let mut past = Past::default();
        for (second, claimant, owns, defends, tells) in [
            (100, Peer, true, false, false),
            (100, Stranger, false, false, false),
            (101, Stranger, true, true, true),
            (101, Stranger, true, false, false),
            (110, Stranger, true, false, false),
            (111, Peer, true, false, false),
            (111, Stranger, false, false, false),
            (111, Stranger, true, true, false),
            (120, Stranger, true, false, false),
            (121, Stranger, true, true, false),
            (700, Stranger, true, true, false),
            (701, Stranger, true, false, true),
            (90, Stranger, true, false, false),
        ] {
            let (response, next) = respond(claimant, owns, past, Duration::from_secs(second));
            assert_eq!(response, Response { defends, tells }, "{claimant:?} at {second}");
            past = next;
        }
        let expected =
            Past { defended: Some(Duration::from_secs(700)), told: Some(Duration::from_secs(701)) };
        assert_eq!(past, expected);
    }
}
