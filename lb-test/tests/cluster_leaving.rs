//! L5: nodes that hand over what they own: drained, cordoned, shutting down. Needs root and the testbed.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::thread;
use std::time::Duration;

use lb_test::agent::barelb;
use lb_test::client::ProbeClient;
use lb_test::cluster::{Site, SiteOptions};

/// Requests a second.
const PACE: u32 = 500;
/// How long both nodes answer at most where the other one says that it does. Mostly it is less than the time between
/// two requests; a busy machine adds to it.
const ACKNOWLEDGED: Duration = Duration::from_millis(300);
/// The same of a node that shuts down: its agent may end before the hand-over has, and then answers on for 1.5 s.
const FAREWELL: Duration = Duration::from_millis(3500);

/// Begins to ask often, and has asked for a moment.
fn probe(site: &Site) -> ProbeClient {
    let probe = site.probe(PACE).unwrap();
    thread::sleep(Duration::from_millis(500));
    probe
}

/// One node has answered after the other, and no request was left without an answer. Both may answer for a moment.
fn assert_handed_over(probe: ProbeClient, both: Duration) {
    thread::sleep(Duration::from_secs(3));
    let report = probe.stop().unwrap();
    assert_eq!((report.missing.len(), report.late, report.socket_drops), (0, 0, 0), "{}", report.summary());
    assert_eq!(report.by_mac.len(), 2, "{}", report.summary());
    let twice = Duration::from_secs(1) / PACE * u32::try_from(report.duplicates).unwrap();
    assert!(twice <= both, "{}", report.summary());
}

fn drain(site: &Site, node: &str, more: &[&str]) -> Result<String, String> {
    let mut command = site.plane.namespace().command(barelb().unwrap());
    command.args(["drain", node, "--kubeconfig"]).arg(site.plane.admin().kubeconfig()).args(more);
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_a_drained_node_hands_over_and_stays_silent_until_that_is_undone() {
    let mut site = Site::start().unwrap();
    let owner = site.owner().unwrap();
    let [this, other] = [owner, 1 - owner].map(|index| site.machines[index].name.clone());
    site.is_said_to_be_of(Some(owner)).unwrap();

    let asked = probe(&site);
    let said = drain(&site, &this, &[]).unwrap();
    assert_eq!(said, format!("node/{this} drained\nSERVICE      NODE\ndefault/web  {other}\n"));
    assert_handed_over(asked, ACKNOWLEDGED);
    site.is_owned_by(1 - owner).unwrap();

    // An agent that starts on a drained node answers nothing, not even for a moment.
    let asked = probe(&site);
    site.agent(owner).unwrap().process().kill().unwrap();
    site.start_agent(owner).unwrap();
    thread::sleep(Duration::from_secs(5));
    let report = asked.stop().unwrap();
    report.assert_complete().unwrap();
    assert_eq!(report.by_mac.len(), 1, "{}", report.summary());

    assert_eq!(drain(&site, &this, &["--undo"]).unwrap(), format!("node/{this} undrained\n"));
    site.is_owned_by(owner).unwrap();

    // What can't be done is said.
    let error = drain(&site, "node-x", &[]).unwrap_err();
    assert!(error.contains("there is no node node-x: `kubectl get nodes` lists those that exist"), "{error}");
    site.agent(owner).unwrap().process().stop().unwrap();
    let error = drain(&site, &this, &["--timeout", "1s"]).unwrap_err();
    assert!(error.contains("is marked, but after 1s it announces 1 Services still"), "{error}");
}

#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_a_cordoned_node_hands_over_where_that_is_wanted() {
    let arguments = ["--on-cordon", "withdraw"].map(str::to_owned).to_vec();
    let site = Site::start_with(SiteOptions { arguments, ..SiteOptions::default() }).unwrap();
    let owner = site.owner().unwrap();
    let asked = probe(&site);
    site.plane.kubectl(&["cordon", &site.machines[owner].name]).unwrap();
    assert_handed_over(asked, ACKNOWLEDGED);
    site.is_owned_by(1 - owner).unwrap();
    site.plane.kubectl(&["uncordon", &site.machines[owner].name]).unwrap();
    site.is_owned_by(owner).unwrap();
}

/// The kubelet says in the Node that it shuts down, and ends the pods. Cordoning alone means nothing by default.
#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_a_node_that_shuts_down_hands_over() {
    let mut site = Site::start().unwrap();
    let owner = site.owner().unwrap();
    let name = site.machines[owner].name.clone();
    site.plane.kubectl(&["cordon", &name]).unwrap();
    thread::sleep(Duration::from_secs(2));
    assert_eq!(site.owner().unwrap(), owner);

    let asked = probe(&site);
    site.plane.shut_node_down(&name).unwrap();
    site.agents[owner].take().unwrap().stop().unwrap();
    assert_handed_over(asked, FAREWELL);
    site.is_owned_by(1 - owner).unwrap();
}
