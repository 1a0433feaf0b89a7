//! docs/security.md says of rights and capabilities what manifests/base gives, no more and no less.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

fn text(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn documents(path: &str) -> Vec<Value> {
    text(path).split("\n---\n").map(|document| serde_saphyr::from_str(document).unwrap()).collect()
}

/// The cells of the table below a heading.
fn table(heading: &str) -> Vec<Vec<String>> {
    let document = text("docs/security.md");
    let section = document.lines().skip_while(|line| *line != heading);
    let rows = section.skip_while(|line| !line.starts_with('|')).skip(2);
    rows.take_while(|line| line.starts_with('|'))
        .map(|row| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect())
        .collect()
}

/// What stands in backquotes.
fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

fn strings(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// Each resource in one line: where, what, of which name, verbs.
fn granted(component: &str) -> BTreeSet<String> {
    let mut granted = BTreeSet::new();
    for role in documents(&format!("manifests/base/{component}/rbac.yaml")) {
        let place = match role["kind"].as_str().unwrap() {
            "ClusterRole" => "everywhere",
            "Role" => "here",
            _ => continue,
        };
        for rule in role["rules"].as_array().unwrap() {
            let (names, verbs) =
                (strings(&rule["resourceNames"]).join(","), strings(&rule["verbs"]).join(", "));
            for group in strings(&rule["apiGroups"]) {
                for resource in strings(&rule["resources"]) {
                    let dot = if group.is_empty() { "" } else { "." };
                    assert!(granted.insert(format!("{place} {resource}{dot}{group} [{names}] {verbs}")));
                }
            }
        }
    }
    granted
}

fn documented(heading: &str) -> BTreeSet<String> {
    let mut documented = BTreeSet::new();
    for cells in table(heading) {
        let [place, resources, verbs, why] = &cells[..] else { panic!("{cells:?}") };
        assert!(why.len() > 5, "no reason: {cells:?}");
        let (resources, names) = resources.split_once(" named ").unwrap_or((resources, ""));
        let names = quoted(names).join(",");
        for resource in quoted(resources) {
            let line = format!("{place} {resource} [{names}] {verbs}");
            assert!(documented.insert(line.clone()), "twice: {line}");
        }
    }
    documented
}

#[test]
fn every_right_is_documented_verb_by_verb() {
    for (component, heading) in [("agent", "### Agent"), ("controller", "### Controller")] {
        let granted = granted(component);
        assert!(granted.len() > 8, "{granted:?}");
        assert_eq!(documented(heading), granted, "{component}");
    }
}

#[test]
fn every_pod_has_the_capabilities_that_are_documented() {
    let rows = table("## What each pod may do on its node");
    assert_eq!(rows.len(), 3);
    for (name, file, container) in [
        ("barelb-controller", "manifests/base/controller/deployment.yaml", "containers"),
        ("barelb-agent", "manifests/base/agent/daemonset.yaml", "containers"),
        ("barelb-detach", "manifests/uninstall/daemonset.yaml", "initContainers"),
    ] {
        let row = rows.iter().find(|row| quoted(&row[0]).contains(&name)).unwrap();
        let object = &documents(file)[0];
        let spec = &object["spec"]["template"]["spec"];
        let security = &spec[container][0]["securityContext"];
        assert_eq!(strings(&security["capabilities"]["drop"]), ["ALL"], "{name}");
        let added = strings(&security["capabilities"]["add"]).join(", ");
        assert_eq!(row[2], if added.is_empty() { "none" } else { &added }, "{name}");
        let user = [&security["runAsUser"], &spec["securityContext"]["runAsUser"]]
            .into_iter()
            .find_map(Value::as_u64);
        assert_eq!(row[1], user.unwrap().to_string(), "{name}");
        let host = spec["hostNetwork"] == true;
        assert_eq!(row[3], if host { "the node's" } else { "its own" }, "{name}");
        let paths: Vec<_> = spec["volumes"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|volume| volume["hostPath"]["path"].as_str())
            .collect();
        assert_eq!(row[4], if paths.is_empty() { "nothing".to_owned() } else { paths.join(", ") }, "{name}");
        assert_eq!(security["readOnlyRootFilesystem"], true, "{name}");
        assert_eq!(security["allowPrivilegeEscalation"], false, "{name}");
    }
}
