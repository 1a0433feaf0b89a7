//! One step of the agent: compare the plan with what is really there, apply, and say what to announce.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use lb_core::burst::{Asked, Bursts, Gateways, direct, order};
use lb_core::ids::LinkId;
use lb_core::plan::{Changes, EntryState, Handovers, Plan, Silence, Target, diff};

use crate::dataplane::{Attachment, Audit, Dataplane, DataplaneError, LinkFacts, links_of};

#[cfg(test)]
mod tests;

/// The two clocks of a step.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// `CLOCK_BOOTTIME`, nanoseconds: deadlines and slots.
    pub boot_ns: u64,
    /// Since any fixed origin: the schedule of announcements.
    pub monotonic: Duration,
}

/// Whether frames leave a link, and how often that has changed: a carrier that went and came back between two looks
/// has changed the count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carrier {
    /// Frames leave it now.
    pub up: bool,
    /// Changes since the interface exists.
    pub changes: u32,
}

/// What a step is to reach.
#[derive(Clone, Debug, Default)]
pub struct Planned {
    /// The plan.
    pub plan: Arc<Plan>,
    /// Every link of the node.
    pub carriers: BTreeMap<LinkId, Carrier>,
    /// How often all that is owned on a link had to be announced anew, by the links of which that is known.
    pub renewals: BTreeMap<LinkId, u64>,
    /// Who sends the packets of others.
    pub gateways: Gateways,
    /// Every link that the plan may name.
    pub facts: BTreeMap<LinkId, LinkFacts>,
    /// Links to attach to although nothing may be planned for them.
    pub tried: BTreeSet<LinkId>,
    /// The plan follows an edit of the objects: whoever owns an address now may not know it yet.
    pub edited: bool,
}

/// What a step did.
#[derive(Clone, Debug, Default)]
pub struct Reconciled {
    /// What had to change.
    pub changes: Changes,
    /// What became of each link.
    pub attachments: BTreeMap<LinkId, Attachment>,
    /// Targets that should be answered and are not, with the reason.
    pub unanswered: BTreeMap<Target, Silence>,
    /// What is to be told directly to who asked for it.
    pub direct: Vec<(Target, Asked)>,
}

/// The state between steps: very little, because what is there is read back.
pub struct Reconciler<D> {
    dataplane: D,
    bursts: Bursts,
    handovers: Handovers,
    carriers: BTreeMap<LinkId, Carrier>,
    /// What of [`Planned::renewals`] was done.
    renewed: BTreeMap<LinkId, u64>,
    /// Links a program runs on since the last step; `None` before the first.
    attached: Option<BTreeSet<LinkId>>,
    repairs: u64,
}

