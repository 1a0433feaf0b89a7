//! The workflows below .github: who may do what, whose code they run, and that their scripts are scripts.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;

use lb_test::cluster::manifests::path;
use lb_test::documents::shell;
use lb_test::documents::workflows::{Step, Workflow, all};
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
        known(&workflow.content, &["name", "on", "permissions", "concurrency", "defaults", "jobs"], file);
        assert!(workflow.jobs().count() > 0);
        let names: BTreeSet<_> = workflow.jobs().map(|(name, _)| name).collect();
        for (name, job) in workflow.jobs() {
            let all = [
                "runs-on",
                "strategy",
                "needs",
                "permissions",
                "timeout-minutes",
                "container",
                "env",
                "steps",
            ];
            known(job, &all, name);
            known(&job["container"], &["image", "options", "volumes"], name);
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

/// In a container a script would be read by sh, and without `pipefail` what feeds a pipe may fail unseen.
#[test]
fn every_script_is_read_by_bash_and_ends_at_the_first_failure() {
    for workflow in workflows() {
        // That word alone makes it `bash -eo pipefail`.
        assert_eq!(workflow.content["defaults"], json!({"run": {"shell": "bash"}}), "{}", workflow.file);
    }
}

/// Debian 12, which the README names, with a compiler that the workspace takes: by its digest, because a tag may be moved.
#[test]
fn what_is_built_is_built_where_the_readme_says() {
    let manifest = fs::read_to_string(path("Cargo.toml").unwrap()).unwrap();
    let oldest =
        manifest.lines().find_map(|line| line.strip_prefix("rust-version = ")).unwrap().trim_matches('"');
    let mut images = BTreeSet::new();
    for workflow in workflows() {
        for (name, job) in workflow.jobs() {
            let scripts = job["steps"].as_array().unwrap().iter().filter_map(|step| step["run"].as_str());
            let image = job["container"]["image"].as_str();
            let builds =
                scripts.into_iter().any(|script| script.contains("cargo ") || script.contains(".ci/run"));
            assert_eq!(builds, image.is_some(), "{}: {name}", workflow.file);
            images.extend(image.map(str::to_owned));
        }
    }
    assert_eq!(images.len(), 1, "CI and releases are built with one compiler: {images:?}");
    let image = images.first().unwrap();
    let (tag, digest) = image.split_once("@sha256:").unwrap();
    assert!(digest.len() == 64 && digest.chars().all(|c| c.is_ascii_hexdigit()), "{image}");
    assert!(tag.starts_with(&format!("rust:{oldest}.")) && tag.ends_with("-bookworm"), "{image}: {oldest}");
}

/// The programs that a script of the job named `job` starts, with their words.
fn commands_of(workflow: &Workflow, job: &str) -> Vec<Vec<String>> {
    let steps = workflow.steps();
    let scripts: Vec<_> =
        steps.iter().filter(|step| step.job == job).filter_map(|step| step.content["run"].as_str()).collect();
    shell::commands(&scripts).unwrap().into_iter().flatten().collect()
}

/// The job that may write runs nothing of the checkout and no code of others but the actions.
#[test]
fn what_may_write_does_not_build() {
    let workflow = workflows().pop().unwrap();
    let commands = commands_of(&workflow, "release");
    let programs: BTreeSet<_> = commands.iter().map(|words| words[0].as_str()).collect();
    assert_eq!(programs, ["cut", "diff", "find", "gh", "sha256sum", "sort"].into());
    let checks_out = |step: &Step<'_>| {
        step.job == "release" && step.content["uses"].as_str().is_some_and(|uses| uses.contains("checkout@"))
    };
    assert!(!workflow.steps().iter().any(checks_out));
    // A person sees it first.
    let release = commands.iter().find(|words| words[0] == "gh").unwrap();
    assert!(release.iter().any(|word| word == "--draft") && release.last().unwrap() == "dist/*");
}

/// The checksums are of each file by its name, and those are the names under which the jobs before leave them.
#[test]
fn every_file_of_a_release_is_made_and_has_a_checksum() {
    let workflow = workflows().pop().unwrap();
    let release = commands_of(&workflow, "release");
    let sums = release.iter().find(|words| words[0] == "sha256sum").unwrap();
    let expected: BTreeSet<_> = sums[2..].iter().map(String::as_str).collect();
    // The variables of a run are empty here: the version, and the architecture where there is one.
    let made: BTreeSet<String> = ["binaries", "chart"]
        .iter()
        .flat_map(|job| commands_of(&workflow, job))
        .flatten()
        .filter_map(|word| Some(word.strip_prefix("target/dist/")?.to_owned()))
        .filter(|file| file.contains('.'))
        .collect();
    let architectures: Vec<_> = workflow.content["jobs"]["binaries"]["strategy"]["matrix"]["include"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["arch"].as_str().unwrap())
        .collect();
    assert_eq!(architectures, ["x86_64", "aarch64"]);
    let named: BTreeSet<String> = made
        .iter()
        .flat_map(|file| match file.split_once("--") {
            Some((name, end)) => architectures.iter().map(|arch| format!("{name}--{arch}{end}")).collect(),
            None => vec![file.clone()],
        })
        .collect();
    assert_eq!(named.iter().map(String::as_str).collect::<BTreeSet<_>>(), expected);
}
