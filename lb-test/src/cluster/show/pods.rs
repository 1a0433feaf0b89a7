//! The same with kubelets: what a user's cluster does with the image and the manifests.

use anyhow::Result;

use super::hints::{Hint, as_client, kubectl, show};
use super::{LOOK, ShowOptions};
use crate::cluster::{PodSite, Worker};
use crate::interrupt::Interrupt;
use crate::link::mac_text;

/// Stands the cluster up, installs manifests/base in it, proves that it works and, unless told otherwise, stays until
/// Ctrl-C. Everything it made is gone when it returns.
pub fn run(options: &ShowOptions) -> Result<()> {
    let interrupt = Interrupt::block()?;
    let nodes = options.nodes;
    println!("Starting a control plane, and {nodes} nodes with kubelet, containerd and kube-proxy each.");
    let site = PodSite::start(nodes, options.families)?;
    interrupt.check()?;
    println!(
        "Installing: kubectl apply --server-side -k manifests/base, a pool, a web server and its Service."
    );
    prove(&site)?;
    if options.once {
        println!("\nDone: each address was found, and served by a pod on the node that owns it.");
        return Ok(());
    }
    interrupt.check()?;
    print_hints(&site)?;
    while !interrupt.wait(LOOK) {}
    println!("\nRemoving the cluster.");
    Ok(())
}

fn prove(site: &PodSite) -> Result<()> {
    let asked = site.probe(100)?;
    site.plane.install()?;
    site.deploy_web()?;
    let owner = site.preferred_owner()?;
    let report = asked.stop()?;
    let worker = &site.workers[owner];
    println!("\nThe Service web has these addresses, and the client was answered by {}:", worker.name);
    for vip in site.vips() {
        let after = report.first_answer(vip).unwrap_or_default().as_secs_f32();
        let mac = mac_text(worker.cable.a.mac());
        println!("  {vip:<16} {mac}, first {after:.1} s after `kubectl apply` began");
    }
    println!("\nThe client fetches pages; its kernel finds the addresses:");
    for page in site.serves(owner)? {
        println!("  {page}");
    }
    site.is_rolled_out()
}

fn print_hints(site: &PodSite) -> Result<()> {
    println!("\nThe cluster stands until Ctrl-C. Things to try from another terminal, as root:");
    println!("\nWith kubectl (kubeconfig: {}):", site.plane.admin().kubeconfig().display());
    show(&Hint { what: "kubectl where the API server is reached", commands: vec![kubectl(&site.plane)?] });
    with_kubectl(&site.workers[0]).iter().for_each(show);
    println!("\nAs the client:");
    as_client(&site.client, &site.vips()).iter().for_each(show);
    for worker in &site.workers {
        println!("\nOn {}:", worker.name);
        show(&Hint {
            what: "a shell that sees its processes, mounts and links",
            commands: vec![worker.line("sh")],
        });
    }
    Ok(())
}

fn with_kubectl(worker: &Worker) -> Vec<Hint> {
    let lines = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect();
    vec![
        Hint {
            what: "what runs, and which node announces it",
            commands: lines(&[
                "k get pods --all-namespaces --output=wide",
                "k get services,l2status,configurationstates --all-namespaces",
                "k describe service web",
            ]),
        },
        Hint {
            what: "an agent's own words, and what it answers",
            commands: lines(&[
                "k logs daemonset/barelb-agent -n metallb-system",
                "k exec daemonset/barelb-agent -n metallb-system -- /barelb inspect",
            ]),
        },
        Hint {
            what: "a rolling update, which misses no answer",
            commands: lines(&[
                "k rollout restart daemonset/barelb-agent -n metallb-system",
                "k rollout status daemonset/barelb-agent -n metallb-system",
            ]),
        },
        Hint {
            what: "take a node out of service, and back",
            commands: vec![
                format!("k drain {} --ignore-daemonsets", worker.name),
                format!("k uncordon {}", worker.name),
            ],
        },
    ]
}
