//! What the agent says of the nodes that it watches: the page `/peers` of its HTTP port and a part of the admin socket's
//! answer, shown by `barelb status --peers` and `barelb inspect`.

use std::net::IpAddr;
use std::time::Duration;

use lb_core::failover::PeerState;
use serde::{Deserialize, Serialize};

/// Where the HTTP port answers with a [`PeerReport`].
pub const PATH: &str = "/peers";

/// The page.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerReport {
    /// Version of the program.
    pub version: String,
    /// Name of the node.
    pub node: String,
    /// Whether there is anything to know.
    pub watching: Watching,
    /// Every node that is watched, on every link.
    pub sessions: Vec<SessionState>,
}

/// Whether an agent watches other nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Watching {
    /// It does not have the table yet: it has just started, or stands by behind another agent of its node.
    #[default]
    Starting,
    /// It does not, by `--failover-profile off` or because there is no cluster.
    Off,
    /// It does.
    On,
}

/// A session: another node on a link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionState {
    /// The node.
    pub peer: String,
    /// The link.
    pub link: String,
    /// Its address there.
    pub address: IpAddr,
    /// `up`, `down`, `suspect`, `relayed`, `unproven`.
    pub status: String,
    /// From one probe to the next as it is now, microseconds.
    pub interval_us: u64,
    /// The same as the profile has it, shorter where `--failover-rate` allows no more probes.
    #[serde(default)]
    pub profile_interval_us: u64,
    /// Probes sent.
    pub sent: u64,
    /// Replies.
    pub replies: u64,
    /// Probes without a reply, but for those of times in which the peer was down.
    #[serde(default)]
    pub lost: u64,
    /// Times it was down.
    pub downs: u32,
    /// Smoothed, microseconds.
    pub round_trip_us: Option<u64>,
    /// The shortest one.
    #[serde(default)]
    pub shortest_us: Option<u64>,
    /// The longest one, with what the agent took to look.
    #[serde(default)]
    pub longest_us: Option<u64>,
}

/// Which session it is.
#[derive(Clone, Debug)]
pub struct SessionName {
    /// The node.
    pub peer: String,
    /// The link.
    pub link: String,
    /// Its address there.
    pub address: IpAddr,
}

impl SessionState {
    /// What is to be said of a session.
    pub fn new(name: SessionName, state: &PeerState) -> Self {
        let SessionName { peer, link, address } = name;
        let PeerState { status, traffic, interval, unlimited } = *state;
        Self {
            peer,
            link,
            address,
            status: status.name().to_owned(),
            interval_us: micros(interval),
            profile_interval_us: micros(unlimited),
            sent: traffic.sent,
            replies: traffic.replies,
            lost: traffic.lost,
            downs: traffic.downs,
            round_trip_us: traffic.round_trip.map(micros),
            shortest_us: traffic.extremes.map(|(shortest, _)| micros(shortest)),
            longest_us: traffic.extremes.map(|(_, longest)| micros(longest)),
        }
    }

    /// It is probed less often than the profile has it, because of `--failover-rate`.
    pub fn is_stretched(&self) -> bool {
        self.profile_interval_us > 0 && self.interval_us > self.profile_interval_us
    }

    /// How many of a hundred probes have no reply, of those of which that is known.
    #[expect(clippy::cast_precision_loss, reason = "a per cent has few digits")]
    pub fn lost_percent(&self) -> f64 {
        let known = self.lost + self.replies;
        if known == 0 { 0.0 } else { self.lost as f64 * 100.0 / known as f64 }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use lb_core::failover::{Status, Traffic};
    use serde_json::json;

    use super::*;

    fn session(traffic: Traffic, interval: [u64; 2]) -> SessionState {
        let address = "2001:db8::2".parse().unwrap();
        let name = SessionName { peer: "node-b".to_owned(), link: "eth0".to_owned(), address };
        let [interval, unlimited] = interval.map(Duration::from_millis);
        SessionState::new(name, &PeerState { status: Status::Relayed, traffic, interval, unlimited })
    }

    #[test]
    fn a_session_says_what_was_counted() {
        let ms = Duration::from_millis;
        let traffic = Traffic {
            sent: 1010,
            replies: 990,
            lost: 10,
            downs: 2,
            round_trip: Some(ms(2)),
            extremes: Some((ms(1), ms(7))),
        };
        let said = session(traffic, [24, 10]);
        assert!(said.is_stretched() && !session(traffic, [10, 10]).is_stretched());
        assert!((said.lost_percent() - 1.0).abs() < 1e-9);
        let expected = json!({
            "peer": "node-b", "link": "eth0", "address": "2001:db8::2", "status": "relayed",
            "intervalUs": 24_000, "profileIntervalUs": 10_000, "sent": 1010, "replies": 990, "lost": 10, "downs": 2,
            "roundTripUs": 2000, "shortestUs": 1000, "longestUs": 7000,
        });
        assert_eq!(serde_json::to_value(&said).unwrap(), expected);
    }

    #[test]
    fn nothing_sent_is_nothing_lost() {
        assert!(session(Traffic::default(), [10, 10]).lost_percent().abs() < 1e-9);
    }

    #[test]
    fn what_an_agent_of_another_version_says_is_understood() {
        let said = json!({
            "version": "0.1.0", "node": "node-a", "watching": "on", "more": 1,
            "sessions": [{
                "peer": "node-b", "link": "eth0", "address": "192.0.2.2", "status": "up", "intervalUs": 10_000,
                "sent": 3, "replies": 2, "downs": 0, "roundTripUs": null,
            }],
        });
        let report: PeerReport = serde_json::from_value(said).unwrap();
        assert_eq!(report.watching, Watching::On);
        assert!(!report.sessions[0].is_stretched());
    }
}
