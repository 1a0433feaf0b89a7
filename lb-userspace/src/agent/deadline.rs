//! Until when the table answers without the agent.
//!
//! An agent that dies or freezes at any moment is silent between the grace and half a second after it: the deadline
//! is moved every [`REFRESH`] to now + grace + [`MARGIN`], so at that moment it lies between grace + `MARGIN` −
//! `REFRESH` (and what the timer was late) and grace + `MARGIN` ahead.

use std::time::Duration;

/// How often the deadline is moved.
pub(super) const REFRESH: Duration = Duration::from_millis(350);
/// What is added to the grace. Later than the grace by a refresh that is 100 ms late, and earlier than the half
/// second by 50 ms.
pub(super) const MARGIN: Duration = Duration::from_millis(450);

/// The time the table stays valid.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    grace: Duration,
}

impl Deadline {
    /// With this `--grace`.
    pub(super) const fn new(grace: Duration) -> Self {
        Self { grace }
    }

    /// Where to move the deadline at `boot_ns` (`CLOCK_BOOTTIME`).
    pub fn after(self, boot_ns: u64) -> u64 {
        let ahead = self.grace.saturating_add(MARGIN).as_nanos();
        boot_ns.saturating_add(u64::try_from(ahead).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silent_between_the_grace_and_half_a_second_later() {
        let grace = Duration::from_mins(1);
        let ahead = Duration::from_nanos(Deadline::new(grace).after(0));
        assert!(
            ahead <= grace + Duration::from_millis(500),
            "never later, even if it dies right after a refresh"
        );
        assert!(
            ahead >= grace + Duration::from_millis(100) + REFRESH,
            "never earlier, with 100 ms for a late timer"
        );
    }

    #[test]
    fn an_endless_grace_does_not_overflow() {
        assert_eq!(Deadline::new(Duration::MAX).after(5), u64::MAX);
    }
}
