//! What the image is made of: a commit and its date.

use std::env;
use std::process::Command;

use anyhow::{Context, Result};
use jiff::Timestamp;

use crate::process::ask;
use crate::workspace::Workspace;

/// The variable by which whoever packages things sets the date (reproducible-builds.org/specs/source-date-epoch).
const DATE: &str = "SOURCE_DATE_EPOCH";

/// The commit of the checkout.
pub(super) struct Source {
    /// Its hash, with `-dirty` when files differ from it; none outside a git checkout.
    pub(super) revision: Option<String>,
    /// The one date that everything in the image has.
    time: Timestamp,
}

impl Source {
    /// Asks git, and the environment for another date.
    pub(super) fn find(workspace: &Workspace) -> Result<Self> {
        let git = |arguments: &[&str]| {
            ask(Command::new("git").arg("-C").arg(workspace.root()).args(arguments))
                .map(|text| text.trim().to_owned())
        };
        let changes = git(&["status", "--porcelain"]);
        let revision = git(&["rev-parse", "HEAD"])
            .map(|hash| if changes.as_deref() == Some("") { hash } else { format!("{hash}-dirty") });
        let date = env::var(DATE).ok().filter(|date| !date.is_empty());
        let seconds = date.or_else(|| git(&["log", "-1", "--format=%ct"])).with_context(|| {
            format!(
                "{} is no git checkout: set {DATE} to the date of the source, in seconds since 1970",
                workspace.root().display()
            )
        })?;
        Self::new(revision, &seconds)
    }

    fn new(revision: Option<String>, seconds: &str) -> Result<Self> {
        let context =
            || format!("`{seconds}` is no date in seconds since 1970 ({DATE}, or the last commit's)");
        // The archives hold dates without a sign.
        let seconds: u32 = seconds.parse().with_context(context)?;
        let time = Timestamp::from_second(i64::from(seconds)).with_context(context)?;
        Ok(Self { revision, time })
    }

    /// Seconds since 1970.
    pub(super) fn seconds(&self) -> u64 {
        self.time.as_second().unsigned_abs()
    }

    /// As RFC 3339 has it.
    pub(super) fn date(&self) -> String {
        self.time.to_string()
    }

    /// A source for tests.
    #[cfg(test)]
    pub(super) fn example() -> Self {
        Self::new(Some("0123abcd".to_owned()), "1700000000").unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_as_images_want_them() {
        let source = Source::example();
        assert_eq!(source.date(), "2023-11-14T22:13:20Z");
        assert_eq!(source.seconds(), 1_700_000_000);
        for wrong in ["", "-1", "yesterday", "99999999999"] {
            let error = Source::new(None, wrong).err().unwrap().to_string();
            assert!(error.contains(DATE), "{error}");
        }
    }
}
