use super::*;
use crate::config::Config;

/// The document as pools (with what they are announced by) and warnings, or its errors, as text.
fn read(text: &str) -> Result<String, String> {
    let document: LegacyDocument = if text.trim().is_empty() {
        LegacyDocument::default()
    } else {
        serde_saphyr::from_str(text).map_err(|_error| "unreadable".to_owned())?
    };
    let place = Place { object: "ConfigMap metallb-system/config".to_owned(), ..Place::default() };
    let lines = |problems: &[Problem]| {
        let lines = problems.iter().map(|p| p.to_string().replace("ConfigMap metallb-system/config, ", ""));
        lines.collect::<Vec<_>>().join("\n")
    };
    let raw = document.into_raw(&place).map_err(|problems| lines(&problems))?;
    let (config, mut warnings) =
        Config::validate_strict(&raw.pools, &raw.advertisements, &[]).map_err(|problems| lines(&problems))?;
    warnings.splice(0..0, raw.warnings);
    let pools = config.pools.values().map(|pool| {
        let ranges: Vec<String> = pool.ranges().iter().map(ToString::to_string).collect();
        let ads = config.advertisements.iter().filter(|ad| ad.covers(pool)).count();
        let (auto, avoid) = (pool.auto_assign, pool.avoid_buggy_ips);
        format!("{}: {} auto={auto} avoid={avoid} ads={ads}", pool.name, ranges.join(" "))
    });
    let lines = [pools.collect::<Vec<_>>().join("\n"), lines(&warnings)];
    Ok(lines.join("\n").trim().to_owned())
}

fn pool_with(more: &str) -> String {
    format!("address-pools:\n- name: p\n  protocol: layer2\n  addresses: [10.0.0.0/24]\n{more}")
}

fn bgp_with(more: &str) -> String {
    format!(
        "address-pools:\n- name: p\n  protocol: bgp\n  addresses: [10.0.0.0/24, 10.0.1.0/28]\n  \
         bgp-advertisements:\n  - {more}\n"
    )
}

fn peer_with(more: &str) -> String {
    format!("peers:\n- my-asn: 64512\n  peer-asn: 64513\n  peer-address: 10.0.0.1\n{more}")
}

#[test]
fn the_example_of_the_install_page() {
    assert_eq!(
        read(
            "address-pools:\n- name: default\n  protocol: layer2\n  addresses:\n  - 192.168.34.0-192.168.34.255\n"
        ),
        Ok("default: 192.168.34.0/24 auto=true avoid=false ads=1".to_owned())
    );
}

/// F12: what is valid.
#[test]
fn f12_valid_documents() {
    for (text, expected) in [
        ("", ""),
        ("address-pools:\n", ""),
        (
            "address-pools:\n- name: a\n  protocol: layer2\n  auto-assign: false\n  avoid-buggy-ips: true\n  \
             addresses:\n  - 40.0.0.150-40.0.0.200\n  - 40.0.0.210 - 40.0.0.240\n  - 2001:db8::/112\n",
            "a: 40.0.0.150-40.0.0.200 40.0.0.210-40.0.0.240 2001:db8::/112 auto=false avoid=true ads=1",
        ),
        (
            "bgp-communities:\n  bar: 64512:1234\naddress-pools:\n- name: b\n  protocol: bgp\n  \
             addresses: [10.20.0.0/16]\n  bgp-advertisements:\n  - aggregation-length: 32\n    localpref: 100\n    \
             communities: [bar, 1234:2345]\n",
            "b: 10.20.0.0/16 auto=true avoid=false ads=0\naddress-pools[0].protocol: the protocol bgp is not served: \
             addresses are given out, and nothing announces them",
        ),
        (
            &peer_with(
                "  hold-time: 180s\n  router-id: 10.20.30.40\n  peer-port: 1179\n  password: x\n  node-selectors:\n  - match-labels: {foo: bar}\n    match-expressions:\n    - {key: bar, operator: In, values: [quux]}\n",
            ),
            "peers[0]: BGP peers are not served: they are ignored",
        ),
        (&peer_with("  hold-time: \"0\"\n"), "peers[0]: BGP peers are not served: they are ignored"),
        (&peer_with("  hold-time: 1m0.5s\n"), "peers[0]: BGP peers are not served: they are ignored"),
    ] {
        assert_eq!(read(text).as_deref(), Ok(expected), "{text}");
    }
}

