//! The workflows below .github, as far as they can be judged without GitHub.

use std::fs;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::rig::workspace;

/// A workflow.
#[derive(Debug)]
pub struct Workflow {
    /// The name of its file.
    pub file: String,
    /// As it is written.
    pub text: String,
    /// What YAML makes of it.
    pub content: Value,
}

/// A step of a job.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// The job's name.
    pub job: &'a str,
    /// The step.
    pub content: &'a Value,
}

/// All workflows, by name.
pub fn all() -> Result<Vec<Workflow>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(workspace().join(".github/workflows")).context("reading .github/workflows")? {
        let path = entry?.path();
        let text = fs::read_to_string(&path)?;
        let content =
            serde_saphyr::from_str(&text).with_context(|| format!("{} is no YAML", path.display()))?;
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        found.push(Workflow { file, text, content });
    }
    found.sort_by(|a, b| a.file.cmp(&b.file));
    Ok(found)
}

impl Workflow {
    /// Its jobs by name.
    pub fn jobs(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.content["jobs"].as_object().into_iter().flatten().map(|(name, job)| (name.as_str(), job))
    }

    /// The steps of all jobs.
    pub fn steps(&self) -> Vec<Step<'_>> {
        self.content["jobs"]
            .as_object()
            .into_iter()
            .flatten()
            .flat_map(|(job, content)| {
                content["steps"].as_array().into_iter().flatten().map(move |content| Step { job, content })
            })
            .collect()
    }

    /// The scripts of all steps.
    pub fn scripts(&self) -> Vec<&str> {
        self.steps().into_iter().filter_map(|step| step.content["run"].as_str()).collect()
    }
}
