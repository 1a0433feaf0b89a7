//! What there is to say of all rows.

use super::line::Line;
use crate::cli::status::join::State;
use crate::cli::status::report::Report;
use crate::cli::status::view::rate;

/// How many addresses there are and how they are, how many agents, and how much is asked.
pub(super) fn summary(report: &Report, lines: &[Line]) -> String {
    let of = |wanted: &[State]| report.addresses.iter().filter(|row| wanted.contains(&row.state)).count();
    let addresses = report.addresses.len() - of(&[State::Pending]);
    let mut parts = vec![format!("{addresses} addresses"), format!("{} answered", of(&[State::Answered]))];
    for (states, what) in [
        (&[State::Unanswered, State::Unknown][..], "not answered"),
        (&[State::Contested], "answered by several nodes"),
        (&[State::Stale], "of no Service"),
        (&[State::Pending], "Services without one"),
    ] {
        let count = of(states);
        if count > 0 {
            parts.push(format!("{count} {what}"));
        }
    }
    let requests: f64 = lines.iter().map(Line::per_second).sum();
    let agents = report.agents.len() + report.unasked.len();
    format!(
        "{}; {} of {agents} agents say so; {} requests/s",
        parts.join(", "),
        report.agents.len(),
        rate(requests)
    )
}

/// The first of what is wrong, and how much more that is.
pub(super) fn complaint(report: &Report) -> Option<String> {
    let warnings = report.warnings();
    let (whose, why) = warnings.first()?;
    let more = match warnings.len() - 1 {
        0 => String::new(),
        more => format!(" ({more} more: `barelb status`)"),
    };
    Some(format!("{whose}: {why}{more}"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::line::Liner;
    use super::super::line::tests::report;
    use super::*;
    use crate::cli::status::join::tests::unasked;

    #[test]
    fn all_rows_are_one_line() {
        let mut report = report([100, 50]);
        let lines = Liner::default().lines(&report, Duration::ZERO);
        let expected =
            "2 addresses, 2 answered, 2 Services without one; 0 of 0 agents say so; 1.0 requests/s";
        assert_eq!(summary(&report, &lines), expected);
        let late = "shop/late, shop/late2: it has no address yet; `barelb explain svc shop/late` says more";
        assert_eq!(complaint(&report).unwrap(), late);
        report.unasked = vec![unasked("node-b")];
        report.addresses[0].state = State::Contested;
        assert!(summary(&report, &lines).contains("1 answered, 1 answered by several nodes, "));
        assert!(summary(&report, &lines).contains("0 of 1 agents"));
        assert_eq!(complaint(&report).unwrap(), "node-b: away (2 more: `barelb status`)");
        assert_eq!(complaint(&Report::default()), None);
    }
}
