use std::fs;

use clap::Parser;
use serde_json::Value;
use tempfile::TempDir;

use super::*;
use crate::cli::{Cli, Command};

const POOL: &str = "\
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: p, namespace: metallb-system}
spec: {addresses: [192.0.2.100-192.0.2.101, '2001:db8::100-2001:db8::101']}
---
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata: {name: all, namespace: metallb-system}
";
const NODES: &str = "\
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Node, metadata: {name: node-a, labels: {zone: x}}}
- {apiVersion: v1, kind: Node, metadata: {name: node-b, labels: {zone: y}}}
";

fn service(name: &str, families: &str, ips: &[&str]) -> String {
    let ingress: Vec<String> = ips.iter().map(|ip| format!("{{ip: '{ip}'}}")).collect();
    format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: web}}\n\
         spec: {{type: LoadBalancer, ipFamilies: [{families}], ipFamilyPolicy: PreferDualStack, ports: [{{port: 80}}]}}\n\
         status: {{loadBalancer: {{ingress: [{}]}}}}\n",
        ingress.join(", ")
    )
}

/// A folder with what there is, and one with what would be applied.
struct Folders(TempDir);

impl Folders {
    fn new() -> Self {
        let folders = Self(tempfile::tempdir().unwrap());
        fs::create_dir(folders.0.path().join("now")).unwrap();
        let both = ["192.0.2.100", "2001:db8::100"];
        folders.write("now/config.yaml", &format!("{POOL}---\n{NODES}"));
        folders.write("now/web.yaml", &service("both", "IPv4, IPv6", &both));
        folders
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.path().join(name), text).unwrap();
    }

    fn plan(&self, arguments: &[&str]) -> Plan {
        let now = self.0.path().join("now");
        let file = self.0.path().join("new.yaml");
        let fixed = ["barelb", "plan", "--from", now.to_str().unwrap(), "-f", file.to_str().unwrap()];
        let cli = Cli::try_parse_from([&fixed[..], arguments].concat()).unwrap();
        let Command::Plan(plan) = cli.command else { panic!("another verb") };
        plan
    }

    /// What would change when this is applied, and the exit code.
    fn apply(&self, text: &str) -> (Value, u8) {
        self.write("new.yaml", text);
        let report = self.plan(&[]).report().unwrap();
        (serde_json::to_value(&report).unwrap(), report.code())
    }

    fn text(&self, text: &str, arguments: &[&str]) -> String {
        self.write("new.yaml", text);
        let plan = self.plan(arguments);
        plan.report().unwrap().render(plan.output).unwrap()
    }
}

fn effects(report: &Value) -> Vec<String> {
    let word = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let line = |change: &Value| {
        let ips = [&change["before"]["ip"], &change["after"]["ip"]].map(word);
        format!("{} {} {}", word(&change["effect"]), word(&change["service"]), ips.join(" "))
    };
    report["changes"].as_array().unwrap().iter().map(line).collect()
}

#[test]
fn what_is_there_already_changes_nothing() {
    let folders = Folders::new();
    let all = format!("{POOL}---\n{NODES}{}", service("both", "IPv4, IPv6", &[]));
    let (report, code) = folders.apply(&all);
    assert_eq!((effects(&report), code), (vec![], SAME), "{report}");
    assert_eq!(report["unchanged"], 1);
    assert_eq!(folders.text(&all, &[]), "Nothing changes for any of 1 Services.\n");
    assert_eq!(folders.text(&all, &["-o", "name"]), "");
}

#[test]
fn a_smaller_pool_takes_addresses_away_and_a_new_service_gets_some() {
    let folders = Folders::new();
    let smaller =
        POOL.replace("192.0.2.100-192.0.2.101", "192.0.2.101/32").replace("::100-2001:db8::101", "::101/128");
    let (report, code) = folders.apply(&smaller);
    let expected =
        ["changes web/both 192.0.2.100 192.0.2.101", "changes web/both 2001:db8::100 2001:db8::101"];
    assert_eq!((effects(&report), code), (expected.map(str::to_owned).to_vec(), DIFFERENT), "{report}");
    let new = service("four", "IPv4", &[]).replace("PreferDualStack", "SingleStack")
        + &service("six", "IPv6", &[]).replace("PreferDualStack", "SingleStack");
    let (report, _) = folders.apply(&new);
    let expected = ["gets web/four - 192.0.2.101", "gets web/six - 2001:db8::101"];
    assert_eq!(effects(&report), expected, "{report}");
    assert_eq!(report["unchanged"], 1);
    assert_eq!(folders.text(&new, &["-o", "name"]), "web/four\nweb/six\n");
    let note =
        "where the pods of web/four, web/six are is not known: every node is taken to be able to serve";
    assert_eq!(report["notes"][0], note);
}