impl<D: Dataplane> Reconciler<D> {
    /// Announces at this rate at most, frames a second; again at the interval, if there is one.
    pub fn new(dataplane: D, announce_rate: NonZeroU32, announce_interval: Option<Duration>) -> Self {
        Self {
            dataplane,
            bursts: Bursts::new(announce_rate).every(announce_interval),
            handovers: Handovers::default(),
            carriers: BTreeMap::new(),
            renewed: BTreeMap::new(),
            attached: None,
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

    /// What is answered although another node owns it by now, until that one answers.
    pub fn handovers(&mut self) -> &mut Handovers {
        &mut self.handovers
    }

    /// How often the map held something else than was written.
    pub fn repairs(&self) -> u64 {
        self.repairs
    }

    /// Looks at the next part of the table; counts when it does not hold what the last step left.
    pub fn audit(&mut self) -> Result<Audit, DataplaneError> {
        let audit = self.dataplane.audit()?;
        self.repairs += u64::from(audit == Audit::Changed);
        Ok(audit)
    }

    /// Makes the data plane hold what is planned.
    ///
    /// An error leaves the table partly changed; the caller must not move the deadline before a later step has gone
    /// well.
    pub fn step(&mut self, planned: &Planned, clock: Clock) -> Result<Reconciled, DataplaneError> {
        let plan = &planned.plan;
        let silent = self.dataplane.valid_until()? <= clock.boot_ns;
        let mut changes = diff(&plan.desired, &self.dataplane.actual()?);
        self.hand_over(planned, &mut changes, silent, clock.monotonic);
        let left_out = self.dataplane.apply(&changes, clock.boot_ns)?;
        let used = &links_of(&plan.desired) | &self.handovers.links();
        let wanted = |link: &LinkId| used.contains(link) || planned.tried.contains(link);
        let wanted = planned.facts.iter().filter(|(link, _)| wanted(link));
        let attachments = self.dataplane.attach(&wanted.map(|(id, link)| (*id, link.clone())).collect());
        let unanswered = unanswered(plan, &left_out, &attachments);
        let direct = self.announce(planned, &changes, &attachments, &unanswered, silent, clock.monotonic);
        Ok(Reconciled { changes, attachments, unanswered, direct })
    }

    /// After an edit, keeps what another node owns by now until that one answers it too.
    fn hand_over(&mut self, planned: &Planned, changes: &mut Changes, silent: bool, now: Duration) {
        if silent {
            self.handovers.end();
        } else if planned.edited {
            self.handovers.begin(&planned.plan, changes, now);
        }
        self.handovers.hold(changes, now);
    }

    /// Ends the bursts of what is not answered, and starts those of what newly is: what was gained, every address of
    /// a link whose carrier came up, that got its program only now or on which others may have been heard last, and all of
    /// them when the table had fallen silent.
    fn announce(
        &mut self,
        planned: &Planned,
        changes: &Changes,
        attachments: &BTreeMap<LinkId, Attachment>,
        unanswered: &BTreeMap<Target, Silence>,
        silent: bool,
        now: Duration,
    ) -> Vec<(Target, Asked)> {
        let entries = &planned.plan.desired;
        let answers = |target: &Target| {
            entries.get(target).is_some_and(|entry| entry.state == EntryState::Answer)
                && !unanswered.contains_key(target)
        };
        self.bursts.retain(answers);
        let mut fresh = self.risen(&planned.carriers);
        fresh.extend(self.newly_attached(attachments));
        fresh.extend(self.disputed(&planned.renewals));
        let everywhere = entries.keys().filter(|target| silent || fresh.contains(&target.link));
        let everywhere = everywhere.take_while(|_| silent || !fresh.is_empty());
        let gained = changes.gained.iter().chain(everywhere).copied().filter(answers).collect();
        let asked = self.asked(&gained);
        let ordered = order(gained, &asked, &planned.gateways);
        let direct = direct(&ordered, &asked);
        self.bursts.start_all(ordered, now);
        if self.bursts.repeats() {
            for target in entries.keys().copied().filter(answers) {
                self.bursts.keep(target, now);
            }
        }
        direct
    }

    /// Who asked for these. The table answers by now, so reading it keeps nobody waiting.
    fn asked(&mut self, gained: &BTreeSet<Target>) -> BTreeMap<Target, Asked> {
        if gained.is_empty() {
            return BTreeMap::new();
        }
        self.dataplane.asked(gained).unwrap_or_else(|error| {
            tracing::debug!(%error, "can't read who asked for the addresses: announcing them in any order");
            BTreeMap::new()
        })
    }

    /// Links whose carrier came up since the last step, be it that it is gone and back.
    fn risen(&mut self, carriers: &BTreeMap<LinkId, Carrier>) -> BTreeSet<LinkId> {
        let before = std::mem::replace(&mut self.carriers, carriers.clone());
        let rose = |(link, now): &(&LinkId, &Carrier)| {
            now.up && before.get(link).is_some_and(|before| !before.up || before.changes != now.changes)
        };
        carriers.iter().filter(rose).map(|(link, _)| *link).collect()
    }

    /// Links on which all has to be announced anew that were not known to be such in the last step.
    fn disputed(&mut self, renewals: &BTreeMap<LinkId, u64>) -> BTreeSet<LinkId> {
        let before = std::mem::replace(&mut self.renewed, renewals.clone());
        let more = |(link, now): &(&LinkId, &u64)| **now > before.get(link).copied().unwrap_or(0);
        renewals.iter().filter(more).map(|(link, _)| *link).collect()
    }

    /// Links that a program runs on now and not after the step before. In the first step there are none: a program that
    /// an agent before has left went on answering.
    fn newly_attached(&mut self, attachments: &BTreeMap<LinkId, Attachment>) -> BTreeSet<LinkId> {
        let now: BTreeSet<LinkId> = attachments
            .iter()
            .filter(|(_, attachment)| attachment.mode.is_some())
            .map(|(link, _)| *link)
            .collect();
        let before = self.attached.replace(now.clone());
        before.map(|before| now.difference(&before).copied().collect()).unwrap_or_default()
    }
}

fn unanswered(
    plan: &Plan,
    left_out: &[Target],
    attachments: &BTreeMap<LinkId, Attachment>,
) -> BTreeMap<Target, Silence> {
    let owned = |target: &Target| plan.desired.get(target).is_some_and(|e| e.state == EntryState::Answer);
    let no_room = left_out.iter().filter(|target| owned(target));
    let mut unanswered: BTreeMap<Target, Silence> =
        no_room.map(|target| (*target, Silence::NoRoom { target: *target })).collect();
    let attached = |link: &LinkId| attachments.get(link).is_some_and(|attachment| attachment.mode.is_some());
    let bare: BTreeSet<LinkId> = links_of(&plan.desired).into_iter().filter(|link| !attached(link)).collect();
    if !bare.is_empty() {
        let silent = plan.desired.keys().filter(|target| bare.contains(&target.link) && owned(target));
        unanswered.extend(silent.map(|target| (*target, Silence::NotAttached { target: *target })));
    }
    unanswered
}
