//! L5: the commands of the documents, run as a reader runs them: blocks as a whole in a cluster as they expect it, and single
//! commands beside three nodes with their agents. Needs root and the testbed.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::thread;
use std::time::Duration;

use lb_test::cluster::services::{dual, pool, service};
use lb_test::cluster::{ControlPlane, Controller, Site, program};
use lb_test::documents::commands;
use lb_test::documents::proof::{COMMANDS, Proof, Setup};
use lb_test::documents::stage::{self, Stage, filled};
use lb_test::documents::standins::{
    HELD, apply_documented, ensure_namespace, kept, kube_vip, metallb, metallb_with_config_map,
};
use lb_test::link::mac_text;
use serde_json::{Value, json};

const NAMESPACE: &str = "metallb-system";

/// Runs all blocks of a set-up.
fn play(plane: &ControlPlane, stage: &Stage, setup: Setup, prepare: impl Fn() -> anyhow::Result<()>) {
    let played = kept(plane, || stage.play(plane, setup, prepare)).unwrap();
    assert!(played > 0);
}

/// What is installed is BareLB, and its controller leaves the Service what it had.
fn keeps_the_address(plane: &ControlPlane) {
    let controller = Controller::start(plane, 0, &[]).unwrap();
    plane.apply_all(&[service("another", &json!({}), &json!({}))]).unwrap();
    plane.becomes(&controller, "another", &["192.0.2.100"]).unwrap();
    assert_eq!(plane.addresses("web").unwrap(), [HELD]);
}

fn is_there(plane: &ControlPlane, kind: &str, name: &str) -> bool {
    plane.get(&[kind, name, "--namespace", NAMESPACE]).is_ok()
}

#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_what_is_said_of_installing_and_removing() {
    let plane = ControlPlane::start().unwrap();
    let stage = Stage::new(&plane).unwrap();
    play(&plane, &stage, Setup::Bare, || {
        ensure_namespace(&plane, "web")?;
        ensure_namespace(&plane, "infra")?;
        if plane.get(&["namespace", NAMESPACE]).is_ok() {
            apply_documented(&plane, "docs/operations.md", "Role")?;
        }
        Ok(())
    });
    // Removed again, all but the configuration; and the secret was changed twice.
    assert!(
        !is_there(&plane, "daemonset", "barelb-agent") && !is_there(&plane, "daemonset", "barelb-detach")
    );
    assert!(is_there(&plane, "configmap", "config"));
    let secret = plane.get(&["secret", "memberlist", "--namespace", NAMESPACE]).unwrap();
    let entries: Vec<_> = secret["data"].as_object().unwrap().keys().collect();
    assert_eq!(entries, ["secretkey"]);
}

#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_what_is_said_of_helm() {
    let plane = ControlPlane::start().unwrap();
    let stage = Stage::new(&plane).unwrap();
    play(&plane, &stage, Setup::Helm, || ensure_namespace(&plane, NAMESPACE));
    assert!(is_there(&plane, "daemonset", "barelb-agent"));
}

#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_from_metallb() {
    let plane = ControlPlane::start().unwrap();
    plane.install_with_metallbs_crds().unwrap();
    let stage = Stage::new(&plane).unwrap();
    play(&plane, &stage, Setup::Metallb, || metallb(&plane, &stage));
    // The last block was the way back.
    assert!(is_there(&plane, "daemonset", "speaker") && is_there(&plane, "ipaddresspool", "p"));
    let webhook = "metallb-webhook-configuration";
    let refused = plane.apply_all(&[pool("q", &["198.51.100.0/28"])]).unwrap_err().to_string();
    assert!(refused.contains("failed calling webhook"), "{refused}");
    plane.kubectl(&["delete", "validatingwebhookconfiguration", webhook]).unwrap();
    plane.end_metallb().unwrap();
    keeps_the_address(&plane);
}

#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_from_metallb_with_the_config_map() {
    let plane = ControlPlane::start().unwrap();
    let stage = Stage::new(&plane).unwrap();
    play(&plane, &stage, Setup::ConfigMap, || metallb_with_config_map(&plane));
    assert!(!is_there(&plane, "configmap", "config") && is_there(&plane, "ipaddresspool", "default"));
    keeps_the_address(&plane);
}

