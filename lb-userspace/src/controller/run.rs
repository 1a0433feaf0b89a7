//! The controller's loop: one thread, one place where everything that happens is taken in.
//!
//! ```text
//! watches ──> Cluster ── pass, paced ──> Decider ──> Desk ──> API server
//!                ^                                     │
//!                └──────── objects as written ─────────┘
//! ```
//!
//! Who does not lead watches all the same, so that it is ready. Who begins to lead reads everything anew: the last
//! writes of the former leader may be missing from what was seen before.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result, bail};
use prometheus_client::registry::Registry;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{Instant, sleep},
};

use super::{
    decide::{Decided, Decider, waits_for},
    desk::{Desk, Landed},
    identity::identity,
    leader::{self, LEASE_NAME, Leader, Leadership},
    leadership::Standing,
    metrics::Metrics,
    outcome, secret,
    tell::{self, Subject, Telling, Told},
    write::{STATE_NAME, Server, Target, Write},
};
use crate::{
    k8s::{
        client,
        lease::KubeLeases,
        write::{Writer, configuration, says_the_same},
    },
    source::kubernetes::{self, Cluster, Kind, Listed, Seen, Watches, Watching},
    telemetry::{
        endpoint,
        exposition::{Compat, Exposition},
        health::Health,
    },
    timer::until,
};

/// Longest time between two beats.
const BEAT: Duration = Duration::from_secs(5);
/// Before a pass, for what comes with the change that calls for it.
const GATHER: Duration = Duration::from_millis(5);
/// Share of the time that passes may take: one part in this many.
const SHARE: u32 = 5;

/// What a controller has to know.
#[derive(Debug, Clone)]
pub struct Settings {
    /// File that says where the API server is; without it see [`client::configuration`].
    pub kubeconfig: Option<PathBuf>,
    /// Namespace of MetalLB's objects, of the lease and of the own state.
    pub namespace: String,
    /// Name of the v0.9 `ConfigMap` there.
    pub config_map: String,
    /// Services of this class are served, instead of those without one.
    pub lb_class: Option<String>,
    /// Where `/metrics`, `/livez` and `/readyz` are answered.
    pub metrics: Option<SocketAddr>,
    /// Whose metrics are shown beside our own.
    pub compat: Compat,
    /// The name of the pod.
    pub pod: Option<String>,
}

/// Runs until the process is told to end, which is no error.
pub async fn run(settings: Settings) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    let (mut registry, health) = (Registry::default(), Health::default());
    let metrics = Metrics::new(&mut registry);
    if let Some(address) = settings.metrics {
        let exposition = Exposition::new(Arc::new(registry), settings.compat);
        tokio::spawn(endpoint::serve(address, exposition, health.clone())?);
    }
    let config = client::configuration(settings.kubeconfig.as_deref()).await?;
    let identity = identity(settings.pod.as_deref()).context("making a name for this replica")?;
    let leases = KubeLeases::new(&config, LEASE_NAME)?;
    let writer = Writer::new(client::writing(&config)?);
    let server = Server::new(writer.clone(), &settings.namespace, identity.clone());
    let source = Source {
        client: client::reading(&config)?,
        settings: kubernetes::Settings {
            namespace: settings.namespace.clone(),
            config_map: settings.config_map.clone(),
        },
    };
    let (mut leadership, mut leader) =
        Leader::start(leases, leader::Settings::new(&settings.namespace, identity));
    let secret = tokio::spawn(secret::provide(writer, settings.namespace, leadership.clone()));
    let mut controller = Controller::new(settings.lb_class, source, server, &leadership, metrics, health);
    loop {
        controller.health.beat();
        let due = controller.due;
        tokio::select! {
            biased;
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            () = leader.ended() => bail!("the task that keeps the lease has ended; this is a bug, the log says more"),
            () = leadership.changed() => controller.stand(&leadership.standing()),
            () = until(due) => controller.pass(),
            landed = controller.desk.next() => controller.landed(landed),
            Some(seen) = controller.watches.next() => controller.see(seen),
            () = sleep(BEAT) => {}
        }
    }
    // What is under way is cut off before the lease is given back.
    controller.desk.clear();
    secret.abort();
    match leader.release().await {
        Ok(release) => tracing::info!(?release, "told to end"),
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "the lease is left to run out");
        }
    }
    Ok(())
}

/// Where objects are read.
struct Source {
    client: kubernetes::Client,
    settings: kubernetes::Settings,
}

impl Source {
    fn watch(&self) -> Watches {
        Watches::of_controller(&self.client, &self.settings, STATE_NAME)
    }
}

struct Controller {
    lb_class: Option<String>,
    source: Source,
    watches: Watches,
    watching: Watching,
    cluster: Cluster,
    decider: Decider,
    told: Told,
    desk: Desk<Server>,
    leads: bool,
    /// When the next pass is to be.
    due: Option<Instant>,
    /// When the next pass may be at the earliest.
    earliest: Instant,
    metrics: Metrics,
    health: Health,
}

impl Controller {
    fn new(
        lb_class: Option<String>,
        source: Source,
        server: Server,
        leadership: &Leadership,
        metrics: Metrics,
        health: Health,
    ) -> Self {
        let asked = leadership.clone();
        let permit = Box::new(move || asked.permit().map(|permit| permit.until));
        Self {
            lb_class,
            watches: source.watch(),
            source,
            watching: Watching::default(),
            cluster: Cluster::default(),
            decider: Decider::default(),
            told: Told::default(),
            desk: Desk::new(server, permit, metrics.clone()),
            leads: false,
            due: None,
            earliest: Instant::now(),
            metrics,
            health,
        }
    }

