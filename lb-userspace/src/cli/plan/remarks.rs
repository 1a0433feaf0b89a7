//! What is to be said beside the plan: what is wrong with the objects, what is passed over, and what is not known.

use std::collections::{BTreeMap, BTreeSet};

use lb_core::ids::ServiceKey;
use lb_core::request::ServiceType;
use serde::Serialize;

use crate::cli::look::Told;
use crate::source::kubernetes::{Cluster, Kind, Listed};
use crate::source::overlay::Manifests;
use crate::source::problem::Problem;

/// See the module.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Remarks {
    /// What can't be read is left out of the plan: it is not all that would happen.
    pub(super) unreadable: Vec<String>,
    /// What would be wrong, and is not now.
    pub(super) errors: Vec<String>,
    /// What would need attention, and does not now.
    pub(super) warnings: Vec<String>,
    /// Objects that mean nothing here, by kind.
    pub(super) ignored: BTreeMap<String, usize>,
    /// What is not known, or was taken to be so.
    pub(super) notes: Vec<String>,
}

impl Remarks {
    /// Of the files that say what there is.
    pub(super) fn of_state(state: &Manifests) -> Self {
        let mut remarks = Self::default();
        remarks.unread(state.problems());
        remarks
    }

    fn unread(&mut self, problems: Vec<Problem>) {
        for problem in problems {
            let list = if problem.is_warning() { &mut self.warnings } else { &mut self.unreadable };
            list.push(problem.to_string());
        }
    }

    /// Of the cluster as it is; `offline`: as files say.
    pub(super) fn of_cluster(&mut self, cluster: &Cluster, namespace: &str, told: &Told, offline: bool) {
        if cluster.listed(Kind::Pool) != Listed::Yes {
            self.notes.push(
                "the API server has no IPAddressPool: first of all install the custom resources (`barelb crds | kubectl \
                 apply --server-side -f -`)"
                    .to_owned(),
            );
        }
        if cluster.nodes().is_empty() {
            self.notes.push("there are no nodes: who would answer for an address can't be told".to_owned());
        } else if !offline && cluster.leases().values().all(|lease| lease.holder.is_empty()) {
            self.notes.push(format!(
                "no agent renews a Lease in namespace {namespace}, so no node would answer: `kubectl get pods -A -l \
                 app.kubernetes.io/component=agent` shows where they run"
            ));
        }
        if cluster.pools().is_empty() && cluster.config_maps().is_empty() && !offline {
            let map = &told.config_map;
            self.notes.push(format!(
                "namespace {namespace} has neither an IPAddressPool nor a ConfigMap {map} now: `kubectl get ipaddresspools -A` \
                 shows whether another one has"
            ));
        }
    }

    /// Of what would be applied, which the cluster has by now.
    pub(super) fn of_files(
        &mut self,
        files: [&Manifests; 2],
        cluster: &Cluster,
        unknown: &BTreeSet<ServiceKey>,
    ) {
        for files in files {
            self.unread(files.problems());
            for (kind, count) in files.ignored() {
                *self.ignored.entry(kind).or_default() += count;
            }
        }
        for key in unknown.iter().filter(|key| !cluster.has_namespace(key)) {
            self.errors.push(format!(
                "Service {key}: there is no namespace {0}: `kubectl create namespace {0}`",
                key.namespace()
            ));
        }
        let asks = |key: &&ServiceKey| {
            cluster
                .services()
                .get(*key)
                .is_some_and(|seen| seen.spec.service_type == ServiceType::LoadBalancer)
        };
        let names: Vec<String> = unknown.iter().filter(asks).map(ToString::to_string).collect();
        if !names.is_empty() {
            self.notes.push(format!(
                "where the pods of {} are is not known: every node is taken to be able to serve",
                names.join(", ")
            ));
        }
    }

    /// Objects that are to be deleted and are not there.
    pub(super) fn missing(&mut self, missing: Vec<String>) {
        self.notes.extend(missing.into_iter().map(|object| format!("{object} is not there")));
    }

    /// What is wrong only with the objects as they would be.
    pub(super) fn of_configuration(&mut self, before: &[Problem], after: &[Problem]) {
        let known: BTreeSet<String> = before.iter().map(said).collect();
        for problem in after.iter().filter(|problem| !known.contains(&said(problem))) {
            let list = if problem.is_warning() { &mut self.warnings } else { &mut self.errors };
            list.push(problem.to_string());
        }
        let refused = before.iter().filter(|problem| !problem.is_warning()).count();
        if refused > 0 {
            self.notes.push(format!(
                "something is wrong with the configuration as it is ({refused} errors: `kubectl get configurationstate -A -o \
                 yaml`): what controller and agents go by in its place is not known here"
            ));
        }
    }

    /// Whether the plan is not all that would happen.
    pub(super) fn are_fatal(&self) -> bool {
        !self.unreadable.is_empty()
    }

    /// For people, a line each.
    pub(super) fn text(&self) -> String {
        let ignored = self.ignored.iter().map(|(kind, count)| format!("note: {kind}: {count} passed over"));
        let lines = [
            ("error", &self.unreadable),
            ("error", &self.errors),
            ("warning", &self.warnings),
            ("note", &self.notes),
        ];
        let said = lines.iter().flat_map(|(word, list)| list.iter().map(move |one| format!("{word}: {one}")));
        said.chain(ignored).map(|line| line + "\n").collect()
    }
}

/// What is wrong, wherever it is written.
fn said(problem: &Problem) -> String {
    format!("{} {} {}", problem.place.object, problem.place.field, problem.reason)
}
