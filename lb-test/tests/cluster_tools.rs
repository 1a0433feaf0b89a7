//! L5: what users have beside the verbs about addresses: the archive for those who help from elsewhere, the plugin of
//! kubectl with its completions, and a terminal that shows rows live. Needs root and the testbed.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::env;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use lb_test::agent::barelb;
use lb_test::cluster::services::service;
use lb_test::cluster::{Component, Controller, Site, SiteOptions};
use lb_test::terminal::Terminal;
use serde_json::{Value, json};
use tempfile::TempDir;

const PASSWORD: &str = "correct-horse-battery";

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn run(site: &Site, arguments: &[&str]) -> Output {
    let mut command = site.plane.namespace().command(barelb().unwrap());
    command.args(arguments).arg("--kubeconfig").arg(site.plane.admin().kubeconfig());
    command.output().unwrap()
}

/// The one folder of an archive.
fn unpack(archive: &Path, into: &Path) -> PathBuf {
    let done = Command::new("tar").arg("-xzf").arg(archive).arg("-C").arg(into).status().unwrap();
    assert!(done.success());
    let folders: Vec<PathBuf> = fs::read_dir(into).unwrap().map(|entry| entry.unwrap().path()).collect();
    let folders: Vec<&PathBuf> = folders.iter().filter(|path| path.is_dir()).collect();
    assert_eq!(folders.len(), 1);
    folders[0].clone()
}

fn all_files(folder: &Path, texts: &mut Vec<(PathBuf, String)>) {
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            all_files(&path, texts);
        } else {
            texts.push((path.clone(), fs::read_to_string(&path).unwrap()));
        }
    }
}

#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_an_archive_a_plugin_and_a_terminal() {
    let mut site = Site::start_with(SiteOptions { nodes: 2, ..SiteOptions::default() }).unwrap();
    site.add_agent_pods().unwrap();
    site.is_said_to_be_of(Some(site.owner().unwrap())).unwrap();
    a_terminal_has_its_rows_and_is_given_back(&site);
    let applied = json!({"spec": {"env": [{"name": "DB_PASSWORD", "value": PASSWORD}]}});
    let password = json!({"example.net/db-password": PASSWORD, "example.net/original": applied.to_string()});
    site.plane.apply_all(&[service("kept", &password, &json!({}))]).unwrap();
    let secret = site.plane.get(&["secret", "memberlist", "--namespace", "metallb-system"]).unwrap();
    let key = secret["data"]["secretkey"].as_str().unwrap().to_owned();

    let folder = TempDir::new().unwrap();
    let inside = the_archive_holds_all_but_secrets(&site, folder.path(), &key);
    the_archive_can_be_planned_with(&site, folder.path(), &inside);
    what_cannot_be_asked_is_no_archive(&site, folder.path());
    kubectl_has_a_plugin(&site, folder.path());
    what_is_older_is_told(&mut site);
}

/// `barelb top`, on a terminal.
fn top(site: &Site, arguments: &[&str]) -> Terminal {
    let mut command = site.plane.namespace().command(barelb().unwrap());
    command.arg("top").args(arguments).arg("--kubeconfig").arg(site.plane.admin().kubeconfig());
    Terminal::start(command, (132, 12)).unwrap()
}