    /// Begins to lead or ceases to.
    fn stand(&mut self, standing: &Standing) {
        self.leads = matches!(standing, Standing::Leading { .. });
        self.metrics.leader(self.leads);
        self.desk.clear();
        (self.decider, self.told, self.due) = (Decider::default(), Told::default(), None);
        if self.leads {
            self.cluster = Cluster::default();
            self.watching = Watching::default();
            self.watches = self.source.watch();
        }
    }

    /// Takes in what a watch shows, and what has come with it.
    fn see(&mut self, first: Seen) {
        let changed = self.watches.take_in(first, &mut self.watching, &mut self.cluster);
        self.metrics.updated(self.watching.take_updates());
        if changed {
            let missing = self.cluster.missing(&Kind::OF_CONTROLLER);
            self.metrics.synced(missing.is_empty());
            self.health.missing(missing.into_iter().map(Kind::name));
            self.call();
        }
    }

    /// Has a pass made soon.
    fn call(&mut self) {
        if self.leads && self.due.is_none() && waits_for(&self.cluster).is_empty() {
            self.due = Some((Instant::now() + GATHER).max(self.earliest));
        }
    }

    /// A write came back.
    fn landed(&mut self, landed: Landed) {
        if let (Write::Service { key, change, before, .. }, Ok(_)) = (&landed.write, &landed.result)
            && let Some(seen) = self.cluster.services().get(key)
        {
            let mut news: Vec<_> = tell::deprecated(key, seen).into_iter().collect();
            if let outcome::Change::Set { addresses, pool } = change
                && !addresses.iter().all(|ip| before.contains(&ip))
            {
                news.push(tell::allocated(key, &seen.meta.uid, *addresses, pool));
            }
            news.iter().for_each(log);
            self.desk.tell(news);
        }
        if let Ok(seen) = landed.result {
            self.cluster.answer(seen);
        }
        self.call();
    }

    /// Decides about everything, and says what is to be written.
    fn pass(&mut self) {
        self.due = None;
        if !waits_for(&self.cluster).is_empty() {
            return;
        }
        let start = Instant::now();
        self.cluster.dress();
        let decided = self.decider.decide(&self.cluster, self.lb_class.as_deref());
        let state = tell::state(&decided, &self.cluster);
        let news = self.told.news(&decided, &self.cluster);
        news.iter().for_each(log);
        self.desk.tell(news);
        let mut writes = services(&decided, &self.cluster);
        writes.extend(pools(&decided, &self.cluster));
        writes.extend(own_state(&state, &self.cluster));
        self.desk.know(|target| known(target, &self.cluster));
        self.desk.want(writes);
        self.metrics.waiting(&tell::waiting(&decided));
        for (name, usage) in &decided.usage {
            self.metrics.pool(name, *usage);
        }
        self.metrics.retain_pools(|name| decided.usage.keys().any(|pool| pool.as_str() == name));
        self.metrics.configuration(state.valid, state.problems);
        let took = start.elapsed();
        self.metrics.pass(took);
        self.earliest = start + took * SHARE;
    }
}

/// The version of what a write is about.
pub(super) fn known<'a>(target: &Target, cluster: &'a Cluster) -> Option<&'a str> {
    match target {
        Target::Service(key) => {
            let seen = cluster.services().get(key).or_else(|| cluster.unreadable().get(key));
            seen.map(|seen| &*seen.meta.version)
        }
        Target::Pool(_) | Target::State => None,
    }
}

/// The log has what the events have, which are lost where they can't be recorded.
fn log(telling: &Telling) {
    let (reason, note) = (telling.reason.name(), &telling.note);
    match &telling.subject {
        Subject::Service(service) => tracing::info!(%service, reason, note, "an event"),
        Subject::Object(object) => tracing::warn!(%object, reason, note, "an event"),
    }
}

/// The Services whose objects do not say what is decided.
pub(super) fn services(decided: &Decided, cluster: &Cluster) -> Vec<Write> {
    let changes = cluster.services().iter().filter_map(|(key, seen)| {
        let change = outcome::change(decided, key, seen)?;
        let version = Arc::clone(&seen.meta.version);
        let before = seen.ingress.iter().filter_map(|entry| entry.ip).collect();
        Some(Write::Service { key: key.clone(), version, before, change })
    });
    changes.collect()
}

/// The pools whose counters have changed.
fn pools(decided: &Decided, cluster: &Cluster) -> Vec<Write> {
    let changed = cluster.pools().iter().filter_map(|(name, seen)| {
        let status = tell::counters(decided, name)?;
        (seen.status.as_ref() != Some(&status)).then(|| Write::Pool { name: name.clone(), status })
    });
    changed.collect()
}

/// The own state, if it says something else.
fn own_state(state: &tell::State, cluster: &Cluster) -> Option<Write> {
    if cluster.listed(Kind::State) != Listed::Yes {
        return None;
    }
    let seen = cluster.state();
    let before = seen.and_then(|seen| seen.status.as_ref());
    let status = configuration(&state.summary, state.valid, before, SystemTime::now());
    let says = before.is_some_and(|before| says_the_same(before, &status));
    (!says).then(|| Write::State { status, exists: seen.is_some() })
}
