//! What is known of another node, and what it has been told.

use std::time::Duration;

use super::message::Tell;
use super::reunion::Reunion;
use super::session::{Remote, Session, Status};
use super::view::Place;

/// Until what was told is acknowledged it is told again: so often in this rhythm, and then more seldom.
const RETRY: Duration = Duration::from_millis(2);
const RETRIES: u32 = 10;
const LONGEST_RETRY: Duration = Duration::from_millis(128);
/// How long a node that is heard again may take to say how it stands now.
const RETURN: Duration = Duration::from_millis(100);
/// A node that is down this often within this time flaps.
const FLAPS: usize = 2;
const FLAPPING: Duration = Duration::from_mins(1);

#[derive(Debug, Clone)]
pub(super) struct Peer {
    pub(super) session: Session,
    /// It comes before this node where nothing else decides.
    pub(super) senior: bool,
    told: Option<Tell>,
    /// It was known once whether it is there. Before, it owns nothing as far as this node knows.
    is_introduced: bool,
    /// Since when it is known to be on the link.
    since: Duration,
    /// It was down and is heard again: until then it has to say whether it goes on.
    returning: Option<Duration>,
    pub(super) reunion: Reunion,
    /// It was down for this node in its present life.
    was_down: bool,
    /// The least number of others that were up meanwhile.
    heard: u16,
    downs: Vec<Duration>,
    /// What it has acknowledged: that it knows it, and that its table follows it.
    known: Option<u32>,
    acked: Option<u32>,
    next_tell: Duration,
    gap: Duration,
    tries: u32,
    /// When it said something last.
    spoke: Duration,
    /// What it waits to be acknowledged.
    owed: Option<Owed>,
}

/// An acknowledgement that is to be sent once the table follows this view.
#[derive(Debug, Clone, Copy)]
pub(super) struct Owed {
    pub(super) incarnation: u64,
    pub(super) seq: u32,
    pub(super) view: u64,
}

impl Peer {
    pub(super) fn new(proven: bool, senior: bool, now: Duration) -> Self {
        Self {
            session: Session::new(proven, now),
            senior,
            told: None,
            is_introduced: false,
            since: now,
            returning: None,
            reunion: Reunion::default(),
            was_down: false,
            heard: 0,
            downs: Vec::new(),
            known: None,
            acked: None,
            next_tell: now,
            gap: RETRY,
            tries: 0,
            spoke: now,
            owed: None,
        }
    }

    /// Its place; `None`: it can't own anything now.
    pub(super) fn place(&self) -> Option<Place> {
        let silent = !self.is_introduced
            || !self.session.status().is_up()
            || self.session.remote() == Remote::AdminDown
            || self.returning.is_some();
        match self.told {
            _ if silent => None,
            Some(Tell { joining: true, .. }) => None,
            Some(Tell { leaving: true, .. }) => Some(Place::LAST),
            Some(tell) => Some(Place::of_epoch(tell.epoch)),
            None => Some(Place::default()),
        }
    }

    pub(super) fn told(&self) -> Option<Tell> {
        self.told
    }

    /// Whether it is known if it is there and, if so, how it stands.
    pub(super) fn is_settled(&self, profile: &super::Profile) -> bool {
        let known = self.told.is_some()
            || !self.session.status().is_up()
            || matches!(self.session.status(), Status::Unproven)
            || self.session.remote() == Remote::AdminDown;
        known && self.session.is_settled(profile)
    }

    /// Takes note of it once it is known if the peer is there, or once it has replied and had the time to say how it stands;
    /// true when that is news.
    pub(super) fn introduce(&mut self, profile: &super::Profile, patience: Duration, now: Duration) -> bool {
        let is_mute = self.session.traffic().replies > 0 && now >= self.since + patience;
        let news = !self.is_introduced && (is_mute || self.is_settled(profile));
        self.is_introduced |= news;
        news
    }

    /// It is not there any more, while so many others are.
    pub(super) fn goes_down(&mut self, others: u16, now: Duration) {
        self.was_down = true;
        self.heard = others;
        self.returning = None;
        self.reunion = Reunion::default();
        self.downs.retain(|at| now.saturating_sub(*at) < FLAPPING);
        self.downs.push(now);
    }

    /// So many others are there while it is not.
    pub(super) fn others_are_up(&mut self, others: u16) {
        self.heard = self.heard.min(others);
    }

    pub(super) fn flaps(&self) -> bool {
        self.downs.len() >= FLAPS
    }

    /// The least number of others that were there while it was not; all that are there now if it was not missed.
    pub(super) fn heard_meanwhile(&self, now_up: u16) -> u16 {
        if self.was_down { self.heard } else { now_up }
    }

