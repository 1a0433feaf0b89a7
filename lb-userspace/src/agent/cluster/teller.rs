//! Says which Services this node announces: a `ServiceL2Status` for each, and an event when that is new.
//!
//! Level-triggered: what is said is compared with what is the case whenever one of both changes. Who announces a Service
//! takes away what other nodes have said of it if they are dead;
//! those that live do it themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use lb_core::ids::{LinkName, NodeName, ServiceKey};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::super::metrics::{Metrics, WriteKind};
use crate::k8s::event::{Regarding, Reporter, Said};
use crate::k8s::l2_status::{Announcement, Statuses};
use crate::k8s::watch::{Change, ready};
use crate::k8s::write::{WriteError, WriteResult, Writer, in_time};
use crate::source::kubernetes::{Listed, Shelf};
use crate::timer::{doubled, until};

mod complaints;
#[cfg(test)]
mod tests;

pub(super) use complaints::Complaint;
use complaints::Complaints;
pub(in crate::agent) use complaints::{Claimed, CutLink};

/// Writes under way at most.
const WRITES: usize = 8;
/// After a write that failed: at first, and at most.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));
/// After a write, for the watch to show it.
const ECHO: Duration = Duration::from_secs(30);
/// Changes taken in before anything else is done.
const AT_ONCE: usize = 4096;
/// Between two looks at everything.
const PACE: Duration = Duration::from_millis(100);

/// A Service that this node announces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Announced {
    /// `metadata.uid`.
    pub(super) uid: Arc<str>,
    /// The addresses.
    pub(super) ips: Vec<IpAddr>,
    /// The links on which they are answered.
    pub(super) links: BTreeSet<LinkName>,
}

/// Services that MetalLB announces too, and from which node.
pub(super) type Rivals = BTreeMap<ServiceKey, NodeName>;

/// What is announced, and who else is there to say something.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct All {
    /// The Services that this node announces.
    pub(super) services: BTreeMap<ServiceKey, Announced>,
    /// Nodes whose agents are there: they take away themselves what is no longer so.
    pub(super) alive: BTreeSet<NodeName>,
    /// What this node says is wrong.
    pub(super) complaints: Vec<Complaint>,
}

/// A write.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Write {
    Create(Announcement),
    Say(String, Announcement),
    Delete(String),
}

/// What `ServiceL2Status` objects say, and who they are of.
pub(super) type Seen = BoxStream<'static, Change<Option<(String, Announcement)>>>;

/// Where it is said.
pub(super) struct Voice {
    pub(super) statuses: Statuses,
    pub(super) writer: Writer,
    pub(super) reporter: Reporter,
    pub(super) metrics: Metrics,
}

/// What there is to tell.
pub(super) struct Telling {
    pub(super) announced: watch::Receiver<Option<All>>,
    pub(super) alarms: mpsc::Receiver<Claimed>,
    pub(super) cuts: watch::Receiver<BTreeSet<CutLink>>,
    pub(super) whole: mpsc::Receiver<CutLink>,
}

/// See the module.
pub(super) struct Teller {
    node: NodeName,
    voice: Voice,
    announced: watch::Receiver<Option<All>>,
    alarms: mpsc::Receiver<Claimed>,
    cuts: watch::Receiver<BTreeSet<CutLink>>,
    whole: mpsc::Receiver<CutLink>,
    seen: Seen,
    shelf: Shelf<String, Announcement>,
    rivals: watch::Sender<Option<Rivals>>,
    complaints: Complaints,
    /// Addresses with which each Service was told last; `None`: nothing is known of the time before.
    told: Option<BTreeMap<ServiceKey, Vec<IpAddr>>>,
    /// Until when a write is taken for done although no watch shows it.
    echo: BTreeMap<String, Instant>,
    failures: u32,
}

impl Teller {
    /// The receiver gets what MetalLB announces.
    pub(super) fn new(
        node: NodeName,
        voice: Voice,
        telling: Telling,
        seen: Seen,
    ) -> (Self, watch::Receiver<Option<Rivals>>) {
        let (rivals, receiver) = watch::channel(None);
        let Telling { announced, alarms, cuts, whole } = telling;
        let teller = Self {
            node,
            voice,
            announced,
            alarms,
            cuts,
            whole,
            seen,
            shelf: Shelf::default(),
            rivals,
            complaints: Complaints::default(),
            told: None,
            echo: BTreeMap::new(),
            failures: 0,
        };
        (teller, receiver)
    }

