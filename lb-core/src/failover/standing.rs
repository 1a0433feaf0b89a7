//! What the engines of all links say, as the plan reads it.

use std::collections::BTreeMap;

use super::Place;
use crate::ids::{LinkId, NodeName};

/// Who can own addresses, by the links of this node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Standing {
    /// The links on which there is an engine.
    pub links: BTreeMap<LinkId, LinkStanding>,
}

/// The same on one link.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LinkStanding {
    /// This node; `None`: it must not own anything.
    pub own: Option<Place>,
    /// The others; `None`: they can't. Those that are not here are not probed on the link: their Leases decide.
    pub peers: BTreeMap<NodeName, Option<Place>>,
}

impl Standing {
    /// The place of this node for what is announced on these links.
    pub fn own(&self, links: impl IntoIterator<Item = LinkId>) -> Option<Place> {
        best(self.on(links).map(|link| link.own))
    }

    /// The place of another node for what is announced on these links.
    pub fn peer(&self, node: &NodeName, links: impl IntoIterator<Item = LinkId>) -> Option<Place> {
        best(self.on(links).filter_map(|link| link.peers.get(node).copied()))
    }

    fn on(&self, links: impl IntoIterator<Item = LinkId>) -> impl Iterator<Item = &LinkStanding> {
        links.into_iter().filter_map(|link| self.links.get(&link))
    }
}

/// A node that can on one of the links can; one of which nothing is known can too.
fn best(places: impl Iterator<Item = Option<Place>>) -> Option<Place> {
    let by_need = |place: &Option<Place>| place.map_or(u64::MAX, |place| u64::from(place.epoch()));
    places.min_by_key(by_need).unwrap_or_else(|| Some(Place::default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_can_where_one_of_its_links_can() {
        let node = NodeName::new("node-b").unwrap();
        let link = |own, peer| LinkStanding { own, peers: BTreeMap::from([(node.clone(), peer)]) };
        let (first, second) = (Some(Place::of_epoch(0)), Some(Place::of_epoch(1)));
        let standing = Standing {
            links: BTreeMap::from([(LinkId(1), link(None, second)), (LinkId(2), link(second, first))]),
        };
        assert_eq!(standing.own([LinkId(1)]), None);
        assert_eq!(standing.own([LinkId(1), LinkId(2)]), second);
        assert_eq!(standing.peer(&node, [LinkId(1), LinkId(2)]), first);
        assert_eq!(standing.own([LinkId(3)]), Some(Place::default()), "nobody is probed there");
        assert_eq!(standing.peer(&NodeName::new("node-c").unwrap(), [LinkId(1)]), Some(Place::default()));
    }
}