/// F12: what makes the whole document invalid.
#[test]
fn f12_invalid_documents() {
    const RANGE: &str = "is neither a CIDR block (192.0.2.0/24) nor a range (192.0.2.10-192.0.2.20)";
    let at = |field: &str, message: &str| format!("address-pools[{field}: {message}");
    for (text, expected) in [
        ("address-pools: [".to_owned(), "unreadable".to_owned()),
        ("pools: []".to_owned(), "unreadable".to_owned()),
        (pool_with("  autoassign: true\n"), "unreadable".to_owned()),
        (peer_with("  my-ans: 1\n"), "unreadable".to_owned()),
        (peer_with("  peer-port: 70000\n"), "unreadable".to_owned()),
        (
            "address-pools:\n- protocol: layer2\n  addresses: [10.0.0.0/24]\n".to_owned(),
            at("0].name", "the pool has no name"),
        ),
        (
            "address-pools:\n- name: p\n  protocol: layer2\n".to_owned(),
            at("0].addresses", "the pool has no addresses: list at least one block or range"),
        ),
        (
            "address-pools:\n- name: p\n  addresses: [10.0.0.0/24]\n".to_owned(),
            at("0].protocol", "the pool has no protocol: write layer2"),
        ),
        (
            "address-pools:\n- name: p\n  protocol: babel\n  addresses: [10.0.0.0/24]\n".to_owned(),
            at("0].protocol", "protocol \"babel\" is neither layer2 nor bgp"),
        ),
        (
            "address-pools:\n- {name: p, protocol: layer2, addresses: [100.200.300.400/24, 10.0.0.0/24]}\n"
                .to_owned(),
            at("0].addresses[0]", &format!("\"100.200.300.400/24\" {RANGE}")),
        ),
        (
            "address-pools:\n- {name: p, protocol: layer2, addresses: [10.0.0.0/24, 1.2.3.0/33]}\n"
                .to_owned(),
            at("0].addresses[1]", "prefix length \"33\" is not a number from 0 to 32"),
        ),
        (
            pool_with("- {name: p, protocol: layer2, addresses: [10.0.1.0/24]}\n"),
            at("1].name", "\"p\" is already the name of another object of this kind: choose another name"),
        ),
        (
            pool_with("- {name: q, protocol: layer2, addresses: [10.0.0.0/24, 10.1.0.0/24]}\n"),
            at(
                "1].addresses[0]",
                "10.0.0.0/24 overlaps 10.0.0.0/24 of pool p: an address can be in one pool only",
            ),
        ),
        (
            pool_with("- {name: q, protocol: layer2, addresses: [10.1.0.0/24, 10.0.0.0/16]}\n"),
            at(
                "1].addresses[1]",
                "10.0.0.0/16 overlaps 10.0.0.0/24 of pool p: an address can be in one pool only",
            ),
        ),
    ] {
        let found = read(&text).unwrap_err();
        assert_eq!(found, expected, "{text}");
    }
}

#[test]
fn f12_invalid_bgp_advertisements() {
    let at = |field: &str, message: &str| format!("address-pools[0].bgp-advertisements{field}: {message}");
    for (text, expected) in [
        (
            pool_with("  bgp-advertisements:\n  - localpref: 1\n"),
            at("", "a layer2 pool can't have bgp-advertisements"),
        ),
        (
            bgp_with("aggregation-length: 33"),
            at("[0].aggregation-length", "aggregation-length 33 is above 32"),
        ),
        (
            bgp_with("aggregation-length: 26"),
            at(
                "[0].aggregation-length",
                "aggregation-length 26 is shorter than the prefix of 10.0.1.0/28, a part of the pool",
            ),
        ),
    ] {
        assert_eq!(read(&text).unwrap_err(), expected, "{text}");
    }
}

#[test]
fn f12_communities() {
    assert_eq!(bgp::community("64512:1234"), Some(0xfc00_04d2));
    assert_eq!(bgp::community("1234:2345"), Some(0x04d2_0929));
    for bad in ["flarb", "1234", "1:2:3", "65536:1", "1:65536", "a:1", "1:-1", "+1:1", ":", ""] {
        assert_eq!(bgp::community(bad), None, "{bad}");
        let message = format!(
            "{bad:?} is neither a BGP community (two numbers up to 65535, such as 64512:1234) nor a name of one"
        );
        let in_pool = read(&bgp_with(&format!("communities: [{bad:?}]"))).unwrap_err();
        assert_eq!(in_pool, format!("address-pools[0].bgp-advertisements[0].communities[0]: {message}"));
        let in_names = read(&format!("bgp-communities:\n  x: {bad:?}\n")).unwrap_err();
        assert_eq!(in_names, format!("bgp-communities.x: {message}"));
    }
}

#[test]
fn f12_peers() {
    for (text, field, message) in [
        (
            "peers:\n- {my-asn: 1, peer-asn: 2, peer-address: 1.2.3.400}\n".to_owned(),
            "peer-address",
            "\"1.2.3.400\" is not an IP address",
        ),
        ("peers:\n- {my-asn: 1, peer-asn: 2}\n".to_owned(), "peer-address", "\"\" is not an IP address"),
        (
            "peers:\n- {peer-asn: 2, peer-address: 1.2.3.4}\n".to_owned(),
            "my-asn",
            "the AS number is missing or zero",
        ),
        (
            "peers:\n- {my-asn: 1, peer-asn: 0, peer-address: 1.2.3.4}\n".to_owned(),
            "peer-asn",
            "the AS number is missing or zero",
        ),
        (
            peer_with("  hold-time: foo\n"),
            "hold-time",
            "hold-time \"foo\" is neither 0 nor a duration of at least 3s",
        ),
        (
            peer_with("  hold-time: 2999ms\n"),
            "hold-time",
            "hold-time \"2999ms\" is neither 0 nor a duration of at least 3s",
        ),
        (peer_with("  router-id: oh god\n"), "router-id", "\"oh god\" is not an IP address"),
        (
            peer_with("  node-selectors:\n  - match-expressions:\n    - {operator: In, values: [a]}\n"),
            "node-selectors[0]",
            "an expression of the label selector has no key",
        ),
        (
            peer_with(
                "  node-selectors:\n  - match-expressions:\n    - {key: a, operator: Surrounds, values: [a]}\n",
            ),
            "node-selectors[0]",
            "label selector operator \"Surrounds\" on key \"a\": use In, NotIn, Exists or DoesNotExist",
        ),
    ] {
        assert_eq!(read(&text).unwrap_err(), format!("peers[0].{field}: {message}"));
    }
}