fn a_terminal_has_its_rows_and_is_given_back(site: &Site) {
    let vips: Vec<String> = site.vips().iter().map(ToString::to_string).collect();
    let owner = &site.machines[site.owner().unwrap()].name;
    let rows = |lines: &[String]| {
        let row = |vip: &String| lines.iter().any(|line| line.starts_with(vip) && line.contains(owner));
        lines[0].starts_with("2 addresses, 2 answered; 2 of 2 agents say so; ") && vips.iter().all(row)
    };
    let mut terminal = top(site, &[]);
    let shown = terminal.shows(Controller::PATIENCE, rows).unwrap();
    assert!(shown[2].starts_with("ADDRESS        SERVICES     NODE    REQUESTS/S "), "{shown:#?}");
    for (keys, expected) in [
        ("sss", "1/2  q quit"),
        ("j", "2/2  q quit"),
        ("\u{1b}[H", "1/2  q quit"),
        ("G", "2/2  "),
        ("/2001", "1/1  /2001_"),
    ] {
        terminal.press(keys).unwrap();
        terminal.shows(Controller::PATIENCE, |lines| lines[11].starts_with(expected)).unwrap();
    }
    terminal.press("\rq").unwrap();
    assert_eq!(terminal.end(Controller::PATIENCE).unwrap().code(), Some(0));
    // ^C is a key there, and a signal from elsewhere.
    let mut terminal = top(site, &[]);
    terminal.shows(Controller::PATIENCE, rows).unwrap();
    terminal.press("\u{3}").unwrap();
    assert_eq!(terminal.end(Controller::PATIENCE).unwrap().code(), Some(0));
    for (signal, code) in [(1, 129), (2, 130), (15, 143)] {
        let mut terminal = top(site, &["-n", "default"]);
        terminal.shows(Controller::PATIENCE, rows).unwrap();
        terminal.signal(signal).unwrap();
        assert_eq!(terminal.end(Controller::PATIENCE).unwrap().code(), Some(code));
    }
    // What is wrong from the start is told where it stays.
    let mut terminal = top(site, &["--context", "nowhere"]);
    let shown =
        terminal.shows(Controller::PATIENCE, |lines| lines.concat().contains("get-contexts")).unwrap();
    assert_eq!(terminal.end(Controller::PATIENCE).unwrap().code(), Some(1), "{shown:#?}");
    for (arguments, piece) in [
        (&["top"][..], "`barelb status` prints the same once"),
        (&["top", "-d", "0"], "0 is too often: 500ms is the shortest"),
        (&["top", "-n", "a/b"], "a namespace is called by small letters"),
    ] {
        let complaints = text(&run(site, arguments).stderr);
        assert!(complaints.contains(piece), "{complaints}");
    }
}

fn what_is_older_is_told(site: &mut Site) {
    let mut terminal = top(site, &["-d", "500ms"]);
    terminal.shows(Controller::PATIENCE, |lines| lines[0].contains("2 of 2 agents")).unwrap();
    site.plane.kill(Component::ApiServer).unwrap();
    let said = |lines: &[String]| {
        let all = lines.join(" ");
        all.contains("what is shown is older: ") && all.contains("`kubectl get --raw /readyz`")
    };
    let shown = terminal.shows(Controller::PATIENCE, said).unwrap();
    assert!(shown[0].contains("2 of 2 agents"), "{shown:#?}");
    terminal.press("q").unwrap();
    assert_eq!(terminal.end(Controller::PATIENCE).unwrap().code(), Some(0));
}

fn the_archive_holds_all_but_secrets(site: &Site, folder: &Path, key: &str) -> PathBuf {
    let place = folder.join("x.tar.gz");
    let output = run(site, &["bundle", "--output", place.to_str().unwrap()]);
    let (said, complaints) = (text(&output.stdout), text(&output.stderr));
    // No kubelet has said that a container runs, so there is no log to ask for.
    assert_eq!(output.status.code(), Some(0), "{said}{complaints}");
    assert!(said.starts_with(&format!("{}: ", place.display())), "{said}");
    assert_eq!(fs::metadata(&place).unwrap().permissions().mode() & 0o777, 0o600);
    let inside = unpack(&place, folder);
    let mut texts = Vec::new();
    all_files(&inside, &mut texts);
    for (path, text) in &texts {
        assert!(!text.contains(PASSWORD) && !text.contains(key), "{}: {text}", path.display());
    }
    let read = |name: &str| fs::read_to_string(inside.join(name)).unwrap_or_else(|_| String::from("missing"));
    assert!(read("objects/services.yaml").contains("example.net/db-password: <redacted>"));
    assert!(!read("objects/services.yaml").contains("name: kubernetes\n"), "it is of another type");
    assert!(read("objects/ipaddresspools.yaml").contains("2001:db8::100-2001:db8::109"));
    assert!(read("objects/leases.yaml").contains("barelb-node-node-b"));
    assert!(read("objects/servicel2statuses.yaml").contains("serviceName: web"));
    assert!(read("pages/barelb-agent-node-a/metrics.txt").contains("barelb_agent_addresses"));
    assert!(read("pages/barelb-agent-node-b/peers.json").contains("node-a"));
    assert!(read("pages/barelb-agent-node-b/addresses.json").contains("default/web"));
    assert!(read("about.txt").contains("gitVersion"));
    inside
}

