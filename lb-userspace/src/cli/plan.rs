//! `barelb plan`: what would change for whom if these objects were applied or deleted.
//!
//! ```text
//! cluster, or files ──> as it is ──────────────> Outlook ─┐
//!                           │ + files                     ├─ differences
//!                           └──> as it would be ─> Outlook ─┘
//! ```
//!
//! Both are decided about by what controller and agents themselves decide by, one after the other as they would: what is
//! wrong with the files leaves in force what was there before. Nothing is written anywhere.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::Args;
use lb_core::eligibility::{Endpoints, Leaving, Node};
use lb_core::ids::{NodeName, ServiceKey};
use lb_core::membership::{fitness, leaving_report};
use lb_core::outlook::{Outlook, differences};
use lb_core::plan::{AnnouncedService, Snapshot};

use super::access::{self, Access, runtime};
use super::format::Format;
use super::look::{Look, Told};
use super::{complain, print};
use crate::agent::{ClusterRules, Onlooker};
use crate::controller::decide::Decider;
use crate::controller::foresee::foresee;
use crate::source::files::Settings;
use crate::source::kubernetes::Cluster;
use crate::source::overlay::Manifests;
use crate::source::problem::Problem;

mod remarks;
mod report;
#[cfg(test)]
mod tests;

use remarks::Remarks;
use report::Report;

/// Exit codes, those of `kubectl diff`.
const SAME: u8 = 0;
const DIFFERENT: u8 = 1;
const FAILED: u8 = 2;

/// Arguments of `barelb plan`.
#[derive(Debug, Args)]
pub struct Plan {
    /// What would be applied: a file, a folder with .yaml, .yml and .json files, or - for standard input; can be given
    /// several times. Services, IPAddressPools, L2Advertisements, the v0.9 ConfigMap, Nodes, Namespaces and EndpointSlices
    /// count, objects of other kinds are passed over.
    #[arg(
        short,
        long = "filename",
        value_name = "FILE",
        required_unless_present = "without",
        value_delimiter = ','
    )]
    filenames: Vec<PathBuf>,
    /// Read the folders in a folder too.
    #[arg(short = 'R', long)]
    recursive: bool,
    /// What if these objects were deleted.
    #[arg(long)]
    delete: bool,
    /// What would be deleted in the same step, as -f takes it: the way to see one Service take over from another. What the
    /// files of -f have too stays.
    #[arg(long, value_name = "FILE", conflicts_with = "delete", value_delimiter = ',')]
    without: Vec<PathBuf>,
    /// Namespace of objects that name none [default: that of the context, as kubectl has it].
    #[arg(short, long, value_name = "NS", value_parser = access::namespace)]
    namespace: Option<String>,
    /// Files or folders that say what there is now, in place of a cluster: no API server is asked. Statuses count, and each
    /// node is taken to have an agent; `kubectl get -A -o yaml` with the kinds above prints one.
    #[arg(long, value_name = "FILE", value_delimiter = ',')]
    from: Vec<PathBuf>,
    #[command(flatten)]
    access: Access,
    #[command(flatten)]
    told: Told,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

impl Plan {
    /// Prints what would change; the exit code is 0 where nothing would, 1 where something would, and 2 after an error, as that
    /// of `kubectl diff`.
    pub fn run(self) -> Result<ExitCode> {
        let code = match self.plan() {
            Ok(code) => code,
            Err(error) => {
                complain(format!("Error: {error:?}\n"))?;
                FAILED
            }
        };
        Ok(ExitCode::from(code))
    }

    fn plan(&self) -> Result<u8> {
        let report = self.report()?;
        print(report.render(self.output)?)?;
        complain(report.remarks())?;
        Ok(report.code())
    }

    fn report(&self) -> Result<Report> {
        let named = self.filenames.iter().chain(&self.without).chain(&self.from);
        ensure!(
            named.filter(|path| path.as_os_str() == "-").count() < 2,
            "standard input can be read once only: `-` stands in one place, elsewhere name files"
        );
        let runtime = runtime()?;
        let asked = self.from.is_empty().then(|| runtime.block_on(self.access.client()));
        let client = asked.transpose()?;
        let of_context = client.as_ref().map(|client| client.default_namespace().to_owned());
        let files = self.files(self.namespace.clone().or(of_context))?;
        let (look, remarks) = if let Some(client) = client {
            (runtime.block_on(Look::take(&client, &self.access, &self.told))?, Remarks::default())
        } else {
            let state = self.read(&self.from, None).context("reading what there is (--from)")?;
            let remarks = Remarks::of_state(&state);
            (Look { cluster: state.cluster(), announcements: Vec::new() }, remarks)
        };
        self.compare(look, &files, remarks)
    }

    /// What is to be done; `home` is the namespace of objects that name none.
    fn files(&self, home: Option<String>) -> Result<Files> {
        let applied =
            self.read(&self.filenames, home.clone()).context("reading what would be applied (-f)")?;
        let deleted = self.read(&self.without, home).context("reading what would be deleted (--without)")?;
        Ok(if self.delete {
            Files { applied: Manifests::default(), deleted: applied }
        } else {
            Files { applied, deleted }
        })
    }

