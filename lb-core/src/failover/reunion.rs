//! When a node says again what it owns although it has never stopped owning it.
//!
//! After a partition there are stations that heard the other side last: it announced what it took over, or answered on
//! while this side did. They follow the owner's next announcement or, without one, their own timers, seconds later. So
//! each node whose peer is back announces anew once both know who owns, and the one that does not has fallen silent by
//! then. Where the other one does not say that its table follows, this is done after a while and again when it says so.

use std::time::Duration;

/// How long a peer may take to say that its table follows.
const AGREEMENT: Duration = Duration::from_millis(100);
/// What it says after it has, in messages that were under way, is not the next dispute.
const ECHO: Duration = Duration::from_millis(200);

/// With a peer that had lost sight of this node, or was lost sight of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Reunion {
    /// Nothing is under way.
    #[default]
    Over,
    /// It has not said yet that its table follows.
    Agreeing { until: Duration },
    /// It has taken too long.
    Late,
    /// It has said so.
    Agreed { at: Duration },
}

impl Reunion {
    /// Both hear each other again; false when that was known.
    pub(super) fn begin(&mut self, now: Duration) -> bool {
        let known = match *self {
            Self::Over | Self::Late => false,
            Self::Agreeing { .. } => true,
            Self::Agreed { at } => now < at + ECHO,
        };
        if !known {
            *self = Self::Agreeing { until: now + AGREEMENT };
        }
        !known
    }

    /// Its table follows what it was told; true when that ends the dispute.
    pub(super) fn agree(&mut self, now: Duration) -> bool {
        let ends = matches!(self, Self::Agreeing { .. } | Self::Late);
        if ends {
            *self = Self::Agreed { at: now };
        }
        ends
    }

    /// It has taken too long; true once.
    pub(super) fn is_overdue(&mut self, now: Duration) -> bool {
        let overdue = self.due().is_some_and(|until| now >= until);
        if overdue {
            *self = Self::Late;
        }
        overdue
    }

    /// When it has taken too long.
    pub(super) fn due(&self) -> Option<Duration> {
        match self {
            Self::Agreeing { until } => Some(*until),
            Self::Over | Self::Late | Self::Agreed { .. } => None,
        }
    }
}

/// How often this node had to announce anew on a link. A peer that comes and goes does not make it do so all the time.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Renewals {
    count: u64,
    is_owed: bool,
    earliest: Duration,
}

impl Renewals {
    /// It has to.
    pub(super) fn owe(&mut self) {
        self.is_owed = true;
    }

    /// Counts what is owed, unless the last one is younger than this; true when it has.
    pub(super) fn count_due(&mut self, apart: Duration, now: Duration) -> bool {
        let due = self.due().is_some_and(|at| now >= at);
        if due {
            (self.count, self.is_owed, self.earliest) = (self.count + 1, false, now + apart);
        }
        due
    }

    /// When there is something to count.
    pub(super) fn due(&self) -> Option<Duration> {
        self.is_owed.then_some(self.earliest)
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_reunion_ends_with_the_other_table_or_after_a_while() {
        let mut reunion = Reunion::default();
        assert!(!reunion.agree(ms(0)), "nothing was disputed");
        assert!(reunion.begin(ms(10)) && !reunion.begin(ms(11)));
        assert!(reunion.agree(ms(15)) && !reunion.agree(ms(16)), "once");
        assert!(!reunion.begin(ms(20)), "said before it agreed");
        assert!(reunion.begin(ms(15) + ECHO), "again, later");
        let until = ms(15) + ECHO + AGREEMENT;
        assert_eq!(reunion.due(), Some(until));
        assert!(!reunion.is_overdue(ms(14) + ECHO + AGREEMENT) && reunion.is_overdue(until));
        assert!(!reunion.is_overdue(until + ms(9)) && reunion.due().is_none(), "once");
        assert!(reunion.agree(until + ms(500)), "its table follows after all: announced again");
    }

    #[test]
    fn renewals_keep_apart_and_none_is_forgotten() {
        let mut renewals = Renewals::default();
        assert!(!renewals.count_due(ms(100), ms(0)));
        renewals.owe();
        assert_eq!(renewals.due(), Some(ms(0)));
        assert!(renewals.count_due(ms(100), ms(5)));
        renewals.owe();
        assert!(!renewals.count_due(ms(100), ms(50)));
        assert_eq!(renewals.due(), Some(ms(105)));
        assert!(renewals.count_due(ms(100), ms(105)) && !renewals.count_due(ms(100), ms(300)));
        assert_eq!(renewals.count(), 2);
    }
}
