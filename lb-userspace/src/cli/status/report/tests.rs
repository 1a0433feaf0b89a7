use serde_json::json;

use super::super::join::join;
use super::super::join::tests::{entry, said, service, unasked};
use super::*;

const V4: &str = "192.0.2.100";
const V6: &str = "2001:db8::100";

fn report() -> Report {
    let services = [
        service("default/web", &[V4, V6]),
        service("shop/late", &[]),
        service("shop/silent", &["192.0.2.101"]),
    ];
    let agents = [
        said("node-a", vec![entry(V4, "default/web", "owner"), entry(V6, "default/web", "owner")]),
        said("node-b", vec![entry(V4, "default/web", "standby"), entry(V6, "default/web", "owner")]),
    ];
    let addresses = join(&services, &agents, &[], true);
    Report { addresses, agents: agents.iter().map(AgentSaid::of).collect(), unasked: Vec::new() }
}

#[test]
fn each_address_and_node_that_answers_is_a_row() {
    let expected = "\
ADDRESS        SERVICES     NODE    INTERFACE  MAC                MODE    SINCE   REQUESTS/S  PEERS
192.0.2.100    default/web  node-a  eth0       02:00:00:00:00:01  tcx     2m5s    0.5         1/2
192.0.2.101    shop/silent  <none>  <none>     <none>             <none>  <none>  <none>      <none>
2001:db8::100  default/web  node-a  eth0       02:00:00:00:00:01  tcx     2m5s    0.5         1/2
2001:db8::100  default/web  node-b  eth0       02:00:00:00:00:01  tcx     2m5s    0.5         1/2
<pending>      shop/late    <none>  <none>     <none>             <none>  <none>  <none>      <none>
";
    assert_eq!(report().table(false), expected);
    let wide = report().table(true);
    let rows: Vec<&str> = wide.lines().collect();
    assert!(rows[0].ends_with("VLAN    REQUESTS  LAST ASKED  BY          STANDBY  REMARKS"), "{wide}");
    let first = "<none>  7         3s ago      192.0.2.10  node-b   not native: the driver has none";
    assert!(rows[1].ends_with(first), "{wide}");
    assert!(rows[2].ends_with("no agent knows of it"), "{wide}");
    assert_eq!(Report::default().table(false), "");
}

#[test]
fn names_are_those_of_services_each_once() {
    assert_eq!(report().names(), "default/web\nshop/late\nshop/silent\n");
}

#[test]
fn what_is_wrong_is_told_with_the_next_command() {
    let said: Vec<String> =
        report().warnings().into_iter().map(|(whose, why)| format!("{whose}: {why}")).collect();
    let expected = [
        "shop/late: it has no address yet; `barelb explain svc shop/late` says more",
        "192.0.2.101: no node answers for it: no agent knows of it; `barelb explain ip 192.0.2.101` says more",
        "2001:db8::100: node-a and node-b all answer for it: while an address moves that lasts two seconds; if it stays, \
         `barelb status --peers` shows whether these nodes hear each other",
    ];
    assert_eq!(said, expected);
}

#[test]
fn addresses_of_which_the_same_is_wrong_are_one_warning() {
    let services: Vec<_> =
        (1..=9).map(|host| service(&format!("default/s{host}"), &[&format!("192.0.2.{host}")])).collect();
    let mut sick = said("node-a", Vec::new());
    sick.report.unready = Some("not listed yet: IPAddressPool".to_owned());
    let unasked = vec![unasked("node-b"), unasked("node-c")];
    let addresses = join(&services, std::slice::from_ref(&sick), &unasked, true);
    let report = Report { addresses, agents: vec![AgentSaid::of(&sick)], unasked };
    let expected = [
        ("node-b, node-c", "away"),
        ("node-a", "not listed yet: IPAddressPool"),
        (
            "192.0.2.1, 192.0.2.2, 192.0.2.3 and 6 more",
            "no node that could be asked answers for it: no agent knows of it; `barelb explain ip 192.0.2.1` says more",
        ),
    ];
    assert_eq!(report.warnings(), expected.map(|(whose, why)| (whose.to_owned(), why.to_owned())));
    assert!(report.table(false).contains("<unknown>"), "{}", report.table(false));
}

#[test]
fn programs_get_what_the_agents_say() {
    let shown = serde_json::to_value(report()).unwrap();
    let first = &shown["addresses"][0];
    assert_eq!(
        (&first["ip"], &first["state"], &first["standby"]),
        (&json!(V4), &json!("answered"), &json!(["node-b"]))
    );
    let entry = json!({
        "link": "eth0", "mac": "02:00:00:00:00:01", "answers": true, "answersForMs": 125_000, "mode": "tcx",
        "refused": ["native: the driver has none"], "peers": {"up": 1, "all": 2},
        "counts": {
            "requests": 7, "replies": 7, "perSecond": 0.5, "lastAskedMs": 3000, "requester": "192.0.2.10",
        },
    });
    assert_eq!(first["owners"], json!([{"node": "node-a", "pod": "agent-of-node-a", "entries": [entry]}]));
    assert_eq!(
        shown["addresses"][3],
        json!({
            "ip": null, "services": ["shop/late"], "state": "pending", "owners": [], "standby": [], "why": null,
        })
    );
    assert_eq!(shown["agents"][1]["version"], "0.1.0");
}
