//! L5: which node answers for which address, as `barelb status` shows it. Needs root and the testbed.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::time::Duration;

use lb_test::agent::barelb;
use lb_test::cluster::services::{advertisement, service};
use lb_test::cluster::{Component, Controller, Site, SiteOptions};
use lb_test::link::mac_text;
use serde_json::{Value, json};

const NAMESPACE: &str = "metallb-system";

/// What the command prints, what it warns of, and its exit code.
type Shown = (String, String, Option<i32>);

fn status_of(site: &Site, kubeconfig: &Path, arguments: &[&str]) -> Shown {
    let mut command = site.plane.namespace().command(barelb().unwrap());
    command.arg("status").arg("--kubeconfig").arg(kubeconfig).args(arguments);
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr), output.status.code())
}

fn status(site: &Site, arguments: &[&str]) -> Shown {
    status_of(site, site.plane.admin().kubeconfig(), arguments)
}

fn json_of(site: &Site, arguments: &[&str]) -> Value {
    let (text, error, _) = status(site, &[&["-o", "json"], arguments].concat());
    serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}{error}"))
}

/// Waits until the command says what is looked for.
fn becomes<T>(site: &Site, arguments: &[&str], look: impl Fn(&Shown) -> Option<T>) -> T {
    let found = site.plane.wait_for(Controller::PATIENCE, "it is not shown", |_| {
        let shown = status(site, arguments);
        let found = look(&shown);
        anyhow::ensure!(found.is_some(), "{shown:?}\n{}", site.logs());
        Ok(found)
    });
    found.unwrap()
}

fn rows(text: &str) -> Vec<Vec<&str>> {
    text.lines().map(|line| line.split_whitespace().collect()).collect()
}

fn advice(error: &str, words: &[&str]) {
    for word in words {
        assert!(error.contains(word), "{word:?} is not in {error}");
    }
}

#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_who_answers_is_asked_through_the_api_server() {
    let mut site = Site::start_with(SiteOptions { nodes: 3, ..SiteOptions::default() }).unwrap();
    let (text, error, code) = status(&site, &[]);
    assert_eq!((text.as_str(), code), ("", Some(1)), "{error}");
    advice(&error, &["no agent runs in namespace metallb-system: `kubectl get pods -A -l "]);
    site.add_agent_pods().unwrap();
    let owner = site.owner().unwrap();
    what_is_shown(&site, owner);
    which_services(&site);
    what_may_be_wrong(&mut site, owner);
}

/// Of a cluster that is well.
fn what_is_shown(site: &Site, owner: usize) {
    let (name, mac) = (site.machines[owner].name.clone(), mac_text(site.machines[owner].cable.a.mac()));
    let vips: Vec<String> = site.vips().iter().map(ToString::to_string).collect();
    let shown = becomes(site, &[], |(text, error, code)| {
        (error.is_empty() && *code == Some(0) && text.contains("2/2")).then(|| text.clone())
    });
    let rows = rows(&shown);
    assert_eq!(rows.len(), 3, "{shown}");
    let head = ["ADDRESS", "SERVICES", "NODE", "INTERFACE", "MAC", "MODE", "SINCE", "REQUESTS/S", "PEERS"];
    assert_eq!(rows[0], head);
    for (row, vip) in rows[1..].iter().zip(&vips) {
        assert_eq!(row[..6], [vip, "default/web", &name, "eth0", &mac, "tcx"], "{shown}");
    }

    let others: Vec<&str> =
        site.machines.iter().map(|one| one.name.as_str()).filter(|other| *other != name).collect();
    let page = json_of(site, &[]);
    for address in page["addresses"].as_array().unwrap() {
        assert_eq!((&address["state"], &address["standby"]), (&json!("answered"), &json!(others)));
        assert_eq!(address["owners"][0]["pod"], json!(format!("barelb-agent-{name}")));
        let entry = &address["owners"][0]["entries"][0];
        // The tests have asked, and it is not long ago.
        assert!(entry["counts"]["requests"].as_u64().unwrap() > 0, "{entry:#}");
        assert!(entry["answersForMs"].as_u64().unwrap() < 600_000, "{entry:#}");
        assert_eq!(entry["answeredBefore"], Value::Null, "{entry:#}");
    }
    assert_eq!(page["agents"].as_array().unwrap().len(), 3);

    // Requests a second, by looks that the agent takes at its counters.
    let probe = site.probe(100).unwrap();
    let rate = |(text, ..): &Shown| {
        let page: Value = serde_json::from_str(text).ok()?;
        let of = |address: &Value| address["owners"][0]["entries"][0]["counts"]["perSecond"].as_f64();
        page["addresses"]
            .as_array()?
            .iter()
            .map(of)
            .collect::<Option<Vec<f64>>>()
            .filter(|all| all.iter().all(|rate| *rate > 1.0))
    };
    let rates = becomes(site, &["-o", "json"], rate);
    assert!(rates.iter().all(|rate| *rate < 150.0), "{rates:?}");
    drop(probe.stop().unwrap());
    let (wide, ..) = status(site, &["-o", "wide"]);
    assert!(wide.contains(&others.join(",")) && wide.contains("s ago"), "{wide}");
    assert!(wide.contains("not native: "), "{wide}");
    let (yaml, ..) = status(site, &["-o", "yaml"]);
    assert!(yaml.contains("state: answered"), "{yaml}");
}