    fn read(&self, paths: &[PathBuf], home: Option<String>) -> Result<Manifests> {
        let (namespace, config_map) = (self.access.namespace.clone(), self.told.config_map.clone());
        Ok(Manifests::read(paths, self.recursive, &Settings { namespace, config_map, home })?)
    }

    fn compare(&self, look: Look, files: &Files, mut remarks: Remarks) -> Result<Report> {
        let (rivals, mut cluster, offline) = (look.rivals(), look.cluster, !self.from.is_empty());
        remarks.of_cluster(&cluster, &self.access.namespace, &self.told, offline);
        let mut eyes = Eyes::new(&cluster, &self.told, rivals, offline)?;
        let before = eyes.look(&mut cluster, &BTreeSet::new());
        remarks.missing(files.deleted.delete_but(&files.applied, &mut cluster));
        let unknown = files.applied.apply(&mut cluster);
        remarks.of_files([&files.deleted, &files.applied], &cluster, &unknown);
        let after = eyes.look(&mut cluster, &unknown);
        remarks.of_configuration(&before.problems, &after.problems);
        Ok(Report::new(&differences(&before.outlook, &after.outlook), &after.outlook, remarks))
    }
}

/// What is to be done with objects.
struct Files {
    applied: Manifests,
    deleted: Manifests,
}

/// Looks at a cluster as its controller and its agents do, who remember what they saw before.
struct Eyes {
    told: Told,
    me: NodeName,
    decider: Decider,
    onlooker: Onlooker,
    /// Files say what there is, and nothing of agents: each node has one. Who serves what they may say, or not.
    offline: bool,
    /// The nodes that were leaving already at the first look.
    leaving: Option<BTreeSet<NodeName>>,
}

/// What was seen.
struct Sight {
    outlook: Outlook,
    problems: Vec<Problem>,
}

impl Eyes {
    fn new(
        cluster: &Cluster,
        told: &Told,
        rivals: BTreeMap<ServiceKey, NodeName>,
        offline: bool,
    ) -> Result<Self> {
        // Of a cluster without nodes nobody owns anything, whoever looks.
        let me = cluster.nodes().keys().next().cloned().map_or_else(|| NodeName::new("nobody"), Ok)?;
        let rules = ClusterRules { lb_class: told.lb_class.clone(), leaves_on_cordon: false };
        let onlooker = Onlooker::new(me.clone(), rules, rivals);
        Ok(Self { told: told.clone(), me, decider: Decider::default(), onlooker, offline, leaving: None })
    }

    /// Lets the controller work until it rests, and the agents see what came of it. Of the Services in `unknown` any node may be
    /// able to serve them.
    fn look(&mut self, cluster: &mut Cluster, unknown: &BTreeSet<ServiceKey>) -> Sight {
        let class = self.told.lb_class.clone();
        let class = class.as_deref();
        let decided = foresee(&mut self.decider, cluster, class);
        let mut seen = self.onlooker.glance(cluster);
        let nowhere_said = self.offline && cluster.slices().is_empty();
        let mut services = (*seen.services).clone();
        for (key, service) in &mut services {
            if unknown.contains(key) || nowhere_said {
                *service = AnnouncedService { endpoints: Endpoints::Unknown, ..service.clone() };
            }
        }
        for node in seen.nodes.values_mut().filter(|_| self.offline) {
            node.alive = true;
        }
        self.leave(&mut seen.nodes);
        let snapshot = Snapshot {
            nodes: seen.nodes,
            services: services.into(),
            config: seen.config,
            rivals: seen.rivals,
            ignore_exclude_label: self.told.ignore_exclude_label,
            ..Snapshot::alone(self.me.clone())
        };
        let outlook = Outlook::new(cluster.services(), class, &decided.decisions, snapshot);
        let of_all = outlook.problems().iter().cloned().map(Problem::from);
        let problems = decided.problems.into_iter().map(|(_, problem)| problem).chain(of_all).collect();
        Sight { outlook, problems }
    }

    /// A node that leaves says so by its links; one that is only about to has not said it yet.
    fn leave(&mut self, nodes: &mut BTreeMap<NodeName, Node>) {
        let leaves = |node: &Node| node.leaving.filter(|leaving| *leaving != Leaving::Cordoned);
        let known = self.leaving.get_or_insert_with(|| {
            nodes.iter().filter(|(_, node)| leaves(node).is_some()).map(|(name, _)| name.clone()).collect()
        });
        for (_, node) in nodes.iter_mut().filter(|(name, _)| !known.contains(*name)) {
            if let Some(leaving) = leaves(node) {
                node.reports = leaving_report(&node.reports, leaving);
                node.links = Some(fitness(node.reports.iter().cloned()));
            }
        }
    }
}
