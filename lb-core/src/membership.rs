//! Which nodes have a living agent, judged by the Leases that agents renew.
//!
//! Whoever watches measures on its own monotonic clock how long a Lease has not changed; the times written in it are
//! compared and never read as times (the rule of client-go's leader election). Nobody is judged dead while the own
//! renewals are not seen to come back, nor before a whole duration has passed since they are seen again: a server or a
//! watch that was away has kept those of the others away too. So time passes for a Lease only up to the last own
//! renewal that was seen.
//!
//! A node that is heard on the network does not lapse: it has lost the way to the server, and nothing else.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{
    eligibility::{Leaving, Link, LinkFitness, fault},
    ids::{LinkName, Mac, NodeName},
};

#[cfg(test)]
mod tests;

/// How often a Lease is renewed at the least.
const RENEW: Duration = Duration::from_secs(10);
/// For the next node to see that this one leaves, and to answer and announce before this one is silent.
pub const HAND_OVER: Duration = Duration::from_millis(1500);
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
    /// The same in full.
    pub reports: Vec<LinkReport>,
}

impl Heartbeat {
    /// Its agent has given it back. One that was struck out by others has no holder either, but its links say still where
    /// they can be probed.
    fn is_given_back(&self) -> bool {
        self.holder.is_empty() && self.reports.iter().all(|report| report.liveness.is_none())
    }
}

#[derive(Debug, Clone)]
struct Member {
    heartbeat: Heartbeat,
    /// When it changed last, by the own clock.
    changed: Duration,
    alive: bool,
}

/// Who knows which agents are there. By Leases it takes as long as these last; a faster one may stand in its place.
pub trait Liveness {
    /// Whether the agent of a node is there.
    fn is_alive(&self, node: &NodeName) -> bool;
}

impl Liveness for Membership {
    fn is_alive(&self, node: &NodeName) -> bool {
        let is_heard = |member: &Member| self.heard.contains(node) && !member.heartbeat.is_given_back();
        self.members.get(node).is_some_and(|member| member.alive || is_heard(member))
    }
}

/// By one look, whose agents are not there: their Leases are given back or marked, or were renewed so long before the newest
/// that they have run out. The clocks of the nodes are taken to go alike, which [`Membership`] does not.
pub fn gone_at_a_glance(leases: &BTreeMap<NodeName, Heartbeat>) -> BTreeSet<NodeName> {
    let newest = leases.values().map(|heartbeat| heartbeat.renewed).max().unwrap_or_default();
    let behind = |heartbeat: &Heartbeat| {
        let micros = u64::try_from(newest.saturating_sub(heartbeat.renewed)).unwrap_or_default();
        Duration::from_micros(micros) > heartbeat.duration
    };
    let gone = leases.iter().filter(|(_, heartbeat)| heartbeat.holder.is_empty() || behind(heartbeat));
    gone.map(|(node, _)| node.clone()).collect()
}

fn can_announce(links: &BTreeMap<LinkName, LinkFitness>) -> bool {
    links.values().any(|fitness| *fitness == LinkFitness::Fit)
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
    /// See [`Membership::hear`].
    heard: BTreeSet<NodeName>,
    /// When the last own renewal was seen.
    renewed: Option<Duration>,
    /// Since when they have gone well without a break.
    trusted: Option<Duration>,
    departure: Departure,
}

/// How far this node is in leaving.
#[derive(Debug, Clone, Default)]
struct Departure {
    /// The last own report by which this node could announce: it goes by it until `at`.
    links: Option<BTreeMap<LinkName, LinkFitness>>,
    leaving: bool,
    /// When it goes by what it has told the others; `None` until they can know.
    at: Option<Duration>,
    /// The Lease says that nothing can announce because of the leaving, and not for what the links are.
    withdrawn: bool,
    /// It has owned something, or could have.
    stayed: bool,
}

impl Membership {
    /// Nothing is known yet. The Lease of the node `me` is renewed by `holder` and has this duration.
    pub fn new(me: NodeName, holder: String, duration: Duration) -> Self {
        let trust = renew_interval(duration) * 5 / 2;
        Self {
            me,
            holder,
            trust,
            members: BTreeMap::new(),
            heard: BTreeSet::new(),
            renewed: None,
            trusted: None,
            departure: Departure::default(),
        }
    }

