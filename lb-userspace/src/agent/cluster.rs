//! Objects from the API server of a cluster: followed by watches, and what was decided handed to the agent's task.
//!
//! ```text
//! watches ──> follower: Cluster, Membership ── decide ──> Decided ──> the agent's task
//! links of the node ──> heartbeat ── renews the Lease; what is announced ──> teller
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use lb_core::ids::{LinkId, LinkName, NodeName, ServiceKey};
use lb_core::membership::{LinkReport, lease_duration};
use lb_core::plan::{AddressVerdict, EntryState, Plan, Verdict};
use tokio::sync::{mpsc, oneshot, watch};

pub use self::decide::ClusterRules;
use self::decide::Decider;
use self::follower::{Again, Follower, Objects};
pub(super) use self::heartbeat::Farewell;
use self::heartbeat::Heart;
use self::snapshot::{Saved, SnapshotFile};
use self::teller::{Announced, Complaint, Teller, Telling, Voice};
pub(super) use self::teller::{Claimed, CutLink};
use super::metrics::Metrics;
use crate::controller::identity::identity;
use crate::k8s::client;
use crate::k8s::event::Reporter;
use crate::k8s::l2_status::{self, Statuses};
use crate::k8s::member::Member;
use crate::k8s::write::Writer;
use crate::source::decide::Decided;
use crate::source::kubernetes::{self, Settings};

mod decide;
mod follower;
mod heartbeat;
mod snapshot;
mod teller;

/// Claims of strangers that wait to be told.
const ALARMS: usize = 256;

/// What an agent has to know of its cluster.
#[derive(Clone, Debug)]
pub struct ClusterSettings {
    /// File that says where the API server is; without it see [`client::configuration`].
    pub kubeconfig: Option<PathBuf>,
    /// This node.
    pub node: NodeName,
    /// Namespace of MetalLB's objects and of the Leases.
    pub namespace: String,
    /// Name of the v0.9 ConfigMap.
    pub config_map: String,
    /// What counts as ours, and when this node owns nothing.
    pub rules: ClusterRules,
    /// How long the data plane answers without its agent.
    pub grace: Duration,
    /// Where what was decided is kept over a restart.
    pub state_dir: PathBuf,
    /// Where what happens is counted.
    pub metrics: Metrics,
}

/// The cluster, as far as this agent knows it.
pub struct Cluster {
    tasks: Option<Tasks>,
    farewell: Option<Farewell>,
    again: mpsc::Sender<Again>,
    decided: watch::Receiver<Option<Arc<Decided>>>,
    saved: Option<Saved>,
    /// What is gone by while the API server has not answered yet.
    resumed: Option<Resumed>,
    stepped: watch::Sender<Option<Arc<Decided>>>,
    reports: watch::Sender<Option<Vec<LinkReport>>>,
    announced: watch::Sender<Option<teller::All>>,
    alarms: mpsc::Sender<Claimed>,
    cuts: watch::Sender<BTreeSet<CutLink>>,
    whole: mpsc::Sender<CutLink>,
    heard: watch::Sender<BTreeSet<NodeName>>,
    plan_problems: Vec<String>,
}

/// What was decided before a restart.
struct Resumed {
    decided: Arc<Decided>,
    /// When it was written.
    at: String,
}

/// The tasks that begin when the cluster is followed.
struct Tasks {
    follower: Follower,
    heart: Heart,
    teller: Teller,
    snapshot: SnapshotFile,
    stepped: watch::Receiver<Option<Arc<Decided>>>,
}

