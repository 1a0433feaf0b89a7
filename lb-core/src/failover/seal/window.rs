//! Which counters were seen: the anti-replay window of RFC 4303 §3.4.3.

use super::Refusal;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    highest: u64,
    /// Bit n: `highest - n` was seen.
    seen: u64,
}

impl Window {
    /// Everything up to this counter counts as seen.
    pub(super) fn after(counter: u64) -> Self {
        Self { highest: counter, seen: u64::MAX }
    }

    /// Marks a counter as seen, if it was not.
    pub(super) fn admit(&mut self, counter: u64) -> Result<(), Refusal> {
        if let Some(ahead) = counter.checked_sub(self.highest).filter(|ahead| *ahead > 0) {
            self.seen = if ahead < 64 { self.seen << ahead | 1 } else { 1 };
            self.highest = counter;
            return Ok(());
        }
        let behind = self.highest - counter;
        if behind >= 64 {
            return Err(Refusal::Late);
        }
        let bit = 1 << behind;
        if self.seen & bit != 0 {
            return Err(Refusal::Replayed);
        }
        self.seen |= bit;
        Ok(())
    }
}
