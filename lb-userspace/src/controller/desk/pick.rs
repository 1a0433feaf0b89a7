//! Which writes can be started.

use std::{
    collections::BTreeMap,
    ops::Bound::{Excluded, Unbounded},
};

use tokio::time::Instant;

use super::{ATTEMPTS_AT_ONCE, Desk, WRITES};
use crate::controller::write::{Api, Target, Write};

/// What can be started, and why the rest can't.
pub(super) struct Picked {
    pub(super) ready: Vec<Target>,
    /// When the first of those that are held may go.
    pub(super) wake: Option<Instant>,
    /// Some wait for others.
    pub(super) barred: bool,
    /// How many may be started.
    pub(super) room: usize,
}

impl<A: Api> Desk<A> {
    /// Picks in turn, so that none is passed over for ever, and first those whose last write did not fail; the others
    /// get half of the room, because each may take long.
    pub(super) fn pick(&self, now: Instant) -> Picked {
        let most = if self.trouble.is_there() { ATTEMPTS_AT_ONCE } else { WRITES };
        let room = most.saturating_sub(self.order.flying());
        let mut picked = Picked { ready: Vec::new(), wake: None, barred: false, room };
        let mut failed = Vec::new();
        for (target, write) in self.in_turn() {
            if picked.ready.len() >= room {
                return picked;
            }
            if self.order.is_flying(target) {
                continue;
            }
            if let Some(at) = self.holds.until(target, write, now) {
                picked.wake = Some(picked.wake.map_or(at, |other| other.min(at)));
            } else if self.order.barring(target, write).next().is_some() {
                picked.barred = true;
            } else if self.holds.has_failed(target) {
                failed.push(target);
            } else {
                picked.ready.push(target.clone());
            }
        }
        let flying = self.order.targets().filter(|target| self.holds.has_failed(target)).count();
        let more = (room - picked.ready.len()).min((most / 2).saturating_sub(flying));
        picked.ready.extend(failed.into_iter().take(more).cloned());
        picked
    }

    /// Those that wait for others and for nothing else.
    pub(super) fn barred(&self, now: Instant) -> BTreeMap<Target, Write> {
        let barred = self.wanted.iter().filter(|(target, write)| {
            self.holds.until(target, write, now).is_none()
                && self.order.barring(target, write).next().is_some()
        });
        barred.map(|(target, write)| (target.clone(), write.clone())).collect()
    }

    /// What is wanted, beginning after what was started last.
    fn in_turn(&self) -> impl Iterator<Item = (&Target, &Write)> {
        let (after, before) = match &self.last {
            Some(last) => ((Excluded(last), Unbounded), Some(..=last)),
            None => ((Unbounded, Unbounded), None),
        };
        let first = self.wanted.range::<Target, _>(after);
        first.chain(before.into_iter().flat_map(|before| self.wanted.range::<Target, _>(before)))
    }
}
