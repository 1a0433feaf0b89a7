//! Times as the Kubernetes API writes them.

use std::time::SystemTime;

use k8s_openapi::jiff::Timestamp;

/// The time in RFC 3339 with whole seconds in UTC, as `metav1.Time` is written. A time that the calendar can't
/// hold (before year -9999 or after year 9999) is written as the epoch.
pub fn rfc3339(time: SystemTime) -> String {
    let seconds = match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_secs()).unwrap_or(0),
        Err(before) => i64::try_from(before.duration().as_secs()).map_or(0, i64::wrapping_neg),
    };
    Timestamp::from_second(seconds).unwrap_or_default().to_string()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn whole_seconds_in_utc() {
        let at = |seconds| rfc3339(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(0), "1970-01-01T00:00:00Z");
        assert_eq!(at(1_700_000_000), "2023-11-14T22:13:20Z");
        let fraction = SystemTime::UNIX_EPOCH + Duration::from_millis(1999);
        assert_eq!(rfc3339(fraction), "1970-01-01T00:00:01Z");
        assert_eq!(rfc3339(SystemTime::UNIX_EPOCH - Duration::from_secs(1)), "1969-12-31T23:59:59Z");
    }
}
