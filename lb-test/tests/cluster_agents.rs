//! L5: controller and agents in a cluster of namespaces, with kube-proxy and web servers, seen by a client. Needs root
//! and the testbed.

use std::thread;
use std::time::Duration;

use lb_test::cluster::{Component, Site, SiteOptions};
use serde_json::json;

#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_one_node_owns_the_addresses_and_the_page_comes_through_them() {
    let mut site = Site::start().unwrap();
    let owner = site.owner().unwrap();
    let other = 1 - owner;
    // With the policy Local the owner serves by itself, and sees the client's address.
    site.serves(&[owner]).unwrap();
    site.is_said_to_be_of(Some(owner)).unwrap();
    let told = site.times_assigned(owner).unwrap();
    assert!(told >= 1);

    // An agent that is killed and started again: not one answer is missing, and nobody else answers.
    let probe = site.probe(500).unwrap();
    site.agent(owner).unwrap().process().kill().unwrap();
    thread::sleep(Duration::from_millis(300));
    site.start_agent(owner).unwrap();
    thread::sleep(Duration::from_secs(4));
    let report = probe.stop().unwrap();
    report.assert_complete().unwrap();
    assert_eq!(report.by_mac.len(), 1, "{}", report.summary());
    assert_eq!(site.owner().unwrap(), owner);
    site.is_said_to_be_of(Some(owner)).unwrap();
    assert_eq!(site.times_assigned(owner).unwrap(), told, "a restart is no news");

    // Without an endpoint on the owner's node it is no candidate any more; without any nobody answers.
    site.place_endpoints(&[other]).unwrap();
    site.is_owned_by(other).unwrap();
    site.serves(&[other]).unwrap();
    site.is_said_to_be_of(Some(other)).unwrap();
    site.place_endpoints(&[]).unwrap();
    site.is_silent_for(&site.vips()).unwrap();
    site.is_said_to_be_of(None).unwrap();
    site.place_endpoints(&[0, 1]).unwrap();
    site.is_owned_by(owner).unwrap();
    site.is_said_to_be_of(Some(owner)).unwrap();
    assert_eq!(site.times_assigned(owner).unwrap(), told + 1);

    // In peace each agent renews its Lease and writes nothing else.
    thread::sleep(Duration::from_secs(6));
    let mut log = site.plane.audit_from_now().unwrap();
    thread::sleep(Duration::from_secs(30));
    let writes = log.writes_of("system:serviceaccount:metallb-system:barelb-agent").unwrap();
    assert!(writes.iter().all(|write| write.resource == "leases"), "{writes:?}");
    // A Lease of 17 s is renewed every 3.4 s.
    assert!((16..=20).contains(&writes.len()), "{} renewals of two agents in 30 s", writes.len());
}

#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_the_lease_of_a_dead_agent_runs_out_and_the_next_node_takes_over() {
    // Where nodes watch each other they do not wait for Leases.
    let arguments = ["--failover-profile", "off"].map(str::to_owned).to_vec();
    let mut site = Site::start_with(SiteOptions { arguments, ..SiteOptions::default() }).unwrap();
    let owner = site.owner().unwrap();
    site.agents[owner] = None;
    // The table of the dead agent falls silent after its grace, and before the other node answers.
    let report = site.ask(Duration::from_secs(25)).unwrap();
    let mac = |index: usize| site.machines[index].cable.a.mac();
    let by = |index: usize| {
        let answers = report.requests.iter().filter_map(|request| request.answer.as_ref());
        answers.filter(|answer| answer.mac == mac(index)).map(|answer| answer.at).collect::<Vec<_>>()
    };
    let (last, first) = (by(owner).into_iter().max().unwrap(), by(1 - owner).into_iter().min().unwrap());
    assert!(last < first, "two owners: {last:?}, {first:?}");
    assert!(last < Duration::from_secs(4) && first > Duration::from_secs(6), "{last:?}, {first:?}");
    assert_eq!(site.owner().unwrap(), 1 - owner);
    site.is_said_to_be_of(Some(1 - owner)).unwrap();

    site.start_agent(owner).unwrap();
    site.is_owned_by(owner).unwrap();
}

/// What it knew before counts no more: when it goes on, another node owns the addresses, and it looks first.
#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_an_agent_that_was_frozen_for_long_looks_at_everything_before_it_answers() {
    let mut site = Site::start().unwrap();
    let owner = site.owner().unwrap();
    site.agent(owner).unwrap().process().stop().unwrap();
    site.is_owned_by(1 - owner).unwrap();
    // Meanwhile its node has lost its endpoint.
    site.place_endpoints(&[1 - owner]).unwrap();
    let probe = site.probe(500).unwrap();
    site.agent(owner).unwrap().process().cont().unwrap();
    thread::sleep(Duration::from_secs(8));
    let report = probe.stop().unwrap();
    report.assert_complete().unwrap();
    assert_eq!(report.by_mac.len(), 1, "{}", report.summary());
    site.place_endpoints(&[0, 1]).unwrap();
    site.is_owned_by(owner).unwrap();
}

/// `--on-exit withdraw`: the successor answers before the former owner is silent.
#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_an_agent_that_withdraws_hands_over_without_a_gap() {
    let mut site = Site::start().unwrap();
    let owner = site.owner().unwrap();
    site.agents[owner].take().unwrap().stop().unwrap();
    site.start_agent_with(owner, &["--on-exit", "withdraw"]).unwrap();
    site.is_owned_by(owner).unwrap();
    let probe = site.probe(500).unwrap();
    thread::sleep(Duration::from_millis(500));
    site.agents[owner].take().unwrap().stop().unwrap();
    thread::sleep(Duration::from_millis(500));
    let report = probe.stop().unwrap();
    assert!(report.missing.is_empty() && report.by_mac.len() == 2, "{}", report.summary());
    site.is_owned_by(1 - owner).unwrap();
    site.is_said_to_be_of(Some(1 - owner)).unwrap();
}

#[test]
#[ignore = "L5: needs root and the testbed"]
fn l5_an_api_server_that_is_away_changes_nothing() {
    let mut site = Site::start().unwrap();
    let owner = site.owner().unwrap();
    site.plane.kill(Component::ApiServer).unwrap();
    // Longer than a Lease.
    let report = site.ask(Duration::from_secs(25)).unwrap();
    report.assert_complete().unwrap();
    assert_eq!(report.by_mac.len(), 1, "{}", report.summary());
    for (index, agent) in site.agents.iter().flatten().enumerate() {
        let pages = agent.metrics();
        for probe in ["/readyz", "/livez"] {
            assert_eq!(pages.get(probe).unwrap(), "ok\n", "{probe}");
        }
        let count = |name: &str| pages.count(name).unwrap();
        assert!(count("barelb_agent_watches_failing") > 0);
        assert!(count("barelb_agent_writes_total{kind=\"lease\",result=\"unreachable\"}") > 0);
        let own = u64::from(index == owner);
        assert_eq!((count("barelb_agent_services"), count("barelb_agent_members")), (own, 2));
    }
    site.plane.restart(Component::ApiServer).unwrap();
    let report = site.ask(Duration::from_secs(25)).unwrap();
    report.assert_complete().unwrap();
    assert_eq!(report.by_mac.len(), 1, "{}", report.summary());
    assert_eq!(site.owner().unwrap(), owner);
    site.plane.apply_all(&[site.web(&json!({"externalTrafficPolicy": "Cluster"}))]).unwrap();
    site.serves(&[0, 1]).unwrap();
}
