//! L5: what agents say is wrong, in the cluster. Needs root and the testbed.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::IpAddr;
use std::thread;
use std::time::Duration;

use lb_test::cluster::Site;
use lb_test::cluster::services::advertisement;
use lb_test::link::mac;
use lb_test::wire::{Endpoint, arp_request, neighbour_advertisement};
use serde_json::json;

/// The events of agents with this reason on this object.
fn events(site: &Site, kind: &str, name: &str, reason: &str) -> Vec<String> {
    let events = site.plane.events().unwrap();
    let of_agents = events.iter().filter(|event| {
        let regarding = &event["regarding"];
        event["reportingController"] == "barelb.io/agent"
            && (&regarding["kind"], &regarding["name"], &event["reason"])
                == (&json!(kind), &json!(name), &json!(reason))
            && regarding["uid"].as_str().is_some_and(|uid| !uid.is_empty())
    });
    of_agents.map(|event| event["note"].as_str().unwrap().to_owned()).collect()
}

#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_what_keeps_an_address_silent_is_told_once_by_one_node() {
    let site = Site::start().unwrap();
    let owner = site.owner().unwrap();
    site.plane.kubectl(&["delete", "l2advertisement", "all", "--namespace", "metallb-system"]).unwrap();
    site.is_silent_for(&site.vips()).unwrap();
    site.is_said_to_be_of(None).unwrap();
    site.plane.event("Service", "web", "noMatchingAdvertisement").unwrap();
    // Interfaces of no node, beside one that all have.
    site.plane.apply_all(&[advertisement("all", json!({"interfaces": ["eth0", "eth9"]}))]).unwrap();
    site.is_owned_by(owner).unwrap();
    site.plane.event("L2Advertisement", "all", "ConfigurationWarning").unwrap();
    // Nobody else tells it too, nor again.
    thread::sleep(Duration::from_secs(15));
    assert_eq!(
        events(&site, "Service", "web", "noMatchingAdvertisement"),
        ["no L2Advertisement covers address pool first-pool: create one, or the address stays silent"]
    );
    assert_eq!(
        events(&site, "L2Advertisement", "all", "ConfigurationWarning"),
        [
            "spec.interfaces[1]: no node has an interface eth9 that can announce: nothing is announced there; correct the name"
        ]
    );
}

#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_nothing_is_announced_beside_metallb() {
    let site = Site::start().unwrap();
    let owner = site.owner().unwrap();
    site.is_said_to_be_of(Some(owner)).unwrap();
    site.plane.announce_as_metallb("web", "node-x").unwrap();
    site.is_silent_for(&site.vips()).unwrap();
    let note = site.plane.event("Service", "web", "announceFailed").unwrap();
    let advice =
        "so BareLB does not: remove MetalLB, or give one of both a loadBalancerClass and pools of its own";
    assert!(note.starts_with("MetalLB announces ") && note.ends_with(advice), "{note}");
    assert!(note.contains("from node node-x"), "{note}");
    // With the speaker's pod its status goes too, and BareLB takes over.
    site.plane.end_metallb().unwrap();
    site.is_owned_by(owner).unwrap();
    site.is_said_to_be_of(Some(owner)).unwrap();
}

#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_a_stranger_that_claims_an_address_is_told_of_and_a_peer_is_not() {
    let site = Site::start().unwrap();
    let owner = site.owner().unwrap();
    site.is_said_to_be_of(Some(owner)).unwrap();
    let other = site.machines.iter().enumerate().find(|(node, _)| *node != owner).unwrap().1;
    let endpoint = Endpoint::open(&site.client.a).unwrap();
    let claim = |mac: [u8; 6]| {
        for vip in site.vips() {
            let frame = match vip {
                IpAddr::V4(ip) => arp_request(mac, ip, ip).to_vec(),
                IpAddr::V6(ip) => neighbour_advertisement(mac, ip).to_vec(),
            };
            endpoint.send(&frame).unwrap();
        }
    };
    claim(other.cable.a.mac());
    thread::sleep(Duration::from_secs(3));
    assert_eq!(events(&site, "Service", "web", "addressConflict"), [""; 0], "left to the nodes");
    assert!(site.warnings().is_empty(), "{:?}", site.warnings());

    claim(mac(0x99));
    site.plane.event("Service", "web", "addressConflict").unwrap();
    thread::sleep(Duration::from_secs(3));
    claim(mac(0x99));
    thread::sleep(Duration::from_secs(3));
    let mut told = events(&site, "Service", "web", "addressConflict");
    told.sort_unstable();
    let node = &site.machines[owner].name;
    let mut expected: Vec<String> = site
        .vips()
        .iter()
        .map(|vip| {
            format!(
                "a station with the hardware address 02:00:00:00:00:99, which is no node of the cluster, claims {vip} on \
                 eth0 of node {node}: find it in the switch and take the address from it, or take the address out of \
                 the pool"
            )
        })
        .collect();
    expected.sort_unstable();
    assert_eq!(told, expected, "once for each address");
}
