//! The agent's one task: it waits, and for whatever happens it starts what has to be done.
//!
//! ```text
//!              ┌─ files ──> worker: read, decide ─┐                 worker: write the statuses
//! this task ───┤                                  ├─> survey: plan ─> this task: step ─> announce
//!              └─ links, audit ───────────────────┘
//! ```
//!
//! Nothing here waits for a disk, a lock of the kernel or a long computation, but for the changes of the table
//! themselves: those are made here, between two moves of the deadline.

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use lb_core::election::Orders;
use lb_core::eligibility::Leaving;
use lb_core::failover::discriminator;
use lb_core::ids::LinkId;
use lb_core::membership::LinkReport;
use lb_core::plan::Plan;
use tokio::io::unix::AsyncFd;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, sleep_until};

use super::admin::Admin;
use super::announce::Sender;
use super::audit::Auditor;
use super::barred::Barred;
use super::cluster::{Claimed, Farewell};
use super::deadline::{Deadline, REFRESH};
use super::driver::Drivers;
use super::events::Conflicts;
use super::handover::Followed;
use super::kept::Kept;
use super::membership::Keeper;
use super::metrics::{Metrics, Reading};
use super::prober::Prober;
use super::prober::start::{boot_id, news, start_prober};
use super::reconcile::{Clock, Planned, Reconciled, Reconciler};
use super::run::{OnExit, Settings};
use super::source::Source;
use super::survey::{Question, Survey, survey};
use super::worker::Worker;
use crate::dataplane::Dataplane;
use crate::dataplane::ebpf::{self, Events, KernelDataplane};
use crate::net::capabilities::{self, Capability};
use crate::net::clock::boot_time_ns;
use crate::net::groups::{Groups, Limits};
use crate::net::links::{Link, Links};
use crate::net::raw::RawSender;
use crate::timer::until;

/// How long an agent that can't keep its table right counts as one that is there.
const UNWELL: Duration = Duration::from_secs(20);

/// How long an agent that has started waits for the objects before it goes by what was decided before; less where its
/// table falls silent earlier.
const PATIENCE: Duration = Duration::from_secs(10);

/// Everything the agent's task holds.
pub(super) struct Agent {
    pub(super) settings: Settings,
    pub(super) reconciler: Reconciler<KernelDataplane>,
    events: AsyncFd<Events>,
    pub(super) conflicts: Conflicts,
    /// Whom to tell of strangers that claim addresses.
    pub(super) alarms: Option<mpsc::Sender<Claimed>>,
    pub(super) worker: Worker,
    changes: mpsc::Receiver<()>,
    /// How to leave a cluster.
    farewell: Option<Farewell>,
    /// Whom to tell what the links can do.
    pub(super) reports: Option<watch::Sender<Option<Vec<LinkReport>>>>,
    links: Arc<Links>,
    pub(super) present: Arc<BTreeMap<u32, Link>>,
    /// Own addresses at the time the objects were read last: they decide what may be given out.
    pub(super) own: Option<BTreeSet<IpAddr>>,
    survey: Option<JoinHandle<Survey>>,
    /// Objects were read or said: there may be memory to give back, when there is time for it.
    pub(super) untidy: bool,
    /// What elections are sooner with.
    pub(super) orders: Orders,
    /// Something happened that the survey under way may not have seen.
    wanted: bool,
    relist: bool,
    /// Who finds out which nodes are there; `None`: their Leases tell.
    pub(super) prober: Option<Prober>,
    pub(super) discriminator: u32,
    pub(super) sender: Sender,
    pub(super) keeper: Keeper,
    pub(super) gaps: Vec<String>,
    pub(super) admin: Admin,
    origin: Instant,
    pub(super) planned: Planned,
    /// The plan, and what the data plane could not do of it.
    pub(super) told: Arc<Plan>,
    pub(super) last: Reconciled,
    pub(super) drivers: Drivers,
    pub(super) counting: Option<JoinHandle<BTreeMap<LinkId, u64>>>,
    pub(super) auditor: Auditor,
    pub(super) barred: Barred,
    pub(super) kept: Kept,
    pub(super) followed: Option<Followed>,
    /// The last step went well: the deadline may be moved.
    pub(super) healthy: bool,
    /// The table fell silent while this agent was stopped; nothing is done with what it knew before.
    pub(super) lapsed: bool,
    /// The reading under way began before the table fell silent: another one must follow.
    pub(super) stale_read: bool,
    /// When the table falls silent, as written last.
    valid_until: u64,
    /// When to go by what was decided before a restart, unless the objects are read by then.
    pub(super) resume_at: Option<Instant>,
    /// What the links can do; `None`: they were not listed yet. A node may have none.
    pub(super) report: Option<Vec<LinkReport>>,
    /// Since when it is known what to announce, and the deadline is not moved.
    unwell: Option<Instant>,
    pub(super) metrics: Metrics,
}

