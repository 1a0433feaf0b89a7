//! Tables without borders, with upper-case headers, as kubectl prints them.

use comfy_table::{Table, presets::NOTHING};

/// Without rows.
pub(super) fn plain(headers: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(headers);
    table
}

/// Without the padding at both ends.
pub(super) fn lines(table: &Table) -> String {
    let lines = table.lines().map(|line| line.strip_prefix(' ').unwrap_or(&line).trim_end().to_owned());
    lines.collect::<Vec<_>>().join("\n")
}
