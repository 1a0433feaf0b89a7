//! `cargo xtask test`: everything continuous integration checks, level by level, cheap ones first.
//!
//! All levels run even when one fails. A level that can't run fails with the reason: it is never skipped.

mod failures;
mod level;
mod report;
mod steps;

use std::collections::BTreeSet;
use std::time::Instant;

use anyhow::{Result, bail};

use crate::workspace::Workspace;
use level::Level;
use report::{Outcome, Row};

/// Run the tests: all levels, or those that are named.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only this level and what it needs; may be given more than once.
    #[arg(long = "level", value_enum, ignore_case = true, value_name = "LEVEL")]
    levels: Vec<Level>,
}

/// Runs the command.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    let mut rows: Vec<Row> = Vec::new();
    for level in level::select(&args.levels) {
        println!("\n== level {}: {}", level.name(), level.what());
        let start = Instant::now();
        let outcome = match unmet(level, &rows) {
            Some(needed) => {
                Outcome::Failed(format!("can't run: it needs the level {}, which failed", needed.name()))
            }
            None => steps::run(workspace, level)
                .map_or_else(|error| Outcome::Failed(format!("{error:#}")), |()| Outcome::Passed),
        };
        rows.push(Row { level, outcome, took: start.elapsed() });
    }
    for row in &rows {
        if let Outcome::Failed(reason) = &row.outcome {
            println!("\nlevel {} failed: {reason}", row.level.name());
        }
    }
    println!("\n{}", report::table(&rows));
    let failed: Vec<_> =
        rows.iter().filter(|row| row.outcome != Outcome::Passed).map(|row| row.level.name()).collect();
    if !failed.is_empty() {
        bail!(
            "failed levels: {}; each one's reason is above, and `--level NAME` repeats one",
            failed.join(", ")
        );
    }
    Ok(())
}

/// A level that this one needs and that failed.
fn unmet(level: Level, rows: &[Row]) -> Option<Level> {
    let failed: BTreeSet<_> =
        rows.iter().filter(|row| row.outcome != Outcome::Passed).map(|row| row.level).collect();
    level.needs().iter().copied().find(|needed| failed.contains(needed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_level_is_not_run_without_what_it_needs() {
        let row = |outcome| [Row { level: Level::Build, outcome, took: Duration::ZERO }];
        assert_eq!(unmet(Level::Root, &row(Outcome::Failed("no disk".to_owned()))), Some(Level::Build));
        assert_eq!(unmet(Level::Root, &row(Outcome::Passed)), None);
        assert_eq!(unmet(Level::Format, &row(Outcome::Failed("no disk".to_owned()))), None);
    }
}
