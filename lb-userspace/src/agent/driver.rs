//! Drivers that lose what XDP sends: they count transmit errors, and the link is left for the next mode.

use std::collections::{BTreeMap, BTreeSet};

use lb_core::ids::LinkId;

use crate::dataplane::{Attachment, Mode};
use crate::net::ethtool;

/// Loss counters of links in native mode.
#[derive(Debug, Default)]
pub(super) struct Drivers {
    /// What each counted when it was first looked at in native mode; what was lost before is not our loss.
    before: BTreeMap<LinkId, u64>,
    losing: BTreeSet<LinkId>,
}

impl Drivers {
    /// Links that lost what was sent.
    pub(super) fn losing(&self) -> &BTreeSet<LinkId> {
        &self.losing
    }

    /// Takes note of what is counted now; returns links that have begun to lose.
    pub(super) fn note(&mut self, counted: &BTreeMap<LinkId, u64>) -> Vec<LinkId> {
        self.before.retain(|link, _| counted.contains_key(link));
        let more = |(link, now): (&LinkId, &u64)| {
            let before = *self.before.entry(*link).or_insert(*now);
            // A counter that went back was set to zero with its device.
            self.before.insert(*link, before.min(*now));
            (*now > before && self.losing.insert(*link)).then_some(*link)
        };
        counted.iter().filter_map(more).collect()
    }
}

/// Names of the links in native mode.
pub(super) fn native(attachments: &BTreeMap<LinkId, Attachment>) -> BTreeMap<LinkId, String> {
    let native = attachments.iter().filter(|(_, attachment)| attachment.mode == Some(Mode::Native));
    native.map(|(link, attachment)| (*link, attachment.name.clone())).collect()
}

/// What the drivers of these links say they lost. Drivers without such a counter are left out.
pub(super) fn count(links: &BTreeMap<LinkId, String>) -> BTreeMap<LinkId, u64> {
    let lost = |name: &String| {
        let stats = ethtool::stats(name).ok()?;
        let losses: Vec<u64> =
            stats.iter().filter(|(name, _)| is_loss(name)).map(|(_, value)| *value).collect();
        (!losses.is_empty()).then(|| losses.into_iter().fold(0, u64::saturating_add))
    };
    links.iter().filter_map(|(link, name)| Some((*link, lost(name)?))).collect()
}

/// Any statistic that names XDP, transmit and an error. Drivers name them as they like (`rx_queue_0_xdp_tx_errors`,
/// `xdp_tx_err`, `tx_xdp_drops`).
fn is_loss(statistic: &str) -> bool {
    let name = statistic.to_ascii_lowercase();
    name.contains("xdp")
        && name.contains("tx")
        && !name.contains("xmit")
        && (name.contains("err") || name.contains("drop"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_loss() {
        for (name, expected) in [
            ("rx_queue_0_xdp_tx_errors", true),
            ("rx_xdp_tx_err", true),
            ("tx_xdp_drops", true),
            ("rx_queue_0_xdp_tx", false),
            ("rx_queue_0_xdp_drops", false),
            ("tx_queue_0_xdp_xmit_errors", false),
            ("tx_errors", false),
        ] {
            assert_eq!(is_loss(name), expected, "{name}");
        }
    }

    #[test]
    fn only_what_is_lost_from_now_on_counts() {
        let (a, b) = (LinkId(1), LinkId(2));
        let mut drivers = Drivers::default();
        assert_eq!(drivers.note(&BTreeMap::from([(a, 7), (b, 0)])), [], "lost before we came");
        assert_eq!(drivers.note(&BTreeMap::from([(a, 7), (b, 0)])), []);
        assert_eq!(drivers.note(&BTreeMap::from([(a, 8), (b, 0)])), [a]);
        assert_eq!(drivers.note(&BTreeMap::from([(a, 9), (b, 0)])), [], "told once");
        assert_eq!(drivers.losing(), &BTreeSet::from([a]));
        assert_eq!(drivers.note(&BTreeMap::from([(b, 3)])), [b]);
        let mut reset = Drivers::default();
        assert_eq!(reset.note(&BTreeMap::from([(a, 7)])), []);
        assert_eq!(reset.note(&BTreeMap::from([(a, 0)])), [], "the device was reset");
        assert_eq!(reset.note(&BTreeMap::from([(a, 1)])), [a]);
    }
}
