//! L5: agents that start while the API server is away. Needs root and the testbed.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::thread;
use std::time::Duration;

use lb_test::cluster::{Component, Site, SiteOptions};

/// Lets a Lease last 21 s.
const GRACE: &str = "6s";
const LONGER_THAN_A_LEASE: Duration = Duration::from_secs(30);

fn site() -> Site {
    Site::start_with(SiteOptions { grace: GRACE.to_owned(), ..SiteOptions::default() }).unwrap()
}

#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_agents_restart_one_after_the_other_while_the_api_server_is_away() {
    let mut site = site();
    let owner = site.owner().unwrap();
    site.is_said_to_be_of(Some(owner)).unwrap();
    // What was decided is saved within a second.
    thread::sleep(Duration::from_secs(2));
    site.plane.kill(Component::ApiServer).unwrap();
    let probe = site.probe(500).unwrap();
    for index in 0..site.machines.len() {
        site.agent(index).unwrap().process().kill().unwrap();
        thread::sleep(Duration::from_secs(1));
        site.start_agent(index).unwrap();
        thread::sleep(Duration::from_secs(4));
    }
    thread::sleep(LONGER_THAN_A_LEASE);
    site.plane.restart(Component::ApiServer).unwrap();
    thread::sleep(LONGER_THAN_A_LEASE);
    let report = probe.stop().unwrap();
    report.assert_complete().unwrap();
    assert_eq!(report.by_mac.len(), 1, "{}", report.summary());
    assert_eq!(site.owner().unwrap(), owner);
    assert!(site.agent(owner).unwrap().log().contains("going by what was announced before the restart"));

    // They follow the API server again.
    site.place_endpoints(&[1 - owner]).unwrap();
    site.is_owned_by(1 - owner).unwrap();
    site.is_said_to_be_of(Some(1 - owner)).unwrap();
}

/// What was saved is no reason to begin: somebody else may own the addresses by now.
#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_a_node_that_has_fallen_silent_waits_for_the_api_server() {
    let mut site = site();
    let owner = site.owner().unwrap();
    thread::sleep(Duration::from_secs(2));
    site.plane.kill(Component::ApiServer).unwrap();
    site.agent(owner).unwrap().process().kill().unwrap();
    site.is_silent_for(&site.vips()).unwrap();
    site.start_agent(owner).unwrap();
    let report = site.ask(Duration::from_secs(15)).unwrap();
    assert_eq!(report.answered, 0, "{}", report.summary());
    site.plane.restart(Component::ApiServer).unwrap();
    site.owner().unwrap();
}
