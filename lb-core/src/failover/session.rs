//! One peer on one link: is it there?

use std::time::Duration;

use super::Profile;

/// Probes in a row before a peer is down, beside those it has missed already.
const BURST: u32 = 5;
/// From one of them to the next.
const BURST_INTERVAL: Duration = Duration::from_millis(1);
/// What a reply may take at the least. A host that is busy takes a while to hand frames up.
const PATIENCE: Duration = Duration::from_millis(1);
/// Probes in a row, since a peer went down or from the beginning, after which it is not expected soon: 5 to 10 s.
const PERSISTENT: u32 = 1000;
/// From one probe to the next then. A switch that has forgotten a station sends what is for it everywhere.
const SELDOM: Duration = Duration::from_millis(50);
/// Probes that are remembered: more than can be unanswered and still matter.
const REMEMBERED: usize = 16;

/// The state that the reflector of a peer replies with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Remote {
    /// It may own addresses.
    Up,
    /// It is there, and must not own anything yet (`AdminDown`).
    AdminDown,
}

/// Whether a peer is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// It has never replied on this link, so that it does not tells nothing: its Lease decides.
    Unproven,
    /// It replies.
    Up,
    /// It does not reply; other nodes hear it.
    Relayed,
    /// It has missed probes, and is asked quickly.
    Suspect,
    /// It is not there.
    Down,
}

impl Status {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Unproven, Self::Up, Self::Relayed, Self::Suspect, Self::Down];

    /// A name that stays the same, for people and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unproven => "unproven",
            Self::Up => "up",
            Self::Relayed => "relayed",
            Self::Suspect => "suspect",
            Self::Down => "down",
        }
    }

    /// It is there, or nobody knows otherwise.
    pub fn is_up(self) -> bool {
        self != Self::Down
    }
}

/// What was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Probes sent.
    pub sent: u64,
    /// Replies to them.
    pub replies: u64,
    /// Probes that got no reply, but for those that got none because the peer was down.
    pub lost: u64,
    /// Times it was down.
    pub downs: u32,
    /// Round trip, smoothed as by RFC 6298; `None` before the first.
    pub round_trip: Option<Duration>,
    /// The shortest and the longest round trip. The longest has in it what the agent took to look.
    pub extremes: Option<(Duration, Duration)>,
}

impl Traffic {
    fn took(&mut self, time: Duration) {
        let smoothed = |before: Duration| (before * 7 + time) / 8;
        self.round_trip = Some(self.round_trip.map_or(time, smoothed));
        let (least, most) = self.extremes.unwrap_or((time, time));
        self.extremes = Some((least.min(time), most.max(time)));
    }
}

#[derive(Debug, Clone, Copy)]
struct Sent {
    nonce: u32,
    at: Duration,
}

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Session {
    status: Status,
    remote: Remote,
    next: Duration,
    /// Probes and questions without an answer yet, the oldest first.
    unanswered: Vec<Sent>,
    questions: Vec<Sent>,
    /// Regular probes since the last sign of life.
    missed: u32,
    burst: u32,
    last_sent: Duration,
    /// Probes since the session began.
    probed: u32,
    /// When the last probe was sent to a peer that was down: what was sent until then counts as no loss.
    excused: Option<Duration>,
    /// Probes since the last sign of life, or since the session began.
    vain: u32,
    traffic: Traffic,
}

/// What a session wants sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Wants {
    /// A probe.
    pub(super) probe: bool,
    /// To ask others for the peer.
    pub(super) ask: bool,
}

impl Session {
    /// With a peer that has replied before, or not.
    pub(super) fn new(proven: bool, now: Duration) -> Self {
        Self {
            status: if proven { Status::Up } else { Status::Unproven },
            remote: Remote::Up,
            next: now,
            unanswered: Vec::new(),
            questions: Vec::new(),
            missed: 0,
            burst: 0,
            last_sent: now,
            probed: 0,
            excused: None,
            vain: 0,
            traffic: Traffic::default(),
        }
    }

    pub(super) fn status(&self) -> Status {
        self.status
    }

    pub(super) fn remote(&self) -> Remote {
        self.remote
    }

    pub(super) fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// Whether it is known by now if the peer is there.
    pub(super) fn is_settled(&self, profile: &Profile) -> bool {
        let heard = self.traffic.replies > 0;
        match self.status {
            Status::Down | Status::Relayed => true,
            Status::Up => heard,
            Status::Suspect => false,
            Status::Unproven => self.probed > profile.multiplier + BURST,
        }
    }

    /// When [`Session::poll`] has something to do next.
    pub(super) fn due(&self, profile: &Profile) -> Duration {
        match self.status {
            Status::Suspect if self.burst >= BURST => self.last_sent + self.patience(profile),
            Status::Up | Status::Relayed if self.is_missing(profile) => {
                self.next.min(self.last_sent + profile.interval / 3)
            }
            Status::Up | Status::Relayed | Status::Suspect | Status::Down | Status::Unproven => self.next,
        }
    }

    /// It has missed all probes but the last that the multiplier allows it.
    fn is_missing(&self, profile: &Profile) -> bool {
        self.missed + 1 >= profile.multiplier
    }

    /// From one probe to the next, as the session is now.
    pub(super) fn interval(&self, profile: &Profile) -> Duration {
        let interval = match self.status {
            Status::Suspect => BURST_INTERVAL,
            // Twice as often as else, so that two owners hear each other within two intervals also where a probe is lost.
            Status::Down => profile.interval / 2,
            Status::Up | Status::Relayed | Status::Unproven => profile.interval,
        };
        if self.is_given_up() { interval.max(SELDOM) } else { interval }
    }

