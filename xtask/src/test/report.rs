//! The table at the end of a test run.

use std::fmt::Write;
use std::time::Duration;

use super::level::Level;

/// How a level ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// All its checks hold.
    Passed,
    /// A check failed or could not run, for this reason.
    Failed(String),
}

/// One line of the table.
pub(super) struct Row {
    pub(super) level: Level,
    pub(super) outcome: Outcome,
    pub(super) took: Duration,
}

/// The table, without a line feed at its end.
pub(super) fn table(rows: &[Row]) -> String {
    let mut text = String::from("level    seconds  result");
    for row in rows {
        let result = match &row.outcome {
            Outcome::Passed => "passed".to_owned(),
            Outcome::Failed(reason) => format!("FAILED: {}", reason.lines().next().unwrap_or_default()),
        };
        // Writing to a string can't fail.
        write!(text, "\n{:<8} {:>7}  {result}", row.level.name(), row.took.as_secs()).unwrap_or_default();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_level_has_a_line_with_its_result() {
        let rows = [
            Row { level: Level::Format, outcome: Outcome::Passed, took: Duration::from_millis(1900) },
            Row {
                level: Level::Root,
                outcome: Outcome::Failed("needs root\nmore".to_owned()),
                took: Duration::from_secs(612),
            },
        ];
        let expected = "level    seconds  result\n\
                        fmt            1  passed\n\
                        root         612  FAILED: needs root";
        assert_eq!(table(&rows), expected);
    }
}
