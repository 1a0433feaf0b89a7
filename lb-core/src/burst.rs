//! When to tell the network that an address is here.
//!
//! A gained IPv4 address is announced at 0, 0.1, 0.3, 1.1, 2.2 and 5 s, each time in request form (RFC 5227
//! §2.3) and in reply form; the rounds after one second are for Linux, which ignores a second change within
//! `locktime` (1 s). A gained IPv6 address is announced by unsolicited neighbour advertisements at 0, 1.1 and
//! 2.2 s (RFC 4861 §7.2.6: at most three, a second apart). Frames are paced to a configured rate; a round that
//! the pacing delays shifts the following ones, so that their distances stay.
//!
//! With an interval ([`Bursts::every`]) a target is announced again, in all its forms, each time it has passed since
//! the last round, for as long as the target is kept. These rounds keep to their times: one that is late does not
//! move those after it.
//!
//! Time is a [`Duration`] since any fixed origin. [`Bursts::next_deadline`] says when to call
//! [`Bursts::take_due`]. Every operation is O(log n) in the number of running bursts, per frame where it yields
//! frames; finished bursts use no memory.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
    time::Duration,
};

use crate::{plan::Target, pool::Family};

mod order;
#[cfg(test)]
mod tests;

pub use order::{Asked, DIRECT, Gateways, direct, order};

/// Frames per second where nothing else is configured.
pub const DEFAULT_RATE: NonZeroU32 = match NonZeroU32::new(10_000) {
    Some(rate) => rate,
    None => NonZeroU32::MIN,
};

const IPV4_ROUNDS: [Duration; 6] = [
    Duration::ZERO,
    Duration::from_millis(100),
    Duration::from_millis(300),
    Duration::from_millis(1100),
    Duration::from_millis(2200),
    Duration::from_secs(5),
];
const IPV6_ROUNDS: [Duration; 3] = [Duration::ZERO, Duration::from_millis(1100), Duration::from_millis(2200)];

/// Frames may run ahead of the rate by what it yields in this time, so that a timer of millisecond precision
/// reaches the rate.
const SLACK: Duration = Duration::from_millis(10);

/// How often frames of one burst are put back before they are given up: with a tenth of a second between, longer than
/// any queue of a NIC that sends at all stays full.
pub const MOST_REFUSALS: u16 = 50;

/// Form of an announcement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Form {
    /// ARP request: sender = target = the address, target MAC zero.
    ArpRequest,
    /// ARP reply: sender = target = the address, target MAC = our own.
    ArpReply,
    /// Neighbour advertisement to `ff02::1` with the override flag and a target link-layer option.
    NeighbourAdvertisement,
}

/// One frame to send now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Announcement {
    /// What is announced, and where.
    pub target: Target,
    /// Number of the round, from 0.
    pub round: u8,
    /// Form of the frame.
    pub form: Form,
    /// How often frames of this burst were put back.
    pub refusals: u16,
}

#[derive(Debug, Clone, Copy)]
struct Running {
    /// When the first round went out, later by every delay since; after the burst, when the last round was due.
    start: Duration,
    /// Next frame, counted over all rounds and forms; beyond the burst, those of the next repetition.
    step: u8,
    /// How often a frame was put back.
    refused: u16,
    /// Of those that are due at the same time the lowest goes first.
    rank: usize,
}

/// The running bursts.
#[derive(Debug, Clone)]
pub struct Bursts {
    running: BTreeMap<Target, Running>,
    /// When each running burst is due; one entry per burst.
    queue: BTreeSet<(Duration, usize, Target)>,
    pacer: Pacer,
    interval: Option<Duration>,
}

impl Bursts {
    /// No burst runs; at most this many frames a second will go out.
    pub fn new(rate_per_second: NonZeroU32) -> Self {
        let pacer = Pacer::new(rate_per_second);
        Self { running: BTreeMap::new(), queue: BTreeSet::new(), pacer, interval: None }
    }

