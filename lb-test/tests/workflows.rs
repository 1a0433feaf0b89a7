//! The workflows below .github: who may do what, whose code they run, and that their scripts are scripts.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;

use lb_test::cluster::manifests::path;
use lb_test::documents::shell;
use lb_test::documents::workflows::{Workflow, all};
use serde_json::{Value, json};

fn workflows() -> Vec<Workflow> {
    let all = all().unwrap();
    let names: Vec<_> = all.iter().map(|workflow| workflow.file.as_str()).collect();
    assert_eq!(names, ["ci.yml", "release.yml"]);
    all
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect()
}

/// GitHub refuses a workflow with a key that it does not know; so does this, with those that are used.
#[test]
fn every_key_is_one_that_github_knows() {
    let known = |value: &Value, names: &[&str], what: &str| {
        let unknown: Vec<_> = keys(value).into_iter().filter(|key| !names.contains(key)).collect();
        assert!(unknown.is_empty(), "{what}: {unknown:?}");
    };
    for workflow in workflows() {
        let file = &workflow.file;
        known(&workflow.content, &["name", "on", "permissions", "concurrency", "jobs"], file);
        assert!(workflow.jobs().count() > 0);
        let names: BTreeSet<_> = workflow.jobs().map(|(name, _)| name).collect();
        for (name, job) in workflow.jobs() {
            let all = ["runs-on", "strategy", "needs", "permissions", "timeout-minutes", "env", "steps"];
            known(job, &all, name);
            assert!(job["runs-on"].is_string() && job["timeout-minutes"].is_u64(), "{file}: {name}");
            let needs = job["needs"].as_array().into_iter().flatten().filter_map(Value::as_str);
            assert!(needs.into_iter().all(|need| names.contains(need)), "{file}: {name}");
        }
        for step in workflow.steps() {
            known(step.content, &["name", "uses", "with", "run", "env", "working-directory"], step.job);
            let ways = ["uses", "run"].iter().filter(|way| step.content[**way].is_string()).count();
            assert_eq!(ways, 1, "{file}: {:#}", step.content);
        }
    }
}

/// A tag of an action may be moved to other code at any time; a commit can't.
#[test]
fn every_action_is_pinned_to_a_commit_and_says_its_version() {
    for workflow in workflows() {
        let mut count = 0;
        for line in
            workflow.text.lines().filter(|line| line.trim_start_matches([' ', '-']).starts_with("uses:"))
        {
            let (action, version) = line.split_once(" # v").unwrap();
            let (name, commit) = action.split_once('@').unwrap();
            assert!(name.contains("actions/"), "{line}");
            assert!(commit.len() == 40 && commit.chars().all(|c| c.is_ascii_hexdigit()), "{line}");
            assert_eq!(version.split('.').count(), 3, "{line}");
            count += 1;
        }
        let used = workflow.steps().into_iter().filter(|step| step.content["uses"].is_string()).count();
        assert_eq!(count, used, "{}", workflow.file);
    }
}

/// Whoever sends a pull request gets a token that can read, and nobody's secret.
#[test]
fn rights_are_the_least_and_no_secret_is_needed() {
    for workflow in workflows() {
        assert_eq!(workflow.content["permissions"], json!({"contents": "read"}), "{}", workflow.file);
        assert!(!workflow.text.contains("secrets."), "{}", workflow.file);
        assert!(!workflow.text.contains("pull_request_target"), "{}", workflow.file);
        for (name, job) in workflow.jobs() {
            let more = &job["permissions"];
            let expected = if name == "release" {
                json!({"contents": "write", "id-token": "write", "attestations": "write"})
            } else {
                Value::Null
            };
            assert_eq!(*more, expected, "{}: {name}", workflow.file);
        }
        for step in workflow.steps() {
            let checks_out = step.content["uses"].as_str().is_some_and(|uses| uses.contains("checkout@"));
            let kept = &step.content["with"]["persist-credentials"];
            assert!(!checks_out || *kept == json!(false), "{}: {}", workflow.file, step.job);
        }
    }
}

/// What GitHub puts into a script before the shell reads it could be anything, for example the name of a branch.
#[test]
fn every_script_is_one_and_nothing_is_put_into_it() {
    for workflow in workflows() {
        let scripts = workflow.scripts();
        assert!(scripts.iter().all(|script| !script.contains("${{")), "{}", workflow.file);
        let commands = shell::commands(&scripts).unwrap();
        assert!(commands.iter().all(|commands| !commands.is_empty()), "{}: {commands:?}", workflow.file);
        for word in commands.iter().flatten().flatten() {
            let of_ours = ["charts/", "manifests/", ".ci/"].iter().any(|folder| word.starts_with(folder));
            assert!(!of_ours || fs::exists(path(word).unwrap()).unwrap(), "{}: {word}", workflow.file);
        }
    }
}
