//! Durations on the command line.

use std::time::Duration;

/// From one time to the next of what is repeated.
const SHORTEST: Duration = Duration::from_millis(500);

/// `1m30s`, `500ms`, `2h` or bare seconds, as Go writes durations.
pub(super) fn parse(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no duration: write for example 60s, 500ms or 2m30s");
    let mut rest = text.trim();
    let mut total = Duration::ZERO;
    if let Ok(seconds) = rest.parse::<u32>() {
        return Ok(Duration::from_secs(seconds.into()));
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let number: u32 = rest[..digits].parse().map_err(|_error| wrong())?;
        let unit_end = rest[digits..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |at| digits + at);
        let unit = match &rest[digits..unit_end] {
            "ms" => Duration::from_millis(1),
            "s" => Duration::from_secs(1),
            "m" => Duration::from_mins(1),
            "h" => Duration::from_hours(1),
            _ => return Err(wrong()),
        };
        total = unit.checked_mul(number).and_then(|part| total.checked_add(part)).ok_or_else(wrong)?;
        rest = &rest[unit_end..];
    }
    if total.is_zero() { Err(wrong()) } else { Ok(total) }
}

/// The same for what is repeated: nobody is to be asked all the time.
pub(super) fn interval(text: &str) -> Result<Duration, String> {
    let time = parse(text)?;
    if time < SHORTEST { Err(format!("{text} is too often: {SHORTEST:?} is the shortest")) } else { Ok(time) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, milliseconds) in
            [("60s", 60_000), ("500ms", 500), ("2m30s", 150_000), ("1h", 3_600_000), ("3", 3000)]
        {
            assert_eq!(parse(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "s", "5x", "-1s", "1.5s", "99999999999s", "0s"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_repeated_leaves_time_for_others() {
        for (text, is_fine) in [("500ms", true), ("2", true), ("0", false), ("1ms", false), ("499ms", false)]
        {
            assert_eq!(interval(text).is_ok(), is_fine, "{text}");
        }
    }
}