/// By namespace, by labels, by name.
fn which_services(site: &Site) {
    for (arguments, expected) in
        [(&["-A"][..], 2), (&["-n", "default"], 2), (&["-n", "kube-system"], 0), (&["-l", "app=none"], 0)]
    {
        let page = json_of(site, arguments);
        assert_eq!(page["addresses"].as_array().unwrap().len(), expected, "{arguments:?}: {page:#}");
    }
    site.plane.kubectl(&["label", "service", "web", "app=web"]).unwrap();
    let (names, error, code) = status(site, &["-l", "app in (web, shop)", "-n", "default", "-o", "name"]);
    assert_eq!((names.as_str(), error.as_str(), code), ("default/web\n", "", Some(0)));
    let (_, error, code) = status(site, &["-l", "app=="]);
    assert_eq!(code, Some(0), "{error}");
    let (_, error, code) = status(site, &["-l", "=web"]);
    assert_eq!(code, Some(1), "{error}");
    advice(&error, &["can't list Services (-A)", "-l is for labels as kubectl takes them"]);
    let (_, error, code) = status(site, &["-n", "a", "-A"]);
    assert_eq!(code, Some(2), "{error}");
}

/// Addresses, agents, rights, the API server itself.
fn what_may_be_wrong(site: &mut Site, owner: usize) {
    let vips: Vec<String> = site.vips().iter().map(ToString::to_string).collect();
    // A Service that gets no address.
    let late = service("late", &json!({}), &json!({"loadBalancerIP": "203.0.113.1"}));
    site.plane.apply_all(&[late]).unwrap();
    let (text, error, code) = status(site, &[]);
    assert_eq!(code, Some(0));
    assert!(text.contains("<pending>  ") && text.contains("default/late"), "{text}");
    advice(
        &error,
        &["warning: default/late: it has no address yet; `barelb explain svc default/late` says more"],
    );
    site.plane.kubectl(&["delete", "service", "late"]).unwrap();

    // An address that no advertisement covers.
    site.plane.kubectl(&["delete", "l2advertisement", "all", "--namespace", NAMESPACE]).unwrap();
    let error = becomes(site, &[], |(text, error, code)| {
        (text.matches("<none>  <none>").count() >= 2 && *code == Some(0)).then(|| error.clone())
    });
    let expected = format!(
        "warning: {}: no node answers for it: no L2Advertisement covers address pool first-pool: create one, or the address \
         stays silent; `barelb explain ip {}` says more\n",
        vips.join(", "),
        vips[0]
    );
    assert_eq!(error, expected);
    site.plane.apply_all(&[advertisement("all", json!({}))]).unwrap();
    becomes(site, &[], |(_, error, _)| error.is_empty().then_some(()));

    // The agent that answers is gone: another node does, and its own can't be asked.
    let name = site.machines[owner].name.clone();
    site.machines[owner].cable.b.isolate(true).unwrap();
    site.agents[owner] = None;
    let error = becomes(site, &[], |(text, error, code)| {
        let rows = rows(text);
        let moved =
            rows.len() == 3 && rows[1..].iter().all(|row| row[2].starts_with("node-") && row[2] != name);
        (moved && *code == Some(1)).then(|| error.clone())
    });
    let asked = format!("`kubectl -n metallb-system logs barelb-agent-{name}`");
    advice(&error, &[&format!("warning: {name}: "), &asked]);
    what_may_be_missing(site);
}

