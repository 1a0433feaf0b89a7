//! The agent's one task.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use lb_core::ids::{LinkId, LinkName, NodeName};
use lb_core::plan::{Snapshot, Target};
use tokio::io::unix::AsyncFd;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep_until};

use super::admin::Admin;
use super::announce;
use super::deadline::{Deadline, REFRESH};
use super::events::Conflicts;
use super::reconcile::{Clock, Reconciled, Reconciler, solicited};
use super::standalone::Standalone;
use super::{links, report};
use crate::dataplane::ebpf::{self, Events, KernelDataplane, Pins};
use crate::dataplane::{Dataplane, ModeChoice};
use crate::net::capabilities::{self, Capabilities, Capability};
use crate::net::clock::boot_time_ns;
use crate::net::groups::{GroupReport, Groups, Limits, Wanted};
use crate::net::links::{Link, Links};
use crate::net::lock::DirLock;
use crate::net::raw::RawSender;
use crate::source::watch::DirectoryWatch;

/// What an agent leaves behind when it is told to end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum OnExit {
    /// The data plane, which answers on for the grace: the end is taken for a restart.
    #[default]
    Keep,
    /// Nothing: addresses are no longer answered when the process ends.
    Withdraw,
}

/// How the agent runs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Name of this node.
    pub node: NodeName,
    /// Links to announce on; empty = all that are not excluded.
    pub interfaces: BTreeSet<LinkName>,
    /// `--xdp-mode`.
    pub mode: ModeChoice,
    /// BPF file system.
    pub bpffs: PathBuf,
    /// Folder of the admin socket.
    pub state_dir: PathBuf,
    /// How long the data plane answers without the agent.
    pub grace: Duration,
    /// `--on-exit`.
    pub on_exit: OnExit,
    /// Size of the maps.
    pub max_vips: u32,
    /// Announcement frames a second.
    pub announce_rate: NonZeroU32,
    /// Show the outcome of each frame in the log (a build with the feature `frame-log`).
    pub frame_log: bool,
}

/// How often a map that was changed behind our back is looked for.
const AUDIT: Duration = Duration::from_millis(700);
/// Group memberships are compared with the kernel's every so many audits.
const GROUPS_EVERY: u32 = 14;
/// How often a failed step is tried again.
const RETRY: Duration = Duration::from_millis(500);
/// Announcement frames per wake-up, so that the deadline is moved in time however many are due.
const FRAMES_AT_ONCE: usize = 2048;

/// Runs the agent until it is told to end.
pub async fn run(settings: Settings, source: Standalone) -> Result<()> {
    check_capabilities()?;
    let lock = stand_by(&settings).await?;
    let mut agent = Agent::start(settings, source)?;
    let result = agent.serve().await;
    if agent.settings.on_exit == OnExit::Withdraw {
        agent.reconciler.dataplane().withdraw().context("withdrawing the addresses")?;
        tracing::info!("withdrew all addresses");
    }
    drop(lock);
    result
}

fn check_capabilities() -> Result<()> {
    let needed = [Capability::Bpf, Capability::NetAdmin, Capability::Perfmon, Capability::NetRaw];
    let missing = Capabilities::read().context("reading the capabilities of this process")?.missing(&needed);
    if !missing.is_empty() {
        let names: Vec<String> = missing.iter().map(ToString::to_string).collect();
        bail!(
            "this process lacks {}: run it as root, or give it {} (securityContext.capabilities.add in a pod)",
            names.join(", "),
            needed.map(|capability| capability.to_string()).join(", ")
        );
    }
    Ok(())
}

