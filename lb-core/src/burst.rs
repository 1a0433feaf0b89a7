//! When to tell the network that an address is here.
//!
//! A gained IPv4 address is announced at 0, 0.1, 0.3, 1.1, 2.2 and 5 s, each time in request form (RFC 5227
//! §2.3) and in reply form; the rounds after one second are for Linux, which ignores a second change within
//! `locktime` (1 s). A gained IPv6 address is announced by unsolicited neighbour advertisements at 0, 1.1 and
//! 2.2 s (RFC 4861 §7.2.6: at most three, a second apart). Frames are paced to a configured rate; a round that
//! the pacing delays shifts the following ones, so that their distances stay.
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

#[cfg(test)]
mod tests;

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
}

#[derive(Debug, Clone, Copy)]
struct Running {
    /// When the first round went out, later by every delay since.
    start: Duration,
    /// Next frame, counted over all rounds and forms.
    step: u8,
}

/// The running bursts.
#[derive(Debug, Clone)]
pub struct Bursts {
    running: BTreeMap<Target, Running>,
    /// When each running burst is due; one entry per burst.
    queue: BTreeSet<(Duration, Target)>,
    pacer: Pacer,
}

impl Bursts {
    /// No burst runs; at most this many frames a second will go out.
    pub fn new(rate_per_second: NonZeroU32) -> Self {
        Self { running: BTreeMap::new(), queue: BTreeSet::new(), pacer: Pacer::new(rate_per_second) }
    }

    /// Starts a burst, or starts it over: a gained address, a link that came up, a MAC that changed.
    pub fn start(&mut self, target: Target, now: Duration) {
        self.stop(&target);
        self.running.insert(target, Running { start: now, step: 0 });
        self.queue.insert((now, target));
    }

    /// Ends a burst at once: nothing more is said about this target.
    pub fn stop(&mut self, target: &Target) {
        if let Some(running) = self.running.remove(target)
            && let Some(step) = step(target, running.step)
        {
            self.queue.remove(&(running.start + step.offset, *target));
        }
    }

    /// Whether a burst runs for this target.
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
        self.queue.first().map(|(due, _)| (*due).max(self.pacer.ready()))
    }

    /// At most `max` frames that are due and within the rate, oldest first.
    pub fn take_due(&mut self, now: Duration, max: usize) -> Vec<Announcement> {
        let mut frames = Vec::new();
        while frames.len() < max
            && let Some((due, target)) = self.queue.first().copied()
            && due <= now
            && self.pacer.admit(now)
        {
            self.queue.pop_first();
            let Some(running) = self.running.get_mut(&target) else { continue };
            let Some(current) = step(&target, running.step) else { continue };
            // The first form of a round sets its time; a late round shifts all that follow.
            if current.opens_round {
                running.start += now.saturating_sub(due);
            }
            running.step += 1;
            match step(&target, running.step) {
                Some(next) => {
                    self.queue.insert((running.start + next.offset, target));
                }
                None => {
                    self.running.remove(&target);
                }
            }
            frames.push(Announcement { target, round: current.round, form: current.form });
        }
        frames
    }
}

struct Step {
    round: u8,
    form: Form,
    offset: Duration,
    opens_round: bool,
}

/// The n-th frame of a burst; `None` after the last.
fn step(target: &Target, number: u8) -> Option<Step> {
    match Family::of(target.ip) {
        Family::Ipv4 => {
            let (round, first) = (number / 2, number.is_multiple_of(2));
            let offset = *IPV4_ROUNDS.get(usize::from(round))?;
            let form = if first { Form::ArpRequest } else { Form::ArpReply };
            Some(Step { round, form, offset, opens_round: first })
        }
        Family::Ipv6 => {
            let offset = *IPV6_ROUNDS.get(usize::from(number))?;
            Some(Step { round: number, form: Form::NeighbourAdvertisement, offset, opens_round: true })
        }
    }
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