impl Agent {
    /// Opens everything that needs capabilities, and drops those that nothing needs later.
    pub(super) fn start(settings: Settings, mut source: Source, metrics: Metrics) -> Result<Self> {
        let limits = ebpf::Settings { max_vips: settings.max_vips, mode: settings.mode };
        let mut dataplane = KernelDataplane::open(&settings.bpffs, limits)?;
        let left = dataplane.valid_until()?.saturating_sub(boot_time_ns());
        let patience = PATIENCE.min(Duration::from_nanos(left) / 3);
        if settings.frame_log {
            dataplane.start_frame_log()?;
        }
        let events = dataplane.take_events()?;
        let view = dataplane.view()?;
        metrics.read_by(move |counted| Reading::of(&view, counted));
        let socket = RawSender::open().context("opening the socket for announcements")?;
        let prober = start_prober(&settings, &source, &mut dataplane, &metrics)?;
        // Programs are loaded and the raw socket is open: nothing later needs these two.
        capabilities::drop_from_all_threads(&[Capability::Perfmon, Capability::NetRaw])
            .context("dropping capabilities")?;
        let groups = Groups::open(Limits::default()).context("opening the socket for group memberships")?;
        Ok(Self {
            reconciler: Reconciler::new(dataplane, settings.announce_rate, settings.announce_interval),
            events: events.readable().context("watching the event ring")?,
            conflicts: Conflicts::default(),
            alarms: source.alarms(),
            farewell: source.farewell(),
            changes: source.follow(),
            reports: source.reports(),
            worker: Worker::new(source),
            links: Arc::new(Links::open().context("watching the interfaces")?),
            present: Arc::default(),
            own: None,
            survey: None,
            untidy: false,
            orders: Orders::default(),
            wanted: true,
            relist: true,
            prober,
            discriminator: discriminator(&settings.node, &boot_id()),
            sender: Sender::new(socket, metrics.clone()),
            keeper: Keeper::start(groups, metrics.clone()),
            gaps: Vec::new(),
            admin: Admin::bind(&settings.state_dir)?,
            origin: Instant::now(),
            planned: Planned::default(),
            told: Arc::default(),
            last: Reconciled::default(),
            drivers: Drivers::default(),
            counting: None,
            auditor: Auditor::default(),
            barred: Barred::default(),
            kept: Kept::default(),
            followed: None,
            healthy: false,
            lapsed: false,
            stale_read: false,
            valid_until: 0,
            resume_at: (!patience.is_zero()).then(|| Instant::now() + patience),
            report: None,
            unwell: None,
            metrics,
            settings,
        })
    }

