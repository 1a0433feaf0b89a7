//! One step of the agent: plan, diff against what is really there, apply, and say what to announce.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::time::Duration;

use lb_core::burst::Bursts;
use lb_core::ids::LinkId;
use lb_core::plan::{Changes, EntryState, Plan, Snapshot, Target, diff, plan};

use crate::dataplane::{Attachment, Dataplane, DataplaneError, LinkFacts, links_of};

/// The two clocks of a step.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// `CLOCK_BOOTTIME`, nanoseconds: deadlines and slots.
    pub boot_ns: u64,
    /// Since any fixed origin: the schedule of announcements.
    pub monotonic: Duration,
}

/// What a step did.
#[derive(Clone, Debug, Default)]
pub struct Reconciled {
    /// The decisions.
    pub plan: Plan,
    /// What had to change.
    pub changes: Changes,
    /// Targets for which the map has no room (`--max-vips`).
    pub left_out: Vec<Target>,
    /// What became of each link.
    pub attachments: BTreeMap<LinkId, Attachment>,
}

/// The state between steps: very little, because what is there is read back.
pub struct Reconciler<D> {
    dataplane: D,
    bursts: Bursts,
    carriers: BTreeMap<LinkId, bool>,
    /// Nobody has taken a first step yet.
    first: bool,
    repairs: u64,
}

impl<D: Dataplane> Reconciler<D> {
    /// Announces at this rate at most, frames a second.
    pub fn new(dataplane: D, announce_rate: NonZeroU32) -> Self {
        Self {
            dataplane,
            bursts: Bursts::new(announce_rate),
            carriers: BTreeMap::new(),
            first: true,
            repairs: 0,
        }
    }

    /// The data plane.
    pub fn dataplane(&mut self) -> &mut D {
        &mut self.dataplane
    }

    /// Announcements under way.
    pub fn bursts(&mut self) -> &mut Bursts {
        &mut self.bursts
    }

    /// How often the map held something else than was written.
    pub fn repairs(&self) -> u64 {
        self.repairs
    }

    /// True when the map holds what the last step left; counts when it does not.
    pub fn is_untouched(&mut self) -> Result<bool, DataplaneError> {
        let untouched = self.dataplane.is_untouched()?;
        self.repairs += u64::from(!untouched);
        Ok(untouched)
    }

    /// Makes the data plane hold what the snapshot demands.
    ///
    /// `facts` has every link of the snapshot. An error leaves the table partly changed; the caller must not move
    /// the deadline before a later step has gone well.
    pub fn step(
        &mut self,
        snapshot: &Snapshot,
        facts: &BTreeMap<LinkId, LinkFacts>,
        clock: Clock,
    ) -> Result<Reconciled, DataplaneError> {
        let plan = plan(snapshot);
        let actual = self.dataplane.actual()?;
        let changes = diff(&plan.desired, &actual);
        let left_out = self.dataplane.apply(&changes, clock.boot_ns)?;
        let wanted = links_of(&plan.desired);
        let wanted =
            facts.iter().filter(|(link, _)| wanted.contains(link)).map(|(id, link)| (*id, link.clone()));
        let attachments = self.dataplane.attach(&wanted.collect());
        self.announce(snapshot, &plan, &changes, &left_out, clock)?;
        self.first = false;
        Ok(Reconciled { plan, changes, left_out, attachments })
    }

    /// Starts and stops bursts: for what was gained, for every address of a link whose carrier came up, and for all
    /// of them when nothing was answered before this agent came.
    fn announce(
        &mut self,
        snapshot: &Snapshot,
        plan: &Plan,
        changes: &Changes,
        left_out: &[Target],
        clock: Clock,
    ) -> Result<(), DataplaneError> {
        for target in &changes.lost {
            self.bursts.stop(target);
        }
        let silent_before = self.first && self.dataplane.valid_until()? <= clock.boot_ns;
        let risen = self.risen(snapshot);
        let answering = plan.desired.iter().filter(|(_, entry)| entry.state == EntryState::Answer);
        let mut gained: BTreeSet<Target> = changes.gained.iter().copied().collect();
        gained.extend(answering.map(|(t, _)| *t).filter(|t| silent_before || risen.contains(&t.link)));
        for target in gained.difference(&left_out.iter().copied().collect()) {
            self.bursts.start(*target, clock.monotonic);
        }
        Ok(())
    }

    /// Links whose carrier came up since the last step.
    fn risen(&mut self, snapshot: &Snapshot) -> BTreeSet<LinkId> {
        let now: BTreeMap<LinkId, bool> =
            snapshot.links.iter().map(|link| (link.id, link.up && link.carrier)).collect();
        let risen = now.iter().filter(|(id, up)| **up && self.carriers.get(id) == Some(&false));
        let risen = risen.map(|(id, _)| *id).collect();
        self.carriers = now;
        risen
    }
}

/// The IPv6 addresses whose solicited-node groups this node must hear, standby ones too.
pub(super) fn solicited(plan: &Plan) -> impl Iterator<Item = (u32, Ipv6Addr)> {
    plan.desired.keys().filter_map(|target| match target.ip {
        IpAddr::V6(ip) => Some((target.link.0, ip)),
        IpAddr::V4(_) => None,
    })
}
