use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn order_of(nodes: &[&str], ip: &str) -> Vec<String> {
    let nodes: Vec<(NodeName, u32)> = nodes
        .iter()
        .map(|text| {
            let (name, score) = text.split_once('=').unwrap_or((text, "0"));
            (NodeName::new(name).unwrap(), score.parse().unwrap())
        })
        .collect();
    let key = RankKey::new(ip.parse().unwrap());
    order(nodes.iter().map(|(node, score)| (node, *score)), &key)
        .into_iter()
        .map(ToString::to_string)
        .collect()
}

/// F1, as recomputed from MetalLB's rule.
#[test]
fn f1_order_is_that_of_metallb() {
    let five = ["iris1", "iris2", "node-a", "node-b", "node-c"];
    for (nodes, ip, expected) in [
        (&["node-a", "node-b", "node-c"][..], "10.0.0.1", "node-b node-a node-c"),
        (&["node-a", "node-b", "node-c"], "10.0.0.2", "node-b node-c node-a"),
        (&["iris1", "iris2"], "10.20.30.1", "iris2 iris1"),
        (&["iris1", "iris2"], "10.20.30.2", "iris1 iris2"),
        (&["edge-a", "edge-b", "worker-a", "worker-b"], "10.20.30.1", "edge-b worker-a edge-a worker-b"),
        (&["edge-a=100", "edge-b", "worker-a", "worker-b"], "10.20.30.1", "edge-a edge-b worker-a worker-b"),
        (&["edge-a=100", "edge-b=100", "worker-a"], "10.20.30.1", "edge-b edge-a worker-a"),
        (&["node-a", "node-b"], "10.20.30.1", "node-b node-a"),
        (&["node-a=7", "node-b=7"], "10.20.30.1", "node-b node-a"),
        (&["node-a", "node-b"], "fc00::1", "node-b node-a"),
        (&five, "fd00::1", "iris1 node-c node-b iris2 node-a"),
        (&five, "2001:db8::10", "node-b node-a iris2 node-c iris1"),
    ] {
        assert_eq!(order_of(nodes, ip).join(" "), expected, "{nodes:?} {ip}");
        let reversed: Vec<&str> = nodes.iter().rev().copied().collect();
        assert_eq!(order_of(&reversed, ip).join(" "), expected, "whatever the order of the input");
    }
    for (last, first) in [(240, "node3"), (241, "node1"), (242, "node1"), (250, "node1")] {
        assert_eq!(
            order_of(&["node1", "node2", "node3"], &format!("192.168.1.{last}")).first().unwrap(),
            first
        );
    }
}

#[test]
fn the_hash_is_sha256_of_node_hash_sign_and_address() {
    let key = RankKey::new("10.0.0.1".parse().unwrap());
    for (node, prefix) in [("node-b", 0x2aca_e885_u32), ("node-a", 0xdd41_591f), ("node-c", 0xf949_561f)] {
        let rank = rank(&NodeName::new(node).unwrap(), 0, &key);
        assert_eq!(rank.hash.first_chunk::<4>(), Some(&prefix.to_be_bytes()), "{node}");
    }
}

/// Who is first for each of a run of addresses.
fn firsts(nodes: &[&str], network: &str, last: u8) -> BTreeMap<String, Vec<u8>> {
    let mut firsts: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for octet in 1..=last {
        let first = order_of(nodes, &format!("{network}.{octet}")).into_iter().next().unwrap();
        firsts.entry(first).or_default().push(octet);
    }
    firsts
}

/// F1: exactly one node announces each address, and every node gets some.
#[test]
fn f1_addresses_spread_as_with_metallb() {
    let counts = |nodes: &[&str], network, last| -> Vec<usize> {
        firsts(nodes, network, last).values().map(Vec::len).collect()
    };
    assert_eq!(counts(&["iris1", "iris2"], "10.20.30", 255), [134, 121]);
    let five = ["node1", "node2", "node3", "node4", "node5"];
    assert_eq!(counts(&five, "192.168.1", 254), [53, 44, 57, 56, 44]);
    let (with, without) = (firsts(&five, "192.168.1", 254), firsts(&five[..4], "192.168.1", 254));
    let stayed = with.iter().filter(|(node, _)| *node != "node5");
    for (node, addresses) in stayed {
        assert!(addresses.iter().all(|a| without[node].contains(a)), "only node5's addresses move");
    }
    let moved: usize = without.values().map(Vec::len).sum::<usize>() - (254 - with["node5"].len());
    assert_eq!(moved, 44, "all of node5's, and no others");
}

/// F1: before 0.11 MetalLB hashed the name of the Service. Both Services had iris2 then, whatever their addresses.
#[test]
fn f1_the_address_decides_and_not_the_name() {
    let by_name = |name: &str| {
        let hash = |node: &&str| Sha256::digest(format!("{node}#{name}"));
        ["iris1", "iris2"].into_iter().min_by_key(hash).unwrap()
    };
    assert_eq!(["test1", "default/web"].map(by_name), ["iris2", "iris2"]);
    let first = |ip| order_of(&["iris1", "iris2"], ip)[0].clone();
    assert_eq!(["10.20.30.1", "10.20.30.2"].map(first), ["iris2", "iris1"]);
}

proptest! {
    #[test]
    fn one_winner_whatever_the_order_and_no_move_without_need(
        nodes in prop::collection::btree_map("[a-z]{1,6}", 0u32..3, 1..8),
        ip: u32,
        gone in any::<prop::sample::Index>(),
    ) {
        let nodes: Vec<(NodeName, u32)> =
            nodes.into_iter().map(|(name, score)| (NodeName::new(name).unwrap(), score)).collect();
        let key = RankKey::new(IpAddr::from(std::net::Ipv4Addr::from(ip)));
        let all = order(nodes.iter().map(|(n, s)| (n, *s)), &key);
        let reversed = order(nodes.iter().rev().map(|(n, s)| (n, *s)), &key);
        prop_assert_eq!(&all, &reversed);
        let gone = gone.get(&nodes).0.clone();
        let rest = order(nodes.iter().filter(|(n, _)| *n != gone).map(|(n, s)| (n, *s)), &key);
        let expected: Vec<&NodeName> = all.into_iter().filter(|n| **n != gone).collect();
        prop_assert_eq!(rest, expected, "the order of the others stays");
    }
}
