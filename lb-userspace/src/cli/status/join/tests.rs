use super::*;
use crate::agent::addresses::{CountsSaid, FORM, Heading, ServiceSaid};

/// An agent whose table is valid, with these addresses.
pub(in crate::cli) fn said(node: &str, addresses: Vec<AddressSaid>) -> Said {
    let link = LinkSaid {
        name: "eth0".to_owned(),
        mode: Some("tcx".to_owned()),
        refused: vec!["native: the driver has none".to_owned()],
        peers: Some(PeersSaid { up: 1, all: 2 }),
    };
    let report = AddressReport {
        heading: Heading { form: FORM, version: "0.1.0".to_owned() },
        node: node.to_owned(),
        valid_for_ms: Some(60_000),
        links: vec![link],
        addresses,
        ..AddressReport::default()
    };
    Said { pod: format!("agent-of-{node}"), report }
}

/// An entry on eth0 for a Service, as its owner has it or as one that stands by.
pub(in crate::cli) fn entry(ip: &str, service: &str, verdict: &str) -> AddressSaid {
    let counts = CountsSaid {
        requests: 7,
        replies: 7,
        per_second: Some(0.5),
        last_asked_ms: Some(3_000),
        requester: Some("192.0.2.10".parse().unwrap()),
        requester_mac: None,
    };
    let answers = verdict == "owner";
    let entry = EntrySaid {
        link: "eth0".to_owned(),
        mac: "02:00:00:00:00:01".to_owned(),
        answers,
        answers_for_ms: answers.then_some(125_000),
        counts: answers.then_some(counts),
        ..EntrySaid::default()
    };
    AddressSaid { entries: vec![entry], ..silent(ip, service, verdict, None, None) }
}

/// An address without an entry.
fn silent(ip: &str, service: &str, verdict: &str, owner: Option<&str>, why: Option<&str>) -> AddressSaid {
    let service = ServiceSaid {
        service: service.to_owned(),
        verdict: verdict.to_owned(),
        owner: owner.map(str::to_owned),
        why: why.map(str::to_owned),
    };
    AddressSaid { ip: ip.parse().unwrap(), services: vec![service], entries: Vec::new() }
}

pub(in crate::cli) fn service(name: &str, addresses: &[&str]) -> Balanced {
    let addresses = addresses.iter().map(|ip| ip.parse().unwrap()).collect();
    Balanced { service: name.parse().unwrap(), class: None, addresses }
}

pub(in crate::cli) fn unasked(node: &str) -> Unasked {
    Unasked { node: node.to_owned(), pod: format!("agent-of-{node}"), why: "away".to_owned() }
}

/// Address, Services, state, owners, standbys and why, of each row.
type Brief = (String, String, State, String, String, Option<String>);

fn brief(rows: &[Row]) -> Vec<Brief> {
    let brief = |row: &Row| {
        let owners: Vec<&str> = row.owners.iter().map(|owner| owner.node.as_str()).collect();
        let ip = row.ip.map_or_else(|| "-".to_owned(), |ip| ip.to_string());
        (ip, row.services.join(","), row.state, owners.join(","), row.standby.join(","), row.why.clone())
    };
    rows.iter().map(brief).collect()
}

fn row(ip: &str, services: &str, state: State, owners: &str, standby: &str, why: Option<&str>) -> Brief {
    let own = str::to_owned;
    (own(ip), own(services), state, own(owners), own(standby), why.map(own))
}

const V4: &str = "192.0.2.100";
const V6: &str = "2001:db8::100";

#[test]
fn an_address_is_where_it_is_answered() {
    let services = [service("default/web", &[V4, V6]), service("default/shares", &[V4])];
    let agents = [
        said("node-a", vec![entry(V4, "default/web", "owner"), entry(V6, "default/web", "standby")]),
        said("node-b", vec![entry(V4, "default/web", "standby"), entry(V6, "default/web", "owner")]),
    ];
    let rows = join(&services, &agents, &[], true);
    let expected = [
        row(V4, "default/web,default/shares", State::Answered, "node-a", "node-b", None),
        row(V6, "default/web", State::Answered, "node-b", "node-a", None),
    ];
    assert_eq!(brief(&rows), expected);
    let answer = &rows[0].owners[0].entries[0];
    assert_eq!(rows[0].owners[0].pod, "agent-of-node-a");
    assert_eq!((answer.mode.as_deref(), answer.peers), (Some("tcx"), Some(PeersSaid { up: 1, all: 2 })));
    assert_eq!(answer.refused, ["native: the driver has none"]);
}