    /// Announces what is kept again at this interval after each burst. `None`, the default: never.
    #[must_use]
    pub fn every(self, interval: Option<Duration>) -> Self {
        Self { interval: interval.filter(|interval| !interval.is_zero()), ..self }
    }

    /// Whether what is kept is announced again.
    pub fn repeats(&self) -> bool {
        self.interval.is_some()
    }

    /// Starts a burst, or starts it over: a gained address, a link that came up, a MAC that changed.
    pub fn start(&mut self, target: Target, now: Duration) {
        self.start_all([target], now);
    }

    /// The same for several, in this order.
    pub fn start_all(&mut self, targets: impl IntoIterator<Item = Target>, now: Duration) {
        for (rank, target) in targets.into_iter().enumerate() {
            self.stop(&target);
            self.schedule(target, Running { start: now, step: 0, refused: 0, rank });
        }
    }

    /// Makes sure that a target is announced again at the interval, the first time one interval from now. Nothing
    /// where a burst runs or there is no interval.
    pub fn keep(&mut self, target: Target, now: Duration) {
        if self.interval.is_some() && !self.is_running(&target) {
            self.schedule(target, Running { start: now, step: frames(&target), refused: 0, rank: 0 });
        }
    }

    /// Ends a burst at once: nothing more is said about this target.
    pub fn stop(&mut self, target: &Target) {
        if let Some(running) = self.running.remove(target)
            && let Some(step) = self.step(target, running.step)
        {
            self.queue.remove(&(running.start + step.offset, running.rank, *target));
        }
    }

    /// Ends the bursts of all targets but those that still hold.
    pub fn retain(&mut self, holds: impl Fn(&Target) -> bool) {
        let lost: Vec<Target> = self.running.keys().filter(|target| !holds(target)).copied().collect();
        for target in &lost {
            self.stop(target);
        }
    }

    /// Whether a burst runs for this target, or it is kept for the next interval.
    pub fn is_running(&self, target: &Target) -> bool {
        self.running.contains_key(target)
    }

    /// Number of running bursts.
    pub fn len(&self) -> usize {
        self.running.len()
    }

    /// Whether no burst runs.
    pub fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// When the next frame may go out; `None` while no burst runs.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.queue.first().map(|(due, ..)| (*due).max(self.pacer.ready()))
    }

    /// At most `max` frames that are due and within the rate, oldest first.
    pub fn take_due(&mut self, now: Duration, max: usize) -> Vec<Announcement> {
        let mut frames = Vec::new();
        while frames.len() < max
            && let Some((due, _, target)) = self.queue.first().copied()
            && due <= now
            && self.pacer.admit(now)
        {
            self.queue.pop_first();
            let Some(running) = self.running.remove(&target) else { continue };
            let Some(current) = self.step(&target, running.step) else { continue };
            let refusals = running.refused;
            frames.push(Announcement { target, round: current.round, form: current.form, refusals });
            self.advance(target, running, &current, due, now);
        }
        frames
    }

    /// Says a frame again that the kernel did not take, and what follows it: not before `at`. After
    /// [`MOST_REFUSALS`] the target's frame is given up, and the burst goes on as if it had been sent.
    pub fn put_back(&mut self, refused: &Announcement, at: Duration) {
        let before = self.running.get(&refused.target).copied();
        // The burst was ended meanwhile, or begun anew; a burst whose last frame was taken is there no more.
        let number = number(refused);
        if before.is_some_and(|running| running.step <= number) || refused.refusals >= MOST_REFUSALS {
            return;
        }
        let Some(step) = self.step(&refused.target, number) else { return };
        self.stop(&refused.target);
        let start = at.saturating_sub(step.offset);
        let rank = before.map_or(0, |running| running.rank);
        let running = Running { start, step: number, refused: refused.refusals + 1, rank };
        self.schedule(refused.target, running);
    }

    /// Goes on behind a frame that was just taken.
    fn advance(&mut self, target: Target, mut running: Running, taken: &Step, due: Duration, now: Duration) {
        // The first form of a round sets its time; a late round shifts all that follow.
        if taken.opens_round && !taken.repeats {
            running.start += now.saturating_sub(due);
        }
        running.step += 1;
        let (burst, repetition) = (frames(&target), frames(&target) + forms(&target));
        let ends = running.step == burst || running.step == repetition;
        if let (true, Some(interval)) = (ends, self.interval) {
            running.step = burst;
            running.start += taken.offset;
            // Rounds that were missed altogether, by a machine that slept, are not made up for.
            while running.start + interval <= now {
                running.start += interval;
            }
        }
        self.schedule(target, running);
    }

    fn schedule(&mut self, target: Target, running: Running) {
        if let Some(step) = self.step(&target, running.step) {
            self.queue.insert((running.start + step.offset, running.rank, target));
            self.running.insert(target, running);
        }
    }

    /// The n-th frame of a burst and of the repetition after it; `None` after the last.
    fn step(&self, target: &Target, number: u8) -> Option<Step> {
        let burst = frames(target);
        match (number.checked_sub(burst), self.interval) {
            (None, _) => step(target, number),
            (Some(form), Some(interval)) if form < forms(target) => {
                let step = step(target, form)?;
                Some(Step { round: round(target, burst), offset: interval, repeats: true, ..step })
            }
            (Some(_), _) => None,
        }
    }
}

