use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;
use crate::election::order;

fn node(number: usize) -> NodeName {
    NodeName::new(format!("node-{number}")).unwrap()
}

fn names(count: usize) -> Vec<NodeName> {
    (0..count).map(node).collect()
}

fn ip(number: u8, v6: bool) -> IpAddr {
    if v6 { Ipv6Addr::from(u128::from(number)).into() } else { Ipv4Addr::from(u32::from(number)).into() }
}

/// Owner and rank of `me` by the orders, for candidates with scores.
fn elected(
    orders: &mut Orders,
    key: IpAddr,
    candidates: &[(NodeName, u32)],
    me: &NodeName,
) -> Option<(NodeName, Option<usize>)> {
    let mut field = Field::default();
    for (node, score) in candidates {
        field.enter(orders.number(node).unwrap(), Standpoint::new(Some(Place::default()), *score));
    }
    assert_eq!(field.len(), candidates.len());
    let standing = orders.elect(key, &field, orders.number(me))?;
    Some((orders.name(standing.owner).unwrap().clone(), standing.rank))
}

/// The same, worked out anew.
fn expected(key: IpAddr, candidates: &[(NodeName, u32)], me: &NodeName) -> Option<(NodeName, Option<usize>)> {
    let order = order(candidates.iter().map(|(node, score)| (node, *score)), &RankKey::new(key));
    Some(((*order.first()?).clone(), order.iter().position(|node| *node == me)))
}

#[test]
fn a_node_that_comes_later_gets_its_place() {
    for key in [ip(1, false), ip(1, true)] {
        let mut orders = Orders::default();
        for count in 1..=12 {
            let all = names(count);
            orders.begin(all.iter());
            let candidates: Vec<_> = all.iter().map(|node| (node.clone(), 0)).collect();
            for me in &all {
                assert_eq!(
                    elected(&mut orders, key, &candidates, me),
                    expected(key, &candidates, me),
                    "{me} of {count}"
                );
            }
            orders.end();
        }
    }
}

#[test]
fn orders_of_addresses_that_are_no_more_are_forgotten() {
    let all = names(3);
    let candidates: Vec<_> = all.iter().map(|node| (node.clone(), 0)).collect();
    let mut orders = Orders::default();
    for (from, to, kept) in [(0, 200, 200), (100, 200, 100), (0, 10, 10)] {
        orders.begin(all.iter());
        for number in from..to {
            elected(&mut orders, ip(number, false), &candidates, &all[0]);
        }
        orders.end();
        assert_eq!(orders.by_address.len(), kept, "{from} to {to}");
    }
}

#[test]
fn names_of_nodes_that_are_gone_do_not_pile_up() {
    let mut orders = Orders::default();
    for first in 0..50 {
        let some: Vec<NodeName> = (first..first + 4).map(node).collect();
        orders.begin(some.iter());
        let candidates: Vec<_> = some.iter().map(|node| (node.clone(), 0)).collect();
        let key = ip(1, false);
        assert_eq!(elected(&mut orders, key, &candidates, &some[0]), expected(key, &candidates, &some[0]));
        orders.end();
        assert!(orders.names.len() <= 8, "{:?}", orders.names);
    }
    orders.begin([].into_iter());
    assert_eq!(orders.names.len(), 0);
}

proptest! {
    /// The plan elects by the same rule that the simulation of the failover holds to its properties.
    #[test]
    fn of_those_that_can_own_the_owner_is_the_one_that_the_simulation_has(
        places in prop::collection::vec(prop::option::of(prop_oneof![0_u32..3, Just(u32::MAX)]), 1..9),
        number in 0_u8..4,
        v6 in any::<bool>(),
    ) {
        let place = |epoch: u32| if epoch == u32::MAX { Place::LAST } else { Place::of_epoch(epoch) };
        let places: Vec<Option<Place>> = places.into_iter().map(|epoch| epoch.map(place)).collect();
        let (all, key) = (names(places.len()), ip(number, v6));
        let mut orders = Orders::default();
        orders.begin(all.iter());
        let mut field = Field::default();
        for (node, place) in all.iter().zip(&places) {
            field.enter(orders.number(node).unwrap(), Standpoint::new(*place, 0));
        }
        let elected = orders.elect(key, &field, None).unwrap();
        let ranked = order(all.iter().map(|node| (node, 0)), &RankKey::new(key));
        let place_of = |node: &NodeName| places[all.iter().position(|one| one == node).unwrap()];
        let first = crate::failover::first(ranked.into_iter().map(|node| (node, place_of(node))));
        prop_assert_eq!(elected.is_able.then(|| orders.name(elected.owner).unwrap()), first);
    }

    /// Whatever elections were held before, the next one comes out as if it were the first.
    #[test]
    fn what_is_remembered_changes_no_election(
        plans in prop::collection::vec(
            (
                // Which nodes there are, and for each address who is a candidate, with which score.
                prop::collection::vec(any::<bool>(), 9),
                prop::collection::vec(
                    (0_u8..4, any::<bool>(), prop::collection::vec(prop::option::of(0_u32..3), 9)),
                    0..6,
                ),
                0_usize..9,
            ),
            1..8,
        ),
    ) {
        let mut orders = Orders::default();
        for (present, elections, me) in plans {
            let nodes: Vec<NodeName> = names(9).into_iter().zip(&present).filter(|(_, is)| **is).map(|(n, _)| n).collect();
            orders.begin(nodes.iter());
            for (number, v6, scores) in elections {
                let candidates: Vec<(NodeName, u32)> = names(9)
                    .into_iter()
                    .zip(scores)
                    .filter(|(name, _)| nodes.contains(name))
                    .filter_map(|(name, score)| Some((name, score?)))
                    .collect();
                let key = ip(number, v6);
                prop_assert_eq!(
                    elected(&mut orders, key, &candidates, &node(me)),
                    expected(key, &candidates, &node(me))
                );
            }
            orders.end();
        }
    }
}