#[test]
fn two_nodes_that_answer_are_both_there() {
    let agents = ["node-a", "node-b"].map(|node| said(node, vec![entry(V6, "default/web", "owner")]));
    let rows = join(&[service("default/web", &[V6])], &agents, &[], true);
    assert_eq!(brief(&rows), [row(V6, "default/web", State::Contested, "node-a,node-b", "", None)]);
}

#[test]
fn an_address_that_nobody_answers_has_the_reasons_of_the_agents() {
    let services = [service("default/web", &[V4])];
    let none = "no L2Advertisement covers address pool p";
    let says = |node: &str, why| said(node, vec![silent(V4, "default/web", "silent", None, Some(why))]);
    let left = |node: &str, owner| said(node, vec![silent(V4, "default/web", "standby", Some(owner), None)]);
    let mut expired = said("node-a", vec![entry(V4, "default/web", "owner")]);
    expired.report.valid_for_ms = Some(-5);
    let mut without = said("node-a", Vec::new());
    without.report.valid_for_ms = None;
    for (agents, missing, state, why) in [
        (vec![says("node-a", none), says("node-b", none)], None, State::Unanswered, none.to_owned()),
        (
            vec![says("node-a", "it has no links"), says("node-b", none)],
            None,
            State::Unanswered,
            format!("node-a: it has no links; node-b: {none}"),
        ),
        (
            vec![left("node-a", "node-b")],
            Some("node-b"),
            State::Unknown,
            "it is left to node-b, which was not asked".to_owned(),
        ),
        (
            vec![left("node-a", "node-b"), said("node-b", Vec::new())],
            None,
            State::Unanswered,
            "node-a: it is left to node-b, which does not answer".to_owned(),
        ),
        (vec![expired], None, State::Unanswered, "the table of node-a is silent".to_owned()),
        (vec![without], None, State::Unanswered, "no agent knows of it".to_owned()),
        (Vec::new(), Some("node-a"), State::Unknown, "no agent could be asked".to_owned()),
    ] {
        let unasked: Vec<Unasked> = missing.map(unasked).into_iter().collect();
        let rows = join(&services, &agents, &unasked, true);
        assert_eq!(brief(&rows), [row(V4, "default/web", state, "", "", Some(&why))]);
    }
}

#[test]
fn services_without_an_address_and_addresses_without_a_service_are_there() {
    let services = [service("default/b", &[]), service("default/a", &[])];
    let agents =
        [said("node-a", vec![entry(V6, "default/gone", "owner"), entry(V4, "default/gone", "standby")])];
    let pending = |name| row("-", name, State::Pending, "", "", None);
    let stale = row(V6, "", State::Stale, "node-a", "", None);
    let both = [pending("default/a"), pending("default/b")];
    assert_eq!(brief(&join(&services, &agents, &[], true)), [&[stale][..], &both].concat());
    // Which of all Services are left out is not known.
    assert_eq!(brief(&join(&services, &agents, &[], false)), both);
}

#[test]
fn services_of_another_class_are_none_of_ours() {
    let class = Some("example.com/lb".to_owned());
    let services =
        [service("default/web", &[V4]), Balanced { class: class.clone(), ..service("default/other", &[V6]) }];
    let names = |agents: &[Said]| -> Vec<String> {
        join(&services, agents, &[unasked("node-z")], true).into_iter().flat_map(|row| row.services).collect()
    };
    let plain = said("node-a", Vec::new());
    let mut classed = said("node-b", Vec::new());
    classed.report.lb_class = class;
    assert_eq!(names(std::slice::from_ref(&plain)), ["default/web"]);
    assert_eq!(names(std::slice::from_ref(&classed)), ["default/other"]);
    assert_eq!(names(&[plain, classed]), ["default/web", "default/other"]);
    assert_eq!(names(&[]), ["default/web", "default/other"], "what the agents' class is nobody knows");
}
