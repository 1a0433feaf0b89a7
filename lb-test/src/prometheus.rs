//! A real Prometheus that scrapes what a test runs, and evaluates the rules of manifests/monitoring.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::namespace::Namespace;
use crate::process::Process;
use crate::rig::workspace;
use crate::scratch::Scratch;

/// Loopback only: it is asked from inside its namespace.
const ADDRESS: &str = "127.0.0.1:9090";
const READY: Duration = Duration::from_mins(2);
const POLL: Duration = Duration::from_millis(200);

/// What is scraped, and how it is called.
#[derive(Clone, Debug)]
pub struct Target {
    /// `job`.
    pub job: String,
    /// `instance`.
    pub instance: String,
    /// Where it listens.
    pub address: SocketAddr,
}

/// The folder with rules and dashboard.
pub fn manifests() -> PathBuf {
    workspace().join("manifests/monitoring")
}

/// A running Prometheus; killed on drop.
#[derive(Debug)]
pub struct Prometheus {
    process: Process,
    namespace: Namespace,
    // Removed last: it writes there to its end.
    _folder: Scratch,
}

impl Prometheus {
    /// Starts it in a namespace: it scrapes and evaluates every second. Its jobs are configured as prometheus.yaml has
    /// them, with targets that are given instead of found.
    pub fn start(namespace: &Namespace, targets: &[Target]) -> Result<Self> {
        let folder = Scratch::new("prometheus")?;
        let file = folder.join("prometheus.json");
        // JSON is YAML.
        fs::write(&file, configuration(targets).to_string())?;
        let mut command = namespace.command("prometheus");
        command.arg(format!("--config.file={}", file.display()));
        command.arg(format!("--storage.tsdb.path={}", folder.join("data").display()));
        command.args(["--log.level=warn", &format!("--web.listen-address={ADDRESS}")]);
        let process = namespace.spawn_command(&mut command, &folder.join("prometheus.log"))?;
        let mut prometheus = Self { process, namespace: namespace.clone(), _folder: folder };
        let deadline = Instant::now() + READY;
        while prometheus.query("vector(1)").is_err() {
            ensure!(
                prometheus.process.is_running() && Instant::now() < deadline,
                "Prometheus is not ready; its log ends:\n{}",
                prometheus.process.tail()
            );
            thread::sleep(POLL);
        }
        Ok(prometheus)
    }

    /// The samples that a query has now; an error if Prometheus refuses it.
    pub fn query(&self, query: &str) -> Result<Vec<Value>> {
        let data = self.get("query", &[("query", query)]).with_context(|| query.to_owned())?;
        Ok(data["result"].as_array().with_context(|| format!("no vector: {data}"))?.clone())
    }

    /// Waits until a query has samples that are as they are to be.
    pub fn wait_for(&self, query: &str, wanted: impl Fn(&[Value]) -> bool) -> Result<Vec<Value>> {
        let deadline = Instant::now() + READY;
        loop {
            let samples = self.query(query)?;
            if wanted(&samples) {
                return Ok(samples);
            }
            ensure!(Instant::now() < deadline, "{query} has {samples:?}");
            thread::sleep(POLL);
        }
    }

    /// The groups of rules, as they were evaluated.
    pub fn rules(&self) -> Result<Vec<Value>> {
        let data = self.get("rules", &[])?;
        Ok(data["groups"].as_array().context("no groups")?.clone())
    }

    /// The alerts that are pending or fire.
    pub fn alerts(&self) -> Result<Vec<Value>> {
        let data = self.get("alerts", &[])?;
        Ok(data["alerts"].as_array().context("no alerts")?.clone())
    }

    /// The type of a metric, by what was scraped last.
    pub fn kind(&self, metric: &str) -> Result<String> {
        let data = self.get("metadata", &[("metric", metric)])?;
        let kind = data[metric][0]["type"].as_str();
        Ok(kind.with_context(|| format!("{metric} has no type: {data}"))?.to_owned())
    }

    fn get(&self, what: &str, parameters: &[(&str, &str)]) -> Result<Value> {
        let url = format!("http://{ADDRESS}/api/v1/{what}");
        let parameters: Vec<_> = parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut arguments = vec!["--silent", "--show-error", "--max-time", "30", "--get", &url];
        arguments.extend(parameters.iter().flat_map(|parameter| ["--data-urlencode", parameter]));
        let answer: Value = serde_json::from_str(&self.namespace.exec("curl", &arguments)?)?;
        ensure!(answer["status"] == "success", "Prometheus refuses: {answer}");
        Ok(answer["data"].clone())
    }
}

fn configuration(targets: &[Target]) -> Value {
    let mut jobs: Vec<&str> = targets.iter().map(|target| target.job.as_str()).collect();
    jobs.dedup();
    let jobs = jobs.into_iter().map(|job| {
        let targets = targets.iter().filter(|target| target.job == job);
        let targets = targets.map(|target| {
            json!({"targets": [target.address.to_string()], "labels": {"instance": target.instance}})
        });
        json!({"job_name": job, "honor_labels": true, "static_configs": targets.collect::<Vec<_>>()})
    });
    json!({
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": [manifests().join("rules.yaml")],
        "scrape_configs": jobs.collect::<Vec<_>>(),
    })
}
