//! A case, and one trial of it.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use super::System;
use super::fault::{Fault, Limits};
use super::hog::Hogs;
use super::seen::Ways;
use super::watch::Watch;
use crate::rig::Way;

/// Asked before the fault, at least.
const LEAD: Duration = Duration::from_millis(500);
/// The fault comes at any moment of this time after that: no system tells by the clock when it will be.
const PHASE_MS: u64 = 1000;
/// For what is there beside the fault to show its effects.
const BEFORE: Duration = Duration::from_secs(2);

/// What is there beside the fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Background {
    /// Nothing.
    Calm,
    /// Every node's port loses so many of a thousand frames, each way.
    Loss(u32),
    /// A thread on every processor that does not stop.
    Busy,
    /// The API server is away.
    NoApi,
}

/// Something that happens, under some circumstances.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Its name in commands and records.
    pub name: &'static str,
    /// What it is, for people.
    pub what: &'static str,
    /// What is there beside the fault.
    pub background: Background,
    /// Whether the first node owns ten thousand addresses.
    pub crowded: bool,
    /// What happens.
    pub fault: Fault,
    /// How long others are given to answer.
    pub limit: Duration,
    /// How long is watched after that.
    pub after: Duration,
}

impl Case {
    /// One trial; the system is well before and after. None where the system has not what the case is about.
    pub fn run(&self, system: &mut dyn System) -> Result<Option<Ways>> {
        system.settle()?;
        let hogs = (self.background == Background::Busy).then(Hogs::start).transpose()?;
        if !self.begin(system)? {
            return Ok(None);
        }
        let seen =
            self.watched(system).with_context(|| format!("{}: {}\n{}", self.name, self.what, system.logs()));
        drop(hogs);
        self.end(system)?;
        let seen = seen?;
        system.settle()?;
        Ok(Some(seen))
    }

    fn watched(&self, system: &mut dyn System) -> Result<Ways> {
        if self.background != Background::Calm {
            thread::sleep(BEFORE);
        }
        let watch = Watch::start(system)?;
        thread::sleep(LEAD + Duration::from_millis(random() % PHASE_MS));
        let limits = Limits { moved: self.limit, after: self.after };
        let mark = self.fault.happen(system, &watch, limits);
        let seen = mark.and_then(|mark| {
            let seen = watch.stop(&mark)?;
            if self.crowded {
                (system as &dyn System).has_left(&mark.before)?;
            }
            Ok(seen)
        });
        self.fault.undo(system)?;
        seen
    }

    fn begin(&self, system: &mut dyn System) -> Result<bool> {
        match self.background {
            Background::Calm | Background::Busy => Ok(true),
            Background::Loss(per_mille) => lose(system, per_mille).map(|()| true),
            Background::NoApi => system.set_api(false),
        }
    }

    fn end(&self, system: &mut dyn System) -> Result<()> {
        match self.background {
            Background::Calm | Background::Busy => Ok(()),
            Background::Loss(_) => lose(system, 0),
            Background::NoApi => system.set_api(true).map(drop),
        }
    }
}

/// Lets every node's port lose so many of a thousand frames, each way.
pub(crate) fn lose(system: &mut dyn System, per_mille: u32) -> Result<()> {
    (0..system.cables().len()).try_for_each(|node| system.port(node)?.lose(Way::Both, per_mille))
}

/// Another number each time.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}
