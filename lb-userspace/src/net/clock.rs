//! The clock the BPF program judges deadlines by.

/// Nanoseconds since boot, time in suspend included: `CLOCK_BOOTTIME`, the clock of `bpf_ktime_get_boot_ns`.
///
/// A value from here plus a grace is what goes into the map as a deadline; the two sides never differ, whatever
/// happens to the wall clock.
pub fn boot_time_ns() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a valid, writable timespec for the whole call, and nothing else is touched.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut now) };
    debug_assert_eq!(result, 0, "every kernel since 2.6.39 has CLOCK_BOOTTIME");
    nanoseconds(&now)
}

/// Neither field is ever negative on this clock; a zero would only make a deadline lapse at once.
fn nanoseconds(time: &libc::timespec) -> u64 {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let rest = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds_seconds_and_nanoseconds() {
        assert_eq!(nanoseconds(&libc::timespec { tv_sec: 2, tv_nsec: 5 }), 2_000_000_005);
    }

    #[test]
    fn agrees_with_the_uptime_file() {
        let text = std::fs::read_to_string("/proc/uptime").unwrap();
        let uptime: f64 = text.split_whitespace().next().unwrap().parse().unwrap();
        let ours = std::time::Duration::from_nanos(boot_time_ns()).as_secs_f64();
        assert!((ours - uptime).abs() < 5.0, "{ours} against {uptime}");
    }
}
