//! `barelb bundle`: what somebody needs who is to find out from elsewhere what is wrong with a cluster.
//!
//! ```text
//! barelb-bundle-TIME/
//!   about.txt            versions, and what was asked
//!   objects/KIND.yaml    as `barelb plan --from` reads them
//!   logs/POD/CONTAINER.log, CONTAINER.previous.log
//!   pages/POD/metrics.txt, addresses.json, peers.json, readyz.txt, livez.txt
//!   node/                with --node: what this node says of itself
//!   errors.txt           what could not be had, and why
//! ```
//!
//! Secrets are not asked for, and what looks like one is taken out.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::SystemTime;

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;

use super::access::{Access, runtime};
use super::{complain, print};
use crate::k8s::agents::Agents;
use crate::k8s::raw::Raw;
use crate::k8s::time::rfc3339;

mod archive;
mod objects;
mod pods;
mod redact;

use archive::Archive;
use objects::Objects;

/// Arguments of `barelb bundle`.
#[derive(Debug, Args)]
pub struct Bundle {
    /// Where the archive is written, or - for standard output [default: barelb-bundle-TIME.tar.gz].
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Lines of each log, the last ones.
    #[arg(long, value_name = "COUNT", default_value_t = 10_000)]
    log_lines: u32,
    /// What this node says of itself in place of the cluster: what `barelb inspect` and `barelb check` print. No API server
    /// is asked.
    #[arg(long)]
    node: bool,
    /// Name of the v0.9 `ConfigMap`, as controller and agents have it.
    #[arg(long, env = "LB_CONFIG_MAP", value_name = "NAME", default_value = "config")]
    config_map: String,
    #[command(flatten)]
    access: Access,
}

/// What is collected, and what could not be.
pub(super) struct Collection {
    archive: Archive,
    files: usize,
    errors: Vec<String>,
}

impl Collection {
    /// An empty one, which will be at `place`, or go to standard output.
    fn new(place: Option<&Path>, folder: &str) -> Result<Self> {
        let archive = Archive::new(place, folder).with_context(|| format!("writing {}", shown(place)))?;
        Ok(Self { archive, files: 0, errors: Vec::new() })
    }

    /// Adds a file, without secrets.
    fn add(&mut self, name: &str, content: &str) -> Result<()> {
        self.add_clean(name, &redact::text(content))
    }

    /// Adds a file that has none: a document stays one.
    fn add_clean(&mut self, name: &str, content: &str) -> Result<()> {
        self.files += 1;
        self.archive.add(name, content).with_context(|| format!("writing {name}"))
    }

    /// Notes what could not be had.
    fn miss(&mut self, name: &str, why: &str) {
        self.errors.push(format!("{name}: {why}"));
    }
}

impl Bundle {
    /// Writes the archive; exit code 1 when something could not be had.
    pub fn run(self) -> Result<ExitCode> {
        let now = rfc3339(SystemTime::now());
        let folder = format!("barelb-bundle-{}", now.replace(['-', ':'], ""));
        let place = self.output.clone().unwrap_or_else(|| PathBuf::from(format!("{folder}.tar.gz")));
        let place = if place.as_os_str() == "-" { None } else { Some(place) };
        if place.is_none() && io::stdout().is_terminal() {
            bail!("an archive is nothing for a terminal: `barelb bundle --output - > bundle.tar.gz`");
        }
        let about = format!("barelb {} at {now}\n", env!("CARGO_PKG_VERSION"));
        let collection = if self.node {
            let mut collection = Collection::new(place.as_deref(), &folder)?;
            collection.add("about.txt", &(about + "of one node, by --node\n"))?;
            of_node(&mut collection)?;
            collection
        } else {
            runtime()?.block_on(async {
                tokio::select! {
                    // What was begun is removed as it is dropped.
                    _ = tokio::signal::ctrl_c() => bail!("interrupted: no archive is written"),
                    collection = self.of_cluster(place.as_deref(), &folder, about) => collection,
                }
            })?
        };
        finish(collection, place.as_deref())
    }

    async fn of_cluster(&self, place: Option<&Path>, folder: &str, about: String) -> Result<Collection> {
        let client = self.access.client().await?;
        let (raw, namespace) = (Raw::new(client.clone()), &self.access.namespace);
        // Without any answer there is nothing to collect.
        let version = raw.get("/version").await.map_err(|error| {
            let place = self.access.place();
            anyhow!(error).context(format!(
                "asking the API server for its version, going by {place}: `kubectl get --raw /version` asks the same"
            ))
        })?;
        let mut collection = Collection::new(place, folder)?;
        let about = format!(
            "{about}namespace {namespace}, ConfigMap {}, at most {} lines of each log\nAPI server: {version}\n\
             objects/ is what `barelb plan --from` and `barelb plan -f` read\n",
            self.config_map, self.log_lines
        );
        collection.add("about.txt", &about)?;
        let objects = Objects::ask(&raw, namespace, &self.config_map).await;
        objects.write(&mut collection)?;
        let pods = pods::of(objects.items("pods"));
        pods::logs(&raw, namespace, &pods, self.log_lines, &mut collection).await?;
        pods::pages(&Agents::new(client, namespace), &pods, &mut collection).await?;
        if pods.iter().all(|pod| !pod.is_ours) {
            let why = format!(
                "no pod of BareLB runs in namespace {namespace}: `kubectl get pods -A -l app.kubernetes.io/name=barelb` \
                 finds those of other namespaces"
            );
            collection.miss("pages", &why);
        }
        Ok(collection)
    }
}

/// What the other verbs say of this node.
fn of_node(collection: &mut Collection) -> Result<()> {
    let program = std::env::current_exe().context("finding this program")?;
    for (name, arguments) in [
        ("node/inspect.json", &["inspect", "-o", "json"][..]),
        ("node/inspect.txt", &["inspect", "-o", "wide"]),
        ("node/check.json", &["check", "-o", "json"]),
    ] {
        // A backtrace says nothing of the node.
        let output =
            Command::new(&program).args(arguments).env("RUST_BACKTRACE", "0").stdin(Stdio::null()).output();
        let output = output.with_context(|| format!("running `barelb {}`", arguments.join(" ")))?;
        if output.stdout.is_empty() {
            let said = String::from_utf8_lossy(&output.stderr);
            let said = said.trim().trim_start_matches("Error: ").replace('\n', " ");
            collection.miss(name, &said);
        } else {
            collection.add(name, &String::from_utf8_lossy(&output.stdout))?;
        }
    }
    Ok(())
}

fn finish(mut collection: Collection, place: Option<&Path>) -> Result<ExitCode> {
    let errors: String = collection.errors.iter().map(|error| redact::text(error) + "\n").collect();
    if !errors.is_empty() {
        collection.add("errors.txt", &errors)?;
    }
    if collection.files == 0 {
        bail!("nothing could be collected");
    }
    let (files, missing) = (collection.files, collection.errors.len());
    collection.archive.finish().with_context(|| format!("writing {}", shown(place)))?;
    let done = format!("{}: {files} files; look through it before you pass it on\n", shown(place));
    if place.is_some() {
        print(done)?;
    } else {
        complain(done)?;
    }
    if missing == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    complain(format!("warning: {missing} things could not be had (errors.txt):\n{errors}"))?;
    Ok(ExitCode::FAILURE)
}

fn shown(place: Option<&Path>) -> String {
    place.map_or_else(|| "standard output".to_owned(), |place| place.display().to_string())
}
