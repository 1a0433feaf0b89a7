//! Objects from a directory: read, decided, and the statuses written back. Files are read on a blocking thread, so
//! that the agent's task moves the deadline meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use lb_core::ids::{NodeName, ServiceKey};
use lb_core::plan::Plan;
use lb_core::request::Rules;

use crate::k8s::time::rfc3339;
use crate::source::Problem;
use crate::source::decide::{Decided, Decider, Surroundings};
use crate::source::files::{Files, Objects, Settings};
use crate::source::status::{StatusDir, statuses};

/// Where the objects are and which are ours.
#[derive(Clone, Debug)]
pub struct StandaloneSettings {
    /// Folder of manifests.
    pub directory: PathBuf,
    /// Folder of statuses.
    pub status: PathBuf,
    /// This node.
    pub node: NodeName,
    /// Namespace of MetalLB's objects.
    pub namespace: String,
    /// Name of the v0.9 ConfigMap.
    pub config_map: String,
    /// Services of this class instead of those without one.
    pub lb_class: Option<String>,
}

/// The directory, and what was made of it.
pub struct Standalone {
    settings: StandaloneSettings,
    /// Taken while a blocking thread reads.
    reader: Option<Reader>,
    objects: Objects,
    decided: Option<Arc<Decided>>,
    plan_problems: Vec<Problem>,
    logged: BTreeSet<String>,
}

struct Reader {
    files: Files,
    decider: Decider,
    status: Option<StatusDir>,
    restore_problems: Vec<Problem>,
}

impl Standalone {
    /// Nothing is read yet.
    pub fn new(settings: StandaloneSettings) -> Self {
        Self {
            settings,
            reader: None,
            objects: Objects::default(),
            decided: None,
            plan_problems: Vec::new(),
            logged: BTreeSet::new(),
        }
    }

    /// The folder to watch.
    pub(super) fn directory(&self) -> &Path {
        &self.settings.directory
    }

    /// What was decided last; nothing before everything was read once.
    pub(super) fn decided(&self) -> Option<Arc<Decided>> {
        self.decided.clone()
    }

    /// Reads what has changed and decides anew.
    pub(super) async fn read(&mut self, own_addresses: BTreeSet<IpAddr>) {
        let reader = self.reader.take();
        let settings = self.settings.clone();
        let result = tokio::task::spawn_blocking(move || {
            let mut reader = reader.unwrap_or_else(|| Reader::open(&settings));
            reader.files.read();
            let objects = reader.files.objects();
            let rules = Rules { lb_class: settings.lb_class.clone(), cluster_ips_required: false };
            let around = Surroundings { me: &settings.node, own_addresses: &own_addresses, rules: &rules };
            let mut decided = reader.decider.decide(&objects, &around);
            decided.problems.extend(reader.restore_problems.iter().cloned());
            (reader, objects, decided)
        })
        .await;
        match result {
            Ok((reader, objects, decided)) => {
                self.reader = Some(reader);
                self.objects = objects;
                // Without a readable directory nothing is known; what was decided before stays in force.
                if self.decided.is_none() && !decided.complete && !self.settings.directory.is_dir() {
                    tracing::error!(directory = %self.settings.directory.display(), "there is no such directory: create it");
                    return;
                }
                self.decided = Some(Arc::new(decided));
            }
            Err(error) => tracing::error!(%error, "reading the directory was interrupted"),
        }
    }

    /// Writes the statuses that follow from a plan, and logs what is newly wrong. False: it has to be tried again.
    pub(super) fn write_status(&mut self, plan: &Plan) -> bool {
        let Some(decided) = &self.decided else { return false };
        self.plan_problems =
            plan.problems.iter().map(|problem| self.objects.located(problem.clone())).collect();
        let all: Vec<Problem> = decided.problems.iter().chain(&self.plan_problems).cloned().collect();
        let texts: BTreeSet<String> = all.iter().map(ToString::to_string).collect();
        for text in texts.difference(&self.logged) {
            tracing::warn!(problem = text, "configuration");
        }
        for text in self.logged.difference(&texts) {
            tracing::info!(problem = text, "configuration: no longer wrong");
        }
        self.logged = texts;
        let Some(status) = self.reader.as_mut().and_then(|reader| reader.status.as_mut()) else {
            return true;
        };
        let now = rfc3339(SystemTime::now());
        let failed = status.write(&statuses(decided, &plan.services), &all, decided.complete, &now);
        for problem in &failed {
            tracing::error!(%problem, "can't write a status");
        }
        failed.is_empty()
    }

    /// Everything that is wrong with the objects.
    pub(super) fn problems(&self) -> impl Iterator<Item = String> {
        let decided = self.decided.iter().flat_map(|decided| &decided.problems);
        decided.chain(&self.plan_problems).map(ToString::to_string)
    }

    /// Why Services have no address, or not the one they ask for.
    pub(super) fn allocation_errors(&self) -> BTreeMap<ServiceKey, String> {
        let decisions = self.decided.iter().flat_map(|decided| &decided.decisions);
        decisions
            .filter_map(|(key, decision)| Some((key.clone(), decision.error.as_ref()?.to_string())))
            .collect()
    }
}

impl Reader {
    fn open(settings: &StandaloneSettings) -> Self {
        let files = Files::new(
            &settings.directory,
            Settings { namespace: settings.namespace.clone(), config_map: settings.config_map.clone() },
        );
        match StatusDir::open(&settings.status) {
            Ok(mut status) => {
                let (restored, restore_problems) = status.restore();
                Self { files, decider: Decider::new(restored), status: Some(status), restore_problems }
            }
            Err(error) => {
                tracing::error!(%error, directory = %settings.status.display(), "can't make the status directory: addresses are not remembered");
                Self { files, decider: Decider::default(), status: None, restore_problems: Vec::new() }
            }
        }
    }
}
