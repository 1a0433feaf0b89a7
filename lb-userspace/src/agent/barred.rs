//! Links on which no program could be attached for a while: this node reports them as unfit, so that another one answers.
//!
//! It is tried on and on to attach to them, also when nothing is to be answered there any more; with success they are fit
//! again. So no address comes back to a link that does not answer.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use lb_core::ids::LinkId;
use lb_core::membership::LinkReport;

use crate::dataplane::Attachment;

/// What fails for shorter moves nothing.
const PATIENCE: Duration = Duration::from_secs(5);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Barred {
    failing: BTreeMap<LinkId, Failing>,
}

#[derive(Debug)]
struct Failing {
    since: Instant,
    name: String,
    told: bool,
}

impl Barred {
    /// Links that are to be attached to whatever is planned.
    pub(super) fn links(&self) -> BTreeSet<LinkId> {
        self.failing.keys().copied().collect()
    }

    /// Takes note of what became of the links.
    pub(super) fn note(&mut self, attachments: &BTreeMap<LinkId, Attachment>, now: Instant) {
        let failed =
            |link: &LinkId| attachments.get(link).is_some_and(|attachment| attachment.mode.is_none());
        self.failing.retain(|link, failing| {
            let stays = failed(link);
            if !stays && failing.told {
                tracing::info!(link = failing.name, "this link can announce again");
            }
            stays
        });
        for (link, attachment) in attachments.iter().filter(|(link, _)| failed(link)) {
            let name = attachment.name.clone();
            self.failing.entry(*link).or_insert(Failing { since: now, name, told: false });
        }
    }

    /// What is to be said of the links.
    pub(super) fn report(&mut self, report: &[LinkReport], now: Instant) -> Vec<LinkReport> {
        let barred = self.failing.values_mut().filter(|failing| now >= failing.since + PATIENCE);
        let names: BTreeSet<&str> = barred
            .map(|failing| {
                if !std::mem::replace(&mut failing.told, true) {
                    let link = &failing.name;
                    tracing::warn!(link, "no program can be attached for long: another node is to answer");
                }
                failing.name.as_str()
            })
            .collect();
        let link = |link: &LinkReport| {
            let mut link = link.clone();
            if link.fit && names.contains(link.name.as_str()) {
                let why = "no program could be attached: `barelb inspect` on the node says why";
                (link.fit, link.why) = (false, Some(why.to_owned()));
            }
            link
        };
        report.iter().map(link).collect()
    }
}

#[cfg(test)]
mod tests {
    use lb_core::ids::LinkName;

    use super::*;
    use crate::dataplane::Mode;

    fn attached(mode: Option<Mode>) -> BTreeMap<LinkId, Attachment> {
        let attachment = |name: &str, mode| Attachment { name: name.to_owned(), mode, refused: Vec::new() };
        BTreeMap::from([
            (LinkId(2), attachment("eth0", mode)),
            (LinkId(3), attachment("eth1", Some(Mode::Tcx))),
        ])
    }

    fn fit(barred: &mut Barred, now: Instant) -> Vec<bool> {
        let link = |name: &str| LinkReport {
            name: LinkName::new(name).unwrap(),
            mac: None,
            addresses: Vec::new(),
            fit: true,
            why: None,
            liveness: None,
        };
        barred.report(&[link("eth0"), link("eth1")], now).iter().map(|link| link.fit).collect()
    }

    #[test]
    fn a_link_is_unfit_while_nothing_can_be_attached_for_long() {
        let (mut barred, start) = (Barred::default(), Instant::now());
        barred.note(&attached(None), start);
        assert_eq!(fit(&mut barred, start + PATIENCE / 2), [true, true]);
        barred.note(&attached(None), start + PATIENCE / 2);
        assert_eq!(fit(&mut barred, start + PATIENCE), [false, true], "since the first failure");
        assert_eq!(barred.links(), BTreeSet::from([LinkId(2)]));
        barred.note(&attached(Some(Mode::Generic)), start + PATIENCE * 2);
        assert_eq!(fit(&mut barred, start + PATIENCE * 2), [true, true]);
        assert_eq!(barred.links(), BTreeSet::new());
        barred.note(&attached(None), start + PATIENCE * 3);
        barred.note(&BTreeMap::new(), start + PATIENCE * 4);
        assert_eq!(barred.links(), BTreeSet::new(), "a link that is gone");
    }
}