#[test]
fn what_is_deleted_is_lost() {
    let folders = Folders::new();
    folders.write("new.yaml", &(POOL.to_owned() + &service("wep", "IPv4", &[])));
    let report = folders.plan(&["--delete"]).report().unwrap();
    assert_eq!(report.code(), DIFFERENT);
    let report = serde_json::to_value(&report).unwrap();
    assert_eq!(effects(&report), ["loses web/both 192.0.2.100 -", "loses web/both 2001:db8::100 -"]);
    assert_eq!(report["notes"][0], "Service web/wep is not there");
    folders.write("new.yaml", "{apiVersion: v1, kind: Namespace, metadata: {name: web}}");
    let report = folders.plan(&["--delete"]).report().unwrap();
    let report = serde_json::to_value(&report).unwrap();
    assert_eq!(report["changes"][0]["why"][0], "the Service is deleted", "{report}");
}

/// Each row says from what to what, and why.
#[test]
fn the_table_is_for_people() {
    let folders = Folders::new();
    let owner = folders.apply("{apiVersion: v1, kind: Namespace, metadata: {name: web}}\n---\n").0;
    assert_eq!(owner["changes"], Value::Array(Vec::new()));
    let first = folders.apply(&POOL.replace("all", "other")).0;
    assert_eq!(effects(&first), Vec::<String>::new(), "a second advertisement for the same");
    let chosen = |zone: &str| {
        POOL.replace(
            "{name: all, namespace: metallb-system}",
            "{name: all, namespace: metallb-system}\nspec: {nodeSelectors: [{matchLabels: {zone: ZONE}}]}",
        )
        .replace("ZONE", zone)
    };
    let moved: Vec<String> =
        ["x", "y"].iter().map(|zone| folders.text(&chosen(zone), &["-o", "wide"])).collect();
    let table = moved.iter().find(|text| text.starts_with("EFFECT")).unwrap();
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[1].starts_with("moves   web/both  192.0.2.100    node-"), "{table}");
    assert!(lines[2].starts_with("moves   web/both  2001:db8::100  node-"), "{table}");
    assert!(lines[1].ends_with("selects it (nodeSelectors)"), "{table}");
    assert_eq!(lines[3..], ["", "moves: 2, Services for which nothing changes: 0"]);
    assert_eq!(
        moved.iter().filter(|text| text.starts_with("Nothing")).count(),
        1,
        "one of them owned it before"
    );
}

#[test]
fn what_is_wrong_is_said_and_leaves_what_was() {
    let folders = Folders::new();
    // Read, but it takes no effect: what it said before stays.
    let (report, code) = folders.apply(&POOL.replace("192.0.2.100-192.0.2.101", "192.0.2.9-192.0.2.1"));
    assert_eq!((effects(&report), code), (vec![], DIFFERENT));
    let error = report["errors"][0].as_str().unwrap();
    assert!(
        error.contains("new.yaml, document 1, IPAddressPool metallb-system/p, spec.addresses[0]"),
        "{error}"
    );
    assert!(error.ends_with("what it said before stays in force"), "{error}");
    // Not read: the plan is not all that would happen.
    let (report, code) = folders.apply(&POOL.replace("addresses:", "adresses: [], addresses:"));
    assert_eq!((effects(&report), code), (vec![], FAILED));
    assert!(report["unreadable"][0].as_str().unwrap().contains("spec.adresses"), "{report}");
    // Passed over.
    let other = "{apiVersion: apps/v1, kind: Deployment, metadata: {name: x}}";
    let (report, code) = folders.apply(other);
    assert_eq!((&report["ignored"]["apps/v1 Deployment"], code), (&Value::from(1), SAME));
    // A namespace that is not there.
    let (report, code) =
        folders.apply(&service("new", "IPv4", &[]).replace("namespace: web", "namespace: wep"));
    assert_eq!((effects(&report), code), (vec![], DIFFERENT));
    let error = "Service wep/new: there is no namespace wep: `kubectl create namespace wep`";
    assert_eq!(report["errors"][0], error);
}

