//! L5: the same walk through a cluster of IPv4 only, of IPv6 only (control plane, nodes, Service and addresses), and of
//! both. Needs root and the testbed.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;

use lb_test::cluster::{Families, Site, SiteOptions};

/// A field of `/proc/PID/status`.
fn status(pid: u32, field: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    text.lines().find_map(|line| line.strip_prefix(field)).unwrap().trim().to_owned()
}

/// Found and served, scaled to zero and back, and taken over from a dead agent.
fn walk(families: Families) {
    let mut site = Site::start_with(SiteOptions { families, ..SiteOptions::default() }).unwrap();
    let owner = site.owner().unwrap();
    site.serves(&[owner]).unwrap();
    site.is_said_to_be_of(Some(owner)).unwrap();
    // NET_ADMIN, NET_RAW, PERFMON and BPF, of which NET_RAW and PERFMON are given up.
    for pid in site.agents.iter().flatten().map(|agent| agent.process_ref().pid()) {
        let sets = ["CapBnd:", "CapEff:"].map(|field| status(pid, field));
        assert_eq!(sets, ["000000c000003000", "0000008000001000"]);
    }
    let controller = site.controller.process().pid();
    assert_eq!(["CapBnd:", "CapEff:"].map(|field| status(controller, field)), ["0000000000000000"; 2]);
    assert_eq!(status(controller, "Uid:"), ["65532"; 4].join("\t"));
    let addresses = site.plane.get(&["nodes"]).unwrap()["items"][0]["status"]["addresses"].clone();
    // The last one is the host name.
    assert_eq!(addresses.as_array().unwrap().len(), site.vips().len() + 1, "{addresses}");

    site.place_endpoints(&[]).unwrap();
    site.is_silent_for(&site.vips()).unwrap();
    site.is_said_to_be_of(None).unwrap();
    site.place_endpoints(&[0, 1]).unwrap();
    site.is_owned_by(owner).unwrap();
    site.serves(&[owner]).unwrap();
    assert_eq!(site.warnings(), Vec::<String>::new());

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
