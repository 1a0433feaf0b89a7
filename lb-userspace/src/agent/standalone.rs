//! Objects from a directory: read, decided, and the statuses written back. Files are read on a blocking thread, so
//! that the agent's task moves the deadline meanwhile. What is in force is remembered below the state directory.

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
use crate::source::files::{Files, Settings};
use crate::source::memory::Memory;
use crate::source::status::{StatusDir, statuses};

/// Where the objects are and which are ours.
#[derive(Clone, Debug)]
pub struct StandaloneSettings {
    /// Folder of manifests.
    pub directory: PathBuf,
    /// Folder of statuses.
    pub status: PathBuf,
    /// Folder for what is in force, so that a restart has it.
    pub state: PathBuf,
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
    decided: Option<Arc<Decided>>,
    /// Why nothing could be read yet.
    unread: Option<Problem>,
    plan_problems: Vec<Problem>,
    status_problems: Vec<Problem>,
    logged: BTreeSet<String>,
}

struct Reader {
    files: Files,
    decider: Decider,
    memory: Memory,
    status: StatusDir,
    /// The statuses have been read back.
    restored: bool,
    problems: Vec<Problem>,
}

impl Standalone {
    /// Nothing is read yet.
    pub fn new(settings: StandaloneSettings) -> Self {
        Self {
            settings,
            reader: None,
            decided: None,
            unread: None,
            plan_problems: Vec::new(),
            status_problems: Vec::new(),
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
            let rules = Rules { lb_class: settings.lb_class.clone(), ..Rules::default() };
            let around = Surroundings { me: &settings.node, own_addresses: &own_addresses, rules: &rules };
            let decided = reader.read(&around);
            (reader, decided)
        })
        .await;
        match result {
            Ok((reader, decided)) => {
                self.reader = Some(reader);
                match decided {
                    Ok(decided) => {
                        self.decided = Some(Arc::new(decided));
                        self.unread = None;
                    }
                    Err(problem) => {
                        self.log([problem.to_string()].into());
                        self.unread = Some(*problem);
                    }
                }
            }
            Err(error) => tracing::error!(%error, "reading the directory was interrupted"),
        }
    }

    /// Writes the statuses that follow from a plan, and logs what is newly wrong. False: it has to be tried again.
    pub(super) fn write_status(&mut self, plan: &Plan) -> bool {
        let Some(decided) = &self.decided else { return false };
        self.plan_problems = plan.problems.iter().map(|problem| decided.located(problem.clone())).collect();
        let all: Vec<Problem> = decided.problems.iter().chain(&self.plan_problems).cloned().collect();
        if let Some(reader) = &mut self.reader {
            let now = rfc3339(SystemTime::now());
            let statuses = statuses(decided, &plan.services);
            self.status_problems = reader.status.write(&statuses, &all, &decided.uncertain, &now);
        }
        self.log(self.problems().collect());
        self.status_problems.is_empty()
    }

    /// Logs what is newly wrong, and what no longer is.
    fn log(&mut self, texts: BTreeSet<String>) {
        for text in texts.difference(&self.logged) {
            tracing::warn!(problem = text, "configuration");
        }
        for text in self.logged.difference(&texts) {
            tracing::info!(problem = text, "configuration: no longer wrong");
        }
        self.logged = texts;
    }

    /// Everything that is wrong with the objects.
    pub(super) fn problems(&self) -> impl Iterator<Item = String> {
        let decided = self.decided.iter().flat_map(|decided| &decided.problems);
        let all = decided.chain(&self.unread).chain(&self.plan_problems).chain(&self.status_problems);
        all.map(ToString::to_string)
    }

    /// Whether everything could be read, and is in force as it is written.
    pub(super) fn is_valid(&self) -> bool {
        self.unread.is_none() && self.decided.as_deref().is_some_and(Decided::is_valid)
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
            Settings {
                namespace: settings.namespace.clone(),
                config_map: settings.config_map.clone(),
                home: None,
            },
        );
        let (memory, remembered) = Memory::open(&settings.state, &settings.directory);
        Self {
            files,
            decider: Decider::new(remembered.in_force, remembered.addresses),
            memory,
            status: StatusDir::new(&settings.status),
            restored: false,
            problems: remembered.problems,
        }
    }

    /// Reads what has changed, decides anew and remembers. An error: the directory can't be read, and nothing is known
    /// of what was in force before.
    fn read(&mut self, around: &Surroundings<'_>) -> Result<Decided, Box<Problem>> {
        self.files.read();
        match self.files.unreadable() {
            Some(problem) if self.decider.in_force().is_empty() => return Err(Box::new(problem.clone())),
            Some(_) => {}
            None if self.restored => {}
            None => {
                let (addresses, problems) = self.status.restore();
                self.decider.restore(addresses);
                self.problems.extend(problems);
                self.restored = true;
            }
        }
        let mut decided = self.decider.decide(&self.files, around);
        decided.problems.extend(self.problems.iter().cloned());
        decided.problems.extend(self.memory.save(self.decider.in_force(), self.decider.addresses()));
        Ok(decided)
    }
}
