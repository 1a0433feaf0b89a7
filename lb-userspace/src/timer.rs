//! Moments that may never come, and waits that grow.

use std::{future::pending, time::Duration};

use tokio::time::{Instant, sleep_until};

/// Waits until then; `None`: for ever. What is due now is not waited for: a timer takes a millisecond at least.
pub async fn until(at: Option<Instant>) {
    match at {
        Some(at) if at <= Instant::now() => {}
        Some(at) => sleep_until(at).await,
        None => pending().await,
    }
}

/// The wait after something has happened so many times: the first one, doubled each time, and the longest at most.
pub fn doubled((first, longest): (Duration, Duration), times: u32) -> Duration {
    first.saturating_mul(1_u32.checked_shl(times.saturating_sub(1)).unwrap_or(u32::MAX)).min(longest)
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_due_is_not_waited_for() {
        let now = Instant::now();
        for (at, is_ready) in [
            (Some(now), true),
            (now.checked_sub(Duration::from_secs(1)), true),
            (Some(now + Duration::from_millis(1)), false),
            (None, false),
        ] {
            assert_eq!(until(at).now_or_never().is_some(), is_ready, "{at:?}");
        }
        until(Some(now + Duration::from_secs(1))).await;
        assert_eq!(now.elapsed(), Duration::from_secs(1));
    }
}