#[test]
fn files_that_are_not_there_are_named() {
    let folders = Folders::new();
    let error = format!("{:?}", folders.plan(&[]).report().unwrap_err());
    assert!(error.contains("new.yaml") && error.contains("No such file"), "{error}");
    let url = folders.plan(&["-f", "https://example.net/x.yaml"]);
    folders.write("new.yaml", "");
    let error = format!("{:?}", url.report().unwrap_err());
    assert!(error.contains("`curl -fsSL https://example.net/x.yaml | barelb plan -f -`"), "{error}");
    fs::create_dir(folders.0.path().join("empty")).unwrap();
    let empty = folders.0.path().join("empty");
    let error = folders.plan(&["-f", empty.to_str().unwrap()]).report().unwrap_err();
    assert!(format!("{error:?}").contains("-R looks into its folders too"), "{error:?}");
    fs::create_dir(empty.join("inner")).unwrap();
    folders.write("empty/inner/a.yaml", POOL);
    let plan = folders.plan(&["-R", "-f", empty.to_str().unwrap()]);
    assert_eq!(plan.report().unwrap().code(), SAME);
}

#[test]
fn what_is_no_plan_says_so() {
    let folders = Folders::new();
    for text in ["", "# nothing\n---\n", "\n\n"] {
        folders.write("new.yaml", text);
        let error = format!("{:?}", folders.plan(&[]).report().unwrap_err());
        assert!(error.contains("there is no object in ") && error.contains("new.yaml"), "{error}");
    }
    folders.write("new.yaml", POOL);
    for arguments in [&["-f", "-", "--from", "-"][..], &["-f", "-", "-f", "-"], &["--without=-,-"]] {
        let error = format!("{:?}", folders.plan(arguments).report().unwrap_err());
        assert!(error.contains("standard input can be read once only"), "{error}");
    }
    // A link that leads round in a circle is not followed.
    let folder = folders.0.path().join("round");
    fs::create_dir(&folder).unwrap();
    folders.write("round/a.yaml", POOL);
    for name in ["one", "two"] {
        std::os::unix::fs::symlink(&folder, folder.join(name)).unwrap();
    }
    assert_eq!(folders.plan(&["-R", "-f", folder.to_str().unwrap()]).report().unwrap().code(), SAME);
}

#[test]
fn one_service_takes_over_from_another_in_one_step() {
    let folders = Folders::new();
    let wish = "namespace: web, annotations: {metallb.io/loadBalancerIPs: '192.0.2.100,2001:db8::100'}";
    folders.write("new.yaml", &service("next", "IPv4, IPv6", &[]).replace("namespace: web", wish));
    let now = folders.0.path().join("now/web.yaml");
    let effects_of = |arguments: &[&str]| {
        let report = folders.plan(arguments).report().unwrap();
        effects(&serde_json::to_value(&report).unwrap())
    };
    assert_eq!(effects_of(&[]), ["refused web/next - -"]);
    let without = ["--without", now.to_str().unwrap()];
    let expected = [
        "loses web/both 192.0.2.100 -",
        "loses web/both 2001:db8::100 -",
        "gets web/next - 192.0.2.100",
        "gets web/next - 2001:db8::100",
    ];
    assert_eq!(effects_of(&without), expected);
    // What is applied stays, also if it is named there.
    let kept = [&without[..], &["-f", now.to_str().unwrap()]].concat();
    assert_eq!(effects_of(&kept), ["refused web/next - -"]);
}

#[test]
fn objects_that_name_no_namespace_are_where_kubectl_puts_them() {
    let folders = Folders::new();
    let homeless = service("both", "IPv4, IPv6", &[]).replace(", namespace: web", "");
    folders.write("new.yaml", &homeless);
    let effects_of = |arguments: &[&str]| {
        effects(&serde_json::to_value(folders.plan(arguments).report().unwrap()).unwrap())
    };
    assert_eq!(effects_of(&["-n", "web"]), Vec::<String>::new());
    let expected = ["gets default/both - 192.0.2.101", "gets default/both - 2001:db8::101"];
    assert_eq!(effects_of(&[]), expected);
    // A pool that is applied elsewhere counts for nothing, and that is said.
    folders.write("new.yaml", &POOL.replace(", namespace: metallb-system", ""));
    let report = folders.plan(&["-n", "web"]).report().unwrap();
    assert!(report.remarks().contains("metadata.namespace"), "{}", report.remarks());
}
