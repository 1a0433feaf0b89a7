//! What is told of other nodes: as metrics, and as the page for `barelb status --peers`.
//!
//! A series is a session: another node on a link. It begins at zero when the node is seen there first, and ends with it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use lb_core::failover::Status;
use lb_core::ids::NodeName;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use super::{Label, count, hold};
use crate::agent::prober::Refused;
use crate::agent::sessions::{PeerReport, SessionState, Watching};
use crate::telemetry::metric::Sorted;

type SessionLabels = [(&'static str, String); 2];
type Counters = Sorted<SessionLabels, ConstCounter<u64>>;
/// A number of a session.
type Count = fn(&SessionState) -> u64;

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Peers {
    sessions: Sorted<Label, ConstGauge<i64>>,
    probes: Counters,
    replies: Counters,
    losses: Counters,
    downs: Counters,
    round_trips: Sorted<SessionLabels, ConstGauge<f64>>,
    refused: Sorted<Label, Counter>,
    page: Arc<Mutex<PeerReport>>,
}

impl Peers {
    pub(super) fn new(node: &NodeName) -> Self {
        let (version, node) = (env!("CARGO_PKG_VERSION").to_owned(), node.to_string());
        let new = Self {
            sessions: Sorted::default(),
            probes: Counters::default(),
            replies: Counters::default(),
            losses: Counters::default(),
            downs: Counters::default(),
            round_trips: Sorted::default(),
            refused: Sorted::default(),
            page: Arc::new(Mutex::new(PeerReport { version, node, ..PeerReport::default() })),
        };
        for reason in Refused::all() {
            new.refused.insert([("reason", reason.name())], Counter::default());
        }
        new.sessions(&[]);
        new
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "barelb_peer_sessions",
            "Other nodes that are probed, each on each link, by what is known of them",
            self.sessions.clone(),
        );
        registry.register("barelb_peer_probes", "Probes sent to another node", self.probes.clone());
        registry.register("barelb_peer_replies", "Replies to them", self.replies.clone());
        registry.register(
            "barelb_peer_losses",
            "Probes without a reply, but for those of times in which the node was down",
            self.losses.clone(),
        );
        registry.register(
            "barelb_peer_downs",
            "Times that the node was found to be down",
            self.downs.clone(),
        );
        registry.register_with_unit(
            "barelb_peer_round_trip",
            "Time from a probe to its reply, smoothed",
            Unit::Seconds,
            self.round_trips.clone(),
        );
        registry.register(
            "barelb_peer_datagrams_refused",
            "Datagrams on the ports of liveness that were neither a reply nor a message, by the reason",
            self.refused.clone(),
        );
    }

    pub(super) fn watching(&self, watching: Watching) {
        hold(&self.page).watching = watching;
    }

    pub(super) fn sessions(&self, sessions: &[SessionState]) {
        let of_status = |status: Status| {
            let in_status = sessions.iter().filter(|session| session.status == status.name()).count();
            ([("status", status.name())], ConstGauge::new(count(in_status)))
        };
        self.sessions.replace(Status::ALL.into_iter().map(of_status).collect());
        let counters: [(&Counters, Count); 4] = [
            (&self.probes, |session| session.sent),
            (&self.replies, |session| session.replies),
            (&self.losses, |session| session.lost),
            (&self.downs, |session| session.downs.into()),
        ];
        for (metric, value) in counters {
            let counts = sessions.iter().map(|session| (labels(session), ConstCounter::new(value(session))));
            metric.replace(counts.collect());
        }
        let round_trips = sessions
            .iter()
            .filter_map(|session| Some((labels(session), ConstGauge::new(seconds(session.round_trip_us?)))));
        self.round_trips.replace(round_trips.collect());
        hold(&self.page).sessions = sessions.to_vec();
    }

    pub(super) fn refused(&self, refused: &BTreeMap<&'static str, u64>) {
        for (reason, count) in refused {
            self.refused.with([("reason", *reason)], |counter| counter.inc_by(*count));
        }
    }

    pub(super) fn page(&self) -> PeerReport {
        hold(&self.page).clone()
    }
}

fn labels(session: &SessionState) -> SessionLabels {
    [("peer", session.peer.clone()), ("interface", session.link.clone())]
}

#[expect(clippy::cast_precision_loss, reason = "a metric is a float anyway")]
fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

#[cfg(test)]
pub(super) mod tests {
    use prometheus_client::encoding::text;

    use super::*;

    fn session(
        peer: &str,
        link: &str,
        status: &str,
        numbers: [u64; 3],
        round_trip_us: Option<u64>,
    ) -> SessionState {
        let [sent, replies, lost] = numbers;
        SessionState {
            peer: peer.to_owned(),
            link: link.to_owned(),
            address: "192.0.2.12".parse().unwrap(),
            status: status.to_owned(),
            interval_us: 10_000,
            profile_interval_us: 10_000,
            sent,
            replies,
            lost,
            downs: 2,
            round_trip_us,
            shortest_us: round_trip_us,
            longest_us: round_trip_us,
        }
    }

    /// The samples, without the reasons of what is refused and was not.
    fn samples(peers: &Peers) -> Vec<String> {
        let mut registry = Registry::default();
        peers.register(&mut registry);
        let mut page = String::new();
        text::encode(&mut page, &registry).unwrap();
        let is_shown =
            |line: &&str| !(line.starts_with('#') || line.contains("refused") && line.ends_with(" 0"));
        page.lines().filter(is_shown).map(str::to_owned).collect()
    }

    #[test]
    fn each_session_is_a_series_as_long_as_it_is_there() {
        let peers = Peers::new(&NodeName::new("node-a").unwrap());
        let by_status = |up, relayed| {
            [("down", 0), ("relayed", relayed), ("suspect", 0), ("unproven", 0), ("up", up)]
                .map(|(status, count)| format!("barelb_peer_sessions{{status=\"{status}\"}} {count}"))
                .to_vec()
        };
        assert_eq!(samples(&peers), by_status(0, 0));
        peers.sessions(&[
            session("node-b", "eth0", "up", [100, 95, 4], Some(250)),
            session("node-b", "eth1", "relayed", [7, 0, 7], None),
        ]);
        let two = |name: &str, values: [&str; 2]| {
            [("eth0", values[0]), ("eth1", values[1])]
                .map(|(link, value)| {
                    format!("barelb_peer_{name}{{peer=\"node-b\",interface=\"{link}\"}} {value}")
                })
                .to_vec()
        };
        let round_trip =
            "barelb_peer_round_trip_seconds{peer=\"node-b\",interface=\"eth0\"} 0.00025".to_owned();
        let expected = [
            by_status(1, 1),
            two("probes_total", ["100", "7"]),
            two("replies_total", ["95", "0"]),
            two("losses_total", ["4", "7"]),
            two("downs_total", ["2", "2"]),
            vec![round_trip],
        ];
        assert_eq!(samples(&peers), expected.concat());
        peers.sessions(&[]);
        assert_eq!(samples(&peers), by_status(0, 0));
    }

    #[test]
    fn what_is_refused_adds_up_by_reason() {
        let peers = Peers::new(&NodeName::new("node-a").unwrap());
        let reasons = Refused::all().count();
        let mut registry = Registry::default();
        peers.register(&mut registry);
        let mut page = String::new();
        text::encode(&mut page, &registry).unwrap();
        assert_eq!(page.matches("barelb_peer_datagrams_refused_total{").count(), reasons, "{page}");
        for _ in 0..2 {
            peers.refused(&BTreeMap::from([("forged", 3), ("stale_reply", 1)]));
        }
        let refused: Vec<_> = samples(&peers).into_iter().filter(|line| line.contains("refused")).collect();
        assert_eq!(
            refused,
            [("forged", 6), ("stale_reply", 2)].map(|(reason, count)| format!(
                "barelb_peer_datagrams_refused_total{{reason=\"{reason}\"}} {count}"
            ))
        );
    }

    #[test]
    fn the_page_says_whether_nodes_are_watched_and_which() {
        let peers = Peers::new(&NodeName::new("node-a").unwrap());
        assert_eq!((peers.page().node.as_str(), peers.page().watching), ("node-a", Watching::Starting));
        let sessions = vec![session("node-b", "eth0", "up", [100, 95, 4], None)];
        peers.watching(Watching::On);
        peers.sessions(&sessions);
        assert_eq!((peers.page().watching, peers.page().sessions), (Watching::On, sessions));
    }

    /// What is told of other nodes where there are none.
    pub(in crate::agent::metrics) fn nobody_is_watched() -> String {
        let mut reasons: Vec<_> = Refused::all().map(Refused::name).collect();
        reasons.sort_unstable();
        let refused = |reason| format!("barelb_peer_datagrams_refused_total{{reason=\"{reason}\"}} 0\n");
        let sessions = ["down", "relayed", "suspect", "unproven", "up"]
            .map(|status| format!("barelb_peer_sessions{{status=\"{status}\"}} 0\n"));
        format!(
            "# HELP barelb_peer_sessions Other nodes that are probed, each on each link, by what is known of them.\n\
             # TYPE barelb_peer_sessions gauge\n\
             {}\
             # HELP barelb_peer_datagrams_refused Datagrams on the ports of liveness that were neither a reply nor a message, \
             by the reason.\n\
             # TYPE barelb_peer_datagrams_refused counter\n\
             {}",
            sessions.concat(),
            reasons.into_iter().map(refused).collect::<String>()
        )
    }
}
