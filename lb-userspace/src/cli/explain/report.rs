//! What is explained, for programs and for people.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::IpAddr;

use lb_core::explain::{Explanation, explain};
use lb_core::ids::{NodeName, ServiceKey};
use lb_core::plan::Snapshot;
use serde::Serialize;

use super::asked::{Heard, Seen};
use super::service::Explained;
use crate::cli::ask::Unasked;
use crate::cli::table::{lines, plain};

/// All of it, as `-o json` prints it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    /// The Service, if that is what was asked for.
    service: Option<Explained>,
    /// Each of its addresses, or the one that was asked for.
    addresses: Vec<Address>,
    /// Agents that have not said when addresses were last asked for.
    unasked: Vec<Unasked>,
}

/// An address.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Address {
    ip: IpAddr,
    pool: Option<String>,
    /// Services that hold it.
    services: Vec<Holder>,
    advertisements: Vec<Advertisement>,
    /// The address that ranks are made of, with the names of nodes.
    rank_key: Option<IpAddr>,
    /// The first that can own it.
    owner: Option<String>,
    nodes: Vec<Node>,
    /// When it was last asked for.
    #[serde(skip)]
    last_asked: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Holder {
    service: String,
    /// Why nobody announces the address for it.
    silence: Option<String>,
    /// Nodes that say that they announce it (`ServiceL2Status`).
    announced_by: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Advertisement {
    name: String,
    covers_pool: bool,
    selects_service: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Node {
    #[serde(rename = "node")]
    name: String,
    /// From 0; nothing for a node that can't own the address.
    rank: Option<usize>,
    /// The sum of weights of `preferredNodeSelectors`: the highest comes first.
    score: Option<u32>,
    /// What keeps it from being a candidate.
    why_not: Vec<String>,
    /// What it has seen of requests, if it has the address in its table and has said so.
    seen: Option<Seen>,
}

impl Report {
    /// Explains these addresses; `said` are the nodes that say they announce a Service.
    pub(super) fn new(
        service: Option<Explained>,
        addresses: Vec<IpAddr>,
        snapshot: &Snapshot,
        said: impl Fn(&ServiceKey) -> Vec<NodeName>,
    ) -> Self {
        let address = |ip: IpAddr| Address::new(&explain(snapshot, ip), &said);
        Self { service, addresses: addresses.into_iter().map(address).collect(), unasked: Vec::new() }
    }

    /// What is explained and may be in tables: nobody asks for what nobody has.
    pub(super) fn ips(&self) -> BTreeSet<IpAddr> {
        self.addresses
            .iter()
            .filter(|address| !address.services.is_empty())
            .map(|address| address.ip)
            .collect()
    }

    /// The same with what the agents say.
    pub(super) fn with(mut self, heard: &Heard) -> Self {
        for address in &mut self.addresses {
            let seen = heard.of(address.ip);
            address.last_asked = heard.in_words(&seen);
            for one in seen {
                if let Some(node) = address.nodes.iter_mut().find(|node| node.name == one.node) {
                    node.seen = Some(one);
                } else {
                    tracing::debug!(node = one.node, "an agent of a node that is not in the cluster");
                }
            }
        }
        self.unasked.clone_from(&heard.unasked);
        self
    }

    /// For people; `wide` also names the advertisements and nodes that have nothing to do with it.
    pub(super) fn text(&self, wide: bool) -> String {
        let mut text = String::new();
        if let Some(service) = &self.service {
            text += &of_service(service);
        }
        for address in &self.addresses {
            if !text.is_empty() {
                text.push('\n');
            }
            text += &address.text(wide);
        }
        text
    }
}

fn of_service(service: &Explained) -> String {
    let class = service.class.as_ref().map(|class| format!(", class {class}")).unwrap_or_default();
    let policy = service.external_traffic_policy;
    let first = format!("Service {}{class}, externalTrafficPolicy {policy}", service.service);
    let from = service.pool.as_ref().map(|pool| format!(" from pool {pool}")).unwrap_or_default();
    let has =
        (!service.addresses.is_empty()).then(|| format!("  has      {}{from}", service.addresses.join(", ")));
    let errors = service.errors.iter().map(|error| format!("  error    {error}"));
    let all: Vec<String> = [first].into_iter().chain(has).chain(errors).collect();
    all.join("\n") + "\n"
}

impl Address {
    fn new(explained: &Explanation, said: impl Fn(&ServiceKey) -> Vec<NodeName>) -> Self {
        let candidates = explained.candidates.iter().enumerate().map(|(rank, candidate)| Node {
            name: candidate.node.to_string(),
            rank: Some(rank),
            score: Some(candidate.score),
            why_not: Vec::new(),
            seen: None,
        });
        let others = explained.others.iter().map(|(node, bars)| Node {
            name: node.to_string(),
            rank: None,
            score: None,
            why_not: bars.iter().map(ToString::to_string).collect(),
            seen: None,
        });
        let holder = |holder: &lb_core::explain::Holder| Holder {
            service: holder.key.to_string(),
            silence: holder.silence.as_ref().map(ToString::to_string),
            announced_by: said(&holder.key).iter().map(ToString::to_string).collect(),
        };
        let advertisements = explained.advertisements.iter().map(|notice| Advertisement {
            name: notice.name.clone(),
            covers_pool: notice.covers,
            selects_service: notice.selects,
        });
        Self {
            ip: explained.ip,
            pool: explained.pool.as_ref().map(ToString::to_string),
            services: explained.services.iter().map(holder).collect(),
            advertisements: advertisements.collect(),
            rank_key: explained.key,
            owner: explained.owner.as_ref().map(ToString::to_string),
            nodes: candidates.chain(others).collect(),
            last_asked: String::new(),
        }
    }

    fn text(&self, wide: bool) -> String {
        let mut text = format!("{}\n", self.ip);
        let mut line = |what: &str, how: String| {
            // Writing to a string does not fail.
            let _done = writeln!(text, "  {what:<10} {how}");
        };
        line("pool", self.pool.clone().unwrap_or_else(|| "it lies in none".to_owned()));
        if self.services.is_empty() {
            line("held by", "no Service: nobody answers for it".to_owned());
            return text;
        }
        for holder in &self.services {
            line("held by", holder.service.clone());
            if let Some(silence) = &holder.silence {
                line("silent", silence.clone());
            }
        }
        for one in self.advertisements.iter().filter(|one| wide || (one.covers_pool && one.selects_service)) {
            let how = match (one.covers_pool, one.selects_service) {
                (true, true) => "",
                (true, false) => ": it selects other Services",
                (false, _) => ": it is for other pools",
            };
            line("announced", format!("L2Advertisement {}{how}", one.name));
        }
        if let (Some(owner), Some(key)) = (&self.owner, self.rank_key) {
            line("owner", format!("{owner}, first of those that can by sha256(node + \"#{key}\")"));
        } else if self.services.iter().any(|holder| holder.silence.is_none()) {
            line("owner", "none: no node can own it".to_owned());
        }
        for holder in self.services.iter().filter(|holder| !holder.announced_by.is_empty()) {
            line("says so", format!("{} (ServiceL2Status)", holder.announced_by.join(", ")));
        }
        line("last asked", self.last_asked.clone());
        if self.services.iter().any(|holder| holder.silence.is_none()) {
            text.push('\n');
            text += &self.table();
        }
        text
    }

    fn table(&self) -> String {
        let mut table = plain(&["RANK", "NODE", "SCORE", "LAST ASKED", "STATE"]);
        for node in &self.nodes {
            let state = match node.rank {
                Some(_) if self.owner.as_ref() == Some(&node.name) => "owner".to_owned(),
                Some(_) => "standby".to_owned(),
                None => node.why_not.join("; "),
            };
            let rank = node.rank.map_or_else(|| "-".to_owned(), |rank| rank.to_string());
            let score = node.score.map_or_else(|| "-".to_owned(), |score| score.to_string());
            let asked = node.seen.as_ref().map_or_else(|| "-".to_owned(), Seen::when);
            table.add_row([rank, node.name.clone(), score, asked, state]);
        }
        lines(&table) + "\n"
    }
}
