//! Which write has to wait for which: an address is taken from the status of one Service before it goes into that of
//! another, so that no two that may not share it ever show it.
//!
//! A write whose answer did not come counts as carried out and as not carried out, until the API server has surely
//! dropped it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use lb_core::addresses::Addresses;
use tokio::time::Instant;

use super::super::write::{Target, Write};
use crate::k8s::write::WriteError;

/// How long an API server works on a request (`--request-timeout`).
const REQUEST: Duration = Duration::from_mins(1);

/// A write of which nobody knows whether it was carried out.
#[derive(Debug)]
struct Doubt {
    write: Write,
    until: Instant,
}

#[derive(Debug, Default)]
pub(super) struct Order {
    flying: BTreeMap<Target, Write>,
    doubts: BTreeMap<Target, Doubt>,
    /// Addresses that Services show, or may show soon, and are to lose.
    leaving: BTreeMap<IpAddr, BTreeSet<Target>>,
}

impl Order {
    pub(super) fn flying(&self) -> usize {
        self.flying.len()
    }

    pub(super) fn is_flying(&self, target: &Target) -> bool {
        self.flying.contains_key(target)
    }

    /// What is under way.
    pub(super) fn targets(&self) -> impl Iterator<Item = &Target> {
        self.flying.keys()
    }

    /// What is known of the objects now. A write for a version that is no more was carried out or can't be any more.
    pub(super) fn know<'a>(&mut self, version: impl Fn(&Target) -> Option<&'a str>) {
        self.doubts.retain(|target, doubt| version(target) == Some(doubt.write.version()));
    }

    /// When the next doubt ends.
    pub(super) fn doubt_ends(&self, now: Instant) -> Option<Instant> {
        self.doubts.values().map(|doubt| doubt.until).filter(|until| *until > now).min()
    }

    /// Whether a doubt has ended.
    pub(super) fn is_stale(&self, now: Instant) -> bool {
        self.doubts.values().any(|doubt| doubt.until <= now)
    }

    /// Works out anew what leaves.
    pub(super) fn plan(&mut self, wanted: &BTreeMap<Target, Write>, now: Instant) {
        self.doubts.retain(|target, doubt| {
            // A write for a version that is no more can't be carried out.
            let outdated = wanted.get(target).is_some_and(|write| write.version() != doubt.write.version());
            doubt.until > now && !outdated
        });
        self.leaving.clear();
        let doubted = self.doubts.iter().map(|(target, doubt)| (target, &doubt.write));
        for (target, under_way) in self.flying.iter().chain(doubted).chain(wanted) {
            for ip in shown(under_way) {
                let stays = match wanted.get(target) {
                    Some(write) => write.shows_after(ip),
                    // What is decided is what is seen, and a write is under way against it.
                    None => under_way.before().contains(&ip),
                };
                if !stays {
                    self.leaving.entry(ip).or_default().insert(target.clone());
                }
            }
        }
    }

    /// The Services that still show an address which the write gives, and that are to lose it.
    pub(super) fn barring<'a>(
        &'a self,
        target: &'a Target,
        write: &Write,
    ) -> impl Iterator<Item = &'a Target> + use<'a> {
        let gives = write.gives().into_iter().flat_map(Addresses::iter);
        let others = gives.filter_map(|ip| self.leaving.get(&ip)).flatten();
        others.filter(move |other| *other != target)
    }

    /// One of several that wait for each other in a circle: somebody has to give up what he has first. Who waits for
    /// something else as well, such as the end of a doubt, is in no such circle.
    pub(super) fn circle(&self, barred: &BTreeMap<Target, Write>) -> Option<Target> {
        let others = |(target, write): (&Target, &Write)| {
            (target.clone(), self.barring(target, write).cloned().collect::<Vec<_>>())
        };
        let mut waiting: BTreeMap<Target, Vec<Target>> = barred.iter().map(others).collect();
        loop {
            let helpless = |others: &Vec<Target>| others.iter().any(|other| !waiting.contains_key(other));
            let out: Vec<Target> = waiting
                .iter()
                .filter(|(_, others)| helpless(others))
                .map(|(target, _)| target.clone())
                .collect();
            if out.is_empty() {
                break;
            }
            waiting.retain(|target, _| !out.contains(target));
        }
        let mut at = waiting.keys().next()?;
        // Each waits for another one of these: after as many steps the way goes round.
        for _ in 0..waiting.len() {
            at = waiting.get(at)?.first()?;
        }
        Some(at.clone())
    }

    pub(super) fn start(&mut self, write: &Write) {
        self.flying.insert(write.target(), write.clone());
    }

    pub(super) fn land(&mut self, write: &Write, result: Result<(), &WriteError>, now: Instant) {
        let target = write.target();
        self.flying.remove(&target);
        match result {
            // A later version than any write in doubt was made for. What was to leave and is shown all the same is
            // to leave by the next pass.
            Ok(()) => {
                self.doubts.remove(&target);
                for (ip, others) in &mut self.leaving {
                    if !write.shows_after(*ip) {
                        others.remove(&target);
                    }
                }
                self.leaving.retain(|_, others| !others.is_empty());
            }
            Err(error @ (WriteError::Timeout | WriteError::Unreachable(_) | WriteError::Busy { .. })) => {
                // Of too many requests (429) this one was not looked at.
                let dropped = matches!(error, WriteError::Busy { code: 429, .. });
                if !dropped && matches!(target, Target::Service(_)) {
                    self.doubts.insert(target, Doubt { write: write.clone(), until: now + REQUEST });
                }
            }
            Err(
                WriteError::Conflict
                | WriteError::Gone
                | WriteError::Forbidden { .. }
                | WriteError::Invalid { .. },
            ) => {}
        }
    }
}

/// What a status may show while the write is under way.
fn shown(write: &Write) -> Vec<IpAddr> {
    let gives = write.gives().into_iter().flat_map(Addresses::iter);
    write.before().iter().copied().chain(gives).collect()
}