    /// It is not there, or has never replied, for so long that it is probed seldom.
    pub(super) fn is_given_up(&self) -> bool {
        matches!(self.status, Status::Down | Status::Unproven) && self.vain > PERSISTENT
    }

    /// How long a reply may take. One that has waited for an agent that was away seems to have taken long, and says nothing.
    fn patience(&self, profile: &Profile) -> Duration {
        let usual = self.traffic.round_trip.unwrap_or_default() * 3;
        PATIENCE.max(usual.min(profile.interval / 2))
    }

    /// Judges and says what is to be sent. Only probes that were really sent count, never time that has passed: an agent
    /// that was not scheduled for a while has lost nothing.
    pub(super) fn poll(&mut self, profile: &Profile, now: Duration) -> Wants {
        let watched = matches!(self.status, Status::Up | Status::Relayed);
        if watched && self.is_missing(profile) && now >= self.last_sent + profile.interval / 3 {
            self.status = Status::Suspect;
            (self.burst, self.next) = (0, now);
        }
        if self.status == Status::Suspect && self.burst >= BURST {
            if now < self.last_sent + self.patience(profile) {
                return Wants::default();
            }
            self.status = Status::Down;
            self.traffic.downs += 1;
            self.next = self.next.max(self.last_sent + profile.interval);
        }
        if now < self.next {
            return Wants::default();
        }
        let ask = match self.status {
            Status::Suspect => {
                self.burst += 1;
                self.burst % 2 == 1
            }
            // A cut may end anywhere: others are asked all the while, if seldom.
            Status::Down => self.probed.is_multiple_of(16),
            Status::Relayed => true,
            Status::Up | Status::Unproven => false,
        };
        let interval = self.interval(profile);
        self.missed += 1;
        self.last_sent = now;
        // The rhythm is kept, unless it was missed.
        self.next = if now >= self.next + interval { now + interval } else { self.next + interval };
        Wants { probe: true, ask }
    }

    /// A probe with this nonce was sent.
    pub(super) fn sent(&mut self, nonce: u32, now: Duration) {
        self.probed = self.probed.saturating_add(1);
        self.vain = self.vain.saturating_add(1);
        self.traffic.sent += 1;
        let forgotten = remember(&mut self.unanswered, nonce, now);
        self.count_lost(forgotten);
    }

    fn count_lost(&mut self, probes: impl IntoIterator<Item = Sent>) {
        let counts = |sent: &Sent| self.excused.is_none_or(|until| sent.at > until);
        if self.status != Status::Down {
            self.traffic.lost += probes.into_iter().filter(counts).map(|_| 1).sum::<u64>();
        }
    }

    /// It was not sent after all.
    pub(super) fn unsent(&mut self, nonce: u32) {
        if let Some(at) = self.unanswered.iter().rposition(|sent| sent.nonce == nonce) {
            self.unanswered.remove(at);
            self.missed = self.missed.saturating_sub(1);
            self.burst = self.burst.saturating_sub(1);
            self.traffic.sent = self.traffic.sent.saturating_sub(1);
        }
    }

    /// Others were asked for the peer with this nonce.
    pub(super) fn asked(&mut self, nonce: u32, now: Duration) {
        let _forgotten = remember(&mut self.questions, nonce, now);
    }

    /// A reply; `None` when it answers no probe.
    pub(super) fn reply(&mut self, nonce: u32, remote: Remote, now: Duration) -> Option<Heard> {
        let at = self.unanswered.iter().position(|sent| sent.nonce == nonce)?;
        let mut until: Vec<Sent> = self.unanswered.drain(..=at).collect();
        let sent = until.pop()?;
        self.count_lost(until);
        self.traffic.replies += 1;
        self.traffic.took(now.saturating_sub(sent.at));
        Some(self.alive(Status::Up, remote))
    }

    /// Another node hears it; `None` when that was not asked, or is no news.
    pub(super) fn vouched(&mut self, nonce: u32, remote: Remote) -> Option<Heard> {
        let at = self.questions.iter().position(|sent| sent.nonce == nonce)?;
        self.questions.drain(..=at);
        // Who replies needs no relay.
        if matches!(self.status, Status::Up | Status::Unproven) {
            return None;
        }
        Some(self.alive(Status::Relayed, remote))
    }

    /// It has said that it hears this node; `None` when that is no news.
    pub(super) fn told(&mut self, remote: Remote) -> Option<Heard> {
        (self.status == Status::Down).then(|| self.alive(Status::Up, remote))
    }

    fn alive(&mut self, status: Status, remote: Remote) -> Heard {
        let before = (self.status, self.remote);
        (self.status, self.remote) = (status, remote);
        if before.0 == Status::Down {
            self.excused = Some(self.last_sent);
        }
        // A reply may be on its way still.
        self.missed = u32::from(status == Status::Up && !self.unanswered.is_empty());
        (self.burst, self.vain) = (0, 0);
        Heard {
            was_down: before.0 == Status::Down,
            is_news: before != (status, remote),
            is_direct_again: before.0 == Status::Relayed && status == Status::Up,
            is_first: before.0 == Status::Unproven,
        }
    }
}

/// What a sign of life has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Heard {
    /// The peer was down.
    pub(super) was_down: bool,
    /// Something is other than before.
    pub(super) is_news: bool,
    /// It is heard without the help of others.
    pub(super) is_direct_again: bool,
    /// Never before.
    pub(super) is_first: bool,
}

/// The oldest, if it was forgotten for it.
fn remember(list: &mut Vec<Sent>, nonce: u32, at: Duration) -> Option<Sent> {
    let oldest = (list.len() >= REMEMBERED).then(|| list.remove(0));
    list.push(Sent { nonce, at });
    oldest
}

#[cfg(test)]
mod tests;
