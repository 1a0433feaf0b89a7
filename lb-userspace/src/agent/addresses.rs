//! What the agent says of the addresses in its table: the page `/addresses` of its HTTP port, for `barelb status`,
//! `barelb top` and `barelb explain`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// Where the HTTP port answers with an [`AddressReport`].
pub const PATH: &str = "/addresses";
/// How the page is to be read. Fields that are added need no other number: whoever does not know them leaves them out.
pub const FORM: u32 = 1;

/// What every form of the page begins with, whoever made it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heading {
    /// [`FORM`] of the agent.
    pub form: u32,
    /// Version of the program.
    pub version: String,
}

/// The page.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AddressReport {
    /// How to read it.
    #[serde(flatten)]
    pub heading: Heading,
    /// Name of the node.
    pub node: String,
    /// Why the agent is not ready, as `/readyz` says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unready: Option<String>,
    /// Milliseconds until the table falls silent without its agent; negative: it is silent. Nothing: the agent has no table
    /// yet, or can't read it.
    #[serde(default)]
    pub valid_for_ms: Option<i64>,
    /// The class of Services that are announced; nothing: those without one.
    #[serde(default)]
    pub lb_class: Option<String>,
    /// Interfaces on which something is to be answered.
    pub links: Vec<LinkSaid>,
    /// Every address that a Service or the table has.
    pub addresses: Vec<AddressSaid>,
}

/// An interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LinkSaid {
    /// Its name.
    pub name: String,
    /// `native`, `tcx` or `generic`; nothing: no program is attached.
    pub mode: Option<String>,
    /// Modes that were not used, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<String>,
    /// Other nodes that are watched there; nothing where none is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peers: Option<PeersSaid>,
}

/// Other nodes on an interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PeersSaid {
    /// Those that reply.
    pub up: usize,
    /// All.
    pub all: usize,
}

/// An address.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AddressSaid {
    /// The address.
    pub ip: IpAddr,
    /// The Services that have it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<ServiceSaid>,
    /// Its entries of the table.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entries: Vec<EntrySaid>,
}

/// A Service on an address, and what this node does about it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceSaid {
    /// `namespace/name`.
    pub service: String,
    /// `owner`, `standby`, `waiting` or `silent`.
    pub verdict: String,
    /// The node that owns it, where this one knows of another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Why nobody, or not this node, answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// An entry of the table.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EntrySaid {
    /// Name of the interface.
    pub link: String,
    /// `42`, `100.42`; nothing for an untagged one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlans: Option<String>,
    /// The hardware address that is answered.
    pub mac: String,
    /// It is answered as long as the table is valid; else the node stands by.
    pub answers: bool,
    /// Milliseconds since this node answers it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answers_for_ms: Option<u64>,
    /// It was answered before this agent started, nobody knows for how long: the time is that of the agent.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub answered_before: bool,
    /// What was counted; nothing of an entry on standby, unless the address was asked for by its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts: Option<CountsSaid>,
}

/// What an entry has counted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CountsSaid {
    /// Requests and solicitations, answered or not.
    pub requests: u64,
    /// Answers sent.
    pub replies: u64,
    /// Requests a second of the last ten to twenty seconds; nothing while that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_second: Option<f64>,
    /// Milliseconds since the last request; nothing: there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_asked_ms: Option<u64>,
    /// Who asked last; unspecified for a probe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requester: Option<IpAddr>,
    /// Its hardware address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requester_mac: Option<String>,
}

/// The path that asks for these addresses only, with everything that was counted for them; for all without any.
pub fn path_of(addresses: &BTreeSet<IpAddr>) -> String {
    let mut path = PATH.to_owned();
    for (index, ip) in addresses.iter().enumerate() {
        // Writing to a string does not fail.
        let _done = write!(path, "{}ip={ip}", if index == 0 { '?' } else { '&' });
    }
    path
}

/// The addresses that are asked for by the part of a path behind the question mark. What is none asks for nothing.
pub fn asked_for(query: &str) -> BTreeSet<IpAddr> {
    let values = query.split('&').filter_map(|part| part.strip_prefix("ip="));
    // Some ways to an agent write a colon as this.
    values.filter_map(|value| value.replace("%3A", ":").replace("%3a", ":").parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ips(ips: &[&str]) -> BTreeSet<IpAddr> {
        ips.iter().map(|ip| ip.parse().unwrap()).collect()
    }

    #[test]
    fn addresses_are_asked_for_by_name() {
        for (addresses, path) in [
            (ips(&[]), "/addresses"),
            (ips(&["192.0.2.1"]), "/addresses?ip=192.0.2.1"),
            (ips(&["2001:db8::1", "192.0.2.1"]), "/addresses?ip=192.0.2.1&ip=2001:db8::1"),
        ] {
            assert_eq!(path_of(&addresses), path);
            let query = path.split_once('?').map_or("", |(_, query)| query);
            assert_eq!(asked_for(query), addresses);
        }
        assert_eq!(asked_for("ip=2001%3Adb8%3a%3A1&x=1&ip=nonsense&ip="), ips(&["2001:db8::1"]));
    }

    /// Fields that a later agent adds are left out, those that an earlier one does not have are empty.
    #[test]
    fn what_an_agent_of_another_version_says_is_understood() {
        let said = json!({
            "form": 1, "version": "0.2.0", "node": "node-a", "more": 1, "links": [{"name": "eth0", "mode": "tcx"}],
            "addresses": [{
                "ip": "2001:db8::1",
                "services": [{"service": "default/web", "verdict": "owner", "more": {}}],
                "entries": [{"link": "eth0", "mac": "02:00:00:00:00:01", "answers": true}],
            }],
        });
        let report: AddressReport = serde_json::from_value(said).unwrap();
        assert_eq!(report.heading, Heading { form: FORM, version: "0.2.0".to_owned() });
        assert_eq!(report.links[0].mode.as_deref(), Some("tcx"));
        let address = &report.addresses[0];
        assert_eq!((address.services[0].verdict.as_str(), address.entries[0].answers), ("owner", true));
        assert_eq!(address.entries[0].counts, None);
        let heading: Heading =
            serde_json::from_value(json!({"form": 2, "version": "9", "nodes": []})).unwrap();
        assert_eq!(heading.form, 2);
    }
}
