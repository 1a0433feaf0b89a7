//! L5: an agent that starts while the API server is away, after its table has fallen silent (before that: trouble.rs).
//! Needs root and the testbed.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::thread;
use std::time::Duration;

use lb_test::cluster::{Component, Site, SiteOptions};

/// Lets a Lease last 21 s.
const GRACE: &str = "6s";

fn site() -> Site {
    // Otherwise the other node would answer once this one has fallen silent.
    let arguments = ["--failover-profile", "off"].map(str::to_owned).to_vec();
    Site::start_with(SiteOptions { grace: GRACE.to_owned(), arguments, ..SiteOptions::default() }).unwrap()
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
