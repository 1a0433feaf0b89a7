//! Sees to it that there is a secret for the agents' key: whoever begins to lead makes it where it is missing.
//!
//! One that is there is never changed: it is the user's, or MetalLB's, or was made before.

use std::time::Duration;

use tokio::time::{sleep, timeout_at};

use super::leader::Leadership;
use crate::{
    k8s::{
        secret::{ENTRY, LENGTH, NAME},
        write::{WriteError, Writer, in_time},
    },
    random::{self, RANDOM},
    timer::doubled,
};

/// First and longest wait after it failed.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(5));

/// Why there may be no secret.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error("no random numbers can be read from {RANDOM}")]
    Random(#[source] std::io::Error),
}

/// Makes the secret, each time this process begins to lead and there is none. Never ends.
pub(super) async fn provide(writer: Writer, namespace: String, mut leadership: Leadership) {
    loop {
        let mut times = 0;
        // Who does not lead, or can't be sure, waits for the next time.
        while let Some(permit) = leadership.permit() {
            let made = timeout_at(permit.until, ensure(&writer, &namespace)).await;
            let Err(error) = made.unwrap_or(Err(WriteError::Timeout.into())) else { break };
            times += 1;
            tell(&error, &namespace, times);
            tokio::select! {
                () = sleep(doubled(AGAIN, times)) => {}
                () = leadership.changed() => {}
            }
        }
        leadership.changed().await;
    }
}

/// Once each time it leads.
fn tell(error: &Failure, namespace: &str, times: u32) {
    let error = error as &dyn std::error::Error;
    if times == 1 {
        tracing::warn!(%namespace, secret = NAME, error, "can't see to the agents' secret, trying again");
    } else {
        tracing::debug!(%namespace, secret = NAME, error, "the agents' secret still can't be seen to");
    }
}

async fn ensure(writer: &Writer, namespace: &str) -> Result<(), Failure> {
    if in_time(writer.has_secret(namespace)).await? {
        return Ok(());
    }
    let random = random::bytes::<LENGTH>().map_err(Failure::Random)?;
    if in_time(writer.make_secret(namespace, random)).await? {
        tracing::info!(%namespace, secret = NAME, entry = ENTRY, "made a secret for the agents");
    }
    Ok(())
}