/// Waits until no other agent holds the lock of this bpffs.
async fn stand_by(settings: &Settings) -> Result<DirLock> {
    let pins = Pins::new(&settings.bpffs);
    ebpf::check_bpffs(&settings.bpffs)?;
    let mut told = false;
    loop {
        // Again each time: `barelb detach --all` removes them.
        pins.create()?;
        if let Some(lock) = DirLock::try_acquire(pins.root()).context("locking the BPF file system")? {
            return Ok(lock);
        }
        if !told {
            tracing::info!(path = %pins.root().display(), "another agent holds the lock; standing by");
            told = true;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

struct Agent {
    settings: Settings,
    reconciler: Reconciler<KernelDataplane>,
    events: AsyncFd<Events>,
    conflicts: Conflicts,
    source: Standalone,
    watch: DirectoryWatch,
    links: Links,
    present: BTreeMap<u32, Link>,
    sender: RawSender,
    group_wish: watch::Sender<Wanted>,
    group_report: watch::Receiver<GroupReport>,
    admin: Admin,
    origin: Instant,
    last: Reconciled,
    losing: BTreeSet<LinkId>,
    /// The last step went well: the deadline may be moved.
    healthy: bool,
    audits: u32,
    announced: u64,
    announce_errors: u64,
}

impl Agent {
    fn start(settings: Settings, source: Standalone) -> Result<Self> {
        let limits = ebpf::Settings { max_vips: settings.max_vips, mode: settings.mode };
        let mut dataplane = KernelDataplane::open(&settings.bpffs, limits)?;
        if settings.frame_log {
            dataplane.start_frame_log()?;
        }
        let events = dataplane.take_events()?;
        let sender = RawSender::open().context("opening the socket for announcements")?;
        // Programs are loaded and the raw socket is open: nothing later needs these two.
        capabilities::drop_from_all_threads(&[Capability::Perfmon, Capability::NetRaw])
            .context("dropping capabilities")?;
        let groups = Groups::open(Limits::default()).context("opening the socket for group memberships")?;
        let (group_wish, wishes) = watch::channel(Wanted::default());
        let (reports, group_report) = watch::channel(GroupReport::default());
        tokio::spawn(keep_groups(groups, wishes, reports));
        Ok(Self {
            reconciler: Reconciler::new(dataplane, settings.announce_rate),
            events: events.readable().context("watching the event ring")?,
            conflicts: Conflicts::default(),
            watch: DirectoryWatch::new(source.directory()),
            source,
            links: Links::open().context("watching the interfaces")?,
            present: BTreeMap::new(),
            sender,
            group_wish,
            group_report,
            admin: Admin::bind(&settings.state_dir)?,
            origin: Instant::now(),
            last: Reconciled::default(),
            losing: BTreeSet::new(),
            healthy: false,
            audits: 0,
            announced: 0,
            announce_errors: 0,
            settings,
        })
    }

    async fn serve(&mut self) -> Result<()> {
        let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
        let mut refresh = interval(REFRESH);
        refresh.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut audit = interval(AUDIT);
        audit.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.reread(true).await;
        loop {
            let due = self.reconciler.bursts().next_deadline().map(|at| (self.origin + at).into());
            tokio::select! {
                biased;
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = refresh.tick() => self.refresh(),
                () = wait_until(due) => self.send_due(),
                ready = self.events.readable_mut() => {
                    if let Ok(mut guard) = ready {
                        self.conflicts.drain(guard.get_inner_mut(), &mut self.admin);
                        guard.clear_ready();
                    }
                }
                result = self.links.changed() => {
                    if let Err(error) = result {
                        tracing::warn!(%error, "can't watch the interfaces; reading them again");
                        tokio::time::sleep(RETRY).await;
                    }
                    self.reread(false).await;
                }
                () = self.watch.changed() => self.reread(true).await,
                _ = audit.tick() => self.audit().await,
                request = self.admin.next() => self.answer(request),
            }
        }
        tracing::info!(on_exit = ?self.settings.on_exit, "ending");
        Ok(())
    }

    fn clock(&self) -> Clock {
        Clock { boot_ns: boot_time_ns(), monotonic: self.origin.elapsed() }
    }

    /// Moves the deadline, if the table is known to be right.
    fn refresh(&mut self) {
        if !self.healthy {
            return;
        }
        self.reconciler.dataplane().set_trace(self.admin.has_traces());
        let until = Deadline::new(self.settings.grace).after(boot_time_ns());
        if let Err(error) = self.reconciler.dataplane().set_valid_until(until) {
            tracing::error!(error = &error as &dyn std::error::Error, "can't move the deadline of the table");
        }
    }

    /// Reads links, and objects where they may have changed, and makes the table follow.
    async fn reread(&mut self, objects: bool) {
        match self.links.snapshot().await {
            Ok(links) => self.present = links,
            Err(error) => {
                tracing::warn!(%error, "can't list the interfaces; keeping what was known");
                if self.present.is_empty() {
                    self.healthy = false;
                    return;
                }
            }
        }
        if objects || !self.source.has_read() {
            let own = lb_core::eligibility::own_addresses(
                &links::planned(&self.present),
                &self.settings.interfaces,
            );
            self.source.read(own).await;
        }
        self.step();
    }

    /// Plans and applies with what is known now.
    fn step(&mut self) {
        let Some(snapshot) = self.snapshot() else { return };
        let tagged = self.last.plan.desired.keys().filter(|t| is_tagged(t)).map(|t| t.link).collect();
        let mut facts = links::facts(&self.present, &tagged, &self.losing);
        let clock = self.clock();
        let mut result = self.reconciler.step(&snapshot, &facts, clock);
        // The first entry on a VLAN of a link may rule out a mode of XDP: the facts are then others than assumed.
        if let Ok(done) = &result {
            let now_tagged: BTreeSet<LinkId> =
                done.plan.desired.keys().filter(|t| is_tagged(t)).map(|t| t.link).collect();
            let exact = links::facts(&self.present, &now_tagged, &self.losing);
            if exact != facts {
                facts = exact;
                let changes = done.changes.clone();
                result = self
                    .reconciler
                    .step(&snapshot, &facts, clock)
                    .map(|again| Reconciled { changes, ..again });
            }
        }
        match result {
            Ok(done) => self.done(done),
            Err(error) => {
                self.healthy = false;
                let error: &dyn std::error::Error = &error;
                tracing::error!(
                    error,
                    "can't bring the table up to date; it falls silent unless a later try succeeds"
                );
            }
        }
    }

    fn done(&mut self, done: Reconciled) {
        if !done.changes.is_empty() {
            tracing::info!(
                removed = done.changes.remove.len(),
                written = done.changes.upsert.len(),
                gained = done.changes.gained.len(),
                "table updated"
            );
        }
        if !done.left_out.is_empty() {
            tracing::error!(
                left_out = done.left_out.len(),
                max_vips = self.settings.max_vips,
                "no room for all addresses: raise --max-vips"
            );
        }
        self.last = done;
        self.healthy = true;
        self.refresh();
        self.group_wish.send_replace(solicited(&self.last.plan).collect());
        let left_out = self.last.left_out.iter().map(|target| target.ip).collect();
        self.source.write_status(&self.last.plan, &left_out);
        self.send_due();
    }

    fn snapshot(&self) -> Option<Snapshot> {
        let objects = self.source.objects()?;
        Some(Snapshot {
            me: self.settings.node.clone(),
            nodes: objects.nodes.clone(),
            services: objects.services.clone(),
            config: objects.config.clone(),
            links: links::planned(&self.present),
            allowed: self.settings.interfaces.clone(),
            ignore_exclude_label: false,
        })
    }

    /// Sends what is due, as much as fits before the deadline must be moved again.
    fn send_due(&mut self) {
        let now = self.origin.elapsed();
        let due = self.reconciler.bursts().take_due(now, FRAMES_AT_ONCE);
        let desired = &self.last.plan.desired;
        let frames: Vec<(u32, Vec<u8>)> = due
            .iter()
            .filter_map(|announcement| {
                let mac = desired.get(&announcement.target)?.mac;
                Some((announcement.target.link.0, announce::frame(announcement, mac)?))
            })
            .collect();
        for result in self.sender.send_batch(&frames) {
            match result {
                Ok(()) => self.announced += 1,
                Err(error) => {
                    self.announce_errors += 1;
                    tracing::debug!(%error, "announcement not sent");
                }
            }
        }
    }

    /// Looks whether somebody changed the map or removed a pin, and repairs it.
    async fn audit(&mut self) {
        self.watch_driver();
        // Somebody may have flushed the entries that hold the groups; nothing tells about that.
        self.audits = self.audits.wrapping_add(1);
        if self.audits.is_multiple_of(GROUPS_EVERY) {
            self.group_wish.send_modify(|_| {});
        }
        if !self.healthy {
            self.reread(!self.source.has_read()).await;
            return;
        }
        match self.reconciler.is_untouched() {
            Ok(true) if self.pins_are_there() => {}
            Ok(untouched) => {
                tracing::warn!(
                    map_changed = !untouched,
                    repairs = self.reconciler.repairs(),
                    "repairing the data plane"
                );
                self.step();
            }
            Err(error) => {
                self.healthy = false;
                tracing::error!(error = &error as &dyn std::error::Error, "can't read the table");
            }
        }
    }

    fn pins_are_there(&mut self) -> bool {
        self.reconciler.dataplane().is_attached()
    }

    /// A driver that counts transmit errors for what XDP sends is left for the next mode.
    fn watch_driver(&mut self) {
        for link in report::losing(&self.last.attachments, &self.present) {
            if self.losing.insert(link) {
                tracing::warn!(link = link.0, "the driver loses what XDP sends: trying the next mode");
            }
        }
    }

    fn answer(&mut self, request: super::admin::Request) {
        let groups = self.group_report.borrow().clone();
        let state = report::state(&report::Facts {
            settings: &self.settings,
            synced: self.healthy,
            last: &self.last,
            source: &self.source,
            repairs: self.reconciler.repairs(),
            conflicts: &self.conflicts,
            groups: &groups,
            announced: (self.announced, self.announce_errors),
        });
        self.admin.answer(request, &state);
    }
}

fn is_tagged(target: &Target) -> bool {
    target.vlans != lb_core::ids::Vlans::Untagged
}

async fn wait_until(due: Option<tokio::time::Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// Joins and leaves groups beside the main task, which must move the deadline meanwhile.
async fn keep_groups(
    groups: Groups,
    mut wishes: watch::Receiver<Wanted>,
    reports: watch::Sender<GroupReport>,
) {
    while wishes.changed().await.is_ok() {
        let wanted = wishes.borrow_and_update().clone();
        match groups.apply(wanted).await {
            Ok(report) => {
                for (link, errors) in &report.errors {
                    for error in errors {
                        tracing::warn!(link, %error, "solicited-node group");
                    }
                }
                reports.send_replace(report);
            }
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "can't set group memberships");
            }
        }
    }
}
