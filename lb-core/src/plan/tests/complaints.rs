//! What is told to the cluster, and by which node.

use super::*;
use crate::eligibility::Leaving;

fn web(snapshot: &mut Snapshot, addresses: &[&str]) {
    let service = service(addresses, TrafficPolicy::Cluster, Endpoints::Unknown);
    services(snapshot).insert(key("web"), service);
}

fn told(snapshot: &Snapshot) -> Vec<String> {
    plan(snapshot).complaints.iter().map(|problem| problem.reason.to_string()).collect()
}

#[test]
fn what_all_see_is_told_by_the_first_that_is_alive() {
    for (dead, expected) in [(&[][..], "iris1"), (&["iris1"], "iris2"), (&["iris1", "iris2"], "iris3")] {
        for me in ["iris1", "iris2", "iris3"] {
            let mut snapshot = cluster(me, &["iris1", "iris2", "iris3"], &[]);
            web(&mut snapshot, &["10.20.30.1", "fd00:1::1"]);
            for name in dead {
                snapshot.nodes.get_mut(&node(name)).unwrap().alive = false;
            }
            let problems = plan(&snapshot).problems;
            assert_eq!(problems.len(), 2, "both families, on each node");
            let silent =
                "no L2Advertisement covers address pool default: create one, or the address stays silent";
            let expected = if me == expected { vec![silent; 2] } else { vec![] };
            assert_eq!(told(&snapshot), expected, "{me} without {dead:?}");
        }
    }
}

#[test]
fn what_only_the_owner_knows_is_told_by_the_owner() {
    for (me, tells) in [("iris1", false), ("iris2", true)] {
        let mut snapshot = cluster(me, &["iris1", "iris2"], &[ad("all", "")]);
        web(&mut snapshot, &["10.20.30.1", "fd00:1::1"]);
        snapshot.links[0].up = false;
        let count = if tells { 2 } else { 0 };
        assert_eq!(told(&snapshot).len(), count, "{me}");
        snapshot.links[0].up = true;
        let mut plan = plan(&snapshot);
        assert_eq!(plan.complaints, []);
        let targets = plan.desired.keys().copied();
        let unanswered = targets.map(|target| (target, Silence::NotAttached { target })).collect();
        plan.shortfall(&unanswered);
        assert_eq!(plan.complaints.len(), count, "{me}");
    }
}

#[test]
fn the_normal_course_of_an_election_is_not_told() {
    let mut snapshot = cluster("iris1", &["iris1", "iris2"], &[ad("all", "")]);
    web(&mut snapshot, &["10.20.30.1", "fd00:1::1"]);
    assert_eq!(told(&snapshot), [""; 0]);
    snapshot.nodes.get_mut(&node("iris2")).unwrap().leaving = Some(Leaving::Drained);
    let none = Endpoints::on([]);
    services(&mut snapshot).get_mut(&key("web")).unwrap().endpoints = none;
    assert_eq!(told(&snapshot), [""; 0]);
}

#[test]
fn an_interface_that_no_node_has_is_told() {
    let mut named = ad("all", "");
    named.interfaces = vec!["eth0".to_owned(), "eth9".to_owned()];
    let mut snapshot = cluster("iris1", &["iris1", "iris2"], &[named]);
    let report = |name: &str| Some(BTreeMap::from([(LinkName::new(name).unwrap(), LinkFitness::Fit)]));
    snapshot.nodes.get_mut(&node("iris1")).unwrap().links = report("eth0");
    assert_eq!(told(&snapshot), [""; 0], "iris2 does not say what it has");
    snapshot.nodes.get_mut(&node("iris2")).unwrap().links = report("eth9");
    assert_eq!(told(&snapshot), [""; 0]);
    snapshot.nodes.get_mut(&node("iris2")).unwrap().links = report("eth0");
    let nowhere =
        "no node has an interface eth9 that can announce: nothing is announced there; correct the name";
    assert_eq!(told(&snapshot), [nowhere]);
    let complaint = plan(&snapshot).complaints.pop().unwrap();
    assert_eq!(complaint.place.field, "spec.interfaces[1]");
    snapshot.me = node("iris2");
    assert_eq!(told(&snapshot), [""; 0], "by the first alone");
}

#[test]
fn nothing_is_answered_beside_metallb() {
    let mut snapshot = cluster("iris1", &["iris1"], &[ad("all", "")]);
    web(&mut snapshot, &["10.20.30.1", "fd00:1::1"]);
    services(&mut snapshot)
        .insert(key("same"), service(&["10.20.30.1"], TrafficPolicy::Cluster, Endpoints::Unknown));
    snapshot.rivals = Arc::new(BTreeMap::from([(ip("10.20.30.1"), node("iris7"))]));
    assert_eq!(word(&snapshot, "web", "10.20.30.1"), "announceFailed");
    assert_eq!(word(&snapshot, "same", "10.20.30.1"), "announceFailed", "the unit is the address");
    assert_eq!(word(&snapshot, "web", "fd00:1::1"), "A");
    let expected = "MetalLB announces 10.20.30.1 from node iris7, so BareLB does not: remove MetalLB, or give one of \
                    both a loadBalancerClass and pools of its own";
    assert_eq!(told(&snapshot), [expected; 2]);
}

#[test]
fn an_expression_that_matches_no_interface_is_told() {
    let mut matching = ad("all", "");
    matching.interface_regex = Some("wan[0-9]".to_owned());
    let mut snapshot = cluster("iris1", &["iris1"], &[matching]);
    let report = |name: &str| Some(BTreeMap::from([(LinkName::new(name).unwrap(), LinkFitness::Fit)]));
    snapshot.nodes.get_mut(&node("iris1")).unwrap().links = report("wan0");
    assert_eq!(told(&snapshot), [""; 0]);
    snapshot.nodes.get_mut(&node("iris1")).unwrap().links = report("eth0");
    let unmatched =
        "no node has an interface that \"wan[0-9]\" matches and that can announce: correct the expression";
    assert_eq!(told(&snapshot), [unmatched]);
}

/// All Services take part in the elections all the same: leaving one out could make another owner of an address it shares.
#[test]
fn an_agent_that_goes_by_what_it_knew_owns_nothing_more_than_it_answers() {
    let mut snapshot = cluster("iris2", &["iris1", "iris2"], &[ad("all", "")]);
    web(&mut snapshot, &["10.20.30.1", "fd00:1::1"]);
    assert_eq!(word(&snapshot, "web", "10.20.30.1"), "A");
    snapshot.only = Some(Arc::new(BTreeSet::from([ip("10.20.30.1")])));
    assert_eq!(word(&snapshot, "web", "10.20.30.1"), "A");
    assert_eq!(word(&snapshot, "web", "fd00:1::1"), "notOwner");
    assert_eq!(told(&snapshot), [""; 0]);
}