/// Rights, the way, the API server.
fn what_may_be_missing(site: &mut Site) {
    let user = site.plane.service_account(NAMESPACE, "somebody").unwrap();
    let ask = |site: &Site| status_of(site, user.kubeconfig(), &[]);
    let (text, error, code) = ask(site);
    assert_eq!((text.as_str(), code), ("", Some(1)));
    advice(&error, &["does not permit it (403)", "`kubectl -n metallb-system auth can-i list pods`"]);
    // As docs/operations.md has them.
    let account = format!("--serviceaccount={NAMESPACE}:somebody");
    let rules = json!([
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]},
        {"apiGroups": [""], "resources": ["pods/proxy"], "verbs": ["get"]},
    ]);
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "rules": rules,
        "metadata": {"name": "barelb-status", "namespace": NAMESPACE},
    });
    site.plane.apply_all(&[role]).unwrap();
    let binding =
        ["create", "rolebinding", "status", "--namespace", NAMESPACE, "--role=barelb-status", &account];
    site.plane.kubectl(&binding).unwrap();
    let (text, error, code) = ask(site);
    assert_eq!((text.as_str(), code), ("", Some(1)));
    advice(&error, &["can't list Services (-A): ", "(403)", "`kubectl auth can-i list services -A`"]);
    site.plane
        .kubectl(&["create", "clusterrole", "barelb-status", "--verb=list", "--resource=services"])
        .unwrap();
    site.plane
        .kubectl(&["create", "clusterrolebinding", "status", "--clusterrole=barelb-status", &account])
        .unwrap();
    site.plane
        .wait_for(Duration::from_mins(1), "the role has no effect", |_| {
            Ok(ask(site).0.contains("default/web").then_some(()))
        })
        .unwrap();

    let (_, error, code) = status(site, &["--context", "nowhere"]);
    assert_eq!(code, Some(1));
    advice(&error, &["the context nowhere can't be used: `kubectl config get-contexts`"]);
    let (_, error, code) = status(site, &["--system-namespace", "elsewhere"]);
    assert_eq!(code, Some(1));
    advice(&error, &["no agent runs in namespace elsewhere", "--system-namespace names"]);
    let stranger = site.plane.admin().kubeconfig().with_file_name("stranger");
    let known = fs::read_to_string(site.plane.admin().kubeconfig()).unwrap();
    fs::write(&stranger, known.replace("token-of-admin", "token-of-nobody")).unwrap();
    let (_, error, code) = status_of(site, &stranger, &[]);
    assert_eq!(code, Some(1));
    advice(&error, &["does not accept the credentials (401)", "log in again"]);
    site.plane.kill(Component::ApiServer).unwrap();
    let (_, error, code) = status(site, &[]);
    assert_eq!(code, Some(1));
    advice(&error, &["can't be reached", "`kubectl get --raw /readyz`"]);
}

#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_a_cluster_that_is_half_installed_is_told_from_one_that_is_well() {
    let mut site = Site::without_agents(SiteOptions { nodes: 1, ..SiteOptions::default() }).unwrap();
    // The kinds went with their definitions, before the first agent came.
    let kinds = site.plane.kubectl(&["get", "crd", "--output=name"]).unwrap();
    let kinds: Vec<&str> = kinds.lines().filter(|name| name.ends_with(".metallb.io")).collect();
    assert!(kinds.len() > 3, "{kinds:?}");
    site.plane.kubectl(&[&["delete", "--wait=true"], &kinds[..]].concat()).unwrap();
    site.add_agent_pods().unwrap();
    let waits = "warning: default/web: it has no address yet; `barelb explain svc default/web` says more";
    let error = becomes(&site, &[], |(text, error, code)| {
        // The controller has taken back what is of no pool any more.
        (text.contains("<pending>") && *code == Some(1)).then(|| error.clone())
    });
    advice(&error, &["warning: node-a: ", "gets no answer", waits]);
    site.start_agent(0).unwrap();
    let error = becomes(&site, &[], |(_, error, code)| (*code == Some(0)).then(|| error.clone()));
    advice(&error, &[waits]);
    let mut explain = site.plane.namespace().command(barelb().unwrap());
    explain.args(["explain", "svc", "web"]).arg("--kubeconfig").arg(site.plane.admin().kubeconfig());
    let output = explain.output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    advice(&error, &["has no IPAddressPool", "`barelb crds | kubectl apply --server-side -f -`"]);
}