impl Cluster {
    /// Finds the way to the API server; nothing is asked yet.
    pub async fn new(settings: ClusterSettings) -> Result<Self> {
        let ClusterSettings { kubeconfig, node, namespace, config_map, rules, grace, state_dir, metrics } =
            settings;
        let snapshot = SnapshotFile::new(&state_dir, node.clone(), &namespace);
        let config = client::configuration(kubeconfig.as_deref()).await?;
        let holder = identity(Some(node.as_str())).context("making a name for this agent")?;
        let duration = lease_duration(grace);
        let (writing, reading) = (client::writing(&config)?, client::reading(&config)?);
        let member = Member::new(writing.clone(), &namespace, node.clone(), holder.clone(), duration);
        let (reports, links) = watch::channel(None);
        let (heart, pulse, farewell) = Heart::new(member.clone(), links, metrics.clone());
        let voice = Voice {
            statuses: Statuses::new(writing.clone(), &namespace),
            writer: Writer::new(writing),
            reporter: Reporter { controller: "barelb.io/agent", instance: holder.clone() },
            metrics: metrics.clone(),
        };
        let (announced, telling) = watch::channel(None);
        let (alarms, alarmed) = mpsc::channel(ALARMS);
        let (cuts, cut) = watch::channel(BTreeSet::new());
        let (whole, healed) = mpsc::channel(ALARMS);
        let told = Telling { announced: telling, alarms: alarmed, cuts: cut, whole: healed };
        let (teller, rivals) = Teller::new(node.clone(), voice, told, l2_status::watch(&reading, &namespace));
        let (heard, hearing) = watch::channel(BTreeSet::new());
        let (again, questions) = mpsc::channel(1);
        let objects = Objects { client: reading, settings: Settings { namespace, config_map }, metrics };
        let decider = Decider::new(node, holder, duration, rules);
        let (follower, decided) = Follower::new(objects, decider, member, pulse, rivals, hearing, questions);
        let (stepping, stepped) = watch::channel(None);
        Ok(Self {
            tasks: Some(Tasks { follower, heart, teller, snapshot, stepped }),
            saved: None,
            resumed: None,
            stepped: stepping,
            farewell: Some(farewell),
            again,
            decided,
            reports,
            announced,
            alarms,
            cuts,
            whole,
            heard,
            plan_problems: Vec::new(),
        })
    }

    /// Begins to follow; called once. The receiver is closed when one of the tasks ends, which is a fault unless the agent
    /// ends.
    pub(super) fn follow(&mut self) -> mpsc::Receiver<()> {
        let (sender, changes) = mpsc::channel(1);
        if let Some(Tasks { mut follower, heart, teller, snapshot, stepped }) = self.tasks.take() {
            // Not before: the agent that had the lock has written it to its end.
            self.saved = load(&snapshot);
            if let Some(saved) = &self.saved {
                follower.remember(saved);
            }
            tokio::spawn(async move {
                tokio::select! {
                    () = follower.run(sender) => {}
                    () = heart.beat() => {}
                    () = teller.run() => {}
                    () = snapshot.follow(stepped) => {}
                }
            });
        }
        changes
    }

    /// Takes over what was decided last or, with `anew`, what is decided after everything has been listed again.
    pub(super) async fn read(&mut self, anew: bool) {
        if anew {
            let (answer, decided) = oneshot::channel();
            if self.again.send(answer).await.is_ok() {
                // An error: the tasks have ended, and the agent ends too.
                let _ended = decided.await;
            }
        }
        if anew || self.has_answer() {
            (self.saved, self.resumed) = (None, None);
        }
    }

    /// What was decided last; before the API server has answered, what [`Cluster::resume`] found.
    pub(super) fn decided(&self) -> Option<Arc<Decided>> {
        self.decided.borrow().clone().or_else(|| Some(Arc::clone(&self.resumed.as_ref()?.decided)))
    }

    /// Goes by what was decided before the restart, until the API server answers: only what is `answered` by the table
    /// all the while is announced.
    pub(super) fn resume(&mut self, answered: BTreeSet<IpAddr>) {
        let Some(saved) = self.saved.take() else {
            tracing::warn!(
                "the API server has not answered yet, and nothing was saved before the restart: what the table answers \
                 ends with its deadline unless the API server answers first"
            );
            return;
        };
        tracing::warn!(
            saved = saved.at,
            "the API server has not answered yet: going by what was announced before the restart"
        );
        self.resumed = Some(Resumed { decided: Arc::new(saved.decided(answered)), at: saved.at });
    }

    /// Whether the API server has answered since the start.
    fn has_answer(&self) -> bool {
        self.decided.borrow().is_some()
    }

    /// Logs what is newly wrong with the plan, and has it said in the cluster what is announced.
    pub(super) fn write_status(&mut self, plan: &Plan, links: &BTreeMap<LinkId, LinkName>) -> bool {
        let problems: Vec<String> = plan.problems.iter().map(ToString::to_string).collect();
        for problem in problems.iter().filter(|problem| !self.plan_problems.contains(problem)) {
            tracing::warn!(problem, "announcing");
        }
        self.plan_problems = problems;
        if let Some(decided) = self.decided() {
            self.announced.send_replace(Some(announced(plan, links, &decided)));
            if self.has_answer() {
                self.stepped.send_replace(Some(decided));
            }
        }
        true
    }

