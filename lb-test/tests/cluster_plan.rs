//! L5: what `barelb plan` says would happen is what happens when the same objects are applied. Needs root and the testbed.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use lb_test::agent::barelb;
use lb_test::cluster::services::{advertisement, dual, ingress, plain, pool, service};
use lb_test::cluster::{Controller, Site, SiteOptions};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Addresses by family, and the nodes that say that they announce the Service.
type State = BTreeMap<String, (BTreeMap<bool, String>, BTreeSet<String>)>;

struct Planner<'a> {
    site: &'a Site,
    folder: TempDir,
}

impl Planner<'_> {
    /// What the command prints, where it complains, and its exit code.
    fn run(&self, arguments: &[&str]) -> (String, String, Option<i32>) {
        self.run_for("metallb-system", arguments)
    }

    fn run_for(&self, namespace: &str, arguments: &[&str]) -> (String, String, Option<i32>) {
        let mut command = self.site.plane.namespace().command(barelb().unwrap());
        command
            .env("LB_NAMESPACE", namespace)
            .arg("plan")
            .args(arguments)
            .arg("--kubeconfig")
            .arg(self.site.plane.admin().kubeconfig());
        let said = self.site.plane.wait_for(Controller::PATIENCE, "the API server is not ready", |_| {
            let output = command.output()?;
            let [text, complaints] =
                [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
            // Just after custom resources came or went, its storage is being changed.
            let is_changing = complaints.contains("the API server can't do it now");
            Ok((!is_changing).then_some((text, complaints, output.status.code())))
        });
        said.unwrap()
    }

    fn file(&self, objects: &[Value]) -> String {
        let text: Vec<String> = objects.iter().map(|object| format!("---\n{object}\n")).collect();
        let path = self.folder.path().join("new.yaml");
        fs::write(&path, text.concat()).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn plan(&self, objects: &[Value], arguments: &[&str]) -> (Value, Option<i32>) {
        let file = self.file(objects);
        let (text, _, code) = self.run(&[&["-f", &file, "-o", "json"], arguments].concat());
        (serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")), code)
    }

    /// What is the case.
    fn state(&self) -> State {
        let plane = &self.site.plane;
        let services = plane.get(&["services", "--all-namespaces"]).unwrap();
        let statuses = plane.get(&["servicel2statuses", "--namespace", "metallb-system"]).unwrap();
        let items = |list: &Value| list["items"].as_array().cloned().unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut state = State::new();
        for service in items(&services) {
            let name =
                format!("{}/{}", text(&service["metadata"]["namespace"]), text(&service["metadata"]["name"]));
            let ips = ingress(&service).into_iter().map(|ip| (ip.contains(':'), ip)).collect();
            let said = items(&statuses).into_iter().map(|one| one["status"].clone());
            let of_it = said.filter(|said| {
                format!("{}/{}", text(&said["serviceNamespace"]), text(&said["serviceName"])) == name
            });
            let nodes = of_it.map(|said| text(&said["node"])).collect();
            state.insert(name, (ips, nodes));
        }
        state.retain(|_, (ips, nodes)| !ips.is_empty() || !nodes.is_empty());
        state
    }

    /// The state after the changes of a plan.
    fn foretold(before: &State, report: &Value) -> State {
        let mut state = before.clone();
        for change in report["changes"].as_array().unwrap() {
            let name = change["service"].as_str().unwrap();
            let ip = |of: &str| change[of]["ip"].as_str();
            let Some(is_v6) = ip("before").or(ip("after")).map(|ip| ip.contains(':')) else { continue };
            let (ips, nodes) = state.entry(name.to_owned()).or_default();
            assert_eq!(ips.remove(&is_v6).as_deref(), ip("before"), "{name} has what the plan says it has");
            ips.extend(ip("after").map(|ip| (is_v6, ip.to_owned())));
            let node = change["after"]["node"].as_str().map(ToOwned::to_owned);
            *nodes = node.into_iter().collect();
        }
        state.retain(|_, (ips, nodes)| !ips.is_empty() || !nodes.is_empty());
        state
    }

    /// Waits until what was foretold is the case.
    fn comes_true(&self, foretold: &State) {
        let done = self.site.plane.wait_for(Controller::PATIENCE, "the plan does not come true", |_| {
            let state = self.state();
            holds_true(state == *foretold, &format!("{state:#?}\nforetold:\n{foretold:#?}"))
        });
        done.unwrap_or_else(|error| panic!("{error:?}\n{}", self.site.logs()));
    }
}

fn holds_true(holds: bool, what: &str) -> anyhow::Result<Option<()>> {
    anyhow::ensure!(holds, "{what}");
    Ok(Some(()))
}

fn effects(report: &Value) -> Vec<String> {
    let word = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let line = |change: &Value| format!("{} {}", word(&change["effect"]), word(&change["service"]));
    let mut all: Vec<String> = report["changes"].as_array().unwrap().iter().map(line).collect();
    all.dedup();
    all
}

#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_what_is_planned_happens() {
    let site = Site::start_with(SiteOptions { nodes: 3, ..SiteOptions::default() }).unwrap();
    let planner = Planner { site: &site, folder: TempDir::new().unwrap() };
    let both = ["192.0.2.100-192.0.2.109", "2001:db8::100-2001:db8::109"];
    let other = [dual("other", &json!({}))];
    site.plane.apply_all(&[&other[..], &site.slices("other", 8080, &[0, 1, 2])].concat()).unwrap();
    site.plane.becomes(&site.controller, "other", &["192.0.2.101", "2001:db8::101"]).unwrap();
    site.is_said_to_be_of(Some(site.owner().unwrap())).unwrap();

    // The same again is nothing.
    let same = [pool("first-pool", &both), site.web(&json!({})), advertisement("all", json!({}))];
    let (report, code) = planner.plan(&same, &[]);
    assert_eq!((effects(&report), code), (vec![], Some(0)), "{report}");

    // A pool loses its first addresses, and Services come: one gets addresses, one asks in vain.
    let smaller = ["192.0.2.101-192.0.2.109", "2001:db8::101-2001:db8::109"];
    // It asks for them, because which of two Services is seen first nobody knows beforehand.
    let wish = json!({"metallb.io/loadBalancerIPs": "192.0.2.105,2001:db8::105"});
    let edits = [
        pool("first-pool", &smaller),
        dual("new", &wish),
        service("vain", &json!({}), &json!({"loadBalancerIP": "203.0.113.1"})),
    ];
    let all = [&edits[..], &site.slices("new", 8080, &[0, 1, 2])].concat();
    let before = planner.state();
    let (report, code) = planner.plan(&all, &[]);
    let expected = ["changes default/web", "refused default/vain", "gets default/new"];
    assert_eq!((effects(&report), code), (expected.map(str::to_owned).to_vec(), Some(1)), "{report}");
    site.plane.apply_all(&all).unwrap();
    planner.comes_true(&Planner::foretold(&before, &report));
    let (report, code) = planner.plan(&all, &[]);
    assert_eq!((effects(&report), code), (vec![], Some(0)), "what is done is done: {report}");

    // A node that owns something is excluded.
    let before = planner.state();
    let owner = before["default/other"].1.first().unwrap().clone();
    let label = json!({"node.kubernetes.io/exclude-from-external-load-balancers": ""});
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": owner, "labels": label}});
    let (report, code) = planner.plan(std::slice::from_ref(&node), &[]);
    assert_eq!(code, Some(1));
    assert!(effects(&report).iter().all(|effect| effect.starts_with("moves ")), "{report}");
    assert!(effects(&report).contains(&"moves default/other".to_owned()), "{report}");
    site.plane.apply_all(&[node]).unwrap();
    planner.comes_true(&Planner::foretold(&before, &report));

    // Nobody announces any more, and one Service goes.
    let gone = [advertisement("all", json!({})), plain("new")];
    let before = planner.state();
    let (report, code) = planner.plan(&gone, &["--delete"]);
    let expected = ["loses default/new", "silent default/other", "silent default/web"];
    assert_eq!((effects(&report), code), (expected.map(str::to_owned).to_vec(), Some(1)), "{report}");
    let (table, _, _) = planner.run(&["-f", &planner.file(&gone), "--delete"]);
    assert!(table.starts_with("EFFECT  SERVICE "), "{table}");
    site.plane.kubectl(&["delete", "-f", &planner.file(&gone)]).unwrap();
    planner.comes_true(&Planner::foretold(&before, &report));
}

#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_what_cannot_be_planned_says_what_to_do() {
    let site = Site::without_agents(SiteOptions { nodes: 1, ..SiteOptions::default() }).unwrap();
    let planner = Planner { site: &site, folder: TempDir::new().unwrap() };
    let file = planner.file(&[plain("new")]);
    for (arguments, piece) in [
        (&["-f", "/nowhere.yaml"][..], "/nowhere.yaml"),
        (&["-f", &file, "--context", "nowhere"], "`kubectl config get-contexts`"),
    ] {
        let (_, complaints, code) = planner.run(arguments);
        assert_eq!(code, Some(2), "{complaints}");
        assert!(complaints.contains(piece), "{complaints}");
    }
    // Without an agent nobody would answer, and that is said.
    let (text, complaints, code) = planner.run(&["-f", &file]);
    assert_eq!(code, Some(1), "{complaints}");
    assert!(text.contains("gets    default/new  <none> -> 192.0.2.101  <none>"), "{text}");
    assert!(complaints.contains("note: no agent renews a Lease in namespace metallb-system"), "{complaints}");
    // Neither pools nor rights: what is missing is named.
    let (_, complaints, _) = planner.run_for("default", &["-f", &file]);
    assert!(
        complaints.contains("note: namespace default has neither an IPAddressPool nor a ConfigMap config")
    );
    // Before the custom resources are there.
    let crds =
        ["ipaddresspools", "l2advertisements", "servicel2statuses"].map(|kind| format!("{kind}.metallb.io"));
    let arguments: Vec<&str> = ["delete", "crd"].into_iter().chain(crds.iter().map(String::as_str)).collect();
    site.plane.kubectl(&arguments).unwrap();
    let (text, complaints, code) = planner.run(&["-f", &file, "-o", "name"]);
    assert!(
        complaints.contains("`barelb crds | kubectl apply --server-side -f -`"),
        "{text}{complaints}{code:?}"
    );
}
