//! Sessions with other nodes, as `barelb status --peers` and `barelb inspect` print them.

use std::time::Duration;

use crate::agent::sessions::SessionState;

/// The columns of a session.
pub(super) fn headers(wide: bool) -> Vec<&'static str> {
    let mut headers = vec!["INTERFACE", "PEER", "STATUS", "INTERVAL", "SENT", "LOST", "DOWNS", "ROUND TRIP"];
    if wide {
        headers.extend(["ADDRESS", "PROFILE", "SHORTEST", "LONGEST"]);
    }
    headers
}

/// The same of one session.
pub(super) fn cells(session: &SessionState, wide: bool) -> Vec<String> {
    let stretched = if session.is_stretched() { " (stretched)" } else { "" };
    let mut cells = vec![
        session.link.clone(),
        session.peer.clone(),
        session.status.clone(),
        format!("{}{stretched}", time(session.interval_us)),
        session.sent.to_string(),
        format!("{} ({})", session.lost, per_cent(session.lost_percent())),
        session.downs.to_string(),
        some_time(session.round_trip_us),
    ];
    if wide {
        let profile = (session.profile_interval_us > 0).then_some(session.profile_interval_us);
        cells.extend([
            session.address.to_string(),
            some_time(profile),
            some_time(session.shortest_us),
            some_time(session.longest_us),
        ]);
    }
    cells
}

fn time(micros: u64) -> String {
    format!("{:?}", Duration::from_micros(micros))
}

fn some_time(micros: Option<u64>) -> String {
    micros.map_or_else(|| "-".to_owned(), time)
}

/// A loss that is there is not shown as none.
fn per_cent(number: f64) -> String {
    match number {
        0.0 => "0%".to_owned(),
        tiny if tiny < 0.01 => "<0.01%".to_owned(),
        number => format!("{number:.2}%"),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::cli::table::{lines, plain};

    /// Of `node-b`, well, and of `node-c`, which is only heard by others.
    pub(in crate::cli) fn sessions() -> [SessionState; 2] {
        let well = SessionState {
            peer: "node-b".to_owned(),
            link: "eth0".to_owned(),
            address: "192.0.2.12".parse().unwrap(),
            status: "up".to_owned(),
            interval_us: 10_000,
            profile_interval_us: 10_000,
            sent: 360_000,
            replies: 359_988,
            lost: 12,
            downs: 0,
            round_trip_us: Some(213),
            shortest_us: Some(95),
            longest_us: Some(12_500),
        };
        let cut = SessionState {
            peer: "node-c".to_owned(),
            address: "2001:db8::13".parse().unwrap(),
            status: "relayed".to_owned(),
            interval_us: 24_000,
            sent: 700,
            replies: 0,
            lost: 684,
            downs: 1,
            round_trip_us: None,
            shortest_us: None,
            longest_us: None,
            ..well.clone()
        };
        [well, cut]
    }

    fn shown(wide: bool) -> String {
        let mut table = plain(&headers(wide));
        for session in sessions() {
            table.add_row(cells(&session, wide));
        }
        lines(&table)
    }

    #[test]
    fn a_session_is_a_row() {
        let expected = "\
INTERFACE  PEER    STATUS   INTERVAL          SENT    LOST           DOWNS  ROUND TRIP
eth0       node-b  up       10ms              360000  12 (<0.01%)    0      213µs
eth0       node-c  relayed  24ms (stretched)  700     684 (100.00%)  1      -";
        assert_eq!(shown(false), expected);
    }

    #[test]
    fn wide_has_addresses_the_interval_of_the_profile_and_extremes() {
        let expected = "\
INTERFACE  PEER    STATUS   INTERVAL          SENT    LOST           DOWNS  ROUND TRIP  ADDRESS       PROFILE  SHORTEST  LONGEST
eth0       node-b  up       10ms              360000  12 (<0.01%)    0      213µs       192.0.2.12    10ms     95µs      12.5ms
eth0       node-c  relayed  24ms (stretched)  700     684 (100.00%)  1      -           2001:db8::13  10ms     -         -";
        assert_eq!(shown(true), expected);
    }

    #[test]
    fn what_is_lost_is_not_shown_as_nothing() {
        for (number, shown) in [(0.0, "0%"), (0.001, "<0.01%"), (0.014, "0.01%"), (33.333, "33.33%")] {
            assert_eq!(per_cent(number), shown);
        }
    }
}