    /// Works until it is told to end.
    pub(super) async fn serve(&mut self) -> Result<()> {
        let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
        let mut refresh = interval(REFRESH);
        refresh.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.metrics.beat();
            self.start_survey();
            let announces = self.reconciler.bursts().next_deadline();
            let due = announces.into_iter().chain(self.reconciler.handovers().due()).min();
            let due = due.map(|at| (self.origin + at).into());
            let blind = self.auditor.is_blind();
            // In order of what must not wait for what. Announcements may be due all the time.
            tokio::select! {
                biased;
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = refresh.tick() => self.refresh(),
                survey = ended(&mut self.survey) => self.surveyed(survey.context("surveying")?),
                done = self.worker.done() => self.worked(done.context("reading or writing objects")?),
                result = self.links.changed(), if !blind => self.links_changed(result),
                change = self.changes.recv() => {
                    change.context("the objects are not watched any more")?;
                    self.read();
                }
                seen = news(&mut self.prober) => {
                    seen.context("the thread that watches other nodes has ended")?;
                    self.wanted = true;
                }
                () = sleep_until(self.auditor.due().into()) => self.audit(),
                () = until(self.resume_at.map(Into::into)) => self.resume(),
                counted = ended(&mut self.counting) => self.counted(&counted.context("reading driver counters")?),
                request = self.admin.next() => self.answer(request),
                () = until(due), if self.healthy => self.send_due(),
                ready = self.events.readable_mut() => {
                    if let Ok(mut guard) = ready
                        && !self.conflicts.drain(guard.get_inner_mut(), &mut self.admin)
                    {
                        guard.clear_ready();
                    }
                    self.contest();
                }
            }
        }
        tracing::info!(on_exit = ?self.settings.on_exit, "ending");
        Ok(())
    }

    /// Leaves behind what the settings say.
    pub(super) async fn end(mut self) -> Result<()> {
        let (shuts_down, owns) = (self.is_shutting_down(), self.owns());
        let Self { mut reconciler, keeper, admin, settings, farewell, .. } = self;
        drop(admin);
        if settings.on_exit == OnExit::Withdraw || shuts_down {
            // The table answers on meanwhile.
            if let Some(farewell) = farewell {
                farewell.say(owns).await;
            }
            reconciler.dataplane().withdraw().context("withdrawing the addresses")?;
            keeper.leave().await.context("leaving the solicited-node groups")?;
            tracing::info!("withdrew all addresses and left their groups");
        }
        Ok(())
    }

    /// The end of this agent is that of its node.
    fn is_shutting_down(&self) -> bool {
        let node = self.worker.decided().and_then(|decided| decided.nodes.get(&self.settings.node));
        node.is_some_and(|node| node.leaving == Some(Leaving::ShuttingDown))
    }

    pub(super) fn clock(&self) -> Clock {
        Clock { boot_ns: boot_time_ns(), monotonic: self.origin.elapsed() }
    }

    /// Something may have changed: looks at everything again.
    pub(super) fn look_again(&mut self) {
        (self.wanted, self.relist) = (true, true);
    }

    /// Reads the objects again; a survey follows.
    pub(super) fn read(&mut self) {
        if let Some(own) = &self.own {
            self.worker.read(own.clone());
        }
    }

    fn start_survey(&mut self) {
        if self.survey.is_some() || !std::mem::take(&mut self.wanted) {
            return;
        }
        self.auditor.survey_started();
        self.survey = Some(tokio::spawn(survey(Question {
            links: Arc::clone(&self.links),
            known: Arc::clone(&self.present),
            relist: std::mem::take(&mut self.relist),
            decided: self.worker.decided().cloned(),
            seen: self.prober.as_mut().map(|prober| Arc::clone(&prober.seen.borrow_and_update())),
            me: self.settings.node.clone(),
            allowed: self.settings.interfaces.clone(),
            ignore_exclude_label: self.settings.ignore_exclude_label,
            losing: self.drivers.losing().clone(),
            tried: &self.barred.links() | &self.kept_links(),
            orders: std::mem::take(&mut self.orders),
        })));
    }

    /// The deadline passed although all was well: the machine or this process was stopped for longer than the grace.
    /// Others may own the addresses by now, so nothing that was known before may make the table answer again.
    pub(super) fn notice_lapse(&mut self) {
        if !self.healthy || self.valid_until > boot_time_ns() {
            return;
        }
        tracing::warn!(
            "the table has fallen silent meanwhile: looking at everything before it answers again"
        );
        self.healthy = false;
        self.lapsed = true;
        if let Some(prober) = &mut self.prober {
            prober.rejoin();
        }
        self.stale_read = self.worker.is_reading();
        self.worker.not_stepped();
        if let Some(own) = &self.own {
            self.worker.read_anew(own.clone());
        }
    }

    /// Moves the deadline, if the table is known to be right.
    pub(super) fn refresh(&mut self) {
        self.notice_lapse();
        let in_step = self.healthy && !self.auditor.is_stuck() && self.move_deadline();
        if in_step {
            self.unwell = None;
        } else if self.worker.decided().is_some() && self.unwell.is_none() {
            self.unwell = Some(Instant::now());
        }
        let since = self.unwell.map_or(Duration::ZERO, |since| since.elapsed());
        self.metrics.in_step(in_step, since);
        self.report_links();
    }

    /// Says in the cluster what the links can do. An agent that can't keep its table right for long says nothing, so that
    /// its Lease runs out.
    pub(super) fn report_links(&mut self) {
        let Some(reports) = &self.reports else { return };
        let gives_up = self.unwell.is_some_and(|since| since.elapsed() > UNWELL);
        let known = self.report.as_ref().filter(|_| !gives_up);
        let report = known.map(|report| self.barred.report(report, Instant::now()));
        reports.send_if_modified(|known| {
            let differs = *known != report;
            if differs {
                *known = report;
            }
            differs
        });
    }

    /// Moves the deadline; false if that failed.
    fn move_deadline(&mut self) -> bool {
        self.reconciler.dataplane().set_trace(self.admin.has_traces());
        let until = Deadline::new(self.settings.grace).after(boot_time_ns());
        match self.reconciler.dataplane().set_valid_until(until) {
            Ok(()) => {
                self.valid_until = until;
                true
            }
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::error!(error, "can't move the deadline of the table");
                false
            }
        }
    }

    /// Moves the deadline after a step that went well.
    pub(super) fn recovered(&mut self) {
        self.notice_lapse();
        if !self.lapsed {
            self.healthy = true;
            self.move_deadline();
        }
    }

    /// Sends the announcements that are due; what is not answered is not announced.
    pub(super) fn send_due(&mut self) {
        if self.healthy {
            self.end_handovers();
        }
        if !self.healthy {
            return;
        }
        let now = self.origin.elapsed();
        self.sender.send_due(self.reconciler.bursts(), &self.planned.plan, now);
    }
}

/// Waits for a job, if there is one. Cancelling loses nothing.
async fn ended<T>(job: &mut Option<JoinHandle<T>>) -> Result<T, tokio::task::JoinError> {
    let Some(running) = job.as_mut() else { return pending().await };
    let result = running.await;
    *job = None;
    result
}