    pub(super) fn problems(&self) -> Vec<String> {
        let decided = self.decided.borrow();
        let of_objects = decided.iter().flat_map(|decided| &decided.problems).map(ToString::to_string);
        let resumed = self.resumed.as_ref().filter(|_| decided.is_none()).map(|resumed| {
            format!(
                "the API server has not answered since this agent started: it announces what it did at {}; the log says \
                 what is tried",
                resumed.at
            )
        });
        of_objects.chain(resumed).chain(self.plan_problems.iter().cloned()).collect()
    }

    /// Whether everything was read, and is in force as it is written.
    pub(super) fn is_valid(&self) -> bool {
        self.decided.borrow().as_deref().is_some_and(Decided::is_valid)
    }

    /// The way to leave in order, once.
    pub(super) fn farewell(&mut self) -> Option<Farewell> {
        self.farewell.take()
    }

    /// Where it is told which links are cut.
    pub(super) fn cuts(&self) -> watch::Sender<BTreeSet<CutLink>> {
        self.cuts.clone()
    }

    /// Where it is told which link is whole again; what finds no room there is not told.
    pub(super) fn whole(&self) -> mpsc::Sender<CutLink> {
        self.whole.clone()
    }

    /// Where it is told that a stranger claims an address; what finds no room there is not told.
    pub(super) fn alarms(&self) -> mpsc::Sender<Claimed> {
        self.alarms.clone()
    }

    /// Where it is told which nodes are heard on the network.
    pub(super) fn heard(&self) -> watch::Sender<BTreeSet<NodeName>> {
        self.heard.clone()
    }

    pub(super) fn reports(&self) -> watch::Sender<Option<Vec<LinkReport>>> {
        self.reports.clone()
    }
}

/// What the agents of a cluster go by, for someone who asks from outside: as the node `me` has it. `rivals` says what
/// MetalLB announces.
pub fn glance(
    cluster: &kubernetes::Cluster,
    me: NodeName,
    rules: ClusterRules,
    rivals: BTreeMap<ServiceKey, NodeName>,
) -> Decided {
    Onlooker::new(me, rules, rivals).glance(cluster)
}

/// The same for someone who looks again after something has changed: as for an agent, what was in force before stays where
/// what is written now is wrong.
#[derive(Debug)]
pub struct Onlooker {
    decider: Decider,
}

impl Onlooker {
    /// One who has seen nothing yet.
    pub fn new(me: NodeName, rules: ClusterRules, rivals: BTreeMap<ServiceKey, NodeName>) -> Self {
        let mut decider = Decider::new(me, String::new(), Duration::ZERO, rules);
        decider.see_rivals(rivals);
        Self { decider }
    }

    /// What the agents go by now.
    pub fn glance(&mut self, cluster: &kubernetes::Cluster) -> Decided {
        self.decider.glance(cluster)
    }
}

/// What was saved before the restart; a file that says nothing is told and left to be replaced.
fn load(snapshot: &SnapshotFile) -> Option<Saved> {
    snapshot.load().unwrap_or_else(|error| {
        tracing::warn!(error = &error as &dyn std::error::Error, "starting without a snapshot");
        None
    })
}

/// The Services of which this node answers an address.
fn announced(plan: &Plan, links: &BTreeMap<LinkId, LinkName>, decided: &Decided) -> teller::All {
    let mut answered: BTreeMap<IpAddr, BTreeSet<LinkName>> = BTreeMap::new();
    for (target, entry) in &plan.desired {
        if entry.state == EntryState::Answer
            && let Some(name) = links.get(&target.link)
        {
            answered.entry(target.ip).or_default().insert(name.clone());
        }
    }
    let service = |(key, verdicts): (&ServiceKey, &Vec<AddressVerdict>)| {
        let owned =
            verdicts.iter().filter(|verdict| verdict.verdict == Verdict::Owner).map(|verdict| verdict.ip);
        let ips: Vec<IpAddr> = owned.filter(|ip| answered.contains_key(ip)).collect();
        let links = ips.iter().filter_map(|ip| answered.get(ip)).flatten().cloned().collect();
        let uid = decided.uids.get(key).cloned().unwrap_or_default();
        (!ips.is_empty()).then(|| (key.clone(), Announced { uid, ips, links }))
    };
    let services = plan.services.iter().filter_map(service).collect();
    let alive = decided.nodes.iter().filter(|(_, node)| node.alive).map(|(name, _)| name.clone()).collect();
    let complaints = plan.complaints.iter().map(|problem| Complaint::new(problem, decided)).collect();
    teller::All { services, alive, complaints }
}
