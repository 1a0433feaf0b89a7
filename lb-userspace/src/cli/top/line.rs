//! What a row of the screen is made of, made where it holds nobody up.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::cli::status::join::State;
use crate::cli::status::report::Report;
use crate::cli::status::view::{View, rate};

/// The columns.
pub(super) const HEADERS: [&str; 11] = [
    "ADDRESS",
    "SERVICES",
    "NODE",
    "REQUESTS/S",
    "REQUESTS",
    "LAST ASKED",
    "BY",
    "INTERFACE",
    "MODE",
    "SINCE",
    "PEERS",
];
/// Characters of a cell that are shown; many Services may share an address.
const WIDEST: usize = 40;

/// An address, and a node that answers for it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Line {
    pub(super) cells: [String; HEADERS.len()],
    /// Something is wrong with it.
    pub(super) is_wrong: bool,
    pub(super) key: Key,
    per_second: f64,
    requests: u64,
    last_asked_ms: Option<u64>,
}

/// What remains the same of a row, also when others come and go; rows without an address are last.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    has_none: bool,
    ip: Option<IpAddr>,
    service: String,
    node: String,
}

/// By what rows are ordered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Sort {
    /// By requests a second, most first.
    #[default]
    Rate,
    /// By requests, most first.
    Requests,
    /// By the last request, the latest first.
    Asked,
    /// By address.
    Address,
    /// By Service.
    Service,
    /// By node.
    Node,
}

impl Sort {
    /// The one that follows.
    pub(super) fn next(self) -> Self {
        match self {
            Self::Rate => Self::Requests,
            Self::Requests => Self::Asked,
            Self::Asked => Self::Address,
            Self::Address => Self::Service,
            Self::Service => Self::Node,
            Self::Node => Self::Rate,
        }
    }

    /// The column it is by.
    pub(super) fn column(self) -> usize {
        match self {
            Self::Address => 0,
            Self::Service => 1,
            Self::Node => 2,
            Self::Rate => 3,
            Self::Requests => 4,
            Self::Asked => 5,
        }
    }

    /// Rows of which the same is true are in the order of their addresses.
    pub(super) fn compare(self, one: &Line, other: &Line) -> Ordering {
        let by = match self {
            Self::Rate => other.per_second.total_cmp(&one.per_second),
            Self::Requests => other.requests.cmp(&one.requests),
            // What was never asked for is last.
            Self::Asked => {
                let never = |line: &Line| (line.last_asked_ms.is_none(), line.last_asked_ms);
                never(one).cmp(&never(other))
            }
            Self::Address => Ordering::Equal,
            Self::Service => one.cells[1].cmp(&other.cells[1]),
            Self::Node => one.cells[2].cmp(&other.cells[2]),
        };
        by.then_with(|| one.key.cmp(&other.key))
    }
}

impl Line {
    /// Requests a second; none where that is not known.
    pub(super) fn per_second(&self) -> f64 {
        self.per_second
    }

    /// Whether one of the cells has this text; it is in small letters.
    pub(super) fn has(&self, text: &str) -> bool {
        self.cells.iter().any(|cell| cell.to_lowercase().contains(text))
    }
}

/// Makes rows of reports, and rates of what was counted from one to the next.
#[derive(Debug, Default)]
pub(super) struct Liner {
    requests: BTreeMap<Key, u64>,
}

