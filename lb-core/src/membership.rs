//! Which nodes have a living agent, judged by the Leases that agents renew.
//!
//! Whoever watches measures on its own monotonic clock how long a Lease has not changed; the times written in it are
//! compared and never read as times (the rule of client-go's leader election). Nobody is judged dead while the own
//! renewals are not seen to come back, nor before a whole duration has passed since they are seen again: a server or a
//! watch that was away has kept those of the others away too. So time passes for a Lease only up to the last own
//! renewal that was seen.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{
    eligibility::{Link, LinkFitness, fault},
    ids::{LinkName, NodeName},
};

#[cfg(test)]
mod tests;

/// How often a Lease is renewed at the least.
const RENEW: Duration = Duration::from_secs(10);
/// What a Lease lasts longer than the data plane of an agent that is gone.
const MARGIN: Duration = Duration::from_secs(15);

/// How long the Lease of an agent with this grace lasts: its data plane is silent before others answer.
pub fn lease_duration(grace: Duration) -> Duration {
    grace + MARGIN
}

/// How often a Lease of this duration is renewed.
pub fn renew_interval(duration: Duration) -> Duration {
    RENEW.min(duration / 5)
}

/// What a Lease says of its node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heartbeat {
    /// Who renews it; empty: the agent has given it back.
    pub holder: String,
    /// When it was renewed, by the holder's clock: another value is a sign of life, and nothing else.
    pub renewed: i64,
    /// How long it lasts after a renewal.
    pub duration: Duration,
    /// `metadata.resourceVersion`.
    pub version: String,
    /// What the node reports of its links; `None`: nothing that can be read, and it is taken as fit.
    pub links: Option<BTreeMap<LinkName, LinkFitness>>,
}

#[derive(Debug, Clone)]
struct Member {
    heartbeat: Heartbeat,
    /// When it changed last, by the own clock.
    changed: Duration,
    alive: bool,
}

/// Everything that is known of the agents. Times are since any fixed origin of the own monotonic clock.
#[derive(Debug, Clone)]
pub struct Membership {
    me: NodeName,
    /// The name under which this process renews: the Lease of the process before says nothing of this one.
    holder: String,
    /// An own renewal that long ago is no sign that the server answers. A Lease lasts longer than this and an interval
    /// together, so that a short outage, which nobody notices as one, ends nobody's.
    trust: Duration,
    members: BTreeMap<NodeName, Member>,
    /// When the last own renewal was seen.
    renewed: Option<Duration>,
    /// Since when they have gone well without a break.
    trusted: Option<Duration>,
}

impl Membership {
    /// Nothing is known yet. The Lease of the node `me` is renewed by `holder` and has this duration.
    pub fn new(me: NodeName, holder: String, duration: Duration) -> Self {
        let trust = renew_interval(duration) * 5 / 2;
        Self { me, holder, trust, members: BTreeMap::new(), renewed: None, trusted: None }
    }

    /// Forgets who is there: nothing was seen for a while.
    pub fn forget(&mut self) {
        (self.renewed, self.trusted) = (None, None);
        self.members.clear();
    }

    /// Whether the own Lease has been seen as this process renews it. Before, this node must own nothing: the others may
    /// have seen its former Lease run out.
    pub fn is_joined(&self) -> bool {
        self.renewed.is_some()
    }

    /// Takes in all Leases as they are now. A Lease that is seen for the first time is alive for its duration.
    pub fn observe(&mut self, leases: &BTreeMap<NodeName, Heartbeat>, now: Duration) {
        self.members.retain(|node, _| leases.contains_key(node));
        for (node, heartbeat) in leases {
            let known = self.members.get(node);
            let same = |known: &&Member| {
                (&known.heartbeat.holder, known.heartbeat.renewed) == (&heartbeat.holder, heartbeat.renewed)
            };
            let (changed, alive) = match known.filter(same) {
                Some(known) => (known.changed, known.alive),
                None => (now, !heartbeat.holder.is_empty()),
            };
            let own = *node == self.me && heartbeat.holder == self.holder;
            if own && known.is_none_or(|known| !same(&known)) {
                if !self.trusts(now) {
                    self.trusted = Some(now);
                }
                self.renewed = Some(now);
            }
            self.members.insert(node.clone(), Member { heartbeat: heartbeat.clone(), changed, alive });
        }
    }

    fn trusts(&self, now: Duration) -> bool {
        self.renewed.is_some_and(|renewed| now.saturating_sub(renewed) <= self.trust)
    }

    /// Judges who has lapsed by the last own renewal, and returns them with the versions of their Leases: these are to
    /// be marked, so that whoever starts later knows it too. What is later than that renewal is not looked at: the
    /// server may be away since.
    pub fn judge(&mut self) -> Vec<(NodeName, String)> {
        let (Some(trusted), Some(renewed)) = (self.trusted, self.renewed) else { return Vec::new() };
        let mut lapsed = Vec::new();
        for (node, member) in self.members.iter_mut().filter(|(_, member)| member.alive) {
            if renewed.saturating_sub(member.changed.max(trusted)) > member.heartbeat.duration {
                member.alive = false;
                lapsed.push((node.clone(), member.heartbeat.version.clone()));
            }
        }
        lapsed
    }

    /// When somebody lapses next, if the own Lease is renewed then and nothing else until then.
    pub fn next_lapse(&self) -> Option<Duration> {
        let trusted = self.trusted?;
        let alive = self.members.values().filter(|member| member.alive);
        alive.map(|member| member.changed.max(trusted) + member.heartbeat.duration).min()
    }

    /// Whether the agent of a node is there.
    pub fn is_alive(&self, node: &NodeName) -> bool {
        self.members.get(node).is_some_and(|member| member.alive)
    }

    /// What a node reports of its links.
    pub fn links(&self, node: &NodeName) -> Option<&BTreeMap<LinkName, LinkFitness>> {
        self.members.get(node)?.heartbeat.links.as_ref()
    }
}

/// A link in the annotation `barelb.io/links` of a Lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LinkReport {
    /// Its name.
    pub name: LinkName,
    /// Its Ethernet address, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// Its addresses.
    #[serde(default)]
    pub addresses: Vec<IpAddr>,
    /// Whether it can announce.
    pub fit: bool,
    /// Why not, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// The report of a node about its links. Links that can't announce for what they are, such as a bridge's port, are
/// left out unless the user named them: a node may have hundreds.
pub fn report(links: &[Link], allowed: &BTreeSet<LinkName>) -> Vec<LinkReport> {
    use crate::eligibility::LinkFault::{Down, Enslaved, Excluded, NoArp, NoMac, NotAllowed};
    let reported = links.iter().filter_map(|link| {
        let fault = fault(link, allowed);
        let shown = allowed.contains(&link.name)
            || match fault {
                None | Some(Down | NoMac) => true,
                Some(Excluded | NotAllowed | Enslaved | NoArp) => false,
            };
        shown.then(|| LinkReport {
            name: link.name.clone(),
            mac: link.mac.map(|mac| mac.to_string()),
            addresses: link.addresses.clone(),
            fit: fault.is_none(),
            why: fault.map(|fault| fault.to_string()),
        })
    });
    reported.collect()
}

/// What a report says of who can announce.
pub fn fitness(report: impl IntoIterator<Item = LinkReport>) -> BTreeMap<LinkName, LinkFitness> {
    let fitness = |fit| if fit { LinkFitness::Fit } else { LinkFitness::Unfit };
    report.into_iter().map(|link| (link.name, fitness(link.fit))).collect()
}
