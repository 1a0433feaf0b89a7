//! How verbs print that can print names alone, `-o name`.

use anyhow::Result;
use serde::Serialize;

use super::Output;

/// See the module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// Tables for people.
    #[default]
    Table,
    /// The same with more columns.
    Wide,
    /// JSON.
    Json,
    /// YAML.
    Yaml,
    /// Names alone, one a line: of Services NAMESPACE/NAME, of nodes node/NAME.
    Name,
}

impl Format {
    /// `value` for programs, what `names` makes of it, or what `table` makes for people: true asks for more columns.
    pub(super) fn render<T: Serialize>(
        self,
        value: &T,
        table: impl Fn(bool) -> String,
        names: impl FnOnce() -> String,
    ) -> Result<String> {
        let output = match self {
            Self::Table => Output::Table,
            Self::Wide => Output::Wide,
            Self::Json => Output::Json,
            Self::Yaml => Output::Yaml,
            Self::Name => return Ok(names()),
        };
        output.render(value, table)
    }
}