impl Liner {
    /// The rows, so long after the last call. Where there was none before, rates are those of the agents, of the last ten to
    /// twenty seconds.
    pub(super) fn lines(&mut self, report: &Report, since: Duration) -> Vec<Line> {
        let before = std::mem::take(&mut self.requests);
        let mut lines = Vec::with_capacity(report.addresses.len());
        for row in &report.addresses {
            let owners = row.owners.iter().map(Some);
            for owner in owners.chain(row.owners.is_empty().then_some(None)) {
                let view = View::new(row, owner);
                let key = Key {
                    has_none: row.ip.is_none(),
                    ip: row.ip,
                    service: if row.ip.is_none() { row.services.join(",") } else { String::new() },
                    node: view.node(),
                };
                let asked = view.asked();
                let more = before.get(&key).and_then(|before| asked.checked_sub(*before));
                let seconds = since.as_secs_f64();
                let counted = more.filter(|_| seconds > 0.0).map(|more| per_second(more, seconds));
                let known = owner.and(counted.or_else(|| view.per_second()));
                if owner.is_some() {
                    self.requests.insert(key.clone(), asked);
                }
                lines.push(line(view, key, known, row.state != State::Answered));
            }
        }
        lines
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rate has few digits")]
fn per_second(requests: u64, seconds: f64) -> f64 {
    requests as f64 / seconds
}

fn line(view: View<'_>, key: Key, known: Option<f64>, is_wrong: bool) -> Line {
    let cells = [
        view.address(),
        view.services(),
        view.node(),
        known.map_or_else(|| view.rate(), rate),
        view.requests(),
        view.last_asked(),
        view.asked_by(),
        view.links(),
        view.modes(),
        view.since(),
        view.peers(),
    ];
    Line {
        cells: cells.map(shortened),
        is_wrong,
        key,
        per_second: known.unwrap_or_default(),
        requests: view.asked(),
        last_asked_ms: view.last().map(|(ms, _)| ms),
    }
}

fn shortened(text: String) -> String {
    if text.chars().count() <= WIDEST {
        return text;
    }
    text.chars().take(WIDEST - 1).chain(['…']).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::agent::addresses::AddressSaid;
    use crate::cli::status::join::join;
    use crate::cli::status::join::tests::{entry, said, service};

    const V4: &str = "192.0.2.100";
    const V6: &str = "2001:db8::100";

    /// Asked so often by now.
    fn asked(ip: &str, requests: u64) -> AddressSaid {
        let mut address = entry(ip, "default/web", "owner");
        if let Some(counts) = &mut address.entries[0].counts {
            counts.requests = requests;
        }
        address
    }

    pub(in crate::cli::top) fn report(requests: [u64; 2]) -> Report {
        let services =
            [service("default/web", &[V4, V6]), service("shop/late", &[]), service("shop/late2", &[])];
        let agents = [said("node-a", vec![asked(V4, requests[0]), asked(V6, requests[1])])];
        Report { addresses: join(&services, &agents, &[], true), ..Report::default() }
    }

    #[test]
    fn rates_are_those_since_the_last_look() {
        let mut liner = Liner::default();
        let column = |lines: &[Line], column: usize| -> Vec<String> {
            lines.iter().map(|line| line.cells[column].clone()).collect()
        };
        let lines = liner.lines(&report([100, 50]), Duration::ZERO);
        assert_eq!(column(&lines, 0), [V4, V6, "<pending>", "<pending>"]);
        assert_eq!(column(&lines, 3), ["0.5", "0.5", "<none>", "<none>"], "what the agent says");
        assert_eq!(lines.iter().map(|line| line.is_wrong).collect::<Vec<_>>(), [false, false, true, true]);
        let lines = liner.lines(&report([120, 50]), Duration::from_secs(2));
        assert_eq!(column(&lines, 3), ["10", "0", "<none>", "<none>"]);
        assert_eq!(column(&lines, 4), ["120", "50", "<none>", "<none>"]);
        // A new life of the entry.
        let lines = liner.lines(&report([3, 52]), Duration::from_secs(2));
        assert_eq!(column(&lines, 3), ["0.5", "1.0", "<none>", "<none>"]);
    }

    #[test]
    fn rows_are_in_the_order_that_is_chosen() {
        let mut liner = Liner::default();
        liner.lines(&report([100, 50]), Duration::ZERO);
        let lines = liner.lines(&report([110, 90]), Duration::from_secs(2));
        let order = |sort: Sort| -> Vec<&str> {
            let mut sorted: Vec<&Line> = lines.iter().collect();
            sorted.sort_by(|one, other| sort.compare(one, other));
            sorted.iter().map(|line| line.cells[0].as_str()).take(3).collect()
        };
        assert_eq!(order(Sort::Rate), [V6, V4, "<pending>"]);
        assert_eq!(order(Sort::Requests), [V4, V6, "<pending>"]);
        assert_eq!(order(Sort::Asked), [V4, V6, "<pending>"]);
        assert_eq!(order(Sort::Address), [V4, V6, "<pending>"]);
        assert_eq!(order(Sort::Node), ["<pending>", "<pending>", V4]);
        let mut sort = Sort::default();
        let columns: Vec<usize> = std::iter::repeat_with(|| {
            let column = sort.column();
            sort = sort.next();
            column
        })
        .take(7)
        .collect();
        assert_eq!(columns, [3, 4, 5, 0, 1, 2, 3]);
    }

    #[test]
    fn a_cell_has_an_end() {
        assert_eq!(shortened("ä".repeat(40)), "ä".repeat(40));
        assert_eq!(shortened("ä".repeat(41)), "ä".repeat(39) + "…");
    }
}