#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_from_kube_vip() {
    let plane = ControlPlane::start().unwrap();
    let stage = Stage::new(&plane).unwrap();
    let once = std::cell::Cell::new(false);
    play(&plane, &stage, Setup::KubeVip, || if once.replace(true) { Ok(()) } else { kube_vip(&plane) });
    let web = plane.service("web").unwrap();
    assert_eq!(
        (&web["spec"]["loadBalancerIP"], &web["metadata"]["finalizers"]),
        (&Value::Null, &Value::Null)
    );
    assert!(is_there(&plane, "ipaddresspool", "shop") && is_there(&plane, "l2advertisement", "all"));
    keeps_the_address(&plane);
}

/// Three nodes with agents in pods, and a Service that waits because it came too late.
fn site() -> Site {
    let site = stage::site().unwrap();
    let wish = json!({"metallb.io/address-pool": "no-such-pool"});
    site.plane.apply_all(&[dual("too-late", &wish)]).unwrap();
    site.plane.event("Service", "too-late", "AllocationFailed").unwrap();
    site
}

#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_every_single_command() {
    let site = site();
    let stage = Stage::new(&site.plane).unwrap();
    let mut failed = Vec::new();
    let all: BTreeMap<String, Vec<String>> =
        commands().unwrap().into_iter().map(|command| (command.line(), command.words)).collect();
    kept(&site.plane, || {
        for (line, proof) in COMMANDS {
            let Proof::Run(place, words) = proof else { continue };
            let words_of = all.get(*line).unwrap_or_else(|| panic!("no document has `{line}`"));
            match stage.run(*place, &site, words_of) {
                Ok(said) if said.contains(words) => {}
                Ok(said) => failed.push(format!("`{line}` says no {words:?}:\n{said}")),
                Err(error) => failed.push(format!("{error:#}")),
            }
        }
        Ok(())
    })
    .unwrap();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// The node that owns reaches its address, and its own requests come back to nobody.
#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_the_nodes_own_view_is_as_the_documents_say() {
    let site = Site::start().unwrap();
    let owner = &site.machines[site.owner().unwrap()];
    let node = owner.cable.a.namespace();
    for vip in site.vips() {
        let url = match vip {
            std::net::IpAddr::V4(ip) => format!("http://{ip}/"),
            std::net::IpAddr::V6(ip) => format!("http://[{ip}]/"),
        };
        let page = node.exec("curl", &["--silent", "--show-error", "--max-time", "30", &url]).unwrap();
        assert!(page.contains(" serves "), "{page}");
        assert_eq!(node.ip(&["address", "show", "to", &vip.to_string()]).unwrap(), "");
    }
    // What the agent announces passes by too, and is no answer.
    thread::sleep(Duration::from_secs(10));
    let asked = node.command("arping").args(["-c", "2", "-I", "eth0", &site.vips()[0].to_string()]).output();
    let said = String::from_utf8_lossy(&asked.unwrap().stdout).into_owned();
    assert!(said.contains("ARPING") && !said.contains(&mac_text(owner.cable.a.mac())), "{said}");
}

/// Those that nothing runs have flags that there are: kubectl reads them before it shows its help.
#[test]
#[ignore = "L5: needs the testbed"]
fn l5_kubectl_and_helm_know_every_flag() {
    let mut known = BTreeSet::new();
    for command in commands().unwrap() {
        let name = command.words[0].as_str();
        if !["kubectl", "helm"].contains(&name) || command.words.iter().any(|word| word == "--") {
            continue;
        }
        if !known.insert(command.line()) {
            continue;
        }
        let words: Vec<String> = command.words[1..].iter().map(|word| filled(word)).collect();
        let output = Command::new(program(name).unwrap()).args(&words).arg("--help").output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {}: {error}", command.snippet.place(), command.line());
    }
    assert!(known.len() > 50, "{known:?}");
}
