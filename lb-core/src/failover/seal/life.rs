//! Which process of a node is the present one, and what of it was seen.

use std::time::Duration;

use super::Refusal;
use super::window::Window;

/// An answer to a hello counts for so long.
pub const FRESH: Duration = Duration::from_secs(1);

/// A node is asked, or answered, at most so often in [`FRESH`]; one that does not answer is asked again after this time.
const ASKS: usize = 4;
const ANSWERS: usize = 8;
const ASK_AGAIN: Duration = Duration::from_millis(50);
/// Former lives that are remembered.
const FORMER: usize = 8;

/// See the module.
#[derive(Debug, Clone, Default)]
pub(super) struct Life {
    present: Option<(u64, Window)>,
    /// The latest last.
    former: Vec<u64>,
    asked: Vec<Asked>,
    answers: Vec<Duration>,
}

#[derive(Debug, Clone, Copy)]
struct Asked {
    at: Duration,
    /// Of the hello. `None`: it is answered.
    counter: Option<u64>,
}

impl Life {
    /// The present incarnation.
    pub(super) fn incarnation(&self) -> Option<u64> {
        self.present.as_ref().map(|(incarnation, _)| *incarnation)
    }

    pub(super) fn is(&self, incarnation: u64) -> bool {
        self.incarnation() == Some(incarnation)
    }

    /// Takes a datagram of the present life, once.
    pub(super) fn admit(&mut self, counter: u64) -> Result<(), Refusal> {
        self.present.as_mut().map_or(Err(Refusal::Late), |(_, window)| window.admit(counter))
    }

    /// Whether a hello with this counter may be sent that asks who it is.
    pub(super) fn ask(&mut self, counter: u64, now: Duration) -> bool {
        self.asked.retain(|asked| is_fresh(asked.at, now));
        let waits = |last: &Asked| last.counter.is_some() && now.saturating_sub(last.at) < ASK_AGAIN;
        let soon = self.asked.last().is_some_and(waits);
        let may = !soon && self.asked.len() < ASKS;
        if may {
            self.asked.push(Asked { at: now, counter: Some(counter) });
        }
        may
    }

    /// Whether a hello may be answered.
    pub(super) fn answer(&mut self, now: Duration) -> bool {
        self.answers.retain(|at| is_fresh(*at, now));
        let may = self.answers.len() < ANSWERS;
        if may {
            self.answers.push(now);
        }
        may
    }

    /// Whether it was asked just now by a hello with this counter.
    pub(super) fn has_asked(&self, counter: u64, now: Duration) -> bool {
        self.asked.iter().any(|asked| asked.counter == Some(counter) && is_fresh(asked.at, now))
    }

    /// The present life has answered.
    pub(super) fn answered(&mut self) {
        self.asked.iter_mut().for_each(|asked| asked.counter = None);
    }

    /// This incarnation lives; its last counter was this one.
    pub(super) fn learn(&mut self, incarnation: u64, counter: u64) -> Result<(), Refusal> {
        // A life that has ended does not come back.
        if self.former.contains(&incarnation) {
            return Err(Refusal::SameName);
        }
        if let Some((former, _)) = self.present.replace((incarnation, Window::after(counter))) {
            if self.former.len() == FORMER {
                self.former.remove(0);
            }
            self.former.push(former);
        }
        // What a life before has answered, too, comes too late.
        self.answered();
        Ok(())
    }
}

fn is_fresh(at: Duration, now: Duration) -> bool {
    now.saturating_sub(at) < FRESH
}