struct Step {
    round: u8,
    form: Form,
    offset: Duration,
    opens_round: bool,
    repeats: bool,
}

/// Forms in which a target is announced in one round.
fn forms(target: &Target) -> u8 {
    match Family::of(target.ip) {
        Family::Ipv4 => 2,
        Family::Ipv6 => 1,
    }
}

/// Frames of one burst.
fn frames(target: &Target) -> u8 {
    let rounds = match Family::of(target.ip) {
        Family::Ipv4 => IPV4_ROUNDS.len(),
        Family::Ipv6 => IPV6_ROUNDS.len(),
    };
    forms(target) * rounds as u8
}

fn round(target: &Target, number: u8) -> u8 {
    number / forms(target)
}

/// The inverse of [`Bursts::step`].
fn number(announcement: &Announcement) -> u8 {
    let form = match announcement.form {
        Form::ArpRequest | Form::NeighbourAdvertisement => 0,
        Form::ArpReply => 1,
    };
    announcement.round * forms(&announcement.target) + form
}

/// The n-th frame of a burst; `None` after the last.
fn step(target: &Target, number: u8) -> Option<Step> {
    let (round, first) = (round(target, number), number.is_multiple_of(forms(target)));
    let (rounds, form): (&[Duration], Form) = match Family::of(target.ip) {
        Family::Ipv4 => (&IPV4_ROUNDS, if first { Form::ArpRequest } else { Form::ArpReply }),
        Family::Ipv6 => (&IPV6_ROUNDS, Form::NeighbourAdvertisement),
    };
    let offset = *rounds.get(usize::from(round))?;
    Some(Step { round, form, offset, opens_round: first, repeats: false })
}

/// Token bucket in the form of a single time (the generic cell rate algorithm, ITU-T I.371): `due` is when the
/// bucket would be full of tokens again.
#[derive(Debug, Clone, Copy)]
struct Pacer {
    cost: Duration,
    due: Duration,
}

impl Pacer {
    fn new(rate_per_second: NonZeroU32) -> Self {
        let cost = 1_000_000_000_u64.div_ceil(rate_per_second.get().into());
        Self { cost: Duration::from_nanos(cost), due: Duration::ZERO }
    }

    /// Earliest time at which a frame is admitted.
    fn ready(&self) -> Duration {
        self.due.saturating_sub(SLACK)
    }

    fn admit(&mut self, now: Duration) -> bool {
        let admitted = self.ready() <= now;
        if admitted {
            self.due = self.due.max(now) + self.cost;
        }
        admitted
    }
}
