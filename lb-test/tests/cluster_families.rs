//! L5: the same walk through a cluster of IPv4 only, of IPv6 only (control plane, nodes, Service and addresses), and of
//! both. Needs root and the testbed.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use lb_test::cluster::{Families, NodeAgent, Site, SiteOptions};

/// Found and served, scaled to zero and back, and taken over from a dead agent.
fn walk(families: Families) {
    let mut site = Site::start_with(SiteOptions { families, ..SiteOptions::default() }).unwrap();
    let owner = site.owner().unwrap();
    site.serves(&[owner]).unwrap();
    site.is_said_to_be_of(Some(owner)).unwrap();
    let addresses = site.plane.get(&["nodes"]).unwrap()["items"][0]["status"]["addresses"].clone();
    // The last one is the host name.
    assert_eq!(addresses.as_array().unwrap().len(), site.vips().len() + 1, "{addresses}");

    site.place_endpoints(&[]).unwrap();
    site.is_silent_for(&site.vips()).unwrap();
    site.is_said_to_be_of(None).unwrap();
    site.place_endpoints(&[0, 1]).unwrap();
    site.is_owned_by(owner).unwrap();
    site.serves(&[owner]).unwrap();
    let logs: Vec<String> = site.agents.iter().flatten().map(NodeAgent::log).collect();
    assert!(!logs.iter().any(|log| log.contains("WARN") || log.contains("ERROR")), "{}", site.logs());
    assert!(!site.controller.log().contains("WARN"), "{}", site.logs());

    site.agents[owner] = None;
    site.is_owned_by(1 - owner).unwrap();
    site.serves(&[1 - owner]).unwrap();
    site.is_said_to_be_of(Some(1 - owner)).unwrap();
}

#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_a_cluster_of_ipv4_only() {
    walk(Families::V4);
}

#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_a_cluster_of_ipv6_only() {
    walk(Families::V6);
}

#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_a_cluster_of_both_families() {
    walk(Families::Dual);
}