/// Without the cluster, and with the same outcome.
fn the_archive_can_be_planned_with(site: &Site, folder: &Path, inside: &Path) {
    let web = site.plane.service("web").unwrap();
    let new = folder.join("new.json");
    fs::write(&new, json!({"apiVersion": "v1", "kind": "List", "items": [web]}).to_string()).unwrap();
    let objects = inside.join("objects");
    let plan = |delete: &[&str]| {
        let mut command = Command::new(barelb().unwrap());
        command.args(["plan", "-o", "json", "--from"]).arg(&objects).arg("-f").arg(&new).args(delete);
        let output = command.output().unwrap();
        let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        (report, output.status.code(), text(&output.stderr))
    };
    let (report, code, complaints) = plan(&[]);
    assert_eq!((&report["changes"], code), (&json!([]), Some(0)), "{report}{complaints}");
    let owner = &site.machines[site.owner().unwrap()].name;
    let (report, code, complaints) = plan(&["--delete"]);
    assert_eq!(code, Some(1), "{complaints}");
    for change in report["changes"].as_array().unwrap() {
        assert_eq!(
            (&change["effect"], &change["before"]["node"]),
            (&json!("loses"), &json!(owner)),
            "{report}"
        );
    }
}

fn what_cannot_be_asked_is_no_archive(site: &Site, folder: &Path) {
    let place = folder.join("none.tar.gz");
    // To another program, and what is told is told beside it.
    let output = run(site, &["bundle", "--output", "-"]);
    assert!(text(&output.stderr).starts_with("standard output: "), "{}", text(&output.stderr));
    fs::write(folder.join("piped.tar.gz"), &output.stdout).unwrap();
    let into = TempDir::new_in(folder).unwrap();
    let inside = unpack(&folder.join("piped.tar.gz"), into.path());
    assert!(inside.join("about.txt").exists());
    let output = run(site, &["bundle", "--output", folder.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1), "a folder is no file");
    let output = run(site, &["bundle", "--context", "nowhere", "--output", place.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("`kubectl config get-contexts`"), "{}", text(&output.stderr));
    assert!(!place.exists());
    let mut elsewhere = site.plane.namespace().command(barelb().unwrap());
    elsewhere.env("LB_NAMESPACE", "default").args(["bundle", "--output", place.to_str().unwrap()]);
    let output = elsewhere.arg("--kubeconfig").arg(site.plane.admin().kubeconfig()).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "no agents there");
    assert!(
        text(&output.stderr).contains("no pod of BareLB runs in namespace default"),
        "{}",
        text(&output.stderr)
    );
    assert!(place.exists(), "what could be had is there");
}

/// As kubectl finds and runs it, and asks it for completions.
fn kubectl_has_a_plugin(site: &Site, folder: &Path) {
    for name in ["kubectl-barelb", "kubectl_complete-barelb"] {
        symlink(barelb().unwrap(), folder.join(name)).unwrap();
    }
    let path = format!("{}:{}", folder.display(), env::var("PATH").unwrap());
    let kubectl = |arguments: &[&str]| {
        // Flags before the name of a plugin are not for it.
        let plain = site.plane.kubectl_command(site.plane.admin()).unwrap();
        let program = plain.get_args().position(|one| one.to_string_lossy().ends_with("kubectl"));
        let mut command = Command::new(plain.get_program());
        command.args(plain.get_args().take(program.map_or(0, |place| place + 1)));
        command.args(arguments).env("PATH", &path).env("KUBECONFIG", site.plane.admin().kubeconfig());
        let output = command.output().unwrap();
        (text(&output.stdout), text(&output.stderr), output.status.code())
    };
    let (said, complaints, code) = kubectl(&["barelb", "explain", "svc", "default/web"]);
    assert_eq!(code, Some(0), "{said}{complaints}");
    assert!(said.starts_with("Service default/web, externalTrafficPolicy Local\n"), "{said}");
    let (said, complaints, _) = kubectl(&["barelb", "plan", "--help"]);
    assert!(said.contains("Usage: kubectl barelb plan "), "{said}{complaints}");
    let (_, complaints, code) = kubectl(&["barelb", "explain", "svc"]);
    assert_eq!(code, Some(2));
    assert!(complaints.contains("Usage: kubectl barelb explain svc "), "{complaints}");
    let (said, complaints, code) = kubectl(&["plugin", "list"]);
    assert_eq!(code, Some(0), "{complaints}");
    assert!(said.contains("kubectl-barelb"), "{said}");
    let (said, complaints, _) = kubectl(&["__complete", "barelb", "expl"]);
    assert!(said.starts_with("explain\t") && said.ends_with(":4\n"), "{said}{complaints}");
    let (said, complaints, _) = kubectl(&["__complete", "barelb", "plan", "-o", ""]);
    assert!(said.contains("name") && said.contains("wide"), "{said}{complaints}");
}
