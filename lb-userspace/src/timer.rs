//! Moments that may never come, and waits that grow.

use std::{future::pending, time::Duration};

use tokio::time::{Instant, sleep_until};

/// Waits until then; `None`: for ever.
pub async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => pending().await,
    }
}

/// The wait after something has happened so many times: the first one, doubled each time, and the longest at most.
pub fn doubled((first, longest): (Duration, Duration), times: u32) -> Duration {
    first.saturating_mul(1_u32.checked_shl(times.saturating_sub(1)).unwrap_or(u32::MAX)).min(longest)
}