    /// Tells for ever.
    pub(super) async fn run(mut self) {
        let (mut due, mut earliest): (Option<Instant>, Instant) = (None, Instant::now());
        loop {
            tokio::select! {
                change = self.seen.next() => {
                    let Some(change) = change else { return };
                    if self.take_in(change) {
                        due = Some(due.map_or(earliest, |due| due.min(earliest)));
                    }
                }
                changed = self.announced.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    due = Some(due.map_or(earliest, |due| due.min(earliest)));
                }
                // Without an end of its own: whoever watches nodes may end before this.
                Ok(()) = self.cuts.changed() => due = Some(due.map_or(earliest, |due| due.min(earliest))),
                Some(claimed) = self.alarms.recv() => at_once(&self.voice, &claimed.complaints(&self.node)).await,
                Some(link) = self.whole.recv() => at_once(&self.voice, &[link.end(&self.node)]).await,
                () = until(due) => {
                    let again = self.tell().await;
                    let pause = if self.failures == 0 { PACE } else { doubled(RETRY, self.failures) };
                    earliest = Instant::now() + pause;
                    due = again.map(|again| again.max(earliest));
                }
            }
        }
    }

    /// Takes in what has changed, all that is there; tells whether anything is different now.
    fn take_in(&mut self, first: Change<Option<(String, Announcement)>>) -> bool {
        let mut different = self.shelf.apply(first);
        for change in ready(&mut self.seen).take(AT_ONCE - 1) {
            different |= self.shelf.apply(change);
        }
        if different && self.shelf.listed() != Listed::No {
            let rivals = rivals(self.shelf.objects());
            self.rivals.send_if_modified(|known| {
                let news = known.as_ref() != Some(&rivals);
                if news {
                    *known = Some(rivals);
                }
                news
            });
        }
        different
    }

    /// Brings everything that is said in line; returns when to look again.
    async fn tell(&mut self) -> Option<Instant> {
        let all = self.announced.borrow_and_update().clone()?;
        let cuts = self.cuts.borrow_and_update().iter().map(|cut| cut.complaint(&self.node)).collect();
        let complains_at = self.complain(&[all.complaints.clone(), cuts].concat()).await;
        if self.shelf.listed() == Listed::No {
            return complains_at;
        }
        self.tell_events(&all.services).await;
        let again = self.tell_statuses(&all).await;
        [complains_at, again].into_iter().flatten().min()
    }

    /// Tells of what is wrong, as far as it is time to; returns when there is more.
    async fn complain(&mut self, complaints: &[Complaint]) -> Option<Instant> {
        let (due, more) = self.complaints.due(complaints, Instant::now());
        let voice = &self.voice;
        let told: Vec<(Complaint, bool)> = stream::iter(due)
            .map(|complaint| async move {
                let told = complaint.tell(voice).await;
                (complaint, told)
            })
            .buffer_unordered(WRITES)
            .collect()
            .await;
        let failed = told.into_iter().filter(|(_, told)| !told).map(|(complaint, _)| complaint);
        let again = self.complaints.take_back(failed, Instant::now());
        [more, again].into_iter().flatten().min()
    }

    /// Brings the statuses in line; returns when to look again.
    async fn tell_statuses(&mut self, all: &All) -> Option<Instant> {
        let now = Instant::now();
        let objects = self.shelf.objects();
        let own = objects.values().filter(|said| said.node == self.node).map(|said| said.service.to_string());
        let shown: BTreeSet<String> = own.collect();
        self.echo.retain(|of, until| *until > now && !shown.contains(of));
        let writes = writes(&self.node, all, self.shelf.objects());
        let writes: Vec<Write> =
            writes.into_iter().filter(|write| !self.echo.contains_key(&of(write))).collect();
        if writes.is_empty() {
            return self.echo.values().min().copied();
        }
        let voice = &self.voice;
        let done: Vec<(Write, Result<(), WriteError>)> = stream::iter(writes)
            .map(|write| async move {
                let result = in_time(carry_out(&voice.statuses, &write)).await;
                (write, result)
            })
            .buffer_unordered(WRITES)
            .collect()
            .await;
        let now = Instant::now();
        let mut failed = None;
        for (write, result) in done {
            self.voice.metrics.written(WriteKind::L2Status, WriteResult::of(&result));
            match result {
                Ok(()) => {
                    self.echo.insert(of(&write), now + ECHO);
                }
                Err(error) => failed = Some(error),
            }
        }
        let Some(error) = failed else {
            self.failures = 0;
            return Some(now + ECHO);
        };
        self.failures = self.failures.saturating_add(1);
        let error = &error as &dyn Error;
        tracing::warn!(error, "can't say in the API which Services this node announces, trying again");
        Some(now + doubled(RETRY, self.failures))
    }

    /// Tells of Services that are announced newly or with other addresses. An event that fails is lost.
    async fn tell_events(&mut self, all: &BTreeMap<ServiceKey, Announced>) {
        let told = self.told.take().unwrap_or_else(|| {
            // What an agent before this one has said is no news.
            let own = self.shelf.objects().values().filter(|said| said.node == self.node);
            own.filter_map(|said| Some((said.service.clone(), all.get(&said.service)?.ips.clone()))).collect()
        });
        let news = all.iter().filter(|(service, announced)| told.get(*service) != Some(&announced.ips));
        let note = format!("announcing from node {:?} with protocol \"layer2\"", self.node.as_str());
        let (voice, note) = (&self.voice, note.as_str());
        stream::iter(news)
            .for_each_concurrent(WRITES, |(service, announced)| async move {
                let regarding = Regarding {
                    api_version: "v1",
                    kind: "Service",
                    namespace: service.namespace(),
                    name: service.name(),
                    uid: &announced.uid,
                };
                let said = Said { warning: false, reason: "nodeAssigned", note };
                tracing::info!(%service, reason = said.reason, note, "an event");
                let event = voice.writer.record(&voice.reporter, regarding, said, SystemTime::now());
                let result = in_time(event).await;
                voice.metrics.written(WriteKind::Event, WriteResult::of(&result));
                if result.is_err() {
                    tracing::debug!(%service, "the event could not be recorded");
                }
            })
            .await;
        self.told = Some(all.iter().map(|(service, one)| (service.clone(), one.ips.clone())).collect());
    }
}