    /// Forgets who is there: nothing was seen for a while.
    pub fn forget(&mut self) {
        (self.renewed, self.trusted, self.departure) = (None, None, Departure::default());
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
            // The process before this one may have left a table that answers: it is this one's to hand over.
            let before = *node == self.me && !own && !heartbeat.holder.is_empty();
            self.departure.stayed |= before && heartbeat.links.as_ref().is_none_or(can_announce);
            if own && known.is_none_or(|known| !same(&known)) {
                if !self.trusts(now) {
                    self.trusted = Some(now);
                }
                self.renewed = Some(now);
            }
            self.members.insert(node.clone(), Member { heartbeat: heartbeat.clone(), changed, alive });
        }
    }

    /// These nodes are heard on the network, this one among them where it hears another. They are there whatever their
    /// Leases say, unless they have given these back: who owns what is settled between those that hear each other.
    pub fn hear(&mut self, heard: BTreeSet<NodeName>) {
        self.heard = heard;
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
        let silent = self.members.iter_mut().filter(|(node, _)| !self.heard.contains(*node));
        for (node, member) in silent.filter(|(_, member)| member.alive) {
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
        let silent = self.members.iter().filter(|(node, _)| !self.heard.contains(*node));
        let alive = silent.map(|(_, member)| member).filter(|member| member.alive);
        alive.map(|member| member.changed.max(trusted) + member.heartbeat.duration).min()
    }

    /// Takes note of whether this node leaves. Once its Lease tells the others, it stays a candidate in its own view for
    /// [`HAND_OVER`], so that the next node answers first. A process that starts on a node that has left owns nothing
    /// it could hand over.
    pub fn leave(&mut self, leaving: bool, now: Duration) {
        let told = self.reported(&self.me).cloned();
        let departure = &mut self.departure;
        departure.leaving = leaving;
        if !leaving {
            (departure.at, departure.stayed) = (None, true);
            // While a renewal is on its way that takes the leaving back, the Lease still says that nothing can announce.
            departure.withdrawn &= told.as_ref().is_some_and(|links| !can_announce(links));
            if !departure.withdrawn {
                departure.links = told;
            }
        } else if !departure.stayed {
            departure.at.get_or_insert(now);
        } else if told.as_ref().is_some_and(|links| !can_announce(links)) {
            departure.withdrawn = true;
            departure.at.get_or_insert(now + HAND_OVER);
        }
    }

    /// When this node is no candidate any more by its own view, if it leaves and the others know.
    pub fn leaves_at(&self) -> Option<Duration> {
        self.departure.at
    }

    /// What a node reports of its links.
    pub fn links(&self, node: &NodeName, now: Duration) -> Option<&BTreeMap<LinkName, LinkFitness>> {
        let departure = &self.departure;
        let stays = *node == self.me && departure.leaving && departure.at.is_none_or(|at| now < at);
        if stays { departure.links.as_ref() } else { self.reported(node) }
    }

    /// What a node reports of its links, in full.
    pub fn reports(&self, node: &NodeName) -> &[LinkReport] {
        self.members.get(node).map_or(&[], |member| &member.heartbeat.reports)
    }

    fn reported(&self, node: &NodeName) -> Option<&BTreeMap<LinkName, LinkFitness>> {
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
    /// How others find out at once whether the node is there; `None`: only by its Lease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub liveness: Option<LivenessReport>,
}

impl LinkReport {
    /// Its Ethernet address, if it says one that can be read.
    pub fn station(&self) -> Option<Mac> {
        self.mac.as_ref()?.parse().ok()
    }
}

/// Where the probes of other nodes are reflected on a link, and what else its agent is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LivenessReport {
    /// The discriminator that probes must name (RFC 7880).
    pub discriminator: u32,
    /// The UDP port of the agent.
    pub port: u16,
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
            liveness: None,
        })
    });
    reported.collect()
}

/// The report of a node that leaves: no link can announce.
pub fn leaving_report(report: &[LinkReport], leaving: Leaving) -> Vec<LinkReport> {
    let link = |link: &LinkReport| LinkReport {
        fit: false,
        why: if link.fit { Some(leaving.to_string()) } else { link.why.clone() },
        ..link.clone()
    };
    report.iter().map(link).collect()
}

/// What a report says of who can announce.
pub fn fitness(report: impl IntoIterator<Item = LinkReport>) -> BTreeMap<LinkName, LinkFitness> {
    let fitness = |fit| if fit { LinkFitness::Fit } else { LinkFitness::Unfit };
    report.into_iter().map(|link| (link.name, fitness(link.fit))).collect()
}
