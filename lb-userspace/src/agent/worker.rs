//! The jobs that need the source: reading the objects, and writing what became of them. One at a time, beside the
//! agent's task, because disks and network file systems take as long as they like.
//!
//! A status is the acknowledgement of a change, so it must never be written from a plan that is older than the
//! objects: after reading, nothing is read again before the step that follows has had its statuses written.

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::net::IpAddr;
use std::sync::Arc;

use lb_core::ids::{LinkId, LinkName, ServiceKey};
use lb_core::plan::Plan;
use tokio::task::JoinHandle;

use super::source::Source;
use crate::source::decide::Decided;

/// What a job was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Done {
    /// The objects were read: there may be something new to plan.
    Read,
    /// The statuses were written; false = not all of them.
    Written(bool),
}

/// What is wrong, in words; kept here so that it can be told while the source is away.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    pub(super) problems: Vec<String>,
    pub(super) valid: bool,
    pub(super) allocation_errors: BTreeMap<ServiceKey, String>,
}

struct Statuses {
    plan: Arc<Plan>,
    links: BTreeMap<LinkId, LinkName>,
    fingerprint: Option<u64>,
}

/// The source, and the job that has it.
pub(super) struct Worker {
    home: Option<Source>,
    away: Option<JoinHandle<(Source, Done, Told)>>,
    decided: Option<Arc<Decided>>,
    told: Arc<Told>,
    /// The job under way reads.
    reading: bool,
    to_read: Option<BTreeSet<IpAddr>>,
    /// Nothing that was seen before counts any more.
    anew: bool,
    /// What the table has answered since before a restart.
    to_resume: Option<BTreeSet<IpAddr>>,
    to_write: Option<Statuses>,
    /// What the statuses that were written say; `None`: they have to be written in any case.
    written: Option<u64>,
    failed: bool,
    /// The objects were read, and no step has followed yet.
    unstepped: bool,
}

impl Worker {
    pub(super) fn new(source: Source) -> Self {
        Self {
            home: Some(source),
            away: None,
            decided: None,
            told: Arc::default(),
            reading: false,
            to_read: None,
            anew: false,
            to_resume: None,
            to_write: None,
            written: None,
            failed: false,
            unstepped: false,
        }
    }

    /// What was decided last.
    pub(super) fn decided(&self) -> Option<&Arc<Decided>> {
        self.decided.as_ref()
    }

    /// What is wrong.
    pub(super) fn told(&self) -> &Arc<Told> {
        &self.told
    }

    /// Objects are being read.
    pub(super) fn is_reading(&self) -> bool {
        self.away.is_some() && self.reading
    }

    /// Reads the objects as soon as possible.
    pub(super) fn read(&mut self, own_addresses: BTreeSet<IpAddr>) {
        self.to_read = Some(own_addresses);
        self.start();
    }

    /// The same, and nothing that was seen before counts any more.
    pub(super) fn read_anew(&mut self, own_addresses: BTreeSet<IpAddr>) {
        self.anew = true;
        self.read(own_addresses);
    }

    /// Goes by what was decided before a restart, until objects are read.
    pub(super) fn resume(&mut self, answered: BTreeSet<IpAddr>) {
        self.to_resume = Some(answered);
        self.start();
    }

    /// A step was made with a plan for these objects: writes its statuses, unless they say what they said before, as
    /// the fingerprint tells.
    pub(super) fn stepped(
        &mut self,
        decided: &Arc<Decided>,
        plan: &Arc<Plan>,
        links: BTreeMap<LinkId, LinkName>,
        fingerprint: Option<u64>,
    ) {
        // Another reading has ended meanwhile: its own step is still to come.
        if !self.decided.as_ref().is_some_and(|newest| Arc::ptr_eq(newest, decided)) {
            return;
        }
        self.unstepped = false;
        if self.written.is_none() || self.written != fingerprint {
            self.to_write = Some(Statuses { plan: Arc::clone(plan), links, fingerprint });
        }
        self.start();
    }

    /// Statuses could not be written: the next step tries again.
    pub(super) fn is_behind(&self) -> bool {
        self.failed
    }

    /// The step could not be made: reading must not wait for it.
    pub(super) fn not_stepped(&mut self) {
        self.unstepped = false;
        self.start();
    }

    /// Waits for the job under way. An error means that it ended by a panic. Cancelling loses nothing.
    pub(super) async fn done(&mut self) -> Result<Done, tokio::task::JoinError> {
        let Some(job) = self.away.as_mut() else { return pending().await };
        let result = job.await;
        self.away = None;
        let (source, done, told) = result?;
        if done == Done::Read {
            let decided = source.decided();
            let newer = match (&self.decided, &decided) {
                (Some(before), Some(now)) => !Arc::ptr_eq(before, now),
                (before, now) => before.is_some() != now.is_some(),
            };
            if newer {
                self.decided = decided;
                self.unstepped = true;
                // Other objects have other statuses and problems, whatever the plan says about them.
                self.written = None;
                self.to_write = None;
            }
        }
        self.failed = done == Done::Written(false);
        if self.failed {
            self.written = None;
        }
        self.told = Arc::new(told);
        self.home = Some(source);
        self.start();
        Ok(done)
    }

    fn start(&mut self) {
        let Some(mut source) = self.home.take() else { return };
        if let Some(Statuses { plan, links, fingerprint }) = self.to_write.take() {
            self.written = fingerprint;
            self.reading = false;
            self.away = Some(tokio::task::spawn_blocking(move || {
                let all = source.write_status(&plan, &links);
                let told = tell(&source);
                (source, Done::Written(all), told)
            }));
        } else if let Some(answered) = self.to_resume.take() {
            self.reading = true;
            self.away = Some(tokio::task::spawn_blocking(move || {
                source.resume(answered);
                let told = tell(&source);
                (source, Done::Read, told)
            }));
        } else if let Some(own) = self.to_read.take_if(|_| !self.unstepped) {
            self.reading = true;
            let anew = std::mem::take(&mut self.anew);
            self.away = Some(tokio::spawn(async move {
                source.read(own, anew).await;
                let told = tell(&source);
                (source, Done::Read, told)
            }));
        } else {
            self.home = Some(source);
        }
    }
}

fn tell(source: &Source) -> Told {
    Told {
        problems: source.problems(),
        valid: source.is_valid(),
        allocation_errors: source.allocation_errors(),
    }
}
