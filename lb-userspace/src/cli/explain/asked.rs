//! When an address was last asked for, as the nodes that have it in their tables count it.

use std::net::IpAddr;
use std::time::Duration;

use serde::Serialize;

use crate::agent::addresses::CountsSaid;
use crate::cli::age::age;
use crate::cli::ask::Unasked;
use crate::cli::status::join::Said;

/// What the agents have said of some addresses.
#[derive(Debug, Default)]
pub(super) struct Heard {
    pub(super) said: Vec<Said>,
    /// Those that have not.
    pub(super) unasked: Vec<Unasked>,
    /// Why none was asked.
    pub(super) failure: Option<String>,
}

/// What a node has seen of requests for an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Seen {
    #[serde(skip)]
    pub(super) node: String,
    /// Since its entries are there.
    pub(super) requests: u64,
    /// Milliseconds since the last one; nothing: there was none.
    pub(super) last_asked_ms: Option<u64>,
    /// From whom it was; unspecified for a probe.
    pub(super) requester: Option<IpAddr>,
    pub(super) requester_mac: Option<String>,
}

impl Seen {
    /// When that was.
    pub(super) fn when(&self) -> String {
        self.last_asked_ms
            .map_or_else(|| "never".to_owned(), |ms| format!("{} ago", age(Duration::from_millis(ms))))
    }

    fn by(&self) -> String {
        let mac = self.requester_mac.as_deref().unwrap_or("a MAC that is not known");
        match self.requester.filter(|ip| !ip.is_unspecified()) {
            Some(ip) => format!("{ip} ({mac})"),
            None => format!("a probe of {mac}"),
        }
    }
}

impl Heard {
    /// What each node that has the address in its table has seen.
    pub(super) fn of(&self, ip: IpAddr) -> Vec<Seen> {
        let seen = |said: &Said| {
            let address = said.report.addresses.iter().find(|address| address.ip == ip)?;
            let counts: Vec<&CountsSaid> =
                address.entries.iter().filter_map(|entry| entry.counts.as_ref()).collect();
            let last = counts.iter().filter(|counts| counts.last_asked_ms.is_some());
            let last = last.min_by_key(|counts| counts.last_asked_ms).or(counts.first())?;
            Some(Seen {
                node: said.report.node.clone(),
                requests: counts.iter().map(|counts| counts.requests).sum(),
                last_asked_ms: last.last_asked_ms,
                requester: last.requester,
                requester_mac: last.requester_mac.clone(),
            })
        };
        self.said.iter().filter_map(seen).collect()
    }

    /// When the address was last asked for, in words; `seen` is what [`Heard::of`] says.
    pub(super) fn in_words(&self, seen: &[Seen]) -> String {
        let asked = seen.iter().filter(|one| one.last_asked_ms.is_some());
        let last = asked.min_by_key(|one| one.last_asked_ms);
        let (mut nodes, mut whys) = (Vec::new(), Vec::new());
        for (node, why) in self.unasked.iter().map(Unasked::warning) {
            nodes.push(node);
            if !whys.contains(&why) {
                whys.push(why);
            }
        }
        whys.extend(self.failure.as_deref());
        match last {
            Some(last) => {
                let but = if nodes.is_empty() {
                    String::new()
                } else {
                    format!("; what {} saw is not known: {}", nodes.join(", "), whys.join("; "))
                };
                let (when, by, node) = (last.when(), last.by(), &last.node);
                format!("{when} by {by}, as {node} counts it: {} requests{but}", last.requests)
            }
            None if !whys.is_empty() => format!("not known: {}", whys.join("; ")),
            None if seen.is_empty() => "not known: no node has it in its table".to_owned(),
            None => format!(
                "never: no request has reached {}; while a client asks, `barelb trace` on a node shows what does",
                seen.iter().map(|one| one.node.as_str()).collect::<Vec<_>>().join(", ")
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::status::join::tests::{entry, said, unasked};

    const V4: &str = "192.0.2.100";
    const V6: &str = "2001:db8::100";

    /// An agent with one entry, asked so many milliseconds ago.
    fn node(name: &str, ip: &str, ms: Option<u64>, by: &str) -> Said {
        let mut address = entry(ip, "default/web", "owner");
        let asked = ms.map(|_| by.parse().unwrap());
        address.entries[0].counts = Some(CountsSaid {
            requests: ms.map_or(0, |_| 5),
            last_asked_ms: ms,
            requester: asked,
            requester_mac: asked.map(|_| "02:00:00:00:00:0a".to_owned()),
            ..CountsSaid::default()
        });
        said(name, vec![address])
    }

    fn words(heard: &Heard, ip: &str) -> String {
        heard.in_words(&heard.of(ip.parse().unwrap()))
    }

    #[test]
    fn the_last_request_is_that_of_all_nodes() {
        for (ip, by, who) in [
            (V4, "192.0.2.10", "192.0.2.10 (02:00:00:00:00:0a)"),
            (V6, "2001:db8::10", "2001:db8::10 (02:00:00:00:00:0a)"),
            (V6, "::", "a probe of 02:00:00:00:00:0a"),
        ] {
            let said = vec![
                node("node-a", ip, Some(90_000), by),
                node("node-b", ip, Some(3_000), by),
                node("node-c", ip, None, by),
            ];
            let heard = Heard { said, ..Heard::default() };
            assert_eq!(words(&heard, ip), format!("3s ago by {who}, as node-b counts it: 5 requests"));
            let when: Vec<String> = heard.of(ip.parse().unwrap()).iter().map(Seen::when).collect();
            assert_eq!(when, ["90s ago", "3s ago", "never"]);
        }
    }

    #[test]
    fn what_is_not_known_is_told_from_what_did_not_happen() {
        let never = || vec![node("node-a", V4, None, "::"), node("node-b", V4, None, "::")];
        let once = vec![node("node-a", V4, Some(1000), "192.0.2.10")];
        let (missing, failure) = (vec![unasked("node-c"), unasked("node-d")], Some("no right".to_owned()));
        for (said, unasked, failure, expected) in [
            (
                never(),
                Vec::new(),
                None,
                "never: no request has reached node-a, node-b; while a client asks, `barelb trace` on a node shows what \
                 does",
            ),
            (never(), missing.clone(), None, "not known: away"),
            (
                once,
                missing,
                None,
                "1s ago by 192.0.2.10 (02:00:00:00:00:0a), as node-a counts it: 5 requests; what node-c, node-d saw is not \
                 known: away",
            ),
            (Vec::new(), Vec::new(), failure, "not known: no right"),
            (vec![said("node-a", Vec::new())], Vec::new(), None, "not known: no node has it in its table"),
        ] {
            assert_eq!(words(&Heard { said, unasked, failure }, V4), expected);
        }
    }
}