/// Tells what happened: a stranger claims an address, or a cut is over. An event that fails is lost.
async fn at_once(voice: &Voice, complaints: &[Complaint]) {
    stream::iter(complaints)
        .for_each_concurrent(WRITES, |complaint| async move {
            complaint.tell(voice).await;
        })
        .await;
}

async fn carry_out(statuses: &Statuses, write: &Write) -> Result<(), WriteError> {
    match write {
        Write::Create(announcement) => statuses.create(announcement).await,
        Write::Say(name, announcement) => statuses.say(name, announcement).await,
        Write::Delete(name) => statuses.delete(name).await,
    }
}

/// What a write is about: what is done to an object or, before it has a name, the Service.
fn of(write: &Write) -> String {
    match write {
        Write::Create(announcement) => announcement.service.to_string(),
        Write::Say(name, _) => format!("say {name}"),
        Write::Delete(name) => format!("delete {name}"),
    }
}

/// What MetalLB announces.
fn rivals(objects: &BTreeMap<String, Announcement>) -> Rivals {
    let theirs = objects.values().filter(|said| said.of_metallb);
    theirs.map(|said| (said.service.clone(), said.node.clone())).collect()
}

/// What has to be written so that the objects say what is the case.
fn writes(node: &NodeName, all: &All, objects: &BTreeMap<String, Announcement>) -> Vec<Write> {
    let mut missing: BTreeMap<&ServiceKey, &Announced> = all.services.iter().collect();
    let mut writes = Vec::new();
    for (name, said) in objects.iter().filter(|(_, said)| !said.of_metallb) {
        let own = said.node == *node;
        match all.services.get(&said.service) {
            Some(announced) if own && missing.remove(&said.service).is_some() => {
                if said.links != announced.links {
                    let said = Announcement { links: announced.links.clone(), ..said.clone() };
                    writes.push(Write::Say(name.clone(), said));
                }
            }
            // Said twice, or by a node that is dead.
            Some(_) if own || !all.alive.contains(&said.node) => writes.push(Write::Delete(name.clone())),
            None if own => writes.push(Write::Delete(name.clone())),
            Some(_) | None => {}
        }
    }
    writes.extend(missing.into_iter().map(|(service, announced)| {
        Write::Create(Announcement {
            service: service.clone(),
            node: node.clone(),
            links: announced.links.clone(),
            of_metallb: false,
        })
    }));
    writes
}
