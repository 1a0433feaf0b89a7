//! The status of a `ConfigurationState`.

use std::time::SystemTime;

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};

use crate::k8s::{
    crd::configuration_state::{ConfigurationResult, ConfigurationStateStatus},
    time::rfc3339,
};

/// The controller's condition, by MetalLB's name.
const CONDITION: &str = "poolReconcilerValid";
/// Longest message of a condition, in bytes (KEP-1623).
const MESSAGE: usize = 32_768;

/// What the status is to be, after it was `before`. The time of the condition's last change stays while its value
/// does, so a status that says the same is equal.
pub fn configuration(
    summary: &str,
    valid: bool,
    before: Option<&ConfigurationStateStatus>,
    now: SystemTime,
) -> ConfigurationStateStatus {
    let status = if valid { "True" } else { "False" };
    let known = before.into_iter().flat_map(|before| &before.conditions);
    let known = known.into_iter().find(|known| known.type_ == CONDITION && known.status == status);
    let since = known.map(|known| known.last_transition_time.clone());
    let condition = Condition {
        type_: CONDITION.to_owned(),
        status: status.to_owned(),
        reason: if valid { "Reconciled" } else { "ConfigurationError" }.to_owned(),
        message: shortened(summary).to_owned(),
        last_transition_time: since.unwrap_or_else(|| {
            // The API keeps whole seconds: a finer time would never compare equal.
            Time(rfc3339(now).parse().unwrap_or(Timestamp::UNIX_EPOCH))
        }),
        observed_generation: None,
    };
    ConfigurationStateStatus {
        result: Some(if valid { ConfigurationResult::Valid } else { ConfigurationResult::Invalid }),
        error_summary: summary.to_owned(),
        conditions: vec![condition],
    }
}

/// Whether a status says what ours is to say. Conditions of others may stand beside it.
pub fn says_the_same(before: &ConfigurationStateStatus, ours: &ConfigurationStateStatus) -> bool {
    before.result == ours.result
        && before.error_summary == ours.error_summary
        && ours.conditions.iter().all(|condition| before.conditions.contains(condition))
}

fn shortened(text: &str) -> &str {
    &text[..text.floor_char_boundary(MESSAGE)]
}