    /// It is heard again after it was down, by its own voice or another's.
    pub(super) fn comes_back(&mut self, now: Duration) {
        // Who is asked by others can't be told anything.
        let direct = self.session.status() == Status::Up;
        let stands = self.session.remote() == Remote::Up;
        self.returning = (direct && stands).then_some(now + RETURN);
        if stands {
            self.reunite(now);
        }
        self.tell_again(now);
    }

    /// It and this node hear each other again, or without the help of others: some that heard only it may take it for the
    /// owner still. Its acknowledgement says when its table follows.
    pub(super) fn reunite(&mut self, now: Duration) {
        if self.reunion.begin(now) {
            self.tell_again(now);
        }
    }

    /// It has said how it stands. True when its place may be another now.
    pub(super) fn tells(&mut self, tell: Tell) -> bool {
        let newer = |known: &Tell| known.incarnation != tell.incarnation || known.seq <= tell.seq;
        if !self.told.as_ref().is_none_or(newer) {
            return false;
        }
        let before = self.place();
        if self.told.is_some_and(|known| known.incarnation != tell.incarnation) {
            // Another process: it has been told nothing.
            (self.known, self.acked) = (None, None);
            self.was_down = false;
            self.returning = None;
        }
        self.told = Some(tell);
        before != self.place()
    }

    /// What was told is known to it, and perhaps in force.
    pub(super) fn acks(&mut self, seq: u32, applied: bool) {
        self.known = Some(seq.max(self.known.unwrap_or(0)));
        if applied {
            self.acked = Some(seq.max(self.acked.unwrap_or(0)));
        }
    }

    /// It has said that it knows it.
    pub(super) fn knows(&self, seq: u32) -> bool {
        self.known.is_some_and(|known| known >= seq)
    }

    /// It knows that it was down here, and how this node stands: it goes on as it said last.
    pub(super) fn goes_on(&mut self) {
        self.returning = None;
        self.was_down = false;
    }

    pub(super) fn has_acked(&self, seq: u32) -> bool {
        self.acked.is_some_and(|acked| acked >= seq)
    }

    /// It has taken too long to say how it stands.
    pub(super) fn is_late(&mut self, now: Duration) -> bool {
        let late = self.returning.is_some_and(|until| now >= until);
        if late {
            self.goes_on();
        }
        late
    }

    /// There is something new to tell.
    pub(super) fn tell_again(&mut self, now: Duration) {
        self.tell_soon(now);
        (self.known, self.acked) = (None, None);
    }

    /// The agent was away for so long: the peer could not say anything meanwhile.
    pub(super) fn was_away(&mut self, away: Duration, now: Duration) {
        self.since = (self.since + away).min(now);
        self.returning = self.returning.map(|until| until + away);
    }

    /// It says something: if it was away, what it has not acknowledged is told in the quick rhythm again.
    pub(super) fn speaks(&mut self, now: Duration) {
        if now >= self.spoke + RETRY * RETRIES {
            self.tell_soon(now);
        }
        self.spoke = now;
    }

    /// What it has not acknowledged may reach it now.
    pub(super) fn tell_soon(&mut self, now: Duration) {
        (self.next_tell, self.gap, self.tries) = (now, RETRY, 0);
    }

    /// Whether it hears what it is told.
    fn listens(&self) -> bool {
        let session = &self.session;
        session.traffic().replies > 0 && session.status().is_up()
    }

    /// What to tell it now: whether it was down, and how many others were there.
    pub(super) fn tell(&mut self, seq: u32, now: Duration) -> Option<(bool, u16)> {
        if !self.listens() || self.has_acked(seq) || now < self.next_tell {
            return None;
        }
        self.next_tell = now + self.gap;
        self.tries += 1;
        if self.tries > RETRIES {
            self.gap = (self.gap * 2).min(LONGEST_RETRY);
        }
        Some((self.was_down, self.heard))
    }

    pub(super) fn owe(&mut self, owed: Owed) {
        self.owed = Some(owed);
    }

    /// The acknowledgement that is due with this view in force.
    pub(super) fn pay(&mut self, view: u64) -> Option<Owed> {
        self.owed.take_if(|owed| owed.view <= view)
    }

    /// When it wants to be looked at.
    pub(super) fn due(&self, profile: &super::Profile, seq: u32) -> Duration {
        let tell = (self.listens() && !self.has_acked(seq)).then_some(self.next_tell);
        let times = [Some(self.session.due(profile)), tell, self.returning, self.reunion.due()];
        times.into_iter().flatten().min().unwrap_or(Duration::MAX)
    }
}
